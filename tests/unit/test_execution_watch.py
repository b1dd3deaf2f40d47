"""One execution watched in virtual time: every phase and every clock."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter import execution_end, execution_watch, watch_state
from lecoder_cgpu.jupyter import messages as wire
from lecoder_cgpu.jupyter import watch_events as ev
from lecoder_cgpu.jupyter.watch_limits import WatchLimits
from lecoder_cgpu.jupyter.watch_state import Phase, Source
from tests.support.watch_course import (
    ASKED,
    AWAY,
    BEGIN,
    DROP,
    OURS,
    RUN,
    Course,
    message,
    numbered,
    reply,
    status,
    stream,
)

NOTE = message("lecoder_reply", status="ok")


def end(course: Course) -> tuple[list[ev.Action], str | None]:
    """What is done at the end, and the execution's status."""
    assert course.phase() is Phase.OVER
    return course.todo, course.outcome.execution.status


# --- an ordinary run ---


@pytest.mark.parametrize("order", [("reply", "idle"), ("idle", "reply")])
def test_reply_and_idle_end_a_run(order: tuple[str, str]) -> None:
    """In whichever order they come; nothing else is asked or done."""
    last = {"reply": reply(), "idle": status("idle")}
    course = Course().begun()
    assert course.give(stream("hello"), last[order[0]]) == []
    assert course.phase() is Phase.FOLLOWING
    course.give(last[order[1]])
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert (course.text, course.outcome.dropped, course.outcome.unknown) == ("hello", False, False)


def test_what_others_do_is_not_ours() -> None:
    """Another client's end ends nothing, its output is not shown, and it puts off no question."""
    course = Course().begun()
    course.now += execution_watch.SILENCE - 1
    course.give(message("stream", parent="theirs", name="stdout", text="theirs"), status("idle", parent="theirs"))
    assert (course.phase(), course.text) == (Phase.FOLLOWING, "")
    assert course.later(1.5) == [ev.Probe()]


def test_an_aborted_request_ends_at_once() -> None:
    """Nothing of it was executed, and no idle need follow."""
    course = Course()
    course.give(reply(status="aborted"))
    assert end(course) == ([ev.CloseRecording()], "aborted")


def test_the_kernel_dies() -> None:
    """The run ends, and the new kernel is waited for, so that the next run meets it."""
    course = Course().begun()
    course.give(status("restarting", parent=""))
    assert end(course) == ([ev.CloseRecording(), ev.AwaitKernel()], None)
    assert course.outcome.execution.death == "the kernel died and was restarted by the server"


def test_the_kernel_dies_before_it_has_begun() -> None:
    """The new process may execute the request, so only the server's word that it does nothing ends the wait."""
    course = Course()
    course.give(status("restarting", parent=""))
    assert course.phase() is Phase.FOLLOWING
    assert course.later(execution_watch.PROBE_AFTER + 0.1) == [ev.Probe()]
    course.begun().give(reply(), status("idle"))
    assert (course.outcome.execution.status, course.outcome.execution.death) == ("ok", None)
    silent = Course()
    silent.give(status("restarting", parent=""), ev.KernelState("idle"))
    silent.later(execution_watch.SETTLE_GRACE + 0.1)
    assert (silent.outcome.execution.death or "").endswith("before anything of this run was seen")


# --- questions of the code ---


def test_input() -> None:
    """The user is asked, and the answer is sent."""
    course = Course().begun()
    assert course.give(ASKED) == [ev.Ask("name? ", False)]
    assert course.give(ev.Answered("Ada")) == [ev.SendInput("Ada")]
    assert course.outcome.stopped_by is None


def test_the_end_of_the_input_interrupts_the_code() -> None:
    """With nobody to answer, the code would wait for ever."""
    course = Course().begun()
    course.give(ASKED)
    assert course.give(ev.Answered(None)) == [ev.Interrupt()]
    assert (course.outcome.stopped_by, course.outcome.stops) == ("no-input", ["interrupt"])
    assert course.outcome.interrupted is None


