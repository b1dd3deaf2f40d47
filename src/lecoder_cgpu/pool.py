"""`Pool`: a `concurrent.futures.Executor` whose workers are runtimes.

    from lecoder_cgpu import Client, Pool

    with Pool(client=Client("local"), count=4) as pool:
        losses = list(pool.map(train, [0.1, 0.01, 0.001], return_exceptions=True))

Each session does one item after the other, in its kernel, as `@remote` would. An item whose runtime was lost is done
again by another one; every item has exactly one result.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import errors
from .api.arguments import checked
from .api.client import Client
from .api.session import OnOutput, Session
from .backends.protocol import RuntimeRequest
from .remote_functions import calls, travel
from .remote_functions.calls import Call
from .sessions import free_tier, operations
from .store.session_store import Record

__all__ = ["Pool"]

T = TypeVar("T")

LOSSES = 2  # an item that took this many runtimes with it has failed
GRACE = 5.0  # seconds that an item has to end when it was interrupted, before its kernel is restarted


@dataclass(eq=False)
class _Item:
    """One call that was submitted, and how often a runtime was lost with it."""

    number: int
    call: Call
    future: Future[Any] = field(default_factory=Future)
    losses: int = 0


class _Work:
    """An item that a session executes now, and how to end it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.stopped = False
        self._over = threading.Event()
        self._lock = threading.Lock()

    def over(self) -> None:
        """It has ended; nothing may be interrupted for it any more."""
        with self._lock:
            self._over.set()

    def stop(self) -> None:
        """Interrupt it; restart the kernel if that does not help within `GRACE` seconds."""
        for end in (self.session.interrupt, self.session.restart):
            with self._lock:
                if self._over.is_set():
                    return
                self.stopped = True
                with contextlib.suppress(errors.Error):  # the waiting call finds out, too, that the runtime is gone
                    end()
            if self._over.wait(GRACE):
                return


