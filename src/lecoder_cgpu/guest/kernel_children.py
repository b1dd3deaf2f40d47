"""What code in a kernel has started since some moment, and what of it lives.

Runs on the runtime (Python 3.8 and newer, standard library only), in the helper. A kernel has no run's mark in its
environment. A process counts as started by it if it is in the kernel's session, below the kernel, or has what Jupyter
writes into the environment of each kernel. Only Linux was tested; without /proc, nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, NamedTuple

from .processes import lives
from .run_processes import Process, as_process, named, table
from .runs import signal_number

_MARKS = (b"JPY_SESSION_NAME=", b"JPY_PARENT_PID=")


class Children(NamedTuple):
    """Living processes: those that have left the kernel's session, as daemons do, and those that are in it. An
    interrupt of the kernel reaches the latter: workers of a pool, which later code may need."""

    apart: list[Process]
    inside: list[Process]


def ticks_at(moment: float) -> int | None:
    """A time of the system's clock, as ticks since the machine was booted; None where that cannot be told."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - (time.time() - moment)
    return int(since_boot * os.sysconf("SC_CLK_TCK"))


def children(kernel: int, since: int) -> Children:
    """What the kernel with this process id has started at `since` (in ticks since the boot) or later."""
    entries = table() or []
    marks = _marks(kernel)
    own = {entry.pid for entry in entries if entry.session == kernel or entry.parent == kernel}
    young = [entry for entry in entries if entry.ticks >= since and entry.pid != kernel]
    own |= {entry.pid for entry in young if len(marks) == len(_MARKS) and marks == _marks(entry.pid)}
    fresh = set(own)
    while fresh:
        fresh = {entry.pid for entry in entries if entry.parent in fresh} - own
        own |= fresh
    apart: list[Process] = []
    inside: list[Process] = []
    for entry in young:
        if entry.pid in own and (process := as_process(entry.pid)) is not None:
            (inside if entry.session == kernel else apart).append(process)
    return Children(apart, inside)


def _marks(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return sorted(item for item in file.read().split(b"\0") if item.startswith(_MARKS))
    return []


def left_by(spec: dict[str, Any], signal: str | int | None) -> dict[str, Any]:
    """What lives of that which a run started, as the wire has it.

    Args:
        spec: of the run. signal: for each process that has left the kernel's session.
    """
    number = None if signal is None else signal_number(signal)
    pid, since = spec.get("kernelPid"), spec.get("startedTicks")
    if pid is None or since is None or not lives(pid, spec.get("kernelStart")):
        return {"apart": [], "inside": []}
    found = children(pid, since)
    for process in found.apart if number is not None else ():
        if lives(process.pid, process.start):
            with contextlib.suppress(OSError):
                os.kill(process.pid, number)  # type: ignore[arg-type]
    return {"apart": named(found.apart), "inside": named(found.inside)}