def test_an_answer_that_could_not_be_sent_goes_over_the_next_socket() -> None:
    """Once: the user is not asked again, and the code does not hang."""
    course = Course().begun()
    course.give(ASKED)
    course.give(ev.Answered("Ada"))
    assert course.give(ev.Disconnected(DROP, "Ada")) == [ev.Reconnect(DROP)]
    assert course.give(ev.Reconnected()) == [ev.SendInput("Ada")]
    course.give(ev.Disconnected(DROP))
    assert course.give(ev.Reconnected()) == []


@pytest.mark.parametrize(
    ("parent", "session", "answered"),
    [(RUN, "", True), ("", OURS, True), ("theirs", "", False), ("", "theirs", False), ("theirs", OURS, False)],
)
def test_requests_beyond_jupyters_protocol(parent: str, session: str, answered: bool) -> None:
    """Every client of the kernel sees them; the one whose code asks answers."""
    course = Course().begun()
    asked = message("colab_request", parent=parent, session=session)
    assert course.give(asked) == ([ev.Respond(asked)] if answered else [])


# --- limits ---


def test_the_time_limit_counts_from_the_start_of_the_code() -> None:
    """While the code waits for other code, no time passes for it."""
    course = Course(WatchLimits(timeout=30))
    assert ev.Interrupt() not in course.later(100)
    course.begun()
    assert ev.Interrupt() not in course.later(29.9)
    assert ev.Interrupt() in course.later(0.2)
    assert (course.outcome.timed_out, course.outcome.stopped_by) == (True, "timeout")


def test_code_that_reacts_to_the_interrupt() -> None:
    """Its exception ends the run, which the limit ended."""
    course = Course(WatchLimits(timeout=1)).begun()
    assert course.later(1.1) == [ev.Interrupt()]
    course.give(ev.InterruptSent(), reply(status="error", ename="KeyboardInterrupt"), status("idle"))
    assert end(course) == ([ev.CloseRecording()], "error")
    assert course.outcome.stops == ["interrupt"]


def test_code_that_does_not_react_is_ended_with_its_kernel() -> None:
    """INTERRUPT_GRACE after the server has sent the interrupt."""
    course = Course(WatchLimits(timeout=1)).begun()
    course.later(1.1)
    course.now += 3  # the server takes its time
    course.give(ev.InterruptSent())
    assert ev.Restart() not in course.later(execution_watch.INTERRUPT_GRACE - 0.1)
    assert ev.Restart() in course.later(0.2)
    course.give(ev.RestartDone())
    assert end(course) == ([ev.CloseRecording(), ev.AwaitKernel()], None)
    assert course.outcome.stops == ["interrupt", "kernel restart"]
    assert "restarted" in str(course.outcome.execution.death)


def test_interrupts_and_restarts_that_fail() -> None:
    """It is said, and the end is unknown."""
    course = Course(WatchLimits(timeout=1), recorded=True).begun()
    course.later(1.1)
    course.give(ev.InterruptSent(AWAY))
    assert ev.Restart() in course.later(execution_watch.INTERRUPT_GRACE + 1)
    course.give(ev.RestartDone(AWAY))
    assert end(course) == ([ev.CloseRecording()], None)
    assert course.outcome.unknown
    assert [step for step in course.outcome.steps if "failed" in step] == [
        "the interrupt failed: nobody answers",
        "the restart failed: nobody answers",
    ]


def test_silence_of_the_code_has_a_limit_of_its_own() -> None:
    """Every message of the run puts it off; after an interrupt there is no other one."""
    course = Course(WatchLimits(idle_timeout=10))
    assert ev.Interrupt() not in course.later(60)  # it waits for other code
    course.begun()
    for _ in range(5):
        assert ev.Interrupt() not in course.later(9)
        course.give(stream("."))
    assert ev.Interrupt() in course.later(10)
    assert (course.outcome.stopped_by, course.outcome.timed_out) == ("idle-timeout", True)
    course.give(ev.InterruptSent(), stream("still here"))
    assert ev.Interrupt() not in course.later(execution_watch.INTERRUPT_GRACE - 1)
    assert ev.Restart() in course.later(2)


