"""Images from outside are opened within limits: no format that executes something, and none that fills the memory."""

from __future__ import annotations

import struct
import zlib

import pytest

from lecoder_cgpu.system import images

pytest.importorskip("PIL")


def png(width: int, height: int) -> bytes:
    """The beginning of an image of that size, whose pixels never come."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_is_opened() -> None:
    assert images.opened(png(6000, 3600)).size == (6000, 3600)


@pytest.mark.parametrize(
    "content",
    [
        png(8000, 8000),
        png(60_000, 60_000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EndProlog\nshowpage\n%%EOF\n",
        b"P6 1 1 255\nabc",
        b"",
    ],
    ids=("large", "bomb", "eps", "ppm", "empty"),
)
@pytest.mark.filterwarnings("error")
def test_what_is_not_opened(content: bytes) -> None:
    with pytest.raises((OSError, ValueError)):
        images.opened(content)
