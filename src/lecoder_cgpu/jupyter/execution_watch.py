"""Watches one execution in a kernel to its end: clocks, interrupts, input, dropped connections, lost output.

A request is sent once and never again. When the socket drops, we reconnect under the same session id and take the
rest from what the runtime recorded; if the end cannot be established, the outcome says that it is unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from .. import errors
from ..models.base import Timing, timestamp
from . import messages as wire
from .watch_limits import WatchLimits

if TYPE_CHECKING:
    from .kernel_channels import KernelConnection

INTERRUPT_GRACE = 10.0  # seconds that interrupted code has to end before the kernel is restarted
SETTLE_GRACE = 5.0  # seconds to wait for the second of reply and idle, once the kernel is known to be idle
PROBE_AFTER = 2.0  # seconds of silence after a reconnection before the server is asked for the kernel's state
SILENCE = 5.0  # seconds of silence before the same is asked on a sound socket; doubled each time, up to MAX_SILENCE
MAX_SILENCE = 30.0
PULL_PAUSE = 0.2  # seconds between two looks at the recording, once the socket has lost something
PULL_PATIENCE = 10.0  # seconds without anything new in the recording of a run that has ended

InputSource = Callable[[str, bool], str | None]

# Answers what the code asks of its front end beyond Jupyter's protocol: the value of an `input_reply`, or None.
Responder = Callable[[wire.Message], dict[str, Any] | None]


class Recording(Protocol):
    """What the runtime kept of a run; see `recording.Recording`."""

    ended: bool
    bytes_dropped: int
    passed: int

    def pull(self) -> list[wire.Message]: ...
    def is_incomplete(self, inputs: int = 0) -> bool: ...
    def covers(self, seconds: float) -> bool: ...
    def close(self) -> None: ...


# Opens the recording of a run, behind the message of that id, up to which all is known already.
Recorder = Callable[[str, str | None], Recording]


@dataclass
class Outcome:
    """How a kernel run ended.

    `interrupted` is the exit status for the signal with which the user ended us, None when nobody did.
    `problem` is ours (connection, lost kernel); the exception of the code itself is in `execution.raised`.
    `left`: we stopped watching as we were told, and the code goes on.
    `stopped_by` says what ended the code before its time (`models.Stopped` has the names), `stops` what was done then.
    `unknown` means that the code may still be running, or that it ended and we could not learn how.
    `withdrawn`: it was taken back while it waited for the kernel.
    `never_begun`: the request was lost on its way, so the code was not executed.
    """

    execution: wire.Execution
    started: datetime
    completed: datetime | None = None
    timed_out: bool = False
    interrupted: int | None = None
    dropped: bool = False
    bytes_dropped: int = 0
    left: bool = False
    unknown: bool = False
    never_begun: bool = False
    withdrawn: bool = False
    stopped_by: str | None = None
    stops: list[str] = field(default_factory=list)
    problem: errors.Error | None = None
    steps: list[str] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)

    @property
    def timing(self) -> Timing:
        completed = self.completed or datetime.now(UTC)
        milliseconds = round((completed - self.started).total_seconds() * 1000)
        return Timing(timestamp(self.started), timestamp(completed), milliseconds)


class Watch:
    """Follows one execution to its end, whatever happens on the way."""

    def __init__(
        self,
        connection: KernelConnection,
        outcome: Outcome,
        on_event: Callable[[wire.Event], None],
        limits: WatchLimits,
        on_input: InputSource | None,
        recorder: Recorder | None,
    ) -> None:
        self.connection = connection
        self.outcome = outcome
        self.execution = outcome.execution
        self.on_event = on_event
        self.timeout = limits.timeout
        self.on_input = on_input
        self.detach = limits.detach
        self.leave_at = None if limits.wait is None else time.monotonic() + limits.wait
        self.deadline: float | None = None
        self.idle_timeout = limits.idle_timeout
        self.idle_at: float | None = None  # when the code will have been silent for too long
        self.silence = SILENCE
        self.probe_at = time.monotonic() + self.silence
        self.settle_at: float | None = None
        self.dropped = False
        self.recorder = recorder
        self.reading_on = False  # output is taken from the recording
        self.recording: Recording | None = None
        self.pull_at: float | None = None
        self.given_up = False  # nothing more is to be asked: the user said so, or nobody answers
        self.count = 0  # of the messages of this run that were shown
        self.known = 0  # the same when the recording was opened
        self.taken: str | None = None  # the last message of this run that came before anything was lost

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is to be waited for: the run has ended, or nothing can be learnt."""
        outcome, recording = self.outcome, self.recording
        return bool(
            self.execution.finished
            or outcome.problem
            or outcome.unknown
            or outcome.left
            # The reply that was lost with a socket would tell nothing more.
            or (recording is not None and recording.ended)
        )

    def until_finished(self) -> None:
        while not self._is_over:
            try:
                self._step()
            except KeyboardInterrupt as interrupt:
                self._interrupted_by_user(errors.interrupted_status(interrupt))
        self.outcome.completed = datetime.now(UTC)
        if self.outcome.left:
            if self.recording is not None:
                self.recording.close()
            return
        if self.execution.missing and not self.reading_on:
            self.outcome.dropped = True
            self.outcome.steps.append(f"{self.execution.missing} messages of the kernel were lost on the way")
        if not self.given_up:
            try:
                self._establish_the_end()
            except KeyboardInterrupt as interrupt:
                self.outcome.interrupted = errors.interrupted_status(interrupt)
                self.outcome.steps.append("stopped reading what was recorded")
        if self.recording is not None:
            self.recording.close()
        if self.execution.death is not None:
            self.connection.wait_until_back()

    def _establish_the_end(self) -> None:
        """With what was recorded, if the socket has not brought everything."""
        if self.outcome.unknown:
            self._read_on()
            if self.dropped and not self.execution.started and self._nothing_was_executed():
                self.outcome.never_begun = True
                self.outcome.unknown = self.outcome.dropped = False
                return
        if self.reading_on:
            self._read_to_the_end()
        if self.outcome.unknown:
            self._conclude()

    def _conclude(self) -> None:
        """The kernel is idle, no reply came, and no end was recorded."""
        if self.dropped:
            self.outcome.steps.append("the result was lost with the connection")
            return
        # On a sound socket a reply is not lost: the kernel that owed it is no more.
        self.outcome.unknown = False
        began = "" if self.execution.started else " before the code began"
        self.execution.death = f"the kernel was restarted{began}"

    def _nothing_was_executed(self) -> bool:
        """Whether the recorder, which was there all the time, has by now seen the kernel execute nothing for us."""
        seconds = (datetime.now(UTC) - self.outcome.started).total_seconds()
        try:
            if self.recording is None or not self.recording.covers(seconds):
                return False
        except errors.Error as error:
            self.outcome.steps.append(f"the recording on the runtime cannot be read: {error.message}")
            return False
        self._pull()
        return self.recording is not None and self.taken is None and not self.execution.started

    def _step(self) -> None:
        clocks = (self.deadline, self.idle_at, self.probe_at, self.settle_at, self.pull_at, self.leave_at)
        moments = [moment for moment in clocks if moment is not None]
        wait = max(min(moments) - time.monotonic(), 0)
        try:
            message = self.connection.receive(wait)
        except errors.ConnectionFailed as error:
            self._reconnect(error)
            return
        if message is not None:
            self._take(message)
        now = time.monotonic()
        if self.pull_at is not None and now >= self.pull_at:
            self._pull()
            self.pull_at = time.monotonic() + PULL_PAUSE
        if self.execution.finished:
            return
        if self.leave_at is not None and now >= self.leave_at:
            self.outcome.left = True
        elif self.deadline is not None and now >= self.deadline:
            self._time_is_up("timeout", f"time limit of {self.timeout or 0:g} s")
        elif self.idle_at is not None and now >= self.idle_at:
            self._time_is_up("idle-timeout", f"no output for {self.idle_timeout or 0:g} s")
        elif self.settle_at is not None and now >= self.settle_at:
            self._settle()
        elif now >= self.probe_at:
            self._probe()

    def _take(self, message: wire.Message) -> None:
        was_started = self.execution.started
        if message.parent == self.execution.msg_id:  # others' say nothing about us (protocol J24)
            self.silence = SILENCE
            self.probe_at = time.monotonic() + self.silence
            if not self.execution.replied:
                self.settle_at = None
        if self.execution.gap_before(message):
            self._read_on()
        event = self.execution.receive(message)
        if self.execution.started and not was_started and self.timeout is not None:
            self.deadline = time.monotonic() + self.timeout
        if message.parent == self.execution.msg_id:
            self._heard()
        if self.execution.replied and not self.execution.idle:  # much output may be on its way still
            self.settle_at = time.monotonic() + SETTLE_GRACE
        if isinstance(event, wire.InputRequested):
            self._answer(event)
            return
        if event is None and self.connection.responder is not None:
            self._respond(message)
        if isinstance(event, wire.Dropped):
            self._read_on()
        if self.reading_on:
            return  # the recording has this message too, behind those that are missing here
        if message.channel == "iopub" and message.parent == self.execution.msg_id:
            self.taken = message.header.msg_id
            self.count += 1
        if event is not None:
            self.on_event(event)

    def _heard(self) -> None:
        """The code said something."""
        if self.idle_timeout is not None and self.execution.started and self.outcome.stopped_by is None:
            self.idle_at = time.monotonic() + self.idle_timeout

    def _respond(self, message: wire.Message) -> None:
        """Answer a request of the code's own kind. Every client of the kernel sees it; it is for whom the code runs."""
        parent = message.parent_header
        if parent is None or (parent.msg_id or parent.session) not in (
            self.execution.msg_id,
            self.connection.session_id,
        ):
            return
        assert self.connection.responder is not None
        value = self.connection.responder(message)
        if value is not None:
            self.connection.send_input(value)

    def _answer(self, wanted: wire.InputRequested) -> None:
        value = self.on_input(wanted.prompt, wanted.password) if self.on_input else None
        if value is None:  # end of input: what `input()` at a closed terminal does is up to the code, so interrupt it
            self._interrupt("no-input", "the code asked for input and there was none")
        else:
            self.connection.send_input(value)

    # --- clocks and interrupts ---

    def _time_is_up(self, limit: str, reason: str) -> None:
        self.idle_at = None
        if not self.outcome.timed_out and self.outcome.interrupted is None:
            self.outcome.timed_out = True
            self._interrupt(limit, reason)
            self.deadline = time.monotonic() + INTERRUPT_GRACE
            return
        self._kill()

    def _interrupted_by_user(self, status: int) -> None:
        again = self.outcome.interrupted is not None
        self.outcome.interrupted = status
        if self.detach and not again:
            self.outcome.left = True
            return
        if again or not self.execution.started:
            # A second Ctrl-C stops watching. A queued request cannot be taken back: interrupting the kernel now would
            # hit somebody else's code.
            self.given_up = self.outcome.unknown = True
            self.outcome.steps.append(
                "stopped watching; the code may still be running"
                if self.execution.started
                else "stopped watching; the code is queued behind other code and will run when its turn comes"
            )
            return
        self._interrupt("interrupt", "interrupted by the user")
        self.deadline = time.monotonic() + INTERRUPT_GRACE

    def _interrupt(self, by: str, reason: str) -> None:
        self.outcome.steps.append(f"interrupt ({reason})")
        self.outcome.stopped_by = by
        self.outcome.stops.append("interrupt")
        try:
            self.connection.server.interrupt(self.connection.kernel_id)
        except errors.Error as error:
            self.outcome.steps.append(f"the interrupt failed: {error.message}")

    def _kill(self) -> None:
        self.outcome.steps.append("kernel restart (the code did not react to the interrupt)")
        self.outcome.stops.append("kernel restart")
        self.deadline = None
        try:
            self.connection.server.restart(self.connection.kernel_id)
        except errors.Error as error:
            self.outcome.steps.append(f"the restart failed: {error.message}")
            self.given_up = self.outcome.unknown = True
            return
        self.execution.death = "the kernel was restarted, because the code did not react to the interrupt"

    # --- the socket ---

    def _reconnect(self, error: errors.ConnectionFailed) -> None:
        self.outcome.steps.append("the connection dropped")
        try:
            self.connection.reconnect()
        except errors.NotFoundError:
            self.execution.death = "the kernel is gone"
        except errors.Error as failure:
            self.outcome.problem = failure if isinstance(failure, errors.AuthError) else error
            self.given_up = self.outcome.unknown = True
        else:
            self.outcome.steps.append("reconnected")
            self.dropped = True
            self._read_on()
            self.probe_at = time.monotonic() + PROBE_AFTER

    def _probe(self) -> None:
        """After a silence: ask the server whether the kernel still works on our request (protocol J5).

        A restart asked for over REST reaches the other clients as nothing at all: the new process says `starting`
        before their subscriptions are renewed.
        """
        self.silence = min(self.silence * 2, MAX_SILENCE)
        self.probe_at = time.monotonic() + self.silence
        try:
            state = self.connection.server.kernel(self.connection.kernel_id).execution_state
        except errors.NotFoundError:
            self.execution.death = "the kernel is gone"
            return
        except errors.Error:  # the socket will tell; until then nothing is known
            return
        if state == "idle" and self.settle_at is None:
            # What is still on its way arrives within the grace. Then the end of this run will not come any more.
            self.settle_at = time.monotonic() + SETTLE_GRACE

    def _settle(self) -> None:
        """Only one of reply and idle came, or neither after a drop: say what is known, guess nothing."""
        self.settle_at = None
        if self.execution.replied:
            self.outcome.steps.append("the end of the output was not confirmed by the server")
            self.execution.idle = True
            self._read_on()
            return
        self.outcome.dropped = True
        self.outcome.unknown = True  # unless the recording knows better

    # --- the recording ---

    def _read_on(self) -> None:
        """The socket has lost something: from here on, take the output from what the runtime recorded."""
        self.outcome.dropped = True
        if self.recorder is None or self.recording is not None:
            return
        self.reading_on = True
        self.pull_at = time.monotonic()
        try:
            self.known = self.count
            self.recording = self.recorder(self.execution.msg_id, self.taken)
        except errors.ConnectionFailed:  # the next pull tries again
            return
        except errors.Error as error:
            self._give_up_reading(error)

    def _give_up_reading(self, error: errors.Error) -> None:
        self.outcome.steps.append(f"the recording on the runtime cannot be read: {error.message}")
        self.recorder = self.recording = self.pull_at = None
        self.reading_on = False

    def _pull(self) -> bool:
        """Show what is new in the recording; False when nothing is."""
        if self.recording is None:
            self._read_on()
        if self.recording is None:
            return False
        try:
            messages = self.recording.pull()
        except errors.NotFoundError:  # the recorder has not seen anything of this run yet
            return False
        except errors.ConnectionFailed:
            self.recording.close()
            self.recording = None
            return False
        except errors.Error as error:
            self._give_up_reading(error)
            return False
        for message in messages:
            self._heard()
            self.taken = message.header.msg_id
            self.count += 1
            event = self.execution.receive(message)
            if event is not None and not isinstance(event, wire.InputRequested):
                self.on_event(event)
        return bool(messages)

    def _read_to_the_end(self) -> None:
        """After the run: take the rest, and with it certainty about the end."""
        # A dead kernel publishes no end; what came before it is there within a second.
        patience = PULL_PATIENCE if self.execution.death is None else 1.0
        until = time.monotonic() + patience
        while self.reading_on and time.monotonic() < until and not (self.recording and self.recording.ended):
            if self._pull():
                until = time.monotonic() + patience
            else:
                time.sleep(0.02)
        if self.recording is not None and self.recording.ended:
            self.outcome.bytes_dropped = self.recording.bytes_dropped
            self.outcome.dropped = self.recording.is_incomplete(self.execution.inputs)
            if self.recording.passed > self.known:  # a gap that looked like a reply, before the one that was noticed
                self.outcome.dropped = True
                self.outcome.steps.append(f"{self.recording.passed - self.known} messages were lost unnoticed")
            self.outcome.steps.append("what the connection lost was read from the recording on the runtime")
            if not self.execution.replied and self.outcome.problem is None:
                self.execution.conclude(whole=not self.outcome.dropped)
                self.outcome.unknown = False
