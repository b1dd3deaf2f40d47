"""What a terminal's replay has in common with what was shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.jupyter.terminal import overlap

letters = st.text("ab", max_size=12)


@given(letters, letters)
def test_overlap(shown: str, replay: str) -> None:
    """The longest end of the one with which the other begins."""
    longest = max(size for size in range(min(len(shown), len(replay)) + 1) if shown.endswith(replay[:size]))
    assert overlap(shown, replay) == longest


def test_overlap_takes_linear_time() -> None:
    """A screen of the same character does not take seconds."""
    assert overlap("a" * 200_000 + "b", "a" * 200_000) == 0
    assert overlap("b" + "a" * 200_000, "a" * 200_001) == 200_000
