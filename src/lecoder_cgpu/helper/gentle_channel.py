"""Sends requests about files so that they do not slow the work on the runtime: to a process of low priority there (see
`guest/aside.py`), one after the other, and with pauses.

Where there is no such process, or it does not get to answering, the helper itself is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ..jupyter import messages
from .file_channel import Answer, Connect, FileChannel, Request, typed
from .file_documents import Aside

SHARE = 0.03  # of all processors there, that a fetch may use
PASSED_ON = 3e-9  # seconds of processor time for each byte that the helper and the server pass on, as was measured
FIRST, LONGEST = 0.01, 0.25  # seconds between two questions for an answer
PATIENCE = 30.0  # seconds without an answer after which the helper itself is asked


class Pace:
    """Decides how long to pause after a request, from the processor time that it took there.

    Args:
        limit: seconds of pauses in all. pause: waits for this many seconds.
    """

    def __init__(self, limit: float, pause: Callable[[float], None] = time.sleep) -> None:
        self._left = limit
        self._pause = pause

    def after(self, spent: float, size: int, processors: float) -> None:
        """Pause after a request.

        Args:
            spent: seconds of processor time that it took. size: bytes that came. processors: how many there are.
        """
        share = min(SHARE * processors, 1.0)
        seconds = min((spent + size * PASSED_ON) * (1 / share - 1), self._left)
        if seconds > 0:
            self._left -= seconds
            self._pause(seconds)


class GentleChannel(FileChannel):
    """A connection to the helper, for requests that only read.

    Args:
        pace: see `Pace`. For the others, see `FileChannel`.
    """

    def __init__(self, connect: Connect, *, patience: float, pace: Pace) -> None:
        super().__init__(connect, patience=patience)
        self._pace = pace
        self._directly = False

    def exchange(self, requests: Iterable[Request]) -> None:
        """See `FileChannel.exchange`; each request waits for the answer to the one before it."""
        for request in requests:
            answer = None if self._directly or request.data is not None else self._aside(request)
            if answer is None:
                super().exchange([request])
            else:
                request.done(answer)

    def _aside(self, request: Request) -> Answer | None:
        """The answer of the other process; None if there is none, or not in time."""
        key, pause, until = messages.new_id(), FIRST, time.monotonic() + PATIENCE
        asked = Request("aside", {"key": key, "request": {"op": request.op, **request.arguments}})
        got: list[Answer] = []
        asked.done = got.append
        while True:
            super().exchange([asked])
            answer = got.pop()
            note = typed(answer, Aside)
            if not (note.waiting or note.refused):
                self._pace.after(note.spent, len(answer.content), note.processors)
                return answer
            if note.refused or time.monotonic() > until:
                self._directly = True
                return None
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)
