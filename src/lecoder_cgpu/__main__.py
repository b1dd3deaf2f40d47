"""`python -m lecoder_cgpu` and the two console scripts."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line and exit with its status."""
    if sys.argv[1:2] == ["__complete"]:  # a key was pressed, and its answer is waited for
        from .cli import completing

        completing.answer(sys.argv[2:])
        _leave(0)
    # Signals wait until `main` can answer them with a document: importing it takes a moment.
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    from .cli import standard_streams
    from .cli.main import main

    status = main(sys.argv[1:])
    standard_streams.leave_to_system()  # our handlers would raise in the middle of the interpreter's own end
    _leave(status)


def _leave(status: int) -> NoReturn:
    """Exit at once. Python would first take all that it has imported apart, object by object, which is a quarter of the
    processor time of a short command; the system frees it in one piece.

    What was registered for the exit is done, and a thread that must be waited for is left to Python.
    """
    import atexit
    import contextlib
    import os
    import threading

    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads; `main` has told what there was to tell
                stream.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
