"""Curves in a terminal: dots of braille characters, eight of them in each cell."""

from __future__ import annotations

from collections.abc import Sequence

from ..history.curves import number, share, summary
from ..history.metrics import Series
from .looks import Cell, width
from .plain_text import in_a_line

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column of a cell
LOWEST, HIGHEST = 4, 12  # rows of a curve


def rows_each(curves: int, rows: int) -> int:
    """How high each of some curves may be, on a terminal with this many rows."""
    return min(max((rows - 2) // max(curves, 1) - 2, LOWEST), HIGHEST)


def lines(series: Series, columns: int, rows: int) -> list[Sequence[str]]:
    """One curve with its name and its axes, in this many columns; `rows` are those of the curve itself."""
    low, high, first, last = min(series.y), max(series.y), min(series.x), max(series.x)
    labels = {0: number(high), rows - 1: number(low) if low != high else ""}
    margin = max(map(len, labels.values())) + 1
    field = max(columns - margin - 1, 8)
    places = [
        (round(share(x, first, last) * (2 * field - 1)), round((1 - share(y, low, high)) * (4 * rows - 1)))
        for x, y in zip(series.x, series.y, strict=True)
    ]
    found: list[Sequence[str]] = [
        (Cell(in_a_line(series.name), "bold"), f"  {summary(series)}"),
        *(
            (f"{labels.get(number, ''):>{margin - 1}} ", "│", Cell(text, "cyan"))
            for number, text in enumerate(_drawn(places, field, rows))
        ),
    ]
    begin, end = number(first), number(last)
    room = field - len(begin) - len(end)
    axis = f"{series.axis:^{room}}" if room > len(series.axis) + 1 else " " * max(room, 1)
    return [*found, (" " * (margin + 1), Cell(f"{begin}{axis}{end}", "dim"))]


def _drawn(places: Sequence[tuple[int, int]], columns: int, rows: int) -> list[str]:
    """Points, joined by lines, as characters."""
    cells = [[0] * columns for _ in range(rows)]
    for start, end in zip(places, [*places[1:], places[-1]], strict=True):
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            x = start[0] + (end[0] - start[0]) * step // steps
            y = start[1] + (end[1] - start[1]) * step // steps
            cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
    return ["".join(chr(0x2800 + dots) if dots else " " for dots in row).rstrip() for row in cells]


def cut(line: Sequence[str], columns: int) -> list[str]:
    """The pieces of a line that have room."""
    shown: list[str] = []
    for piece in line:
        columns -= width(piece)
        if columns < 0:
            break
        shown.append(piece)
    return shown
