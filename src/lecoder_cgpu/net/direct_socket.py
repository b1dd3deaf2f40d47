"""A WebSocket straight to its server: the handshake (by h11), and a connection that reads in a thread of its own.

A thread reads, so that pings are answered also while nobody waits for a message. It stops reading while `HELD`
messages, or `HELD_BYTES` of them, wait for somebody to take them, which holds up the peer. Whoever sends holds
`_sending`; pongs and pings go in between, and the reading thread never waits for that lock, or both ends could wait for
each other.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import frames

if TYPE_CHECKING:
    from ssl import SSLContext

    import h11

HELD = 16  # messages
HELD_BYTES = 32 << 20  # of them together; one message may have more
CLOSE_WAIT = 0.01  # seconds for the peer's own close frame; nothing depends on it
URGENT = 1000  # control frames that wait to be sent; a peer that pings on and on gets fewer answers
LAST_WORDS = 1.0  # seconds to wait for the peer's close frame when it takes no more
CHUNK = 256 << 10  # bytes that are read at once
BODY = 2000  # bytes of a refusal that are read
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3

# Makes what cuts a large message, of which it is told whether it is binary, and the subprotocol of its socket.
Cut = Callable[[bool, "str | None"], frames.Cutter]


class Refused(Exception):
    """The server answered the handshake with another status than 101."""

    def __init__(self, status: int, location: str, body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.location = location
        self.body = body


class Closed(ConnectionError):
    """The connection is closed. `sent` and `rcvd` are what the close frames said, None where there was none."""

    def __init__(self, sent: frames.Close | None, rcvd: frames.Close | None, why: str = "") -> None:
        told = f"the server closed it ({rcvd.code}{f': {rcvd.reason}' if rcvd.reason else ''})" if rcvd else None
        super().__init__(told or why or (sent.reason if sent else "") or "it broke off without a close frame")
        self.sent = sent
        self.rcvd = rcvd


def connect(
    url: str,
    headers: Mapping[str, str],
    subprotocols: Sequence[str],
    *,
    context: SSLContext | None,
    timeout: float,
    ping: tuple[float | None, float],
    largest: int,
    cut: Cut | None = None,
) -> DirectSocket:
    """Open a WebSocket.

    Args:
        context: for `wss://`. timeout: seconds for all of it. ping: seconds between pings (None: none), and those in
            which each has to be answered. largest: bytes of a message that are taken. cut: see there.

    Raises:
        ValueError: the URL is no address. Refused: see there. OSError: the connection failed.
    """
    opened, subprotocol, early = open_plain(url, headers, subprotocols, context=context, timeout=timeout)
    return DirectSocket(opened, subprotocol, early, ping, frames.Reader(largest, cutting(cut, subprotocol)))


def open_plain(
    url: str, headers: Mapping[str, str], subprotocols: Sequence[str], *, context: SSLContext | None, timeout: float
) -> tuple[socket.socket, str | None, bytes]:
    """Open a WebSocket as `connect` does, for somebody else to read and write its frames.

    Returns:
        what is below it, without a timeout; the subprotocol that the server chose; what it has sent already.
    """
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port or (443 if context else 80)
    if not host:
        raise ValueError("it names no host")
    deadline = time.monotonic() + timeout
    # As bytes, since Python would import tables of international names for a text.
    opened = socket.create_connection((host.encode() if host.isascii() else host, port), timeout)  # type: ignore[arg-type]
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.settimeout(_left(deadline))
        if context is not None:
            opened = context.wrap_socket(opened, server_hostname=host)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        subprotocol, early = _shake_hands(opened, deadline, target, _host(parts.netloc), headers, subprotocols)
        opened.settimeout(None)
        return opened, subprotocol, early
    except BaseException:
        opened.close()
        raise


def cutting(cut: Cut | None, subprotocol: str | None) -> Callable[[int], frames.Cutter] | None:
    return None if cut is None else lambda kind: cut(kind == frames.BINARY, subprotocol)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _host(netloc: str) -> str:
    return netloc.rpartition("@")[2]


def _shake_hands(
    opened: socket.socket,
    deadline: float,
    target: str,
    host: str,
    headers: Mapping[str, str],
    subprotocols: Sequence[str],
) -> tuple[str | None, bytes]:
    """The subprotocol that the server chose, and what it has sent behind its answer."""
    import h11

    key = binascii.b2a_base64(os.urandom(16), newline=False)
    asked = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key.decode(),
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    if subprotocols:
        asked["Sec-WebSocket-Protocol"] = ", ".join(subprotocols)
    http = h11.Connection(h11.CLIENT)
    try:
        request = h11.Request(method="GET", target=target, headers=list(asked.items()))
    except (h11.LocalProtocolError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error
    try:
        opened.sendall((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        answer = _next(http, opened, deadline)
        while isinstance(answer, h11.InformationalResponse) and answer.status_code != 101:
            answer = _next(http, opened, deadline)
        if isinstance(answer, h11.InformationalResponse):
            return _accepted(answer, key, subprotocols), http.trailing_data[0]
        assert isinstance(answer, h11.Response)
        raise Refused(answer.status_code, _header(answer, b"location"), _body(http, opened, deadline))
    except h11.RemoteProtocolError as error:
        raise ConnectionError(f"it does not speak HTTP: {error}") from error


def _next(http: h11.Connection, opened: socket.socket, deadline: float) -> object:
    import h11

    while (event := http.next_event()) is h11.NEED_DATA:
        opened.settimeout(_left(deadline))
        http.receive_data(opened.recv(CHUNK))
    if isinstance(event, h11.ConnectionClosed):
        raise ConnectionResetError("the connection was closed before there was an answer")
    return event


def _body(http: h11.Connection, opened: socket.socket, deadline: float) -> bytes:
    """The beginning of a refusal's body, as far as it comes."""
    import h11

    body = b""
    with contextlib.suppress(OSError, h11.RemoteProtocolError):
        while len(body) < BODY and isinstance(event := _next(http, opened, deadline), h11.Data):
            body += bytes(event.data)
    return body[:BODY]


