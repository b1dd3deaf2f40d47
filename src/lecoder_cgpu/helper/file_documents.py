"""What the runtime answers to requests about files, typed. Sizes and offsets are bytes.

The helper (`guest/files.py`) sends these as JSON; the contents API makes the same from what the server says.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from ..guest.packs import PackProblem
from ..guest.trees import FILE, FOLDER, Entry


class Stat(Struct):
    """What is at a path, links followed.

    Attributes:
        path: absolute, as it was asked for. real: the same with every link resolved.
        entry: None when nothing is there.
    """

    path: str
    real: str
    entry: Entry | None = None

    @property
    def is_file(self) -> bool:
        return self.entry is not None and self.entry.kind == FILE

    @property
    def is_folder(self) -> bool:
        return self.entry is not None and self.entry.kind == FOLDER


class Found(NamedTuple):
    """The size (bytes) and mtime (nanoseconds since 1970) by which a changed file is noticed. Travels as a list."""

    size: int
    mtime: int


class HalfWritten(Struct):
    """A file that is being uploaded.

    Attributes:
        part: the path of the half-written file. path: the real path of the target.
        offset: how much of the file is there already.
    """

    part: str
    path: str
    offset: int


class Part(NamedTuple):
    """A piece of a file."""

    offset: int
    size: int


class Packed(NamedTuple):
    """A pack, and why entries are missing in it."""

    problems: list[PackProblem]
    content: memoryview


class Listing(Struct):
    """The lines of a folder, or one page of a longer listing; `end` tells whether it is the last page."""

    entries: list[Entry]
    end: bool = True


class HashState(Struct):
    """How far a hash is: `result` (hex) once it has ended."""

    ended: bool
    done: int = 0
    result: str | None = None


class DigestsState(Struct):
    """The same for the hashes of many files."""

    ended: bool
    done: int = 0
    result: dict[str, str] | None = None


class RemovalState(Struct):
    """The same for the deletion of a folder; `result` counts what was deleted."""

    ended: bool
    done: int = 0
    result: int | None = None


class Deleted(Struct):
    """The names that were there and were deleted."""

    deleted: list[str]


class PackProblems(Struct):
    """Why entries are missing in the pack that comes along."""

    problems: list[PackProblem]


class Nothing(Struct):
    """An answer that says no more than that it was done."""


class Problem(Struct):
    """What the helper could not do."""

    name: str
    message: str


class Failed(Struct):
    """An answer: `error` when the request was not served."""

    error: Problem | None = None
