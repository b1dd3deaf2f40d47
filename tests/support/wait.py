"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT = 60.0


def wait_until(condition: Callable[[], bool], limit: float = LIMIT) -> None:
    """Return when the condition holds; fail when it does not come to that."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)
