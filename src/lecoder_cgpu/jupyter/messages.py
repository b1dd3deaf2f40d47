"""The Jupyter messaging protocol without a socket: frames, requests, and what messages mean.

`decode` turns a WebSocket frame into a `Message`. A `Request` becomes a frame. The events are what
`execution.Execution` makes of the messages that belong to a run.

Source: jupyter_client's messaging specification 5.3 and jupyter_server's WebSocket wire protocols.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from ..models.base import now

V1_SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"
MAX_DEPTH = 200  # levels of JSON in a message; what is made of it is nested deeper, and encoders have limits, too
PIECE = 1 << 20  # characters of a stream that are handled together
PIECE_OF = "/"  # between the id of a large message and the number of a piece of it
_NUMBER = re.compile(r"_([0-9]{1,15})(?:/[0-9]+)?\Z")  # behind it: a piece of the message


class _Header(Struct):
    msg_id: str = ""
    msg_type: str = ""
    session: str = ""


class Message(Struct, kw_only=True):
    """One Jupyter message; `channel` is shell, iopub, stdin or control, `buffers` are its binary parts.

    `odd`: a part has a type that no message may have. The part counts as empty. `repaired`: a part was not UTF-8, by
    the kernel's doing or on the way here, and what was not text was replaced.
    """

    channel: str | None = None
    header: _Header = field(default_factory=_Header)
    parent_header: _Header | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    buffers: list[Any] = field(default_factory=list)
    odd: bool = False
    repaired: bool = False

    @property
    def type(self) -> str:
        return self.header.msg_type

    @property
    def parent(self) -> str:
        """The `msg_id` of the request that this message belongs to; "" if it belongs to none."""
        return self.parent_header.msg_id if self.parent_header else ""

    @property
    def number(self) -> int | None:
        """The running number that a Python kernel gives its messages (protocol J7); None for other kernels."""
        return number_of(self.header.msg_id)

    @property
    def is_piece(self) -> bool:
        """Whether more of the same message follows; see `large_messages`."""
        return PIECE_OF in self.header.msg_id

    @property
    def lost_its_id(self) -> bool:
        """Whether the id was damaged, so that the same message may come elsewhere under another one."""
        return self.repaired and "\ufffd" in self.header.msg_id


def number_of(msg_id: str) -> int | None:
    """The running number at the end of a message's id; None if there is none."""
    found = _NUMBER.search(msg_id)
    return int(found[1]) if found else None


def whole_id(msg_id: str) -> str:
    """The id of the message that a piece is of; see `large_messages`."""
    return msg_id.partition(PIECE_OF)[0]


_decoder = msgspec.json.Decoder(Message)
_parts = msgspec.json.Decoder(dict[str, Any])
_header = msgspec.json.Decoder(_Header)
_UNREADABLE = (msgspec.MsgspecError, struct.error, IndexError, OverflowError, RecursionError, MemoryError)


def decode(frame: str | bytes, subprotocol: str | None = None) -> Message:
    """A frame as a message, in any of the three forms that servers send (protocol J20).

    Kernels may send bytes that are not UTF-8 (protocol J33), NaN, halves of surrogate pairs, and any type in any place.
    What is not text becomes U+FFFD, as in jupyter_client; `Message.odd` says that a part had a wrong type.

    Raises:
        ValueError: the frame is no Jupyter message, or nobody can tell whose it is.
    """
    try:
        return _decode(frame, subprotocol)
    except _UNREADABLE as error:
        raise ValueError(f"not a Jupyter message: {error}") from error


def _decode(frame: str | bytes, subprotocol: str | None) -> Message:
    if isinstance(frame, str):
        return _from_text(frame)
    if subprotocol == V1_SUBPROTOCOL:
        return _from_parts(frame)
    (count,) = struct.unpack_from(">I", frame)
    offsets = (*struct.unpack_from(f">{count}I", frame, 4), len(frame))
    message = _from_text(frame[offsets[0] : offsets[1]])
    message.buffers = _buffers(frame, offsets[1:])
    return message


def _from_text(text: str | bytes) -> Message:
    """A message that is one JSON object."""
    try:
        return _shallow(_decoder.decode(text), text)
    except (msgspec.MsgspecError, ValueError):
        found = _lenient(text)
    if not isinstance(found, dict):
        raise ValueError("not a Jupyter message: no JSON object")
    parts = [found.get(name, {}) for name in ("header", "parent_header", "metadata", "content")]
    channel = found.get("channel")
    message = _built(channel if isinstance(channel, str) else None, parts)
    message.repaired = not _is_utf8(text)
    return message


def _from_parts(frame: bytes) -> Message:
    """A message of the v1 subprotocol."""
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    if count < 6:
        raise ValueError("a v1 frame needs a channel and four message parts")
    parts = [frame[start:end] for start, end in pairwise(offsets[:6])]
    channel = parts[0].decode("utf-8", "replace")
    try:
        message = Message(
            channel=channel,
            header=_header.decode(parts[1]),
            parent_header=_header.decode(parts[2]),
            metadata=_parts.decode(parts[3]),
            content=_parts.decode(parts[4]),
        )
        _shallow(message, parts[3] + parts[4] if len(parts[3]) > 2 else parts[4])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        message = _built(channel, [_part(part) for part in parts[1:]])
        message.repaired = not all(map(_is_utf8, parts))
    message.buffers = _buffers(frame, offsets[5:])
    return message


