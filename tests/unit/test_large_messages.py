"""Large messages are cut while they come: the same text arrives, in the same pieces, wherever it comes from."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.jupyter import large_messages, messages
from lecoder_cgpu.net import frames

from .test_frames import served

ODD = st.text(st.sampled_from('ab"\\\n\t/\u20ac\U0001f600\ud83d\ude00\x00u'), max_size=60)


def stream(text: str, **more: Any) -> dict[str, Any]:
    header = {"msg_id": "k_1_15", "msg_type": "stream", "session": "s"}
    parent = {"msg_id": "run-1", "msg_type": "execute_request", "session": "s"}
    content = {"name": "stdout", "text": text}
    return {"header": header, "parent_header": parent, "metadata": {}, "content": content, "buffers": [], **more}


def v1_frame(message: dict[str, Any]) -> bytes:
    parts = [json.dumps(message[name]).encode() for name in ("header", "parent_header", "metadata", "content")]
    parts.insert(0, b"iopub")
    offsets = [8 * 7]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack("<7Q", 6, *offsets) + b"".join(parts)


def cut(data: bytes, step: int, **kind: bool) -> list[messages.Message]:
    cutter = large_messages.Cutter(**kind)
    found = [item for begin in range(0, len(data), step) for item in cutter.feed(data[begin : begin + step])]
    return [messages.decode(item, messages.V1_SUBPROTOCOL) for item in [*found, *cutter.end()]]


@given(ODD, st.integers(1, 40), st.booleans())
def test_text_is_whole_wherever_it_is_cut(text: str, step: int, ascii_only: bool) -> None:
    """Also within escape sequences, surrogate pairs and characters of several bytes; halves of pairs are replaced."""
    before = large_messages.PIECE, large_messages.HEAD
    large_messages.PIECE, large_messages.HEAD = 7, 300
    try:
        plain = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        data = json.dumps(stream(plain if not ascii_only else text), ensure_ascii=ascii_only).encode()
        for found in (cut(data, step), cut(v1_frame(stream(text)), step, binary=True, v1=True)):
            assert "".join(message.content["text"] for message in found) == plain
            assert [message.header.msg_id for message in found] == [
                *(f"k_1_15/{number}" for number in range(len(found) - 1)),
                "k_1_15",
            ]
            assert all((message.channel, message.parent) == ("iopub", "run-1") for message in found)
    finally:
        large_messages.PIECE, large_messages.HEAD = before


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(stream("x", header={"msg_id": "k_1_15", "msg_type": "display_data"})).encode(),
        json.dumps({"header": {"msg_id": "1"}, "metadata": stream("nested"), "content": {}}).encode(),
    ],
)
def test_other_messages_come_whole(data: bytes) -> None:
    found = list(large_messages.Cutter().feed(data))
    assert found == []
    cutter = large_messages.Cutter()
    assert [*cutter.feed(data), *cutter.end()] == [data.decode()]


def test_what_is_too_much_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other messages beyond the limit, and text that breaks off: nothing is held, and something is missing."""
    monkeypatch.setattr(large_messages, "MOST", 1000)
    cutter = large_messages.Cutter()
    assert [*cutter.feed(b"{" + b" " * 2000), *cutter.feed(b"}"), *cutter.end()] == [""]
    cutter = large_messages.Cutter()
    half = json.dumps(stream("x" * 100_000)).encode()[:90_000]
    assert [*cutter.feed(half), *cutter.end()] == [""]


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_frames_of_a_large_message_are_cut(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """In one frame or in several, with pings between them; what is small comes whole."""
    monkeypatch.setattr(frames, "TOO_MUCH", 1000)
    monkeypatch.setattr(large_messages, "PIECE", 400)
    content = json.dumps(stream("é" * 1500)).encode()
    small = served(frames.TEXT, b"small")
    parts = served(frames.TEXT, content[:700], final=False) + served(frames.PING, b"?")
    parts += served(frames.CONTINUATION, content[700:5000], final=False) + served(frames.PING, b"!")
    parts += served(frames.CONTINUATION, content[5000:]) + small
    for data, pings in ((served(frames.TEXT, content) + small, 0), (parts, 2)):
        reader = frames.Reader(1 << 20, lambda kind: large_messages.Cutter())
        found = [item for begin in range(0, len(data), step) for item in reader.feed(data[begin : begin + step])]
        assert sum(kind == frames.PING for kind, _ in found) == pings
        *pieces, last = [payload for kind, payload in found if kind == frames.TEXT]
        assert last == "small"
        assert "".join(messages.decode(piece).content["text"] for piece in pieces) == "é" * 1500


def test_a_reader_goes_on_behind_a_piece() -> None:
    """Of a message that was cut elsewhere, and is whole here."""
    whole = messages.decode(json.dumps(stream("x" * large_messages.PIECE * 2 + "rest")))
    assert large_messages.behind(whole, "k_1_14/1") is None
    rest = large_messages.behind(whole, "k_1_15/1")
    assert rest is not None
    assert rest.content["text"] == "rest"
    assert (messages.number_of("k_1_15/1"), messages.whole_id("k_1_15/1")) == (15, "k_1_15")
