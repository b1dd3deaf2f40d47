"""The process that keeps WebSockets open between commands, for `kept_sockets`.

A command says which socket it wants and gets one end of a pair: what it writes there goes to the server, and what the
server sends comes out there, byte by byte. It is alone with it until it says `keep`, when all that it has asked has its
answer, or `drop`, when nothing of it may arrive any more. Each socket has a thread.

    command                           holder
    take\0ADDRESS            ->
                             <-       here SESSION SUBPROTOCOL, and one end        or: none
    keep                     ->                                                    or: drop, or nothing at all
                             <-       dropped
    open\0ADDRESS            ->                                 opens one, without hurry
    forget\0URL              ->

*A socket that is kept is read*, so that its server's pings are answered, and old news does not wait for the next
command (`kept_line`).

*What was given up does not arrive.* While a command uses a socket, closing it resets it, in whatever way this process
ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import MsgspecError, json

from ..warm import control, messages
from .kept_line import ANSWER, CHUNK, Line, now
from .kept_sockets import Address, name

ALONE = 60.0  # seconds without a socket after which the process ends
MOST = 8  # sockets, used ones among them
PATIENCE = 2.0  # seconds for the rest of what a command says
LONGEST = 64 << 10  # bytes of what a command says
_FILES = tuple(str(Path(__file__).with_name(f"{name}.py")) for name in ("socket_holder", "kept_line", "direct_socket"))


class Holder:
    """Answers commands, and owns the sockets."""

    def __init__(self, folder: int, own: str) -> None:
        self._folder, self._own = folder, own
        self._lines: list[Line] = []
        self._stamps = list(map(_stamp, _FILES))
        self._over = False
        self._served = 0

    def serve(self, begin: bytes) -> None:
        """Until there is nothing to keep. `begin`: what is said at first."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._own, dir_fd=self._folder)  # its owner is gone, for the lock is ours
        listener.bind(messages.address(self._folder, self._own))
        listener.listen(64)
        for said in _said(begin):
            self._open(said.partition(b"\0")[2])
        last = now()
        while True:
            if not self._over and select.select([listener], [], [], 1.0)[0]:
                self._greet(listener.accept()[0])
            self._bury()
            last = now() if self._lines else last
            self._over = self._over or now() - last > ALONE or not self._is_wanted()
            if self._over:
                listener.close()
                with contextlib.suppress(OSError):
                    os.unlink(self._own, dir_fd=self._folder)
                for line in self._lines:
                    line.end()
                if all(line.state == "over" for line in self._lines):
                    break
                time.sleep(0.2)
        for line in self._lines:
            line.join(ANSWER)

    def _is_wanted(self) -> bool:
        """Whether we can be found, and what we are is what is installed."""
        unchanged = list(map(_stamp, _FILES)) == self._stamps
        return unchanged and os.access(self._own, os.F_OK, dir_fd=self._folder)

    def _bury(self) -> None:
        for line in [item for item in self._lines if item.state == "over"]:
            self._served += line.served
            self._lines.remove(line)

    def _greet(self, client: socket.socket) -> None:
        """Do what a command says."""
        given = False
        try:
            client.settimeout(PATIENCE)
            if messages.peer(client)[1] != os.geteuid():
                return
            said = _heard(client)
            word, _, about = said.partition(b"\0")
            if word == b"take":
                given = any(line.offer(client) for line in self._lines if line.address == _address(about))
            if not given:
                client.sendall(self._answer(word, about))
        except (OSError, ValueError):
            pass
        finally:
            if not given:
                client.close()

    def _answer(self, word: bytes, about: bytes) -> bytes:
        if word == b"open":
            self._open(about)
        elif word == b"forget":
            for line in self._lines:
                if os.fsencode(line.address.url) == about:
                    line.end()
        elif word in (b"counts", b"stop"):
            self._over = self._over or word == b"stop"
            served = self._served + sum(line.served for line in self._lines)
            open_now = sum(line.state in ("idle", "used") for line in self._lines)
            return f"{os.getpid()} open: {open_now}, served: {served}\n".encode()
        return b"none\n" if word == b"take" else b"done\n"

    def _open(self, about: bytes) -> None:
        address = _address(about)
        if any(line.address == address and line.state in ("opening", "idle") for line in self._lines):
            return
        if len(self._lines) >= MOST and not any(line.end() for line in self._lines):
            return
        line = Line(address)
        self._lines.append(line)
        line.start()


def _address(text: bytes) -> Address:
    """Raises:
    ValueError: it is none.
    """
    try:
        return json.decode(text, type=Address)
    except MsgspecError as error:
        raise ValueError(str(error)) from error


def _said(text: bytes) -> Iterator[bytes]:
    while len(text) >= 4:
        size = int.from_bytes(text[:4], sys.byteorder)
        yield text[4 : 4 + size]
        text = text[4 + size :]


def _heard(client: socket.socket) -> bytes:
    """The first thing that a command says, whole."""
    text = b""
    while not (found := list(_said(text))) or len(text) < 4 + len(found[0]):
        more = client.recv(CHUNK)
        if not more or len(text) > LONGEST:
            raise ConnectionResetError("half a word")
        text += more
    return found[0]


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def serve() -> None:
    """Be the holder, if there is none yet. stdin says what to open first."""
    with open(0, "rb", closefd=False) as given:
        begin = given.read()
    os.chdir("/")
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    folder, own = messages.folder(make=True), name()
    with messages.owning(folder, own) as owned:
        if owned and control.has_room(folder, messages.KEPT):
            Holder(folder, own).serve(begin)
