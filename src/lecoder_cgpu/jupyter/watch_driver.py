"""Drives a `Watch`: owns the socket, the clock, the recording and the user's interrupts, and decides nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from .. import errors
from ..system.interrupts import Hold
from . import messages
from . import watch_events as ev
from .execution import GONE
from .execution_watch import Watch
from .outcome import Outcome
from .watch_limits import WatchLimits
from .watch_state import Phase

if TYPE_CHECKING:
    from .kernel_channels import KernelConnection

ENDING = 8.0  # seconds in which a server has ended a kernel, which gets 5 of them to end by itself
ENDING_LOOK = 0.5
IDLE_WITHIN = 3.0  # seconds in which an idle kernel answers
IDLE_PAUSE = 0.5  # seconds between two ticks when nothing is due

InputSource = Callable[[str, bool], str | None]

# Answers what the code asks of its front end beyond Jupyter's protocol: the value of an `input_reply`, or None.
Responder = Callable[[messages.Message], dict[str, Any] | None]


class ReadableRecording(Protocol):
    """What the runtime kept of a run; see `runs.recording.RecordingReader`."""

    ended: bool
    bytes_dropped: int
    passed: int
    died: str | None
    more: bool

    def pull(self) -> list[messages.Message]: ...
    def is_incomplete(self, inputs: int = 0) -> bool: ...
    def covers(self, seconds: float) -> bool: ...
    def close(self) -> None: ...


# Opens the recording of a run, behind the message of that id, up to which all is known already.
Recorder = Callable[[str, str | None], ReadableRecording]


class WatchDriver:
    """Follows one execution whose request was sent.

    Args:
        connection: the kernel's channels.
        outcome: filled in.
        on_event: given every output of the code, in the calling thread.
        on_input: answers `input()`; None as its answer is the end of the input.
        recorder: opens the recording; None where nothing is recorded.
    """

    def __init__(
        self,
        connection: KernelConnection,
        outcome: Outcome,
        on_event: Callable[[messages.Event], None],
        limits: WatchLimits,
        on_input: InputSource | None,
        recorder: Recorder | None,
    ) -> None:
        self._connection = connection
        self._outcome = outcome
        self._on_event = on_event
        self._on_input = on_input
        self._recorder = recorder
        self._recording: ReadableRecording | None = None
        self._watch = Watch(
            outcome, limits, time.monotonic(), session_id=connection.session_id, recorded=recorder is not None
        )

    def run(self, interrupt: KeyboardInterrupt | None = None) -> None:
        """Return when the execution has ended, or is not watched any more.

        Args:
            interrupt: what came while the request was sent.
        """
        events: deque[ev.Event] = deque()
        actions: deque[ev.Action] = deque()
        try:
            with Hold() as hold:  # a signal must not hit the watch while it takes in what has happened
                if interrupt is not None:
                    events.append(ev.UserInterrupt(errors.interrupted_status(interrupt)))
                while events or actions or self._watch.phase is not Phase.OVER:
                    if events:
                        actions.extend(self._watch.handle(events.popleft(), time.monotonic()))
                    else:
                        events.extend(self._proceed(hold, actions.popleft() if actions else None))
                    if self._watch.phase is not Phase.FOLLOWING and self._outcome.completed is None:
                        self._outcome.completed = datetime.now(UTC)
        finally:
            self._close_recording()
        self._ask_a_last_time()

    def _ask_a_last_time(self) -> None:
        """A run whose end nobody has seen ended with its kernel where the server has forgotten that. A server that ends
        a kernel interrupts it first, and has it in its list until it is gone."""
        outcome = self._outcome
        deadline = time.monotonic() + ENDING
        while (
            outcome.unknown and outcome.execution.death is None and outcome.interrupted is None and not outcome.problem
        ):
            try:
                outcome.execution.death = self._death(None)
                outcome.unknown = outcome.execution.death is None
                if time.monotonic() > deadline:
                    return
                time.sleep(ENDING_LOOK if outcome.unknown else 0)
            except KeyboardInterrupt as interrupt:
                outcome.interrupted = errors.interrupted_status(interrupt)

    def _proceed(self, hold: Hold, action: ev.Action | None) -> list[ev.Event]:
        """Do an action, or wait; what came of it. Here the user may interrupt."""
        try:
            with hold.open():
                event = self._next() if action is None else self._do(action)
        except KeyboardInterrupt as interrupt:
            return [*self._aborted(action), ev.UserInterrupt(errors.interrupted_status(interrupt))]
        return [] if event is None else [event]

    def _next(self) -> ev.Event:
        """Wait for the next message, or until something is due."""
        wake_at = self._watch.wake_at
        wait = IDLE_PAUSE if wake_at is None else max(wake_at - time.monotonic(), 0)
        if self._watch.phase is not Phase.FOLLOWING:
            time.sleep(wait)
            return ev.Tick()
        try:
            message = self._connection.receive(wait)
        except errors.ConnectionFailed as error:
            return ev.Disconnected(error)
        return ev.Tick() if message is None else ev.Received(message)

    def _aborted(self, action: ev.Action | None) -> list[ev.Event]:
        """What it means that the user's interrupt hit an action."""
        if isinstance(action, ev.OpenRecording | ev.Pull):  # an answer may be on its way: read on elsewhere
            self._close_recording()
            return [ev.RecordingLost()]
        return []

    def _do(self, action: ev.Action) -> ev.Event | None:
        match action:
            case ev.Show(event=event):
                for piece in messages.pieces(event):
                    self._on_event(piece)
            case ev.Ask(prompt=prompt, password=password):
                return ev.Answered(self._on_input(prompt, password) if self._on_input else None)
            case ev.Respond(message=message):
                return self._respond(message)
            case ev.SendInput(value=value):
                return self._send_input(value)
            case ev.Reconnect(cause=cause):
                return self._reconnect(cause)
            case ev.Interrupt() | ev.Restart() | ev.Probe():
                return self._ask_server(action)
            case ev.AskForSign():
                return ev.SignAsked(self._connection.nudge())
            case ev.OpenRecording() | ev.Pull() | ev.CheckCoverage():
                return self._read(action)
            case ev.CloseRecording():
                self._close_recording()
            case ev.AwaitKernel():
                self._connection.wait_until_heard()
            case _:
                assert_never(action)
        return None

    def _respond(self, message: messages.Message) -> ev.Event | None:
        responder = self._connection.responder
        value = None if responder is None else responder(message)
        return None if value is None else self._send_input(value)

    def _send_input(self, value: Any) -> ev.Event | None:
        try:
            self._connection.send_input(value)
        except errors.ConnectionFailed as error:
            return ev.Disconnected(error, value)
        return None

    def _reconnect(self, cause: errors.ConnectionFailed) -> ev.Event:
        try:
            self._connection.reconnect()
        except errors.UsageError:  # nothing was executed
            raise
        except errors.Error as failure:
            return ev.ReconnectFailed(failure, cause)
        return ev.Reconnected()

    def _ask_server(self, action: ev.Interrupt | ev.Restart | ev.Probe) -> ev.Event:
        server, kernel = self._connection.server, self._connection.kernel_id
        try:
            match action:
                case ev.Interrupt():
                    server.interrupt(kernel)
                    return ev.InterruptSent()
                case ev.Restart():
                    server.restart(kernel)
                    return ev.RestartDone()
                case ev.Probe():
                    state = server.kernel(kernel).execution_state
                    if state == "starting":  # until it publishes something, as it does when it is asked
                        self._connection.nudge()
                    if state == "idle" and not self._connection.is_idle(IDLE_WITHIN):
                        state = "busy"  # what is done on its control channel makes a kernel look idle (protocol J47)
                    return ev.KernelState(state)
        except errors.Error as error:
            if isinstance(action, ev.Interrupt):
                return ev.InterruptSent(error)
            if isinstance(action, ev.Restart):
                return ev.RestartDone(error)
            # The socket will tell; until then nothing is known.
            return ev.KernelGone() if isinstance(error, errors.NotFoundError) else ev.KernelState(None)

    # --- the recording ---

    def _read(self, action: ev.OpenRecording | ev.Pull | ev.CheckCoverage) -> ev.Event:
        try:
            match action:
                case ev.OpenRecording(after=after):
                    self._close_recording()
                    assert self._recorder is not None
                    self._recording = self._recorder(self._outcome.execution.msg_id, after)
                    return ev.RecordingOpened()
                case ev.Pull():
                    return self._pull()
                case ev.CheckCoverage():
                    seconds = (datetime.now(UTC) - self._outcome.started).total_seconds()
                    return ev.CoverageKnown(self._recording is not None and self._recording.covers(seconds))
        except errors.Error as error:
            if isinstance(action, ev.CheckCoverage):
                return ev.CoverageKnown(False, error)
            if isinstance(error, errors.NotFoundError) and isinstance(action, ev.Pull):
                return ev.Pulled([])  # the recorder has not seen anything of this run yet
            self._close_recording()
            return ev.RecordingLost() if isinstance(error, errors.ConnectionFailed) else ev.RecordingUnreadable(error)

    def _pull(self) -> ev.Event:
        recording = self._recording
        if recording is None:
            return ev.RecordingLost()
        messages = recording.pull()
        if not recording.ended:
            return ev.Pulled(messages, more=recording.more)
        incomplete = recording.is_incomplete(self._outcome.execution.inputs)
        died = self._death(recording.died) if recording.died else None
        return ev.Pulled(messages, ev.RecordedEnd(incomplete, recording.bytes_dropped, recording.passed, died))

    def _death(self, how: str | None) -> str | None:
        """How the kernel ended: by itself, or with its server, which has forgotten it then."""
        try:
            self._connection.server.kernel(self._connection.kernel_id)
        except errors.NotFoundError:
            return GONE
        except errors.Error:
            pass  # nothing is known but the process' end
        return how

    def _close_recording(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None
