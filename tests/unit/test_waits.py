"""Waits are told on stderr, and leave stdout alone."""

from __future__ import annotations

import time

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.cli import output
from lecoder_cgpu.cli.output import Printer
from lecoder_cgpu.helper.documents import Process, RunState, Signal
from lecoder_cgpu.net import retry
from lecoder_cgpu.runs import endings
from tests.support.wait import wait_until


def test_a_wait_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is waited for and how long, again and again; nothing on stdout, and nothing for a short wait."""
    monkeypatch.setattr(output, "WAIT_LOOK", 0.02)
    printer = Printer("json")
    told: list[str] = []
    monkeypatch.setattr(printer, "note", told.append)
    with printer.waiting("starting it …"):
        wait_until(lambda: len(told) >= 2)
    assert told[0].startswith("starting it … 0 s")
    done = len(told)
    monkeypatch.setattr(output, "WAIT_LOOK", 60.0)
    with printer.waiting("quick …"):
        pass
    assert (len(told), capsys.readouterr().out) == (done, "")


def test_what_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that does not come back is told, with the reason."""
    told: list[str] = []
    monkeypatch.setattr(retry, "tell", told.append)
    monkeypatch.setattr(retry, "TELL_EVERY", 0.05)

    def fail() -> None:
        raise errors.ConnectionFailed("the line is dead", retryable=True)

    with pytest.raises(errors.ConnectionFailed):
        retry.reconnect(fail, again=lambda error: len(told) < 2, limit=30)
    assert [text.partition(": ")[2] for text in told[:2]] == ["the line is dead"] * 2


def test_a_job_that_takes_its_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, with what lives and the command that ends it; one that nobody has told to end is not."""
    monkeypatch.setattr(endings, "LOOK", 0.01)
    state = RunState(run="run-1", state="running")
    told: list[str] = []
    looks = iter(range(6))

    def follow(until: float | None) -> RunState | None:
        number = next(looks)
        if number == 2:
            state.signals.append(Signal(signal="SIGTERM", by="kill", at=""))
            state.remaining.append(Process(pid=7, command="python train.py"))
        return state if number == 5 else None

    endings.wait(follow, lambda: state, time.monotonic() + 60, told.append)
    (text,) = told
    assert "got SIGTERM" in text
    assert "7 python train.py lives" in text
    assert "job kill --escalate run-1" in text
