"""Follows one execution in a kernel to its end, without a socket, a clock or a thread: events in, actions out.

`Watch.handle(event, now)` returns what is to be done; `watch_driver` does it and comes back with what happened. The
request itself is sent before, once, and no action sends it again. When the socket loses something, the output is read
from what the runtime recorded; when the end cannot be established, the outcome says that it is unknown.

Phases, and what leads from one to the next::

    FOLLOWING ──── reply and idle, or the kernel died, or the recording ended ────> READING (if anything was lost)
        │                                                                              │
        │                                                     the recording ended, or has been silent for too long
        │                                                                              v
        ├─── told to leave, or given up, or nothing was lost ────────────────────────> OVER
        │                                                                              ^
        └─── the kernel is idle, no reply ──> CHECKING ──> CONFIRMING ─── never begun ─┤
                                                 │             │                       │
                                                 └── no ───────┴── no ──> READING ─────┘

    FOLLOWING   messages come over the socket, and limits apply
    CHECKING    the socket dropped before the code began: was the recorder there all the time?
    CONFIRMING  it was: does the recording hold nothing of this run, so that the code was never executed?
    READING     the run has ended: the rest of its output, and its end, come from the recording

An execution has ended when both its reply (shell channel) and `idle` (iopub channel) came. Each may be lost:

* reply without idle: after SETTLE_GRACE without a message, the end is taken as confirmed
* both, of a kernel that does not number its messages: its output may come later still, see `late_output`
* idle without reply: after silence, ask the server (PROBE). If the kernel is idle, and stays so for SETTLE_GRACE, the
  recording decides. Without a recording the end is unknown if the socket dropped; on a sound socket, a reply is not
  lost, so the kernel that owed it was replaced

Where the output comes from::

    SOCKET ── a number is missing ──> WAITING ── it did not come within GAP_GRACE ──┐
      │ ^                                │                                        │
      │ └──────────── it came ───────────┘                                        v
      ├── something was lost ───────────────────────────────────────────────> OPENING ──> RECORDING
      │                                                              ^           │          │
      │                                                  next pull   │           v          │ connection lost
      └── nothing is recorded                                        └─── UNREACHABLE <─────┘
                 v                                                               │
            SOCKET_ONLY <──────────────── cannot be read ────────────────────────┘

While output is not taken from the socket, what comes there is kept, until the recording has brought it again or cannot
bring it any more: then it is shown.

How code is ended before its time: a limit or the user interrupts it; INTERRUPT_GRACE later the kernel is restarted.
The user's second interrupt ends the watching, and the code goes on. So does the first one when the code still waits
for its turn (interrupting the kernel would hit other code), or with `WatchLimits.detach`.
"""

from __future__ import annotations

from typing import assert_never

from .. import errors
from . import messages as wire
from . import watch_events as ev
from .execution import EXECUTION_TYPES, GONE, RESTARTED
from .execution_end import Ending
from .late_output import LateOutput
from .outcome import Outcome
from .watch_limits import WatchLimits
from .watch_state import Clock, Phase, Source, WatchState

INTERRUPT_GRACE = 10.0  # seconds that interrupted code has to end before the kernel is restarted
SETTLE_GRACE = 5.0  # seconds to wait for the second of reply and idle, once the kernel is known to be idle
PROBE_AFTER = 2.0  # seconds of silence after a reconnection before the server is asked for the kernel's state
SILENCE = 5.0  # seconds of silence before the same is asked on a sound socket; doubled each time, up to MAX_SILENCE
MAX_SILENCE = 30.0