def test_a_start_that_the_recording_tells_of_counts_too() -> None:
    """The limit holds although the socket dropped before the code began."""
    course = Course(WatchLimits(timeout=10, idle_timeout=100), recorded=True).dropped()
    course.give(ev.RecordingOpened())
    assert ev.Pull() in course.later(0)
    course.give(ev.Pulled([*BEGIN]))
    assert ev.Interrupt() in course.later(10.1)


def test_watching_ends_when_it_was_told_to() -> None:
    """After `wait` seconds, whatever the code does; nothing is done to it."""
    course = Course(WatchLimits(wait=60), recorded=True).begun()
    course.later(59)
    assert course.phase() is Phase.FOLLOWING
    course.later(2)
    assert end(course) == ([ev.CloseRecording()], None)
    assert (course.outcome.left, course.outcome.unknown, course.outcome.stops) == (True, False, [])


# --- the user's interrupts ---


def test_the_first_interrupt_ends_the_code_and_the_second_the_watching() -> None:
    """And the outcome says that the code may still be running."""
    course = Course(recorded=True).begun()
    assert course.give(ev.UserInterrupt(130)) == [ev.Interrupt()]
    course.give(ev.InterruptSent())
    course.give(ev.UserInterrupt(143))
    assert end(course) == ([ev.CloseRecording()], None)
    assert (course.outcome.interrupted, course.outcome.unknown) == (143, True)
    assert course.outcome.steps[-1] == "stopped watching; the code may still be running"


def test_code_that_ignores_the_users_interrupt() -> None:
    """It has its grace, and is then ended with its kernel."""
    course = Course().begun()
    course.give(ev.UserInterrupt(130), ev.InterruptSent())
    assert ev.Restart() in course.later(execution_watch.INTERRUPT_GRACE + 0.1)
    assert not course.outcome.timed_out


def test_code_that_waits_for_its_turn_is_not_interrupted() -> None:
    """That would hit somebody else's."""
    course = Course()
    course.give(ev.UserInterrupt(130))
    assert end(course) == ([ev.CloseRecording()], None)
    assert course.outcome.unknown
    assert "queued" in course.outcome.steps[-1]


def test_detaching_leaves_the_code_alone() -> None:
    """With `detach`, the first interrupt only ends the watching."""
    course = Course(WatchLimits(detach=True)).begun()
    course.give(ev.UserInterrupt(129))
    assert end(course) == ([ev.CloseRecording()], None)
    assert (course.outcome.left, course.outcome.interrupted, course.outcome.stops) == (True, 129, [])


# --- one of reply and idle is lost ---


def test_a_reply_without_idle() -> None:
    """The end is taken for certain once nothing more comes."""
    course = Course().begun()
    course.give(reply())
    course.later(execution_watch.SETTLE_GRACE - 1)
    course.give(stream("late"))
    course.later(execution_watch.SETTLE_GRACE - 1)
    assert course.phase() is Phase.FOLLOWING
    course.later(1.1)
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert course.outcome.dropped
    assert course.text == "late"


def test_idle_without_a_reply_on_a_sound_socket() -> None:
    """The server is asked after silence; a kernel that is idle and owes a reply was replaced."""
    course = Course().begun()
    assert course.later(execution_watch.SILENCE + 0.1) == [ev.Probe()]
    course.give(ev.KernelState("idle"))
    course.later(execution_watch.SETTLE_GRACE + 0.1)
    assert end(course)[1] is None
    assert (course.outcome.execution.death, course.outcome.unknown) == ("the kernel was restarted", False)


def test_questions_become_rare() -> None:
    """A kernel that is busy is asked after 5 s, then 10, 20, 30, 30, …"""
    course = Course().begun()
    asked: list[float] = []
    began = course.now
    while course.now < began + 100:
        assert course.watch.wake_at is not None
        if course.later(course.watch.wake_at - course.now) == [ev.Probe()]:
            asked.append(course.now - began)
            course.give(ev.KernelState("busy"))
    assert asked == [5, 15, 35, 65, 95, 125]


