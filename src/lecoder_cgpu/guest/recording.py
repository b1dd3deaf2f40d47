"""The files of one kernel run: its messages as they came, its streams as text, and how it ended.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only). A kernel run is a folder
`runs/<id>/` like that of a process: `spec.json`, `stdout`, `stderr`, `state.json`, `result.json`, and besides them
`messages`, one JSON object a line, from which a client makes everything that a notebook would show.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import output_order, usage
from .kernel_children import ticks_at
from .kernel_sockets import LARGE, Message, header_id, load, stream_text
from .processes import identity, lives
from .runs import START_LIMIT
from .state_files import read_json, timestamp, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 1 << 30  # bytes kept of one run, in all its files
LIMIT_VARIABLE = "LECODER_CGPU_RECORD_BYTES"  # for machines with small disks
IDLE_CLOSE = 5.0  # seconds after which the files of a run without news are closed
PREVIEW = 400  # characters of the code that lists show
TRACEBACK = 64 << 10  # characters kept of a traceback in the result
HELPER = __package__  # says whose run it is: helpers of several versions may live in one process
MOST_OVER = 100  # ended runs whose late output is still taken
FRAME = 80  # bytes that a line of `messages` has besides the parts of the message
_NUMBERED = re.compile(r"(.*)_([0-9]{1,15})\Z", re.DOTALL)
_BULKY = ("stream", "display_data", "update_display_data", "execute_result")  # what may be left out beyond the limit
_SHOWN = ("execute_input", "error", *_BULKY)  # what only code does that the kernel has taken up


def limit() -> int:
    """How many bytes of one run are kept."""
    chosen = os.environ.get(LIMIT_VARIABLE, "")
    return int(chosen) if chosen.isdigit() else LIMIT


def preview(code: str) -> str:
    """The beginning of the code."""
    return code if len(code) <= PREVIEW else code[: PREVIEW - 1] + "…"


class Numbers:
    """Counts the messages of a run that were not seen.

    A Python kernel numbers everything that it sends, at the end of each message's id (protocol J7). So gaps in the
    numbers are messages that were missed, or were not published: replies and requests for input. The run's own reply
    is certain. Every other request that was served meanwhile may have had one. The client that answered requests for
    input knows how many there were.
    """

    def __init__(self) -> None:
        self._source = ""
        self._first = self._last = self._seen = 0
        self._requests: set[str] = set()
        self.unsent = 0  # numbers that the kernel used for nothing (protocol J35)

    @property
    def counted(self) -> bool:
        """Whether the kernel numbers its messages."""
        return self._seen > 0

    def note(self, msg_id: str) -> None:
        """A message of the run."""
        source, number = _numbered(msg_id)
        if number is None:
            return
        if not self._seen:
            self._source, self._first = source, number
        if source == self._source:  # a forked process counts for itself
            self._seen += 1
            self._last = max(self._last, number)

    def note_foreign(self, msg_id: str, request: str) -> None:
        """A message that belongs to another request."""
        source, number = _numbered(msg_id)
        if number is not None and source == self._source and number > self._first:
            self._seen += 1
            self._requests.add(request)

    def is_own(self, msg_id: str) -> bool:
        """Whether a message comes from where the first of the run came from, and not from a forked process."""
        return not self._seen or _numbered(msg_id)[0] == self._source

    def missing(self) -> int:
        """How many messages between the first and the last of the run were certainly missed."""
        return max(self._last - self._first + 1 - self._seen - 1 - len(self._requests) - self.unsent, 0)


def _numbered(msg_id: str) -> tuple[str, int | None]:
    """The source of a message and its number there; None if it has no number."""
    found = _NUMBERED.match(msg_id)
    return (found.group(1), int(found.group(2))) if found else (msg_id, None)


class Recording:
    """One run that the kernel executes, or is about to.

    Args:
        folder: of the run.
        kernel: its kernel's id. process: that kernel's process and its identity, as far as known.

    Attributes:
        begun: the kernel has taken the code up.
        numbers: count missed messages.
        adopted: it continues the recording of a helper that died; messages in between may be missing.
    """

    def __init__(self, folder: str, kernel: str, process: tuple[int, str | None] | None) -> None:
        self.id = os.path.basename(folder)
        self.folder = folder
        self._spec = read_json(os.path.join(folder, "spec.json")) or {}
        before = read_json(os.path.join(folder, "state.json"))
        self.begun = before is not None
        self.adopted = self._spec.get("supervisorPid") not in (None, os.getpid())
        self.numbers = Numbers()
        self._missed = False
        self._files: dict[str, Any] = {}
        self._sizes = {name: self._size(name) for name in ("messages", "stdout", "stderr", output_order.FILE)}
        self._of_others = {"stdout": 0, "stderr": 0}  # bytes of forked processes
        self._ordered = output_order.may_begin(folder)
        self._limit = limit()
        self._dropped = 0
        self.passed_over = 0  # messages that made no sense and may have been of this run
        self.is_cut = False  # the kernel still sent output when nobody waited for more of it any longer
        self._reply: dict[str, Any] | None = None
        self._result: dict[str, Any] | None = None
        self._started = time.time()
        self._started_text = (before or {}).get("started") or timestamp(self._started)
        self.began_at = self.written_at = time.monotonic()
        self._spec.update(
            run=self.id,
            kind="kernel",
            kernel=kernel,
            supervisorPid=os.getpid(),
            supervisorStart=identity(os.getpid()),
            helper=HELPER,
        )
        self._spec.setdefault("created", timestamp(self._started))
        if process is not None and not self.adopted:
            self._spec.update(kernelPid=process[0], kernelStart=process[1])
        write_json(os.path.join(folder, "spec.json"), self._spec)
        self._note_usage = usage.UsageLog(folder, process[0]) if process is not None else None
        self._usage_at = self.began_at + usage.FIRST

    def _size(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return os.stat(os.path.join(self.folder, name)).st_size
        return 0

    def _begin(self, kind: str, header: bytes, content: bytes) -> None:
        self.begun = True
        self._started, self.began_at = time.time(), time.monotonic()
        self._started_text = timestamp(self._started)
        self._spec["startedTicks"] = ticks_at(min(self._started, _moment(header) or self._started))
        if kind == "execute_input":
            self._spec["code"] = preview(str(load(content).get("code", "")))
        else:
            self._missed = True  # its first messages came before somebody listened
        write_json(os.path.join(self.folder, "spec.json"), self._spec)
        write_json(os.path.join(self.folder, "state.json"), {"started": self._started_text, "pid": None})

    @property
    def replied(self) -> bool:
        """Whether the kernel's reply is known."""
        return self._reply is not None

    def take_reply(self, reply: dict[str, Any]) -> None:
        """Note the kernel's reply: nothing else tells how the code ended (protocol J34)."""
        self._reply = reply
        unsent = reply.get("unsent")
        self.numbers.unsent = unsent if type(unsent) is int else 0

    def add(
        self, kind: str, header: bytes, parent: bytes, metadata: bytes, content: Any, *, channel: bytes = b"iopub"
    ) -> None:
        """Write one message as it came; its parts are JSON already."""
        self.written_at = time.monotonic()
        if kind in _SHOWN and not self.begun:
            self._begin(kind, header, content)
        room = self._limit - sum(self._sizes.values())
        if kind in _BULKY and len(header) + len(parent) + len(metadata) + 2 * len(content) + FRAME > room:
            self._dropped += len(content)
            return
        line = b'{"channel":"%b","header":%b,"parent_header":%b,"metadata":%b,"content":' % (
            channel,
            *(part.replace(b"\n", b" ") or b"null" for part in (header, parent, metadata)),
        )
        self._write("messages", line)
        for begin in range(0, len(content), LARGE):
            part = content if len(content) <= LARGE else bytes(content[begin : begin + LARGE])
            self._write("messages", part.replace(b"\n", b" "))
        self._write("messages", b"}\n" if len(content) else b"null}\n")
        if kind == "stream":
            self._add_text(header, *stream_text(content))

    def _add_text(self, header: bytes, name: str, pieces: Iterator[bytes]) -> None:
        own = self.numbers.is_own(header_id(header))
        for text in pieces:
            self._write(name, text)
            if not own:
                self._of_others[name] += len(text)
            if self._ordered:
                self._write(output_order.FILE, output_order.entry(name, len(text)))

    @property
    def arrived(self) -> dict[str, int]:
        """How many bytes of each stream the kernel's own process has sent."""
        return {name: self._sizes[name] + self._dropped - self._of_others[name] for name in ("stdout", "stderr")}

    def add_lost(self, texts: dict[str, bytes]) -> None:
        """Add what the kernel had printed and not sent, by stream, as if it had come in messages of the run."""
        for name, text in texts.items():
            header = {"msg_id": os.urandom(16).hex(), "msg_type": "stream", "date": timestamp(time.time())}
            content = {"name": name, "text": text.decode("utf-8", "replace")}
            parts: tuple[dict[str, str], ...] = (header, {"msg_id": self.id}, {}, content)
            self.add("stream", *(json.dumps(part).encode() for part in parts))

    def _write(self, name: str, data: bytes) -> None:
        file = self._files.get(name)
        if file is None:
            path = os.path.join(self.folder, name)
            file = self._files[name] = open(path, "ab", buffering=1 << 16)  # noqa: SIM115 - closed by `rest`
        file.write(data)
        self._sizes[name] += len(data)

    def flush(self) -> None:
        # Streams first: a reader that sees the end in `messages` must find all output that came before it.
        for name in ("stdout", "stderr", output_order.FILE, "messages"):
            if name in self._files:
                self._files[name].flush()

    def rest(self) -> None:
        """Close the files until there is more."""
        self.flush()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def tick(self) -> None:
        """Close files that are not needed, and note what the kernel uses. Called about once a second."""
        now = time.monotonic()
        if now - self.written_at > IDLE_CLOSE:
            self.rest()
        if self._note_usage is not None and self.begun and now >= self._usage_at:
            self._note_usage()
            self._usage_at = now + usage.INTERVAL

    def finish(self, **known: Any) -> None:
        """Write how the run ended. `known` are further fields of the result."""
        self.rest()
        reply = self._reply or {}
        status = reply.get("status")
        verdict = "unknown" if self._reply is None else "ok" if status == "ok" else "error"
        shell_exit = reply.get("shellExit")
        result = {
            "exit": 0 if verdict == "ok" and not known.get("died") else 1,
            "signal": None,
            "started": self._started_text,
            "ended": timestamp(time.time()),
            "seconds": time.time() - self._started,
            "launched": self.begun,
            "stdoutBytes": self._sizes["stdout"],
            "stderrBytes": self._sizes["stderr"],
            "bytesDropped": self._dropped,
            "gap": self.adopted or self._missed or self.is_cut,
            "messagesMissing": self.numbers.missing(),
            "passedOver": self.passed_over,
            "verdict": verdict,
            "error": _exception(reply) if verdict == "error" else None,
            "shellExit": shell_exit if type(shell_exit) is int else None,
            **known,
        }
        self._result = result
        write_json(os.path.join(self.folder, "result.json"), result)

    def decide(self, reply: dict[str, Any]) -> None:
        """Take a client's word for how the code ended, if nothing else has told (protocol J36)."""
        result = self._result
        if result is None or result["verdict"] != "unknown":
            return
        good = reply.get("status") == "ok"
        result.pop("aborted", None)  # it only looked so: the message was missed that the kernel took it up
        result.update(
            exit=0 if good and not result.get("died") else 1,
            verdict="ok" if good else "error",
            error=None if good else _exception(reply),
        )
        write_json(os.path.join(self.folder, "result.json"), result)

    def add_late(self, kind: str, taken: Message) -> None:
        """Add what came after the end: tasks and threads that the code left behind go on printing."""
        if kind in _BULKY and self._result is not None:
            self.add(kind, *taken)
            self.rest()
            self._result["stdoutBytes"], self._result["stderrBytes"] = self._sizes["stdout"], self._sizes["stderr"]
            write_json(os.path.join(self.folder, "result.json"), self._result)

    def lose(self, reason: str) -> None:
        """Write that it will never be known how the run ended."""
        self.rest()
        write_json(os.path.join(self.folder, "failure.json"), {"message": reason})

    def restart(self) -> None:
        """Delete what was recorded: the kernel refused the code and will get it again."""
        self.rest()
        for name in self._sizes:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.folder, name))
            self._sizes[name] = 0


