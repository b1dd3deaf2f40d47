"""The Jupyter messaging protocol without a socket: frames in, events out.

`decode` turns a WebSocket frame into a `Message`; `Execution` is the state machine of one `execute_request`. It is
fed every message of the socket, tells what happened as events, and knows when the run is over: a reply on the shell
channel *and* `status: idle` on iopub, in whichever order they come (protocol J4).

Source: jupyter_client's messaging specification 5.3 and jupyter_server's WebSocket wire protocols.
"""

from __future__ import annotations

import os
import struct
from itertools import pairwise
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from ..models.base import now

V1_SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"

# jupyter_server writes these notices itself when its rate limits make it drop iopub messages (protocol J1).
_DROP_NOTICES = ("IOPub data rate exceeded.", "IOPub message rate exceeded.")


class _Header(Struct):
    msg_id: str = ""
    msg_type: str = ""
    session: str = ""


class Message(Struct, kw_only=True):
    """One Jupyter message; `channel` is shell, iopub, stdin or control, `buffers` are its binary parts."""

    channel: str | None = None
    header: _Header = field(default_factory=_Header)
    parent_header: _Header | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    buffers: list[Any] = field(default_factory=list)

    @property
    def type(self) -> str:
        return self.header.msg_type

    @property
    def parent(self) -> str:
        """The `msg_id` of the request that this message belongs to, "" when there is none."""
        return self.parent_header.msg_id if self.parent_header else ""


_decoder = msgspec.json.Decoder(Message)
_parts = msgspec.json.Decoder(dict[str, Any])
_header = msgspec.json.Decoder(_Header)


def decode(frame: str | bytes, subprotocol: str | None = None) -> Message:
    """A frame as a message, in any of the three forms that servers send (protocol J20).

    Raises:
        ValueError: the frame is no Jupyter message.
    """
    try:
        return _decode(frame, subprotocol)
    except (msgspec.MsgspecError, struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"not a Jupyter message: {error}") from error


def _decode(frame: str | bytes, subprotocol: str | None) -> Message:
    if isinstance(frame, str):
        return _decoder.decode(frame)
    if subprotocol == V1_SUBPROTOCOL:
        (count,) = struct.unpack_from("<Q", frame)
        offsets = struct.unpack_from(f"<{count}Q", frame, 8)
        if count < 6:
            raise ValueError("a v1 frame needs a channel and four message parts")
        parts = [frame[start:end] for start, end in pairwise(offsets[:6])]
        return Message(
            channel=parts[0].decode(),
            header=_header.decode(parts[1]),
            parent_header=_header.decode(parts[2]),
            metadata=_parts.decode(parts[3]),
            content=_parts.decode(parts[4]),
            buffers=_buffers(frame, offsets[5:]),
        )
    (count,) = struct.unpack_from(">I", frame)
    offsets = (*struct.unpack_from(f">{count}I", frame, 4), len(frame))
    message = _decoder.decode(frame[offsets[0] : offsets[1]])
    message.buffers = _buffers(frame, offsets[1:])
    return message


def _buffers(frame: bytes, offsets: tuple[int, ...]) -> list[Any]:
    """The binary parts between these offsets, not copied: they are megabytes of files."""
    view = memoryview(frame)
    return [view[start:end] for start, end in pairwise(offsets)]


def new_id() -> str:
    """A fresh message or session id."""
    return os.urandom(16).hex()


class Request(Struct, frozen=True):
    """A message to be sent; `frame` gives it in the form that the socket's protocol wants."""

    msg_id: str
    channel: str
    header: dict[str, str]
    content: dict[str, Any]
    buffers: tuple[bytes | memoryview, ...] = ()

    def frame(self, subprotocol: str | None) -> str | bytes:
        if subprotocol == V1_SUBPROTOCOL:
            encode = msgspec.json.encode
            parts: list[bytes | memoryview] = [
                self.channel.encode(),
                encode(self.header),
                b"{}",
                b"{}",
                encode(self.content),
                *self.buffers,
            ]
            offsets = [8 * (len(parts) + 2)]
            for part in parts:
                offsets.append(offsets[-1] + len(part))
            return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)
        message = {
            "channel": self.channel,
            "header": self.header,
            "parent_header": {},
            "metadata": {},
            "content": self.content,
            "buffers": [],
        }
        if not self.buffers:
            return msgspec.json.encode(message).decode()
        del message["buffers"]
        parts = [msgspec.json.encode(message), *self.buffers]
        offsets = [4 * (len(parts) + 1)]
        for part in parts[:-1]:
            offsets.append(offsets[-1] + len(part))
        return struct.pack(f">{len(parts) + 1}I", len(parts), *offsets) + b"".join(parts)


