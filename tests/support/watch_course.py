"""A `Watch` in virtual time, and a kernel's messages to feed it with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter import messages as wire
from lecoder_cgpu.jupyter import watch_events as ev
from lecoder_cgpu.jupyter.execution import Execution
from lecoder_cgpu.jupyter.execution_watch import Watch
from lecoder_cgpu.jupyter.outcome import Outcome
from lecoder_cgpu.jupyter.watch_limits import UNLIMITED, WatchLimits
from lecoder_cgpu.jupyter.watch_state import Phase, Source

RUN = "run-1"
OURS = "our-session"
DROP = errors.ConnectionFailed("the socket was closed")
AWAY = errors.ConnectionFailed("nobody answers")


def message(
    kind: str,
    number: int | None = None,
    *,
    channel: str = "iopub",
    parent: str = RUN,
    session: str = "",
    **content: Any,
) -> wire.Message:
    """A message of the kernel; `number` is its place among all that it sends."""
    return wire.Message(
        channel=channel,
        header=wire._Header(msg_id="k_1_1" if number is None else f"k_1_{number}", msg_type=kind),
        parent_header=wire._Header(msg_id=parent, session=session),
        content=content,
    )


def status(state: str, number: int | None = None, parent: str = RUN) -> wire.Message:
    return message("status", number, parent=parent, execution_state=state)


def stream(text: str, number: int | None = None) -> wire.Message:
    return message("stream", number, name="stdout", text=text)


def reply(number: int | None = None, **content: Any) -> wire.Message:
    return message("execute_reply", number, channel="shell", **{"status": "ok", **content})


BEGIN = (status("busy"), message("execute_input", execution_count=1))
ASKED = message("input_request", channel="stdin", prompt="name? ", password=False)


class Course:
    """A watch, and the moment that it is. What it wants done is kept in `todo`."""

    def __init__(self, limits: WatchLimits = UNLIMITED, *, recorded: bool = False) -> None:
        self.now = 1000.0
        self.outcome = Outcome(Execution(RUN), datetime.now(UTC))
        self.watch = Watch(self.outcome, limits, self.now, session_id=OURS, recorded=recorded)
        self.shown: list[wire.Event] = []
        self.todo: list[ev.Action] = []

    def give(self, *events: ev.Event | wire.Message) -> list[ev.Action]:
        """Let these happen now; returns what is to be done about them, outputs aside."""
        self.todo = []
        for event in events:
            happened = ev.Received(event) if isinstance(event, wire.Message) else event
            for action in self.watch.handle(happened, self.now):
                if isinstance(action, ev.Show):
                    self.shown.append(action.event)
                else:
                    self.todo.append(action)
        return self.todo

    def later(self, seconds: float) -> list[ev.Action]:
        """Let time pass, with a tick at each moment that the watch has named; returns what is to be done then."""
        until = self.now + seconds
        done: list[ev.Action] = []
        for _ in range(1000):
            wake_at = self.watch.wake_at
            if wake_at is None or wake_at > until:
                self.now = until
                return done
            self.now = max(self.now, wake_at)
            done += self.give(ev.Tick())
        raise AssertionError("it asks to be woken for nothing")

    def phase(self) -> Phase:
        """The phase of the watch."""
        return self.watch.phase

    def source(self) -> Source:
        """Where the watch takes output from."""
        return self.watch.source

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.shown if isinstance(event, wire.Stream))

    def begun(self) -> Course:
        """The same, with code that runs."""
        self.give(*BEGIN)
        return self

    def dropped(self) -> Course:
        """The same, with a new socket in place of one that dropped."""
        assert self.give(ev.Disconnected(DROP)) == [ev.Reconnect(DROP)]
        self.give(ev.Reconnected())
        return self


def numbered(*texts: str, first: int = 1) -> list[wire.Message]:
    """A run's messages, numbered as a kernel numbers them; the reply, which is no part of a recording, left out."""
    outputs = [stream(text, first + 2 + place) for place, text in enumerate(texts)]
    opening = [status("busy", first), message("execute_input", first + 1, execution_count=1)]
    note = message("lecoder_reply", first + len(texts) + 2, status="ok")
    return [*opening, *outputs, note, status("idle", first + len(texts) + 4)]
