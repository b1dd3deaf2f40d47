"""What a `Watch` does after the run: learn from the recording how it ended; see `execution_watch` for the phases."""

from __future__ import annotations

from . import watch_events as ev
from .execution import RESTARTED
from .watch_state import READING_ON, Clock, Phase, Source, WatchState

READ_PAUSE = 0.02  # seconds between two looks at the recording of a run that has ended
PULL_PATIENCE = 10.0  # seconds without anything new in the recording of a run that has ended, before we ask about it
SETTLED_PATIENCE = 1.0  # the same once the recorder says that it has written everything
QUESTIONS = 5  # how often that is asked of a recorder that is behind, or that cannot be reached
DEATH_PATIENCE = 1.0  # the same after the kernel's death: a dead kernel publishes no end


class Ending:
    """The phases CHECKING, CONFIRMING and READING."""

    def __init__(self, state: WatchState) -> None:
        self._state = state
        self._questions = 0

    def begin(self) -> None:
        """Nothing more is expected from the socket."""
        state = self._state
        if not state.outcome.unknown:
            self._read_the_rest()
            return
        state.read_on()
        if not state.reconnected or state.execution.started or state.source not in READING_ON:
            self._read_the_rest()
            return
        state.phase = Phase.CHECKING
        self._questions = QUESTIONS  # the answer that comes now is the one that counts
        state.set(Clock.PATIENCE, PULL_PATIENCE)
        if state.source is Source.RECORDING:
            state.do(ev.CheckCoverage())
        elif state.source is Source.UNREACHABLE:
            state.open()

    def handle(self, event: ev.Event) -> None:
        """Take one event."""
        state = self._state
        if isinstance(event, ev.RecordingOpened | ev.RecordingLost | ev.RecordingUnreadable | ev.Pulled):
            state.take_from_recording(event)
        if state.phase in (Phase.CHECKING, Phase.CONFIRMING):
            state.clocks.pop(Clock.PULL, None)  # these ask by themselves
        if state.phase is Phase.CHECKING:
            self._check(event)
        elif state.phase is Phase.CONFIRMING:
            self._confirm(event)
        elif state.phase is Phase.READING:
            self._read(event)

    def _check(self, event: ev.Event) -> None:
        """Was the recorder there all the time?"""
        state = self._state
        match event:
            case ev.RecordingOpened():
                state.do(ev.CheckCoverage())
            case ev.CoverageKnown(covered=True):
                state.phase = Phase.CONFIRMING
                state.set(Clock.PATIENCE, PULL_PATIENCE)
                state.do(ev.Pull())
            case ev.CoverageKnown(error=error):
                if error is not None:
                    state.outcome.steps.append(f"the recording on the runtime cannot be read: {error.message}")
                self._read_the_rest()
            case ev.RecordingLost() | ev.RecordingUnreadable():
                self._read_the_rest()
            case ev.Tick() if state.due(Clock.PATIENCE):
                self._read_the_rest()

    def _confirm(self, event: ev.Event) -> None:
        """Does the recording hold nothing of this run?"""
        state = self._state
        match event:
            case ev.Pulled() if state.last is None and not state.execution.started:
                state.outcome.never_begun = True
                state.outcome.unknown = state.outcome.dropped = False
                state.close()
            case ev.Pulled() | ev.RecordingLost() | ev.RecordingUnreadable():
                self._read_the_rest()
            case ev.Tick() if state.due(Clock.PATIENCE):
                self._read_the_rest()

    def _read_the_rest(self) -> None:
        """Take what is left of the recording, and with it certainty about the end."""
        state = self._state
        state.phase = Phase.READING
        if state.source not in READING_ON or state.end is not None:
            self._conclude()
            return
        self._be_patient()
        state.set(Clock.PULL, 0)

    def _be_patient(self) -> None:
        self._state.set(Clock.PATIENCE, PULL_PATIENCE if self._state.execution.death is None else DEATH_PATIENCE)

    def _read(self, event: ev.Event) -> None:
        state = self._state
        if state.source not in READING_ON or state.end is not None:
            self._conclude()
            return
        match event:
            case ev.Pulled(messages=messages):
                if messages:
                    self._be_patient()
                state.set(Clock.PULL, 0 if messages else READ_PAUSE)
            case ev.Tick() if state.due(Clock.PULL):  # before patience: what was opened late is read, too
                state.pull()
            case ev.Tick() if state.due(Clock.PATIENCE):
                if state.execution.death is not None or self._questions == QUESTIONS:
                    self._conclude()
                    return
                self._questions += 1
                self._be_patient()  # with a runtime that cannot be reached just now
                if state.source is Source.RECORDING:
                    del state.clocks[Clock.PATIENCE]
                    state.do(ev.CheckCoverage())  # a recorder that is behind on a busy machine is waited for
            case ev.CoverageKnown(covered=covered, error=error):
                if covered or error is not None:
                    self._questions = QUESTIONS
                state.set(Clock.PATIENCE, SETTLED_PATIENCE if covered else PULL_PATIENCE)
                state.set(Clock.PULL, 0)

    def _conclude(self) -> None:
        """Say how the run ended, as far as it is known."""
        state = self._state
        outcome = state.outcome
        if state.source in READING_ON and state.end is not None:
            self._conclude_from_recording(state.end)
        elif state.execution.is_whole:  # what came over the socket was kept
            outcome.dropped = False
        if outcome.unknown and (state.reconnected or state.end is not None):
            outcome.steps.append("the result was lost with the connection")
        elif outcome.unknown:
            # On a sound socket a reply is not lost: the kernel that owed it is no more.
            outcome.unknown = False
            began = "" if state.execution.started else ", before anything of this run was seen"
            state.execution.death = f"{RESTARTED if state.execution.restarted else 'the kernel was restarted'}{began}"
        state.close()

    def _conclude_from_recording(self, end: ev.RecordedEnd) -> None:
        state = self._state
        outcome = state.outcome
        outcome.bytes_dropped = end.bytes_dropped
        whole = state.execution.is_whole
        outcome.dropped = end.incomplete and not whole
        if (
            end.passed > state.seen_before and not whole
        ):  # a gap that looked like a reply, before the one that was noticed
            outcome.dropped = True
            outcome.steps.append(f"{end.passed - state.seen_before} messages were lost unnoticed")
        outcome.steps.append("what the connection lost was read from the recording on the runtime")
        if not state.execution.replied and state.execution.death is None:
            state.execution.death = end.died
        if not state.execution.replied and outcome.problem is None:
            state.execution.conclude(whole=not outcome.dropped)
            outcome.unknown = state.execution.status is None and state.execution.death is None
            if outcome.unknown:
                outcome.steps.append("the kernel's reply was lost, and nothing else tells whether the code failed")
