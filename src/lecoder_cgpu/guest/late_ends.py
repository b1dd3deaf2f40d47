"""Kernel runs whose `idle` has come, and that may not be whole yet.

Two things may come after `idle`: the reply to a job, on another channel (protocol J4), and output of a kernel that does
not number its messages (protocol J48). So the end of such a run is held back until it has been quiet for a while.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .kernel_sockets import Message
    from .recording import Recording

REPLY_WITHIN = 2.0  # seconds in which the reply to a job comes after its `idle`
QUIET = 0.5  # seconds without output after `idle`, from a kernel that may send some then
LATE_WITHIN = 10.0  # seconds after which nothing more of it is waited for
LOOK = 0.1  # seconds between looks


class LateEnds:
    """The runs that are held back.

    Args:
        has_sent: whether the run of that id was sent from here, so that its reply comes here.
    """

    def __init__(self, has_sent: Callable[[str], bool]) -> None:
        self._has_sent = has_sent
        self._held: dict[str, tuple[Recording, float, Message]] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._held

    def __bool__(self) -> bool:
        return bool(self._held)

    def hold(self, recording: Recording, idle: Message) -> bool:
        """Hold the end of a run back; False if it is whole."""
        if not recording.begun or self._is_whole(recording):
            return False
        limit = REPLY_WITHIN if recording.numbers.counted else LATE_WITHIN
        self._held[recording.id] = recording, time.monotonic() + limit, idle
        return True

    def _is_decided(self, recording: Recording) -> bool:
        """Whether nothing more is to be learnt of how it ended; the kernel may publish no notes."""
        return recording.replied or not self._has_sent(recording.id)

    def _is_whole(self, recording: Recording) -> bool:
        if not self._is_decided(recording):
            return False
        return recording.numbers.counted or time.monotonic() - recording.written_at >= QUIET

    def take(self, *, died: bool = False) -> list[Recording]:
        """The runs that are whole by now, or whose time is over, with their `idle` written. With `died`, nothing comes
        any more."""
        ended = []
        for run, (recording, limit, idle) in list(self._held.items()):
            whole = self._is_whole(recording)
            if whole or time.monotonic() >= limit or (died and self._is_decided(recording)):
                del self._held[run]
                recording.is_cut = not (whole or recording.numbers.counted)
                recording.add("status", *idle)
                ended.append(recording)
        return ended

    def clear(self) -> None:
        """Forget all: they end otherwise."""
        self._held.clear()
