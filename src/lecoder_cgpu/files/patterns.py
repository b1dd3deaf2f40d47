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
from typing import Any, NamedTuple

from .. import errors
from ..guest import trees

ANY = None  # stands for `**`: any number of parts


def in_order(
    wanted: Sequence[Any], have: Sequence[str], fits: Callable[[Any, str], bool], through: Callable[[str], bool]
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


# --- lines of ignore files -------------------------------------------------------------------------------------------

# The classes of characters that git knows in brackets, for `re`.
_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r" \t\n\r\f\v",
    "blank": r" \t", "punct": re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"), "xdigit": "0-9a-fA-F",
    "cntrl": r"\x00-\x1f\x7f", "graph": r"\x21-\x7e", "print": r"\x20-\x7e",
}  # fmt: skip


class IgnoreLine(NamedTuple):
    """One line of an ignore file.

    Attributes:
        kept: it begins with `!`: what it matches is not ignored. folders: it matches folders only.
        anywhere: it matches the last part of a name, in any folder below. parts: see `in_order`.
    """

    kept: bool
    folders: bool
    anywhere: bool
    parts: tuple[str | re.Pattern[str] | None, ...]

    def matches(self, name: Sequence[str], is_folder: bool) -> bool:
        """Whether it matches a name, given by its parts below the folder of the ignore file."""
        if self.folders and not is_folder:
            return False
        return in_order(self.parts, name[-1:] if self.anywhere else name, _matches, _any)


def _matches(test: str | re.Pattern[str], part: str) -> bool:
    return test == part if isinstance(test, str) else test.fullmatch(part) is not None


def _any(part: str) -> bool:
    return True


def ignore_line(text: str) -> IgnoreLine | None:
    """What a line of an ignore file means; None for an empty line or a comment.

    Raises:
        ValueError: nothing can match it, and why.
    """
    if text.startswith("#"):
        return None
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    kept = text.startswith("!")
    text = text[1:] if kept else text
    folders = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    anywhere = "/" not in text
    parts = text.removeprefix("/").split("/")
    if anywhere and text == "**":
        parts = ["*"]
    if parts[-1] == "**":  # `a/**` is what lies in a, not a itself
        parts[-1:] = ["*", "**"]
    return IgnoreLine(kept, folders, anywhere, tuple(ANY if part == "**" else _part(part) for part in parts))


@lru_cache(4096)
def _part(text: str) -> str | re.Pattern[str]:
    """One part of a pattern: itself, or an expression that never tries a star twice."""
    if not any(sign in text for sign in "*?[\\"):
        return text
    pieces: list[list[str]] = [[]]  # between stars
    at = 0
    while at < len(text):
        sign = text[at]
        at += 1
        if sign == "*":
            pieces.append([])
        elif sign == "?":
            pieces[-1].append(".")
        elif sign == "[":
            found, at = _brackets(text, at)
            pieces[-1].append(found)
        elif sign == "\\":
            if at == len(text):
                raise ValueError("a backslash at its end")
            pieces[-1].append(re.escape(text[at]))
            at += 1
        else:
            pieces[-1].append(re.escape(sign))
    first, *middle = ["".join(piece) for piece in pieces]
    if not middle:
        return re.compile(first, re.DOTALL)
    last = middle.pop()
    stars = "".join(f"(?>.*?{piece})" for piece in middle if piece)
    return re.compile(f"{first}{stars}.*{last}", re.DOTALL)


def _brackets(text: str, at: int) -> tuple[str, int]:
    """The expression for one character of `[…]`, and where the text goes on behind it."""
    negated = text[at : at + 1] in ("!", "^")
    at += negated
    inside, first = "", True
    while True:
        sign = text[at : at + 1]
        if not sign:
            raise ValueError("a bracket that is not closed")
        if sign == "]" and not first:
            break
        first = False
        if text.startswith("[:", at):
            name, closed, _ = text[at + 2 :].partition(":]")
            if not closed or name not in _CLASSES:
                raise ValueError(f"an unknown class of characters [:{name[:20]}:]")
            inside += _CLASSES[name]
            at += len(name) + 4
            continue
        low, at = _one(text, at)
        high = low
        if text.startswith("-", at) and text[at + 1 : at + 2] not in ("", "]"):
            high, at = _one(text, at + 1)
        # git looks at the beginning of a range first, so that of one written backwards just that is left.
        inside += f"{re.escape(low)}-{re.escape(max(low, high))}"
    return f"[{'^' if negated else ''}{inside}]", at + 1


def _one(text: str, at: int) -> tuple[str, int]:
    """One character in brackets, which a backslash may precede."""
    at += text[at] == "\\"
    if at == len(text):
        raise ValueError("a bracket that is not closed")
    return text[at], at + 1
