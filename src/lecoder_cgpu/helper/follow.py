"""Follows one run to its end.

The helper pushes news of the run. A `Follower` takes the pushes, reads what they do not carry or what was dropped, and
asks when no push has come for a while. It remembers how far it got, so that it can go on over another socket.

For each stream it knows three numbers of bytes: `delivered` <= `have` <= `size`. What lies between the first two is
here and not handed on yet; what lies between the last two exists on the runtime and is to be read. The run is over when
its state is final and the three are equal.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

from .. import errors
from ..guest import output_order
from .client import READ_LIMIT, Helper
from .documents import Chunk, RunState, Update

OnOutput = Callable[[str, bytes], None]

QUIET = 1.0  # seconds without a push before the first question; then longer
QUIET_MOST = 5.0
READ_LEAST = 64 << 10
READ_FAST = 0.4  # seconds
READ_SLOW = 2.0
ORDER_PATIENCE = 1.0  # seconds for which output waits for the note that tells its place
TICK = 0.25  # seconds between calls of `on_tick`
PIECE = 64 << 10  # bytes given to `on_output` at once
STDIN_CHUNK = 64 << 10
STDIN_AHEAD = 1 << 20  # bytes sent that the process has not taken
STDIN_PAUSE = 0.05


class Follower:
    """One run, and how much of its output has been handed on.

    Args:
        run: the run's id.
        on_output: gets "stdout" or "stderr" and bytes, in the order in which the run wrote to the two. When it raises
            (say, `KeyboardInterrupt`), the piece that it was given counts as not delivered and comes again:
            at most 64 KiB, and nothing is lost.
        on_tick: called about four times a second; may raise to stop following.
        stdin: sent to the run, which must have been started with `stdin`. Read by a thread.
        stdout_offset, stderr_offset: where to begin.
    """

    def __init__(
        self,
        run: str,
        on_output: OnOutput,
        *,
        on_tick: Callable[[], None] | None = None,
        stdin: BinaryIO | None = None,
        stdout_offset: int = 0,
        stderr_offset: int = 0,
    ) -> None:
        self.run = run
        self.state: RunState | None = None
        self.memory: float | None = None  # how much of the machine's memory was in use, as far as was heard
        self._on_output = on_output
        self._on_tick = on_tick
        self._streams = {"stdout": _StreamPosition(stdout_offset), "stderr": _StreamPosition(stderr_offset)}
        self._order: _Order | None = None  # unknown for runs of version 0.6.0 and older
        self._held_since: float | None = None
        self._helper: Helper | None = None
        self._read_size = READ_LEAST * 4
        self._quiet = QUIET
        self._ask_at = 0.0
        self._restarts = 0
        self._input = _Input(self, stdin) if stdin is not None else None

    @property
    def stdout_offset(self) -> int:
        """How many bytes of stdout have been handed on."""
        return self._streams["stdout"].delivered

    @property
    def stderr_offset(self) -> int:
        """How many bytes of stderr have been handed on."""
        return self._streams["stderr"].delivered

    @property
    def most_input(self) -> int:
        """How many bytes of input go in one message."""
        return STDIN_CHUNK if self._helper is None else min(STDIN_CHUNK, self._helper.size.content)

    def follow(self, helper: Helper, until: float | None = None) -> RunState | None:
        """Follow until the run has ended and all its output has been handed on; returns how it ended.

        Args:
            helper: where the run is. After its socket was lost, another one to go on with.
            until: a moment of `time.monotonic` at which to return None if the run has not ended; call again to go on.

        Raises:
            errors.ConnectionFailed: the socket was lost.
            errors.NotFoundError: the runtime has no such run.
        """
        if helper is not self._helper:
            self._attach(helper)
        if self._input is not None:
            self._input.start()
        next_tick = time.monotonic() + TICK
        while True:
            self._deliver()
            behind = self._behind()
            if behind is None and self.state is not None and self.state.ended:
                self._deliver_all()
                helper.unwatch(self.run)
                return self.state
            if until is not None and time.monotonic() >= until:
                return None
            if behind is not None:
                self._fetch(helper, behind)
            else:
                held_until = None if self._held_since is None else self._held_since + ORDER_PATIENCE
                moments = [self._ask_at, until, held_until, next_tick if self._on_tick is not None else None]
                self._wait(helper, min(moment for moment in moments if moment is not None))
            if self._on_tick is not None and time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK
                self._on_tick()

    def _attach(self, helper: Helper) -> None:
        self._restarts = helper.restarts
        if not helper.watch(self.run, self._take):
            self._ask(helper)
        self._helper = helper

    # --- what comes in ---

    def _take(self, update: Update) -> None:
        for name, chunk in (("stdout", update.stdout), ("stderr", update.stderr)):
            if chunk is not None:
                self._streams[name].take(chunk)
        if update.order is not None:
            if self._order is None:
                self._order = _Order()
            self._order.notes.take(update.order)
        if update.memory is not None:
            self.memory = update.memory
        if update.state is not None and not (self.state is not None and self.state.ended):
            self.state = update.state
        self._quiet = QUIET
        self._ask_at = time.monotonic() + self._quiet

    def _wait(self, helper: Helper, until: float) -> None:
        """Wait for a push, or for the moment to do something."""
        helper.receive(max(until - time.monotonic(), 0))
        if time.monotonic() >= self._ask_at or helper.restarts != self._restarts:
            self._restarts = helper.restarts
            self._ask(helper)

    def _ask(self, helper: Helper) -> None:
        quiet = self._quiet
        noted = self._order.notes.have if self._order is not None else 0
        self._take(helper.poll(self.run, self._streams["stdout"].have, self._streams["stderr"].have, noted))
        self._quiet = min(quiet * 1.5, QUIET_MOST)
        self._ask_at = time.monotonic() + self._quiet

    def _behind(self) -> str | None:
        """What is to be read next. The stream whose turn it is comes first, so that the other need not be kept."""
        behind = [name for name, stream in self._streams.items() if stream.size > stream.have]
        if self._order is not None:
            if self._order.turn in behind:
                return self._order.turn
            if self._order.notes.size > self._order.notes.have:
                return output_order.FILE
        return behind[0] if behind else None

    def _fetch(self, helper: Helper, name: str) -> None:
        stream = self._streams[name] if name in self._streams or self._order is None else self._order.notes
        began = time.monotonic()
        chunk = helper.read(self.run, name, stream.have, self._read_size)
        stream.take(chunk)
        took = time.monotonic() - began
        # As much as comes in about a second: a slow line must not look like a helper that does not answer.
        if took > READ_SLOW:
            self._read_size = max(self._read_size // 2, READ_LEAST)
        elif took < READ_FAST and len(chunk.data) == self._read_size:
            self._read_size = min(self._read_size * 2, READ_LIMIT)
        if not chunk.data:
            stream.size = stream.have  # the file is shorter than announced: it was cut

    # --- what goes out ---

    def _deliver(self) -> None:
        if self._order is None:
            self._deliver_all()
            return
        while True:
            turn = self._order.next(self._streams)
            if turn is None or not self._streams[turn[0]].ready:
                break
            self._hand_on(*turn)
        # A note that does not come (the disk is full) must not keep output back.
        if not any(stream.ready for stream in self._streams.values()) or self._behind() is not None:
            self._held_since = None
        elif self._held_since is None:
            self._held_since = time.monotonic()
        elif time.monotonic() - self._held_since >= ORDER_PATIENCE:
            self._held_since = None
            self._deliver_all()

    def _deliver_all(self) -> None:
        """Hand on what is here, one stream after the other."""
        for name, stream in self._streams.items():
            while stream.ready:
                self._hand_on(name, PIECE)

    def _hand_on(self, name: str, most: int) -> None:
        stream = self._streams[name]
        data = stream.ready[0]
        piece = bytes(data[: min(most, PIECE)])
        self._on_output(name, piece)
        stream.delivered += len(piece)
        if len(piece) == len(data):
            stream.ready.popleft()
        else:
            stream.ready[0] = data[len(piece) :]

    def post(self, on_reply: Callable[[dict[str, Any]], None], **arguments: Any) -> None:
        """Send a call about stdin from the thread that reads it."""
        if self._helper is not None:
            self._helper.post("stdin", on_reply, run=self.run, **arguments)


class _StreamPosition:
    """How much of a stream was handed on, is here, and exists."""

    def __init__(self, offset: int) -> None:
        self.delivered = offset
        self.have = offset
        self.size = offset
        self.ready: deque[memoryview] = deque()

    def take(self, chunk: Chunk) -> None:
        """Keep the bytes that follow those that are here. Bytes behind a gap will be read later, as `size` tells."""
        self.size = max(self.size, chunk.size)
        end = chunk.offset + len(chunk.data)
        if chunk.offset <= self.have < end:
            self.ready.append(memoryview(chunk.data)[self.have - chunk.offset :])
            self.have = end


class _Order:
    """In which order the streams are to be handed on."""

    def __init__(self) -> None:
        self.notes = _StreamPosition(0)
        self.turn: str | None = None
        self._ends = {"stdout": 0, "stderr": 0}  # of what the notes have told of so far
        self._pieces: Iterator[tuple[str, int]] = iter(())
        self._cut = b""  # the beginning of an entry

    def next(self, streams: dict[str, _StreamPosition]) -> tuple[str, int] | None:
        """The stream that comes next, and how many bytes of it; None when that is not known yet."""
        while self.turn is None or self._ends[self.turn] <= streams[self.turn].delivered:
            self.turn = None
            piece = next(self._pieces, None)
            if piece is not None:
                self.turn = piece[0]
                self._ends[piece[0]] += piece[1]
            elif self.notes.ready:
                content = self._cut + self.notes.ready.popleft()
                whole = len(content) // output_order.SIZE * output_order.SIZE
                self._pieces, self._cut = output_order.pieces(content[:whole]), content[whole:]
            else:
                return None
        return self.turn, self._ends[self.turn] - streams[self.turn].delivered


class _Input:
    """Sends a file to a run's stdin, with at most a megabyte on the way."""

    def __init__(self, follower: Follower, file: BinaryIO) -> None:
        self._follower = follower
        self._file = file
        self._offset = 0
        self._answered = threading.Condition()
        self._answer: dict[str, Any] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._forward, daemon=True)
            self._thread.start()

    def _forward(self) -> None:
        eof = False
        while not eof:
            try:
                data = self._read()
            except (OSError, ValueError):
                data = b""  # a file that fails or is closed has ended
            eof = not data
            buffered = self._send(data, eof)
            while buffered is not None and buffered > STDIN_AHEAD - STDIN_CHUNK and not eof:
                time.sleep(STDIN_PAUSE)
                buffered = self._send(b"", False)
            if buffered is None:
                return

    def _read(self) -> bytes:
        # Not through the buffer: a daemon thread that holds its lock makes the interpreter's shutdown fail.
        try:
            descriptor = self._file.fileno()
        except (OSError, AttributeError):
            return self._file.read(STDIN_CHUNK)
        return os.read(descriptor, STDIN_CHUNK)

    def _send(self, data: bytes, eof: bool) -> int | None:
        """Send until it is answered, over a later socket if need be; None when the run takes no input any more."""
        while True:
            piece = data[: self._follower.most_input]
            last = len(piece) == len(data)
            self._answer = None
            arguments = {"offset": self._offset, "data": base64.b64encode(piece).decode(), "eof": eof and last}
            with contextlib.suppress(errors.ConnectionFailed):
                self._follower.post(partial(self._take, self._offset), **arguments)
            with self._answered:
                self._answered.wait_for(lambda: self._answer is not None, timeout=5.0)
                answer = self._answer
            if self._follower.state is not None and self._follower.state.ended:
                return None
            if answer is not None:
                self._offset += len(piece)
                data = data[len(piece) :]
                if last or not answer.get("ok"):
                    return int(answer["buffered"]) if answer.get("ok") else None

    def _take(self, offset: int, answer: dict[str, Any]) -> None:
        with self._answered:
            if offset == self._offset:  # else it is the second answer to what was sent twice
                self._answer = answer
                self._answered.notify()