def test_what_comes_after_all_proves_life() -> None:
    """`idle` as the server says may be older than what is on its way."""
    course = Course().begun()
    course.later(execution_watch.SILENCE + 0.1)
    course.give(ev.KernelState("idle"), stream("here"))
    course.later(execution_watch.SETTLE_GRACE * 2)
    assert course.phase() is Phase.FOLLOWING


@pytest.mark.parametrize("state", ["busy", "starting", None])
def test_no_other_state_ends_a_run(state: str | None) -> None:
    """Also not a server that cannot be asked."""
    course = Course().begun()
    course.later(execution_watch.SILENCE + 0.1)
    course.give(ev.KernelState(state))
    course.later(100)
    assert course.phase() is Phase.FOLLOWING


def test_a_kernel_that_the_server_does_not_know() -> None:
    """It is gone, and the run with it."""
    course = Course().begun()
    course.later(execution_watch.SILENCE + 0.1)
    course.give(ev.KernelGone())
    assert end(course)[0] == [ev.CloseRecording(), ev.AwaitKernel()]
    assert course.outcome.execution.death == "the kernel is gone"


# --- the socket drops ---


def test_a_drop_without_a_recording() -> None:
    """The run goes on over the new socket, and output may be missing."""
    course = Course().begun().dropped()
    course.give(stream("after"), reply(), status("idle"))
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert (course.text, course.outcome.dropped) == ("after", True)


def test_an_end_that_was_lost_with_the_socket_is_unknown() -> None:
    """Without a recording nobody knows how it ended, and nobody guesses."""
    course = Course().begun().dropped()
    assert course.later(execution_watch.PROBE_AFTER + 0.1) == [ev.Probe()]
    course.give(ev.KernelState("idle"))
    course.later(execution_watch.SETTLE_GRACE + 0.1)
    assert end(course) == ([ev.CloseRecording()], None)
    assert course.outcome.unknown
    assert course.outcome.steps[-1] == "the result was lost with the connection"


@pytest.mark.parametrize(
    ("failure", "problem"),
    [(AWAY, DROP), (errors.AuthError("who are you?"), errors.AuthError), (errors.UnknownFailure("?"), DROP)],
)
def test_a_server_that_stays_away(failure: errors.Error, problem: Any) -> None:
    """The end is unknown; what is told is what closed the socket, or that we are not known any more."""
    course = Course(recorded=True).begun()
    course.give(ev.Disconnected(DROP), ev.ReconnectFailed(failure, DROP))
    assert end(course)[1] is None
    assert course.outcome.unknown
    assert course.outcome.problem is problem or isinstance(course.outcome.problem, problem)


def test_a_server_without_our_kernel() -> None:
    """The kernel is gone."""
    course = Course().begun()
    course.give(ev.Disconnected(DROP))
    course.give(ev.ReconnectFailed(errors.NotFoundError("no such kernel"), DROP))
    assert end(course)[0] == [ev.CloseRecording(), ev.AwaitKernel()]
    assert course.outcome.execution.death == "the kernel is gone"


# --- the recording ---


def test_a_run_that_lost_its_beginning() -> None:
    """Every run begins with `busy`: without it, what came before the first message is read from the recording."""
    busy, began, one, two, *ending = numbered("one", "two")
    course = Course(recorded=True)
    assert course.give(two) == [ev.OpenRecording(None)]
    course.give(ev.RecordingOpened())
    course.give(ev.Pulled([busy, began, one, two, *ending], ev.RecordedEnd()))
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert (course.text, course.outcome.dropped) == ("onetwo", False)


