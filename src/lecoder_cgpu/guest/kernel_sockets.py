"""The sockets of one kernel, and messages on them.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library and pyzmq). ZeroMQ sockets belong to
one thread: all methods but `interrupt` are for the recorder's thread.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from .state_files import read_json, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

_DELIMITER = b"<IDS|MSG>"
# Fields of headers, in which quotes within values are escaped. Parsing headers would cost most of a recorder's time.
_ID = re.compile(rb'"msg_id":\s*"([^"\\]*)"')
_TYPE = re.compile(rb'"msg_type":\s*"([^"\\]*)"')


LARGE = 1 << 20  # bytes of a part that is neither copied nor parsed whole
_WINDOW = 64 << 10  # bytes of it that are looked at together
_STREAM = re.compile(rb'\s*\{\s*"name"\s*:\s*"(stdout|stderr)"\s*,\s*"text"\s*:\s*"')
XSUB_ALL, XSUB_NOTHING = b"\x01", b"\x00"  # what subscribes to everything, and what ends that
_IN_STRING = re.compile(rb'(?:[^"\\]+|\\[^u]|\\u[0-9a-fA-F]{4})*')


class Message(NamedTuple):
    """A message of a kernel; its parts are JSON as it came. A large content is a view of what ZeroMQ holds."""

    header: bytes
    parent: bytes
    metadata: bytes
    content: Any

    @property
    def type(self) -> str:
        return _field(_TYPE, self.header)

    @property
    def id(self) -> str:
        return header_id(self.header)

    @property
    def parent_id(self) -> str:
        """The id of the request that it belongs to."""
        return _field(_ID, self.parent)

    @property
    def parent_type(self) -> str:
        return _field(_TYPE, self.parent)


def message(parts: list[Any]) -> Message:
    """The message in the frames of a socket.

    Raises:
        ValueError: these frames are not a message.
    """
    start = parts.index(_DELIMITER) + 2  # behind the signature
    if len(parts) < start + 4:
        raise ValueError("a message has four parts")
    return Message(*parts[start : start + 4])


def received(socket: Any, flags: int = 0) -> list[Any]:
    """The frames of the next message of a socket."""
    frames = socket.recv_multipart(flags, copy=False)
    return [frame.bytes if len(frame) < LARGE else frame.buffer for frame in frames]


def stream_text(content: Any) -> tuple[str, Iterator[bytes]]:
    """The name of the stream that a message's content tells of, and its text as UTF-8, in pieces if it is large: a
    kernel may have printed hundreds of megabytes at once (protocol J18)."""
    found = _STREAM.match(content) if len(content) >= LARGE else None
    if found is not None:
        return found.group(1).decode(), _pieces(content, found.end())
    plain = load(content)
    text = str(plain.get("text", "")).encode("utf-8", "surrogatepass")
    return "stderr" if plain.get("name") == "stderr" else "stdout", iter([text] if text else [])


def _pieces(content: Any, begin: int) -> Iterator[bytes]:
    """The text of a JSON string, up to its end; what is no JSON ends it."""
    while True:
        window = bytes(content[begin : begin + _WINDOW])
        found = _IN_STRING.match(window)
        size = found.end() if found is not None else 0
        last = window[size : size + 1] == b'"'
        if size == len(window) and begin + size < len(content):  # within a character, maybe
            for _ in range(3):
                size -= content[begin + size] & 0xC0 == 0x80
        text = json.loads('"' + window[:size].decode("utf-8", "replace") + '"', strict=False)
        if not last and "\ud800" <= text[-1:] <= "\udbff":  # the first half of a pair, which is escaped
            text, size = text[:-1], size - 6
        if text:
            yield text.encode("utf-8", "surrogatepass")
        if last or not size:
            return
        begin += size


def load(part: Any) -> dict[str, Any]:
    """A part of a message; an empty object if it is not JSON. Kernels may send what is not UTF-8 (protocol J33)."""
    try:
        found = json.loads(bytes(part).decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def header_id(header: bytes) -> str:
    """The id of the message with that header."""
    return _field(_ID, header)


def _field(pattern: re.Pattern[bytes], header: bytes) -> str:
    found = pattern.search(header)
    return found.group(1).decode("utf-8", "replace") if found else ""


class KernelSockets:
    """Connections to one kernel.

    Args:
        connection: the path of its connection file.

    Attributes:
        published: subscribed to what the kernel publishes, with an unlimited queue. What has arrived can still be read
            when the subscription is given up.
        monitor: can be read when that connection was lost, which means that the kernel's process has ended.
        control: requests that the kernel serves even when it is busy (protocol J12).
        shell: code to execute, and its replies.
    """

    def __init__(self, connection: str) -> None:
        import zmq

        found = read_json(connection) or {}
        self._connection = found
        self._separator = "-" if found["transport"] == "ipc" else ":"  # either is met (protocol J14, C37)
        self._key = str(found.get("key", "")).encode()
        self._zmq = zmq.Context()  # our own: the kernel in which we live ends its context when it ends
        self._subscribe()
        self.control = self._connect(zmq.DEALER, "control_port")
        self.shell = self._connect(zmq.DEALER, "shell_port")

    def _subscribe(self) -> None:
        import zmq

        self.published = self._connect(zmq.XSUB, "iopub_port")
        self.monitor = self.published.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def _connect(self, kind: int, port: str) -> Any:
        import zmq

        socket = self._zmq.socket(kind)
        if kind == zmq.XSUB:
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.send(XSUB_ALL)
        socket.connect(
            f"{self._connection['transport']}://{self._connection['ip']}{self._separator}{self._connection[port]}"
        )
        return socket

    def ask(self) -> str:
        """Make the kernel publish something, even when it is busy; returns the request's id."""
        while self.control.poll(0):  # replies to earlier ones
            self.control.recv_multipart()
        request = os.urandom(16).hex()
        self.control.send_multipart(self._request("kernel_info_request", {}, request))
        return request

    def ask_shell(self) -> None:
        """The same once the kernel has done its work, for kernels that publish nothing of requests on the control
        channel (protocol J36)."""
        self.shell.send_multipart(self._request("kernel_info_request", {}))

    def execute(self, run: str, code: str, *, silent: bool = False) -> None:
        """Send code to execute; `run` is the request's id."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        self.shell.send_multipart(self._request("execute_request", content, run))

    def interrupt(self) -> None:
        """Ask the kernel to interrupt what it executes; in any thread."""
        import zmq

        socket = self._connect(zmq.DEALER, "control_port")  # `control` belongs to the recorder's thread
        socket.send_multipart(self._request("interrupt_request", {}))
        socket.close(linger=1000)

    def _request(self, kind: str, content: dict[str, Any], msg_id: str | None = None) -> list[bytes]:
        header = {
            "msg_id": msg_id or os.urandom(16).hex(),
            "msg_type": kind,
            "username": "lecoder-cgpu",
            "session": "recorder",
            "date": timestamp(time.time()),
            "version": "5.3",
        }
        parts = [json.dumps(header).encode(), b"{}", b"{}", json.dumps(content).encode()]
        signature = hmac.new(self._key, b"".join(parts), hashlib.sha256).hexdigest() if self._key else ""
        return [_DELIMITER, signature.encode(), *parts]

    def poller(self, wake: int) -> Any:
        """Of everything that may come unasked, and of a descriptor."""
        import zmq

        made = zmq.Poller()
        for socket in (self.published, self.monitor, self.shell, wake):
            made.register(socket, zmq.POLLIN)
        return made

    def has_ended(self) -> bool:
        """Whether the connection to the kernel's process was lost."""
        import zmq

        return bool(self.monitor.getsockopt(zmq.EVENTS) & zmq.POLLIN)

    def renew(self) -> Any:
        """Begin anew with the kernel's next process; returns the subscription to the last one.

        Requests that wait in `shell` are forgotten: the next process would get them.
        """
        import zmq

        before = self.published
        before.disable_monitor()
        self.monitor.close(linger=0)
        self._subscribe()
        self.shell.close(linger=0)
        self.shell = self._connect(zmq.DEALER, "shell_port")
        return before

    def close(self) -> None:
        self._zmq.destroy(linger=0)
