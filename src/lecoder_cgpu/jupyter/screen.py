"""Text as a terminal shows it: the one place that carries out carriage returns, backspaces and escape sequences.

A `Screen` is a terminal of unlimited width whose last rows can still change. Rows that left it at the top are final:
`take` hands them over, so that an endless progress bar costs no memory. Documents, pipes and notebooks use it alike.

Text without any of these controls passes through unchanged, at the speed of `str.split`. A row is kept as the text
that was written until somebody writes into the middle of it; only then does it become single cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .screen_row import COLOUR, Row, styled, switch

ROWS = 50  # of a large terminal window: nothing above them can be written over
LONGEST = 1 << 20  # characters of a row that can be written over: on any terminal, it fills more than the screen
COLUMNS = 1000  # where movements to the right end, however far they were meant to go

_STRING = r"\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)"  # titles, links and other strings
_ESCAPE = re.compile(rf"{_STRING}|\x1b(?:\[[0-?]*[ -/]*[@-~]?|[ -/]*[0-~])?")
_TOKEN = re.compile(
    rf"(?P<text>[^\x1b\r\b]+)|(?P<control>[\r\b])|{_STRING}"
    r"|\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<csi>[@-~])?|\x1b[ -/]*(?P<escape>[0-~])?"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]*|[\]PX^_][^\x07\x1b]{0,4096}\x1b?|[ -/]*)?\Z")


def strip_ansi(text: str) -> str:
    """The text without escape sequences; they are not carried out."""
    return _ESCAPE.sub("", text) if "\x1b" in text else text


def render(text: str, *, colour: bool = False) -> str:
    """What a terminal would show in the end; with `colour`, colours stay."""
    if is_plain(text if not colour else COLOUR.sub("", text)):
        return text
    screen = Screen(colour=colour)
    screen.feed(text)
    return screen.take() + screen.rest()


def is_plain(text: str) -> bool:
    """Whether a terminal shows the text as it is written."""
    return "\x1b" not in text and "\r" not in text and "\b" not in text


class Screen:
    """A terminal's screen, to which text is written piece by piece.

    Args:
        rows: how many of the last rows can be written over.
        colour: keep colours, as escape sequences in the text.

    `depth` is how many rows above the last one the cursor has worked lately.
    """

    def __init__(self, rows: int = ROWS, *, colour: bool = False) -> None:
        self._size = rows
        self._colour = colour
        self._rows = [Row("")]
        self._y = 0
        self._x: int | None = None  # None: behind the text of a row that was never written over
        self._style = ""
        self._saved = (0, 0)
        self._main: tuple[list[Row], int, int | None] | None = None  # while a program uses the alternate screen
        self._unfinished = ""  # the beginning of an escape sequence
        self._hidden = False  # the cursor: programs hide it while they draw
        self._done: list[str] = []
        self._done_style = ""
        self.depth = 0
        self._rows_since_up = 0

    # --- writing ---

    def feed(self, text: str) -> None:
        """Write a piece; an escape sequence may be cut anywhere."""
        text = self._unfinished + text
        self._unfinished = ""
        if "\x1b" in text:
            if cut := _UNFINISHED.search(text, max(len(text) - 4200, 0)):
                text, self._unfinished = text[: cut.start()], cut[0]
            if not self._colour:
                text = COLOUR.sub("", text)
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if is_plain(text):
            self._write_text(text)
            return
        for token in _TOKEN.finditer(text):
            if written := token["text"]:
                self._write_text(written)
            elif control := token["control"]:
                self._move(self._y, 0 if control == "\r" else self._column() - 1)
            elif final := token["csi"]:
                self._sequence(final, token["parameters"])
            elif escape := token["escape"]:
                self._escape(escape)

    def _write_text(self, text: str) -> None:
        """Write text with line ends, without other controls."""
        while text:
            if self._x is None and self._y == len(self._rows) - 1:
                self._append(text)
                return
            line, newline, text = text.partition("\n")
            if line:
                self._write(line)
            if newline:
                self._line_feed()

    def _append(self, text: str) -> None:
        """Write behind everything else."""
        line, newline, text = text.partition("\n")
        if line:
            self._rows[-1].append(line, self._style)
            self._let_go()
        if not newline:
            return
        lines = text.rsplit("\n", self._size)
        self._count_rows(len(lines))
        if len(lines) > self._size:  # more than the screen holds
            self._scroll(len(self._rows))
            if self._main is None:
                self._done.append(switch(self._done_style, self._style) + lines[0] + "\n")
                self._done_style = self._style
            del lines[0]
        rows = [Row(line, self._style) for line in lines]
        if self._hidden:
            for row in rows:
                row.redrawn = True
        self._rows += rows
        self._scroll(len(self._rows) - self._size)
        self._y = len(self._rows) - 1

    def _let_go(self) -> None:
        """Hand over what is far too long for a row, so that output without line ends costs no memory."""
        if self._rows[-1].written > LONGEST and self._main is None:
            self._scroll(len(self._rows) - 1)
            self._done.append(self._emit(self._rows[0]))
            self._rows, self._y, self._x = [Row("", self._style)], 0, None

    def _write(self, text: str) -> None:
        row = self._rows[self._y]
        if self._x is None:
            row.append(text, self._style)
            return
        self._x = row.overwrite(self._x, text, self._style)

    def _line_feed(self) -> None:
        self._y += 1
        if self._y == len(self._rows):
            self._rows.append(Row("", self._style))
            self._rows[-1].redrawn = self._hidden
            self._count_rows(1)
            if len(self._rows) > self._size:
                self._scroll(1)
                self._y -= 1
        self._set_column(0)

    def _count_rows(self, count: int) -> None:
        self._rows_since_up += count
        if self._rows_since_up > self._size:
            self.depth = 0

    def _column(self) -> int:
        return self._rows[self._y].width() if self._x is None else self._x

    def _set_column(self, column: int) -> None:
        column = min(max(column, 0), max(COLUMNS, self._column()))
        self._x = None if column == 0 and self._rows[self._y].is_empty() else column

    def _move(self, row: int, column: int) -> None:
        """Move the cursor, at most to the edges of the screen."""
        self._rows[self._y].redrawn = True
        if row < self._y:
            self.depth = max(self.depth, min(len(self._rows) - 1 - row, self._size - 1))
            self._rows_since_up = 0
        if row != self._y:
            self._x = self._column()
            self._y = min(max(row, 0), self._size - 1)
            while self._y >= len(self._rows):
                self._rows.append(Row("", self._style))
        self._set_column(column)

    # --- escape sequences ---

    def _escape(self, final: str) -> None:
        if final == "7":
            self._saved = (self._y, self._column())
        elif final == "8":
            self._move(*self._saved)
        elif final == "M":
            self._move(self._y - 1, self._column())
        elif final == "c":
            self._erase_screen(2)
            self._move(0, 0)

    def _sequence(self, final: str, parameters: str) -> None:
        if parameters[:1] in ("<", "=", ">", "?"):
            if parameters in ("?1049", "?1047", "?47") and final in "hl":
                self._use_alternate(final == "h")
            elif parameters == "?25" and final in "hl":
                self._hidden = final == "l"
                self._rows[self._y].redrawn |= self._hidden
            return
        if final == "m":
            self._style = styled(self._style, parameters)
            return
        numbers = [int(part[:6]) if part[:6].isdecimal() else 0 for part in parameters.split(";")]
        count = max(numbers[0], 1)
        if final in _MOVES:
            self._move(*_MOVES[final](self._y, self._column(), count))
        elif final in "Hf":
            self._move(count - 1, max(numbers[1] if len(numbers) > 1 else 1, 1) - 1)
        elif final == "J":
            self._erase_screen(numbers[0])
        elif final in "KXP@":
            self._edit_row(final, numbers[0])
        elif final == "L":
            count = min(count, self._size)
            self._rows[self._y : self._y] = [Row("", self._style) for _ in range(count)]
            del self._rows[self._size :]
            self._set_column(0)
        elif final == "M":
            del self._rows[self._y : self._y + count]
            self._fill()
            self._set_column(0)
        elif final == "S":
            self._scroll(min(count, len(self._rows)))
            self._fill()
        elif final == "s":
            self._saved = (self._y, self._column())
        elif final == "u":
            self._move(*self._saved)

    def _fill(self) -> None:
        """Have a row where the cursor is."""
        self._x = 0
        while self._y >= len(self._rows):
            self._rows.append(Row("", self._style))

    def _edit_row(self, final: str, number: int) -> None:
        column, row = self._column(), self._rows[self._y]
        cells = row.as_cells()
        count = max(number, 1)
        if final == "P":
            row.cut(column)
            row.cut(column + count)
            del cells[column : column + count]
        elif final == "@":
            row.cut(column)
            if column < len(cells):
                cells[column:column] = [(" ", "")] * min(count, COLUMNS)
        elif final == "X":
            row.blank(column, column + count)
        elif number == 0:
            row.cut(column)
            del cells[column:]
        elif number == 1:
            row.blank(0, column + 1)
        elif number == 2:
            cells.clear()
        self._x = column

    def _erase_screen(self, which: int) -> None:
        if which == 0:
            self._edit_row("K", 0)
            del self._rows[self._y + 1 :]
        elif which in (1, 2):
            column = self._column()
            self._rows[: self._y] = [Row("") for _ in range(self._y)]
            self._edit_row("K", which)
            self._x = column
            if which == 2:
                del self._rows[self._y + 1 :]

    def _use_alternate(self, alternate: bool) -> None:
        """What a program shows on the alternate screen is gone when it leaves it."""
        if alternate and self._main is None:
            self._main = (self._rows, self._y, self._x)
            self._rows, self._y, self._x = [Row("", self._style)], 0, None
        elif not alternate and self._main is not None:
            self._rows, self._y, self._x = self._main
            self._main = None

    # --- reading ---

    def _scroll(self, count: int) -> None:
        """The first rows leave the screen."""
        if count <= 0:
            return
        if self._main is None:
            self._done += [self._emit(row) + "\n" for row in self._rows[:count]]
        del self._rows[:count]

    def _emit(self, row: Row) -> str:
        text, self._done_style = row.render(self._done_style)
        return text

    def take(self) -> str:
        """The text of the rows that have left the screen since the last call, each with its line end; of a row that is
        far too long, its beginning without one."""
        taken = "".join(self._done)
        self._done.clear()
        return taken

    def take_above(self, keep: int) -> str:
        """Let rows leave that are above the cursor and are not among the last `keep` before the last one.

        Rows that a program has drawn again stay until a line follows that it has not.
        """
        if self._main is None:
            count = min(self._y, len(self._rows) - 1 - keep)
            while count > 0 and self._rows[count - 1].redrawn:
                count -= 1
            if count > 0:
                self._scroll(count)
                self._y -= count
        return self.take()

    def rest(self) -> str:
        """The text on the screen; it stays there."""
        rows = self._main[0] if self._main is not None else self._rows
        style = self._done_style
        lines = []
        for row in rows:
            text, style = row.render(style)
            lines.append(text)
        return "\n".join(lines)


# Where the cursor goes from a row and a column.
_MOVES: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "A": lambda row, column, count: (row - count, column),
    "B": lambda row, column, count: (row + count, column),
    "e": lambda row, column, count: (row + count, column),
    "C": lambda row, column, count: (row, column + count),
    "a": lambda row, column, count: (row, column + count),
    "D": lambda row, column, count: (row, column - count),
    "E": lambda row, column, count: (row + count, 0),
    "F": lambda row, column, count: (row - count, 0),
    "G": lambda row, column, count: (row, count - 1),
    "`": lambda row, column, count: (row, count - 1),
    "d": lambda row, column, count: (count - 1, column),
}
