"""Ports of the runtime on this machine: TCP connections to 127.0.0.1 here go on to 127.0.0.1 there.

A kernel of its own on the runtime is turned into the other end (`guest/port_tunnel.py`), and its channels carry the
bytes. So the tunnel works over everything that leads to a kernel, and no port is open to anybody else.

How no byte is lost, doubled or reordered when the connection to the runtime drops
---------------------------------------------------------------------------------
One WebSocket carries all TCP connections ("links", numbered by this end). Both ends do the same in each direction:

* Offsets. Each byte of a link has an offset, counted from 0 in its direction. `data` carries the offset of its first
  byte, `eof` the offset behind the last.
* Acknowledgements. `ack` with offset N says that everything before N has been written to the TCP socket (not: has been
  received). The sender keeps its bytes until then. The receiver acknowledges every `ACK_EVERY` bytes, and when it has
  written all that it has.
* Window. A sender that has `WINDOW` bytes without an acknowledgement stops reading from its TCP socket. So a slow
  reader slows down the writer at the far end, and each end keeps about `WINDOW` bytes of a link at most.
* Resumption. After a drop, this end connects again and sends `sync` with the number of bytes that it has received of
  each link. The other end answers with a `sync` of its own and sends again what this end lacks; then this end does the
  same. Nothing else is sent before that answer is here. A receiver passes over bytes that it has already, and bytes
  behind a gap. A link that only one end knows is ended there; but if the other end never said anything about it, its
  `open` was lost, and is sent again.
* The end of a link. Each direction ends by itself (`eof`). A link is over when both have ended and everything sent was
  acknowledged; `close` ends it at once, because a TCP socket failed.

`ping` every `PING_EVERY` seconds tells the other end that this one is there: it ends links without a client.
"""

from __future__ import annotations

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
from ..net.retry import reconnect
from ..net.websocket import WebSocket
from ..sessions import machines
from ..sessions.session import Session
from ..system import logs
from .link import Link

PATH = "lecoder-cgpu-tunnel"
MESSAGE = "lecoder_tunnel"
PING_EVERY = 10.0  # seconds
START_LIMIT = 60.0  # seconds for the other end to answer for the first time
HELLO_PAUSE = 0.2
AGAIN_PAUSE = 0.2  # seconds before another try to get a connection back that was lost while it was made
ABANDONED = 300.0  # seconds without a client after which a left-over tunnel is removed

# What a fresh kernel executes: it becomes the tunnel, in the same process and on the same ports (protocol J13).
_CODE = """
import os, sys
from ipykernel.connect import get_connection_file
os.execv(sys.executable, [sys.executable, "-c", {source!r}, get_connection_file()])
"""


class _Frame(Struct, rename={"operation": "o", "link": "c", "offset": "f", "problem": "e", "known": "r"}):
    """The content of a message of the tunnel; the short names are what is sent."""

    operation: str
    link: int = 0
    offset: int = 0
    problem: str = ""
    known: dict[str, int] | UnsetType = UNSET