class EndedRuns:
    """The last runs of a kernel that have ended: what they left behind may print, and a client may tell their end."""

    def __init__(self) -> None:
        self._runs: dict[str, Recording] = {}
        self._words: dict[str, dict[str, Any]] = {}

    def get(self, run: str) -> Recording | None:
        return self._runs.get(run)

    def ids(self) -> set[str]:
        return set(self._runs)

    def add(self, recording: Recording) -> None:
        self._keep(self._runs, recording.id, recording)
        if (word := self._words.pop(recording.id, None)) is not None:
            recording.decide(word)

    def tell(self, run: str, reply: dict[str, Any]) -> None:
        """Note what a client says of a run, which may not have ended here. May be called in any thread."""
        self._keep(self._words, run, reply)
        if (recording := self._runs.get(run)) is not None:
            recording.decide(reply)
            self._words.pop(run, None)

    @staticmethod
    def _keep(kept: dict[str, Any], run: str, item: Any) -> None:
        kept[run] = item
        if len(kept) > MOST_OVER:
            kept.pop(next(iter(kept)), None)


def _exception(found: dict[str, Any]) -> dict[str, Any]:
    """What a message says of an exception, as much of it as the result may hold."""
    lines = found.get("traceback")
    traceback = _last([str(line) for line in lines], TRACEBACK) if isinstance(lines, list) else []
    ename, evalue = (str(found.get(name) or "")[:TRACEBACK] for name in ("ename", "evalue"))
    return {"ename": ename, "evalue": evalue, "traceback": traceback}


def _last(lines: list[str], most: int) -> list[str]:
    """The last lines, of this many characters in all."""
    first = len(lines)
    while first and (most := most - len(lines[first - 1])) >= 0:
        first -= 1
    return lines[first:]


def is_recorded(folder: str) -> bool:
    """Whether a run has ended, or another living helper records it."""
    if os.path.exists(os.path.join(folder, "result.json")) or os.path.exists(os.path.join(folder, "failure.json")):
        return True
    spec = read_json(os.path.join(folder, "spec.json"))
    if spec is None:
        return time.time() - os.stat(folder).st_mtime < START_LIMIT  # its helper is about to write the spec
    pid = spec.get("supervisorPid")
    if not lives(pid, spec.get("supervisorStart")):
        return False
    return pid != os.getpid() or spec.get("helper") != HELPER


def _moment(header: bytes) -> float | None:
    """When the kernel made a message, by the clock of its machine."""
    try:
        return datetime.fromisoformat(str(load(header).get("date")).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
