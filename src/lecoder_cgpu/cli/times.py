"""Times as people at a terminal read them: ages, what is still to come, local clock times. Pipes get them in UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from .looks import Cell

_STEPS = ((86400 * 2, 86400, "days"), (3600 * 2, 3600, "h"), (120, 60, "min"))
SKEW = 60.0  # seconds that two clocks may differ by; a time in the past that lies further ahead is shown as it is


def span(seconds: float) -> str:
    """A duration: 0.4 s, 12 s, 2 min 5 s, 3 h 20 min, 2 days 4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, smaller, names in ((86400, 3600, ("day", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= unit:
            first, rest = divmod(whole, unit)
            many = "s" if names[0] == "day" and first > 1 else ""
            return f"{first} {names[0]}{many}" + (f" {rest // smaller} {names[1]}" if rest // smaller else "")
    raise AssertionError(seconds)


def moment(stamp: str) -> float | None:
    """Seconds since 1970 of a time in a document; None if it is not a time."""
    try:
        found = datetime.fromisoformat(stamp)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def utc(stamp: str) -> str:
    """A time of a document to the second, with its zone."""
    return stamp[:19] + "Z" if moment(stamp) is not None and stamp.endswith("Z") else stamp


def local(stamp: str, now: float | None = None) -> str:
    """The time by the clock on the wall: 16:43 today, Nov 28 16:43 this year, else with the year."""
    at = moment(stamp)
    if at is None:
        return stamp
    then, today = datetime.fromtimestamp(at), datetime.fromtimestamp(time.time() if now is None else now)
    if then.date() == today.date():
        return then.strftime("%H:%M")
    return then.strftime("%b %d %H:%M" if then.year == today.year else "%Y-%m-%d %H:%M")


def clock(stamp: str) -> str:
    """The time by the clock on the wall, to the second."""
    at = moment(stamp)
    return stamp if at is None else datetime.fromtimestamp(at).strftime("%H:%M:%S")


def ago(stamp: str, now: float | None = None) -> Cell:
    """How long ago something was: `3 min ago`; in a pipe the time itself."""
    at = moment(stamp)
    if at is None:
        return Cell(stamp)
    passed = (time.time() if now is None else now) - at
    if passed < -SKEW:
        return Cell(utc(stamp), drawn=local(stamp, now))
    return Cell(utc(stamp), drawn="just now" if passed < 2 else f"{rough(passed)} ago")


def told(stamp: str) -> Cell:
    """A time in full for one thing: by the clock on the wall, and how long ago; in a pipe the time itself."""
    passed = ago(stamp)
    return Cell(
        stamp, drawn=f"{local(stamp)} ({passed.drawn})" if passed.drawn.endswith(("ago", "now")) else passed.drawn
    )


def ahead(stamp: str, now: float | None = None) -> Cell:
    """When something will be: `in 19 min`; in a pipe the time itself."""
    at = moment(stamp)
    if at is None:
        return Cell(stamp)
    left = at - (time.time() if now is None else now)
    return Cell(stamp, drawn=f"in {rough(left)}" if left >= 1 else "now")


def rough(seconds: float) -> str:
    """A duration in one unit: 12 s, 3 min, 4 h, 2 days."""
    for least, unit, name in _STEPS:
        if seconds >= least:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"
