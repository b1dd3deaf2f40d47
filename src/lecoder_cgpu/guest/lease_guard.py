"""The lease on this runtime. When it ends, work is ended and the runtime is released, even if every client is gone.

Runs on the runtime (Python 3.8 and newer, standard library only), in two places: inside the helper (`RuntimeLease`),
and as a process of its own (`Guard`), because the lease must outlive the helper and its kernel. The two share files:
`lease.json` holds the limits and when they were last set, and the modification time of `activity` says when the runtime
last worked. Idleness counts from the later of the two. Helpers of other versions beside this one use the same files.

A runtime is released in one of three ways. A Colab machine: by a POST to `http://$TBE_RUNTIME_ADDR/unassign`, as
`google.colab.runtime.unassign()` does. A local server that this tool started (see `server.json` beside its folder): by
ending it. Any other server is not ours: only our runs are ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from .leftovers import PACE as LEFTOVERS_PACE
from .leftovers import Leftovers
from .limits import SAVING
from .processes import identity, lives, send_signal
from .run_processes import POLL, end_all, processes_of
from .state_files import note_signal, timestamp, write_json
from .state_files import read_json as _read

if TYPE_CHECKING:
    from .programs import Programs

PACE = 1.0  # seconds between the guard's looks at the lease
LOOK = 3.0  # seconds between the helper's looks at the guard
TOUCH = 1.0  # seconds between notes of activity
RELEASE_LIMIT = 30.0  # seconds for the answer of Colab's service
RELEASE_AGAIN = 3.0
ADDRESS = "TBE_RUNTIME_ADDR"  # protocol C46


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


class RuntimeLease:
    """The helper's side: sets the lease, notes activity, and starts the guard again if it dies.

    Args:
        home: the folder of this tool on the runtime.
        programs: starts the guard.
    """

    def __init__(self, home: str, programs: Programs) -> None:
        self._home = home
        self._programs = programs
        self._path = os.path.join(home, "lease.json")
        self._activity = os.path.join(home, "activity")
        self._touched = 0.0
        self._leftovers = Leftovers(os.path.join(home, "runs"))
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        if _running(_read(self._path)):
            self._watch_over()

    def active(self) -> None:
        """Note that the runtime is in use now."""
        now = time.monotonic()
        if now - self._touched >= TOUCH:
            self._touched = now
            with contextlib.suppress(OSError):
                _touch(self._activity)

    def read(self) -> dict[str, Any]:
        """The lease as it is now; every field is null when there is none."""
        known = _read(self._path) or {}
        background = self._leftovers.at_work(PACE)
        if background:
            self.active()
        now = time.time()
        worked = _modified(self._activity)
        idle_since = max(worked, known.get("set") or 0.0)
        return {
            "secondsLeft": None if known.get("until") is None else known["until"] - now,
            "idleSeconds": known.get("idle"),
            "idleFor": max(now - idle_since, 0.0) if known else None,
            "workedAgo": max(now - worked, 0.0) if worked else None,
            "background": background,
            "release": release_kind(self._home),
            "ended": known.get("ended"),
            "problem": known.get("problem"),
        }

    def change(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Change the limits that are named, and leave the others.

        `seconds` is the time from now to the end, `idle` the seconds without work; null removes a limit. A lease that
        has ended is replaced by a new one. Idleness counts anew, because a client is there; that is no work, though.
        """
        with self._lock:
            known = _read(self._path) or {}
            if not _running(known):
                known = {}
            known["set"] = time.time()
            if "seconds" in wanted:
                known["until"] = None if wanted["seconds"] is None else time.time() + wanted["seconds"]
            if "idle" in wanted:
                known["idle"] = wanted["idle"]
            write_json(self._path, known)
            if _running(known):
                self._watch_over()
        return self.read()

    def _watch_over(self) -> None:
        """Start a guard, and replace it whenever it dies."""
        self._guard()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_guarded, daemon=True)
            self._thread.start()

    def _keep_guarded(self) -> None:
        while True:
            time.sleep(LOOK)
            with contextlib.suppress(OSError):
                if _running(_read(self._path)):
                    self._guard()

    def _guard(self) -> None:
        """Start the guard, unless one is alive."""
        known = _read(os.path.join(self._home, "guard.json")) or {}
        if lives(known.get("pid"), known.get("start")):
            return
        process = subprocess.Popen(
            self._programs.command("lease_guard", self._home),
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=process.wait, daemon=True).start()  # leaves no zombie


def _running(lease: dict[str, Any] | None) -> bool:
    """Whether the lease has a limit and has not ended."""
    return bool(lease) and not lease.get("ended") and (lease.get("until") or lease.get("idle")) is not None  # type: ignore[union-attr]


def _touch(path: str) -> None:
    with open(path, "a"):
        os.utime(path)


def release_kind(home: str) -> str:
    """How this runtime is released: `unassign` (Colab), `server` (a local one of ours) or `runs`."""
    if os.environ.get(ADDRESS):
        return "unassign"
    return "server" if _own_server(home) is not None else "runs"


