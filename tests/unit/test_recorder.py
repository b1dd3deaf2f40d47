"""How the recorder counts what it has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.guest import kernel_sockets
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


def test_the_beginning_was_missed(tmp_path: Path) -> None:
    """Code that was executed before the recorder listened was not dropped, and not all of it is known to be there."""
    seen = Recording(str(made(tmp_path / "run-1")), "k", None)
    seen.add("stream", b'{"msg_id":"k_1_2"}', b"{}", b"{}", b'{"name":"stdout","text":"x"}')
    seen.finish()
    assert (seen.begun, (read_json(str(tmp_path / "run-1" / "result.json")) or {})["gap"]) == (True, True)
    ended, quiet = EndedRuns(), Recording(str(made(tmp_path / "run-2")), "k", None)
    quiet.add("status", b'{"msg_id":"k_1_2"}', b"{}", b"{}", b'{"execution_state":"idle"}')
    quiet.finish(aborted=True)
    ended.add(quiet)
    ended.tell("run-2", {"status": "ok"})
    result = read_json(str(tmp_path / "run-2" / "result.json")) or {}
    assert (result["verdict"], result["exit"], "aborted" in result) == ("ok", 0, False)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@given(
    st.text(st.sampled_from('ab"\\\n\u20ac\U0001f600\ud83d\ude00u'), max_size=40), st.integers(13, 30), st.booleans()
)
def test_much_text_is_taken_in_pieces(text: str, window: int, ascii_only: bool) -> None:
    """The same as at once, wherever it is cut."""
    before = kernel_sockets.LARGE, kernel_sockets._WINDOW
    kernel_sockets.LARGE, kernel_sockets._WINDOW = 1, window
    try:
        if not ascii_only:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        content = json.dumps({"name": "stderr", "text": text}, ensure_ascii=ascii_only).encode()
        name, pieces = kernel_sockets.stream_text(memoryview(content))
        plain = json.loads(content)["text"]
        assert (name, b"".join(pieces)) == ("stderr", plain.encode("utf-8", "surrogatepass"))
    finally:
        kernel_sockets.LARGE, kernel_sockets._WINDOW = before


def test_a_large_message_is_recorded_as_it_came(tmp_path: Path) -> None:
    """As one line, and as text."""
    recording = Recording(str(tmp_path), "kernel", None)
    content = json.dumps({"name": "stdout", "text": "zeile\n" * 400_000}).encode()
    recording.add("stream", b'{"msg_id":"k_1_2"}', b"{}", b"{}", memoryview(content))
    recording.rest()
    assert (tmp_path / "stdout").read_text() == "zeile\n" * 400_000
    line = json.loads((tmp_path / "messages").read_text())
    assert (line["content"]["text"], line["metadata"]) == ("zeile\n" * 400_000, {})
