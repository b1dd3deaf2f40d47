"""Packs: many small files in one piece of bytes.

A pack is a sequence of records. Each record is a fixed head (length of the name, mode, mtime, size, SHA-256), the name
and the content. The digest of folders and links is zero. A pack is not a tar archive because it needs nothing of what
makes tar dangerous and slow: absolute names, links to links, devices and owners.

Both ends of a transfer use this code (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from .trees import FILE, FOLDER, LINK, Entry, Problem, decode_name, encode_name, join, problem, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = struct.Struct(">HIqI32s")  # length of the name, mode, mtime, size, digest
_NO_DIGEST = b"\0" * 32
_FOLDER_MODE = 0o755  # of a folder whose mode is unknown


class Record(NamedTuple):
    """One file, folder or link of a pack.

    Attributes:
        mode: type and permissions, as `os.stat` has them. mtime: in nanoseconds since 1970.
        digest: SHA-256 of a file's content, zero for everything else.
        content: of a file; for a link, its encoded target.
    """

    name: str
    mode: int
    mtime: int
    digest: bytes
    content: memoryview

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


class PackProblem(NamedTuple):
    """Why one entry is not in a pack."""

    entry: str
    name: str
    message: str


def pack(root: str, entries: Iterable[Entry]) -> tuple[bytes, list[PackProblem]]:
    """The records of these entries, and why some are missing.

    A file that differs from its entry was changed after it was listed, and is a problem.
    """
    pieces: list[bytes] = []
    problems = []
    for item in entries:
        try:
            if item.kind == FILE:
                pieces += _file_record(join(root, item.name), item)
            elif item.kind == FOLDER:
                pieces += _folder_record(item)
            elif item.kind == LINK:
                pieces += link_record(item.name, item.mtime, item.target or "")
        except Problem as error:
            problems.append(PackProblem(item.name, error.name, error.message))
        except OSError as error:
            told = problem(error, join(root, item.name))
            problems.append(PackProblem(item.name, told.name, told.message))
    return b"".join(pieces), problems


def _file_record(path: str, item: Entry) -> list[bytes]:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        content = os.read(descriptor, item.size + 1)
        while 0 < len(content) < item.size:
            more = os.read(descriptor, item.size + 1 - len(content))
            if not more:
                break
            content += more
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(content) != item.size or found.st_mtime_ns != item.mtime:
        raise Problem("FileChanged", f"{shown(path)}: it was changed while it was read")
    mode = 0o644 if item.mode is None else item.mode
    return _record(item.name, stat.S_IFREG | mode, item.mtime, content, hashlib.sha256(content).digest())


def _folder_record(item: Entry) -> list[bytes]:
    mode = _FOLDER_MODE if item.mode is None else item.mode
    return _record(item.name, stat.S_IFDIR | mode, item.mtime, b"", _NO_DIGEST)


def link_record(name: str, mtime: int, target: str) -> list[bytes]:
    """The pieces of a link's record."""
    return _record(name, stat.S_IFLNK | 0o777, mtime, encode_name(target), _NO_DIGEST)


def _record(name: str, mode: int, mtime: int, content: bytes, digest: bytes) -> list[bytes]:
    encoded = encode_name(name)
    return [_HEAD.pack(len(encoded), mode, mtime, len(content), digest), encoded, content]


def record(name: str, kind: str, mtime: int, content: bytes) -> bytes:
    """The record of a file or folder whose mode is unknown."""
    if kind == FOLDER:
        return b"".join(_folder_record(Entry(name, kind, 0, mtime)))
    return b"".join(_record(name, stat.S_IFREG | 0o644, mtime, content, hashlib.sha256(content).digest()))


def folder_records(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The records of folders, without a look at the disk."""
    for item in entries:
        yield b"".join(_folder_record(item))


def records(packed: Any) -> Iterator[Record]:
    """The records of a pack.

    Raises:
        Problem: (`BadPack`) the pack is cut off.
    """
    view = memoryview(packed)
    position = 0
    while position < len(view):
        try:
            length, mode, mtime, size, digest = _HEAD.unpack_from(view, position)
        except struct.error:
            raise Problem("BadPack", "a pack of files was cut off") from None
        start = position + _HEAD.size
        position = start + length + size
        if position > len(view):
            raise Problem("BadPack", "a pack of files was cut off")
        name = decode_name(bytes(view[start : start + length]))
        yield Record(name, mode, mtime, digest, view[start + length : position])
