"""What this process waits for now, so that whoever talks to people can tell what takes long."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

_waits: dict[object, tuple[str, float]] = {}  # what for, and since when, by the monotonic clock


@contextlib.contextmanager
def on(what: str) -> Iterator[None]:
    """Note while the body runs that something is waited for: `what` completes "waiting for"."""
    key = object()
    _waits[key] = (what, time.monotonic())
    try:
        yield
    finally:
        del _waits[key]


def longest() -> tuple[str, float] | None:
    """What is waited for longest, and for how many seconds now; None when nothing is."""
    waits = list(_waits.values())
    if not waits:
        return None
    what, since = min(waits, key=lambda wait: wait[1])
    return what, time.monotonic() - since
