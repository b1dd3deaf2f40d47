"""`Stream`: the outputs of a run, one after the other, while the run goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..jupyter import messages
from .running import Work, noted

if TYPE_CHECKING:
    from ..results import Run

__all__ = ["Stream"]


class Stream(Iterator[messages.Event]):
    """The outputs of a run while it goes on; `result` is its document once the iteration has ended.

    `close`, leaving the `with` block early, or Ctrl-C interrupts the code.
    """

    def __init__(self, run: Callable[[Callable[[messages.Event], None]], Run], work: Work) -> None:
        self._events: queue.SimpleQueue[messages.Event | None] = queue.SimpleQueue()
        self.work = work
        self._result: Run | None = None
        self._problem: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._work, args=(run,), daemon=True)
        self._thread.start()

    def __next__(self) -> messages.Event:
        with self._closing():
            event = None if self._ended else self._events.get()
            if event is None:
                self._ended = True
                self._thread.join()
        if event is None:
            if self._problem is not None:
                raise self._problem
            raise StopIteration
        return event

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def result(self) -> Run:
        """The run's document. Waits for the end; it also holds the outputs that were not iterated over.

        Raises:
            errors.Error: nothing was sent.
        """
        with self._closing():
            self._thread.join()
        if self._result is None:
            assert self._problem is not None
            raise self._problem
        return self._result

    def close(self) -> None:
        """Interrupt the code if it still runs, and wait for its end."""
        if self._thread.is_alive():
            self.work.stop()
            self._thread.join()

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Ctrl-C while the body waits ends the code, too."""
        try:
            yield
        except KeyboardInterrupt:
            self.close()
            raise

    def _work(self, run: Callable[[Callable[[messages.Event], None]], Run]) -> None:
        try:
            with noted(self.work):
                self._result = run(self._events.put)
        except BaseException as problem:
            self._problem = problem
        finally:
            self.work.over = True
            self._events.put(None)