def test_the_rest_comes_from_the_recording() -> None:
    """Behind the last message that came before the drop, and the recording's end is the run's."""
    busy, began, one, two, three, *ending = numbered("one", "two", "three")
    course = Course(recorded=True)
    course.give(busy, began, one)
    course.give(ev.Disconnected(DROP))
    assert course.give(ev.Reconnected()) == [ev.OpenRecording(one.header.msg_id)]
    assert course.source() is Source.OPENING
    assert course.give(ev.RecordingOpened()) == []
    assert course.source() is Source.RECORDING
    assert course.later(0) == [ev.Pull()]
    course.give(ev.Pulled([two]), three)  # what the new socket brings is in the recording, too
    assert course.text == "onetwo"
    assert course.later(watch_state.PULL_PAUSE) == [ev.Pull()]
    course.give(ev.Pulled([three, *ending], ev.RecordedEnd(passed=3)))
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert (course.text, course.outcome.dropped) == ("onetwothree", False)


def test_a_gap_on_a_sound_socket() -> None:
    """Messages are numbered: what is missing is read, and what came behind the gap is not shown twice."""
    busy, began, one, two, three, *ending = numbered("one", "two", "three")
    course = Course(recorded=True)
    assert course.give(busy, began, one, three) == []
    assert (course.text, course.source()) == ("one", Source.WAITING)
    assert course.later(watch_state.GAP_GRACE) == [ev.OpenRecording(one.header.msg_id)]
    course.give(ev.RecordingOpened())
    course.later(0)
    course.give(reply(7), *ending)
    assert course.phase() is Phase.READING
    assert course.later(0) == [ev.Pull()]
    course.give(ev.Pulled([two, three, *ending], ev.RecordedEnd(passed=3)))
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert (course.text, course.outcome.dropped) == ("onetwothree", False)


def test_a_gap_without_a_recording_is_told() -> None:
    """What came behind it is shown."""
    busy, began, one, _, three, *ending = numbered("one", "two", "three")
    course = Course()
    course.give(busy, began, one, three, reply(7), *ending)
    assert course.text == "onethree"
    assert course.outcome.dropped
    assert course.outcome.steps == ["1 messages of the kernel were lost on the way"]


def test_a_server_that_left_out_messages() -> None:
    """Its notice opens the recording, and is not shown when that has what was left out."""
    notice = message("stream", name="stderr", text="IOPub data rate exceeded.\n")
    course = Course(recorded=True).begun()
    assert course.give(notice) == [ev.OpenRecording("k_1_1")]
    course.give(ev.RecordingOpened())
    assert course.shown == []


def test_a_recording_that_cannot_be_read() -> None:
    """Output comes from the socket again, from the message on that told of the gap; it is incomplete."""
    busy, began, one, _, three, *ending = numbered("one", "two", "three")
    course = Course(recorded=True)
    course.give(busy, began, one, three)
    course.later(watch_state.GAP_GRACE)
    assert course.text == "one"
    course.give(ev.RecordingUnreadable(errors.UsageError("no recorder")))
    assert (course.text, course.source()) == ("onethree", Source.SOCKET_ONLY)
    course.give(reply(6), *ending)
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert course.outcome.dropped
    assert "the recording on the runtime cannot be read: no recorder" in course.outcome.steps


def test_a_recording_that_is_out_of_reach_is_tried_again() -> None:
    """With a pause, and behind what is known by then."""
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingLost())
    assert course.source() is Source.UNREACHABLE
    assert course.later(watch_state.PULL_PAUSE - 0.01) == []
    assert course.later(0.02) == [ev.OpenRecording("k_1_1")]
    course.give(ev.RecordingOpened())
    assert course.later(0) == [ev.Pull()]
    course.give(ev.Pulled([stream("one", 7)]))
    assert course.later(watch_state.PULL_PAUSE) == [ev.Pull()]
    course.give(ev.RecordingLost())
    assert course.later(watch_state.PULL_PAUSE) == [ev.OpenRecording("k_1_7")]


def test_messages_that_were_lost_unnoticed() -> None:
    """The recording has more up to the message where it was opened than were seen."""
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingOpened(), ev.Pulled([NOTE, status("idle")], ev.RecordedEnd(passed=4)))
    assert end(course)[1] == "ok"
    assert course.outcome.dropped
    assert "2 messages were lost unnoticed" in course.outcome.steps


