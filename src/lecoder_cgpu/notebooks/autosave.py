"""Saves a notebook now and then while one of its cells runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from ..system.periodic import every


@contextlib.contextmanager
def autosaving(save: Callable[[], None], seconds: float) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Call `save` at an interval while the body runs, if anything has changed since.

    Lends the function through which the body changes the notebook; a change and `save` never overlap.

    Args:
        save: writes what there is.
        seconds: the interval; 0 for never.
    """
    lock = threading.Lock()
    changed = False

    def change(action: Callable[[], None]) -> None:
        nonlocal changed
        with lock:
            action()
            changed = True

    def save_changed() -> None:
        nonlocal changed
        with lock:
            if changed:
                save()
                changed = False

    with every(seconds, save_changed):
        yield change
