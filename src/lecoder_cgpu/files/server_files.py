"""Reads files from the Jupyter server itself, which streams what lies below its root from the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from .. import errors
from ..guest.files import Task
from ..helper.documents import Hello
from ..jupyter.server import Server

RANGE = 16 << 20  # bytes of one request to a distant server, several at a time
RANGES_AT_ONCE = 4

Piece = bytes | bytearray | memoryview
# Reads a range (start, end) of the file with this real path; None where the server does not have that file.
ReadRange = Callable[[str, int, int], Iterator[Piece] | None]


def range_reader(server: Server, hello: Hello, folder: str) -> ReadRange:
    """Reads files below the server's root.

    The helper's kernel starts in the folder of its path below that root, so its working folder tells the root. Stock
    servers serve no hidden files (protocol J30).

    Args:
        folder: of the helper's kernel, below the server's root.
    """
    root = hello.cwd
    for _ in [part for part in folder.split("/") if part]:
        root = root.rpartition("/")[0]
    prefix = root.rstrip("/") + "/"

    def read(path: str, start: int, end: int) -> Iterator[Piece] | None:
        if not path.startswith(prefix):
            return None
        name = path[len(prefix) :]
        if any(part.startswith(".") for part in name.split("/")):
            return None
        return server.read_file(name, start, end)

    return read


def side_by_side(
    read: Callable[[int, int], Iterator[Piece] | None], start: int, end: int, take: Callable[[Piece], None]
) -> None:
    """Read a range in pieces, several at a time, and take them in order.

    When one fails or the command is interrupted, the threads of the others are left alone: a connection may have
    become silent.
    """

    def fetch(piece: int, task: Task) -> tuple[bytearray, errors.Error | None]:
        content = bytearray()
        try:
            for data in read(piece, min(piece + RANGE, end)) or ():
                content += data
                if task.cancelled:
                    break
        except errors.Error as error:
            return content, error
        return content, None

    def take_next() -> None:
        content, error = coming[0].wait()
        take(content)  # also what came before the error
        if error is not None:
            raise error
        coming.popleft()

    coming: deque[Task] = deque()
    try:
        for piece in range(start, end, RANGE):
            if len(coming) == RANGES_AT_ONCE:
                take_next()
            coming.append(Task(partial(fetch, piece)))
        while coming:
            take_next()
    finally:
        for task in coming:
            task.cancelled = True
