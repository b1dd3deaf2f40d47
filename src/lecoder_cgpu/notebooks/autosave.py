"""Saves a notebook while it runs: after cells, and now and then while one runs.

To write a notebook takes time that grows with all that it holds, and cells may be quick and many. So saving gets a
small part of the time only; what a cell has left unsaved is saved soon after, by a thread, however long the next takes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from ..system.periodic import every

PAUSE = 0.5  # seconds between two looks at what is not saved
SHARE = 0.05  # of the time may be spent on saving while cells end


class Autosave:
    """Saves what has changed. A change and a save never overlap.

    Args:
        save: writes what there is.
        show: puts into the notebook what the running cell has shown so far.
        seconds: the interval at which the output of a running cell is saved; 0 is never.
    """

    def __init__(self, save: Callable[[], None], show: Callable[[], None], seconds: float) -> None:
        self._save = save
        self._show = show
        self._seconds = seconds
        self._lock = threading.Lock()
        self._ended = self._changed = False  # a cell has ended, or the running one has shown something
        self._saved_at = self._next_at = time.monotonic()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Save what is due while the body runs, and what is left if it fails."""
        try:
            with every(PAUSE, self._look):
                yield
        except BaseException:
            if self._ended:
                self._write()
            raise

    def change(self, action: Callable[[], None]) -> None:
        """Do something with the running cell."""
        with self._lock:
            action()
            self._changed = True

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """The body ends the running cell."""
        with self._lock:
            yield
            self._ended, self._changed = True, False
            if time.monotonic() >= self._next_at:
                self._write()

    def _look(self) -> None:
        with self._lock:
            now = time.monotonic()
            shown_is_due = self._changed and 0 < self._seconds <= now - self._saved_at
            if shown_is_due or (self._ended and now >= self._next_at):
                if self._changed and self._seconds > 0:
                    self._show()
                    self._changed = False
                self._write()

    def _write(self) -> None:
        began = time.monotonic()
        self._save()
        self._ended = False
        self._saved_at = time.monotonic()
        self._next_at = self._saved_at + (self._saved_at - began) / SHARE
