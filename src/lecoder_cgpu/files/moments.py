"""Decides when a copy of a folder that is being written is one moment of it. Pure: listings in, what to do next out.

A fetch goes in rounds: list, copy what is not here yet, list again. After each round `judge` compares what was copied
with the last listing::

    nothing copied has changed, nothing came or went ──> "whole": this is how the folder was at the last listing
    something has, and rounds are left                ──> "again": what changed is copied once more
    no rounds are left                                ──> "partly" or "never", see below

The unit is a top-level entry of the folder (`unit`): a checkpoint is often a folder of several files, and is one. Units
that change all the time must not keep the others back. After the last round, the units that did not change during that
whole round and the one before are one moment of their own ("partly"): a listing takes a while, and what two in a row
have seen was there before the second began, as was everything that had been written earlier. The restless ones stay as
they were in the generation before, of which nothing is deleted then. If every unit is restless, there is nothing to
keep ("never").

A file that only grew counts as its beginning: so a log is always settled. Only hashes can tell that it *only* grew
(`grown`, which the caller compares with the runtime). A file that is new and growing may be half of a checkpoint, so
rounds are spent on it first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..guest import trees
from ..guest.trees import Entry

ROUNDS = 6  # copies of what changed before a fetch gives up on it
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds before the second copy, the third, …


class Held(NamedTuple):
    """An entry as it was copied: the line of the listing (its `size` is how many bytes were copied) and the SHA-256."""

    entry: Entry
    sha256: str = ""


Holding = Mapping[str, Held]
Listing = Mapping[str, Entry]


@dataclass(frozen=True)
class Verdict:
    """What comes after a round.

    Attributes:
        restless: the units that changed while they were copied, sorted.
    """

    outcome: Literal["whole", "again", "partly", "never"]
    restless: list[str] = field(default_factory=list)


def unit(name: str) -> str:
    """The top-level entry that a name lies in."""
    return name.partition("/")[0]


def takeable(entry: Entry) -> bool:
    """Whether an entry can be copied at all: no pipe, no device, no link that leads out."""
    return entry.kind not in (trees.OUTSIDE, trees.SPECIAL)


def is_same(entry: Entry, held: Held) -> bool:
    """Whether an entry is what was copied."""
    if entry.kind != held.entry.kind:
        return False
    if entry.kind == trees.FILE:
        return (entry.size, entry.mtime) == (held.entry.size, held.entry.mtime)
    return entry.kind == trees.FOLDER or entry.target == held.entry.target


def missing(listing: Listing, held: Holding, refused: Collection[str] = ()) -> list[Entry]:
    """What has to be copied: what is not here, or not like this.

    Args:
        refused: names that could not be read; trying again would not help.
    """
    return [
        entry
        for name, entry in listing.items()
        if takeable(entry) and name not in refused and not (name in held and is_same(entry, held[name]))
    ]


def grown(listing: Listing, held: Holding) -> list[str]:
    """The files that are longer now than what was copied of them. They may have grown, or be others."""
    return [
        name
        for name, item in held.items()
        if name in listing
        and listing[name].kind == item.entry.kind == trees.FILE
        and listing[name].size > item.entry.size
    ]


def changed(
    listing: Listing, held: Holding, *, beginnings: Collection[str] = (), refused: Collection[str] = ()
) -> list[str]:
    """The units of which the copy is not what the listing says, sorted.

    Args:
        beginnings: files whose copy is the beginning of what is there now, by their hashes.
    """
    found = {unit(entry.name) for entry in missing(listing, held, refused) if entry.name not in beginnings}
    found |= {unit(name) for name in held if name not in listing or not takeable(listing[name])}
    return sorted(found)


def judge(
    number: int,
    listings: Sequence[Listing],
    held: Holding,
    *,
    beginnings: Collection[str] = (),
    known: Collection[str] = (),
    refused: Collection[str] = (),
    rounds: int = ROUNDS,
) -> Verdict:
    """What a round has come to.

    Args:
        number: of this round, from 1.
        listings: so far, the last two of them from before and after this round's copying.
        held: what is here after it.
        beginnings: see `changed`. known: files that were in the generation before, so that growing is their way.
        refused: see `missing`.
    """
    after = listings[-1]
    restless = changed(after, held, beginnings=beginnings, refused=refused)
    young = [name for name in beginnings if name not in known]
    if not restless and not (young and number < rounds):
        return Verdict("whole")
    if number < rounds:
        return Verdict("again", sorted({*restless, *map(unit, young)}))
    calm = {unit(name) for name in held} - set(restless)
    recent = listings[-3:]
    moved = {unit(name) for name in set().union(*recent) if any(seen.get(name) != after.get(name) for seen in recent)}
    moved -= {unit(name) for name in beginnings}
    if calm and not calm & moved:
        return Verdict("partly", restless)
    return Verdict("never", restless)


def settled(held: Holding, earlier: Holding, restless: Collection[str]) -> dict[str, Held]:
    """What a generation is made of: what was copied. If units were restless, they are as in the generation before, and
    nothing that it had is deleted: the old state of a pointer may need an old checkpoint."""
    if not restless:
        return dict(held)
    found = {name: item for name, item in held.items() if unit(name) not in restless}
    calm = {unit(name) for name in found}
    return found | {name: item for name, item in earlier.items() if unit(name) not in calm}
