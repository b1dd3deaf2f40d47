"""WebSocket frames on their way through the fake's proxy: what it drops, and for what it closes the socket."""

from __future__ import annotations

import struct
from typing import Literal

from .state import Switches

BINARY = 2
UNACCEPTABLE, TOO_BIG = 1003, 1009  # close codes

Verdict = Literal["pass", "drop"] | int


class Frames:
    """Splits a stream of bytes into frames. What a frame's continuations are is what its beginning was."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._kind = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; returns the frames that are complete now, as their kind and all their bytes."""
        self._held += data
        found = []
        while (size := self._size()) is not None and len(self._held) >= size:
            kind = self._held[0] & 0x0F
            self._kind = kind or self._kind
            found.append((self._kind if kind == 0 else kind, bytes(self._held[:size])))
            del self._held[:size]
        return found

    def _size(self) -> int | None:
        """How long the first frame is, None while that cannot be told."""
        if len(self._held) < 2:
            return None
        short = self._held[1] & 0x7F
        extra = {126: 2, 127: 8}.get(short, 0)
        if len(self._held) < 2 + extra:
            return None
        length = short
        if extra:
            (length,) = struct.unpack_from(">H" if extra == 2 else ">Q", self._held, 2)
        return 2 + extra + (4 if self._held[1] & 0x80 else 0) + int(length)


def verdict(kind: int, size: int, *, binary: str, limit: int | None) -> Verdict:
    """What becomes of a frame: it passes, is dropped, or closes the socket with a code."""
    if limit is not None and size > limit and kind in (1, BINARY):
        return TOO_BIG
    if kind == BINARY and binary != "passes":
        return "drop" if binary == "swallowed" else UNACCEPTABLE
    return "pass"


def passed(found: list[tuple[int, bytes]], switches: Switches, *, upwards: bool) -> tuple[bytes, int | None]:
    """What the switches let pass of these frames, and the code with which they close the socket behind it, if so."""
    kept: list[bytes] = []
    for kind, frame in found:
        what = verdict(kind, len(frame), binary=switches.binary, limit=switches.frame_limit)
        if isinstance(what, int):
            return b"".join(kept), what
        if what == "pass":
            whole = frame[0] in (0x80 | 1, 0x80 | BINARY)
            kept += [frame] * (2 if switches.repeats and whole and not upwards else 1)
    return b"".join(kept), None


def close_frame(code: int) -> bytes:
    """A server's close frame."""
    return struct.pack(">BBH", 0x88, 2, code)
