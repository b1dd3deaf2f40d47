"""The progress of a run, read from its own output.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from . import runs

if TYPE_CHECKING:
    from .runs import Run

TAIL = 4096  # bytes of a stream that are looked at
LINE = 200  # characters of a line that are shown
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s?%")


def of(run: Run) -> dict[str, Any] | None:
    """The last line that a run wrote to either stream, and the last percentage in it or near it.

    None when there is no output.
    """
    latest = None
    for stream in runs.STREAMS:
        try:
            found = os.stat(run.path(stream))
        except OSError:
            continue
        if found.st_size and (latest is None or found.st_mtime > latest[0]):
            latest = found.st_mtime, stream, found.st_size
    if latest is None:
        return None
    _, stream, size = latest
    text = run.read(stream, max(size - TAIL, 0), TAIL).decode("utf-8", "surrogateescape")
    shown = run.shown(_ANSI.sub("", text)).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", shown) if line.strip()]
    if not lines:
        return None
    progress: dict[str, Any] = {"stream": stream, "line": lines[-1][-LINE:]}
    for line in reversed(lines[-5:]):
        percents = [float(value) for value in _PERCENT.findall(line)]
        if percents and percents[-1] <= 100:
            progress["percent"] = percents[-1]
            break
    return progress
