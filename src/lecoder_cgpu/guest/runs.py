"""One run on this runtime: its state, as its files tell it.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only). A run is a folder
`runs/<id>/` with `spec.json`, `stdout`, `stderr`, `state.json` and, at the end, `result.json`. The supervisor writes
the last four, so this helper also knows the runs that another one started.

**States**, by what is on the disk:

    spec.json being written, or a supervisor has not read its spec -> starting
    state.json, and the supervisor is alive                        -> running
    a kernel run without state.json, and its helper is alive       -> queued
    result.json                                                    -> exited
    failure.json, or the supervisor is dead without a result       -> unknown

`exited` and `unknown` are final.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

from . import output_order
from .processes import lives, signal_name
from .run_processes import ENDING, RunProcesses, as_process, named
from .state_files import note_signal, read_json, read_signals

START_LIMIT = 10.0  # seconds between making the folder of a run and writing its spec, far more than it takes
INLINE = 64 << 10  # bytes of one stream that travel with an update
FOLLOW_FOR = 60.0  # seconds for which one sign of life keeps a follower registered
STREAMS = ("stdout", "stderr")
FILES = (*STREAMS, output_order.FILE, "messages")  # the last is what a recorder keeps of a kernel run
ENDED = ("exited", "unknown")


MASK = "***"
SHORTEST_LINE = 6  # characters of a line of a secret that is hidden alone


class Failure(Exception):
    """What a call reports as its error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class Run:
    """One run as this helper knows it. `process` is its supervisor, None when another helper started it."""

    def __init__(self, run: str, folder: str, process: subprocess.Popen[bytes] | None = None) -> None:
        self.id = run
        self.folder = folder
        self.process = process
        self.pending = False  # no supervisor has read its spec yet
        self.followed_until = 0.0
        self.read_at = float("-inf")
        self.inline = INLINE  # less where large messages do not pass
        self.pushed = {"stdout": 0, "stderr": 0, output_order.FILE: 0}
        self.changed = True  # there may be something to push
        self.told: dict[str, Any] | None = None  # the state that was pushed last
        self.told_memory: float | None = None  # how much memory was in use by the push before
        self.feeder: Feeder | None = None
        self.signals_wanted: list[tuple[int, str]] = []
        self.signals_seen: set[str] = set()
        self.secrets: set[str] = set()  # values that lists must not show; known to the helper that started the run
        self._is_job: bool | None = None

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def document(self, name: str) -> dict[str, Any] | None:
        """A document in the run's folder; None when it does not exist."""
        return read_json(self.path(name))

    def size(self, stream: str) -> int:
        try:
            return os.stat(self.path(stream)).st_size
        except OSError:
            return 0

    @property
    def followed(self) -> bool:
        return self.followed_until > time.monotonic()

    def state(self) -> dict[str, Any]:
        """The state, see the top of this file; with `result` when exited, with `reason` when unknown.

        `remaining` names the processes that live on after the command itself has ended.
        """
        spec = self.document("spec.json") or {}
        alive = self._supervised(spec)  # first: if it is dead now, everything that it wrote can be seen below
        result = self.document("result.json")
        started = self.document("state.json") or {}
        state: dict[str, Any] = {
            "run": self.id,
            "state": "running" if started else "starting",
            "label": spec.get("label"),
            "created": spec.get("created"),
            "started": started.get("started"),
            "pid": started.get("pid"),
            "kind": spec.get("kind") or "process",
        }
        if signals := self.signals():
            state["signals"] = signals
        if spec.get("push") and (pushes := self.document("pushes.json")):
            state["pushes"] = pushes["pushes"]
        if result is not None:
            state["state"] = "exited"
            state["result"] = result
        elif self.pending or (not spec and self._is_young()):
            state["state"] = "starting"  # the folder is made a moment before the spec is written
        elif not alive or self.document("failure.json") is not None:
            state["state"] = "unknown"
            state.update(self._lost(spec, started))
        elif state["kind"] == "kernel" and not started:
            state["state"] = "queued"  # behind what the kernel executes now
        if remaining := self._remaining(started, result, supervised=alive):
            state["remaining"] = remaining
        return state

    def _remaining(
        self, started: dict[str, Any], result: dict[str, Any] | None, *, supervised: bool
    ) -> list[dict[str, Any]]:
        if result is not None:  # the processes of the machine are not looked through for every run that has ended
            left = [(item, as_process(item["pid"])) for item in result.get("remaining") or ()]
            # Its command line is that of now: at the end of the run, it may not have become what it was to be.
            known = named(found for item, found in left if found is not None and found.start == item["start"])
        else:
            processes = RunProcesses(self.folder, started, supervised=supervised)
            known = [] if processes.leader_lives else named(processes.alive())
        return [{**process, "command": self.shown(process["command"])} for process in known]

    def processes(self) -> RunProcesses:
        """The processes of this run."""
        supervised = self._supervised(self.document("spec.json") or {})
        result = self.document("result.json")
        started = self.document("state.json") or {}
        return RunProcesses(self.folder, started, result, supervised=supervised and result is None)

    def signals(self) -> list[dict[str, Any]]:
        """The signals that were sent to it, with sender and time."""
        return read_signals(self.folder)

    def shown(self, text: str) -> str:
        """A part of its output as lists and messages about it may show it: without the values of its secrets. All of it
        is hidden when another helper has started the run, as nobody has written those values down."""
        spec = self.document("spec.json") or {}
        if not (spec.get("secrets") or spec.get("hides")):
            return text
        if not self.secrets:
            return MASK if text else text
        return str(without_secrets(text, self.secrets))

    def memory(self) -> float | None:
        """How much of the machine's memory was in use when its supervisor looked last, from 0 to 1."""
        share = (self.document("usage.json") or {}).get("memoryShare")
        return share if isinstance(share, float) else None

    @property
    def is_job(self) -> bool:
        """Whether it was started to run without a client, and not merely recorded."""
        if self._is_job is None:
            self._is_job = bool((self.document("spec.json") or {}).get("digest"))
        return self._is_job

    def _supervised(self, spec: dict[str, Any]) -> bool:
        if self.process is not None:
            return self.process.poll() is None
        return lives(spec.get("supervisorPid"), spec.get("supervisorStart"))

    def _is_young(self) -> bool:
        with contextlib.suppress(OSError):
            return time.time() - os.stat(self.folder).st_mtime < START_LIMIT
        return False

    def _lost(self, spec: dict[str, Any], started: dict[str, Any]) -> dict[str, Any]:
        failure = self.document("failure.json")
        if failure is not None:
            reason = str(failure.get("message"))
        elif not spec:
            reason = "its start was not completed: the helper on the runtime ended while it was starting it"
        elif spec.get("kind") == "kernel":
            reason = "the helper on the runtime ended, and nobody records the kernel that executed it"
        elif not started:
            reason = "its supervisor ended before it reported the start"
        else:
            reason = "its supervisor was killed; how the process ended, or will end, cannot be known"
        return {"reason": reason, "alive": bool(RunProcesses(self.folder, started).alive())}

    def read(self, stream: str, offset: int, limit: int) -> bytes:
        try:
            with open(self.path(stream), "rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def chunk(self, stream: str, offset: int, room: int = INLINE) -> dict[str, Any]:
        """The size of a stream, with what lies behind `offset` if that is at most `room` bytes."""
        size = self.size(stream)
        chunk: dict[str, Any] = {"offset": offset, "size": size}
        if 0 < size - offset <= min(room, self.inline):
            data = self.read(stream, offset, size - offset)
            chunk["data"] = base64.b64encode(data).decode()
        return chunk

    def signal(self, number: int, by: str) -> bool:
        """Send a signal to the run's processes, on behalf of `by`; False when none of them is alive."""
        state = self.state()
        if state["state"] == "starting":
            if self.process is None and not self.pending:
                return False  # another helper started it, and this one will not be told when it has a process
            self.signals_wanted.append((number, by))
            if self.state()["state"] != "starting":
                self.send_wanted()  # it was started just now, and the notice may have come before the line above
            return True
        processes = self.processes()  # none for a kernel run, whose kernel is interrupted through the server
        if not processes.alive():
            return False
        # Noted first: the supervisor has to know why the command ended as soon as it does.
        note_signal(self.folder, signal_name(number), by)
        # Once it is noted, the supervisor may be the one that ends the last of them.
        return processes.signal(number) or signal_name(number) in ENDING

    def send_wanted(self) -> None:
        """Send the signals that came before there was a process."""
        while self.signals_wanted:
            with contextlib.suppress(IndexError):
                self.signal(*self.signals_wanted.pop(0))


class Feeder:
    """Writes to a supervisor's stdin without making the caller wait.

    `first` is written before anything else; without `more`, the pipe is closed after it.
    """

    def __init__(self, pipe: Any, first: bytes = b"", *, more: bool = True) -> None:
        self._pipe = pipe
        self._parts: list[bytes | None] = [first] if more else [first, None]  # None: close
        self._sizes: list[int] = []  # of the frames that the process has not taken yet
        self._wake = threading.Condition()
        self.received = 0
        self.ended = not more
        self.broken = False
        threading.Thread(target=self._write, daemon=True).start()

    def put(self, offset: int | None, data: bytes, eof: bool) -> int:
        """Queue input and return how many bytes the process has not taken yet. Input that came before is skipped."""
        with self._wake:
            offset = self.received if offset is None else offset
            if offset > self.received:
                raise Failure("StdinGap", f"input from {self.received} on is missing; {offset} came")
            data = data[self.received - offset :]
            if data and not self.ended:
                self.received += len(data)
                self._sizes.append(len(data))
                self._parts.append(b"d" + len(data).to_bytes(4, "big") + data)
            if eof and not self.ended:
                self.ended = True
                self._parts.append(b"e" + bytes(4))
            self._wake.notify()
            return 0 if self.broken else sum(self._sizes)

    def taken(self) -> None:
        """The process took the oldest frame."""
        with self._wake:
            if self._sizes:
                del self._sizes[0]

    def close(self) -> None:
        """Close the pipe when everything is written."""
        with self._wake:
            self._parts.append(None)
            self._wake.notify()

    def _write(self) -> None:
        while True:
            with self._wake:
                while not self._parts:
                    self._wake.wait()
                part = self._parts.pop(0)
            try:
                if part is None:
                    self._pipe.close()
                    return
                write_all(self._pipe, part)
            except (OSError, ValueError):
                self.broken = True  # the supervisor has ended; the run's state tells the rest
                return


def as_text(value: Any) -> Any:
    """A name, a word or a list of them as a message can have them: bytes that are not UTF-8 as `\\xff`, half a
    character as `\\ud800`."""
    if isinstance(value, list):
        return [as_text(item) for item in value]
    if not isinstance(value, str) or value.isascii():
        return value
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode("utf-8")


def without_secrets(value: Any, secrets: Iterable[str]) -> Any:
    """A text or a list of texts without the values of secrets, however they are spelled."""
    secrets = set(secrets) - {""}
    if not secrets or value is None:
        return value
    spelled = _spelled(secrets)
    return [spelled.sub(MASK, item) for item in value] if isinstance(value, list) else spelled.sub(MASK, value)


def _spelled(secrets: Iterable[str]) -> re.Pattern[str]:
    """Finds secrets as they may stand in output: also percent-encoded, escaped as in JSON, or one line of several."""
    forms: set[str] = set()
    for secret in secrets:
        coded = secret.encode("utf-8", "surrogateescape")
        forms |= {secret, secret.strip() or secret, quote(coded, safe=""), quote(coded), quote_plus(coded)}
        forms |= {
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            repr(secret)[1:-1],
            ascii(secret)[1:-1],
        }
        forms |= {line for line in secret.splitlines() if len(line) >= SHORTEST_LINE}
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))


def write_all(pipe: Any, data: bytes) -> None:
    """Write to an unbuffered pipe, which may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]


def signal_number(wanted: str | int) -> int:
    """The number of a signal that a client names.

    Raises:
        Failure: (`BadRequest`) there is no such signal here.
    """
    if isinstance(wanted, int):
        return wanted
    name = wanted if wanted.startswith("SIG") else f"SIG{wanted}"
    try:
        return int(signal.Signals[name])
    except KeyError:
        known = "there are SIGTERM, SIGINT, SIGKILL …"
        raise Failure("BadRequest", f"there is no signal {wanted!r} on {sys.platform}; {known}") from None
