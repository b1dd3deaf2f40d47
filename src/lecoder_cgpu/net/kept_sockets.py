"""WebSockets that stay open between commands: this side, which takes one, uses it alone and gives it back.

`socket_holder` is the process that has them, where `LECODER_CGPU_WARM` says so. Behind a long line they save a command
the round trips of TCP, TLS and the handshake. Everything that is odd means that a command opens a socket of its own.

*Nothing is sent twice.* What has been sent over such a socket, and is lost with it, is lost as with any other socket:
its user asks the runtime what became of it. So `KeptSocket.abandon` makes sure that nothing of it can arrive later.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys

from msgspec import Struct, json

from .. import errors
from ..warm import likeness, messages
from . import direct_socket, frames, proxies
from .direct_socket import Cut, DirectSocket
from .websocket import CUTTABLE, PING_INTERVAL, PING_TIMEOUT, STUCK_WAIT, WebSocket

PATIENCE = 1.5  # seconds for an answer; the holder may have to ask the server whether a socket is alive
ACKNOWLEDGED = 3.0  # seconds for the holder to throw away what it has not sent
MOST_WANTED = 4

_wanted: list[Address] = []


class Address(Struct, frozen=True):
    """A WebSocket that can be kept: `url` without its query, which has the id of a client of Jupyter's."""

    url: str
    headers: dict[str, str]
    subprotocols: tuple[str, ...]
    ca: str | None

    def line(self, word: str) -> bytes:
        """What tells the holder to do that with it."""
        return messages.framed(word.encode() + b"\0" + json.encode(self, order="deterministic"))


def can_keep(url: str) -> bool:
    """Whether sockets to that address may be kept: the user wants it, and no proxy is in the way."""
    try:
        return likeness.reason_against_staying() is None and proxies.go_direct(url)
    except (errors.Error, ValueError):  # who opens a socket is told
        return False


def name() -> str:
    """The holder's name in the folder: one for all commands whose connections are made alike."""
    return likeness.of_connections(__file__) + messages.KEPT


def _connect() -> socket.socket:
    """A connection with the holder, which is a process of the same user.

    Raises:
        OSError: there is none.
    """
    folder = messages.folder()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(messages.address(folder, name()))
        if messages.peer(connection)[1] != os.geteuid():
            raise PermissionError("another user's process answers")
        return connection
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder)


class KeptSocket(WebSocket):
    """A socket that was open already.

    Attributes:
        session_id: the id of a client of Jupyter's under which it was opened; for a socket in its place.
    """

    def __init__(self, connection: DirectSocket, url: str, session_id: str, holder: socket.socket) -> None:
        super().__init__(connection, url)
        self.session_id = session_id
        self._holder = holder

    def keep(self) -> None:
        """Give it back, for the next command. All that was asked over it must have been answered."""
        connection = self._connection
        if isinstance(connection, DirectSocket) and connection.leave(STUCK_WAIT):
            with contextlib.suppress(OSError):
                self._holder.sendall(b"keep\n")
        self.close()

    def close(self) -> None:
        super().close()
        self._holder.close()

    def abandon(self) -> None:
        """As of any socket: what was not sent yet is thrown away. A holder that does not say so is killed, which resets
        its connections."""
        try:
            self._holder.settimeout(ACKNOWLEDGED)
            self._holder.sendall(b"drop\n")
            while self._holder.recv(100):
                pass
        except TimeoutError:
            self._kill_holder()
        except OSError:  # it is gone, and its connections are with it
            pass
        super().abandon()
        self._holder.close()

    def _kill_holder(self) -> None:
        with contextlib.suppress(OSError):
            process = os.pidfd_open(messages.peer(self._holder)[0])
            try:
                if not select.select([self._holder], [], [], 0)[0]:  # it lives, so that number is its own
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    select.select([process], [], [], ACKNOWLEDGED)
            finally:
                os.close(process)


def take(address: Address, cut: Cut | None) -> KeptSocket | None:
    """An open socket for nobody but us; None where there is none."""
    try:
        holder = _connect()
    except OSError:
        return None
    numbers: list[int] = []
    try:
        holder.sendall(address.line("take"))
        answer, numbers, _, _ = socket.recv_fds(holder, 1000, 1)
        word, _, told = answer.decode("ascii", "replace").rstrip("\n").partition(" ")
        session_id, _, subprotocol = told.partition(" ")
        if (
            word == "here"
            and len(numbers) == 1
            and session_id
            and (subprotocol or None) in (None, *address.subprotocols)
        ):
            opened = socket.socket(fileno=numbers.pop())
            holder.settimeout(None)
            reader = frames.Reader(CUTTABLE, direct_socket.cutting(cut, subprotocol or None))
            connection = DirectSocket(opened, subprotocol or None, b"", (PING_INTERVAL, PING_TIMEOUT), reader)
            return KeptSocket(connection, address.url, session_id, holder)
    except (OSError, ValueError):
        pass
    for number in numbers:
        os.close(number)
    holder.close()
    return None


def want(address: Address) -> None:
    """Note that the next command could use such a socket."""
    if address not in _wanted and len(_wanted) < MOST_WANTED:
        _wanted.append(address)


def forget(url: str) -> None:
    """Close what is kept to that address: what it leads to is another one now."""
    if can_keep(url):
        _wanted[:] = [item for item in _wanted if item.url != url]
        with contextlib.suppress(OSError), _connect() as holder:
            holder.sendall(messages.framed(b"forget\0" + url.encode()))
            holder.recv(100)


def open_wanted() -> None:
    """Have the sockets opened that this command has missed, when its own work is done."""
    wanted, _wanted[:] = [item.line("open") for item in _wanted], []
    if not wanted:
        return
    from ..warm import launch

    with contextlib.suppress(OSError):
        try:
            for line in wanted:
                with _connect() as holder:
                    holder.sendall(line)
                    holder.recv(100)
        except (FileNotFoundError, ConnectionRefusedError):
            os.close(messages.folder(make=True))
            flags = [f"-{letter}" for letter, is_set in _flags() if is_set]
            launch.start([sys.executable, *flags, "-P", "-m", "lecoder_cgpu", "__kept"], b"".join(wanted))


def _flags() -> list[tuple[str, bool]]:
    return [
        ("I", bool(sys.flags.isolated)),
        ("E", bool(sys.flags.ignore_environment)),
        ("s", bool(sys.flags.no_user_site)),
    ]
