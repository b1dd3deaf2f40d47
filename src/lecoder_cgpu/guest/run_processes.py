"""The processes of a run: its command, and everything that the command started.

Runs on the runtime (Python 3.8 and newer, standard library only), in the helper and in the programs it starts.

A process belongs to a run if one of these is true:

* It is in the session or in the process group that the command leads.
* Its environment holds `MARK` with the folder of the run. So a daemon is found that made a session of its own.
* It is a descendant of a process that belongs to the run, or of the run's supervisor, which the system makes the parent
  of what has lost its own (see `adopt_orphans`). So a daemon is found that threw its environment away.
* The result of the run names it.

The first holds only while the id of the command is known to be the command's: the system gives ids again.

Only Linux was tested. Without /proc, the process group counts as one process, and nothing outside it is found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from .processes import identity, lives, same_boot, send_signal
from .state_files import note_signal, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "LECODER_CGPU_RUN"  # the environment variable that every process of a run inherits: the run's folder
ENDING = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGKILL")  # signals that are sent to end a run
KILL_PASSES = 10  # how often processes are looked for that were started while the others were killed
COMMAND_LENGTH = 200  # characters of a command line that are kept
POLL = 0.1  # seconds between two looks at processes that have to end
_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)


class Process(NamedTuple):
    """A living process: its id, its identity (see `identity`), and its command line."""

    pid: int
    start: str
    command: str


class Entry(NamedTuple):
    """A line of the system's table of processes; `ticks` is when it was started, in ticks since the boot."""

    pid: int
    parent: int
    group: int
    session: int
    ticks: int


class RunProcesses:
    """The processes of one run.

    Args:
        folder: of the run.
        started: the run's `state.json`; {} when the command was not started.
        result: the run's `result.json`; None while there is none.
        supervised: the supervisor lives, and has not written the result. Nobody else can have the id of the command.
    """

    def __init__(
        self, folder: str, started: dict[str, Any], result: dict[str, Any] | None = None, *, supervised: bool = False
    ) -> None:
        self._mark = f"\0{MARK}={folder}\0".encode("utf-8", "surrogateescape")
        self._pid: int | None = started.get("pid")
        self._start = str(started.get("start"))
        self._known = {(item["pid"], item["start"]) for item in (result or {}).get("remaining") or ()}
        self._supervised = supervised
        self._supervisor: int | None = started.get("supervisorPid") if supervised else None

    @property
    def leader_lives(self) -> bool:
        """Whether the command itself is alive."""
        return lives(self._pid, self._start)

    def alive(self) -> list[Process]:
        """Every process of the run that is alive, by process id."""
        if self._pid is None:
            return []
        owns_group = self.leader_lives or (self._supervised and same_boot(self._start))
        entries = table()
        if entries is None:
            in_group = hasattr(os, "killpg") and owns_group and send_signal(self._pid, 0)
            return [Process(self._pid, self._start, "")] if in_group else []
        found = {entry.pid for entry in entries if self._is_own(entry, owns_group)}
        if self._supervisor is not None:
            found |= {entry.pid for entry in entries if entry.parent == self._supervisor}
        fresh = set(found)
        while fresh:
            fresh = {entry.pid for entry in entries if entry.parent in fresh} - found
            found |= fresh
        return [process for process in map(as_process, sorted(found)) if process is not None]

    def _is_own(self, entry: Entry, owns_group: bool) -> bool:
        if owns_group and self._pid in (entry.pid, entry.group, entry.session):
            return True
        if self._known and any(pid == entry.pid and identity(pid) == start for pid, start in self._known):
            return True
        # What is older than the command needs no look at its environment.
        since = self._start.rpartition("-")[2]
        if same_boot(self._start) and since.isdigit() and entry.ticks < int(since):
            return False
        with contextlib.suppress(OSError), open(f"/proc/{entry.pid}/environ", "rb") as file:
            return self._mark in b"\0" + file.read() + b"\0"
        return False

    def signal(self, number: int) -> bool:
        """Send a signal; False when nothing of the run is alive.

        A signal that is meant to end goes to every process. Any other goes to the process group of the command.
        """
        if self._pid is None:
            return False
        if number not in _numbers(ENDING):
            return self.leader_lives and send_signal(self._pid, number)
        is_kill = number == getattr(signal, "SIGKILL", None)
        told: set[tuple[int, str]] = set()
        for _ in range(KILL_PASSES if is_kill else 1):
            fresh = [process for process in self.alive() if process[:2] not in told]
            if not fresh:
                break
            self._send(fresh, number)
            told.update(process[:2] for process in fresh)
        return bool(told)

    def _send(self, processes: list[Process], number: int) -> None:
        assert self._pid is not None
        apart = [process for process in processes if not _is_in_group(process.pid, self._pid)]
        if len(apart) < len(processes):
            send_signal(self._pid, number)  # to the whole group at once: a process that is just being started, too
        for process in apart:
            if identity(process.pid) == process.start:
                with contextlib.suppress(OSError):
                    os.kill(process.pid, number)


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose parent ends; Linux only. See `reap`."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # then they are children of the first process of the machine


