"""The output of a process on its way into files, and notices to the helper about it.

Runs on the runtime (Python 3.8 and newer, standard library only), in a run's supervisor.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from . import output_order

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 18
PIPE_SIZE = 1 << 20  # asked for; an unprivileged user may get less
DRAIN_WITHOUT_POLL = 2.0  # seconds, only where pipes cannot be polled
DRAIN_LOOK = 0.5  # seconds between looks whether the pump still lives


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

    def __init__(self, name: str, descriptor: int, folder: str, limit: int) -> None:
        self.name = name
        self.kept = 0
        self.dropped = 0
        self.active = time.monotonic()  # when something came last
        self.ended = False
        self.problem: str | None = None
        self.descriptor = descriptor
        self._file = open_output(folder, name)
        self._limit = limit
        if os.name != "nt":
            os.set_blocking(self.descriptor, False)
            _enlarge(self.descriptor)

    def read(self) -> bytes:
        """What is in the pipe, at most `CHUNK`; b"" when it has ended.

        Raises:
            BlockingIOError: there is nothing now.
        """
        try:
            data = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
            raise
        except OSError:
            data = b""
        if data:
            self.active = time.monotonic()
        else:
            self.ended = True
        return data

    def keep(self, data: bytes) -> int:
        """Write to the file; returns how many bytes were kept."""
        before = self.kept
        self._keep(data)
        return self.kept - before

    def _keep(self, data: bytes) -> None:
        room = max(self._limit - self.kept, 0)
        view = memoryview(data)[:room]
        self.dropped += len(data) - len(view)
        while view:
            try:
                written = os.write(self._file, view)
            except OSError as error:
                # The disk is full or gone. The process must not block, and what is missing must be counted. Nothing
                # may be kept after a hole, or offsets would lie.
                self.problem = f"{self.name} could not be written: {error.strerror}"
                self.dropped += len(view)
                self._limit = self.kept
                return
            self.kept += written
            view = view[written:]

    def waiting(self) -> int:
        """How many bytes are in the pipe."""
        import fcntl
        import termios

        waiting = bytearray(4)
        try:
            fcntl.ioctl(self.descriptor, termios.FIONREAD, waiting)
        except OSError:
            return 0
        return int.from_bytes(waiting, sys.byteorder)


class OutputPump:
    """Moves the output of both streams, and writes down in which order it came.

    One thread does it, woken by the first byte. With epoll, the system tells which pipe was written to first. What was
    written in turns before the thread got to it is joined, stream by stream; then the beginning of a line (a progress
    bar that was just drawn) is taken to be newer than whole lines of the other stream.
    """

    def __init__(self, streams: list[OutputStream], folder: str, notify: Notifier) -> None:
        self._streams = streams
        self._wait = _readiness(streams) if os.name != "nt" else None
        self._notify = notify
        self._order: int | None = open_output(folder, output_order.FILE)
        self._moved = threading.Condition()  # while its lock is free, what left the pipes is in the files
        targets: list[Any] = (
            [(self._run_all, ())] if os.name != "nt" else [(self._run_one, (stream,)) for stream in streams]
        )
        self._threads = [threading.Thread(target=target, args=args, daemon=True) for target, args in targets]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Return when nobody holds the pipes any more."""
        for thread in self._threads:
            thread.join()

    def _run_all(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # the sooner it is woken, the less is joined
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        wait = self._wait
        assert wait is not None
        queue: list[OutputStream] = []  # there may be something in these pipes
        while not all(stream.ended for stream in self._streams):
            queue += [stream for stream in wait(0 if queue else None) if stream not in queue and not stream.ended]
            if not queue:
                continue
            with self._moved:
                stream = queue.pop(0)
                if data := self._read(stream):
                    queue += [other for other in wait(0) if other not in queue and other is not stream]
                    line = data.rfind(b"\n") + 1 if queue else 0
                    if 0 < line < len(data):
                        self._keep(stream, data[:line])
                        if more := self._read(queue[0]):
                            self._keep(queue[0], more)
                        data = data[line:]
                    self._keep(stream, data)
                    queue.append(stream)
                queue = [stream for stream in queue if not stream.ended]
                self._moved.notify_all()

    def _run_one(self, stream: OutputStream) -> None:
        """Where pipes cannot be polled, each has a thread."""
        while data := self._read(stream):
            with self._moved:
                self._keep(stream, data)

    @staticmethod
    def _read(stream: OutputStream) -> bytes:
        try:
            return stream.read()
        except BlockingIOError:
            return b""

    def _keep(self, stream: OutputStream, data: bytes) -> None:
        kept = stream.keep(data)
        if kept and self._order is not None:
            try:
                if os.write(self._order, output_order.entry(stream.name, kept)) < output_order.SIZE:
                    self._order = None
            except OSError:  # the disk is full; the rest has no order
                self._order = None
        self._notify(b"o")

    def drain(self) -> None:
        """Return when everything that is in the pipes now is in the files."""
        if os.name == "nt":
            for thread in self._threads:
                thread.join(DRAIN_WITHOUT_POLL)
            return
        with self._moved:
            until = [(stream, stream.kept + stream.dropped + stream.waiting()) for stream in self._streams]

            def drained() -> bool:
                return all(stream.ended or stream.kept + stream.dropped >= size for stream, size in until)

            while not drained() and self._threads[0].is_alive():
                self._moved.wait(DRAIN_LOOK)


def _readiness(streams: list[OutputStream]) -> Callable[[float | None], list[OutputStream]]:
    """A function that waits, and returns the streams that have something, in the order in which they got it."""
    import select

    by_descriptor = {stream.descriptor: stream for stream in streams}
    if hasattr(select, "epoll"):
        # Edge-triggered, so that the system's list has the order of the writes and not that of our reads.
        epoll = select.epoll()
        for descriptor in by_descriptor:
            epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
        return lambda timeout: [by_descriptor[number] for number, _ in epoll.poll(timeout)]
    if hasattr(select, "poll"):
        poll = select.poll()
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)

        def polled(timeout: float | None) -> list[OutputStream]:
            ready = [by_descriptor[number] for number, _ in poll.poll(timeout)]
            for stream in ready:
                if stream.ended:
                    poll.unregister(stream.descriptor)
            return ready

        return polled

    def selected(timeout: float | None) -> list[OutputStream]:
        left = [number for number, stream in by_descriptor.items() if not stream.ended]
        return [by_descriptor[number] for number in select.select(left, [], [], timeout)[0]]

    return selected


def open_output(folder: str, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    return os.open(os.path.join(folder, name), flags, 0o600)


def _enlarge(descriptor: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):  # another system, or this user's share of pipe memory is used up
        fcntl.fcntl(descriptor, 1031, PIPE_SIZE)  # F_SETPIPE_SZ, which Python names from 3.10 on
