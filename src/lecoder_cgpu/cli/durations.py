"""Durations as users write them: 90s, 20m, 2h, 1h30m. One grammar for every option that takes a time."""

from __future__ import annotations

import re
from typing import Any

import click

from .. import errors

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"


def seconds(text: str) -> float | None:
    """Seconds of a duration with units; None when the text is not a duration."""
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
    """The value of an option that takes a time.

    Args:
        least: the smallest value. open_: whether that value itself is refused.
        bare: a number alone is seconds, as `--timeout` and `--wait` have always had it, and as other tools have it of
            a grace; any other option refuses it, for nobody can tell what is meant. A bare 0 is clear.
    """

    name = "time"

    def __init__(self, least: float = 0.0, *, open_: bool = False, bare: bool = False) -> None:
        self._least = least
        self._open = open_
        self._bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            found: float | None = float(value)
        else:
            text = str(value).strip()
            found = float(text) if re.fullmatch(_NUMBER, text) else seconds(text)
            if found and text[-1].isdigit() and not self._bare:
                self.fail(f"{text} what? {text}m or {text}s", param, ctx)
        if found is None:
            seconds_too = ", or a number of seconds" if self._bare else ""
            self.fail(f"{value!r} is not a time: 90s, 20m, 2h{seconds_too}", param, ctx)
        if found == float("inf") or found < self._least or (self._open and found == self._least):
            bound = "more than" if self._open else "at least"
            self.fail(f"{value!r} is too short or too long: it has to be {bound} {self._least:g} s", param, ctx)
        return found


TIME = Duration()
POSITIVE = Duration(open_=True)
SECONDS = Duration(bare=True)
POSITIVE_SECONDS = Duration(open_=True, bare=True)
