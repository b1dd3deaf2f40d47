"""What a call has begun on the runtime, so that another thread, or a cancelled task, can end just that."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from .. import errors

if TYPE_CHECKING:
    from ..files.transfer import Progress
    from ..runs.jobs import Jobs
    from .session_base import SessionBase

__all__ = ["Work", "awaited", "noted", "sending"]

T = TypeVar("T")

STOP_WITHIN = 15.0  # seconds to end the work of a task that was cancelled
HARDER_AFTER = 5.0  # seconds that a program has to end before it gets the next harder signal
LOOK = 0.2  # seconds between two attempts to interrupt code whose turn has not come

_work: ContextVar[Work | None] = ContextVar("work", default=None)


class Work:
    """The run that one call is about, once it is sent."""

    def __init__(self, *, leave: bool = False) -> None:
        self._lock = threading.Lock()
        self._leave = leave
        self._sent: tuple[SessionBase, str] | None = None
        self._stopped = False
        self.over = False  # the call has returned, so that nothing more of it can arrive

    def begin(self, session: SessionBase, run: str) -> None:
        """It is sent now.

        Raises:
            KeyboardInterrupt: it was stopped before that.
        """
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            self._sent = session, run

    def checking(self, progress: Progress | None) -> Progress:
        """The same progress, which ends the transfer that tells of it once this is stopped."""

        def tell(files: int, size: int) -> None:
            if self._stopped:
                raise KeyboardInterrupt
            if progress is not None:
                progress(files, size)

        return tell

    def stop(self) -> None:
        """Interrupt it, wherever it is: not sent yet, waiting for the kernel, or executed. With `leave`, what was sent
        goes on."""
        with self._lock:
            self._stopped = True
            sent = self._sent
        if sent is None or self._leave:
            return
        (session, run), deadline = sent, time.monotonic() + STOP_WITHIN
        with session._jobs() as known:
            while not self._ends(known, run) and time.monotonic() < deadline:
                time.sleep(LOOK)

    def _ends(self, known: Jobs, run: str) -> bool:
        """Whether it was told to end, or nothing of it is there to be told."""
        try:
            state = known.find(run)
            if state.ended:
                return True
            return known.kill(run, "SIGINT", escalate=state.kind != "kernel", grace=HARDER_AFTER).sent is True
        except errors.NotFoundError:
            return self.over


@contextlib.contextmanager
def noted(work: Work) -> Iterator[None]:
    """What the body begins in this thread is that work."""
    token = _work.set(work)
    try:
        yield
    finally:
        _work.reset(token)


def sending(session: SessionBase) -> Callable[[str], None]:
    """What is to be told of a run of that session, by its id, before it is sent: the work of the present call."""
    work = _work.get()
    return (lambda run: None) if work is None else lambda run: work.begin(session, run)


async def awaited(call: Callable[[], T], work: Work) -> T:
    """A blocking call, in a thread of its own; under asyncio or trio. A task that is cancelled ends the work."""
    import anyio  # late: 25 ms

    def do() -> T:
        try:
            with noted(work):
                return call()
        finally:
            work.over = True

    try:
        return await anyio.to_thread.run_sync(do, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(STOP_WITHIN, shield=True):
            await anyio.to_thread.run_sync(work.stop, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        raise
