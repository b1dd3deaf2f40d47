"""Which process a process id means: ids are reused, and mean nothing after a reboot.

Linux answers from /proc, which costs no import; other systems through psutil. An identity is a text that is stored
beside a process id; `is_same` compares it with the process that has the id now.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from functools import cache
from pathlib import Path

_PSUTIL = "psutil/"  # begins the identities that psutil gives
_UNREADABLE = "unreadable"  # of a process that exists, and cannot be looked at just now: no file can be opened any more
_WINDOWS_EPOCH = 11644473600.0  # seconds from 1601, where Windows begins to count, to 1970
_LSTART = "%a %b %d %H:%M:%S %Y"


def of(pid: int) -> str | None:
    """The identity of the process with this id; None if there is none, or only a dead one that was not waited for."""
    return _of_linux(pid) if sys.platform == "linux" else _of_psutil(pid)


def is_same(pid: int, identity: str) -> bool:
    """Whether the process with this id is the one that had this identity. What cannot be looked at counts as the same:
    nothing is called dead on doubt."""
    found = of(pid)
    if found is None:
        return False
    if _UNREADABLE in (found, identity):
        return True
    if found.startswith(_PSUTIL) and not identity.startswith(_PSUTIL):
        return _is_same_of_0_6(found, identity)
    return found == identity


def children(pid: int) -> list[int]:
    """The ids of the processes that this one started and that are still alive."""
    return _children_linux(pid) if sys.platform == "linux" else _children_psutil(pid)


@cache
def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "unknown"


def _of_linux(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return _UNREADABLE if _exists(pid) else None
    if fields[0] in ("Z", "X"):
        return None
    return f"{_boot()}/{fields[19]}"  # field 22 of proc(5): the start time, counted from after the name


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True


def _children_linux(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def _of_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return f"{_PSUTIL}{process.create_time():.3f}"
    except psutil.AccessDenied:
        return f"{_PSUTIL}unreadable"  # it lives, and is nobody's that we know
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return None


def _children_psutil(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except (psutil.Error, ValueError, OverflowError):
        return []


def _is_same_of_0_6(found: str, identity: str) -> bool:
    """Compare with an identity that version 0.6 stored: the start as `ps -o lstart` shows it on macOS, in 100 ns since
    1601 on Windows."""
    try:
        created = float(found.removeprefix(_PSUTIL))
        if identity.isdecimal():
            return abs(int(identity) / 1e7 - _WINDOWS_EPOCH - created) < 0.01
        return abs(time.mktime(time.strptime(identity, _LSTART)) - created) <= 1.0  # whole seconds
    except (ValueError, OverflowError):
        return False
