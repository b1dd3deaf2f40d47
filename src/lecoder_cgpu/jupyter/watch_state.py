"""What the parts of a `Watch` share: what is known of the run, what is due when, and where its output comes from."""

from __future__ import annotations

from enum import Enum, auto

from . import messages as wire
from . import watch_events as ev
from .outcome import Outcome
from .watch_limits import WatchLimits

PULL_PAUSE = 0.2  # seconds between two looks at the recording while the run goes on, or between attempts to open it


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
        self._held: list[tuple[wire.Message, wire.Event | None]] = []  # until it is clear whether they are recorded

    def do(self, action: ev.Action) -> None:
        """Have something done about the event at hand."""
        self.actions.append(action)

    def set(self, clock: Clock, seconds: float) -> None:
        """Let a clock be due in so many seconds."""
        self.clocks[clock] = self.now + seconds

    def due(self, clock: Clock) -> bool:
        """Whether that clock is set, and its moment has come."""
        return clock in self.clocks and self.now >= self.clocks[clock]

    def close(self) -> None:
        """Nothing more is to be learnt."""
        self.phase = Phase.OVER
        self.clocks.clear()
        self.do(ev.CloseRecording())
        if self.execution.death is not None and not self.outcome.left:
            self.do(ev.AwaitKernel())

    # --- messages ---

    def learn(self, message: wire.Message) -> wire.Event | None:
        """Feed the execution with a message, from whichever source; time limits count from what it tells."""
        had_started = self.execution.started
        event = self.execution.receive(message)
        if self.phase is not Phase.FOLLOWING or not self.execution.started or self.outcome.stopped_by is not None:
            return event
        if self.limits.timeout is not None and not had_started:
            self.set(Clock.DEADLINE, self.limits.timeout)
        if self.limits.idle_timeout is not None and message.parent == self.execution.msg_id:
            self.set(Clock.IDLE, self.limits.idle_timeout)
        return event

    def show(self, message: wire.Message, event: wire.Event | None) -> None:
        """Show what came over the socket, unless the recording has it, too, behind what is missing here."""
        if message.channel == "iopub":
            if self.source is Source.OPENING:
                self._held.append((message, event))
                return
            if self.source in READING_ON:
                return
            if message.parent == self.execution.msg_id:
                self.last = message.header.msg_id
                self.seen += 1
        if event is not None:
            self.do(ev.Show(event))

    # --- the recording ---

    def read_on(self) -> None:
        """The socket has lost something: from here on, take the output from what the runtime recorded."""
        self.outcome.dropped = True
        if self.source is Source.SOCKET:
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
        held, self._held = self._held, []
        match event:
            case ev.RecordingOpened():
                self.source = Source.RECORDING
                self.set(Clock.PULL, 0)
            case ev.RecordingLost():
                self.source = Source.UNREACHABLE
                self.set(Clock.PULL, PULL_PAUSE)
            case ev.RecordingUnreadable(error=error):
                self.outcome.steps.append(f"the recording on the runtime cannot be read: {error.message}")
                self.source = Source.SOCKET_ONLY
                self.clocks.pop(Clock.PULL, None)
                for message, shown in held:
                    self.show(message, shown)
            case ev.Pulled(messages=messages, end=end):
                self.set(Clock.PULL, PULL_PAUSE)
                for message in messages:
                    self.last = message.header.msg_id
                    self.seen += 1
                    learnt = self.learn(message)
                    if learnt is not None and not isinstance(learnt, wire.InputRequested):
                        self.do(ev.Show(learnt))
                self.end = end or self.end
