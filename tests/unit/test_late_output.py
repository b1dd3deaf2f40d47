"""Output that a kernel sends after `idle`, where its messages have no numbers that would tell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from lecoder_cgpu.jupyter import late_output
from lecoder_cgpu.jupyter import messages as wire
from lecoder_cgpu.jupyter import watch_events as ev
from lecoder_cgpu.jupyter.watch_state import Phase
from tests.support.watch_course import DROP, Course, message

_ids: Iterator[int] = count()
SIGN = "sign"


def plain(kind: str, *, channel: str = "iopub", parent: str = "run-1", **content: Any) -> wire.Message:
    """A message with an id as most kernels make them."""
    made = message(kind, channel=channel, parent=parent, **content)
    made.header.msg_id = f"7e1c0ffe-{next(_ids):04d}"
    return made


def ended() -> Course:
    """A run whose reply and `idle` have come, of a kernel that was asked for a sign."""
    course = Course()
    course.give(plain("status", execution_state="busy"), plain("execute_input", execution_count=1))
    asked = course.give(plain("status", execution_state="idle"), plain("execute_reply", channel="shell", status="ok"))
    assert asked == [ev.AskForSign()]
    course.give(ev.SignAsked(SIGN))
    return course


def output(text: str) -> wire.Message:
    return plain("stream", name="stdout", text=text)


def sign(name: str = SIGN) -> wire.Message:
    return plain("status", parent=name, execution_state="idle")


def test_a_quiet_kernel_is_left_soon() -> None:
    course = ended()
    course.give(sign())
    assert course.phase() is Phase.FOLLOWING
    course.later(late_output.QUIET)
    assert course.phase() is Phase.OVER
    assert not course.outcome.dropped


def test_what_comes_late_is_shown() -> None:
    """And the kernel is asked once more: it may not have sent all of it."""
    course = ended()
    course.give(output("a"))
    course.later(late_output.QUIET)
    assert course.give(sign()) == [ev.AskForSign()]
    course.give(ev.SignAsked("again"), output("b"))
    assert course.give(sign("again")) == [ev.AskForSign()]
    course.give(ev.SignAsked("and again"), sign("and again"))
    course.later(late_output.QUIET_LATER)
    assert (course.phase(), course.text, course.outcome.dropped) == (Phase.OVER, "ab", False)


def test_a_kernel_that_never_stops() -> None:
    """It is not waited for any longer, and nobody says that everything came."""
    course = ended()
    for _ in range(110):
        course.later(late_output.QUIET)
        course.give(output("x"))
    assert course.phase() is Phase.OVER
    assert course.outcome.dropped


@pytest.mark.parametrize("how", ["silence", "interrupt", "closed"])
def test_a_kernel_that_gives_no_sign(how: str) -> None:
    """Other code may be executed there already."""
    course = ended()
    if how == "silence":
        course.later(late_output.LATE_WITHIN)
    elif how == "interrupt":
        course.give(ev.UserInterrupt(130))
        assert course.outcome.interrupted == 130
    else:
        assert course.give(ev.Disconnected(DROP)) == [ev.Reconnect(DROP)]
        course.give(ev.Reconnected())
        course.later(late_output.LATE_WITHIN)
    assert course.phase() is Phase.OVER
    assert course.outcome.dropped == (how == "closed")
    assert course.outcome.execution.status == "ok"
