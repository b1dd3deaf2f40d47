"""What the parts of a `Watch` share: what is known of the run, what is due when, and where its output comes from."""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeVar

import msgspec

from . import messages as wire
from . import watch_events as ev
from .execution import ORDERED
from .messages import whole_id
from .outcome import Outcome
from .watch_limits import WatchLimits

GAP_GRACE = 0.5  # seconds that a number has to come after a later one
AHEAD = 200_000  # messages by which the recording may be ahead of the socket
HELD_BYTES = 256 << 20  # of messages that may wait for the recording to bring them again
PULL_PAUSE = 0.2  # seconds between two looks at the recording while the run goes on, or between attempts to open it


T = TypeVar("T")


class Phase(Enum):
    """How far the watching has come; see the top of the file."""

    FOLLOWING = auto()
    CHECKING = auto()
    CONFIRMING = auto()
    READING = auto()
    OVER = auto()


class Source(Enum):
    """Where output is taken from; see the top of the file."""

    SOCKET = auto()
    WAITING = auto()
    OPENING = auto()
    UNREACHABLE = auto()
    RECORDING = auto()
    SOCKET_ONLY = auto()


READING_ON = (Source.OPENING, Source.UNREACHABLE, Source.RECORDING)  # output is taken from the recording


class Clock(Enum):
    """What is to be done at a certain moment."""

    LEAVE = auto()  # stop watching
    DEADLINE = auto()  # the code has had its time, or its grace after an interrupt
    IDLE = auto()  # the code has been silent for too long
    SETTLE = auto()  # the second of reply and idle will not come any more
    PROBE = auto()  # ask the server for the kernel's state
    GAP = auto()  # the number that is missing does not come any more
    QUIET = auto()  # there was no output for a while
    LATE = auto()  # output after the end is not waited for any longer
    PULL = auto()  # look at the recording
    PATIENCE = auto()  # nothing more comes from the recording


