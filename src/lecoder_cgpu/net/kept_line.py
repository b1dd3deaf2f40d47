"""One WebSocket that is kept open, of the process `socket_holder`: read while nobody uses it, and lent to one command.

It is closed when the kernel is another one, when much comes that nobody wants, when its server is silent, and when
nobody has used it for a while. One that was not heard of for some time, as after a laptop's sleep, answers a ping
before it is lent.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

from .. import errors
from . import direct_socket, frames, tls
from .kept_sockets import Address
from .websocket import PING_INTERVAL, PING_TIMEOUT

IDLE = 600.0  # seconds without a command after which a socket is closed
PING = 5.0  # seconds between two pings of a socket that waits
FRESH = 12.0  # seconds since its server was heard, within which a socket is given without asking
ANSWER = 1.0  # seconds for the answer when it is asked
UNWANTED = 1 << 20  # bytes that may come while nobody uses a socket
REST = 2.0  # seconds to send what a command has left behind
CONNECT = 30.0
CHUNK = 256 << 10
_OTHER_KERNEL = re.compile(
    rb'"execution_state":\s*"(?:restarting|autorestarting|dead|starting|terminating)"|shutdown_reply'
)
_TAIL = 64  # bytes in which such words may have begun
_LINGER = struct.Struct("ii")


class Over(Exception):
    """A socket cannot be kept any more."""


def now() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Boundaries:
    """Where the frames and the messages of a server end, without their content."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0  # bytes of the frame that have not come
        self._kind = 0
        self._payload = bytearray()  # of a control frame
        self._unfinished = False  # more frames of a message are to come

    @property
    def between_messages(self) -> bool:
        return not (self._head or self._left or self._unfinished)

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take bytes as they come; yields the control frames among them.

        Raises:
            Over: no server may send that.
        """
        at = 0
        while at < len(data):
            if not self._left:
                self._head.append(data[at])
                at += 1
                yield from self._begin()
                continue
            part = data[at : at + self._left]
            at += len(part)
            self._left -= len(part)
            if self._kind >= frames.CLOSE:
                self._payload += part
                if not self._left:
                    yield self._kind, bytes(self._payload)

    def _begin(self) -> Iterator[tuple[int, bytes]]:
        """Begin a frame when its head is complete."""
        head = self._head
        if len(head) < 2:
            return
        size = head[1] & 0x7F
        length = 2 if size < 126 else 4 if size == 126 else 10
        if len(head) < length:
            return
        if head[1] & 0x80 or head[0] & 0x70:
            raise Over("frames that no server sends")
        self._kind = head[0] & 0x0F
        self._left = size if length == 2 else int.from_bytes(head[2:], "big")
        if self._kind < frames.CLOSE:
            self._unfinished = not head[0] & 0x80
        elif length > 2:
            raise Over("a control frame that is too long")
        self._payload = bytearray()
        head.clear()
        if self._kind >= frames.CLOSE and not self._left:
            yield self._kind, b""


class Line(threading.Thread):
    """One socket, from its opening to its end."""

    def __init__(self, address: Address) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.session_id = os.urandom(16).hex()
        self.state = "opening"  # then "idle" and "used" in turn, at last "over"
        self.served = 0
        self._lock = threading.Lock()
        self._client: socket.socket | None = None
        self._woken, self._wake = os.pipe()
        self._frames = Boundaries()
        self._up: socket.socket
        self._subprotocol: str | None = None
        self._heard = self._asked = now()
        self._waiting = False  # for the answer to a ping
        self._tail = b""

    def offer(self, client: socket.socket) -> bool:
        """Give it to a command, whether it was free."""
        with self._lock:
            if self.state != "idle":
                return False
            self.state, self._client = "used", client
            os.write(self._wake, b"-")
        return True

    def end(self) -> bool:
        """Close it if nobody uses it; whether that was so."""
        with self._lock:
            if self.state == "used":
                return False
            if self.state != "over":
                self.state = "over"
                os.write(self._wake, b"-")
        return True

    def run(self) -> None:
        client: socket.socket | None = None
        try:
            self._open()
            while True:
                client = self._wait()
                try:
                    self._serve(client)
                finally:
                    client.close()
        except (OSError, Over, ValueError, errors.Error, direct_socket.Refused):
            pass
        finally:
            with self._lock:
                self.state = "over"
                left, self._client = self._client, None
                os.close(self._woken)
                os.close(self._wake)
            if left is not None:
                left.close()
            if hasattr(self, "_up"):
                self._up.close()

    def _open(self) -> None:
        address = self.address
        context = tls.context(address.ca) if address.url.startswith("wss:") else None
        url = f"{address.url}?session_id={self.session_id}"
        self._up, self._subprotocol, early = direct_socket.open_plain(
            url, address.headers, address.subprotocols, context=context, timeout=CONNECT
        )
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is not None:
            self._up.setsockopt(socket.IPPROTO_TCP, option, round(1000 * (PING_INTERVAL + PING_TIMEOUT)))
        self._up.setblocking(False)
        self._heard = self._asked = now()
        self._take_unwanted(early)
        with self._lock:
            if self.state == "over":
                raise Over("it is not wanted any more")
            self.state = "idle"

    # --- what is below ---

    def _receive(self) -> bytes | None:
        """What has come, None when there is nothing.

        Raises:
            Over: the server has closed it.
        """
        import ssl

        try:
            data = self._up.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        with contextlib.suppress(OSError):  # it does not last (protocol J23)
            self._up.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if not data:
            raise Over("the server has closed it")
        self._heard = now()
        return data

    def _send(self, data: memoryview | bytes) -> int:
        """Send what can be sent now; how many bytes that was."""
        import ssl

        try:
            return self._up.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def _send_all(self, data: bytes, limit: float) -> None:
        deadline = time.monotonic() + limit
        rest = memoryview(data)
        while rest:
            rest = rest[self._send(rest) :]
            if rest:
                select.select([], [self._up], [], 0.05)
                if time.monotonic() > deadline:
                    raise Over("the server takes nothing")

    def _has_more(self) -> bool:
        """Whether bytes wait where `select` does not see them."""
        pending = getattr(self._up, "pending", None)
        return bool(pending is not None and pending())

    # --- while nobody uses it ---

    def _wait(self) -> socket.socket:
        """Read, answer and ask pings, until a command comes."""
        until = now() + IDLE
        unwanted = 0
        while self.state == "idle":
            pause = min(max(self._asked + PING - now(), 0), PING)
            up, wait = self._up.fileno(), 0 if self._has_more() else pause
            if self._woken in select.select([up, self._woken], [], [], wait)[0]:
                os.read(self._woken, 100)
            while data := self._receive():
                unwanted += len(data)
                self._take_unwanted(data)
                if unwanted > UNWANTED:
                    raise Over("much comes that nobody wants")
            if self.state == "idle":
                self._look_after(until)
        with self._lock:
            client, self._client = self._client, None
        if client is None:
            self._say_goodbye()
            raise Over("it is not wanted any more")
        return client

    def _look_after(self, until: float) -> None:
        if now() > until:
            self._say_goodbye()
            raise Over("nobody has come")
        if now() - self._asked >= PING:
            if self._waiting:
                raise Over("the server is silent")
            self._ask()

    def _ask(self) -> None:
        self._asked, self._waiting = now(), True
        self._send_all(frames.frame(frames.PING, os.urandom(4)), ANSWER)

    def _take_unwanted(self, data: bytes) -> None:
        """Read past what comes for nobody."""
        if _OTHER_KERNEL.search(self._tail + data):
            raise Over("the kernel is another one")
        self._tail = (self._tail + data)[-_TAIL:]
        self._answer(data)

    def _answer(self, data: bytes) -> None:
        for kind, payload in self._frames.feed(data):
            if kind == frames.PING:
                self._send_all(frames.frame(frames.PONG, payload), ANSWER)
            elif kind == frames.PONG:
                self._waiting = False
            elif kind == frames.CLOSE:
                raise Over("the server closes it")

    def _is_alive(self) -> bool:
        """Whether the server has been heard just now, or answers."""
        if now() - self._heard < FRESH and now() - self._asked < FRESH:
            return True
        self._ask()
        deadline = time.monotonic() + ANSWER
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            select.select([self._up], [], [], left)
            while data := self._receive():
                self._take_unwanted(data)
        return not self._waiting

    def _say_goodbye(self) -> None:
        self._send_all(frames.close(frames.IN_ORDER), ANSWER)

    # --- while a command uses it ---

    def _serve(self, client: socket.socket) -> None:
        """Pass bytes on until the command gives the socket back.

        Raises:
            Over: it has not.
        """
        if not self._is_alive():
            raise Over("the server is silent")
        if not self._frames.between_messages:
            raise Over("it is in the middle of a message")
        self._reset_when_closed(True)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                told = f"here {self.session_id} {self._subprotocol or ''}\n"
                socket.send_fds(client, [told.encode("ascii")], [theirs.fileno()])
            ours.setblocking(False)
            self.served += 1
            self._pass_on(client, ours)
        self._reset_when_closed(False)
        self._asked, self._waiting, self._tail = now(), False, b""
        with self._lock:
            self.state = "idle"

    def _reset_when_closed(self, wanted: bool) -> None:
        self._up.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(int(wanted), 0))

    def _pass_on(self, client: socket.socket, ours: socket.socket) -> None:
        down, up = memoryview(b""), memoryview(b"")
        writes = True  # the command has not closed its end
        while True:
            reading: list[socket.socket] = [client]
            writing: list[socket.socket] = []
            (writing if down else reading).append(ours if down else self._up)
            if up:
                writing.append(self._up)
            elif writes:
                reading.append(ours)
            wait = 0 if not down and self._has_more() else None
            ready, _, _ = select.select(reading, writing, [], wait)
            if not down and (data := self._receive()):
                for _ in self._frames.feed(data):
                    pass  # its user answers
                down = memoryview(data)
            if down:
                down = down[_written(ours, down) :]
            if not up and writes and ours in ready:
                data = ours.recv(CHUNK)
                writes = bool(data)
                up = memoryview(data)
            if up:
                up = up[self._send(up) :]
            if client in ready:
                self._obey(_word(client), client, ours, bytes(up))
                return

    def _obey(self, word: bytes, client: socket.socket, ours: socket.socket, up: bytes) -> None:
        """Do what the command says at its end. `up`: what it has sent, and the server has not taken."""
        if word == b"drop\n":
            self._up.close()
            client.sendall(b"dropped\n")
            raise Over("the command has given it up")
        with contextlib.suppress(BlockingIOError):
            while data := ours.recv(CHUNK):
                up += data
        self._send_all(up, REST)
        if word != b"keep\n":
            self._reset_when_closed(False)  # as when the command itself is gone: what it has sent arrives
            raise Over("the command is gone")


def _written(ours: socket.socket, data: memoryview) -> int:
    try:
        return ours.send(data)
    except BlockingIOError:
        return 0
    except OSError:  # the command reads no more; what it says will tell
        return len(data)


def _word(client: socket.socket) -> bytes:
    try:
        return client.recv(100)
    except OSError:
        return b""
