"""What uploads and downloads share: their results, the size of their parts, and local errors.

How files travel: a large file goes in parts into a half-written file beside its target, is hashed on both sides while
it goes, and gets its final name when both hashes agree. Small files go many in one pack. A dropped connection is made
again and the transfer goes on; after a failure, repeating the command goes on with the half-written file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from .. import errors
from ..guest import packs, trees
from ..guest.trees import Entry
from ..helper.file_errors import HERE, error_of
from .service import Service

PART = 4 << 20  # most bytes of a file in one message; stock servers take up to 10 MiB (protocol J22)
LEAST_PART = 128 << 10
FAST, SLOW = 0.25, 1.0  # seconds between answers: below, parts grow; above, they shrink
ATTEMPTS = 2  # at a file whose hashes differ

Progress = Callable[[int, int], None]  # files and bytes that were done since the last call
Expected = Callable[[int, int], None]  # files and bytes that are to be done in all, once that is known


@dataclass
class TransferResult:
    """What became of one source.

    Attributes:
        digests: the SHA-256 in hex of every file, by its name below the target ("" for a single file).
        links: how many links were copied. skipped: entries that cannot be copied.
    """

    source: str
    target: str
    folder: bool = False
    bytes: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    links: int = 0
    skipped: list[Entry] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Files and links that were copied."""
        return len(self.digests) + self.links

    def add(self, name: str, other: TransferResult) -> None:
        """Count a single file that was transferred by itself."""
        self.digests[name] = other.digests[""]
        self.bytes += other.bytes


class Transfer:
    """One direction of transfers over one service."""

    def __init__(self, service: Service, progress: Progress | None = None, expect: Expected | None = None) -> None:
        self.service = service
        self.progress = progress or (lambda files, size: None)
        self.expect = expect or (lambda files, size: None)

    def expect_all(self, entries: Iterable[Entry]) -> None:
        """Tell how much these entries are."""
        files = [item for item in entries if item.kind != trees.FOLDER]
        self.expect(len(files), sum(item.size for item in files))

    def count(self, result: TransferResult, packed: bytes | memoryview) -> None:
        """Add what a pack holds to a result, and report it."""
        size = number = 0
        for item in packs.records(packed):
            if item.is_file:
                result.digests[item.name] = item.digest.hex()
                size += len(item.content)
                number += 1
            else:
                result.links += 1
        result.bytes += size
        self.progress(number, size)


class Pace:
    """Chooses the size of the next part. A large part on a slow line would silence the line for so long that pings go
    unanswered and the connection is given up."""

    def __init__(self) -> None:
        self.part = PART // 4  # bytes
        self._last = time.monotonic()

    def answered(self) -> None:
        """Note that an answer has come."""
        now = time.monotonic()
        if now - self._last < FAST:
            self.part = min(self.part * 2, PART)
        elif now - self._last > SLOW:
            self.part = max(self.part // 2, LEAST_PART)
        self._last = now


def incomplete(error: errors.Error, result: TransferResult, total: int) -> errors.Error:
    """The same error, saying how far the transfer of a folder came."""
    error.message = f"{error.message}; {len(result.digests)} of {total} entries of {result.source} are complete"
    error.args = (error.message,)
    error.hint = error.hint or "repeat the same command; lecoder-cgpu sync LOCAL REMOTE sends only what is missing"
    return error


def endless(path: str, where: str, hint: str) -> errors.Error:
    """The error for a file that has content and no size, such as those of /proc: only reading finds their end."""
    error = error_of(trees.Problem("NotAFile", f"{path}: its size is not known beforehand"), where)
    error.hint = hint
    return error


@contextlib.contextmanager
def local_problems(path: str) -> Iterator[None]:
    """Turn problems with local files into errors; `path` is named where the system names none."""
    try:
        yield
    except trees.Problem as error:
        raise error_of(error, HERE) from error
    except errors.Error:
        raise
    except OSError as error:
        raise error_of(trees.problem(error, os.fspath(error.filename or path)), HERE) from error


def transfer_key(*words: object) -> str:
    """Stands for source and target, so that a later transfer finds what an earlier one left half-written."""
    text = "\0".join(str(word) for word in words)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
