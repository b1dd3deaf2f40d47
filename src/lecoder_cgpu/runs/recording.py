"""Reading what the runtime recorded of a kernel run, for a client whose own socket did not bring everything.

The recorder on the runtime writes what the kernel publishes, one message a line. A client that has seen messages up to
some id reads the file from its beginning and takes what stands behind that message. All subscribers get messages in the
same order, but their numbers may be exchanged: threads of the kernel take numbers and queue for sending afterwards. So
the known message is looked for by its id. If it is not in the file (the recorder came later, or the kernel dropped it),
messages with higher numbers count as new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from .. import errors
from ..helper.client import Helper
from ..helper.documents import RunState
from ..jupyter import messages as wire
from ..jupyter.large_messages import LARGE as TOO_MUCH
from ..jupyter.large_messages import Cutter, behind
from ..models.base import Timing
from ..system import logs

HELD = 1000  # messages that are held back until it is certain that they are new
AT_ONCE = 2 << 20  # bytes of new messages, after which those who asked get them before more is read
CONCLUDED_WITHIN = 100  # looks for the result of a run whose last message is there

T = TypeVar("T")


class RecordingReader:
    """The messages that the kernel published for one run, in order.

    Args:
        helper: where the run is recorded.
        run: its id, which is the `msg_id` of its request.
        after: the id of the last message that is known already, with all before it.
        kernel: the kernel that executes the run, needed by `covers`.
        reconnect: reaches the helper again when the connection is lost. Without it, the error is raised.

    Every method raises errors.ConnectionFailed when the runtime cannot be reached, and errors.NotFoundError when
    nothing was recorded of the run.
    """

    def __init__(
        self,
        helper: Helper,
        run: str,
        after: str | None = None,
        kernel: str = "",
        reconnect: Callable[[errors.ConnectionFailed], Helper] | None = None,
    ) -> None:
        self._helper = helper
        self._reconnect = reconnect
        self._kernel = kernel
        self._run = run
        self._after = after
        self._begun = False
        self._offset = 0
        self._rest: list[bytes] = []  # pieces of a line whose end was not read yet
        self._long: Cutter | None = None  # of that line, when it is too long to be held
        self.ended = False
        self.bytes_dropped = 0
        self.headless = False  # the recorder came while the code ran already
        self.incomplete = False  # something is missing between what was recorded
        self.died: str | None = None  # how the kernel's process ended before the code did
        self.passed_over = 0  # lines that are no messages
        self.messages_missing = 0  # with the requests for input
        self.state: RunState | None = None  # what the runtime said last
        self.timing: Timing | None = None
        self.passed = 0  # messages up to the known one; a reader that has seen fewer has lost some
        self.more = False  # there is more to read now
        self._new: list[wire.Message] = []  # read, and not given to the reader yet
        self._given = 0  # messages that the reader got from here
        self._held: list[wire.Message] = []  # with higher numbers than the known message, which was not found yet

    def pull(self) -> list[wire.Message]:
        """What was recorded since the last call, or a part of it (`more`); nothing only if there is nothing.

        When the connection breaks on the way, the messages that came before are returned; the next call raises. When
        the user interrupts it, the next call returns them.
        """
        try:
            self._pull(self._new)
        except errors.ConnectionFailed:
            if not self._new:
                raise
        messages, self._new = self._new, []
        self._given += sum(not message.is_piece for message in messages)
        return messages

    def resume(self, helper: Helper) -> None:
        """Go on over another connection, behind what was read already."""
        self._helper.close()
        self._helper = helper
        self.passed += self._given
        self._given = 0

    def _pull(self, messages: list[wire.Message]) -> None:
        taken, self.more = 0, False
        while not self.ended:
            self.more = taken > AT_ONCE
            if self.more:
                return
            chunk = self._ask(lambda helper: helper.read(self._run, "messages", self._offset))
            if not chunk.data:
                break
            self._offset += len(chunk.data)
            for line in self._lines(chunk.data):
                try:
                    message = wire.decode(line)
                except ValueError as error:  # code on the runtime can write anything into the file
                    self.passed_over += 1
                    logs.current().debug("RUN", f"passed over a line of the recording: {error}", {"run": self._run})
                    continue
                self.ended = message.type == "status" and message.content.get("execution_state") == "idle"
                if not self._begun:
                    self._begun = True
                    self.headless = message.content.get("execution_state") != "busy"
                self._sift(message, messages)
            taken += len(chunk.data) if messages else 0
        if self.ended:
            messages += self._held  # what was known already was never recorded
            self._held.clear()
            self._conclude()

    def _lines(self, data: bytes) -> Iterator[str]:
        """The lines that are complete now; a very long one in pieces, while it comes."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            if self._long is not None:
                yield from map(str, self._long.feed(line))
                yield from map(str, self._long.end())
                self._long = None
            else:
                yield b"".join([*self._rest, line]).decode("utf-8", "replace")
            self._rest.clear()
        self._rest.append(rest)
        if self._long is None and sum(map(len, self._rest)) > TOO_MUCH:
            self._long = Cutter()
        if self._long is not None:
            for part in self._rest:
                yield from map(str, self._long.feed(part))
            self._rest.clear()

    def _ask(self, question: Callable[[Helper], T]) -> T:
        while True:
            try:
                return question(self._helper)
            except errors.ConnectionFailed as error:
                if self._reconnect is None:
                    raise
                self._helper.close()
                self._helper = self._reconnect(error)

    def _sift(self, message: wire.Message, messages: list[wire.Message]) -> None:
        """Append a message to `messages` if it is new."""
        if self._after is None:
            messages.append(message)
            return
        self.passed += not message.is_piece
        rest = behind(message, self._after)  # of a message that was cut there, and is not here
        if message.header.msg_id == self._after or rest is not None:
            self._after = None
            self._held.clear()
            messages += [rest] if rest is not None else []
            return
        # The known message may be missing here.
        number, known = message.number, wire.number_of(self._after)
        if number is not None and known is not None and number > known:
            self._held.append(message)
        if len(self._held) > HELD:
            messages += self._held
            self._held.clear()
            self._after = None
            self.incomplete = True

    def _conclude(self) -> None:
        for _ in range(CONCLUDED_WITHIN):  # the recorder writes this down right behind the last message
            if self.state is not None and self.state.ended:
                break
            self.state = self._ask(lambda helper: helper.state(self._run))
            if not self.state.ended:
                time.sleep(0.02)
        assert self.state is not None
        result = self.state.result
        if result is not None:
            self.bytes_dropped = result.bytes_dropped
            self.incomplete = self.incomplete or result.gap
            self.messages_missing = result.messages_missing
            self.died = result.died
            self.passed_over += result.passed_over
            milliseconds = round(1000 * result.seconds)
            self.timing = Timing(result.started, result.ended, milliseconds)

    def look(self) -> str:
        """Ask for the run's state. Use it when nothing new comes: a run without a recorded end is over when the kernel
        died (`exited`) or when nobody can know its end (`unknown`)."""
        self.state = self._ask(lambda helper: helper.state(self._run))
        if self.state.ended and not self.ended:
            self._conclude()
        return self.state.state

    def covers(self, seconds: float) -> bool:
        """Whether everything that the kernel published during the last `seconds` is recorded by now."""
        return self._helper.record(self._kernel, settle=True) > seconds

    def is_incomplete(self, inputs: int = 0) -> bool:
        """Whether output is missing in the recording of a run that asked for input this many times."""
        lost = self.bytes_dropped > 0 or self.headless or self.incomplete or self.passed_over > 0
        return lost or self.messages_missing > inputs

    def close(self) -> None:
        self._helper.close()
