"""Processes of this machine: which one it is, and signals for it.

Runs on the runtime (Python 3.8 and newer, standard library only), in the helper and in the programs it starts. A
process is known by its id *and* its identity, because the system gives ids again to later processes.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal


def identity(pid: int, *, zombie: bool = False) -> str | None:
    """Tells a process from a later one with the same id; None when it does not exist, or is a zombie.

    It is "?" for every process that exists, where there is no /proc or it cannot be read now (no descriptor is left).

    Args:
        zombie: take a process that has ended and that its parent has not waited for as one that exists.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except ProcessLookupError:
        return None
    except OSError:
        pass
    else:
        return None if fields[0] in (b"Z", b"X") and not zombie else f"{_boot()}-{int(fields[19])}"
    if os.name == "nt":
        return "?"  # os.kill(pid, 0) would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "?"


def lives(pid: int | None, start: str | None) -> bool:
    """Whether the process with this id and identity exists. What cannot be looked at counts as alive."""
    found = identity(pid) if pid is not None and start is not None else None
    return found is not None and (found == start or "?" in (found, start))


def same_boot(start: str) -> bool:
    """Whether an identity is of a process that was started since the machine was booted."""
    return start == "?" or start.rpartition("-")[0] == _boot()


@functools.lru_cache(maxsize=None)  # noqa: UP033 - `cache` is not in Python 3.8
def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "?"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # realtime signals have no names of their own
        return f"SIG{number}"


def send_signal(pid: int, number: int) -> bool:
    """Send a signal to the process group that `pid` leads; False when the group does not exist."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except OSError:
        return False
    return True


def kernel_process(kernel: str) -> tuple[int, str | None] | None:
    """The process of a kernel and its identity, found by its arguments; None without /proc, or if there is none."""
    wanted = f"kernel-{kernel}.json".encode()
    try:
        names = os.listdir("/proc")
    except OSError:
        return None
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
        except OSError:
            continue
        if any(argument.endswith(wanted) for argument in arguments) and os.getpid() != int(name):
            return int(name), identity(int(name))
    return None


def unhurried() -> list[str]:
    """What is put before a command so that it does not slow the work: less of a busy processor, and the disk when
    nobody else uses it (`-t`: where the system refuses that, it is started all the same)."""
    nice, ionice = shutil.which("nice"), shutil.which("ionice")
    # 19 would have it wait for minutes for its turn.
    return [*([nice, "-n", "10"] if nice else ()), *([ionice, "-t", "-c", "3"] if ionice else ())]
