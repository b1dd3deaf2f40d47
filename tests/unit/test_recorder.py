"""How the recorder counts what it has not seen."""

from __future__ import annotations

import pytest

from lecoder_cgpu.guest.recording import Numbers


@pytest.mark.parametrize(
    ("own", "foreign", "missing"),
    [
        ("4 5 6 8", "", 0),  # 7 is the reply
        ("4 5 6 9", "", 1),
        ("4 6 5 8", "", 0),  # threads send out of order
        ("4 9", "6 7", 0),  # 5 or 8 is their reply, the other one ours
        ("4 12", "6 7", 3),
        ("4 6", "2 3", 0),  # what came before the run says nothing
        ("4", "", 0),
        ("", "", 0),
    ],
)
def test_counting(own: str, foreign: str, missing: int) -> None:
    """Only what cannot be a reply is missing."""
    numbers = Numbers()
    first, *rest = own.split() or [""]
    numbers.note(f"kernel_1_{first}")
    for number in foreign.split():
        numbers.note_foreign(f"kernel_1_{number}", "request")
    for number in rest:
        numbers.note(f"kernel_1_{number}")
    assert numbers.missing() == missing


def test_other_sources_do_not_count() -> None:
    """Forked processes number for themselves; other kernels may not number at all."""
    numbers = Numbers()
    for msg_id in ("kernel_1_4", "kernel_2_5", "kernel_2_6", "kernel_1_7", "odd"):
        numbers.note(msg_id)
    assert numbers.missing() == 1
