"""Ends what code in a kernel has started and what has left the kernel's session, as daemons do, when somebody ended the
code. An interrupt does not reach them. What goes on in the session, such as the workers of a pool, is only named: code
that comes later may need it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .. import errors
from ..models.runs import ProcessRef
from ..system import redaction

if TYPE_CHECKING:
    from ..helper.client import Helper

GRACE = 5.0  # seconds that they have to end after SIGTERM
LOOK = 0.1  # seconds between two looks


def end(helper: Helper, run: str) -> list[ProcessRef]:
    """End what a kernel run has left that was ended; returns what lives on.

    Raises:
        errors.ConnectionFailed: the runtime cannot be reached.
    """
    try:
        found = helper.kernel_children(run)
        for signal in ("SIGTERM", "SIGKILL"):
            if not found.apart:
                break
            helper.kernel_children(run, signal)
            deadline = time.monotonic() + GRACE
            while (found := helper.kernel_children(run)).apart and time.monotonic() < deadline:
                time.sleep(LOOK)
    except errors.NotFoundError:  # it was not recorded
        return []
    left = [*found.apart, *found.inside]
    return [ProcessRef(pid=process.pid, command=redaction.hide(process.command)) for process in left]
