"""The numbered facts of docs/protocol.md and the source that refers to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

import lecoder_cgpu

SOURCE = Path(lecoder_cgpu.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "protocol.md"
UNUSED = "not used yet"
# In the source: "(protocol C14)", "(protocol J2, C37)".
_REFERENCE = re.compile(r"\bprotocol ([JC]\d+(?:(?:, | and )[JC]\d+)*)")


class Fact(NamedTuple):
    """One row of the page."""

    text: str
    certainty: str
    used_by: frozenset[str]


def rows() -> Iterator[tuple[str, Fact]]:
    for line in PAGE.read_text("utf-8").splitlines():
        if re.match(r"\| [JC]\d+ \|", line):
            number, text, certainty, users = (cell.strip() for cell in line.strip("|").split(" | "))
            yield number, Fact(text, certainty, frozenset(users.split(", ")))


@cache
def references() -> dict[str, set[str]]:
    """Number -> the packages whose source refers to it."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        package = path.relative_to(SOURCE).parent.as_posix().removeprefix(".") or path.stem
        for match in _REFERENCE.finditer(path.read_text("utf-8")):
            for number in re.findall(r"[JC]\d+", match[1]):
                found.setdefault(number, set()).add(package)
    return found


FACTS = dict(rows())


def test_numbers_are_unique_and_rise() -> None:
    """A number stands for one fact, and new ones come at the end of their list."""
    numbers = [number for number, _ in rows()]
    assert len(FACTS) == len(numbers) > 80
    for letter in "JC":
        mine = [int(number[1:]) for number in numbers if number[0] == letter]
        assert mine[0] == 1
        assert all(before < after for before, after in pairwise(mine))


def test_certainty_has_one_of_three_words() -> None:
    assert {fact.certainty for fact in FACTS.values()} == {"certain", "likely", "unknown"}


def test_the_source_refers_to_facts_that_exist() -> None:
    assert references().keys() - FACTS.keys() == set()


@pytest.mark.parametrize("number", FACTS)
def test_the_page_names_the_packages_that_use_a_fact(number: str) -> None:
    """Both ways: no user is missing from the page, and none of those named has stopped using it."""
    used_by = references().get(number) or {UNUSED}
    assert FACTS[number].used_by == used_by, f'in the last column of {number}, write "{", ".join(sorted(used_by))}"'
