"""How runs are shown in a pipe, while they go on."""

from __future__ import annotations

import io
from typing import Any

import pytest

from lecoder_cgpu.cli.live import KernelView, failure_text
from lecoder_cgpu.cli.output import Printer
from lecoder_cgpu.jupyter.messages import Clear, Display, Event, Failure, Stream
from lecoder_cgpu.models.base import ErrorInfo

WIDGET = "0123"


def shown(events: list[Event], ended_by: ErrorInfo | None = None) -> str:
    """What is on stdout at the end."""
    printer = Printer("human")
    written: Any = io.BytesIO()
    printer._out = written
    view = KernelView(printer)
    for event in events:
        view.show(event)
    view.finish(ended_by)
    return str(written.getvalue().decode())


def frame(text: str, widget: str | None = WIDGET) -> list[Event]:
    """One redraw, as rich sends it."""
    return [Clear(wait=True, widget=widget), Display({"text/plain": text}, {}, widget=widget)]


def test_a_bar_that_a_widget_redraws() -> None:
    """Its last state is printed, at the end, and not one line for each frame."""
    bar = [event for step in range(100) for event in (*frame(f"{step} %"), Stream("stdout", f"step {step}\n"))]
    lines = shown(bar).splitlines()
    assert lines == [*(f"step {step}" for step in range(100)), "99 %"]


def test_what_is_not_redrawn_comes_at_once() -> None:
    """Displays of a widget that was never cleared, and of no widget, keep their place."""
    one: list[Event] = [Display({"text/plain": "in"}, {}, widget=WIDGET), Stream("stdout", "print\n")]
    assert shown(one) == "in\nprint\n"
    assert shown([*frame("a", None), *frame("b", None), Stream("stdout", "c\n")]) == "a\nb\nc\n"


def test_widgets_keep_their_own() -> None:
    """Each clears what it has shown, several displays of one stay in their order, and the cell's are not touched."""
    events = [*frame("a"), *frame("b", "other"), Display({"text/plain": "c"}, {}, widget="other"), *frame("d")]
    assert shown(events).splitlines() == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("failure", "error", "printed"),
    [
        (Failure("", "1", []), "CommandFailed", ""),  # bash: the error says all that there is
        (Failure("E", "m", []), "E", ""),
        (Failure("E", "m", []), "TimeLimit", "E: m\n"),
        (Failure("E", "m", ["frames"]), "E", "frames\n"),
    ],
)
def test_the_last_failure_is_told_once(
    failure: Failure, error: str, printed: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """By the error that ends the run, if that tells of it."""
    shown([failure], ErrorInfo(name=error, message="m", category="runtime", description=""))
    assert capfdbinary.readouterr().err.decode() == printed


def test_a_message_is_never_left_out() -> None:
    """Some kernels have the message in the traceback, and some have not."""
    error = ErrorInfo(name="ERROR", message="boom", category="runtime", description="", traceback=["1. f()"])
    assert failure_text(error) == "1. f()\nERROR: boom"
    error.traceback = ["Error in f(): boom", "1. f()"]
    assert failure_text(error) == "Error in f(): boom\n1. f()"
    error.traceback = []
    assert failure_text(error) == ""
