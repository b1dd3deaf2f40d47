"""Saves a notebook now and then while one of its cells runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType


class Autosave:
    """Calls `save` at an interval in a thread of its own, if anything has changed. `change` and `save` never overlap.

    Args:
        save: writes what there is.
        seconds: the interval; 0 for never.
    """

    def __init__(self, save: Callable[[], None], seconds: float) -> None:
        self._save = save
        self._seconds = seconds
        self._lock = threading.Lock()
        self._changed = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Autosave:
        if self._seconds > 0:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def change(self, action: Callable[[], None]) -> None:
        """Do something that changes the notebook."""
        with self._lock:
            action()
            self._changed = True

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            with self._lock:
                if self._changed:
                    self._save()
                    self._changed = False
