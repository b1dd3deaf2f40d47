"""`@remote` and what it makes of a function."""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, overload

from .. import errors
from ..api import running
from ..api.arguments import checked_as
from ..api.client import Client
from ..api.session import OnOutput, Session
from ..guest.remote_call import MARK
from . import calls, mapping
from .calls import Call

__all__ = ["RemoteFunction", "remote", "show"]

P = ParamSpec("P")
R = TypeVar("R")


def show(stream: str, text: str) -> None:
    """Show what a function prints as if it ran here."""
    target = getattr(sys, stream)
    target.write(text)
    target.flush()


class RemoteFunction(Generic[P, R]):
    """A function whose calls are executed on a runtime. `__wrapped__` is the plain function.

    A call of an `async` function is awaited here, one of a generator is iterated over while it goes on. On the runtime,
    all remote functions are plain ones. As an attribute of a class, it is a method.
    """

    __wrapped__: Callable[P, R]

    def __init__(
        self,
        function: Callable[P, R],
        session: Callable[[], Session],
        on_output: OnOutput = show,
        timeout: float | None = None,
    ) -> None:
        update_wrapper(self, function)
        self._find_session = session
        self._found: list[Session] = []  # shared with the methods that are made of it
        self._on_output = on_output
        self._timeout = timeout
        self._threads: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"<remote {self.__wrapped__!r}>"

    def __get__(self, instance: object, owner: type | None = None) -> RemoteFunction[..., R]:
        if instance is None:
            return self
        bound = self.__wrapped__.__get__(instance, owner)
        method: RemoteFunction[..., R] = RemoteFunction(bound, self._find_session, self._on_output, self._timeout)
        method._found = self._found
        return method

    def __reduce__(self) -> tuple[Any, ...]:
        """On the runtime it is the plain function; `itemgetter` is there without anything of ours."""
        return operator.itemgetter(0), ((self.__wrapped__,),)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function on the runtime.

        Raises:
            Exception: the exception that the function raised, with the traceback from there as a note.
            errors.TimeLimit: it took longer than `timeout`.
            errors.ImportFailure: the runtime has no cloudpickle, and the function needs it. errors.UsageError:
                (`PythonMismatch`) the versions of Python differ and it cannot travel as source, or (`NotPicklable`) the
                function or an argument cannot be pickled; nothing was sent.
            errors.Error: the runtime could not be reached, was lost, or the kernel died.
        """
        if getattr(sys, MARK, 0):
            return self.__wrapped__(*args, **kwargs)
        call = self._call(args, kwargs)
        result: Any
        if inspect.isasyncgenfunction(self.__wrapped__):
            result = _async_items(self._place(), call)
        elif inspect.iscoroutinefunction(self.__wrapped__):
            result = running.awaited(partial(calls.value, self._place(), call), running.Work())
        elif inspect.isgeneratorfunction(self.__wrapped__):
            result = calls.items(self._place(), call)
        else:
            result = calls.value(self._place(), call)
        return result  # type: ignore[no-any-return]  # what a call of the function itself would return

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here."""
        return self.__wrapped__(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[Any]:
        """Call the function on the runtime, meanwhile; calls of one function are made one after the other.

        Returns:
            A future of its value; of a generator, of the list of what it yields. A call that has not begun can be
            cancelled.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, thread_name_prefix="remote")
        return self._threads.submit(calls.finished, self._place(), self._call(args, kwargs))

    @checked_as("RemoteFunction.map")
    def map(
        self,
        *iterables: Iterable[Any],
        sessions: Sequence[Session] = (),
        return_exceptions: bool = False,
        timeout: float | None = None,
    ) -> Iterator[Any]:
        """Call the function for every item, on several sessions at once, and yield the values in the items' order.

        The first failure is raised in its place; calls that have not begun by then are not made.

        Args:
            iterables: one for each argument, as for `map`.
            sessions: the sessions to use; the function's own session if there are none.
            return_exceptions: yield the exception of a failed item in its place instead.
            timeout: seconds for all of it.

        Raises:
            TimeoutError: `timeout` has passed. What is executed then is interrupted.
        """
        places = list(sessions) or [self._place()]
        jobs = [self._call(arguments, {}) for arguments in zip(*iterables, strict=False)]
        return mapping.values(jobs, places, return_exceptions=return_exceptions, timeout=timeout)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return Call(self.__wrapped__, args, kwargs, self._on_output, self._timeout)

    def _place(self) -> Session:
        if not self._found:
            self._found.append(self._find_session())
        return self._found[0]


async def _async_items(session: Session, call: Call) -> AsyncIterator[Any]:
    items = calls.items(session, call)
    try:
        while True:
            found = await running.awaited(lambda: next(items, _END), running.Work())
            if found is _END:
                return
            yield found
    finally:
        items.close()  # type: ignore[attr-defined]


_END = object()


@overload
def remote(function: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(
    *,
    session: Session | str | None = None,
    client: Client | None = None,
    gpu: str | None = None,
    tpu: bool | str = False,
    cpu: bool = False,
    timeout: float | None = None,
    on_output: OnOutput | None = None,
) -> Callable[[Callable[P, R]], RemoteFunction[P, R]]: ...
@checked_as("remote")
def remote(
    function: Callable[..., Any] | None = None,
    /,
    *,
    session: Session | str | None = None,
    client: Client | None = None,
    gpu: str | None = None,
    tpu: bool | str = False,
    cpu: bool = False,
    timeout: float | None = None,
    on_output: OnOutput | None = None,
) -> Any:
    """Make calls of a function run on a runtime. The session is chosen at the first call.

    Args:
        session: the session or its name; None for the one that `Client.session` chooses.
        client: the client whose sessions are used; None for one with the settings of the environment and `config.json`.
        gpu, tpu, cpu: the kind of runtime to ask for.
        timeout: seconds for one call; then it is interrupted, and raises `errors.TimeLimit`.
        on_output: called with what the function prints (stream name, text) as it comes; None prints it here.
    """

    def find() -> Session:
        if isinstance(session, Session):
            return session
        return (client or Client()).session(session, gpu=gpu, tpu=tpu, cpu=cpu)

    def decorate(target: Callable[P, R]) -> RemoteFunction[P, R]:
        if not callable(target):
            raise errors.BadArgument(
                f"remote: a {type(target).__name__} is no function",
                hint="write @remote below @classmethod and @property",
            )
        return RemoteFunction(target, find, on_output or show, timeout)

    return decorate if function is None else decorate(function)
