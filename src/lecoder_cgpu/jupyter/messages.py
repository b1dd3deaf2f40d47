"""The Jupyter messaging protocol without a socket: frames, requests, and what messages mean.

`decode` turns a WebSocket frame into a `Message`. A `Request` becomes a frame. The events are what
`execution.Execution` makes of the messages that belong to a run.

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
        """The `msg_id` of the request that this message belongs to; "" if it belongs to none."""
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
    """A request of this client; without `msg_id` it gets a fresh id."""
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