def test_an_incomplete_recording() -> None:
    """What the recorder left out is told."""
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingOpened())
    course.give(ev.Pulled([NOTE, status("idle")], ev.RecordedEnd(incomplete=True, bytes_dropped=5, passed=2)))
    assert end(course)[1] == "ok"
    assert (course.outcome.dropped, course.outcome.bytes_dropped) == (True, 5)


def test_a_recording_without_an_end() -> None:
    """It is read for as long as something comes, and while the recorder is behind."""
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingOpened(), reply(), status("idle"))
    assert course.phase() is Phase.READING
    assert course.later(0) == [ev.Pull()]
    course.now += execution_end.PULL_PATIENCE * 2  # a slow line
    course.give(ev.Pulled([stream("one", 5)]))
    assert course.later(0) == [ev.Pull()]
    for _ in range(3):
        course.give(ev.Pulled([]))
        assert course.later(execution_end.READ_PAUSE) == [ev.Pull()]
    for _ in range(3):
        assert ev.CheckCoverage() in course.later(execution_end.PULL_PATIENCE)
        course.give(ev.CoverageKnown(False))
    assert course.phase() is Phase.READING
    assert ev.CheckCoverage() in course.later(execution_end.PULL_PATIENCE)
    course.give(ev.CoverageKnown(True))
    assert course.later(0) == [ev.Pull()]
    course.later(execution_end.SETTLED_PATIENCE)
    assert course.phase() is Phase.OVER
    assert (course.text, course.outcome.execution.status, course.outcome.dropped) == ("one", "ok", True)


def test_a_number_that_comes_late() -> None:
    """A result is numbered before the streams that it flushes. Nothing is lost, and nothing is read."""
    course = Course(recorded=True)
    busy, began = numbered()[:2]
    result = message("execute_result", 3, data={"text/plain": "7"}, execution_count=1)
    course.give(busy, began, stream("a", 4))
    assert (course.shown, course.source()) == ([], Source.WAITING)
    assert course.give(result) == []
    assert (course.text, len(course.shown), course.source()) == ("a", 2, Source.SOCKET)
    course.give(message("lecoder_reply", 5, status="ok"), reply(6), status("idle", 7))
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert (course.outcome.dropped, course.outcome.steps) == (False, [])


@pytest.mark.parametrize("recorded", [True, False])
def test_a_number_that_was_used_for_nothing(recorded: bool) -> None:
    """The kernel says so at the end; what came behind it is shown then at the latest."""
    course = Course(recorded=recorded)
    course.give(*numbered()[:2], stream("a", 4), message("lecoder_reply", 5, status="ok", unsent=1))
    assert course.text == "a"
    course.give(reply(6), status("idle", 7))
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert (course.outcome.dropped, course.outcome.steps) == (False, [])


@pytest.mark.parametrize("opened", [True, False])
def test_what_came_over_the_socket_is_kept(opened: bool) -> None:
    """A recording that does not bring it again, or that cannot be reached, costs nothing but what was lost."""
    busy, began, one, _, three, *ending = numbered("one", "two", "three")
    course = Course(recorded=True)
    course.give(busy, began, one, three)
    course.later(watch_state.GAP_GRACE)
    course.give(ev.RecordingOpened() if opened else ev.RecordingLost(), reply(7), *ending)
    for _ in range(execution_end.QUESTIONS + 1):
        course.later(execution_end.PULL_PATIENCE)
        course.give(ev.CoverageKnown(False))
    course.later(execution_end.PULL_PATIENCE)
    assert end(course)[1] == "ok"
    assert (course.text, course.outcome.dropped) == ("onethree", True)