class Tunnel:
    """Connections from ports of this machine to ports of a session's runtime.

    Args:
        session: its runtime is where the connections lead.
        notify: told what a person should know meanwhile.

    Raises:
        errors.CapacityError: the other end did not start.
        errors.UsageError: (`KernelElsewhere`) it would be on another machine than the session's kernel.
        errors.AuthError, errors.ConnectionFailed: see `net.http.Http.request`.
    """

    def __init__(self, session: Session, notify: Callable[[str], None]) -> None:
        self._session = session
        self._server = session.server
        self._notify = notify
        self._session_id = messages.new_id()
        self._listeners: list[socket.socket] = []
        self._links: dict[int, Link] = {}
        self._links_lock = threading.Lock()
        self._sending = threading.Lock()  # held to send, and while a lost connection is resumed
        self._refused: set[int] = set()
        self._count = 0
        self._closed = False
        self._socket: WebSocket | None = None
        self.connections = 0
        self.reconnections = 0
        machines.require_one(session, "a tunnel, which is another kernel,")
        self._remove_abandoned(session)
        path = f"{session.endpoint.folder}/{PATH}-{messages.new_id()[:12]}".lstrip("/")
        with session.waiting("starting the tunnel on the runtime …"):
            self._kernel_id = session.python_kernel(path)
            try:
                self._socket = self._server.open_channels(self._kernel_id, self._session_id)
                self._take_over()
            except BaseException:
                self.close()
                raise

    # --- the other end ---

    def _take_over(self) -> None:
        code = _CODE.format(source=program("port_tunnel"))
        assert self._socket is not None
        request = messages.execute_request(code, session=self._session_id, silent=True)
        self._socket.send(request.frame(self._socket.subprotocol))
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            # A message sent while one program replaces the other may reach neither.
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
        """End tunnels whose client was killed before it could end them. A gateway does not tell of them."""
        if not self._server.endpoint.lists:
            return
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
            local: the port here, 0 for any free one; None for the same number as `remote`, or any when it is taken.

        Raises:
            errors.UsageError: the port here cannot be used.
        """
        taken = listener(remote, local)
        self._listeners.append(taken)
        threading.Thread(target=self._accept, args=(taken, remote), daemon=True).start()
        port: int = taken.getsockname()[1]
        return port

    def _accept(self, listener: socket.socket, remote: int) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                if self._closed:  # and the listener with it
                    return
                # A client that has left already, or no descriptor is free. The port has to go on when there is one.
                logs.current().warn("FORWARD", f"a connection was not taken: {error}", {"port": remote})
                time.sleep(AGAIN_PAUSE)
                continue
            with self._links_lock:
                self._count += 1
                self.connections += 1
                link = Link(self, self._count, accepted, remote)
                self._links[link.number] = link
            link.open()

    def forget(self, link: Link) -> None:
        """Drop a link that is over."""
        with self._links_lock:
            self._links.pop(link.number, None)

    def run(self) -> None:
        """Carry bytes until `close`, also across dropped connections.

        Raises:
            errors.LostError: the other end is gone.
            errors.AuthError: the server does not accept our token any more.
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
                self._make_anew()

    def _take(self, frame: str | bytes, subprotocol: str | None) -> None:
        try:
            message = messages.decode(frame, subprotocol)
        except ValueError:
            return
        if message.type == "status" and message.content.get("execution_state") in ("restarting", "dead"):
            raise _gone("the tunnel's other end")
        if message.type != MESSAGE:
            return
        try:
            content = msgspec.convert(message.content, _Frame)
        except msgspec.ValidationError as error:  # not what our own other end sends
            logs.current().warn("FORWARD", f"a message was not understood: {error}")
            return
        if content.operation == "sync":
            self._resume(content.known or {})
            return
        with self._links_lock:
            link = self._links.get(content.link)
        if link is None:
            return
        match content.operation:
            case "data" if message.buffers:
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
                    self._notify(f"port {link.remote} of the runtime: {content.problem[:200]}")
                link.end()

    # --- sending, and a lost connection ---

    def _send(self, operation: str, link: int | None = None, data: bytes | None = None, **content: Any) -> None:
        """Send if there is a connection. Bytes that get lost are sent again over the next one."""
        current = self._socket
        if current is None:
            return
        content["o"] = operation
        if link is not None:
            content["c"] = link
        buffers = () if data is None else (data,)
        request = messages.request(MESSAGE, content, session=self._session_id, buffers=buffers)
        with contextlib.suppress(errors.ConnectionFailed):  # `run` notices, too, and reconnects
            current.send(request.frame(current.subprotocol))

    @contextlib.contextmanager
    def sending(self) -> Any:
        """Lend the function that sends. It waits while a resumption is going on."""
        with self._sending:
            yield self._send

    def _make_anew(self) -> None:
        """Get a lost connection back. It may be lost again before the other end has told what it has."""
        while not self._closed:
            try:
                self._reconnect()
                return
            except errors.ConnectionFailed:
                time.sleep(AGAIN_PAUSE)

    def _reconnect(self) -> None:
        with self._sending:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        try:
            fresh = reconnect(
                lambda: self._server.open_channels(self._kernel_id, self._session_id),
                again=self._may_come_back,
                limit=None,
            )
        except errors.NotFoundError as error:
            raise _gone("the tunnel's other end") from error
        except errors.ConnectionFailed as error:
            if self._closed:
                return
            raise _gone("the runtime") from error
        self.reconnections += 1
        with self._links_lock:
            known = {str(link.number): link.received for link in self._links.values()}
        # Nothing else is sent until the other end has told what it has: see `_resume`.
        request = messages.request(MESSAGE, {"o": "sync", "r": known}, session=self._session_id)
        with contextlib.suppress(errors.ConnectionFailed):
            fresh.send(request.frame(fresh.subprotocol))
        self._fresh = fresh
        try:
            self._await_resumption(fresh)
        except errors.ConnectionFailed:
            fresh.close()
            raise

    def _may_come_back(self, error: errors.Error) -> bool:
        """Whether to go on reconnecting: until `close`, or until the runtime is known to be lost."""
        return isinstance(error, errors.ConnectionFailed) and not self._closed and not self._session.is_lost()

    def _await_resumption(self, fresh: WebSocket) -> None:
        while not self._closed and self._socket is None:
            frame = fresh.receive(PING_EVERY)
            if frame is not None:
                self._take(frame, fresh.subprotocol)

    def _resume(self, known: dict[str, int]) -> None:
        """Send again what the other end lacks of each link; `known` says how much it has received."""
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
        with contextlib.suppress(errors.Error):  # the next tunnel removes what is left over
            self._server.delete_kernel(self._kernel_id)


def listener(remote: int, local: int | None) -> socket.socket:
    """A socket that listens on 127.0.0.1, at the port that `Tunnel.listen` describes.

    Raises:
        errors.UsageError: the port here cannot be used.
    """
    try:
        return socket.create_server(("127.0.0.1", remote if local is None else local))
    except OSError as error:
        if local is not None:
            raise errors.UsageError(
                f"port {local} of this machine cannot be used: {error.strerror or error}",
                name="PortTaken",
                hint=f"let any be chosen: lecoder-cgpu forward {remote}:0"
                if remote
                else "leave out --port: any is taken",
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
