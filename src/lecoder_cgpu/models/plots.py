"""The document of `job plot`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Held, Optional, SessionRef


class PlotSeries(Struct, kw_only=True):
    """The values of one name, in the order in which they were printed. `axis` tells what `x` counts: steps or epochs as
    the program counts them, or the values. `count` is how many there are; of very many, `x` and `y` hold the lowest and
    the highest of each stretch."""

    name: str
    axis: Literal["step", "epoch", "value"]
    x: list[float]
    y: list[float]
    count: int
    first: float
    last: float
    lowest: float
    highest: float


class Plot(Struct, kw_only=True):
    """`job plot`: the numbers that a run printed, as series. `source` is who had its output: its `runtime`, the `copy`
    that was made here while it ran, or the `history`; `complete` whether that is known to be all until now. `svg` is
    where the picture was written to."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    run: str
    state: str
    session: SessionRef | Optional = UNSET
    source: Literal["runtime", "copy", "history"]
    complete: bool
    series: list[PlotSeries]
    svg: str | Optional = UNSET
    held: list[Held] | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {"job-plot": Plot}
