"""Streams that are there whatever started us, and signals that wait until somebody can answer them.

A parent may start us with stdin, stdout or stderr closed. Then the next file or socket that is opened would take that
number, and what is meant for people would be written into it.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # signals that ask us to end


def release_signals() -> None:
    """Let signals through that `__main__` has held back, also those that came meanwhile."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def leave_to_system() -> None:
    """From now on a signal ends us at once: the answer is written, and nothing is to be said any more."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError, OSError):
                signal.signal(number, signal.SIG_DFL)


def repair() -> None:
    """Put something in the place of standard streams that are closed.

    A closed stdin is at its end, and what is written to a closed stderr is dropped: nobody wants to hear it. Writing
    an answer to a closed stdout fails, as it does for other programs.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        if not _is_open(number):  # then it is the lowest free number, which `open` takes
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
        binary = io.FileIO(number, "r" if name == "stdin" else "w", closefd=False)
        buffered = io.BufferedReader(binary) if name == "stdin" else io.BufferedWriter(binary)
        stream = io.TextIOWrapper(
            buffered, encoding="utf-8", errors="backslashreplace" if name == "stderr" else "surrogateescape"
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