def new_run_id() -> str:
    """A fresh id for a run: the `msg_id` of its request in a kernel, the name of its folder on the runtime."""
    return f"run-{new_id()[:16]}"


def request(
    msg_type: str,
    content: dict[str, Any],
    *,
    session: str,
    channel: str = "shell",
    msg_id: str | None = None,
    buffers: tuple[bytes | memoryview, ...] = (),
) -> Request:
    """A request of ours, under a fresh id if none is given."""
    identity = msg_id or new_id()
    header = {
        "msg_id": identity,
        "msg_type": msg_type,
        "session": session,
        "username": "lecoder-cgpu",
        "date": now(),
        "version": "5.3",
    }
    return Request(identity, channel, header, content, buffers)


def execute_request(
    code: str,
    *,
    session: str,
    silent: bool = False,
    allow_stdin: bool = False,
    user_expressions: dict[str, str] | None = None,
    msg_id: str | None = None,
) -> Request:
    """An `execute_request`. Never `stop_on_error`: a failure must not abort what others have queued (protocol J9)."""
    content = {
        "code": code,
        "silent": silent,
        "store_history": not silent,
        "user_expressions": user_expressions or {},
        "allow_stdin": allow_stdin,
        "stop_on_error": False,
    }
    return request("execute_request", content, session=session, msg_id=msg_id)


# --- what an execution tells ---------------------------------------------------------------------------------------


# Messages that belong to an execution by Jupyter's specification; kernels send others, too.
EXECUTION_TYPES = frozenset(
    (
        "stream", "display_data", "update_display_data", "execute_result", "clear_output", "error", "execute_input",
        "status", "execute_reply", "input_request",
    )
)  # fmt: skip


class Stream(Struct, frozen=True):
    """Text that the code wrote to stdout or stderr."""

    name: Literal["stdout", "stderr"]
    text: str