@checked
class Pool(Executor):
    """Calls functions on several runtimes at once. Functions travel as those of `@remote` do.

    Args:
        sessions: those to use; each does one item at a time. They are left as they are.
        client: where runtimes come from when no sessions are given; None for one with the usual settings.
        count: how many runtimes to have at most, without `sessions`. They are the pool's own, started as items come,
            and given back by `shutdown` or at the end of `with`. If the account allows fewer, fewer are used, and
            that is told by the client's `notify`.
        gpu, tpu, cpu, high_ram: the kind of runtime to ask for, see `Client.session`.
        item_timeout: seconds for one item. Then it is interrupted, and fails with `errors.TimeLimit`.
        on_output: called with what the functions print (stream name, text), from several threads.
        several_free: have several free runtimes of an account at once, although the lender's terms restrict that.

    Raises:
        errors.UsageError: the arguments contradict each other, or (`FreeTier`) several free runtimes were asked for.
    """

    def __init__(
        self,
        sessions: Sequence[Session] = (),
        *,
        client: Client | None = None,
        count: int | None = None,
        gpu: str | None = None,
        tpu: bool | str = False,
        cpu: bool = False,
        high_ram: bool = False,
        item_timeout: float | None = None,
        on_output: OnOutput | None = None,
        several_free: bool = False,
    ) -> None:
        kinds = [name for name, wanted in (("gpu", gpu), ("tpu", tpu), ("cpu", cpu), ("high_ram", high_ram)) if wanted]
        if sessions and (count is not None or client is not None or kinds):
            given = "count" if count is not None else "client" if client is not None else kinds[0]
            raise errors.UsageError(f"the sessions are given, so {given} cannot choose", hint=f"leave out {given}")
        if not sessions and (count is None or count < 1):
            raise errors.UsageError(
                "a pool needs runtimes", hint="Pool([session, …]), or Pool(client=Client('local'), count=4)"
            )
        if item_timeout is not None and not item_timeout > 0:
            raise errors.UsageError(f"item_timeout {item_timeout!r} is no time", hint="seconds, such as 600")
        self._item_timeout = item_timeout
        self._on_output = on_output
        self._fixed = list(dict.fromkeys(sessions))
        self._manager = None if sessions else (client or Client())._client
        self._wants = RuntimeRequest(
            gpu=() if gpu is None else tuple(gpu.split(",")),
            tpu=None if tpu is False else () if tpu is True else tuple(tpu.split(",")),
            cpu=cpu,
            high_ram=high_ram,
            new=True,
        )
        self._limit = len(self._fixed) or count or 1
        if self._manager is not None:
            self._manager.check_kind(self._manager.chosen, self._wants)
            if self._limit > 1 and not several_free:
                free_tier.refuse_several(
                    self._manager.leased(self._manager.chosen),
                    hint="Pool(count=1), buy units, or Pool(several_free=True) if you know that you may",
                )
        self._changed = threading.Condition()
        self._queue: deque[_Item] = deque()
        self._working: dict[_Item, _Work | None] = {}
        self._threads: list[threading.Thread] = []
        self._serving = 0
        self._submitted = 0
        self._closed = self._stopped = False
        self._broken: BaseException | None = None
        self._results: dict[int, Any] = {}

    def __repr__(self) -> str:
        where = (
            ", ".join(session.name for session in self._fixed) or f"backend={self._manager and self._manager.chosen}"
        )
        return f"Pool({where}, count={self._limit})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Pool cannot be pickled, like any executor; its sessions can, and another Pool made of them")

    # --- what users call ---

    @property
    def results(self) -> dict[int, Any]:
        """The values so far, by the number of the item: 0 is what was submitted first. Failed items are not there."""
        with self._changed:
            return dict(sorted(self._results.items()))

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a function called on one of the runtimes.

        Its future has the value, the exception that the function raised, or an `errors.Error` (see `@remote`).
        `sys.exit` in it is an `errors.RuntimeFailure` named `SystemExit`.

        Raises:
            RuntimeError: the pool was shut down. errors.Error: it has lost all of its runtimes, or got none.
        """
        with self._changed:
            if self._broken is not None:
                raise self._broken
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            call = Call(travel.plain(fn), args, kwargs, self._on_output or _unheard, exits=True)
            item = _Item(self._submitted, call)
            self._submitted += 1
            self._queue.append(item)
            if len(self._threads) < self._limit:
                number = len(self._threads)
                thread = threading.Thread(target=self._serve, args=(number,), name=f"pool-{number}", daemon=True)
                self._threads.append(thread)
                self._serving += 1
                thread.start()
            self._changed.notify()
        return item.future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """Call a function for every item, and yield the values in the items' order.

        Args:
            timeout: seconds for all of it. chunksize: has no effect.
            return_exceptions: yield the exception of a failed item in its place; else the first is raised, and items
                that have not begun are cancelled.

        Raises:
            TimeoutError: `timeout` has passed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        futures = [self.submit(fn, *items) for items in zip(*iterables, strict=False)]

        def values() -> Iterator[Any]:
            try:
                for future in futures:
                    left = None if deadline is None else max(deadline - time.monotonic(), 0)
                    if not wait([future], left).done:
                        raise TimeoutError(f"not all items were done in {timeout:g} seconds")
                    problem = CancelledError() if future.cancelled() else future.exception()
                    if problem is None:
                        yield future.result()
                    elif return_exceptions:
                        yield problem
                    else:
                        raise problem
            finally:
                for future in futures:
                    future.cancel()

        return values()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more items, and give the pool's own runtimes back when all items are done.

        Args:
            wait: until that has happened. cancel_futures: cancel the items that have not begun.
        """
        with self._changed:
            self._closed = True
            if cancel_futures:
                for item in self._queue:
                    item.future.cancel()
            self._changed.notify_all()
        if wait:
            for thread in self._threads:
                thread.join()

    def stop(self) -> None:
        """Cancel what has not begun, and interrupt what is executed. `results` keeps what was done."""
        self.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            self._stopped = True
            work = [item for item in self._working.values() if item is not None]
        enders = [threading.Thread(target=item.stop, daemon=True) for item in work]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        """Wait for all items; left by an exception, stop instead (see `stop`)."""
        if kind is not None:
            self.stop()
        self.shutdown()

    # --- the workers, one thread for each runtime ---

    def _serve(self, number: int) -> None:
        place = _Place(self, number)
        session: Session | None = None
        lost: errors.Error | None = None
        try:
            while self._has_more():
                session = session or place.open(lost)
                item = self._next()
                lost = None if item is None else self._do(session, item)
                session = None if lost is not None else session
            self._retire(None)
        except BaseException as problem:
            self._retire(problem)
        finally:
            place.close()

    def _has_more(self) -> bool:
        """Wait until there is an item to do; False when there will be none. What others do now may come back, if they
        lose it."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or (self._closed and not self._working))
            return bool(self._queue)

    def _next(self) -> _Item | None:
        """Take the next item, if another worker has not taken it meanwhile."""
        with self._changed:
            while self._queue:
                item = self._queue.popleft()
                if item.losses or item.future.set_running_or_notify_cancel():
                    self._working[item] = None
                    return item
            self._changed.notify_all()
            return None

    def _do(self, session: Session, item: _Item) -> errors.Error | None:
        """Have an item done; returns the error if the runtime was lost with it, or was not reached."""
        value, problem = self._call(session, item)
        lost = problem if isinstance(problem, errors.LostError | errors.ConnectionFailed) else None
        with self._changed:
            if (
                isinstance(problem, errors.PythonMismatch) and self._serving > 1
            ):  # another one's Python may be the right one
                self._queue.appendleft(item)
                del self._working[item]
                raise problem
            # Contact that was lost while it was executed is no reason: it may still be executed.
            repeats = isinstance(problem, errors.LostError) or (lost is not None and lost.retryable)
            again = repeats and item.losses + 1 < LOSSES and not self._stopped
            if again:
                item.losses += 1
                self._queue.appendleft(item)
            elif problem is None:
                self._results[item.number] = value
            del self._working[item]
            self._changed.notify_all()
        if not again:
            if problem is None:
                item.future.set_result(value)
            else:
                item.future.set_exception(problem)
        return lost

    def _call(self, session: Session, item: _Item) -> tuple[Any, BaseException | None]:
        work = _Work(session)
        with self._changed:
            self._working[item] = work
            if self._stopped:
                return None, CancelledError()
        timer = None if self._item_timeout is None else threading.Timer(self._item_timeout, work.stop)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            return calls.finished(session, item.call), None
        except BaseException as problem:
            if timer is not None and work.stopped and not self._stopped:
                limit = errors.TimeLimit(f"the item was ended after {self._item_timeout:g} seconds", name="ItemTimeout")
                limit.__cause__ = problem
                return None, limit
            return None, problem
        finally:
            work.over()
            if timer is not None:
                timer.cancel()

    def _retire(self, problem: BaseException | None) -> None:
        """A worker ends. What waits fails if it was the last, or if the sessions cannot do what is wanted."""
        with self._changed:
            self._serving -= 1
            wrong = isinstance(problem, errors.UsageError) and not isinstance(problem, errors.PythonMismatch)
            last = problem is not None and (self._serving == 0 or wrong)
            waiting = list(self._queue) if last else []
            if last:
                self._broken = problem
                self._queue.clear()
            self._changed.notify_all()
        if problem is not None and not last:
            manager = self._manager or self._fixed[0]._client
            manager.notify(f"the pool goes on with {self._serving} of {self._limit} runtimes: {problem}")
        for item in waiting:
            if item.losses or item.future.set_running_or_notify_cancel():
                item.future.set_exception(problem)


