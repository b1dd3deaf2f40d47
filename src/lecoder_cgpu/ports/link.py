"""One TCP connection that a tunnel carries: its offsets, window and acknowledgements.

The theory is at the top of `tunnel.py`. Nothing here knows how messages travel; see `Carrier`.
"""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

CHUNK = 256 << 10  # bytes read at once
WINDOW = 8 << 20  # bytes that may be unacknowledged in one direction of a connection
ACK_EVERY = 512 << 10  # bytes after which an acknowledgement is due
_RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # SO_LINGER: a close sends a reset


class Carrier(Protocol):
    """What a link needs of the tunnel that carries it."""

    def sending(self) -> AbstractContextManager[Callable[..., None]]:
        """Lend the function that sends a message about a link."""

    def forget(self, link: Link) -> None:
        """Drop a link that is over."""


class Link:
    """One TCP connection of a tunnel; one thread reads from it, another writes to it.

    Args:
        carrier: sends what this end has to tell.
        number: tells the link from the others of this tunnel.
        connection: the local socket; the link closes it.
        remote: the port on the runtime.
    """

    def __init__(self, carrier: Carrier, number: int, connection: socket.socket, remote: int) -> None:
        self.number = number
        self.remote = remote
        self.received = 0
        self._carrier = carrier
        self._socket = connection
        self._changed = threading.Condition()
        self._unacknowledged: collections.deque[tuple[int, bytes]] = collections.deque()
        self._sent = self._acknowledged = 0
        self._read_all = False
        self._waiting: collections.deque[memoryview] = collections.deque()
        self._written = self._told = 0
        self._ends_at: int | None = None
        self._shut = self._over = False
        self.fresh = True  # the other end has said nothing about it yet

    def open(self) -> None:
        """Ask the other end to connect, and start to carry bytes."""
        with self._carrier.sending() as send:
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
            with self._carrier.sending() as send:
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
        """Note that the other end has written everything before `offset`."""
        with self._changed:
            self.fresh = False
            self._acknowledged = max(self._acknowledged, min(offset, self._sent))
            pending = self._unacknowledged
            while pending and pending[0][0] + len(pending[0][1]) <= self._acknowledged:
                pending.popleft()
            self._changed.notify_all()
        self._end_if_over()

    def send_again(self, send: Callable[..., None], offset: int, *, opening: bool = False) -> None:
        """Send everything from `offset` on again, after a lost connection; `opening` asks to open the link first."""
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
        """Take bytes from the other end. Bytes that are here already, or come behind a gap, are passed over."""
        with self._changed:
            self.fresh = False
            known = self.received - offset
            if 0 <= known < len(data) and not self._over:
                self.received += len(data) - known
                self._waiting.append(data[known:])
                self._changed.notify_all()
            flooded = self.received - self._written > 2 * WINDOW
        if flooded:  # the other end does not keep to the window, and memory has an end
            self._abort()

    def take_end(self, offset: int) -> None:
        """Note that the other end sends nothing behind `offset`."""
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
                with self._carrier.sending() as send:
                    send("ack", self.number, f=self._told)

    # --- the end ---

    def _end_if_over(self) -> None:
        """Close when both directions have ended and everything sent was acknowledged."""
        if self._shut and self._read_all and self._acknowledged >= self._sent:
            self._abort()

    def _abort(self) -> None:
        with self._carrier.sending() as send:
            send("close", self.number)
        self.end()

    def end(self) -> None:
        """Close the connection here. The other end knows already, or is gone.

        A connection that ends before its end is reset: an application that reads until the end of the stream would
        take a part for the whole.
        """
        with self._changed:
            whole = self._shut and self._read_all
            self._over = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            if not whole:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._socket.shutdown(socket.SHUT_RD)  # wakes up the reader, and sends nothing
        self._socket.close()
        self._carrier.forget(self)
