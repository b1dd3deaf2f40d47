"""Which process a process id means: ids are reused, and mean nothing after a reboot.

Linux answers from /proc, macOS through `ps`, Windows through its API. Only Linux is covered by our tests.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from functools import cache
from pathlib import Path


def of(pid: int) -> str | None:
    """What tells this process from any other that has or had its id; None when there is no such process, or a dead one
    that its parent has not collected yet."""
    if sys.platform == "linux":
        return _linux(pid)
    if sys.platform == "win32":
        return _windows(pid)
    return _posix(pid)


def children(pid: int) -> list[int]:
    """The ids of the processes that this one started and that are still alive."""
    if sys.platform == "linux":
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(path.parent.name))
        return found
    if sys.platform == "win32":
        return []  # the server runs in a process group of its own there, and is ended as a whole
    listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return [int(pair[0]) for pair in pairs if len(pair) == 2 and pair[1] == str(pid)]


@cache
def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "unknown"


def _linux(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in ("Z", "X"):
        return None
    return f"{_boot()}/{fields[19]}"  # field 22 of proc(5): the start time, counted from after the name


def _posix(pid: int) -> str | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return shown[1].strip() if len(shown) == 2 and not shown[0].startswith("Z") else None


def _windows(pid: int) -> str | None:
    import ctypes

    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel32.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return None
    try:
        code = ctypes.c_ulong()
        kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
        times = [ctypes.c_ulonglong() for _ in range(4)]
        kernel32.GetProcessTimes(handle, *(ctypes.byref(item) for item in times))
    finally:
        kernel32.CloseHandle(handle)
    return str(times[0].value) if code.value == 259 else None  # STILL_ACTIVE
