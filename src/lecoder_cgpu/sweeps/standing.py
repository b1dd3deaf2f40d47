"""How the items of a sweep stand, from what was noted of their jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..models.sweeps import ItemState, SweepCounts
from .grid import Item
from .store import Note

LOSSES = 2  # runtimes that an item may take with it; then it has failed


@dataclass(eq=False)
class Standing:
    """One item, and what became of its jobs.

    `attempt` is the number of its last job, -1 before the first. `tries` are the attempts that failed since it was last
    asked for. `losses` are the runtimes that were lost with it.
    """

    number: int
    item: Item
    state: ItemState = "pending"
    attempt: int = -1
    tries: int = 0
    losses: int = 0
    session: str = ""
    exit: int | None = None
    signal: str | None = None
    started: float | None = None
    seconds: float | None = None
    pulled: list[Any] | None = None
    error: str | None = None

    @property
    def has_result(self) -> bool:
        return self.state in ("done", "failed")

    def take(self, note: Note) -> None:
        """Take up what was noted of one of its jobs."""
        if note.attempt < self.attempt:
            return  # of an attempt that another one has replaced
        self.attempt, self.session = note.attempt, note.session
        if note.state == "started":
            self.state, self.started = "running", note.at
            self.exit = self.signal = self.seconds = self.pulled = self.error = None
            return
        self.exit, self.signal, self.seconds = note.exit, note.signal, note.seconds
        self.pulled, self.error = note.pulled, note.error
        if note.state == "lost":
            self.losses += 1
            self.state = "failed" if self.losses >= LOSSES else "pending"
        elif note.state == "void":
            self.attempt -= 1
            self.state = "pending"
        else:
            self.state = note.state
            self.tries += note.state == "failed"

    def again(self) -> None:
        """Forget a failure: it is to be run once more."""
        self.state, self.tries, self.losses, self.error = "pending", 0, 0, None


def of(items: Iterable[Item], notes: Iterable[Note]) -> dict[str, Standing]:
    """How each item stands, by its key."""
    found = {item.key: Standing(number, item) for number, item in enumerate(items, 1)}
    for note in notes:
        if note.key in found:
            found[note.key].take(note)
    return found


def counts_of(standings: Iterable[Standing]) -> SweepCounts:
    """How many are in each state."""
    found = SweepCounts()
    for one in standings:
        found.items += 1
        setattr(found, one.state, getattr(found, one.state) + 1)
    return found
