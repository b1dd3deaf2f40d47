"""Signals that end a program (Ctrl-C, SIGTERM, SIGHUP), kept back while something must not be torn apart."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
AGAIN = 0.02  # seconds after which a signal that a finalizer has met is sent again


class Unwatched(KeyboardInterrupt):
    """A signal came while nobody took care of a run that had been sent. How it ends is not known here.

    `run` is the run's id, `number` that of the signal.
    """

    def __init__(self, interrupt: KeyboardInterrupt, run: str) -> None:
        super().__init__(*interrupt.args)
        self.number = int(getattr(interrupt, "number", signal.SIGINT))
        self.run = run


def behind(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that an exception is, or was made from: Python before 3.12 makes a RuntimeError of one that comes
    while a class is created, as during an import. None when it is no interrupt."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ if isinstance(cause, RuntimeError) else None
    return cause


def raise_again(unraisable: Any) -> None:
    """For `sys.unraisablehook`: Python drops an exception that a finalizer raises, and shows where; a signal that
    arrives in one would be lost. It comes again when the finalizer is over."""
    error = unraisable.exc_value
    if not isinstance(error, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    number = signal.Signals(getattr(error, "number", signal.SIGINT))

    def again() -> None:
        time.sleep(AGAIN)
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, number)  # wakes it up, too
        else:
            _thread.interrupt_main(number)

    threading.Thread(target=again, daemon=True).start()


@contextlib.contextmanager
def naming(run: str) -> Iterator[None]:
    """Make each interrupt of the body one that names a run."""
    try:
        yield
    except Unwatched:
        raise
    except KeyboardInterrupt as interrupt:
        raise Unwatched(interrupt, run) from None


class Hold:
    """Keeps signals back while its block is executed, except within `open`. What was kept back is raised there, or at
    the end of the block. The second signal is not kept back: somebody does not want to wait.

    Python delivers signals to the main thread only, so in any other nothing is changed.
    """

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}
        self._kept: int | None = None
        self._is_open = False

    def __enter__(self) -> Hold:
        if threading.current_thread() is threading.main_thread():
            for name in NAMES:
                number = getattr(signal, name, None)
                if number is not None and callable(previous := signal.getsignal(number)):
                    self._previous[number] = previous
                    signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._raise_kept()

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._is_open or self._kept is not None:
            self._kept = None
            self._previous[number](number, frame)
        else:
            self._kept = number

    def _raise_kept(self) -> None:
        if self._kept is not None:
            number, self._kept = self._kept, None
            self._previous[number](number, None)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Let signals through, also the one that was kept back."""
        self._is_open = True
        try:
            self._raise_kept()
            yield
        finally:
            self._is_open = False
