"""Copies results of a run to another folder of the runtime while it runs, such as one of a mounted Google Drive, which
outlives the runtime. Nobody has to be connected. What goes to the Hugging Face Hub is `hub_pushes`.

Runs on the runtime (Python 3.8 and newer, standard library only), in a run's supervisor.

What was written last comes last: files are copied in the order of their times of change, each under another name that
becomes its own when its hash was read back, and only then is deleted there what is gone here. So a pointer that a
program writes behind a checkpoint never leads to half of one. A file that changes while it is copied is left for the
next round.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from . import pushed_files
from .hub_pushes import HUB, HubPush
from .state_files import write_json

if TYPE_CHECKING:
    from .pushed_files import Stamp


PART = ".lecoder-part"  # behind the name of a file that is being written
EVERY = 300.0  # seconds between two rounds, unless the run says otherwise
ROUNDS = 6  # at the end, while files go on changing
PAUSE = 0.5  # seconds between these
LAST_LIMIT = 600.0  # seconds that the end of a run waits for its last copy
DRIVE = "/content/drive"  # where Colab mounts Google Drive


class Push(pushed_files.Declared):
    """To a folder, which is made if it is not there."""

    def _round(self, deadline: float, *, last: bool) -> None:
        try:
            self._check()
            found = pushed_files.listing(self.source)
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
        except OSError as error:
            self.problem = f"{error.filename or self.target}: {error.strerror or error}"

    def _check(self) -> None:
        if (self.target + "/").startswith(DRIVE + "/") and not os.path.ismount(DRIVE):
            raise OSError(0, "Google Drive is not mounted there", DRIVE)

    def _copied(self, name: str, known: Stamp) -> bool:
        """Copy one file; False if it has changed meanwhile or is gone."""
        source = pushed_files.path(self.source, name)
        target = os.path.join(self.target, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part = target + PART
        try:
            try:
                digest = pushed_files.write(source, part, known[0])
                stat = os.stat(source)
            except FileNotFoundError:
                return False
            if (stat.st_size, stat.st_mtime_ns) != known or os.stat(part).st_size != known[0]:
                return False
            if pushed_files.digest(part) != digest:
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

    def end(self, document: dict[str, Any], deadline: float) -> None:
        with contextlib.suppress(OSError):
            if self.problem is None or os.path.isdir(self.target):
                write_json(os.path.join(self.target, pushed_files.DONE), document)


class Pusher:
    """The declared copies of one run.

    Args:
        folder: of the run; `pushes.json` there tells how they stand. cwd: where relative paths start.
        wanted: pairs of a source and a target. every: seconds between two rounds. environment: of the command.
    """

    def __init__(
        self, folder: str, cwd: str, wanted: list[list[str]], every: float, environment: dict[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._every = every
        self._pushes: list[Push | HubPush] = []
        for number, (source, target) in enumerate(wanted):
            path = _absolute(cwd, source)
            if target.startswith(HUB):
                aside = os.path.join(folder, f"push-{number}")
                self._pushes.append(HubPush(path, target, aside, environment or {}))
            else:
                self._pushes.append(Push(path, _absolute(cwd, target)))
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

    def _round(self, deadline: float, *, last: bool = False) -> None:
        for push in self._pushes:
            push.copy(deadline, last=last)
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
                self._round(deadline, last=True)
                if not any(push.restless for push in self._pushes) or time.monotonic() > deadline:
                    break
                time.sleep(PAUSE)
        for push in self._pushes:
            push.end({**end, **push.note()}, deadline)
        return self.notes()


def _absolute(cwd: str, path: str) -> str:
    return os.path.abspath(os.path.join(cwd, os.path.expanduser(path)))
