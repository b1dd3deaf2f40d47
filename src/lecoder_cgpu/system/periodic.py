"""Does something at an interval while something else goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def every(seconds: float, action: Callable[[], None], *, patience: float | None = None) -> Iterator[None]:
    """Call `action` at an interval, in a thread of its own, while the body runs. An action under way is waited for.

    Args:
        seconds: the interval; 0 for never.
        patience: seconds for which an action under way is waited for at the end; None for any time.
    """
    if seconds <= 0:
        yield
        return
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(seconds):
            action()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(patience)
