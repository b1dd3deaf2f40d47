"""When a copy of a folder that is being written is one moment of it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from lecoder_cgpu.files import moments
from lecoder_cgpu.files.moments import Held, judge, missing, settled
from lecoder_cgpu.guest.trees import FILE, FOLDER, LINK, SPECIAL, Entry


def file(name: str, size: int = 1, mtime: int = 1) -> Entry:
    return Entry(name, FILE, size, mtime, 0o644)


def listing(*entries: Entry) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}


def copies(*entries: Entry) -> dict[str, Held]:
    return {entry.name: Held(entry, "hash") for entry in entries}


def test_what_has_to_be_copied() -> None:
    """New and changed entries; nothing that is here already, cannot be copied, or was refused."""
    there = listing(
        file("same"),
        file("longer", size=2),
        file("later", mtime=2),
        file("new"),
        Entry("pipe", SPECIAL, 0, 1),
        Entry("link", LINK, 0, 9, 0o777, "b"),
        Entry("folder", FOLDER, 0, 9, 0o755),
        file("secret"),
    )
    held = copies(
        file("same"),
        file("longer"),
        file("later"),
        Entry("link", LINK, 0, 1, 0o777, "a"),
        Entry("folder", FOLDER, 0, 1),
    )
    assert [entry.name for entry in missing(there, held, {"secret"})] == ["longer", "later", "new", "link"]
    assert moments.grown(there, held) == ["longer"]


@pytest.mark.parametrize(
    ("after", "restless"),
    [
        ([file("a/1"), file("b")], []),
        ([file("a/1", mtime=2), file("b")], ["a"]),  # changed
        ([file("a/1"), file("a/2"), file("b")], ["a"]),  # came
        ([file("b")], ["a"]),  # went
        ([file("a/1"), Entry("b", FOLDER, 0, 1)], ["b"]),  # is something else
    ],
)
def test_a_round(after: list[Entry], restless: list[str]) -> None:
    """Whole when nothing changed, came or went; once more otherwise. The unit is the top-level entry."""
    before = listing(file("a/1"), file("b"))
    verdict = judge(1, [before, listing(*after)], copies(file("a/1"), file("b")))
    assert (verdict.outcome, verdict.restless) == ("again" if restless else "whole", restless)


def test_a_log_that_grows_keeps_nothing_back() -> None:
    """A file that only grew counts as its beginning, at once if growing is its way, else when the rounds are over."""
    before, after = listing(file("log"), file("model")), listing(file("log", 5, 2), file("model"))
    held = copies(file("log"), file("model"))
    assert judge(1, [before, after], held, beginnings={"log"}, known={"log"}).outcome == "whole"
    assert judge(1, [before, after], held, beginnings={"log"}).outcome == "again"
    assert judge(moments.ROUNDS, [before, after], held, beginnings={"log"}).outcome == "whole"
    assert judge(1, [before, after], held, known={"log"}).outcome == "again"  # it did not only grow


def test_a_unit_that_never_rests() -> None:
    """The others are kept if they were calm for the last two rounds; otherwise there is no moment to keep."""
    last = moments.ROUNDS
    before, after = listing(file("busy", 1, 5), file("calm")), listing(file("busy", 1, 6), file("calm"))
    held = copies(file("busy", 1, 5), file("calm"))
    verdict = judge(last, [before, before, after], held)
    assert (verdict.outcome, verdict.restless) == ("partly", ["busy"])
    moved = listing(file("busy", 1, 5), file("calm", 1, 0))
    assert judge(last, [before, moved, after], held).outcome == "never"
    assert judge(last, [moved, before, after], held).outcome == "never"
    alone = [listing(file("busy", 1, 5)), listing(file("busy", 1, 6))]
    assert judge(last, alone, copies(file("busy", 1, 5))).outcome == "never"
    earlier = copies(file("busy", 1, 2), file("calm", 1, 0), file("gone"))
    made = settled(held, earlier, ["busy"])
    assert {name: item.entry.mtime for name, item in made.items()} == {"busy": 2, "calm": 1, "gone": 1}
    assert settled(held, earlier, []) == held


@pytest.mark.parametrize("seed", range(40))
def test_what_is_committed_always_loads(seed: int) -> None:
    """A program writes checkpoints of three files one after the other, then a pointer, then deletes the oldest.
    Whatever happens between the steps of a fetch: a generation's pointer leads to a checkpoint that is whole in it."""
    chance = random.Random(seed)
    world: dict[str, Entry] = {}
    clock = 0

    def program() -> list[tuple[str, Entry | None]]:
        steps: list[tuple[str, Entry | None]] = []
        for number in range(40):
            steps += [(f"c{number}/{part}", file(f"c{number}/{part}", number + 1)) for part in range(3)]
            steps.append(("latest", file("latest", number + 1)))
            if number >= 2:
                steps += [(f"c{number - 2}/{part}", None) for part in range(3)]
        return steps

    waiting = program()

    def goes_on(most: int) -> None:
        nonlocal clock
        for _ in range(min(chance.randrange(most + 1), len(waiting))):
            clock += 1
            name, entry = waiting.pop(0)
            world.pop(name, None)
            if entry is not None:
                world[name] = entry._replace(mtime=clock)

    def scan() -> dict[str, Entry]:
        """A listing takes a while: what comes meanwhile is seen only where it has not looked yet."""
        found: dict[str, Entry] = {}
        for name in sorted({moments.unit(name) for name in world}):
            found |= {at: entry for at, entry in world.items() if moments.unit(at) == name}
            goes_on(chance.choice((0, 0, 0, 1, 3)))
        return found

    newest: dict[str, Held] = {}
    committed = 0
    while waiting:
        goes_on(9)
        before = scan()
        listings = [before]
        held = {name: item for name, item in newest.items() if name in before}
        held = {name: item for name, item in held.items() if moments.is_same(before[name], item)}
        for number in range(1, moments.ROUNDS + 1):
            for entry in missing(before, held):
                goes_on(chance.choice((0, 0, 0, 1)))
                held.pop(entry.name, None)
                if world.get(entry.name) == entry:
                    held[entry.name] = Held(entry)
            listings.append(after := scan())
            verdict = judge(number, listings, held, known=newest)
            if verdict.outcome in ("whole", "partly"):
                newest = settled(held, newest, verdict.restless)
                committed += 1
                if "latest" in newest:
                    number = newest["latest"].entry.size
                    parts = [newest.get(f"c{number - 1}/{part}") for part in range(3)]
                    assert all(part is not None and part.entry.size == number for part in parts), newest
            if verdict.outcome != "again":
                break
            goes_on(1)
            held = {name: item for name, item in held.items() if name in after}
            before = after
    assert committed > 3


def test_rounds_are_bounded() -> None:
    """The pauses between rounds grow, and there is one for each round but the first."""
    assert len(moments.PAUSES) == moments.ROUNDS - 1
    assert all(earlier < later for earlier, later in pairwise(moments.PAUSES))
