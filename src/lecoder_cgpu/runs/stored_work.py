"""What a job is started with as its plan keeps it: values of secrets that stand in its words are left out.

In their place stands the name of the variable between NUL characters, which no command and no variable can hold. Who
runs the job again gives the values, and they are put in again: the new one, where it was changed meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import structs

from ..system.redaction import MASK
from .job_plans import Work

_PLACE = re.compile("\0([^\0]*)\0")


def without_values(work: Work, secrets: Mapping[str, str]) -> Work:
    """`work` without these values, which are given by name; what is left out already stays so."""
    names = {value: name for name, value in secrets.items() if value}
    if not names:
        return work
    # The longest first: one may be a part of another.
    known = "|".join(re.escape(value) for value in sorted(names, key=len, reverse=True))
    wanted = re.compile(f"{_PLACE.pattern}|{known}")

    def left_out(found: re.Match[str]) -> str:
        return found[0] if found[1] is not None else f"\0{names[found[0]]}\0"

    return _each(work, lambda text: wanted.sub(left_out, text))


def with_values(work: Work, secrets: Mapping[str, str]) -> Work:
    """`work` as it is executed.

    Args:
        secrets: a value for each name that was left out.
    """
    return _each(work, lambda text: _PLACE.sub(lambda found: secrets.get(found[1], found[0]), text))


def shown(command: str | list[str]) -> str | list[str]:
    """A command of a plan as documents show it."""
    return _changed(command, lambda text: _PLACE.sub(MASK, text))


def _each(work: Work, change: Callable[[str], str]) -> Work:
    return structs.replace(
        work,
        command=_changed(work.command, change),
        typed=_changed(work.typed, change),
        environment={name: change(value) for name, value in work.environment.items()},
    )


def _changed(command: str | list[str], change: Callable[[str], str]) -> str | list[str]:
    return change(command) if isinstance(command, str) else [change(word) for word in command]
