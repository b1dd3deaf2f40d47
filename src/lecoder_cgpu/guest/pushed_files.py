"""What both kinds of pushes need: the files below a source, and copies whose content is known.

Runs on the runtime (Python 3.8 and newer, standard library only), in a run's supervisor.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from .state_files import timestamp

if TYPE_CHECKING:
    Stamp = tuple[int, int]  # the size and the time of change of a file

DONE = "done.json"  # the end of the run, in each place that was written to
BLOCK = 1 << 20


def path(source: str, name: str) -> str:
    """Where a file of a source is."""
    return source if os.path.isfile(source) else os.path.join(source, name)


def listing(source: str) -> dict[str, Stamp]:
    """The files below a source, by their names there; links and special files are left out."""
    if os.path.isfile(source):
        stat = os.stat(source)
        return {os.path.basename(source): (stat.st_size, stat.st_mtime_ns)}
    found = {}
    for folder, _, names in os.walk(source):
        for name in names:
            full = os.path.join(folder, name)
            with contextlib.suppress(OSError):  # deleted meanwhile
                stat = os.lstat(full)
                if os.path.isfile(full) and not os.path.islink(full):
                    found[os.path.relpath(full, source).replace(os.sep, "/")] = (stat.st_size, stat.st_mtime_ns)
    return found


def write(source: str, part: str, size: int) -> str:
    """Copy the first `size` bytes of a file, which may be growing; their hash."""
    hashed = hashlib.sha256()
    with open(source, "rb") as read, open(part, "wb") as written:
        while size:
            block = read.read(min(BLOCK, size))
            if not block:
                break
            hashed.update(block)
            written.write(block)
            size -= len(block)
        written.flush()
        os.fsync(written.fileno())
    with contextlib.suppress(OSError):
        shutil.copymode(source, part)
    return hashed.hexdigest()


def digest(path: str, size: int | None = None) -> str:
    """The SHA-256 of a file, or of its first bytes."""
    hashed = hashlib.sha256()
    with open(path, "rb") as file:
        while size is None or size > 0:
            block = file.read(BLOCK if size is None else min(BLOCK, size))
            if not block:
                break
            hashed.update(block)
            size = None if size is None else size - len(block)
    return hashed.hexdigest()


class Declared:
    """One declared copy; subclasses say how a round is done, and how the run's end is written.

    Args:
        source: a file or a folder. target: where it goes.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.problem: str | None = None
        self.restless: list[str] = []  # what changed while it was copied, in the last round
        self.at: float | None = None  # when everything was there for the last time
        self._there: dict[str, Stamp] = {}  # size and time of change of what was copied

    def copy(self, deadline: float, *, last: bool = False) -> None:
        """Copy what is new, until a moment of `time.monotonic`. What goes wrong is noted, and tried again."""
        self.restless, self.problem = [], None
        if not os.path.exists(self.source):
            self.problem = "there is no such file or folder"
            return
        self._round(deadline, last=last)
        if self.problem is None and not self.restless:
            self.at = time.time()

    def _round(self, deadline: float, *, last: bool) -> None:
        raise NotImplementedError

    def end(self, document: dict[str, Any], deadline: float) -> None:
        """Write the run's end beside what was copied."""
        raise NotImplementedError

    def note(self) -> dict[str, Any]:
        """What became of it, for the documents of the run."""
        document: dict[str, Any] = {
            "path": self.source,
            "target": self.target,
            "files": len(self._there),
            "bytes": sum(size for size, _ in self._there.values()),
        }
        if self.at is not None:
            document["completeAt"] = timestamp(self.at)
        if self.restless:
            document["restless"] = sorted(self.restless)[:20]
        if self.problem is not None:
            document["problem"] = self.problem
        return document
