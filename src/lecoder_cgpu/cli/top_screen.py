"""`top` on a terminal: looks are taken in a thread, keys are read in another one, and this one draws."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable

from .. import errors
from ..models.status import Top
from . import top_view
from .console import Console
from .looks import Cell, Paint
from .top_view import SORTS, Trends, View

_BEGIN = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the other screen, no cursor, and no line that goes on in the next one
_END = b"\x1b[?7h"  # the console puts back the rest
_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_KEYS = {
    "quit": ("q", "Q", "\x03", "\x04"),
    "up": ("\x1b[A", "\x1bOA", "k"),
    "down": ("\x1b[B", "\x1bOB", "j"),
    "page up": ("\x1b[5~",),
    "page down": ("\x1b[6~",),
    "top": ("\x1b[H", "\x1bOH", "\x1b[1~", "g"),
    "bottom": ("\x1b[F", "\x1bOF", "\x1b[4~", "G"),
    "next sort": ("\x1b[C", "\x1bOC", "s"),
    "sort before": ("\x1b[D", "\x1bOD", "S"),
    "look": (" ", "r", "\r"),
}
_NAMED = {key: name for name, keys in _KEYS.items() for key in keys}
TICK = 1.0  # seconds after which ages are drawn anew
LATE = 5.0  # seconds beyond the usual pause, after which it is told how old the last look is


class Screen:
    """One visit to the live view.

    Args:
        look: takes a look; errors of ours are shown, and the look before stays.
        write: puts bytes on the terminal.
        delay: seconds between two looks. count: after how many of them it ends by itself, None for never.
    """

    def __init__(
        self, look: Callable[[], Top], write: Callable[[bytes], None], paint: Paint, delay: float, count: int | None
    ) -> None:
        self._look = look
        self._write = write
        self._paint = paint
        self._delay = delay
        self._count = count
        self._news: queue.Queue[Top | BaseException | str | tuple[int, int]] = queue.Queue()
        self._wanted = threading.Event()  # a look at once
        self._over = threading.Event()
        self._trends = Trends()
        self._size = (24, 80)
        self._first = 0  # line of the body at the top of the screen
        self._sort = 0
        self._problem = ""
        self._seen_at = 0.0
        self.seen: Top

    def run(self, first: Top) -> None:
        """Show a look and those that follow, until the user leaves.

        Raises:
            Exception: what a look has raised that is no error of ours.
        """
        self._take(first)
        looks_taken = 1
        threading.Thread(target=self._watch, daemon=True).start()
        keys = Console(
            sys.stdin.fileno(),
            self._write,
            self._news.put,
            lambda rows, columns: self._news.put((rows, columns)),
            lambda: self._news.put("q"),
            None,
        )
        try:
            with keys:
                keys.show(_BEGIN)
                try:
                    while self._count is None or looks_taken < self._count:
                        self._draw()
                        news = self._next()
                        if isinstance(news, str) and not self._obey(news):
                            break
                        looks_taken += not isinstance(news, (str, tuple)) and news is not None
                finally:
                    self._write(_END)
        finally:
            self._over.set()
            self._wanted.set()

    def _next(self) -> Top | BaseException | str | tuple[int, int] | None:
        """What happened next, taken in; None when nothing did for a while."""
        try:
            news = self._news.get(timeout=TICK)
        except queue.Empty:
            return None
        match news:
            case Top():
                self._take(news)
            case errors.Error():
                self._problem = news.message
            case BaseException():
                raise news
            case (rows, columns):
                self._size = rows, columns
        return news

    def _take(self, seen: Top) -> None:
        self.seen, self._problem, self._seen_at = seen, "", time.monotonic()
        self._trends.note(seen, self._seen_at)

    def _watch(self) -> None:
        while not self._over.is_set():
            self._wanted.wait(self._delay)
            self._wanted.clear()
            if self._over.is_set():
                return
            try:
                self._news.put(self._look())
            except BaseException as error:
                self._news.put(error)
                if not isinstance(error, errors.Error):
                    return

    # --- keys ---

    def _obey(self, typed: str) -> bool:
        """Do what keys ask for; False when the user leaves."""
        for key in _KEY.findall(typed):
            match _NAMED.get(key):
                case "quit":
                    return False
                case "look":
                    self._wanted.set()
                case "next sort":
                    self._sort = (self._sort + 1) % len(SORTS)
                case "sort before":
                    self._sort = (self._sort - 1) % len(SORTS)
                case "top":
                    self._first = 0
                case "bottom":
                    self._first = 1 << 30
                case name if name is not None:
                    step = self._size[0] - 3 if name.startswith("page") else 1
                    self._first += max(step, 1) * (-1 if name.endswith("up") else 1)
        return True

    # --- the picture ---

    def _draw(self) -> None:
        rows, columns = self._size
        # One column is left free: erasing to the end of a full line would take its last character.
        view = View(self._trends, columns - 1, self._paint, SORTS[self._sort], time.time())
        age = time.monotonic() - self._seen_at
        late = f"the last look was {age:.0f} s ago" if age > self._delay + LATE else ""
        problem = f"no new look: {self._problem}" if self._problem else late
        head = top_view.head(self.seen, view, problem) if rows > 3 else []
        body = top_view.body(self.seen, view)
        room = max(rows - len(head) - (rows > 2), 1)
        self._first = max(min(self._first, len(body) - room), 0)
        shown = body[self._first : self._first + room]
        lines = [*head, *shown, *[""] * (room - len(shown))]
        if rows > 2:
            lines.append(self._help(len(body), room, view))
        self._write(("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines[:rows])).encode("utf-8", "replace"))

    def _help(self, whole: int, room: int, view: View) -> str:
        """The line of keys."""
        last = min(self._first + room, whole)
        scroll = [f"↑↓ {self._first + 1}-{last} of {whole}"] if whole > room else []
        parts = ["q quit", *scroll, f"←→ sort: {view.sort}", "space look now", f"every {self._delay:g} s"]
        return top_view.fitted([Cell(part, "dim") for part in parts], view)


def can_show() -> bool:
    """Whether keys can be read here, and a screen be drawn."""
    with contextlib.suppress(OSError, ValueError):
        return sys.stdin is not None and os.isatty(sys.stdin.fileno())
    return False
