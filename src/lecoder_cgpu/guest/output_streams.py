"""The output of a process on its way into files, and notices to the helper about it.

Runs on the runtime (Python 3.8 and newer, standard library only), in a run's supervisor.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import IO, Any

CHUNK = 1 << 18
PIPE_SIZE = 1 << 20  # asked for; an unprivileged user may get less
DRAIN_WITHOUT_POLL = 2.0  # seconds, only where pipes cannot be polled


class Notifier:
    """Sends notices to the helper, one byte each. It never waits for the helper, and goes on when that is dead."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._owed = b""
        if hasattr(os, "set_blocking") and os.name != "nt":
            os.set_blocking(descriptor, False)

    def __call__(self, byte: bytes) -> None:
        with self._lock:
            # When the pipe is full, the helper has enough to read already: another `o` would tell nothing new.
            if byte != b"o" or not self._owed:
                self._owed += byte
            try:
                self._owed = self._owed[os.write(self._descriptor, self._owed) :]
            except BlockingIOError:
                pass
            except OSError:
                self._owed = b""


class OutputStream:
    """One output stream: from the process's pipe into its file. Why not a file at once: protocol J32."""

    def __init__(self, name: str, pipe: IO[bytes], folder: str, limit: int, notify: Notifier) -> None:
        self.name = name
        self.kept = 0
        self.dropped = 0
        self.active = time.monotonic()  # when something came last
        self.problem: str | None = None
        self._pipe = pipe
        self._descriptor = pipe.fileno()
        self._file = open_output(folder, name)
        self._limit = limit
        self._notify = notify
        self._lock = threading.Lock()  # while it is free, everything that left the pipe is in the file
        self._poll: Any = None
        if os.name != "nt":
            import select

            os.set_blocking(self._descriptor, False)
            _enlarge(self._descriptor)
            if hasattr(select, "poll"):
                self._poll = select.poll()
                self._poll.register(self._descriptor, select.POLLIN)
        self.thread = threading.Thread(target=self._pump, daemon=True)

    def _pump(self) -> None:
        import select

        while True:
            if self._poll is not None:
                self._poll.poll()
            elif os.name != "nt":
                select.select([self._descriptor], [], [])
            if self._poll is None and os.name == "nt":
                if self._step(CHUNK) == 0:
                    return
                continue
            with self._lock:
                if self._step(CHUNK) == 0:
                    return

    def _step(self, most: int) -> int | None:
        """Move up to `most` bytes; returns their number, 0 at the end of the stream, None when the pipe is empty."""
        try:
            data = os.read(self._descriptor, most)
        except BlockingIOError:
            return None
        except OSError:
            return 0
        if data:
            self.active = time.monotonic()
            self._keep(data)
            self._notify(b"o")
        return len(data)

    def _keep(self, data: bytes) -> None:
        room = max(self._limit - self.kept, 0)
        view = memoryview(data)[:room]
        self.dropped += len(data) - len(view)
        while view:
            try:
                written = os.write(self._file, view)
            except OSError as error:
                # The disk is full or gone. The process must not block, and missing bytes must be counted. Nothing is
                # kept after a hole, because the offsets behind it would be wrong.
                self.problem = f"{self.name} could not be written: {error.strerror}"
                self.dropped += len(view)
                self._limit = self.kept
                return
            self.kept += written
            view = view[written:]

    def drain(self) -> None:
        """Wait until everything that is in the pipe now is in the file."""
        if os.name == "nt":
            self.thread.join(DRAIN_WITHOUT_POLL)
            return
        import fcntl
        import termios

        with self._lock:
            waiting = bytearray(4)
            try:
                fcntl.ioctl(self._descriptor, termios.FIONREAD, waiting)
            except OSError:
                return
            left = int.from_bytes(waiting, sys.byteorder)
            while left > 0:
                moved = self._step(min(left, CHUNK))
                if not moved:
                    return
                left -= moved


def open_output(folder: str, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    return os.open(os.path.join(folder, name), flags, 0o600)


def _enlarge(descriptor: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):  # another system, or this user's share of pipe memory is used up
        fcntl.fcntl(descriptor, 1031, PIPE_SIZE)  # F_SETPIPE_SZ, which Python names from 3.10 on