def _own_server(home: str) -> int | None:
    """The process id of the local server that this tool started for this folder, None if it started none."""
    known = _read(os.path.join(os.path.dirname(home), "server.json"))
    parent = os.environ.get("JPY_PARENT_PID", "")
    pid = (known or {}).get("pid")
    return pid if isinstance(pid, int) and parent == str(pid) else None


def _has_ended(folder: str) -> bool:
    """Whether the end of a run is written down."""
    return any(os.path.exists(os.path.join(folder, end)) for end in ("result.json", "failure.json"))


class Guard:
    """Waits for the end of the lease, then ends work and releases the runtime.

    Args:
        home: the folder of this tool on the runtime.
        saving: seconds that work has to save itself after it was told to end.
    """

    def __init__(self, home: str, saving: float = SAVING) -> None:
        self._home = home
        self._saving = saving
        self._path = os.path.join(home, "lease.json")
        self._activity = os.path.join(home, "activity")
        self._runs = os.path.join(home, "runs")
        self._leftovers = Leftovers(self._runs)

    def watch(self) -> None:
        """Return when the lease was removed or has ended."""
        while True:
            lease = _read(self._path)
            if not _running(lease):
                return
            assert lease is not None
            reason, wait = self._due(lease)
            if reason is not None:
                self._end(reason)
                return
            time.sleep(wait)

    def _due(self, lease: dict[str, Any]) -> tuple[str | None, float]:
        """The reason why the lease has ended, or None and the seconds until the next look."""
        now = time.time()
        waits = [PACE]
        if lease.get("until") is not None:
            if now >= lease["until"]:
                return "until", 0.0
            waits.append(lease["until"] - now)
        if lease.get("idle") is not None:
            if self._is_at_work() or self._leftovers.at_work(min(lease["idle"] / 4, LEFTOVERS_PACE)):
                _touch(self._activity)
            rest = max(_modified(self._activity), lease.get("set") or 0.0) + lease["idle"] - now
            if rest <= 0:
                return "idle", 0.0
            waits.append(rest)
        return None, min(waits)

    def _unfinished(self) -> list[tuple[str, dict[str, Any]]]:
        """The folders and specs of the runs that have not ended."""
        found = []
        with contextlib.suppress(OSError):
            for name in os.listdir(self._runs):
                folder = os.path.join(self._runs, name)
                if not _has_ended(folder):
                    found.append((folder, _read(os.path.join(folder, "spec.json")) or {}))
        return found

    def _is_at_work(self) -> bool:
        """Whether a process of ours is alive, or a kernel that may be executing something."""
        for folder, spec in self._unfinished():
            if spec.get("kind") == "kernel":
                # A living helper notes the kernel's work itself, so that counting the kernel here changes nothing.
                pid, start = spec.get("kernelPid"), spec.get("kernelStart")
                if lives(pid, start):
                    return True
            elif processes_of(folder).alive():
                return True
        return False

    def _end(self, reason: str) -> None:
        lease = _read(self._path) or {}
        lease["ended"] = {"at": timestamp(time.time()), "reason": reason}
        write_json(self._path, lease)
        self._end_runs()
        kind = release_kind(self._home)
        if kind == "unassign":
            while not self._unassign(lease):
                time.sleep(RELEASE_AGAIN)
        elif kind == "server":
            pid = _own_server(self._home)
            if pid is not None:
                os.kill(pid, signal.SIGTERM)

    def _end_runs(self) -> None:
        """Interrupt kernels. Send SIGTERM to the processes of all runs, and later SIGKILL to those that are left.

        Returns when nothing is left to end, or when the time to save work is over.
        """
        deadline = time.monotonic() + self._saving
        kernels = []
        for folder, spec in self._unfinished():
            pid, start = spec.get("kernelPid"), spec.get("kernelStart")
            if spec.get("kind") == "kernel" and pid is not None and identity(pid) == start:
                note_signal(folder, "SIGINT", "lease")
                send_signal(pid, signal.SIGINT)
                kernels.append((folder, pid, start))
        end_all(self._runs, self._saving, "lease")
        # The helper writes down how runs in kernels end. Where it is gone, nobody knows when a kernel has saved its
        # work.
        while time.monotonic() < deadline and any(
            lives(pid, start) and not _has_ended(folder) for folder, pid, start in kernels
        ):
            time.sleep(POLL)

    def _unassign(self, lease: dict[str, Any]) -> bool:
        import urllib.request

        request = urllib.request.Request(f"http://{os.environ[ADDRESS]}/unassign", data=b"", method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the address is the machine's own
        try:
            opener.open(request, timeout=RELEASE_LIMIT).close()
        except OSError as error:
            write_json(self._path, {**lease, "problem": f"the release failed: {error}"})
            return False
        write_json(self._path, lease)
        return True


def main() -> None:
    """Guard the lease of the folder that the command line names. A lock keeps a second guard from running."""
    home = sys.argv[2]
    lock = open(os.path.join(home, "guard.lock"), "a")  # noqa: SIM115 - held until the process ends
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass  # without the lock, two guards may run: both do the same
    except OSError:
        return
    pid = os.getpid()
    write_json(os.path.join(home, "guard.json"), {"pid": pid, "start": identity(pid)})
    Guard(home).watch()
