"""A progress bar for people, drawn on stderr once a transfer takes longer than a moment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import config
from .plain_text import printable
from .sizes import size as shown_size

if TYPE_CHECKING:
    from .output import Printer

PATIENCE = 0.5  # seconds before anything is drawn


class Told:
    """Hears of a transfer: what is done, and how much there will be. This one tells nobody."""

    def advance(self, files: int, size: int) -> None:
        """Count what was done since the last call."""

    def expect(self, files: int, size: int) -> None:
        """Note how much there is to do in all."""


@contextlib.contextmanager
def telling(printer: Printer, title: str) -> Iterator[Told]:
    """A bar on a terminal, once a transfer has taken long enough to ask for one; elsewhere a line now and then."""
    if printer.shows_a_person:
        with Bar(title) as bar:
            yield bar
    else:
        counter = _Counter()
        with printer.reporting(lambda: f"{title}: {counter.told()},"):
            yield counter


class _Counter(Told):
    def __init__(self) -> None:
        self._done = 0
        self._all: int | None = None

    def advance(self, files: int, size: int) -> None:
        self._done += size

    def expect(self, files: int, size: int) -> None:
        self._all = size

    def told(self) -> str:
        return shown_size(self._done) + ("" if self._all is None else f" of {shown_size(self._all)}")


class Bar(Told):
    """Files and bytes done so far, of how many, how fast, and the time left; `rich` is imported when the first line is
    drawn."""

    def __init__(self, title: str) -> None:
        self._title = printable(title)
        self._began = time.monotonic()
        self._files = self._bytes = 0
        self._expected: tuple[int, int] | None = None
        self._drawn: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn is not None:
            self._drawn.stop()

    def advance(self, files: int, size: int) -> None:
        self._files += files
        self._bytes += size
        if self._drawn is None and time.monotonic() - self._began > PATIENCE:
            self._draw()
        if self._drawn is not None:
            self._drawn.update(self._task, completed=self._bytes, **self._told())

    def expect(self, files: int, size: int) -> None:
        self._expected = files, size
        if self._drawn is not None:
            self._drawn.update(self._task, total=size, **self._told())

    def _told(self) -> dict[str, str]:
        files, size = self._expected or (None, None)
        number = f"{self._files}" if files is None else f"{self._files}/{files}"
        of = "" if size is None else f" of {shown_size(size)}"
        return {
            "files": f"{number} files" if files != 1 else "",
            "size": f"{shown_size(self._bytes)}{of}",
            "rate": f"{shown_size(self._bytes / max(time.monotonic() - self._began, 0.1))}/s",
        }

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        known = self._expected is not None
        self._drawn = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *([BarColumn(bar_width=16), TextColumn("{task.percentage:.0f}%")] if known else []),
            TextColumn("{task.fields[files]}"),
            TextColumn("{task.fields[size]}"),
            TextColumn("{task.fields[rate]}"),
            *([TimeRemainingColumn(compact=True)] if known else []),
            transient=True,
            console=Console(stderr=True, no_color=not config.colour_allowed()),
        )
        total = None if self._expected is None else self._expected[1]
        self._task = self._drawn.add_task(self._title, total=total, completed=self._bytes, **self._told())
        self._drawn.start()
