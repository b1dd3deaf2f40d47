"""`AsyncClient` and `AsyncSession`: the library under asyncio or trio, with the same methods.

Each call is that of the synchronous class, in a thread of its own. A task that is cancelled ends what its call has
begun on the runtime, and that alone; with `on_disconnect="detach"` it is left running. Waiting for a job never ends the
job. What a method means and raises is said at the class that it comes from. Type checkers read `aio.pyi`, which is
generated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Any, Generic, Self, TypeVar

from . import running
from .arguments import checked_as
from .client import Client
from .job import Job
from .session import Session
from .stream import Stream

__all__ = ["AsyncClient", "AsyncJob", "AsyncSession", "AsyncStream"]

S = TypeVar("S")

MOVES = ("upload", "download", "sync")  # they end at the next file or piece when their task is cancelled
OVER = ("exited", "unknown", "lost", "waiting")  # states of a job that nobody needs to wait for
WAITED = 5.0  # seconds after which a thread that waits for a job looks whether its task is still there
_END = object()


class _Async(Generic[S]):
    """What stands for an object of the library, which is `blocking`."""

    def __init__(self, blocking: S) -> None:
        self.blocking = blocking

    def __repr__(self) -> str:
        return f"Async{self.blocking!r}"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.blocking == self.blocking

    def __hash__(self) -> int:
        return hash(self.blocking)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "blocking":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        found = getattr(self.blocking, name)
        return self._awaitable(found) if callable(found) else _async(found)

    def _awaitable(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        async def call(*args: Any, **options: Any) -> Any:
            work = running.Work(leave=options.get("on_disconnect") == "detach")
            if method.__name__ in MOVES:
                options["progress"] = work.checking(options.get("progress"))
            return _async(await running.awaited(lambda: method(*args, **options), work))

        return call


class _Kept(_Async[S]):
    """One that is left without giving a runtime back."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *problem: object) -> None:
        leave: Callable[..., None] = getattr(self.blocking, "__exit__")  # noqa: B009 - `S` has no bound
        await running.awaited(lambda: leave(*problem), running.Work())


class AsyncClient(_Kept[Client]):
    """`Client`, awaited."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(Client(*args, **options))


class AsyncSession(_Kept[Session]):
    """`Session`, awaited."""

    def stream(self, code: str, *, timeout: float | None = None) -> AsyncStream:
        """Run code in the session's kernel; `async for` gives its outputs as they come."""
        return AsyncStream(self.blocking, code, timeout)


class AsyncJob(_Async[Job]):
    """`Job`, awaited."""

    @checked_as("AsyncJob.wait")
    async def wait(self, timeout: float | None = None, **options: Any) -> Any:
        """Wait for the job's end, see `Job.wait`. A task that is cancelled leaves the job alone."""
        return await self._until(self.blocking.wait, timeout, options)

    @checked_as("AsyncJob.result")
    async def result(self, *, wait: float | None = None, **options: Any) -> Any:
        """Wait for the job's end and return what the call would have returned, see `Job.result`."""
        if options.get("on_output") is None:
            await self._until(self.blocking.wait, wait, {})
        return await running.awaited(lambda: self.blocking.result(wait=wait and 0.0, **options), running.Work())

    async def _until(self, call: Callable[..., Any], limit: float | None, options: dict[str, Any]) -> Any:
        """Wait in pieces, so that no thread goes on for long behind a task that is gone."""
        import anyio

        end = None if limit is None else anyio.current_time() + limit
        while True:
            left = WAITED if end is None else min(max(end - anyio.current_time(), 0.0), WAITED)
            found = await running.awaited(lambda: call(left, **options), running.Work())  # noqa: B023 - awaited here
            if found.state in OVER or (end is not None and anyio.current_time() >= end):
                return found


class AsyncStream:
    """The outputs of a run while it goes on; `result` is awaited. Leaving `async with` early interrupts the code."""

    def __init__(self, session: Session, code: str, timeout: float | None) -> None:
        self._start: Callable[[], Stream] = lambda: session.stream(code, timeout=timeout)
        self._stream: Stream | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        stream = self._begun()
        found = await running.awaited(lambda: next(stream, _END), stream.work)
        if found is _END:
            raise StopAsyncIteration
        return found

    async def __aenter__(self) -> Self:
        self._begun()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Interrupt the code if it still runs, and wait for its end."""
        await running.awaited(self._begun().close, running.Work())

    async def result(self) -> Any:
        """The run's result. Waits for the end.

        Raises:
            errors.Error: nothing was sent.
        """
        stream = self._begun()
        return await running.awaited(lambda: stream.result, stream.work)

    def _begun(self) -> Stream:
        self._stream = self._stream or self._start()
        return self._stream


_KINDS: dict[type, type] = {Client: AsyncClient, Session: AsyncSession, Job: AsyncJob}


def _async(found: Any) -> Any:
    """What stands for an object of the library; anything else as it is."""
    kind = _KINDS.get(type(found))
    return found if kind is None else _of(kind, found)


def _of(kind: type, blocking: Any) -> Any:
    made = kind.__new__(kind)
    made.blocking = blocking
    return made
