"""Frames of WebSockets: what one implementation sends, the other reads, ours and that of the websockets library."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets import frames as theirs
from websockets.protocol import OPEN, SERVER, Protocol

from lecoder_cgpu.net import frames, kept_line

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 200_000)
MOST = 1 << 20


def served(kind: int, payload: bytes, *, final: bool = True) -> bytes:
    """A frame as servers send it."""
    return theirs.Frame(theirs.Opcode(kind), payload, final).serialize(mask=False)


def read(data: bytes, step: int = MOST, largest: int = MOST) -> list[tuple[int, Any]]:
    """What a reader makes of bytes that come in pieces."""
    reader = frames.Reader(largest)
    return [item for begin in range(0, len(data), step) for item in reader.feed(data[begin : begin + step])]


@pytest.mark.parametrize("size", SIZES)
def test_what_we_send_is_read(size: int) -> None:
    """By the library, as the server: masked, of every form of length."""
    server = Protocol(SERVER, state=OPEN, max_size=None)
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    server.receive_data(frames.frame(frames.BINARY, content) + frames.frame(frames.TEXT, b"text"))
    first, second = server.events_received()
    assert isinstance(first, theirs.Frame)
    assert isinstance(second, theirs.Frame)
    assert (first.opcode, first.data, second.opcode, second.data) == (frames.BINARY, content, frames.TEXT, b"text")


@pytest.mark.parametrize("size", SIZES)
def test_what_servers_send_is_read(size: int) -> None:
    """Of every form of length, whole and in pieces."""
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    data = served(frames.BINARY, content) + served(frames.PING, b"there?")
    for step in (MOST, 4093, 7 if size < 1000 else 65536):
        assert read(data, step) == [(frames.BINARY, content), (frames.PING, b"there?")]


@given(st.lists(st.text(max_size=50), min_size=1, max_size=5), st.integers(1, 40))
def test_messages_in_several_frames(parts: list[str], step: int) -> None:
    """They are joined, and a ping may come in between."""
    last = len(parts) - 1
    data = b""
    for number, part in enumerate(parts):
        kind = frames.CONTINUATION if number else frames.TEXT
        data += served(kind, part.encode(), final=number == last) + served(frames.PING, b"%d" % number)
    found = read(data, step)
    assert [payload for kind, payload in found if kind == frames.TEXT] == ["".join(parts)]
    assert [payload for kind, payload in found if kind == frames.PING] == [b"%d" % n for n in range(len(parts))]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc1\x00", frames.VIOLATION),  # a bit of an extension
        (b"\x81\x80\0\0\0\0", frames.VIOLATION),  # masked
        (b"\x83\x00", frames.VIOLATION),  # an unknown kind
        (b"\x8b\x00", frames.VIOLATION),
        (b"\x09\x00", frames.VIOLATION),  # a ping in several frames
        (b"\x89\x7e\x00\x7e", frames.VIOLATION),  # a ping of 126 bytes
        (b"\x80\x00", frames.VIOLATION),  # continues nothing
        (b"\x01\x01a\x81\x01b", frames.VIOLATION),  # a new message inside another
        (b"\x81\x01\xff", frames.NOT_TEXT),
        (b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", frames.TOO_BIG),  # before anything is kept
        (b"\x02\x03abc\x80\x7e\xff\xff", frames.TOO_BIG),  # the parts together
    ],
)
def test_what_no_server_may_send(data: bytes, code: int) -> None:
    """It is refused with the code that the protocol has for it, also when it comes byte by byte."""
    for step in (100, 1):
        with pytest.raises(frames.Broken) as broken:
            read(data, step, 1000)
        assert broken.value.code == code


@given(st.binary(max_size=300))
def test_anything(data: bytes) -> None:
    """Whatever comes is read, waited for, or refused."""
    with contextlib.suppress(frames.Broken):
        assert sum(len(payload) for _, payload in read(data, 3, 100)) <= len(data)


def test_close_frames() -> None:
    """Code and reason; a reason that is no text or too long does no harm."""
    [(kind, payload)] = read(served(frames.CLOSE, b"\x0f\xa0because"))
    assert (kind, frames.closing(payload)) == (frames.CLOSE, (4000, "because"))
    assert frames.closing(b"") == (frames.NO_CODE, "")
    assert frames.closing(b"\x03\xe8\xff").code == frames.IN_ORDER
    with pytest.raises(frames.Broken):
        frames.closing(b"\x03")
    assert len(frames.close(frames.TOO_BIG, "x" * 500)) == 2 + 4 + frames.SHORT


def test_where_messages_end() -> None:
    """Whatever way the bytes come."""
    frame = b"\x81\x05hello" + b"\x01\x02ab" + b"\x89\x01p" + b"\x80\x7e\x01\x00" + b"c" * 256 + b"\x8a\x00"
    for size in (1, 2, 3, 7, len(frame)):
        found = kept_line.Boundaries()
        heard = [item for at in range(0, len(frame), size) for item in found.feed(frame[at : at + size])]
        assert (heard, found.between_messages) == ([(9, b"p"), (10, b"")], True)
    assert list(found.feed(frame[:9])) == []
    assert not found.between_messages
    with pytest.raises(kept_line.Over):
        list(kept_line.Boundaries().feed(b"\x81\x85"))
