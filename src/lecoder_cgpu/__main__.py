"""`python -m lecoder_cgpu` and the two console scripts."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` is half of what a prepared command costs
if TYPE_CHECKING:
    from typing import NoReturn


def run() -> NoReturn:
    """Run the command line and exit with its status."""
    if sys.argv[1:2] == ["__complete"]:  # a key was pressed, and its answer is waited for
        from .cli import completing

        completing.answer(sys.argv[2:])
        _leave(0)
    if sys.argv[1:2] == ["__prepared"]:
        from .warm import server

        server.serve(_handed_over)
        _leave(0)
    if sys.argv[1:2] == ["__kept"]:
        from .net import socket_holder

        socket_holder.serve()
        _leave(0)
    if "LECODER_CGPU_WARM" in os.environ:
        from .warm import client

        status = client.answer(sys.argv[1:])
        if status is not None:
            os._exit(status)
    _leave(_command())


def _handed_over(run: str) -> int:
    """Do what `sys.argv` says, with this id for its run: who waits for us knows it."""
    from .jupyter import messages

    messages.reserve_run_id(run)
    status = _command()
    _open_wanted()
    return status


def _open_wanted() -> None:
    """Have the connections opened for the next command that this one has missed."""
    if "lecoder_cgpu.net.kept_sockets" in sys.modules:
        from .net import kept_sockets

        kept_sockets.open_wanted()


def _command() -> int:
    """Do what `sys.argv` says."""
    import signal

    # Signals wait until `main` can answer them with a document: importing it takes a moment.
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    from .cli import standard_streams
    from .cli.main import main

    status = main(sys.argv[1:])
    standard_streams.leave_to_system()  # our handlers would raise in the middle of the interpreter's own end
    return status


def _leave(status: int) -> NoReturn:
    """Exit at once. Python would first take all that it has imported apart, object by object, which is a quarter of the
    processor time of a short command; the system frees it in one piece.

    What was registered for the exit is done, and a thread that must be waited for is left to Python.
    """
    import atexit
    import contextlib
    import threading

    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads; `main` has told what there was to tell
                stream.flush()
        if "LECODER_CGPU_WARM" in os.environ:
            from .warm import client

            client.prepare()
            _open_wanted()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
