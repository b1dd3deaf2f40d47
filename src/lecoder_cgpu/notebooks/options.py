"""How a notebook is executed: limits, what may fail, and where its code finds itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..jupyter.watch_driver import InputSource
from .kernel_place import Place

if TYPE_CHECKING:
    from ..models.runs import Run

SAVE_EVERY = 30.0  # seconds, as papermill saves


@dataclass(frozen=True, kw_only=True)
class NotebookOptions:
    """How a notebook is executed. Times are in seconds; None is no limit.

    `timeout`: for all of it; then the present cell is interrupted and nothing more is run.
    `cell_timeout`: the same for each cell. `idle_timeout`: the same for a cell that shows nothing.
    `keep_going`: run the other cells after one has failed.
    `place`: the folder and the variables that its code finds.
    `save_every`: while a cell runs, save what it has shown at this interval; 0 is only at its end.
    `on_input`: answers `input()`; without it, `input()` raises an exception.
    `install`: given the result of a cell that failed; True if it installed what was missing, so that the cell
    is to run again.
    """

    timeout: float | None = None
    cell_timeout: float | None = None
    idle_timeout: float | None = None
    keep_going: bool = False
    place: Place = field(default_factory=Place)
    save_every: float = SAVE_EVERY
    on_input: InputSource | None = None
    install: Callable[[Run], bool] | None = None


DEFAULT = NotebookOptions()
