"""Messages that are too large to be held, cut into pieces while they come. Pure.

A kernel that prints without flushing puts hundreds of megabytes into one message (protocol J18). A `Cutter` takes it as
it arrives and gives messages of `PIECE` characters, so that nothing is ever held whole. A piece has the id
of its message with its number behind it (`ID/0`, `ID/1`, …), and the last one the id itself. Wherever the message comes
from, a socket or a recording, its pieces are the same: a reader that has seen some goes on behind them.

Only text that a program prints has no bound. A message of another kind is given whole, and one of more than `MOST`
bytes as "", which is no message.
"""

from __future__ import annotations

import codecs
import json
import re
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from . import messages

LARGE = 16 << 20  # bytes from which on a message is cut
MOST = 48 << 20  # bytes of a message that is not cut
PIECE = 1 << 20  # characters
HEAD = 64 << 10  # bytes in which everything before the text has to be

_CONTENT = rb'\{\s*"name"\s*:\s*"(stdout|stderr)"\s*,\s*"text"\s*:\s*"'
_IN_TEXT = re.compile(rb'"content"\s*:\s*' + _CONTENT)
_ALONE = re.compile(rb"\s*" + _CONTENT)
# What a JSON string may hold up to its end, without half an escape sequence or half a surrogate pair.
_WHOLE = re.compile(
    rb"(?:[^\"\\]+|\\[^u]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?=[^\\]|\\(?:[^u]|u(?:[^dD]|[dD][^c-fC-F])))))*+"
)


class Cutter:
    """Takes one message as it comes.

    Args:
        binary: whether its frame is. v1: and of the v1 subprotocol; any other holds JSON first.
    """

    def __init__(self, *, binary: bool = False, v1: bool = False) -> None:
        self._binary = binary
        self._v1 = binary and v1
        self._came = bytearray()  # not dealt with yet
        self._size = 0
        self._looked = False
        self._stream: dict[str, Any] | None = None  # the message around the text
        self._id = ""
        self._number = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._over = self._complete = False

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[str]:
        """Take the next bytes; yields the pieces that are complete."""
        self._size += len(data)
        if self._over:
            return
        self._came += data
        if not self._looked and len(self._came) >= HEAD:
            self._look()
        if self._stream is not None:
            yield from self._cut()
        elif self._size > MOST:
            self._give_up()

    def end(self) -> Iterator[str | bytes]:
        """The message is complete; yields what is left of it."""
        if not self._looked and not self._over:
            self._look()
            if self._stream is not None:
                yield from self._cut()
        if self._over or self._stream is not None:
            if not self._complete:
                yield ""
        else:
            yield bytes(self._came) if self._binary else self._came.decode("utf-8", "replace")

    def _give_up(self) -> None:
        self._over = True
        self._came.clear()

    def _look(self) -> None:
        """Find out what kind of message it is."""
        self._looked = True
        try:
            found = self._around_v1() if self._v1 else None if self._binary else self._around()
        except (ValueError, KeyError, IndexError, struct.error, RecursionError):
            return
        if found is None:
            return
        stream, begin = found
        header = stream["header"]
        if not isinstance(header, dict) or header.get("msg_type") != "stream":
            return
        self._stream, self._id = stream, str(header.get("msg_id", ""))
        del self._came[:begin]

    def _around(self) -> tuple[dict[str, Any], int] | None:
        found = _IN_TEXT.search(self._came, 0, HEAD)
        if found is None:
            return None
        stream = json.loads(self._came[: found.start()].decode("utf-8", "replace") + '"content": {}}')
        return self._with_content(stream, found), found.end()

    def _around_v1(self) -> tuple[dict[str, Any], int] | None:
        (count,) = struct.unpack_from("<Q", self._came)
        offsets = struct.unpack_from("<6Q", self._came, 8) if count >= 6 else ()
        found = _ALONE.match(self._came, offsets[4], HEAD) if offsets and offsets[4] < HEAD else None
        if found is None:
            return None
        parts = [bytes(self._came[begin:end]) for begin, end in pairwise(offsets[:5])]
        channel, *objects = (part.decode("utf-8", "replace") for part in parts)
        names = ("header", "parent_header", "metadata")
        stream: dict[str, Any] = {"channel": channel, **dict(zip(names, map(json.loads, objects), strict=True))}
        return self._with_content(stream, found), found.end()

    @staticmethod
    def _with_content(stream: dict[str, Any], found: re.Match[bytes]) -> dict[str, Any]:
        stream.setdefault("channel", "iopub")
        stream["content"] = {"name": found[1].decode(), "text": ""}
        return stream

    def _cut(self) -> Iterator[str]:
        found = _WHOLE.match(self._came)
        end = found.end() if found is not None else 0
        closed = self._came[end : end + 1] == b'"'
        # Until it is closed, the end may be the first half of something.
        text = self._decoder.decode(bytes(self._came[:end]), closed)
        del self._came[:end]
        self._text += _unescaped(text)
        while len(self._text) > PIECE:
            yield self._piece(f"{self._id}{messages.PIECE_OF}{self._number}", self._text[:PIECE])
            self._number += 1
            self._text = self._text[PIECE:]
        if closed:
            self._complete = True
            yield self._piece(self._id, self._text)
        if closed or len(self._came) > HEAD:  # the latter is no JSON
            self._give_up()

    def _piece(self, identity: str, text: str) -> str:
        assert self._stream is not None
        self._stream["header"]["msg_id"] = identity
        self._stream["content"]["text"] = text
        return json.dumps(self._stream)


def _unescaped(text: str) -> str:
    try:
        return msgspec.json.decode(f'"{text}"', type=str)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        found = json.loads(f'"{text}"', strict=False)
        assert isinstance(found, str)
        return found


def behind(message: messages.Message, known: str) -> messages.Message | None:
    """What a whole message has behind a piece of it, by that piece's id; None if it is no piece of this message."""
    identity, _, number = known.partition(messages.PIECE_OF)
    text = message.content.get("text")
    if identity != message.header.msg_id or not number.isdecimal() or not isinstance(text, str):
        return None
    message.content["text"] = text[(int(number) + 1) * PIECE :]
    return message