class Watch:
    """One execution, from when its request was sent to the end of the watching.

    Args:
        outcome: filled in on the way.
        limits: the caller's time limits.
        now: the present moment, in seconds of the clock from which every later `now` comes.
        session_id: of our client; requests beyond Jupyter's protocol may name it in place of the execution.
        recorded: whether the runtime records what the kernel publishes.
    """

    def __init__(
        self, outcome: Outcome, limits: WatchLimits, now: float, *, session_id: str = "", recorded: bool = False
    ) -> None:
        self.outcome = outcome
        self.execution = outcome.execution
        self._limits = limits
        self._session_id = session_id
        self._state = WatchState(outcome, limits, now, recorded=recorded)
        self._late = LateOutput(self._state)
        self._ending = Ending(self._state)
        self._silence = SILENCE
        self._unsent: ev.SendInput | None = None  # an input reply that goes over the next socket
        self._given_up = False  # nothing more is to be asked: the user said so, or nobody answers
        self._state.set(Clock.PROBE, self._silence)
        if limits.wait is not None:
            self._state.set(Clock.LEAVE, limits.wait)

    @property
    def phase(self) -> Phase:
        """How far the watching has come."""
        return self._state.phase

    @property
    def source(self) -> Source:
        """Where output is taken from."""
        return self._state.source

    @property
    def wake_at(self) -> float | None:
        """The moment at which a `Tick` is due, None when only an event can change anything."""
        return min(self._state.clocks.values(), default=None)

    def handle(self, event: ev.Event, now: float) -> list[ev.Action]:
        """Take one event, and return what is to be done about it, in this order.

        Args:
            event: what happened.
            now: when it happened, never earlier than the event before.
        """
        state = self._state
        state.now = now
        if state.phase is Phase.FOLLOWING:
            if self.execution.finished and isinstance(event, ev.UserInterrupt):
                self.outcome.interrupted = event.status
            else:
                self._follow(event)
            self._late.take(event)
            if self._has_ended:
                self._stop_following()
        elif isinstance(event, ev.UserInterrupt):
            self._stop_reading(event.status)
        elif state.phase is not Phase.OVER:
            self._ending.handle(event)
        actions, state.actions = state.actions, []
        return actions

    # --- while the run goes on ---

    @property
    def _has_ended(self) -> bool:
        """Whether nothing more is to be waited for: the run has ended, or nothing can be learnt."""
        outcome = self.outcome
        # When the recording has ended, the reply that was lost with a socket would tell nothing more.
        return bool(
            (self.execution.finished and self._late.is_over)
            or outcome.problem
            or outcome.unknown
            or outcome.left
            or self._state.end is not None
        )

    def _follow(self, event: ev.Event) -> None:
        match event:
            case ev.Received(message=message):
                self._receive(message)
                self._look_at_clocks()
            case ev.Tick():
                self._look_at_clocks()
            case ev.UserInterrupt(status=status):
                self._interrupted_by_user(status)
            case ev.Answered(value=value):
                if value is None:  # what `input()` does at a closed terminal is up to the code, so interrupt it
                    self._interrupt("no-input", "the code asked for input and there was none")
                else:
                    self._state.do(ev.SendInput(value))
            case ev.InterruptSent(error=error):
                if error is not None:
                    self.outcome.steps.append(f"the interrupt failed: {error.message}")
                if self.outcome.timed_out or self.outcome.interrupted is not None:
                    self._state.set(Clock.DEADLINE, INTERRUPT_GRACE)
            case ev.RestartDone(error=error):
                self._restarted(error)
            case ev.Disconnected() | ev.Reconnected() | ev.ReconnectFailed():
                self._socket_changed(event)
            case ev.KernelState(state=state):
                # What is still on its way arrives within the grace. Then the end of this run will not come any more.
                if state == "idle" and Clock.SETTLE not in self._state.clocks:
                    self._state.set(Clock.SETTLE, SETTLE_GRACE)
            case ev.KernelGone():
                self.execution.death = GONE
            case ev.RecordingOpened() | ev.RecordingLost() | ev.RecordingUnreadable() | ev.Pulled():
                self._state.take_from_recording(event)
            case ev.CoverageKnown() | ev.SignAsked():
                pass  # asked in another phase only
            case _:
                assert_never(event)

    def _receive(self, message: wire.Message) -> None:
        state = self._state
        ours = message.parent == self.execution.msg_id  # what others do says nothing here (protocol J24)
        if ours:
            self._silence = SILENCE
            state.set(Clock.PROBE, self._silence)
            if not self.execution.replied:
                state.clocks.pop(Clock.SETTLE, None)
        # What makes no sense came so from the kernel, or was damaged on the way: the recording knows.
        damaged = ours and (message.repaired or self.execution.makes_no_sense(message))
        if damaged or self._has_lost_its_beginning(message):
            state.read_on()
        event = state.take(message)
        if (
            self.execution.restarted and message.type == "status"
        ):  # whether the new process has it, the server knows soon
            state.set(Clock.PROBE, PROBE_AFTER)
        if self.execution.replied and not self.execution.idle:  # much output may be on its way still
            state.set(Clock.SETTLE, SETTLE_GRACE)
        if isinstance(event, wire.InputRequested):
            state.do(ev.Ask(event.prompt, event.password))
        elif event is not None:
            state.do(ev.Show(event))
        elif self._may_ask_us(message):
            state.do(ev.Respond(message))

    def _has_lost_its_beginning(self, message: wire.Message) -> bool:
        """Whether this is the first message that came of a run, and not the one that every run begins with."""
        return (
            self._state.seen == 0
            and message.channel == "iopub"
            and message.parent == self.execution.msg_id
            and message.content.get("execution_state") != "busy"
        )

    def _may_ask_us(self, message: wire.Message) -> bool:
        """Whether a message is a request beyond Jupyter's protocol, and for us: every client of the kernel sees it."""
        parent = message.parent_header
        return (
            message.type not in EXECUTION_TYPES
            and parent is not None
            and (parent.msg_id or parent.session) in (self.execution.msg_id, self._session_id)
        )

    def _look_at_clocks(self) -> None:
        """Do what is due: look at the recording, or one other thing."""
        if self.execution.finished:
            return
        if self._state.due(Clock.GAP):
            self._state.read_on()
        elif self._state.due(Clock.PULL):
            self._state.pull()
        elif self._state.due(Clock.LEAVE):
            self.outcome.left = True
        elif self._state.due(Clock.DEADLINE):
            self._time_is_up("timeout", f"time limit of {self._limits.timeout or 0:g} s")
        elif self._state.due(Clock.IDLE):
            self._time_is_up("idle-timeout", f"no output for {self._limits.idle_timeout or 0:g} s")
        elif self._state.due(Clock.SETTLE):
            self._settle()
        elif self._state.due(Clock.PROBE):
            self._silence = min(self._silence * 2, MAX_SILENCE)
            self._state.set(Clock.PROBE, self._silence)
            # A restart asked for over REST reaches the other clients as nothing at all: the new process says
            # `starting` before their subscriptions are renewed (protocol J5). So the server is asked.
            self._state.do(ev.Probe())

    def _settle(self) -> None:
        """Only one of reply and idle came, or neither after a drop: say what is known, guess nothing."""
        del self._state.clocks[Clock.SETTLE]
        if self.execution.replied:
            self.outcome.steps.append("the end of the output was not confirmed by the server")
            self.execution.idle = True
            self._state.read_on()
            return
        if self.execution.restarted and not self._state.reconnected:  # and the new process does nothing for us
            self.execution.death = f"{RESTARTED}, before anything of this run was seen"
            return
        self.outcome.dropped = True
        self.outcome.unknown = True  # unless the recording knows better

    # --- ending the code ---

    def _time_is_up(self, limit: str, reason: str) -> None:
        self._state.clocks.pop(Clock.IDLE, None)
        if not self.outcome.timed_out and self.outcome.interrupted is None:
            self.outcome.timed_out = True
            self._interrupt(limit, reason)
            self._state.set(Clock.DEADLINE, INTERRUPT_GRACE)
            return
        self.outcome.steps.append("kernel restart (the code did not react to the interrupt)")
        self.outcome.stops.append("kernel restart")
        self._state.clocks.pop(Clock.DEADLINE, None)
        self._state.do(ev.Restart())

    def _interrupted_by_user(self, status: int) -> None:
        again = self.outcome.interrupted is not None
        self.outcome.interrupted = status
        if self._limits.detach and not again:
            self.outcome.left = True
            return
        if again or not self.execution.started:
            self._give_up()
            self.outcome.steps.append(
                "stopped watching; the code may still be running"
                if self.execution.started
                else "stopped watching; the code is queued behind other code and will run when its turn comes"
            )
            return
        self._interrupt("interrupt", "interrupted by the user")
        self._state.set(Clock.DEADLINE, INTERRUPT_GRACE)

    def _interrupt(self, by: str, reason: str) -> None:
        self.outcome.steps.append(f"interrupt ({reason})")
        self.outcome.stopped_by = by
        self.outcome.stops.append("interrupt")
        self._state.do(ev.Interrupt())

    def _restarted(self, error: errors.Error | None) -> None:
        if error is None:
            self.execution.death = "the kernel was restarted, because the code did not react to the interrupt"
        else:
            self.outcome.steps.append(f"the restart failed: {error.message}")
            self._give_up()

    def _give_up(self) -> None:
        self._given_up = self.outcome.unknown = True

    # --- the socket ---

    def _socket_changed(self, event: ev.Disconnected | ev.Reconnected | ev.ReconnectFailed) -> None:
        match event:
            case ev.Disconnected(cause=cause, unsent=unsent):
                if unsent is not None:
                    self._unsent = ev.SendInput(unsent)
                self.outcome.steps.append("the connection dropped")
                self._state.do(ev.Reconnect(cause))
            case ev.Reconnected():
                self.outcome.steps.append("reconnected")
                self._state.reconnected = True
                if self._unsent is not None:
                    self._state.do(self._unsent)
                    self._unsent = None
                self._state.read_on()
                if self._state.source is Source.UNREACHABLE:
                    self._state.set(Clock.PULL, 0)
                self._state.set(Clock.PROBE, PROBE_AFTER)
            case ev.ReconnectFailed(failure=errors.NotFoundError()):
                self.execution.death = GONE
            case ev.ReconnectFailed(failure=failure, cause=cause):
                self.outcome.problem = failure if isinstance(failure, errors.AuthError) else cause
                self._give_up()

    # --- after the run ---

    def _stop_following(self) -> None:
        """Decide what is left to learn about a run that has ended, or that nobody follows any more."""
        state, outcome = self._state, self._state.outcome
        state.clocks.clear()
        if outcome.left:
            state.close()
            return
        if state.execution.missing and state.source is Source.SOCKET_ONLY:
            outcome.dropped = True
            outcome.steps.append(f"{state.execution.missing} messages of the kernel were lost on the way")
        elif state.execution.missing or state.execution.died_silently:
            state.read_on()  # the runtime may know what a dead kernel had printed and not sent
        if self._given_up:
            state.close()
        else:
            self._ending.begin()

    def _stop_reading(self, status: int) -> None:
        """The user interrupts what comes after the run."""
        self.outcome.interrupted = status
        if self._state.phase is Phase.OVER:
            self.outcome.steps.append("stopped waiting for the kernel")
            return
        self.outcome.steps.append("stopped reading what was recorded")
        self._state.close()
