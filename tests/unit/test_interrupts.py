"""Signals that are kept back while something must not be torn apart."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.system.interrupts import Hold, Unwatched, behind, naming, raise_again


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _usual_handler() -> object:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_a_signal_waits_until_it_is_let_through() -> None:
    done = []
    with Hold() as hold:
        interrupt()
        done.append("not torn apart")
        with pytest.raises(KeyboardInterrupt), hold.open():
            done.append("never")
        with pytest.raises(KeyboardInterrupt), hold.open():
            interrupt()
        done.append("goes on")
    assert done == ["not torn apart", "goes on"]


def work(done: list[str], interrupts: int, *, nested: bool = False) -> None:
    with Hold():
        with Hold() if nested else contextlib.nullcontext():
            for _ in range(interrupts):
                interrupt()
        done.append("all of it")


@pytest.mark.parametrize("nested", [False, True])
def test_what_was_kept_back_is_raised_at_the_end(nested: bool) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work(done, 1, nested=nested)
    assert done == ["all of it"]


def test_the_second_signal_is_not_kept_back() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work(done, 2)
    assert done == []


def test_another_thread_is_left_alone() -> None:
    found = []

    def look() -> None:
        with Hold() as hold, hold.open():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


class Interrupted:
    """As if a signal came while a class with it is created."""

    def __set_name__(self, owner: object, name: str) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_that_python_has_wrapped_is_one() -> None:
    with pytest.raises((RuntimeError, KeyboardInterrupt)) as caught:
        type("Made", (), {"field": Interrupted()})
    assert isinstance(behind(caught.value), KeyboardInterrupt)
    assert behind(RuntimeError("something else")) is None
    assert behind(ValueError()) is None


def test_an_interrupt_names_its_run() -> None:
    with pytest.raises(Unwatched) as caught, naming("other"), naming("run-1"):
        signal.raise_signal(signal.SIGINT)
    assert (caught.value.run, errors.interrupted_status(caught.value)) == ("run-1", 130)


def test_a_signal_that_a_finalizer_meets_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Closing:
        def __del__(self) -> None:
            interrupt()
            time.sleep(0)  # where Python raises

    monkeypatch.setattr(sys, "unraisablehook", raise_again)
    Closing()
    with pytest.raises(KeyboardInterrupt):
        time.sleep(5)
    assert capsys.readouterr().err == ""