def reap(but: int) -> None:
    """Wait for the adopted children that have ended, and not for `but`, for which somebody else waits."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    own = str(os.getpid()).encode()
    for name in names:
        if not name.isdigit() or int(name) == but:
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            if fields[:2] == [b"Z", own]:
                os.waitpid(int(name), os.WNOHANG)


def processes_of(folder: str) -> RunProcesses:
    """The processes of the run that has this folder, as its files tell."""
    result = read_json(os.path.join(folder, "result.json"))
    spec = read_json(os.path.join(folder, "spec.json")) or {}
    supervised = lives(spec.get("supervisorPid"), spec.get("supervisorStart"))
    started = read_json(os.path.join(folder, "state.json")) or {}
    return RunProcesses(folder, started, result, supervised=supervised and result is None)


def end_all(folder: str, grace: float, by: str) -> None:
    """End the processes of all runs below a folder, those that ended runs have left, too.

    Each gets SIGTERM, and SIGKILL if it is alive `grace` seconds later.
    """
    try:
        runs = [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError:
        return
    left = [(run, processes) for run in runs if may_live(run) for processes in [processes_of(run)]]
    left = [(run, processes) for run, processes in left if processes.alive()]
    for run, processes in left:
        note_signal(run, "SIGTERM", by)
        processes.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        left = [(run, processes) for run, processes in left if processes.alive()]
        if left:
            time.sleep(POLL)
    for run, processes in left:
        note_signal(run, "SIGKILL", by)
        processes.signal(getattr(signal, "SIGKILL", signal.SIGTERM))


def may_live(folder: str) -> bool:
    """Whether processes of a run may live: it has not ended, or it left some."""
    result = read_json(os.path.join(folder, "result.json"))
    return result is None or bool(result.get("remaining"))


def named(processes: Iterable[Process]) -> list[dict[str, Any]]:
    """Processes as documents on the disk and on the wire have them."""
    return [process._asdict() for process in processes]


def _numbers(names: Iterable[str]) -> set[int]:
    return {int(getattr(signal, name)) for name in names if hasattr(signal, name)}


def _is_in_group(pid: int, group: int) -> bool:
    if not hasattr(os, "getpgid"):
        return pid == group
    try:
        return os.getpgid(pid) == group
    except OSError:
        return pid == group  # a command that has ended, in a group that lives


def table() -> list[Entry] | None:
    """Every process of this machine that is not a zombie; None without /proc."""
    if not os.path.exists("/proc/self/stat"):
        return None
    entries = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            if fields and fields[0] not in (b"Z", b"X"):
                parent, group, session = (int(field) for field in fields[1:4])
                entries.append(Entry(int(name), parent, group, session, int(fields[19])))
    return entries


def as_process(pid: int) -> Process | None:
    """The living process with this id."""
    start = identity(pid)
    if start is None:
        return None
    words = b""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read(4 * COMMAND_LENGTH)
    command = " ".join(words.decode("utf-8", "replace").rstrip("\0").split("\0"))
    return Process(pid, start, command[:COMMAND_LENGTH])
