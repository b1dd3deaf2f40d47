"""Patterns of names: those of the shell, and the lines of ignore files. Pure.

Each is matched in time that grows with the length of the name times that of the pattern, however many stars it has: a
star takes as little as it can, and what it has taken is never tried anew (the atomic groups of `re`).
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

from .. import errors
from ..guest import trees

T = TypeVar("T")
ANY = None  # stands for `**`: any number of parts


def in_order(
    wanted: Sequence[T | None], have: Sequence[str], fits: Callable[[T, str], bool], through: Callable[[str], bool]
) -> bool:
    """Whether the parts of a name are what is wanted, in this order.

    Args:
        wanted: a test for one part each; `ANY` stands for any number of parts.
        fits: whether a part passes a test. through: whether `ANY` may stand for a part.
    """
    here = place = 0
    star, after = -1, 0  # where the last ANY was, and how much of `have` it stands for
    while here < len(have):
        if place < len(wanted):
            test = wanted[place]
            if test is None:
                star, after = place, here
                place += 1
                continue
            if fits(test, have[here]):
                here, place = here + 1, place + 1
                continue
        if star < 0 or not through(have[after]):
            return False
        after += 1
        here, place = after, star + 1
    return all(test is None for test in wanted[place:])


# --- the shell's ---------------------------------------------------------------------------------------------------


def check_answers(pattern: str, names: Iterable[str]) -> None:
    """Check what a runtime answers to a pattern of the shell: another name would be written here.

    Raises:
        errors.ConnectionFailed: (`UnexpectedAnswer`) a name does not match.
    """
    odd = next((name for name in names if not answers(pattern, name)), None)
    if odd is not None:
        raise errors.UnexpectedAnswer(
            f"the runtime answered {trees.shown(odd)!r} to the pattern {pattern}, which it does not match",
            retryable=False,
            hint=f"nothing was done; name the files: lecoder-cgpu ls {pattern.rpartition('/')[0] or '.'}",
        )


def answers(pattern: str, name: str) -> bool:
    """Whether a path is one that a pattern of the shell stands for, as Python's `glob` has it. For `~`, any path is
    taken for the home folder."""
    have = [part for part in posixpath.normpath(name).split("/") if part != "."]
    wanted: list[str | None] = [
        ANY if part == "**" else part for part in posixpath.normpath(_without_home(pattern)).split("/")
    ]
    if pattern.startswith("~"):
        return name.startswith("/") and any(
            in_order(wanted, have[start:], _fits, _is_shown) for start in range(1, len(have))
        )
    return in_order(wanted, have, _fits, _is_shown)


def _without_home(pattern: str) -> str:
    return pattern.partition("/")[2] if pattern.startswith("~") else pattern


def _is_shown(part: str) -> bool:
    return not part.startswith(".")


def _fits(wanted: str, part: str) -> bool:
    if not any(sign in wanted for sign in "*?["):
        return wanted == part
    return (wanted.startswith(".") or _is_shown(part)) and _shell(wanted).match(part) is not None


@lru_cache
def _shell(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))
