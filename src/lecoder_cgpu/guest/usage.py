"""What a run uses: `usage.json` in its folder. Its time also shows that the run is still being watched. `memoryShare`
is how much of the machine's memory is in use, whoever uses it.

Runs on the runtime (Python 3.8 and newer, standard library only), in the helper and in a run's supervisor.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from . import memory
from .state_files import timestamp, write_json

INTERVAL = 5.0  # seconds between two notes
FIRST = 1.0  # seconds until the first note
LOOK = 1.0  # seconds between two looks at the memory
FULL = 0.9  # of the machine's memory in use, from which on each look is noted, and told at once: it may be the last


def usage(session: int) -> dict[str, Any] | None:
    """What the processes of a session use together: processor seconds, bytes of memory. None without /proc.

    A run leads a session of its own, and so does a kernel; the processes that they start belong to it.
    """
    if not os.path.exists("/proc/self/stat"):
        return None
    ticks, pages = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    pids, seconds, resident = [], 0.0, 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            pids.append(int(name))
            seconds += sum(int(field) for field in fields[11:15]) / ticks  # own, and of children that were waited for
            resident += int(fields[21]) * pages
    return {"pids": pids[:64], "processes": len(pids), "cpuSeconds": round(seconds, 2), "rssBytes": resident}


class UsageLog:
    """Writes `usage.json` of a run, each time that it is called.

    Args:
        folder: of the run.
        session: the id of the process that leads the session to be measured.
    """

    def __init__(self, folder: str, session: int) -> None:
        self._path = os.path.join(folder, "usage.json")
        self._session = session
        self._last: tuple[float, float] | None = None

    def __call__(self) -> None:
        found = usage(self._session) or {}
        now = time.monotonic()
        if self._last is not None and "cpuSeconds" in found:
            moment, seconds = self._last
            found["cpuPercent"] = round(max(100 * (found["cpuSeconds"] - seconds) / max(now - moment, 0.001), 0), 1)
        if "cpuSeconds" in found:
            self._last = now, found["cpuSeconds"]
        share = memory.share()
        if share is not None:
            found["memoryShare"] = share
        with contextlib.suppress(OSError):  # a full disk; the next one may succeed
            write_json(self._path, {"at": timestamp(time.time()), **found})
