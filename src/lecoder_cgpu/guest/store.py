"""All runs of this runtime: starting, finding and forgetting them.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from . import placing
from .processes import identity
from .run_processes import MARK, may_live
from .runs import ENDED, FILES, Failure, Feeder, Run, without_secrets, write_all
from .state_files import timestamp, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .programs import Programs

KEEP_BYTES = 2 << 30
KEEP_RUNS = 200  # recorded kernel runs, and processes that a client followed
KEEP_JOBS = 1000
KEEP_FRESH = 120.0  # seconds for which a finished run is kept in any case: its client may be about to fetch the rest
TIDY_AFTER = 0.05  # seconds: first the process that was just started has the processors
PRUNE_PACE = 5.0  # seconds between two looks for runs to remove: each goes through all of them
LISTEN_PACE = 0.002  # seconds between wake-ups for one run, however often it writes
PIPE_ROOM = 32 << 10  # bytes that an empty pipe takes at once on every system
_RUN_ID = re.compile(r"[a-z0-9-]{6,40}")
_NOTED = (
    "run", "kind", "shell", "argv", "cwd", "timeout", "idleTimeout", "label", "name", "digest", "pull", "push", "around"
)  # fmt: skip


class RunStore:
    """All runs under one folder.

    Args:
        home: the folder of this tool on the runtime.
        cwd: where processes start unless they say otherwise.
        programs: starts supervisors.
        environment: what processes inherit.
        changed: called when a run may have something to push.
    """

    def __init__(
        self, home: str, cwd: str, programs: Programs, environment: dict[str, str], changed: Callable[[], None]
    ) -> None:
        self.home = home
        self.cwd = cwd
        self.environment = environment
        self.folder = os.path.join(home, "runs")
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self._programs = programs
        self._changed = changed
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()
        self._spare: subprocess.Popen[bytes] | None = None
        self._tidy = threading.Event()
        self._tidy.set()
        self.shell = shutil.which("bash", path=environment.get("PATH")) or "sh"
        threading.Thread(target=self._keep_tidy, daemon=True).start()

    # --- finding ---

    def find(self, run: str) -> Run:
        """A run by its id, even if another helper started it."""
        _check_id(run)
        with self._lock:
            known = self._runs.get(run)
            if known is None:
                folder = os.path.join(self.folder, run)
                if not os.path.isdir(folder):
                    raise Failure("RunNotFound", f"there is no run {run!r} on this runtime")
                known = self._runs[run] = Run(run, folder)
        return known

    def all(self) -> list[Run]:
        """Every run, newest first."""
        created = sorted(((self._created(entry), entry.name) for entry in os.scandir(self.folder)), reverse=True)
        runs = []
        for _, name in created:
            with contextlib.suppress(Failure):
                runs.append(self.find(name))
        return runs

    def newest(self, limit: int, *, jobs: bool = False) -> list[Run]:
        """The newest runs, and every older one of which something lives: whoever asks what is at work sees it all. With
        `jobs`, of those that were started to run without a client."""
        found = [run for run in self.all() if run.is_job or not jobs]
        older = [(run, run.state()) for run in found[limit:] if may_live(run.folder)]
        return found[:limit] + [run for run, state in older if state["state"] not in ENDED or state.get("remaining")]

    @staticmethod
    def _created(entry: os.DirEntry[str]) -> float:
        for path in (os.path.join(entry.path, "spec.json"), entry.path):
            with contextlib.suppress(OSError):
                return os.stat(path).st_mtime
        return 0.0

    def followed(self) -> list[Run]:
        with self._lock:
            return [run for run in self._runs.values() if run.followed]

    # --- starting ---

    def start(self, request: dict[str, Any]) -> Run:
        """Start the run that `request` describes, or find the run that has this id already."""
        run_id = _check_id(request.get("run"))
        argv = request.get("argv")
        if request.get("shell") is not None:
            argv = [self.shell, "-c", request["shell"]]
        if not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
            raise Failure("BadRequest", "a command is needed, without NUL characters")
        folder, placed = os.path.join(self.folder, run_id), request.get("place") or []
        secrets = {*(request.get("secrets") or {}).values(), *(request.get("hidden") or ())} - {""}
        if os.path.isdir(folder):
            return self._same(self.find(run_id), request, secrets)
        cwd = os.path.join(self.cwd, os.path.expanduser(request.get("cwd") or ""))
        if not (placed or os.path.isdir(cwd)):
            raise Failure("NotFound", f"there is no folder {cwd} on the runtime")
        environment = {**self.environment, **(request.get("env") or {}), **(request.get("secrets") or {}), MARK: folder}
        if not all(isinstance(value, str) and _is_variable(name, value) for name, value in environment.items()):
            raise Failure("BadRequest", "a name or value of the environment cannot be one")
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return self._same(self.find(run_id), request, secrets)
        spec = {
            "folder": folder,
            "argv": argv,
            "cwd": os.path.abspath(cwd),
            "env": environment,
            "stdin": bool(request.get("stdin")),
            "timeout": request.get("timeout"),
            "idleTimeout": request.get("idleTimeout"),
            "grace": request.get("grace"),
            "limit": request.get("limit"),
            "push": request.get("push"),
            "pushEvery": request.get("pushEvery"),
        }
        run = Run(run_id, folder)
        run.pending, run.secrets = True, secrets
        with self._lock:
            self._runs[run_id] = run
        try:
            placing.place(placed, self.cwd)
            line = json.dumps(spec).encode() + b"\n"
            self._hand_over(run, line, self._note(request, secrets), self._take_spare() or self._launch(), again=True)
        except OSError as error:
            with self._lock:
                self._runs.pop(run_id, None)
            shutil.rmtree(folder, ignore_errors=True)
            full = error.errno in (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC))
            raise Failure(
                "DiskFull" if full else "StartFailed", f"it could not be started: {error.strerror}"
            ) from error
        self._tidy.set()
        return run

    def note_kernel_job(self, request: dict[str, Any]) -> tuple[Run, bool]:
        """Make the folder of a job for a kernel, or find the run that has this id; also tells whether it is new."""
        run_id = _check_id(request.get("run"))
        folder = os.path.join(self.folder, run_id)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return self._same(self.find(run_id), request), False
        note = {
            **self._note(request),
            "kind": "kernel",
            "kernel": request["kernel"],
            "code": request["code"],
            "supervisorPid": os.getpid(),
            "supervisorStart": identity(os.getpid()),
            "helper": __package__,
        }
        write_json(os.path.join(folder, "spec.json"), note)
        return self.find(run_id), True

    def _same(self, run: Run, request: dict[str, Any], secrets: Iterable[str] = ()) -> Run:
        """The run, if it was started with the same input. It takes the name that it is given now.

        Raises:
            Failure: (`KeyConflict`) it was started with other input.
        """
        known, digest = (run.document("spec.json") or {}).get("digest"), request.get("digest")
        if digest is not None and known is not None and digest != known:
            raise Failure("KeyConflict", f"run {run.id!r} was started under that key with other input")
        placing.drop(request.get("place") or [], self.cwd)
        run.secrets.update(secrets)
        if request.get("renames"):  # beside `spec.json`, which others write as well
            write_json(run.path("name.json"), {"name": request.get("name")})
        return run

    @staticmethod
    def _note(request: dict[str, Any], secrets: Iterable[str] = ()) -> dict[str, Any]:
        """The `spec.json` of a run: it has the names of variables, never their values. The command stands there to be
        shown, without the values of secrets; the supervisor is told on its stdin what to execute."""
        note = {name: request.get(name) for name in _NOTED}
        for name in ("shell", "argv", "label"):
            note[name] = without_secrets(note[name], secrets)
        note["stdin"] = bool(request.get("stdin"))
        note["created"] = timestamp(time.time())
        note["env"] = sorted(request.get("env") or {})
        note["secrets"] = sorted(request.get("secrets") or {})
        note["hides"] = bool(request.get("hidden"))
        return note

    def _hand_over(
        self, run: Run, line: bytes, note: dict[str, Any], process: subprocess.Popen[bytes], *, again: bool
    ) -> None:
        """Give a run's spec to a supervisor. With `again`, try another one if this one turns out to be dead."""
        note.update(supervisorPid=process.pid, supervisorStart=identity(process.pid))
        write_json(run.path("spec.json"), note)
        assert process.stdin is not None
        run.process = process
        if note["stdin"] or len(line) > PIPE_ROOM:
            run.feeder = Feeder(process.stdin, line, more=bool(note["stdin"]))
        else:
            with contextlib.suppress(OSError):  # it is dead, as `_listen` will find
                write_all(process.stdin, line)
            with contextlib.suppress(OSError):  # closing flushes what a failed write has left
                process.stdin.close()
        threading.Thread(target=self._listen, args=(run, line, note, process, again), daemon=True).start()

    def _launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._programs.command("supervisor"),
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )

    def _take_spare(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare.poll() is not None:
            _discard(spare)
            return None
        return spare

    def _listen(
        self, run: Run, line: bytes, note: dict[str, Any], process: subprocess.Popen[bytes], again: bool
    ) -> None:
        """Take the notices of a run's supervisor until it ends."""
        assert process.stdout is not None
        while True:
            heard = os.read(process.stdout.fileno(), 4096)
            if b"r" in heard:
                run.pending = False
                line = b""  # it may hold secrets
            if b"s" in heard:
                run.send_wanted()
            for _ in range(heard.count(b"w")):
                if run.feeder is not None:
                    run.feeder.taken()
            if not heard:
                process.wait()
                process.stdout.close()
                if run.feeder is not None:
                    run.feeder.close()
                # The supervisor may have been killed while it was a spare. It read no spec, so nothing was started.
                if run.pending and not (again and self._try_another(run, line, note)):
                    run.pending = False
            run.changed = True
            self._changed()
            if not heard:
                return
            time.sleep(LISTEN_PACE)

    def _try_another(self, run: Run, line: bytes, note: dict[str, Any]) -> bool:
        if run.feeder is not None and run.feeder.received:
            return False  # the input that was sent is lost
        try:
            self._hand_over(run, line, note, self._launch(), again=False)
        except OSError:
            return False
        return True

    # --- removing old runs ---

    def _keep_tidy(self) -> None:
        """After each start: launch another spare supervisor, and remove old runs beyond the bounds."""
        pruned, late = -math.inf, False
        while True:
            self._tidy.wait(PRUNE_PACE if late else None)
            time.sleep(TIDY_AFTER)
            self._tidy.clear()
            with contextlib.suppress(OSError, Failure):  # the next start will try again
                if self._spare is None:
                    fresh = self._launch()
                    with self._lock:
                        self._spare = fresh
                late = time.monotonic() < pruned + PRUNE_PACE
                if not late:
                    self.prune(KEEP_BYTES, KEEP_RUNS)
                    pruned = time.monotonic()

    def tidy_soon(self) -> None:
        """Note that a run has started or ended."""
        self._tidy.set()

    def close(self) -> None:
        """End the spare supervisor; runs go on."""
        spare = self._take_spare()
        if spare is not None:
            _discard(spare)

    def prune(self, keep_bytes: int, keep_runs: int, keep_fresh: float = KEEP_FRESH) -> None:
        """Remove the oldest finished runs beyond these bounds, but none that a client may still be fetching."""
        total = 0
        counts = {True: 0, False: 0}
        most = {True: max(keep_runs, KEEP_JOBS), False: keep_runs}
        for run in self.all():
            total += sum(run.size(name) for name in FILES)
            counts[run.is_job] += 1
            if (total > keep_bytes or counts[run.is_job] > most[run.is_job]) and self._is_past(run, keep_fresh):
                self.forget(run)

    @staticmethod
    def _is_past(run: Run, seconds: float) -> bool:
        with contextlib.suppress(OSError):
            if time.time() - os.stat(run.folder).st_mtime < seconds:  # its end was written then; the usual case
                return False
        state = run.state()
        if (
            run.followed
            or time.monotonic() - run.read_at < seconds
            or state["state"] not in ENDED
            or state.get("alive")
            or state.get("remaining")
        ):
            return False
        with contextlib.suppress(OSError):
            return time.time() - max(os.stat(run.path(name)).st_mtime for name in os.listdir(run.folder)) > seconds
        return False

    def forget(self, run: Run) -> None:
        """Remove a run that has ended."""
        state = run.state()
        if state["state"] not in ENDED or state.get("alive"):
            raise Failure("StillRunning", f"run {run.id!r} has not ended")
        if remaining := state.get("remaining"):
            left = ", ".join(f"{process['pid']} {process['command']}" for process in remaining)
            raise Failure("StillRunning", f"run {run.id!r} left processes that live on: {left}")
        with self._lock:
            self._runs.pop(run.id, None)
        shutil.rmtree(run.folder, ignore_errors=True)


def _discard(process: subprocess.Popen[bytes]) -> None:
    """End a supervisor that has no run."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    process.kill()
    process.wait()
    process.stdout.close()


def _check_id(run: Any) -> str:
    if not isinstance(run, str) or not _RUN_ID.fullmatch(run):
        raise Failure("BadRequest", f"{run!r} is no run id: 6 to 40 of a-z, 0-9 and -")
    return run


def _is_variable(name: str, value: str) -> bool:
    return bool(name) and "=" not in name and "\0" not in name + value