def _is_utf8(text: str | bytes) -> bool:
    if isinstance(text, bytes):
        try:
            text.decode()
        except UnicodeDecodeError:
            return False
    return True


def _part(part: bytes) -> Any:
    """One part of a message; None if it is not JSON."""
    try:
        return _lenient(part)
    except (ValueError, RecursionError):
        return None


def _built(channel: str | None, parts: list[Any]) -> Message:
    """A message of parts that may have any type.

    Raises:
        ValueError: its headers do not tell what it is and whose it is.
    """
    header, parent, metadata, content = parts
    if not isinstance(header, dict) or not (parent is None or isinstance(parent, dict)):
        raise ValueError("not a Jupyter message: a header is no object")
    odd = not (isinstance(metadata, dict) and isinstance(content, dict))
    return Message(
        channel=channel,
        header=_fields(header),
        parent_header=None if parent is None else _fields(parent),
        metadata=metadata if isinstance(metadata, dict) else {},
        content=content if isinstance(content, dict) else {},
        odd=odd,
    )


def _fields(header: dict[str, Any]) -> _Header:
    return _Header(**{name: value for name in _Header.__struct_fields__ if isinstance(value := header.get(name), str)})


def _shallow(message: Message, text: str | bytes) -> Message:
    """That message, if nothing in it is nested too deeply.

    Raises:
        ValueError: something is.
    """
    # Counting brackets costs next to nothing, and text may have many.
    brackets = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if brackets > MAX_DEPTH:
        _check_depth((message.content, message.metadata), MAX_DEPTH)
    return message


def _check_depth(value: Any, levels: int) -> None:
    if levels < 0:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        if isinstance(item, list | dict):
            _check_depth(item, levels - 1)


def _lenient(text: str | bytes) -> Any:
    """JSON as Python's own decoder reads it, with everything replaced that could not be written again.

    Raises:
        ValueError: it is no JSON, or nested too deeply. RecursionError: it is nested much too deeply.
    """
    import json

    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return _cleaned(json.loads(text, parse_constant=str, parse_int=_whole, parse_float=_real), MAX_DEPTH)


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) < 1000 else digits


def _real(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def _cleaned(value: Any, levels: int) -> Any:
    """A value without halves of surrogate pairs."""
    if levels < 0:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    match value:
        case str():
            return _text(value)
        case list():
            return [_cleaned(item, levels - 1) for item in value]
        case dict():
            return {_text(name): _cleaned(item, levels - 1) for name, item in value.items()}
    return value


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


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


_reserved_run_ids: list[str] = []


def new_run_id() -> str:
    """A fresh id for a run: the `msg_id` of its request in a kernel, the name of its folder on the runtime."""
    return _reserved_run_ids.pop() if _reserved_run_ids else f"run-{new_id()[:16]}"


def reserve_run_id(run: str) -> None:
    """Let this be the next fresh id. The process that this one stands for has told it."""
    _reserved_run_ids.append(run)


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
    channel: str = "shell",
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
    return request("execute_request", content, session=session, msg_id=msg_id, channel=channel)


# --- what an execution tells ---------------------------------------------------------------------------------------


class Stream(Struct, frozen=True):
    """Text that the code wrote to stdout or stderr. `widget` is the Output widget that captured it, if one did."""

    name: Literal["stdout", "stderr"]
    text: str
    widget: str | None = None


def pieces(event: Event) -> Iterator[Event]:
    """The event; much text in several, so that what handles it needs no more memory than for a piece."""
    if not isinstance(event, Stream) or len(event.text) <= PIECE:
        yield event
        return
    for start in range(0, len(event.text), PIECE):
        yield Stream(event.name, event.text[start : start + PIECE], event.widget)


class Display(Struct, frozen=True):
    """A rich output. With `update`, it takes the place of the earlier one of the same `display_id`."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    display_id: str | None = None
    update: bool = False
    result: bool = False
    widget: str | None = None


class Clear(Struct, frozen=True):
    """`clear_output`: all output so far goes; with `wait`, when the next output comes. `widget`: only what that Output
    widget captured."""

    wait: bool
    widget: str | None = None


class Failure(Struct, frozen=True):
    """An exception that was shown; it need not be what ended the code. Lines may contain ANSI colour sequences.
    `widget` is the Output widget that captured it, if one did."""

    name: str
    message: str
    traceback: list[str]
    widget: str | None = None


class InputRequested(Struct, frozen=True):
    """The code asks for a line of input and waits for it."""

    prompt: str
    password: bool


class Dropped(Struct, frozen=True):
    """The server said that it left out iopub messages (its rate limits)."""

    notice: str


Owned = Stream | Display | Clear | Failure  # they belong to the cell, or to an Output widget
Event = Owned | InputRequested | Dropped
