"""Reading on from a recording: nothing twice, nothing left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lecoder_cgpu.helper.documents import Chunk, RunState
from lecoder_cgpu.runs.recording import RecordingReader

RUN = "run-0123456789abcdef"

IDS = ["k_1_9", "k_1_10", "k_1_12", "k_1_11", "k_1_13"]  # threads of a kernel take numbers, and then queue for sending


@pytest.mark.parametrize(
    ("after", "new"),
    [(None, IDS), ("k_1_9", IDS[1:]), ("k_1_12", ["k_1_11", "k_1_13"]), ("k_1_11", ["k_1_13"]), ("k_1_13", [])],
)
def test_what_is_new_goes_by_order(after: str | None, new: list[str]) -> None:
    """Everything behind the last message that is known, whatever the numbers say."""
    assert sifted(IDS, after) == new


@pytest.mark.parametrize(
    ("after", "new"),
    [("k_1_8", IDS), ("k_1_11", ["k_1_12", "k_1_13"])],
)
def test_the_known_message_may_be_missing(after: str, new: list[str]) -> None:
    """The recorder came later than the last message that is known, or the kernel threw that away: what lies behind it
    by number is shown in the end, and not swallowed."""
    assert sifted([name for name in IDS if name != after], after) == new


def test_what_the_reader_should_have_had() -> None:
    """Messages up to the known one are counted: a reader who had fewer has lost some without noticing."""
    helper: Any = _Recorded(IDS)
    recording = RecordingReader(helper, RUN, "k_1_12")
    recording.pull()
    assert recording.passed == 3


def test_what_an_interrupt_has_cut_off_is_given_later() -> None:
    """Ctrl-C in the middle of a long reading loses nothing of what was read, and nothing comes twice."""
    helper: Any = _Interrupted(IDS)
    recording = RecordingReader(helper, RUN)
    with pytest.raises(KeyboardInterrupt):
        recording.pull()
    recording.resume(helper)
    assert [message.header.msg_id for message in recording.pull()] == [*IDS, "k_1_99"]


def test_much_is_given_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was recorded of a run that prints without end need not fit into memory; lines come in many pieces."""
    monkeypatch.setattr("lecoder_cgpu.runs.recording.AT_ONCE", 300)
    helper: Any = _Recorded(IDS, piece=7)
    recording = RecordingReader(helper, RUN)
    parts = [recording.pull()]
    while recording.more:
        parts.append(recording.pull())
    assert [message.header.msg_id for part in parts for message in part] == [*IDS, "k_1_99"]
    assert (len(parts) > 2, all(parts), recording.ended) == (True, True, True)


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[1, 2]", b'{"header": 5}'])
def test_lines_that_are_no_messages(line: bytes) -> None:
    """Code on the runtime can write to the file: such a line is passed over, and the output is not called complete."""
    helper: Any = _Recorded(IDS[:2], line + b"\n")
    recording = RecordingReader(helper, RUN)
    assert [message.header.msg_id for message in recording.pull()] == [*IDS[:2], "k_1_99"]
    assert recording.ended
    assert recording.passed_over == 1
    assert recording.is_incomplete()


def sifted(names: list[str], after: str | None) -> list[str]:
    """The messages that are given to the reader, by id."""
    helper: Any = _Recorded(names)
    return [message.header.msg_id for message in RecordingReader(helper, RUN, after).pull()][: -1 if names else None]


class _Recorded:
    """A recording of messages with these ids, and the end."""

    def __init__(self, names: list[str], first: bytes = b"", piece: int | None = None) -> None:
        self._piece = piece
        lines = [_line(name, "stream", {"name": "stdout", "text": name}) for name in names]
        self._content = b"".join([first, *lines, _line("k_1_99", "status", {"execution_state": "idle"})])

    def read(self, run: str, stream: str, offset: int) -> Chunk:
        return Chunk(offset=offset, size=len(self._content), data=self._content[offset:][: self._piece])

    def close(self) -> None:
        pass

    def state(self, run: str) -> RunState:
        return RunState(run=run, state="exited")


class _Interrupted(_Recorded):
    """The same in two pieces; the user interrupts the second reading."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self._interrupt = True

    def read(self, run: str, stream: str, offset: int) -> Chunk:
        if offset and self._interrupt:
            self._interrupt = False
            raise KeyboardInterrupt
        data = super().read(run, stream, offset).data
        return Chunk(offset=offset, size=len(self._content), data=data if offset else data[: len(data) // 2])


def _line(name: str, kind: str, content: dict[str, str]) -> bytes:
    message = {
        "channel": "iopub",
        "header": {"msg_id": name, "msg_type": kind},
        "parent_header": {"msg_id": RUN},
        "metadata": {},
        "content": content,
    }
    return json.dumps(message).encode() + b"\n"
