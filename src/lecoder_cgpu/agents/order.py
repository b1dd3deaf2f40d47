"""Calls that come at once begin in the order in which they came, though each has a thread of its own."""

from __future__ import annotations

import threading


class Turn:
    """The place of one call in a queue. It is left when the call's work was handed over, at the latest at its end."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def wait(self) -> None:
        """Wait until all calls before this one have left."""
        with self._queue.changed:
            self._queue.changed.wait_for(lambda: self not in self._queue.turns or self._queue.turns[0] is self)

    def leave(self) -> None:
        """Let the next call begin; a second time does nothing."""
        with self._queue.changed:
            if self in self._queue.turns:
                self._queue.turns.remove(self)
                self._queue.changed.notify_all()


class Queue:
    """Calls of which only the first may begin."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.turns: list[Turn] = []

    def enter(self) -> Turn:
        """A place behind all others."""
        turn = Turn(self)
        with self.changed:
            self.turns.append(turn)
        return turn
