"""What holds of a watched execution whatever happens to its kernel, its socket, its recording and its user."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.jupyter import messages as wire
from lecoder_cgpu.jupyter import watch_events as ev
from lecoder_cgpu.jupyter.watch_limits import WatchLimits
from lecoder_cgpu.jupyter.watch_state import Phase
from tests.support.watch_course import AWAY, DROP, Course, message, numbered, reply, status


class World:
    """A kernel, a socket that fails, a recorder and a user, as hypothesis draws them. All of it is simulated: the
    watch sees events only, and what it concludes is compared with what really happened."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.recorded = self.draw(st.booleans())
        self.arrives = self.draw(st.booleans()) or self.draw(st.booleans())  # the request, at the kernel
        self.raises = self.draw(st.booleans())
        texts = [f"<{number}>" for number in range(self.draw(st.integers(0, 6)))]
        wait = self.draw(st.sampled_from([None, None, 20.0]))
        limits = WatchLimits(
            timeout=self.draw(st.sampled_from([None, None, 10.0])),
            idle_timeout=self.draw(st.sampled_from([None, None, 5.0])),
            wait=wait,
            detach=self.draw(st.booleans()),
        )
        self.limits = limits
        self.course = Course(limits, recorded=self.recorded)
        self.messages = self._published(texts) if self.arrives else []
        self.published = 0  # how many of the messages the kernel has sent
        self.queue: list[wire.Message] = []  # of the socket
        self.connected = True
        self.was_cut = False
        self.alive = True
        self.position = 0  # in the recording
        self.open = False
        self.received_reply = self.read_end = False
        self.interrupts = 0

    def _published(self, texts: list[str]) -> list[wire.Message]:
        messages = numbered(*texts)[:-2]
        if len(texts) > 1 and self.draw(st.booleans()):  # a result is numbered before the stream that it flushes
            messages[-1].header, messages[-2].header = messages[-2].header, messages[-1].header
        if self.draw(st.booleans()):  # what is shown says nothing of how the code ends
            messages.append(message("error", len(messages) + 1, ename="KeyError", evalue="'x'", traceback=[]))
        ends: dict[str, str] = {"status": "error" if self.raises else "ok", "ename": "KeyError"}
        messages.append(message("lecoder_reply", len(messages) + 1, **ends))
        messages.append(reply(len(messages) + 1, **ends))
        return [*messages, status("idle", len(messages) + 1)]

    @property
    def record(self) -> list[wire.Message]:
        """What the recorder has by now."""
        return [item for item in self.messages[: self.published] if item.channel == "iopub"]

    def step(self, *, calm: bool) -> None:
        """Let something happen: by chance, or only what must in the end."""
        choices = ["time", "publish", "deliver"]
        if not calm:
            choices += ["publish", "deliver", "lose", "cut", "user"]
        what = self.draw(st.sampled_from(choices)) if not calm else "time"
        if (what == "publish" or calm) and self.alive and self.published < len(self.messages):
            self.queue.append(self.messages[self.published])
            self.published += 1
        if what == "lose" and self.queue:
            self.queue.pop(0)
        if what == "cut" and self.connected:
            self.connected, self.was_cut = False, True
            self.queue.clear()
            self.act(ev.Disconnected(DROP))
        if what == "user":
            self.interrupts += 1
            self.act(ev.UserInterrupt(130))
        if (what == "deliver" or calm) and self.queue and self.connected:
            item = self.queue.pop(0)
            self.received_reply |= item.type == "execute_reply"
            self.act(item)
        if what == "time":
            wake_at = self.course.watch.wake_at
            if wake_at is not None:
                self.course.now = max(self.course.now, wake_at)
            self.act(ev.Tick())

    def act(self, event: ev.Event | wire.Message) -> None:
        """Let that happen, and do what is wanted about it."""
        todo = self.course.give(event)
        while todo:
            answer = self.answer(todo.pop(0))
            if answer is not None:
                todo += self.course.give(answer)

    def answer(self, action: ev.Action) -> ev.Event | None:
        lucky = self.draw(st.sampled_from([True, True, True, False]))
        match action:
            case ev.Reconnect(cause=cause):
                if not lucky:
                    return ev.ReconnectFailed(AWAY, cause)
                self.connected = True
                return ev.Reconnected()
            case ev.Interrupt():
                return ev.InterruptSent(None if lucky else AWAY)
            case ev.Restart():
                self.alive = not lucky
                return ev.RestartDone(None if lucky else AWAY)
            case ev.Probe():
                busy = 0 < self.published < len(self.messages)
                return ev.KernelState("busy" if busy else "idle") if lucky else ev.KernelState(None)
            case ev.OpenRecording(after=after):
                if not lucky:
                    return ev.RecordingLost()
                ids = [item.header.msg_id for item in self.record]
                self.position = ids.index(after) + 1 if after is not None else 0
                self.passed = self.position
                self.open = True
                return ev.RecordingOpened()
            case ev.Pull():
                if not (lucky and self.open):
                    self.open = False
                    return ev.RecordingLost()
                new = self.record[self.position :][: self.draw(st.integers(1, 3))]
                self.position += len(new)
                if new and new[-1].content.get("execution_state") == "idle":
                    self.read_end = True
                    return ev.Pulled(new, ev.RecordedEnd(passed=self.passed))
                return ev.Pulled(new)
            case ev.CheckCoverage():
                return ev.CoverageKnown(lucky)
        return None


@given(st.data())
def test_what_holds_whatever_happens(data: st.DataObject) -> None:
    """It ends. Every output is shown once, in order. What is said to be complete is complete, and how the run is said
    to have ended is how it ended; a run that never began is not said to have ended well."""
    world = World(data)
    course, outcome = world.course, world.course.outcome
    for _ in range(data.draw(st.integers(0, 30))):
        if course.phase() is not Phase.OVER:
            world.step(calm=False)
    began = course.now
    for _ in range(3000):
        if course.phase() is Phase.OVER:
            break
        world.step(calm=True)
    assert course.phase() is Phase.OVER
    assert course.now - began < 200
    assert course.watch.wake_at is None
    everything = [item.content["text"] for item in world.messages if item.type == "stream"]
    shown = [event.text for event in course.shown if isinstance(event, wire.Stream)]
    assert shown == [text for text in everything if text in shown]
    execution = outcome.execution
    concluded = not (outcome.unknown or outcome.left or execution.death) and not outcome.never_begun
    if concluded:
        assert world.received_reply or world.read_end
        assert execution.status == ("error" if world.raises else "ok")
        if not outcome.dropped:
            assert shown == everything
    if outcome.never_begun:
        assert not world.arrives or world.published == 0
        assert world.was_cut
    if outcome.left:
        assert world.limits.wait is not None or world.limits.detach
    if outcome.stopped_by == "interrupt":
        assert world.interrupts
    assert not outcome.timed_out or world.limits.timeout or world.limits.idle_timeout