def test_a_recorder_that_missed_what_the_socket_brought() -> None:
    """What only one of the two has is shown in its place, and the output is complete."""
    busy, began, one, two, three, four, *ending = numbered("one", "two", "three", "four")
    course = Course(recorded=True)
    course.give(busy, began, one, three, four)
    course.later(watch_state.GAP_GRACE)
    course.give(ev.RecordingOpened(), reply(8), *ending)
    course.later(0)
    course.give(ev.Pulled([two, four, *ending], ev.RecordedEnd(incomplete=True, passed=3)))
    assert end(course)[1] == "ok"
    assert (course.text, course.outcome.dropped) == ("onetwothreefour", False)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_message_whose_id_was_damaged_is_shown_once(ahead: bool) -> None:
    """The recording brings it under its true id; the socket may bring it before that, or after."""
    busy, began, one, two, three, four, *ending = numbered("one", "two", "three", "four")
    damaged = msgspec.structs.replace(two, header=wire._Header(msg_id="k_\ufffd", msg_type="stream"), repaired=True)
    course = Course(recorded=True)
    course.give(busy, began, one)
    if ahead:
        course.give(ev.Disconnected(DROP), ev.Reconnected(), ev.RecordingOpened(), ev.Pulled([two]))
        course.give(damaged, three, four, reply(8), *ending)
    else:
        course.give(damaged, three, four, reply(8), *ending, ev.RecordingOpened(), ev.Pulled([two]))
    course.give(ev.Pulled([three, four, *ending], ev.RecordedEnd(passed=3)))
    assert end(course)[1] == "ok"
    assert (course.text, course.outcome.dropped) == ("onetwothreefour", False)


def test_a_damaged_message_that_no_recording_brings_again_is_shown() -> None:
    """What is left of it is better than nothing, and the run does not count as complete."""
    busy, began, one, two, *ending = numbered("one", "two")
    damaged = msgspec.structs.replace(two, header=wire._Header(msg_id="k_\ufffd", msg_type="stream"), repaired=True)
    course = Course(recorded=True)
    course.give(busy, began, one, damaged, ev.RecordingUnreadable(errors.NotFoundError("gone")), reply(6), *ending)
    assert end(course)[1] == "ok"
    assert (course.text, course.outcome.dropped) == ("onetwo", True)


def test_a_dead_kernel_records_no_end() -> None:
    """It is not waited for long."""
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingOpened(), status("dead", parent=""))
    course.later(execution_end.DEATH_PATIENCE + 0.1)
    assert end(course)[0] == [ev.CloseRecording(), ev.AwaitKernel()]


def test_a_recording_that_was_opened_late_is_read() -> None:
    """Opening it may take longer than patience lasts."""
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingLost(), reply(), status("idle"))
    assert course.later(0) == [ev.OpenRecording("k_1_1")]
    course.now += execution_end.PULL_PATIENCE * 3
    course.give(ev.RecordingOpened())
    assert course.give(ev.Tick()) == [ev.Pull()]


def test_the_recording_knows_the_end_that_the_socket_lost() -> None:
    """The kernel is idle and no reply came: the recording's end says how the run ended, the exception included."""
    raised = message("error", ename="KeyError", evalue="'x'", traceback=[])
    failed = message("lecoder_reply", status="error", ename="KeyError", evalue="'x'", traceback=[])
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingOpened())
    course.give(ev.KernelState("idle"), ev.Pulled([]))
    course.later(execution_watch.SETTLE_GRACE + 0.1)
    assert (course.phase(), course.outcome.unknown) == (Phase.READING, True)
    course.give(ev.Pulled([raised, failed, status("idle")], ev.RecordedEnd(passed=2)))
    assert end(course)[1] == "error"
    assert not course.outcome.unknown


def test_the_user_stops_the_reading() -> None:
    """What is known by then is told."""
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingOpened(), reply(), status("idle"))
    course.give(ev.UserInterrupt(130))
    assert end(course) == ([ev.CloseRecording()], "ok")
    assert (course.outcome.interrupted, course.outcome.dropped) == (130, True)
    assert course.outcome.steps[-1] == "stopped reading what was recorded"


