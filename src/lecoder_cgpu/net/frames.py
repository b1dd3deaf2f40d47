"""Frames of a WebSocket (RFC 6455) as a client sends and reads them. Pure: bytes in, bytes and messages out.

Ours, because a run that is warm waits for its imports: the websockets library, good as it is, takes 30 ms of 200.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SHORT = 125  # bytes that a control frame may hold, and that a length of one byte can tell
LARGE = 64 << 10  # bytes from which on masking is left to C
TOO_MUCH = 16 << 20  # bytes of a message that is not held whole, where it can be cut

# Codes with which a connection is closed.
IN_ORDER, VIOLATION, NO_CODE, CUT, NOT_TEXT, TOO_BIG = 1000, 1002, 1005, 1006, 1007, 1009


class Broken(Exception):
    """What came breaks the protocol, or a limit of ours; the connection is to be closed with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Close(NamedTuple):
    """What a close frame says."""

    code: int
    reason: str


def frame(kind: int, payload: bytes) -> bytes:
    """One frame with all of a message, or of a ping, a pong or a close."""
    size = len(payload)
    head = bytearray([0x80 | kind])
    if size <= SHORT:
        head.append(0x80 | size)
    elif size < 1 << 16:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    key = os.urandom(4)
    return b"".join((head, key, _masked(payload, key)))


def _masked(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    if size >= LARGE:
        # The library's own mask, in C where it could be built; importing it costs little beside a transfer.
        try:
            from websockets.speedups import apply_mask
        except ImportError:
            from websockets.utils import apply_mask

        return apply_mask(payload, key)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], sys.byteorder)
    return (int.from_bytes(payload, sys.byteorder) ^ mask).to_bytes(size, sys.byteorder)


def close(code: int, reason: str = "") -> bytes:
    """A close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode()[: SHORT - 2])


def closing(payload: bytes) -> Close:
    """What the payload of a close frame says.

    Raises:
        Broken: it may not say that.
    """
    if not payload:
        return Close(NO_CODE, "")
    if len(payload) == 1:
        raise Broken(VIOLATION, "a close frame of one byte")
    return Close(int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace"))


class Cutter(Protocol):
    """Takes a message of more than `TOO_MUCH` bytes as it comes, and gives smaller ones in its place."""

    def feed(self, data: bytes | memoryview) -> Iterator[str | bytes]: ...
    def end(self) -> Iterator[str | bytes]: ...


class Reader:
    """Takes bytes as they come, and gives what is complete.

    Args:
        largest: bytes of a message that are taken.
        cut: makes a `Cutter` for a message of that kind; None where every message is to come whole.
    """

    def __init__(self, largest: int, cut: Callable[[int], Cutter] | None = None) -> None:
        self._largest = largest
        self._cut = cut
        self._cutter: Cutter | None = None  # of the message that is coming
        self._due = 0  # bytes of the frame that go to it
        self._last = False  # whether that frame ends the message
        self._left = bytearray()
        self._kind = CONTINUATION  # of the message whose frames are coming
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, Any]]:
        """Yield the messages and control frames that are complete now: their kind, and their payload (TEXT: as str).

        Raises:
            Broken: see there; nothing can be read any more.
        """
        self._left += data
        while (taken := self._frame()) is not None:
            final, kind, payload = taken
            if self._cutter is not None and kind < CLOSE:
                yield from self._hand_on(self._cutter, payload)
                continue
            if kind >= CLOSE:
                yield kind, payload
                continue
            self._parts.append(payload)
            if kind != CONTINUATION:
                self._kind = kind
            if final:
                yield self._kind, self._whole()

    def _hand_on(self, cutter: Cutter, payload: bytes) -> Iterator[tuple[int, Any]]:
        """Give the cutter what has come of its message."""
        kind = self._kind
        for item in cutter.feed(payload):
            yield kind, item
        if self._last and not self._due:
            self._kind, self._cutter, self._size = CONTINUATION, None, 0
            for item in cutter.end():
                yield kind, item

    def _whole(self) -> str | bytes:
        """The message that is complete, and room for the next one."""
        content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        kind, self._kind, self._parts, self._size = self._kind, CONTINUATION, [], 0
        if kind == BINARY:
            return content
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise Broken(NOT_TEXT, "text that is no UTF-8") from None

    def _frame(self) -> tuple[bool, int, bytes] | None:
        """Take the next frame out of what is left: whether it is the last of its message, its kind, its payload."""
        left = self._left
        if self._due and left:
            return False, CONTINUATION, self._take(min(self._due, len(left)))
        if len(left) < 2 or self._due:
            return None
        final, kind, size, begin = bool(left[0] & 0x80), left[0] & 0x0F, left[1] & 0x7F, 2
        self._check(left[0], left[1])
        if size > SHORT:
            begin = 4 if size == 126 else 10
            if len(left) < begin:
                return None
            size = int.from_bytes(left[2:begin], "big")
        if kind < CLOSE and self._size + size > self._largest:
            raise Broken(TOO_BIG, f"a message of more than {self._largest} bytes")
        if kind < CLOSE and self._cut is not None and (self._cutter or self._size + size > TOO_MUCH):
            return self._begin_to_cut(self._cut, final, kind, begin, size)
        if len(left) < begin + size:
            return None
        del left[:begin]
        payload = self._take(size)
        if kind < CLOSE:
            self._size += size
        return final, kind, payload

    def _take(self, size: int) -> bytes:
        with memoryview(self._left) as view:
            payload = bytes(view[:size])
        del self._left[:size]
        self._due -= min(self._due, size)
        return payload

    def _begin_to_cut(
        self, cut: Callable[[int], Cutter], final: bool, kind: int, begin: int, size: int
    ) -> tuple[bool, int, bytes]:
        """Take the head of a frame whose message is cut, with what was kept of the message until now."""
        del self._left[:begin]
        before = b"".join(self._parts)
        self._parts, self._last = [], final
        if self._cutter is None:
            self._kind = self._kind if kind == CONTINUATION else kind
            self._cutter = cut(self._kind)
        self._due, self._size = size, self._size + size
        return False, CONTINUATION, before

    def _check(self, first: int, second: int) -> None:
        """Refuse the first two bytes of a frame that no server may send."""
        kind = first & 0x0F
        if first & 0x70 or second & 0x80:
            raise Broken(VIOLATION, "a frame with bits that nobody has agreed to")
        if kind not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise Broken(VIOLATION, "a frame of an unknown kind")
        if kind >= CLOSE and (second > SHORT or not first & 0x80):
            raise Broken(VIOLATION, "a control frame that is too long")
        if kind < CLOSE and (kind == CONTINUATION) != bool(self._parts or self._cutter):
            raise Broken(VIOLATION, "a frame that does not continue what came before")