class Display(Struct, frozen=True):
    """A rich output. With `update`, it takes the place of the earlier one of the same `display_id`."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    display_id: str | None = None
    update: bool = False
    result: bool = False


class Clear(Struct, frozen=True):
    """`clear_output`: all output so far goes; with `wait`, when the next output comes."""

    wait: bool


class InputRequested(Struct, frozen=True):
    """The code asks for a line of input and waits for it."""

    prompt: str
    password: bool


class Dropped(Struct, frozen=True):
    """The server said that it left out iopub messages (its rate limits)."""

    notice: str


Event = Stream | Display | Clear | InputRequested | Dropped


class Raised(Struct, frozen=True):
    """The exception that ended the code. `traceback` lines may hold ANSI colour."""

    name: str
    message: str
    traceback: list[str]


class Execution:
    """One `execute_request`, from sending to the end.

    Feed it every message with `receive`. `finished` is true when nothing more can come: reply and idle were seen, the
    request was aborted, or the kernel died (`death` then says how).
    """

    def __init__(self, msg_id: str) -> None:
        self.msg_id = msg_id
        self.started = False
        self.idle = False
        self.status: Literal["ok", "error", "aborted"] | None = None
        self.execution_count: int | None = None
        self.raised: Raised | None = None
        self.death: str | None = None
        self.user_expressions: dict[str, Any] = {}
        self.inputs = 0  # how often the code asked for input
        self._numbers = _Numbers()

    @property
    def replied(self) -> bool:
        return self.status is not None

    @property
    def finished(self) -> bool:
        return self.death is not None or self.status == "aborted" or (self.replied and self.idle)

    @property
    def missing(self) -> int:
        """How many messages of the kernel got lost on the way; 0 also for a kernel that does not number them."""
        return self._numbers.missing

    def gap_before(self, message: Message) -> bool:
        """Whether output is missing right before this message."""
        return message.parent == self.msg_id and self._numbers.gap_before(message)

    def receive(self, message: Message) -> Event | None:
        """Take one message and return what it means for this run, None when nothing that anyone would see."""
        self._numbers.note(message.header.msg_id, message.parent, self.msg_id, message.channel)
        if message.type == "status" and self._is_death(message):
            return None
        if message.parent != self.msg_id:
            return None
        content = message.content
        match message.type:
            case "stream":
                return self._stream(content)
            case "display_data" | "update_display_data":
                transient = content.get("transient") or {}
                return Display(
                    content.get("data") or {},
                    content.get("metadata") or {},
                    transient.get("display_id"),
                    message.type == "update_display_data",
                )
            case "execute_result":
                self.execution_count = content.get("execution_count", self.execution_count)
                transient = content.get("transient") or {}
                return Display(
                    content.get("data") or {}, content.get("metadata") or {}, transient.get("display_id"), result=True
                )
            case "clear_output":
                return Clear(bool(content.get("wait")))
            case "error":
                self.raised = _raised(content)
            case "execute_input":
                self.started = True
                self.execution_count = content.get("execution_count", self.execution_count)
            case "status":
                state = content.get("execution_state")
                self.started = self.started or state == "busy"
                self.idle = self.idle or state == "idle"
            case "execute_reply":
                self._reply(content)
                return _page(content)
            case "input_request":
                self.inputs += 1
                return InputRequested(str(content.get("prompt", "")), bool(content.get("password")))
        return None

    def conclude(self, *, whole: bool = False) -> None:
        """The end was published, and the reply is not known: say how the run ended.

        Args:
            whole: everything that was published from the beginning on is known. What is executed is published first, as
                `execute_input`; without it, the kernel has dropped the request (protocol J8).
        """
        dropped = whole and self.execution_count is None and self.raised is None
        self.status = "aborted" if dropped else "error" if self.raised else "ok"

    def _is_death(self, message: Message) -> bool:
        """Whether this status ends the run. The server reports a crash as `restarting` or `dead`, whoever's the request
        was; a restart asked for by another client shows only as `starting` on a kernel that was at work (protocol J6).
        """
        state = message.content.get("execution_state")
        if state in ("restarting", "autorestarting"):
            self.death = "the kernel died and was restarted by the server"
        elif state in ("dead", "terminating"):
            self.death = "the kernel died"
        elif state == "starting" and self.started and not self.replied:
            # A request that was not begun may still be taken up, if it reached the new process.
            self.death = "the kernel was restarted"
        return self.death is not None

    @staticmethod
    def _stream(content: dict[str, Any]) -> Event:
        text = str(content.get("text", ""))
        if content.get("name") == "stderr":
            if text.lstrip().startswith(_DROP_NOTICES):
                return Dropped(text)
            return Stream("stderr", text)
        return Stream("stdout", text)

    def _reply(self, content: dict[str, Any]) -> None:
        status = content.get("status")
        # "abort" is what kernels older than protocol 5 said for "aborted".
        self.status = "aborted" if status in ("aborted", "abort") else "ok" if status == "ok" else "error"
        self.execution_count = content.get("execution_count", self.execution_count)
        self.user_expressions = content.get("user_expressions") or {}
        if self.status == "error" and self.raised is None:
            self.raised = _raised(content)


def _page(content: dict[str, Any]) -> Display | None:
    """What IPython gives a pager to show (`name?`): it comes with the reply (protocol J17)."""
    pages = [item for item in content.get("payload") or [] if isinstance(item, dict) and item.get("source") == "page"]
    return Display(pages[-1].get("data") or {}, {}) if pages else None


class _Numbers:
    """Finds gaps: a Python kernel numbers everything that it sends, at the end of each message's id (protocol J7).

    Queues between the kernel and us may overflow silently, so a gap between the first and the last message of a run is
    the only sign of it. Replies to requests of other clients go to them alone: one may be missing for each of these.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._last = 0
        self._ours = 0
        self._others: list[tuple[int, str]] = []
        self._iopub: int | None = None  # the last number seen there since the run began
        self._foreign_before = False

    def gap_before(self, message: Message) -> bool:
        """Whether messages are missing right before this one on iopub, as far as can be told now."""
        digits = message.header.msg_id.rpartition("_")[2]
        if message.channel != "iopub" or not digits.isdigit() or self._iopub is None:
            return False
        # The reply is numbered too and comes on another channel: ours right before idle, others' at any time.
        allowed = 1 if self._foreign_before or message.content.get("execution_state") == "idle" else 0
        return int(digits) - self._iopub - 1 > allowed

    def note(self, msg_id: str, parent: str, own: str, channel: str | None) -> None:
        digits = msg_id.rpartition("_")[2]
        if not digits.isdigit():
            return
        number = int(digits)
        if channel == "iopub":
            self._foreign_before = parent != own
            self._iopub = number if self._first is not None or parent == own else None
        if parent != own:
            if self._first is not None:
                self._others.append((number, parent))
            return
        self._first = number if self._first is None else min(self._first, number)
        self._last = max(self._last, number)
        self._ours += 1

    @property
    def missing(self) -> int:
        if self._first is None:
            return 0
        others = [parent for number, parent in self._others if self._first < number < self._last]
        unseen_replies = len(set(others))
        return max(self._last - self._first + 1 - self._ours - len(others) - unseen_replies, 0)


def _raised(content: dict[str, Any]) -> Raised:
    return Raised(
        str(content.get("ename", "")),
        str(content.get("evalue", "")),
        [str(line) for line in content.get("traceback") or []],
    )
