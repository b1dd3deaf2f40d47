"""JSON-lines files that many processes append to: appending without tearing a line, rotating, reading from the end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from .. import profiles
from . import atomic_files

BLOCK = 64 * 1024

DAMAGED = atomic_files.DAMAGED


class Backwards:
    """The lines of several files, the last one first; reads no more than the caller asks for.

    `bytes_read` counts what was read.

    Args:
        listed: gives the paths, the newest file first; those that do not exist are passed over. It is called twice,
            because a rotation may rename the newest file while we open it.
    """

    def __init__(self, listed: Callable[[], Iterable[Path]]) -> None:
        self._listed = listed
        self.bytes_read = 0

    def __iter__(self) -> Iterator[bytes]:
        """Iterate from the end, as it is now.

        Raises:
            errors.ConfigError: a file exists and cannot be read.
        """
        newest = next((file for path in self._listed() if (file := opened(path))), None)
        if newest is None:
            return
        with newest:
            # Only now, with the newest file in hand, list the others: a rotation from here on renames what we hold.
            others = list(self._listed())
            yield from self.lines(newest)
            for path in others:
                file = opened(path)
                if file is None:
                    continue
                with file:
                    if not os.path.samestat(os.fstat(file.fileno()), os.fstat(newest.fileno())):
                        yield from self.lines(file)

    def lines(self, file: BinaryIO, end: int | None = None) -> Iterator[bytes]:
        """The lines of one file before the position `end` (its end when omitted), without empty ones."""
        position = file.seek(0, os.SEEK_END) if end is None else end
        pieces: list[bytes] = []  # of a line whose beginning was not read yet, last piece first
        while position > 0:
            length = min(BLOCK, position)
            position -= length
            file.seek(position)
            block = file.read(length)
            self.bytes_read += len(block)
            first, *rest = block.split(b"\n")
            if rest:
                if line := b"".join([rest.pop(), *reversed(pieces)]):
                    yield line
                yield from (line for line in reversed(rest) if line)
                pieces = []
            pieces.append(first)
        if line := b"".join(reversed(pieces)):
            yield line


def opened(path: Path) -> BinaryIO | None:
    """The file for reading, or None if it does not exist: not yet, or another process has just renamed it.

    Raises:
        errors.ConfigError: there is one and it cannot be read.
    """
    try:
        return profiles.opened_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise atomic_files.unusable(path, error) from error


def matching(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """The files of `folder` whose whole names match, in no order; an empty list if the folder does not exist.

    Raises:
        errors.ConfigError: the folder cannot be read.
    """
    try:
        return [path for path in folder.iterdir() if name.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise atomic_files.unusable(folder, error) from error


def append(path: Path, line: bytes, guard: Path) -> None:
    """Append a line in one write. `guard` names the lock file that Windows needs.

    Raises:
        errors.ConfigError: the file cannot be written.
    """
    if os.name == "nt":  # only POSIX promises that O_APPEND writes of several processes do not mix
        with atomic_files.lock(guard):
            atomic_files.append(path, line + b"\n")
    else:
        atomic_files.append(path, line + b"\n")


def rotate(path: Path, max_bytes: int, target: Callable[[], Path], guard: Path) -> bool:
    """Rename `path` to `target()` if it has more than `max_bytes`; returns whether this call did so.

    A writer that has the file open continues to write into it under its new name, so nothing is lost.

    Raises:
        errors.ConfigError: the folder cannot be written, or another process keeps the lock.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
        with atomic_files.lock(guard):
            if path.stat().st_size <= max_bytes:
                return False  # another process was faster
            path.rename(target())
            return True
    except FileNotFoundError:
        return False  # another process was faster, between two of our steps
    except OSError as error:
        raise atomic_files.unusable(path, error) from error


def prune(paths: Iterable[Path], max_total: int) -> None:
    """Delete the oldest of `paths` (given newest first), so that the rest fits into `max_total` bytes.

    Raises:
        errors.ConfigError: the folder cannot be written.
    """
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
            if total > max_total:
                path.unlink(missing_ok=True)
        except FileNotFoundError:  # another process has just deleted it
            continue
        except OSError as error:
            raise atomic_files.unusable(path, error) from error
