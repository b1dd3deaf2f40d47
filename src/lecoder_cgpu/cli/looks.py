"""What answers look like: tables and lines with colour at a terminal, and the same as plain text in a pipe.

Colours are the sixteen that every terminal has names for, so that its theme decides how they look on its background.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from .plain_text import printable

NARROWEST = 12  # columns of a cell that has to give way
READABLE = 20  # of those of the last such column, before which others are left out
GAP = "  "
CONTINUED = " " * 12  # behind the names of fields
_NO_BREAK = "\ufff0"  # stands for a blank that ends no line; no character has that number
_COMMAND = re.compile(r"\b(?:lecoder-)?cgpu(?: [^\s;,:()]+)+")
_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "error": "1;31",
    "note": "36",
}
# What the states of runs and runtimes mean to people. Others have no colour.
_STATES = {
    "green": ("ok", "active", "idle", "running", "busy", "done", "reachable"),
    "yellow": ("starting", "queued", "restarting", "waiting", "closing", "unlisted", "unknown", "abort", "killed"),
    "red": ("error", "failed", "lost", "stale", "gone", "unreachable"),
}


class Cell(str):
    """A piece of text: itself in a pipe; at a terminal `drawn`, in a style."""

    __slots__ = ("drawn", "style")

    drawn: str
    style: str

    def __new__(cls, text: str, style: str = "", *, drawn: str | None = None) -> Cell:
        made = super().__new__(cls, text)
        made.drawn = text if drawn is None else drawn
        made.style = style
        return made


class Prose(str):
    """Sentences of ours: at a terminal in lines that end between words. As the last piece of a line, it goes on below
    its own beginning."""

    __slots__ = ()


def state(word: str, *, text: str | None = None) -> Cell:
    """A state in its colour.

    Args:
        text: what is shown in place of the word at a terminal.
    """
    return Cell(word, next((style for style, words in _STATES.items() if word in words), ""), drawn=text)


def like(piece: str, text: str) -> str:
    """Another text that looks as a piece does."""
    if isinstance(piece, Prose):
        return Prose(text)
    return Cell(text, piece.style) if isinstance(piece, Cell) else text


class Text(NamedTuple):
    """Lines for people, each made of pieces."""

    lines: Sequence[Sequence[str]]


def good(text: str) -> Text:
    """That something went as it should."""
    return Text([[Cell(line, "green")] for line in text.splitlines()])


class Table(NamedTuple):
    """Rows for people: drawn on a terminal, one line each; separated by tabs in a pipe.

    Attributes:
        empty: what is said in place of no rows.
        gives_way: headers of the columns that are cut where the terminal is too narrow.
        spare: headers of those that are left out there before anything is cut, the first one first.
        right: headers of the columns of numbers, which stand at the right.
        below: lines under the table, at a terminal only.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str = ""
    gives_way: Collection[str] = ()
    spare: Sequence[str] = ()
    right: Collection[str] = ()
    below: Sequence[str] = ()


Paint = Callable[[str, str], str]


def plain(text: str, style: str) -> str:
    return text


def coloured(text: str, style: str) -> str:
    """The text as a terminal shows it in a style; the text itself for none."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text else text


def drawn_line(pieces: Sequence[str], paint: Paint, columns: int = sys.maxsize) -> str:
    """A line at a terminal of that width."""
    if pieces and isinstance(pieces[-1], Prose):
        before = sum(width(_drawn(piece)) for piece in pieces[:-1])
        last = wrapped(printable(pieces[-1]), columns, first=before, further=before or 2)
        return drawn_line(pieces[:-1], paint, columns) + last
    return "".join(
        paint(printable(continued(_drawn(piece))), piece.style if isinstance(piece, Cell) else "") for piece in pieces
    )


def continued(text: str) -> str:
    """A piece of a line that has lines itself, such as a command: none of them may pass for a line of ours."""
    return text.replace("\n", f"\n{CONTINUED}")


def drawn_table(table: Table, columns: int, paint: Paint) -> list[str]:
    """The lines of a table on a terminal of that width. Columns that are empty in all rows are left out."""
    cells = [[printable(" ".join(_drawn(cell).split())) for cell in row] for row in table.rows]
    shown = [place for place, _ in enumerate(table.headers) if any(row[place] for row in cells)]
    widths = {
        place: max(width(text) for text in (table.headers[place], *(row[place] for row in cells))) for place in shown
    }
    _fit(widths, table, columns)
    sides = {place: table.headers[place] in table.right for place in widths}
    styled = [[(text, "bold") for text in table.headers]]
    for row, texts in zip(table.rows, cells, strict=True):
        styled.append(
            [(text, cell.style if isinstance(cell, Cell) else "") for text, cell in zip(texts, row, strict=True)]
        )
    lines = [_row([(*row[place], widths[place], sides[place]) for place in widths], paint) for row in styled]
    return [*lines, *(paint(wrapped(printable(line), columns), "dim") for line in table.below)]


def _fit(widths: dict[int, int], table: Table, most: int) -> None:
    """Leave columns out and make others narrower until the table fits, as far as it can."""

    def total(at_least: bool = False) -> int:
        least = {place: READABLE if place == giving[-1] else NARROWEST for place in giving} if at_least else {}
        needed = [min(size, least.get(place, size)) for place, size in widths.items()]
        return sum(needed) + len(GAP) * (len(needed) - 1)

    giving = [place for place in widths if table.headers[place] in table.gives_way]
    for header in table.spare:
        place = table.headers.index(header)
        if place in widths and total(at_least=True) > most:
            del widths[place]
    for least in (READABLE, NARROWEST):  # the last one is what is read most, so it is cut further at the end only
        for place in reversed(giving):
            if place in widths:
                floor = least if place == giving[-1] else NARROWEST
                widths[place] = max(widths[place] - max(total() - most, 0), min(widths[place], floor))


def _row(cells: Sequence[tuple[str, str, int, bool]], paint: Paint) -> str:
    """One line; what is too wide for its column is cut."""
    parts = []
    for text, style, most, right in cells:
        shown = cut(text, most)
        room = " " * (most - width(shown))
        parts.append(room + paint(shown, style) if right else paint(shown, style) + room)
    return GAP.join(parts).rstrip()


def wrapped(text: str, columns: int, *, first: int = 0, further: int = 2) -> str:
    """A message in lines that end between words. A command of ours stays in one line, so that it can be copied.

    Args:
        first: columns that are taken at the beginning of the first line.
        further: columns that stay empty before lines that go on, besides those before the line that they go on from.
    """
    if all(width(line) + first <= columns for line in text.splitlines()):
        return text
    import textwrap

    joined = _COMMAND.sub(lambda found: found[0].replace(" ", _NO_BREAK), text)
    lines: list[str] = []
    for line in joined.splitlines():
        began = " " * first if not lines else ""
        rest = re.match(r" *", line)[0] + " " * further  # type: ignore[index]
        parts = textwrap.wrap(
            began + line, columns, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
        )
        lines += [parts[0][len(began) :], *parts[1:]] if parts else [""]
    return "\n".join(lines).replace(_NO_BREAK, " ")


def _drawn(piece: str) -> str:
    return piece.drawn if isinstance(piece, Cell) else piece


def width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, most: int) -> str:
    """A text of this many columns at most."""
    if width(text) <= most:
        return text
    if text.isascii():
        return text[: most - 1] + "…"
    from rich.cells import set_cell_size

    return set_cell_size(text, most - 1).rstrip() + "…"
