"""Reading on from a recording: nothing twice, nothing left out."""

from __future__ import annotations

from typing import Any

import pytest

from lecoder_cgpu.recording import Recording

IDS = ["k_1_9", "k_1_10", "k_1_12", "k_1_11", "k_1_13"]  # threads of a kernel take numbers, and then queue for sending


@pytest.mark.parametrize(
    ("after", "new"),
    [(None, IDS), ("k_1_9", IDS[1:]), ("k_1_12", ["k_1_11", "k_1_13"]), ("k_1_11", ["k_1_13"]), ("k_1_13", [])],
)
def test_what_is_new_goes_by_order(after: str | None, new: list[str]) -> None:
    """Everything behind the last message that is known, whatever the numbers say."""
    nobody: Any = None
    recording = Recording(nobody, "run-0123456789abcdef", after)
    assert [name for name in IDS if recording._is_new(name)] == new