def _header(answer: h11.InformationalResponse | h11.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in answer.headers if key == name), "")


def _accepted(answer: h11.InformationalResponse, key: bytes, offered: Sequence[str]) -> str | None:
    """The subprotocol of an answer that opens a WebSocket.

    Raises:
        ConnectionError: it does not.
    """
    import hashlib

    wanted = binascii.b2a_base64(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest(), newline=False)
    connection = [word.strip() for word in _header(answer, b"connection").lower().split(",")]
    if _header(answer, b"upgrade").lower() != "websocket" or "upgrade" not in connection:
        raise ConnectionError("the server switches to something other than a WebSocket")
    if _header(answer, b"sec-websocket-accept") != wanted.decode():
        raise ConnectionError("the server has not answered our WebSocket handshake")
    if _header(answer, b"sec-websocket-extensions"):
        raise ConnectionError("the server uses extensions that nobody asked for")
    chosen = _header(answer, b"sec-websocket-protocol") or None
    if chosen is not None and chosen not in offered:
        raise ConnectionError(f"the server chose a subprotocol that nobody offered: {chosen[:100]}")
    return chosen


class DirectSocket:
    """An open WebSocket. Its methods are those of the websockets library that `net.websocket` uses.

    Attributes:
        socket: below it. subprotocol: that the server chose. close_code: None while it is open. pinged: how often the
            server has pinged, which was answered.
    """

    def __init__(
        self,
        opened: socket.socket,
        subprotocol: str | None,
        early: bytes,
        ping: tuple[float | None, float],
        reader: frames.Reader,
    ) -> None:
        self.socket = opened
        self.subprotocol = subprotocol
        self.pinged = 0
        self._frames = reader
        self._arrived: deque[str | bytes] = deque()
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._urgent: deque[bytes] = deque(maxlen=URGENT)  # control frames that go out between two others
        self._pings: dict[bytes, threading.Event] = {}
        self._sent: frames.Close | None = None
        self._rcvd: frames.Close | None = None
        self._why = ""
        self._heard = time.monotonic()  # when bytes of the peer came, or could come again
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(early,), daemon=True)
        self._reader.start()
        if ping[0] is not None:
            threading.Thread(target=self._keep_alive, args=ping, daemon=True).start()

    @property
    def close_code(self) -> int | None:
        if not self._over.is_set():
            return None
        return self._rcvd.code if self._rcvd else self._sent.code if self._sent else frames.CUT

    def send(self, message: str | bytes) -> None:
        """Send one message.

        Raises:
            Closed: see there; also if it breaks.
        """
        kind, content = (frames.TEXT, message.encode()) if isinstance(message, str) else (frames.BINARY, message)
        data = frames.frame(kind, content)
        with self._sending:
            if self._over.is_set() or self._sent:
                raise self._ended()
            try:
                self.socket.sendall(data)
            except OSError as error:
                self._over.wait(LAST_WORDS)
                raise self._ended() from error
        self._send_urgent()

    def recv(self, timeout: float | None = None) -> str | bytes:
        """The next message.

        Raises:
            TimeoutError: none came within this many seconds. Closed: see there.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived or self._over.is_set(), timeout):
                raise TimeoutError
            if not self._arrived:
                raise self._ended()
            self._heard = time.monotonic()  # there is room for another one, and the peer has its time anew
            self._changed.notify_all()
            return self._arrived.popleft()

    def ping(self) -> threading.Event:
        """Send a ping; what is returned is set when it is answered.

        Raises:
            OSError: as `send`.
        """
        if self._over.is_set():
            raise self._ended()
        payload = os.urandom(4)
        answered = self._pings[payload] = threading.Event()
        self._urgent.append(frames.frame(frames.PING, payload))
        self._send_urgent()
        return answered

    def close(self) -> None:
        """Close in order, hardly wait for the peer to do the same, and free the socket."""
        with self._sending, contextlib.suppress(OSError):
            self._say_goodbye(frames.Close(frames.IN_ORDER, ""))
        self._over.wait(CLOSE_WAIT)
        self._over.set()
        with self._changed:
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        self._reader.join(1.0)
        self.socket.close()

    def leave(self, patience: float) -> bool:
        """Stop using the connection without a word to the peer, when all is sent that was to be; whether that was so.
        What is below it stays open, and nothing more is sent."""
        if not self._sending.acquire(timeout=patience):
            return False
        try:
            if self._over.is_set() or self._sent or self._rcvd:
                return False
            while self._urgent:
                self.socket.sendall(self._urgent.popleft())
            self._sent = frames.Close(frames.IN_ORDER, "")  # which `send` and `close` respect
        except OSError:
            return False
        finally:
            self._sending.release()
        return True

    def _ended(self) -> Closed:
        return Closed(self._sent, self._rcvd, self._why)

    def _say_goodbye(self, what: frames.Close) -> None:
        """Send a close frame, once. The caller holds `_sending`."""
        if self._sent is None and not self._over.is_set():
            self._sent = what
            self.socket.sendall(frames.close(*what))

    def _send_urgent(self) -> None:
        """Send the control frames that wait. Another thread that is sending does it when it is done."""
        while self._urgent and self._sending.acquire(blocking=False):
            try:
                while self._urgent:
                    self.socket.sendall(self._urgent.popleft())
            finally:
                self._sending.release()

    # --- the thread that reads ---

    def _read(self, data: bytes) -> None:
        """Read until the connection ends, however it does."""
        try:
            while self._rcvd is None and not self._over.is_set():
                for kind, payload in self._frames.feed(data):
                    self._take(kind, payload)
                    if self._rcvd is not None:
                        break
                data = self.socket.recv(CHUNK) if self._rcvd is None else b""
                self._heard = time.monotonic()
                if not data:
                    break
        except frames.Broken as broken:
            self._give_up(frames.Close(broken.code, str(broken)))
        except (OSError, ValueError) as error:  # ValueError: it was closed meanwhile
            self._why = self._why or str(error)
        with self._changed:
            self._over.set()
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that is sending
        with self._sending:
            self.socket.close()

    def _give_up(self, what: frames.Close) -> None:
        """Tell the peer why nothing more is read, if nobody is sending just now."""
        if self._sending.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError):
                    self._say_goodbye(what)
            finally:
                self._sending.release()
        self._sent = self._sent or what

    def _has_room(self) -> bool:
        """Whether another message may wait to be taken."""
        return len(self._arrived) < HELD and sum(map(len, self._arrived)) < HELD_BYTES

    def _take(self, kind: int, payload: str | bytes) -> None:
        if kind in (frames.TEXT, frames.BINARY):
            with self._changed:
                self._changed.wait_for(lambda: self._has_room() or self._over.is_set())
                self._arrived.append(payload)
                self._changed.notify_all()
            return
        assert isinstance(payload, bytes)
        if kind == frames.PING:
            self.pinged += 1
            self._urgent.append(frames.frame(frames.PONG, payload))
            self._send_urgent()
        elif kind == frames.PONG and (answered := self._pings.pop(payload, None)) is not None:
            answered.set()
        elif kind == frames.CLOSE:
            self._rcvd = frames.closing(payload)
            self._give_up(self._rcvd if self._rcvd.code != frames.NO_CODE else frames.Close(frames.IN_ORDER, ""))

    def _keep_alive(self, interval: float, patience: float) -> None:
        """Ping, so that no proxy takes the connection for dead, and cut one that does not answer."""
        while not self._over.wait(interval):
            try:
                answered = self.ping()
            except OSError:
                return
            while not answered.wait(patience) and not self._over.is_set():
                with self._changed:  # its answer comes behind what is on its way, and behind what we do not read
                    if not self._has_room() or time.monotonic() - self._heard < patience:
                        continue
                self._why = f"no answer to a ping for {patience:g} s"
                with contextlib.suppress(OSError):
                    self.socket.shutdown(socket.SHUT_RDWR)
                return
