"""Ports of the runtime on this machine: TCP connections to 127.0.0.1 here go on to 127.0.0.1 there.

A kernel of its own on the runtime is turned into the other end (`helper/tunnel.py`), and its channels carry the
bytes; so it works through whatever leads to a kernel, and nothing is open to anybody else. Bytes have offsets and are
kept until they are acknowledged: a connection through the tunnel survives a dropped connection to the runtime.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .. import errors
from ..helper.bootstrap import program
from ..jupyter import messages
from ..jupyter.server import NotebookSession
from ..net.websocket import WebSocket
from ..sessions.session import Session
from ..system import logs

PATH = "lecoder-cgpu-tunnel"
MESSAGE = "lecoder_tunnel"
CHUNK = 256 << 10
WINDOW = 8 << 20  # bytes on their way in each direction of a connection
ACK_EVERY = 512 << 10
PING_EVERY = 10.0  # seconds
START_LIMIT = 60.0  # seconds for the other end to answer for the first time
HELLO_PAUSE = 0.2
PAUSE, MAX_PAUSE = 0.2, 5.0  # seconds between attempts to reconnect
ABANDONED = 300.0  # seconds without a client after which somebody's left-over tunnel is removed

# What a fresh kernel executes: it becomes the tunnel, in the same process and on the same ports (protocol J13).
_CODE = """
import os, sys
from ipykernel.connect import get_connection_file
os.execv(sys.executable, [sys.executable, "-c", {source!r}, get_connection_file()])
"""


class _Frame(Struct, rename={"operation": "o", "link": "c", "offset": "f", "problem": "e", "known": "r"}):
    """The content of a message of the tunnel."""

    operation: str
    link: int = 0
    offset: int = 0
    problem: str = ""
    known: dict[str, int] | UnsetType = UNSET


class Tunnel:
    """Connections from ports of this machine to ports of a session's runtime.

    Args:
        session: whose runtime.
        notify: told what a person should know while it goes on.

    Raises:
        errors.CapacityError: the other end did not start.
        errors.AuthError, errors.ConnectionFailed: as transport has it.
    """

    def __init__(self, session: Session, notify: Callable[[str], None]) -> None:
        self._session = session
        self._server = session.server
        self._notify = notify
        self._session_id = messages.new_id()
        self._listeners: list[socket.socket] = []
        self._links: dict[int, _Link] = {}
        self._links_lock = threading.Lock()
        self._sending = threading.Lock()  # held while something is sent, and while a lost connection is made good
        self._refused: set[int] = set()
        self._count = 0
        self._closed = False
        self._socket: WebSocket | None = None
        self.connections = 0
        self.reconnections = 0
        self._remove_abandoned(session)
        path = f"{session.endpoint.folder}/{PATH}-{messages.new_id()[:12]}".lstrip("/")
        with session.waiting("starting the tunnel on the runtime …"):
            self._kernel_id = self._start_kernel(path)
            try:
                self._socket = self._server.open_channels(self._kernel_id, self._session_id)
                self._take_over()
            except BaseException:
                self.close()
                raise

    # --- the other end ---

    def _start_kernel(self, path: str) -> str:
        opened, _ = self._server.open_session(path)
        if opened.kernel is None:
            raise errors.ConnectionFailed(
                "the server opened a session without a kernel", hint="repeat the same command"
            )
        return opened.kernel.id

    def _take_over(self) -> None:
        code = _CODE.format(source=program("port_tunnel"))
        assert self._socket is not None
        request = messages.execute_request(code, session=self._session_id, silent=True)
        self._socket.send(request.frame(self._socket.subprotocol))
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            # What is sent while one program takes the other's place may go to neither.
            self._send("hello")
            again = time.monotonic() + HELLO_PAUSE
            while (left := again - time.monotonic()) > 0:
                frame = self._socket.receive(left)
                if frame is None:
                    break
                message = messages.decode(frame, self._socket.subprotocol)
                if message.type == MESSAGE:
                    return
                if message.type == "execute_reply" and message.parent == request.msg_id:
                    raise errors.CapacityError(
                        f"the tunnel could not be started on the runtime: {message.content.get('evalue', '')}",
                        name="TunnelFailed",
                        retryable=False,
                        hint="it needs a Python kernel on a POSIX system: lecoder-cgpu kernel status",
                    )
        raise errors.CapacityError(
            f"the tunnel on the runtime did not answer within {START_LIMIT:g} s",
            name="TunnelFailed",
            hint="repeat the same command; lecoder-cgpu status shows whether the runtime answers",
        )

    def _remove_abandoned(self, session: Session) -> None:
        """End tunnels whose client was killed before it could."""
        for found in self._server.sessions():
            if found.path.rpartition("/")[2].startswith(PATH) and _abandoned(found):
                logs.current().info("FORWARD", "removing a tunnel that was left", {"path": found.path})
                assert found.kernel is not None
                self._server.delete_kernel(found.kernel.id)

    # --- this end ---

    def listen(self, remote: int, local: int | None) -> int:
        """Forward a port, and return the port here.

        Args:
            remote: the port on the runtime; nothing needs to listen there yet.
            local: the port here, 0 for any; None is the same number, or any when that is taken.

        Raises:
            errors.UsageError: the port here cannot be had.
        """
        taken = listener(remote, local)
        self._listeners.append(taken)
        threading.Thread(target=self._accept, args=(taken, remote), daemon=True).start()
        port: int = taken.getsockname()[1]
        return port

    def _accept(self, listener: socket.socket, remote: int) -> None:
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                accepted, _ = listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._links_lock:
                    self._count += 1
                    self.connections += 1
                    link = _Link(self, self._count, accepted, remote)
                    self._links[link.number] = link
                link.open()

    def forget(self, link: _Link) -> None:
        """A connection is over."""
        with self._links_lock:
            self._links.pop(link.number, None)

    def run(self) -> None:
        """Carry bytes until `close`, whatever happens to the connection.

        Raises:
            errors.LostError: the other end is gone.
            errors.AuthError: the server does not know us any more.
        """
        ping_at = 0.0
        while not self._closed:
            current = self._socket
            assert current is not None
            try:
                if time.monotonic() >= ping_at:
                    ping_at = time.monotonic() + PING_EVERY
                    self._send("ping")
                frame = current.receive(max(ping_at - time.monotonic(), 0))
                if frame is not None:
                    self._take(frame, current.subprotocol)
            except errors.ConnectionFailed:
                if not self._closed:
                    self._reconnect()

    def _take(self, frame: str | bytes, subprotocol: str | None) -> None:
        try:
            message = messages.decode(frame, subprotocol)
        except ValueError:
            return
        if message.type == "status" and message.content.get("execution_state") in ("restarting", "dead"):
            raise _gone("the tunnel's other end")
        if message.type != MESSAGE:
            return
        content = msgspec.convert(message.content, _Frame)
        if content.operation == "sync":
            self._resume(content.known or {})
            return
        with self._links_lock:
            link = self._links.get(content.link)
        if link is None:
            return
        match content.operation:
            case "data":
                self._session.used()
                link.take(content.offset, message.buffers[0])
            case "eof":
                link.take_end(content.offset)
            case "ack":
                link.acknowledge(content.offset)
            case "opened":
                link.fresh = False
                self._refused.discard(link.remote)
            case "closed":
                if link.remote not in self._refused:
                    self._refused.add(link.remote)
                    self._notify(f"port {link.remote} of the runtime: {content.problem}")
                link.end()

    # --- sending, and a lost connection ---

    def _send(self, operation: str, link: int | None = None, data: bytes | None = None, **content: Any) -> None:
        """Send if there is a connection; whatever matters is sent again when there is a new one."""
        current = self._socket
        if current is None:
            return
        content["o"] = operation
        if link is not None:
            content["c"] = link
        buffers = () if data is None else (data,)
        request = messages.request(MESSAGE, content, session=self._session_id, buffers=buffers)
        with contextlib.suppress(errors.ConnectionFailed):  # the reader notices, and makes it good
            current.send(request.frame(current.subprotocol))

    @contextlib.contextmanager
    def sending(self) -> Any:
        """Gives the means to send: what is sent here cannot fall between the two halves of a resumption."""
        with self._sending:
            yield self._send

    def _reconnect(self) -> None:
        pause = PAUSE
        with self._sending:
            assert self._socket is not None
            self._socket.close()
            self._socket = None
        while not self._closed:
            try:
                fresh = self._server.open_channels(self._kernel_id, self._session_id)
                break
            except errors.NotFoundError as error:
                raise _gone("the tunnel's other end") from error
            except errors.ConnectionFailed as error:
                if self._session.is_lost():
                    raise _gone("the runtime") from error
                time.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE)
        else:
            return
        self.reconnections += 1
        with self._links_lock:
            known = {str(link.number): link.received for link in self._links.values()}
        # Nothing else is sent until the other end has told what it has: see `_resume`.
        request = messages.request(MESSAGE, {"o": "sync", "r": known}, session=self._session_id)
        with contextlib.suppress(errors.ConnectionFailed):
            fresh.send(request.frame(fresh.subprotocol))
        self._fresh = fresh
        self._await_resumption(fresh)

    def _await_resumption(self, fresh: WebSocket) -> None:
        while not self._closed and self._socket is None:
            frame = fresh.receive(PING_EVERY)  # a failure leads back to `run`, and to another attempt
            if frame is not None:
                self._take(frame, fresh.subprotocol)

    def _resume(self, known: dict[str, int]) -> None:
        """The other end has told what it has of each connection: send again what it has not."""
        with self._sending:
            self._socket = self._fresh
            with self._links_lock:
                links = list(self._links.values())
            for link in links:
                if str(link.number) in known:
                    link.send_again(self._send, known[str(link.number)])
                elif link.fresh:
                    link.send_again(self._send, 0, opening=True)
                else:
                    link.end()

    def close(self) -> None:
        """End the forwarding, and its other end."""
        self._closed = True
        for listener in self._listeners:
            listener.close()
        with self._links_lock:
            links = list(self._links.values())
        for link in links:
            link.end()
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(errors.Error):  # what is left over is removed by the next one
            self._server.delete_kernel(self._kernel_id)


class _Link:
    """One connection: a thread reads from it, another writes to it."""

    def __init__(self, tunnel: Tunnel, number: int, connection: socket.socket, remote: int) -> None:
        self.number = number
        self.remote = remote
        self.received = 0
        self._tunnel = tunnel
        self._socket = connection
        self._changed = threading.Condition()
        self._unacknowledged: collections.deque[tuple[int, bytes]] = collections.deque()
        self._sent = self._acknowledged = 0
        self._read_all = False
        self._waiting: collections.deque[memoryview] = collections.deque()
        self._written = self._told = 0
        self._ends_at: int | None = None
        self._shut = self._over = False
        self.fresh = True  # nothing was heard of it from the other end

    def open(self) -> None:
        with self._tunnel.sending() as send:
            send("open", self.number, p=self.remote)
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()

    # --- from here to there ---

    def _read(self) -> None:
        while True:
            with self._changed:
                while self._sent - self._acknowledged >= WINDOW and not self._over:
                    self._changed.wait()
                if self._over:
                    return
            try:
                data = self._socket.recv(CHUNK)
            except OSError:
                self._abort()
                return
            with self._tunnel.sending() as send:
                with self._changed:
                    offset = self._sent
                    if data:
                        self._unacknowledged.append((offset, data))
                        self._sent += len(data)
                    else:
                        self._read_all = True
                if data:
                    send("data", self.number, data, f=offset)
                else:
                    send("eof", self.number, f=offset)
            if not data:
                self._end_if_over()
                return

    def acknowledge(self, offset: int) -> None:
        """The other end has passed on everything before `offset`."""
        with self._changed:
            self.fresh = False
            self._acknowledged = max(self._acknowledged, offset)
            pending = self._unacknowledged
            while pending and pending[0][0] + len(pending[0][1]) <= self._acknowledged:
                pending.popleft()
            self._changed.notify_all()
        self._end_if_over()

    def send_again(self, send: Callable[..., None], offset: int, *, opening: bool = False) -> None:
        """After a lost connection, of which the other end has everything before `offset`."""
        with self._changed:
            pending = [(at, data) for at, data in self._unacknowledged if at + len(data) > offset]
            read_all, sent, written = self._read_all, self._sent, self._written
        if opening:
            send("open", self.number, p=self.remote)
        send("ack", self.number, f=written)
        for at, data in pending:
            send("data", self.number, data, f=at)
        if read_all:
            send("eof", self.number, f=sent)

    # --- from there to here ---

    def take(self, offset: int, data: memoryview) -> None:
        """Bytes from the other end; what is here already, or comes behind a gap, is passed over."""
        with self._changed:
            self.fresh = False
            known = self.received - offset
            if 0 <= known < len(data):
                self.received += len(data) - known
                self._waiting.append(data[known:])
                self._changed.notify_all()

    def take_end(self, offset: int) -> None:
        """There is nothing behind `offset`."""
        with self._changed:
            self.fresh = False
            self._ends_at = offset
            self._changed.notify_all()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._over or self._ends_at == self._written):
                    self._changed.wait()
                if self._over:
                    return
                data = self._waiting.popleft() if self._waiting else None
            try:
                if data is None:
                    self._socket.shutdown(socket.SHUT_WR)
                else:
                    self._socket.sendall(data)
            except OSError:
                self._abort()
                return
            if data is None:
                self._shut = True
                self._end_if_over()
                return
            with self._changed:
                self._written += len(data)
                due = self._written - self._told >= ACK_EVERY or (not self._waiting and self._written > self._told)
            if due:
                self._told = self._written
                with self._tunnel.sending() as send:
                    send("ack", self.number, f=self._told)

    # --- the end ---

    def _end_if_over(self) -> None:
        """Both directions have ended, and nothing is on its way any more."""
        if self._shut and self._read_all and self._acknowledged >= self._sent:
            self._abort()

    def _abort(self) -> None:
        with self._tunnel.sending() as send:
            send("close", self.number)
        self.end()

    def end(self) -> None:
        """Close the connection here; the other end knows, or is gone."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes up the reader
        self._socket.close()
        self._tunnel.forget(self)


def listener(remote: int, local: int | None) -> socket.socket:
    """A socket that listens on 127.0.0.1, at the port that `Tunnel.listen` tells of.

    Raises:
        errors.UsageError: the port here cannot be had.
    """
    try:
        return socket.create_server(("127.0.0.1", remote if local is None else local))
    except OSError as error:
        if local is not None:
            raise errors.UsageError(
                f"port {local} of this machine cannot be used: {error.strerror or error}",
                name="PortTaken",
                hint=f"let any be chosen: lecoder-cgpu forward {remote}:0",
            ) from error
        return socket.create_server(("127.0.0.1", 0))


def _gone(what: str) -> errors.LostError:
    return errors.LostError(
        f"{what} is gone, and the connections with it", name="TunnelLost", hint="lecoder-cgpu sessions list"
    )


def _abandoned(found: NotebookSession) -> bool:
    """Whether a tunnel's kernel has had no client for a while."""
    kernel = found.kernel
    if kernel is None or kernel.connections or not kernel.last_activity:
        return False
    from datetime import UTC, datetime

    try:
        last = datetime.fromisoformat(kernel.last_activity)
    except ValueError:
        return False
    return (datetime.now(UTC) - last).total_seconds() > ABANDONED
