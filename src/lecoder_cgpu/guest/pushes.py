"""Copies results of a run to another folder of the runtime while it runs, such as one of a mounted Google Drive, which
outlives the runtime. Nobody has to be connected.

Runs on the runtime (Python 3.8 and newer, standard library only), in a run's supervisor.

What was written last comes last: files are copied in the order of their times of change, each under another name that
becomes its own when its hash was read back, and only then is deleted there what is gone here. So a pointer that a
program writes behind a checkpoint never leads to half of one. A file that changes while it is copied is left for the
next round.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from typing import Any

from .state_files import timestamp, write_json

PART = ".lecoder-part"  # behind the name of a file that is being written
DONE = "done.json"  # the end of the run, in each folder that was written to
EVERY = 300.0  # seconds between two rounds, unless the run says otherwise
ROUNDS = 6  # at the end, while files go on changing
PAUSE = 0.5  # seconds between these
LAST_LIMIT = 600.0  # seconds that the end of a run waits for its last copy
BLOCK = 1 << 20
DRIVE = "/content/drive"  # where Colab mounts Google Drive


class Push:
    """One declared copy.

    Args:
        source: a file or a folder. target: a folder, made if it is not there.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.problem: str | None = None
        self.restless: list[str] = []  # what changed while it was copied, in the last round
        self.at: float | None = None  # when everything was there for the last time
        self._there: dict[str, tuple[int, int]] = {}  # size and time of change of what was copied

    def copy(self, deadline: float) -> None:
        """Copy what is new, until a moment of `time.monotonic`. What goes wrong is noted, and tried again."""
        self.restless, self.problem = [], None
        if not os.path.exists(self.source):
            self.problem = "there is no such file or folder"
            return
        try:
            self._check()
            found = self._found()
            os.makedirs(self.target, exist_ok=True)
            for name in sorted(found, key=lambda name: found[name][1]):
                if self._there.get(name) == found[name]:
                    continue
                if time.monotonic() > deadline:
                    self.problem = "there was no more time"
                    return
                if self._copied(name, found[name]):
                    self._there[name] = found[name]
                else:
                    self.restless.append(name)
            if not self.restless:
                self._delete(set(self._there) - set(found))
                self.at = time.time()
        except OSError as error:
            self.problem = f"{error.filename or self.target}: {error.strerror or error}"

    def _check(self) -> None:
        if (self.target + "/").startswith(DRIVE + "/") and not os.path.ismount(DRIVE):
            raise OSError(0, "Google Drive is not mounted there", DRIVE)

    def _found(self) -> dict[str, tuple[int, int]]:
        """The files below the source, by their names there; links and special files are left out."""
        if os.path.isfile(self.source):
            stat = os.stat(self.source)
            return {os.path.basename(self.source): (stat.st_size, stat.st_mtime_ns)}
        found = {}
        for folder, _, names in os.walk(self.source):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):  # deleted meanwhile
                    stat = os.lstat(path)
                    if os.path.isfile(path) and not os.path.islink(path):
                        found[os.path.relpath(path, self.source)] = (stat.st_size, stat.st_mtime_ns)
        return found

    def _copied(self, name: str, known: tuple[int, int]) -> bool:
        """Copy one file; False if it has changed meanwhile or is gone."""
        source = self.source if os.path.isfile(self.source) else os.path.join(self.source, name)
        target = os.path.join(self.target, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part = target + PART
        try:
            try:
                digest = _write(source, part, known[0])
                stat = os.stat(source)
            except FileNotFoundError:
                return False
            if (stat.st_size, stat.st_mtime_ns) != known or os.stat(part).st_size != known[0]:
                return False
            if _digest(part) != digest:
                raise OSError(0, "what was written is not what was read", target)
            with contextlib.suppress(OSError):
                os.utime(part, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
            os.replace(part, target)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(part)
        return True

    def _delete(self, names: set[str]) -> None:
        """Delete what we had copied and is gone at its source."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.target, name))
            del self._there[name]
            folder = os.path.dirname(name)
            while folder and not os.path.isdir(os.path.join(self.source, folder)):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(self.target, folder))
                folder = os.path.dirname(folder)

    def note(self) -> dict[str, Any]:
        """What became of it, for the documents of the run."""
        note: dict[str, Any] = {
            "path": self.source,
            "target": self.target,
            "files": len(self._there),
            "bytes": sum(size for size, _ in self._there.values()),
        }
        if self.at is not None:
            note["completeAt"] = timestamp(self.at)
        if self.restless:
            note["restless"] = sorted(self.restless)[:20]
        if self.problem is not None:
            note["problem"] = self.problem
        return note


class Pusher:
    """The declared copies of one run.

    Args:
        folder: of the run; `pushes.json` there tells how they stand. cwd: where relative paths start.
        wanted: pairs of a source and a target. every: seconds between two rounds.
    """

    def __init__(self, folder: str, cwd: str, wanted: list[list[str]], every: float) -> None:
        self._folder = folder
        self._every = every
        self._pushes = [Push(_absolute(cwd, source), _absolute(cwd, target)) for source, target in wanted]
        self._busy = threading.Lock()

    def start(self, over: threading.Event) -> None:
        """Copy at the interval, in a thread, until the run is over."""
        if self._pushes:
            threading.Thread(target=self._go_on, args=(over,), daemon=True).start()

    def _go_on(self, over: threading.Event) -> None:
        while not over.wait(self._every):
            with self._busy:
                if not over.is_set():
                    self._round(time.monotonic() + LAST_LIMIT)

    def _round(self, deadline: float) -> None:
        for push in self._pushes:
            push.copy(deadline)
        with contextlib.suppress(OSError):
            write_json(os.path.join(self._folder, "pushes.json"), {"pushes": self.notes()})

    def notes(self) -> list[dict[str, Any]]:
        return [push.note() for push in self._pushes]

    def finish(self, end: dict[str, Any]) -> list[dict[str, Any]]:
        """Copy for a last time, and write the end of the run beside what was copied; returns how it stands."""
        if not self._pushes:
            return []
        deadline = time.monotonic() + LAST_LIMIT
        if self._busy.acquire(timeout=LAST_LIMIT):
            for _ in range(ROUNDS):
                self._round(deadline)
                if not any(push.restless for push in self._pushes) or time.monotonic() > deadline:
                    break
                time.sleep(PAUSE)
        for push in self._pushes:
            with contextlib.suppress(OSError):
                if push.problem is None or os.path.isdir(push.target):
                    write_json(os.path.join(push.target, DONE), {**end, **push.note()})
        return self.notes()


def _absolute(cwd: str, path: str) -> str:
    return os.path.abspath(os.path.join(cwd, os.path.expanduser(path)))


def _write(source: str, part: str, size: int) -> str:
    """Copy the first `size` bytes of a file, which may be growing; their hash."""
    digest = hashlib.sha256()
    with open(source, "rb") as read, open(part, "wb") as written:
        while size:
            block = read.read(min(BLOCK, size))
            if not block:
                break
            digest.update(block)
            written.write(block)
            size -= len(block)
        written.flush()
        os.fsync(written.fileno())
    with contextlib.suppress(OSError):
        shutil.copymode(source, part)
    return digest.hexdigest()


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            block = file.read(BLOCK)
            if not block:
                return digest.hexdigest()
            digest.update(block)
