"""What a kernel sends after the end: when a `Watch` may stop listening to one whose messages have no numbers.

A run has ended when its reply and `idle` came. Numbers in the messages of Python kernels tell whether anything of it is
still on its way. Kernels of other languages have none, and some read what code prints in a task of its own: Deno says
`idle` first, and sends the output after that, in every third run or so (protocol J48). So such a kernel is asked for a
sign of life, over the way that its output takes. What it had to say by then comes before the sign, unless it is still
at it; so it is asked again, until nothing but the sign has come.
"""

from __future__ import annotations

from . import watch_events as ev
from .execution import ORDERED
from .watch_state import Clock, WatchState

QUIET = 0.1  # seconds without output, besides the sign
QUIET_LATER = 0.5  # the same once some has come late
LATE_WITHIN = 10.0  # seconds after which nothing more is waited for
SIGN_WITHIN = 3.0  # the same if nothing comes at all: the kernel may execute other code already


class LateOutput:
    """Listens on after the end of a run."""

    def __init__(self, state: WatchState) -> None:
        self._state = state
        self._begun = self._late = False
        self._sign: str | None = None  # the request whose `idle` is waited for
        self._signed = self._more = False  # the sign has come; output has come since it was asked for
        self._over = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is expected of a run that has ended."""
        execution = self._state.execution
        certain = execution.counted or execution.death is not None or execution.status == "aborted"
        return self._over or certain

    def take(self, event: ev.Event) -> None:
        """Take one event after the end."""
        state = self._state
        if self.is_over or not state.execution.finished:
            return
        if not self._begun:
            self._begun = True
            state.clocks.clear()
            state.set(Clock.LATE, SIGN_WITHIN)
            state.set(Clock.QUIET, QUIET)
            state.do(ev.AskForSign())
        elif isinstance(event, ev.SignAsked):
            self._sign, self._over = event.request, event.request is None
        elif isinstance(event, ev.Received):
            self._receive(event)
        elif isinstance(event, ev.UserInterrupt):
            self._over = True
        for clock in state.clocks.keys() - {Clock.LATE, Clock.QUIET}:  # limits are for code that runs
            del state.clocks[clock]
        if state.due(Clock.QUIET):
            del state.clocks[Clock.QUIET]
        if self._signed and Clock.QUIET not in state.clocks:
            self._over = True
        elif state.due(Clock.LATE):
            self._over = True
            if self._more:
                state.outcome.dropped = True
                state.outcome.steps.append("the kernel still sent output when the code had ended long ago")

    def _receive(self, event: ev.Received) -> None:
        state, message = self._state, event.message
        if message.parent == state.execution.msg_id and message.type in ORDERED:
            if not self._late:
                self._late = True
                state.set(Clock.LATE, LATE_WITHIN)
            self._more = True
            state.set(Clock.QUIET, QUIET_LATER)
        elif message.parent == self._sign and message.content.get("execution_state") == "idle":
            self._signed, self._sign = not self._more, None
            if self._more:
                self._more = False
                state.do(ev.AskForSign())
