"""A kernel run as the runtime recorded it: what a client reads when its own socket did not bring everything."""

from __future__ import annotations

from . import models, wire
from .resident import Resident


class Recording:
    """The messages that the kernel published for one run, in order.

    Args:
        resident: where the run is recorded.
        run: its id, which is the `msg_id` of its request.
        after: the id of the last message that is known already, with all before it.
        kernel: the kernel that executes the run, needed by `covers`.

    Every method raises errors.ConnectionFailed when the runtime cannot be reached, and errors.NotFoundError when
    nothing was recorded of the run.
    """

    def __init__(self, resident: Resident, run: str, after: str | None = None, kernel: str = "") -> None:
        self._resident = resident
        self._kernel = kernel
        self._run = run
        self._after = after
        self._begun = False
        self._offset = 0
        self._rest = b""
        self.ended = False
        self.bytes_dropped = 0
        self.headless = False  # the recorder came while the code ran already
        self.messages_missing = 0  # with the requests for input
        self.timing: models.Timing | None = None

    def pull(self) -> list[wire.Message]:
        """What was recorded since the last call."""
        messages = []
        while not self.ended:
            chunk = self._resident.read(self._run, "messages", self._offset)
            if not chunk.data:
                break
            self._offset += len(chunk.data)
            *lines, self._rest = (self._rest + chunk.data).split(b"\n")
            for line in lines:
                message = wire.decode(line.decode())
                self.ended = message.type == "status" and message.content.get("execution_state") == "idle"
                if not self._begun:
                    self._begun = True
                    self.headless = message.content.get("execution_state") != "busy"
                if self._is_new(message.header.msg_id):
                    messages.append(message)
        if self.ended:
            result = self._resident.state(self._run).result
            if result is not None:
                self.bytes_dropped = result.bytes_dropped
                self.messages_missing = result.messages_missing
                milliseconds = round(1000 * result.seconds)
                self.timing = models.Timing(result.started, result.ended, milliseconds)
        return messages

    def _is_new(self, msg_id: str) -> bool:
        if self._after is None:
            return True
        if self.headless:  # the message may have come before the recorder; the numbers of a Python kernel tell roughly
            number, known = (item.rpartition("_")[2] for item in (msg_id, self._after))
            return not (number.isdigit() and known.isdigit() and int(number) <= int(known))
        # All subscribers get messages in the same order, in which the numbers may be exchanged: threads take them.
        if msg_id == self._after:
            self._after = None
        return False

    def is_incomplete(self, inputs: int = 0) -> bool:
        """Whether output is missing in the recording of a run that asked for input so many times."""
        return self.bytes_dropped > 0 or self.headless or self.messages_missing > inputs

    def is_abandoned(self) -> bool:
        """Whether nothing more will be recorded although the end is not there."""
        return not self.ended and self._resident.state(self._run).state == "unknown"

    def covers(self, seconds: float) -> bool:
        """Whether everything that the kernel published during the last `seconds` is recorded by now."""
        return self._resident.record(self._kernel, settle=True) > seconds

    def close(self) -> None:
        self._resident.close()
