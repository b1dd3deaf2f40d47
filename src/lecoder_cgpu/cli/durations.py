"""Durations as users write them: 90s, 20m, 2h, 1h30m. One grammar for every option that takes a time."""

from __future__ import annotations

import re
from typing import Any

import click

from .. import errors

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = r"\d+(?:\.\d+)?|\.\d+"


def seconds(text: str) -> float | None:
    """Seconds of a duration with units; None when the text is none."""
    if not re.fullmatch(rf"(?:(?:{_NUMBER})[smhd])+", text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(rf"({_NUMBER})([smhd])", text))


def duration(text: str | None, option: str) -> float:
    """Seconds of a duration such as 45s, 30m, 2h or 1h30m; 0 for None.

    A bare number is refused: somebody who means minutes would lose a runtime to seconds.

    Raises:
        errors.UsageError
    """
    if text is None:
        return 0.0
    hint = f"{option} 2h, {option} 30m or {option} 90s"
    if re.fullmatch(_NUMBER, text):
        raise errors.UsageError(f"{option} {text}: {text} what? {text}m or {text}s", hint=hint)
    found = seconds(text)
    if found is None:
        raise errors.UsageError(f"{option} {text!r} is not a duration", hint=hint)
    return found


class Duration(click.ParamType[float]):
    """The value of an option such as `--timeout`: a duration, or a bare number of seconds.

    Args:
        least: the smallest value. open_: whether that value itself is refused.
    """

    name = "time"

    def __init__(self, least: float = 0.0, *, open_: bool = False) -> None:
        self._least = least
        self._open = open_

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            found: float | None = float(value)
        else:
            text = str(value).strip()
            found = float(text) if re.fullmatch(_NUMBER, text) else seconds(text)
        if found is None:
            self.fail(f"{value!r} is not a time: 90s, 20m, 2h, or a number of seconds", param, ctx)
        if found == float("inf") or found < self._least or (self._open and found == self._least):
            bound = "more than" if self._open else "at least"
            self.fail(f"{value!r} is too short or too long: it has to be {bound} {self._least:g} s", param, ctx)
        return found


TIME = Duration()
POSITIVE = Duration(open_=True)
