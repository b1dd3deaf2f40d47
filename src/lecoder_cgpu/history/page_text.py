"""Text of the history's page: escaped, and times and durations as its readers see them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from ..models.base import Timing

if TYPE_CHECKING:
    from ..models.history import HistoryEntry

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def escaped(content: str) -> str:
    """Text, without characters that a page must not contain."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", content.replace("\r\n", "\n").replace("\r", "\n")))


def milliseconds(entry: HistoryEntry) -> int | None:
    """How long a run took; None if that is not known."""
    return entry.timing.duration_ms if isinstance(entry.timing, Timing) else None


def moment(stamp: str) -> str:
    """A time to the second."""
    return stamp[:19].replace("T", " ")


def readable(duration: int) -> str:
    """A duration in milliseconds, for people."""
    if duration < 1000:
        return f"{duration} ms"
    seconds = duration / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
