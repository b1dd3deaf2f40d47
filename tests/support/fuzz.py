"""Random input for what reads what others have made: drawn by hypothesis as bytes, which decide everything.

A check takes `Choices` and builds its input from them, so that the same bytes are the same input. Bytes that once found
something are kept in `tests/fuzz/corpora/NAME.txt`, a line of hex each, and are tried first, for ever.
`pytest tests/fuzz --fuzz 300` goes on for 300 seconds with each check; without it, a second or two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

CORPORA = Path(__file__).parents[1] / "fuzz" / "corpora"
FEW, MANY = 40, 1000  # examples: of the usual run, and between two looks at the clock of a long one
FEW_SECONDS = 8.0  # that the usual run takes at most, on a busy machine
T = TypeVar("T")


class Choices:
    """Decisions that bytes make. Behind their end, every decision is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, limit: int) -> int:
        """A number from 0 on."""
        size = 1 if limit <= 256 else 2
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "big") % limit

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def raw(self, most: int) -> bytes:
        """Some bytes as they are."""
        size = self.below(most + 1)
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def json(self, depth: int = 3) -> Any:
        """Any JSON, of values that programs get wrong."""
        kind = self.below(10 if depth else 8)
        if kind == 8:
            return [self.json(depth - 1) for _ in range(self.below(4))]
        if kind == 9:
            return {self.pick(WORDS): self.json(depth - 1) for _ in range(self.below(5))}
        return self.pick(VALUES)


WORDS = (
    "entries", "entry", "end", "error", "name", "message", "path", "real", "result", "ended", "done", "size", "mtime",
    "problems", "type", "content", "id", "kernel", "deleted", "offset", "part", "last_modified", "hash", "", "²",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, -(10**400), 1.5, 1e308, float("inf"), float("nan"), "", "file",
    "folder", "link", "a", "../x", "/etc/passwd", "a\0b", "\ud800", "²", "x" * 5000, [], {}, [None], [[]], "NoSuchCall",
    "outside", "9999-99-99T99:99:99Z", "0001-01-01T00:00:00", "UnsafeName",
)  # fmt: skip


class Fuzz:
    """Runs a check on what a corpus has kept, and then on examples of hypothesis.

    Args:
        seconds: how long; 0 for a few examples.

    Attributes:
        runs: how many examples were tried.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.runs = 0

    def __call__(self, name: str, check: Callable[[Choices], None]) -> None:
        until = time.monotonic() + (self._seconds or FEW_SECONDS)
        kept = CORPORA / f"{name}.txt"
        for line in kept.read_text("ascii").split() if kept.exists() else ():
            check(Choices(bytes.fromhex(line)))

        def one(data: bytes) -> None:
            if time.monotonic() < until:  # what is left of hypothesis's examples then passes by
                self.runs += 1
                check(Choices(data))

        self._examples(one, FEW)
        while self._seconds and time.monotonic() < until:
            self._examples(one, MANY)

    def _examples(self, one: Callable[[bytes], None], number: int) -> None:
        few = self._seconds == 0
        chosen = settings(
            max_examples=number,
            database=None,
            derandomize=few and settings.default is not None and settings.default.derandomize,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )
        chosen(given(st.binary(min_size=20, max_size=400))(one))()