class _Place:
    """Where one worker's items are executed."""

    def __init__(self, pool: Pool, number: int) -> None:
        self._manager = pool._manager
        self._wants = pool._wants
        self._session = None if self._manager is not None else pool._fixed[number]
        self._record: Record | None = None

    def open(self, lost: errors.Error | None) -> Session:
        """The session, whose runtime answers and runs Python.

        Args:
            lost: why another runtime is needed, where one was used before. A session that was given may have one.

        Raises:
            errors.UsageError: (`NotPython`, `NeedsPython`) it runs another language.
            errors.Error: there is no runtime.
        """
        self.close()
        if self._manager is not None:
            self._record = self._manager.own(self._wants).record
            self._session = Session(self._manager, self._record)
        assert self._session is not None
        travel.forget(self._session)
        try:
            travel.place_of(self._session)
        except errors.Error as error:
            raise error from lost
        return self._session

    def close(self) -> None:
        """Give the runtime back, if it is the pool's own. What could not be done is told."""
        if self._manager is None or self._record is None:
            return
        record, self._record = self._manager.store.get(self._record.id), None
        if record is None:  # none was given
            return
        try:
            operations.close(self._manager, record)
        except errors.Error as error:
            self._manager.notify(
                f"the runtime of session {record.name!r} may still be held: {error.message}; "
                f"give it back: lecoder-cgpu sessions close {record.name}"
            )


def _unheard(stream: str, text: str) -> None:
    """Nobody asked for what the functions print, and several print at once."""