class WatchState:
    """The state of a `Watch`; see there for what the arguments are.

    `now` is the time of the event at hand, `actions` what is to be done about it.
    """

    def __init__(self, outcome: Outcome, limits: WatchLimits, now: float, *, recorded: bool) -> None:
        self.outcome = outcome
        self.execution = outcome.execution
        self.limits = limits
        self.now = now
        self.phase = Phase.FOLLOWING
        self.source = Source.SOCKET if recorded else Source.SOCKET_ONLY
        self.clocks: dict[Clock, float] = {}
        self.actions: list[ev.Action] = []
        self.reconnected = False  # a socket dropped, and there is a new one
        self.end: ev.RecordedEnd | None = None  # of the recording
        self.last: str | None = None  # the id of the last message that the run published and that is known
        self.seen_before = 0  # how many these were when the recording was opened
        self.seen = 0  # how many these are
        self._held: dict[str, wire.Message] = {}  # what came over the socket, and may come from the recording
        self._held_bytes = 0
        self._ahead: dict[str, None] = {}  # what the recording brought, and may still come over the socket

    def do(self, action: ev.Action) -> None:
        """Have something done about the event at hand."""
        self.actions.append(action)

    def set(self, clock: Clock, seconds: float) -> None:
        """Let a clock be due in this many seconds."""
        self.clocks[clock] = self.now + seconds

    def due(self, clock: Clock) -> bool:
        """Whether that clock is set, and its moment has come."""
        return clock in self.clocks and self.now >= self.clocks[clock]

    def close(self) -> None:
        """Nothing more is to be learnt."""
        self._release()
        self.phase = Phase.OVER
        self.clocks.clear()
        self.do(ev.CloseRecording())
        if self.execution.death is not None and not self.outcome.left:
            self.do(ev.AwaitKernel())

    # --- messages ---

    def take(self, message: wire.Message) -> wire.Event | None:
        """Take what came over the socket; returns what is to be shown or asked now. Output behind a gap is held."""
        self.execution.note(message)
        self._look_for_gaps()
        if message.channel != "iopub" or message.parent != self.execution.msg_id:
            return self.learn(message)
        if self.source not in (Source.SOCKET, Source.SOCKET_ONLY):
            self._hold(message)
            if message.type in ORDERED:
                self._keep_going(message)
                return None
            event = self.learn(message)
            self._look_for_gaps()  # the kernel may have explained it
            return event
        event = self.learn(message)
        if isinstance(event, wire.Dropped):
            self.read_on()
            return None if self.source in READING_ON else event
        self.last = message.header.msg_id
        self.seen += not message.is_piece
        return event

    def learn(self, message: wire.Message) -> wire.Event | None:
        """Feed the execution with a message, from whichever source; time limits count from what it tells."""
        had_started = self.execution.started
        event = self.execution.receive(message)
        if self._is_limited and self.limits.timeout is not None and not had_started:
            self.set(Clock.DEADLINE, self.limits.timeout)
        self._keep_going(message)
        return event

    @property
    def _is_limited(self) -> bool:
        return self.phase is Phase.FOLLOWING and self.execution.started and self.outcome.stopped_by is None

    def _keep_going(self, message: wire.Message) -> None:
        """The code is not silent."""
        if self._is_limited and self.limits.idle_timeout is not None and message.parent == self.execution.msg_id:
            self.set(Clock.IDLE, self.limits.idle_timeout)

    def _look_for_gaps(self) -> None:
        """Wait for a number that is missing, or go on when it has come."""
        if self.source is Source.SOCKET and self.execution.has_gap:
            self.source = Source.WAITING
            self.set(Clock.GAP, GAP_GRACE)
        elif self.source is Source.WAITING and not self.execution.has_gap:
            self.source = Source.SOCKET
            self.clocks.pop(Clock.GAP, None)
            self._release()

    def _hold(self, message: wire.Message) -> None:
        if message.header.msg_id in self._ahead:
            _drop_up_to(self._ahead, message.header.msg_id)
            return
        text = message.content.get("text")
        self._held_bytes += len(text if isinstance(text, str) else msgspec.json.encode(message.content))
        self._held[message.header.msg_id] = message
        if self._held_bytes > HELD_BYTES:
            self.outcome.steps.append("the recording on the runtime was left behind")
            self._give_up_recording()

    def _release(self, end: str | None = None) -> None:
        """Show what was held: all of it, or what came before the message of that id, which is dropped.

        What the recording has passed and not brought, it had missed. A message whose id was damaged on the way is no
        such one: the recording brought it under its true id.
        """
        for message in _drop_up_to(self._held, end):
            if whole_id(message.header.msg_id) != end and not (end is not None and message.lost_its_id):
                self._show(message)
        if not self._held:
            self._held_bytes = 0

    def _show(self, message: wire.Message) -> None:
        """Show a message of the run, in its place."""
        self.last = message.header.msg_id
        self.seen += not message.is_piece
        event = self.learn(message)
        if event is not None and not isinstance(event, wire.InputRequested | wire.Dropped):
            self.do(ev.Show(event))

    # --- the recording ---

    def read_on(self) -> None:
        """The socket has lost something: from here on, take the output from what the runtime recorded."""
        self.outcome.dropped = True
        self.clocks.pop(Clock.GAP, None)
        if self.source in (Source.SOCKET, Source.WAITING):
            self.open()

    def open(self) -> None:
        """Open the recording behind what is known."""
        self.source = Source.OPENING
        self.seen_before = self.seen
        self.set(Clock.PULL, PULL_PAUSE)
        self.do(ev.OpenRecording(self.last))

    def pull(self) -> None:
        """Look at the recording, or open it first."""
        self.set(Clock.PULL, PULL_PAUSE)
        if self.source is Source.UNREACHABLE:
            self.open()
        elif self.source is Source.RECORDING:
            self.do(ev.Pull())

    def take_from_recording(
        self, event: ev.RecordingOpened | ev.RecordingLost | ev.RecordingUnreadable | ev.Pulled
    ) -> None:
        """Take an answer of the recording: show what is new, and note where output comes from next."""
        match event:
            case ev.RecordingOpened():
                self.source = Source.RECORDING
                self.set(Clock.PULL, 0)
            case ev.RecordingLost():
                self.source = Source.UNREACHABLE
                self.set(Clock.PULL, PULL_PAUSE)
            case ev.RecordingUnreadable(error=error):
                self.outcome.steps.append(f"the recording on the runtime cannot be read: {error.message}")
                self._give_up_recording()
            case ev.Pulled(messages=messages, end=end, more=more):
                self.set(Clock.PULL, 0 if more else PULL_PAUSE)
                for message in messages:
                    self._bring(message)
                self.end = end or self.end

    def _bring(self, message: wire.Message) -> None:
        """The recording has brought a message."""
        identity = message.header.msg_id
        if identity in self._held:
            self._release(identity)
        else:
            self._ahead[identity] = None
            if len(self._ahead) > AHEAD:
                del self._ahead[next(iter(self._ahead))]
        self._show(message)

    def _give_up_recording(self) -> None:
        self.source = Source.SOCKET_ONLY
        self.clocks.pop(Clock.PULL, None)
        self._release()


def _drop_up_to(ordered: dict[str, T], end: str | None) -> list[T]:
    """Remove what was put in up to that key, or everything; returns what it was."""
    dropped = []
    while ordered:
        key = next(iter(ordered))
        dropped.append(ordered.pop(key))
        if key == end:
            break
    return dropped