def test_the_user_stops_the_waiting_for_a_new_kernel() -> None:
    """The run is over by then."""
    course = Course().begun()
    course.give(status("dead", parent=""))
    assert course.give(ev.UserInterrupt(130)) == []
    assert course.outcome.steps[-1] == "stopped waiting for the kernel"


# --- a request that was lost ---


def lost_request() -> Course:
    """The socket dropped before anything came, and the kernel is idle."""
    course = Course(recorded=True).dropped()
    course.give(ev.RecordingOpened(), ev.KernelState("idle"))
    course.later(execution_watch.SETTLE_GRACE + 0.1)
    assert course.phase() is Phase.CHECKING
    assert ev.CheckCoverage() in course.todo
    return course


def test_a_request_that_never_arrived() -> None:
    """The recorder was there all the time and has seen nothing: the code was not executed."""
    course = lost_request()
    assert course.give(ev.CoverageKnown(True)) == [ev.Pull()]
    assert course.phase() is Phase.CONFIRMING
    course.give(ev.Pulled([]))
    assert end(course) == ([ev.CloseRecording()], None)
    outcome = course.outcome
    assert (outcome.never_begun, outcome.unknown, outcome.dropped) == (True, False, False)


@pytest.mark.parametrize("error", [None, AWAY])
def test_a_recorder_that_came_later_proves_nothing(error: errors.Error | None) -> None:
    """Nor one that cannot be asked: the end is unknown."""
    course = lost_request()
    course.give(ev.CoverageKnown(False, error))
    assert course.phase() is Phase.READING
    course.later(execution_end.PULL_PATIENCE + 1)
    assert course.phase() is Phase.OVER
    assert (course.outcome.never_begun, course.outcome.unknown) == (False, True)


@pytest.mark.parametrize("raised", [[], [message("error", ename="KeyError", evalue="'x'", traceback=[])]])
def test_a_recording_without_the_reply(raised: list[Any]) -> None:
    """What was shown says nothing of the verdict: it is unknown, and neither a success nor a failure."""
    course = Course(recorded=True).begun().dropped()
    course.give(ev.RecordingOpened())
    course.give(ev.KernelState("idle"), ev.Pulled([]))
    course.later(execution_watch.SETTLE_GRACE + 0.1)
    course.give(ev.Pulled([*raised, status("idle")], ev.RecordedEnd(passed=2)))
    assert end(course)[1] is None
    assert course.outcome.unknown


def test_a_request_that_arrived_after_all() -> None:
    """The last look finds it in the recording."""
    course = lost_request()
    course.give(ev.CoverageKnown(True), ev.Pulled([*BEGIN]))
    assert course.phase() is Phase.READING
    course.give(ev.Pulled([NOTE, status("idle")], ev.RecordedEnd()))
    assert end(course)[1] == "ok"
    assert not course.outcome.never_begun


@pytest.mark.parametrize("confirming", [False, True])
@pytest.mark.parametrize("event", [ev.RecordingLost(), ev.RecordingUnreadable(AWAY), None])
def test_a_recording_that_is_lost_meanwhile(confirming: bool, event: ev.Event | None) -> None:
    """Then nothing is proved; an answer that never comes (None) is not waited for, either."""
    course = lost_request()
    if confirming:
        course.give(ev.CoverageKnown(True))
    if event is not None:
        course.give(event)
    course.later(execution_end.PULL_PATIENCE * 3)
    assert course.phase() is Phase.OVER
    assert (course.outcome.never_begun, course.outcome.unknown) == (False, True)


def test_a_recording_that_must_be_opened_again_first() -> None:
    """The question waits for it."""
    course = Course(recorded=True).dropped()
    course.give(ev.RecordingLost(), ev.KernelState("idle"))
    course.now += execution_watch.SETTLE_GRACE
    for _ in range(3):  # a pull is due as well, and comes first
        course.give(ev.Tick())
        if course.phase() is Phase.CHECKING:
            break
    assert course.phase() is Phase.CHECKING
    assert course.give(ev.RecordingOpened()) == [ev.CheckCoverage()]
