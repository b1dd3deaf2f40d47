"""How the recorder counts what it has not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lecoder_cgpu.guest.recording import EndedRuns, Numbers, Recording
from lecoder_cgpu.guest.state_files import read_json


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


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("reply", "verdict", "ename"),
    [({"status": "ok"}, "ok", None), ({"status": "error", "ename": "E", "evalue": "v"}, "error", "E")],
)
def test_a_client_tells_how_a_run_ended(
    tmp_path: Path, reply: dict[str, str], verdict: str, ename: str | None, *, early: bool
) -> None:
    """Before or after its end was seen; what the kernel itself has told is not changed by it."""
    ended = EndedRuns()
    unknown, known = (Recording(str(made(tmp_path / name)), "k", None) for name in ("run-1", "run-2"))
    known.take_reply({"status": "ok"})
    for recording in (unknown, known):
        if early:
            ended.tell(recording.id, reply)
        recording.finish()
        ended.add(recording)
        if not early:
            ended.tell(recording.id, reply)
    results = [read_json(str(tmp_path / name / "result.json")) or {} for name in ("run-1", "run-2")]
    assert [result["verdict"] for result in results] == [verdict, "ok"]
    assert (results[0]["exit"], (results[0]["error"] or {}).get("ename")) == (0 if verdict == "ok" else 1, ename)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder
