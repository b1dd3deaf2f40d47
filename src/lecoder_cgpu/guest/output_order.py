"""In which order a run wrote to its two streams: the file `order` beside `stdout` and `stderr`.

It holds four bytes, big endian, for each piece: the highest bit tells the stream (1 is stderr), the others how many
bytes the piece has. Runs of version 0.6.0 and older have no such file.

Runs on the runtime (Python 3.8 and newer, standard library only); the client reads the file with it, too.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "order"
SIZE = 4  # bytes of one entry
_STDERR = 1 << 31


def entry(name: str, size: int) -> bytes:
    """The entry of a piece of less than 2 GiB."""
    return struct.pack(">I", size | (_STDERR if name == "stderr" else 0))


def pieces(content: bytes) -> Iterator[tuple[str, int]]:
    """The stream and the size of each piece, neighbours of one stream joined; half an entry at the end is left out."""
    last, total = "stdout", 0
    for (number,) in struct.iter_unpack(">I", content[: len(content) // SIZE * SIZE]):
        name = "stderr" if number & _STDERR else "stdout"
        if name != last:
            if total:
                yield last, total
            last, total = name, 0
        total += number & ~_STDERR
    if total:
        yield last, total


def may_begin(folder: str) -> bool:
    """Whether the order can be written down from here on: it must tell of every byte from the first one."""
    for name in (FILE, "stdout", "stderr"):
        with contextlib.suppress(OSError):
            if os.stat(os.path.join(folder, name)).st_size:
                return name == FILE
    return True
