"""Many calls of one function, on several sessions at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from ..api import running
from ..api.session import Session
from . import calls
from .calls import Call

__all__ = ["values"]


def values(
    jobs: list[Call], sessions: list[Session], *, return_exceptions: bool, timeout: float | None
) -> Iterator[Any]:
    """The values in the calls' order; see `RemoteFunction.map`."""
    deadline = None if timeout is None else time.monotonic() + timeout
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(jobs)):
        waiting.put(number)
    done: list[queue.SimpleQueue[tuple[Any, BaseException | None]]] = [queue.SimpleQueue() for _ in jobs]
    stop = threading.Event()
    begun: list[running.Work] = []

    def work(session: Session) -> None:
        while not stop.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            mine = running.Work()
            begun.append(mine)
            try:
                with running.noted(mine):
                    done[number].put((calls.finished(session, jobs[number]), None))
            except BaseException as problem:
                done[number].put((None, problem))

    for session in sessions:
        threading.Thread(target=work, args=(session,), daemon=True).start()

    def results() -> Iterator[Any]:
        try:
            for answer in done:
                try:
                    value, problem = answer.get(
                        timeout=None if deadline is None else max(deadline - time.monotonic(), 0)
                    )
                except queue.Empty:
                    stop.set()
                    for one in begun:
                        one.stop()
                    raise TimeoutError(f"not all calls were done in {timeout:g} seconds") from None
                if problem is not None and not return_exceptions:
                    raise problem
                yield value if problem is None else problem
        finally:
            stop.set()

    return results()
