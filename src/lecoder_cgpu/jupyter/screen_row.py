"""One row of a `screen.Screen`, and the colours in it."""

from __future__ import annotations

import re
from functools import lru_cache

TAB = 8  # columns
COLOUR = re.compile(r"\x1b\[([0-9;:]*)m")
# Characters of which each takes one column; of others the width is looked up.
_NARROW = re.compile(r"[ -~\xa1-\xac\xae-\u02ff\u2010-\u2017\u2500-\u259f\u2800-\u28ff]*")

_Cell = tuple[str, str]  # what stands there and its style; "" is the rest of a wide character or of a tab


class Row:
    """One row: as it was written, colours included, until something is written into the middle of it; then as cells."""

    __slots__ = ("_cells", "_end", "_parts", "_start", "redrawn", "written")

    def __init__(self, text: str, style: str = "") -> None:
        self._parts = [text] if text else []
        self._start = self._end = style
        self._cells: list[_Cell] | None = None
        self.written = len(text)  # characters that were written behind each other
        self.redrawn = False  # it is part of a picture that a program draws again and again

    def is_empty(self) -> bool:
        return not self._parts and self._cells is None

    def append(self, text: str, style: str) -> None:
        """Write behind the end of a row that is not in cells."""
        if style != self._end:
            if self._parts:
                text = switch(self._end, style) + text
            else:
                self._start = style
            self._end = style
        self._parts.append(text)
        self.written += len(text)

    def _text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def width(self) -> int:
        """Columns up to the end of what was written."""
        text = self._text()
        return len(text) if self._cells is None and _NARROW.fullmatch(text) else len(self.as_cells())

    def overwrite(self, column: int, text: str, style: str) -> int | None:
        """Write from a column on; returns where the cursor is then, None for the end of a row that is not in cells."""
        if self._cells is None and self._start == self._end == style and _NARROW.fullmatch(text):
            old = self._text()
            if _NARROW.fullmatch(old):
                self._parts = [old[:column].ljust(column) + text + old[column + len(text) :]]
                column += len(text)
                return column if column < len(self._parts[0]) else None
        return self._put_text(self.as_cells(), column, text, style)

    def _put_text(self, cells: list[_Cell], column: int, text: str, style: str) -> int:
        if column <= len(cells) and _NARROW.fullmatch(text):
            end = column + len(text)
            self.cut(column)
            self.cut(end)
            cells[column:end] = [(character, style) for character in text]
            return end
        for character in text:
            column = self._put(cells, column, character, style)
        return column

    def as_cells(self) -> list[_Cell]:
        """The cells, which may be changed; the row consists of cells from now on."""
        if self._cells is None:
            self._cells = []
            style, column, end = self._start, 0, 0
            text = self._text()
            for colour in COLOUR.finditer(text):
                column = self._put_text(self._cells, column, text[end : colour.start()], style)
                style, end = styled(style, colour[1]), colour.end()
            self._put_text(self._cells, column, text[end:], style)
            self._parts = []
        return self._cells

    def _put(self, cells: list[_Cell], column: int, character: str, style: str) -> int:
        if character == "\t":
            stop = (column // TAB + 1) * TAB
            if column == len(cells):
                cells += [("\t", style)] + [("", style)] * (stop - column - 1)
            return stop
        width = 1 if " " <= character <= "~" else _width(character)
        if width == 0:
            at = min(column, len(cells)) - 1
            while at > 0 and not cells[at][0]:
                at -= 1
            if at >= 0 and len(cells[at][0]) < 32:
                cells[at] = (cells[at][0] + character, cells[at][1])
            return column
        while len(cells) < column:
            cells.append((" ", ""))
        if len(cells) > column:
            self.cut(column)
            self.cut(column + width)
        cells[column : column + width] = [(character, style)] + [("", style)] * (width - 1)
        return column + width

    def cut(self, column: int) -> None:
        """Make blanks of a wide character, or a tab, that reaches across the left edge of this column."""
        cells = self.as_cells()
        if column >= len(cells) or cells[column][0]:
            return
        first = column
        while first > 0 and not cells[first][0]:
            first -= 1
        last = column
        while last < len(cells) and not cells[last][0]:
            last += 1
        cells[first:last] = [(" ", style) for _, style in cells[first:last]]

    def blank(self, begin: int, end: int) -> None:
        """Make blanks of these columns."""
        cells = self.as_cells()
        self.cut(begin)
        self.cut(end)
        end = min(end, len(cells))
        cells[begin:end] = [(" ", "")] * (end - begin)

    def render(self, before: str) -> tuple[str, str]:
        """The text with its colours, and the style behind it, where `before` is the style of the text before it."""
        if self._cells is None:
            text = self._text()
            return (switch(before, self._start) + text, self._end) if text else ("", before)
        parts, current = [], before
        for text, style in self._cells:
            if text and style != current:
                parts.append(switch(current, style))
                current = style
            parts.append(text)
        return "".join(parts) + switch(current, ""), ""


@lru_cache(4096)
def _width(character: str) -> int:
    from rich.cells import get_character_cell_size

    return get_character_cell_size(character)


def switch(before: str, after: str) -> str:
    """The escape sequence that leads from one style to another."""
    if before == after:
        return ""
    return f"\x1b[{after}m" if not before else f"\x1b[0;{after}m" if after else "\x1b[0m"


# The codes that take others back, and what these begin with.
_OFF = {22: ("1", "2"), 23: ("3",), 24: ("4", "21"), 25: ("5", "6"), 27: ("7",), 28: ("8",), 29: ("9",)}


@lru_cache(1024)
def styled(style: str, parameters: str) -> str:
    """A style, as the codes that set it, after these codes of an escape sequence."""
    codes = {_slot(code): code for code in re.findall(r"[34]8;5;\d+|[34]8;2;\d+;\d+;\d+|[\d:]+", style)}
    for code in re.findall(r"[34]8[;:]5[;:]\d+|[34]8[;:]2[;:][\d:]*\d+;?\d*;?\d*|[\d:]+", parameters) or ["0"]:
        number = int(code[:6]) if code[:6].isdecimal() else -1
        if number == 0:
            codes.clear()
        elif number in _OFF:
            for off in _OFF[number]:
                codes.pop(off, None)
        elif number in (39, 49):
            codes.pop("foreground" if number == 39 else "background", None)
        elif (slot := _slot(code)) and len(code) <= 32:
            codes[slot] = code
    return ";".join(codes.values())


def _slot(code: str) -> str:
    """What a code sets: two codes with the same answer replace each other."""
    head = re.split("[;:]", code)[0]
    number = int(head) if head.isdecimal() and len(head) < 4 else 0
    if number in (*range(30, 39), *range(90, 98)):
        return "foreground"
    if number in (*range(40, 49), *range(100, 108)):
        return "background"
    return head if 1 <= number <= 9 or number == 21 else ""
