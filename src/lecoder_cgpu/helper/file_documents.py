"""What the runtime answers to requests about files, typed. Sizes and offsets are bytes.

The helper (`guest/files.py`) sends these as JSON; the contents API makes the same from what the server says.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from ..guest.packs import PackProblem
from ..guest.trees import FILE, FOLDER, LINK, OUTSIDE, SPECIAL, Entry

KINDS = frozenset((FILE, FOLDER, LINK, OUTSIDE, SPECIAL))
LARGEST = 1 << 62  # bytes, and nanoseconds
Count = Annotated[int, Meta(ge=0, le=LARGEST)]


def check_entry(entry: Entry) -> None:
    """Check what a line of a listing says: types are not enough.

    Raises:
        ValueError: it says something that no file can have.
    """
    if entry.kind not in KINDS:
        raise ValueError(f"an unknown kind of file: {entry.kind[:20]!r}")
    if not (0 <= entry.size <= LARGEST and -LARGEST <= entry.mtime <= LARGEST):
        raise ValueError("an impossible size or time")
    if entry.mode is not None and not 0 <= entry.mode <= 0o7777:
        raise ValueError("an impossible mode")
    if "\0" in entry.name or "\0" in (entry.target or ""):
        raise ValueError("a name with a NUL character")


class Stat(Struct):
    """What is at a path, links followed.

    Attributes:
        path: absolute, as it was asked for. real: the same with every link resolved.
        entry: None when nothing is there.
    """

    path: str
    real: str
    entry: Entry | None = None

    def __post_init__(self) -> None:
        if "\0" in self.real + self.path:
            raise ValueError("a path with a NUL character")
        if self.entry is not None:
            check_entry(self.entry)

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


class Aside(Struct):
    """What comes of a request that a process of low priority serves.

    Attributes:
        waiting: there is no answer yet. refused: there will be none. spent: processor time (seconds) that it took
            since the answer before. processors: how many there are; of one, perhaps a part.
    """

    waiting: bool = False
    refused: bool = False
    spent: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    processors: Annotated[float, Meta(ge=0.001, le=1e6)] = 1.0


class HalfWritten(Struct):
    """A file that is being uploaded.

    Attributes:
        part: the path of the half-written file. path: the real path of the target.
        offset: how much of the file is there already.
    """

    part: str
    path: str
    offset: Count


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

    def __post_init__(self) -> None:
        for entry in self.entries:
            check_entry(entry)


class HashState(Struct):
    """How far a hash is: `result` (hex) once it has ended."""

    ended: bool
    done: Count = 0
    result: str | None = None


class DigestsState(Struct):
    """The same for the hashes of many files."""

    ended: bool
    done: Count = 0
    result: dict[str, str] | None = None


class RemovalState(Struct):
    """The same for the deletion of a folder; `result` counts what was deleted."""

    ended: bool
    done: Count = 0
    result: Count | None = None


class Deleted(Struct):
    """The names that were there and were deleted."""

    deleted: list[str]


class PackProblems(Struct):
    """Why entries are missing in the pack that comes along."""

    problems: list[PackProblem]


class Nothing(Struct):
    """An answer that says no more than that it was done."""


class Claimed(Struct):
    """Who has claimed something; empty when that cannot be told."""

    holder: str


class Problem(Struct):
    """What the helper could not do."""

    name: str
    message: str


class Failed(Struct):
    """An answer: `error` when the request was not served."""

    error: Problem | None = None
