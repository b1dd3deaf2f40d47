"""What is stored of a sweep on this machine: the owner of the folders in `sweeps/` of the state folder.

`sweep.json` says what it is, `items.jsonl` which items it has, and `progress.jsonl` what became of their jobs: one line
before a job is started, and one when it has ended. Lines are only added, so a client that is killed leaves the truth.
`output/` has what jobs printed last, as it outlives their runtimes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from .. import errors
from ..system import atomic_files as state
from ..system import jsonl
from . import grid
from .grid import Item
from .identity import Identity

DEFINITION, ITEMS, PROGRESS = "sweep.json", "items.jsonl", "progress.jsonl"
OUTPUT = "output"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
STOP = "stop"  # a file: whoever works on the sweep is to end


class Definition(Struct, kw_only=True):
    """What a sweep is, and how it is run.

    `folder` is the local folder that is sent (`--sync`), and `here` the folder in which `--pull` puts results. `own`
    is how many runtimes of its own it may have; None when sessions are named. `backend` and `options` are those with
    which its own runtimes are started. `sessions` are the names of all that it has used or may use, and `made` those of
    them that were made for it, with their ids.
    """

    name: str
    identity: Identity
    folder: str | None = None
    here: str
    pull: list[str] = field(default_factory=list)
    own: int | None = None
    backend: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    sessions: list[str] = field(default_factory=list)
    made: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    fail_fast: bool = field(name="failFast", default=False)
    created: str = ""


class Note(Struct, kw_only=True, omit_defaults=True):
    """A line of the progress: what became of one job of an item.

    `state`: started (written before it is), done, failed, killed, lost (with its runtime), or void (it was never
    started). `attempt` counts the item's jobs from 0. `at` is a Unix time by our clock.
    """

    key: str
    state: Literal["started", "done", "failed", "killed", "lost", "void"]
    attempt: int = 0
    session: str = ""
    at: float = 0.0
    exit: int | None = None
    signal: str | None = None
    seconds: float | None = None
    pulled: list[Any] | None = None
    error: str | None = None


class SweepFolder:
    """One sweep as it is stored."""

    def __init__(self, state_dir: Path, name: str) -> None:
        self.name = name
        self.path = state_dir / "sweeps" / name

    @property
    def exists(self) -> bool:
        return (self.path / DEFINITION).exists()

    def definition(self) -> Definition:
        """What it is.

        Raises:
            errors.NotFoundError: there is no such sweep here. errors.ConfigError: it cannot be read.
        """
        content = state.read(self.path / DEFINITION)
        if content is None:
            known = names(self.path.parents[1])
            raise errors.NotFoundError(
                f"there is no sweep {self.name!r} here (known: {', '.join(known[:10]) or 'none'})",
                name="SweepNotFound",
                hint="of another machine: add -s NAME, a session that it ran on",
            )
        try:
            return state.decode(content, Definition)
        except state.Damaged as error:
            raise errors.ConfigError(
                f"{self.path / DEFINITION} is damaged: {error}", hint=f"remove it: rm -r {self.path}"
            ) from error

    def write(self, definition: Definition) -> None:
        state.write_atomic(self.path / DEFINITION, msgspec.json.format(msgspec.json.encode(definition), indent=2))

    def add(self, items: Iterable[Item]) -> int:
        """Add the items that it does not have yet; returns how many that were."""
        known = {item.key for item in self.items()}
        fresh = list({item.key: item for item in items if item.key not in known}.values())
        if fresh:
            state.ensure_dir(self.path)
            lines = b"".join(msgspec.json.encode(item.values) + b"\n" for item in fresh)
            if not known:
                state.write_atomic(self.path / ITEMS, lines)
            else:
                state.append(self.path / ITEMS, lines)
        return len(fresh)

    def items(self) -> list[Item]:
        """Its items, in the order in which they were added."""
        found = decoded(state.read(self.path / ITEMS), dict[str, str])
        return list({item.key: item for item in map(grid.item, found)}.values())

    def add_values(self, found: Iterable[dict[str, str]]) -> int:
        """The same as `add`, by the values of each item."""
        return self.add(map(grid.item, found))

    def output(self, key: str, attempt: int) -> Path:
        """Where the last output of an attempt at an item is kept, once it has ended."""
        return self.path / OUTPUT / (f"{key}.{attempt + 1}" if attempt else key)

    def note(self, note: Note) -> None:
        """Add a line to the progress."""
        jsonl.append(self.path / PROGRESS, msgspec.json.encode(note), self.path / PROGRESS)

    def notes(self) -> list[Note]:
        """The whole progress, oldest first. Lines that a killed writer or a full disk has damaged are passed over."""
        return decoded(state.read(self.path / PROGRESS), Note)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Be the one process of this machine that works on the sweep.

        Raises:
            errors.UsageError: (`SweepBusy`) another one does.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(state.lock(self.path / "work", wait=0))
            except errors.LockHeld as error:
                raise errors.UsageError(
                    f"another process works on the sweep {self.name!r} now",
                    name="SweepBusy",
                    hint=f"lecoder-cgpu sweep wait {self.name}; to end it: lecoder-cgpu sweep kill {self.name}",
                ) from error
            (self.path / STOP).unlink(missing_ok=True)
            yield

    def is_worked_on(self) -> bool:
        """Whether a process of this machine works on it."""
        try:
            with state.lock(self.path / "work", wait=0):
                return False
        except errors.LockHeld:
            return True

    def ask_to_stop(self) -> None:
        """Tell whoever works on it to end its jobs and to stop."""
        state.write_atomic(self.path / STOP, b"")

    def is_to_stop(self) -> bool:
        return (self.path / STOP).exists()


def decoded(content: bytes | None, kind: Any) -> list[Any]:
    """The documents of JSON lines; other lines are passed over."""
    decoder = msgspec.json.Decoder(kind)
    found = []
    for line in (content or b"").split(b"\n"):
        with contextlib.suppress(*state.DAMAGED, msgspec.ValidationError):
            if line:
                found.append(decoder.decode(line))
    return found


def check(name: str) -> None:
    """Refuse what could not name a folder, or the sessions that are called after the sweep.

    Raises:
        errors.UsageError
    """
    if not _NAME.fullmatch(name):
        raise errors.UsageError(
            f"{name[:60]!r} cannot be the name of a sweep",
            hint="at most 40 letters, digits, '.', '_' and '-', beginning with a letter or digit: --name train-1",
        )


def names(state_dir: Path) -> list[str]:
    """The sweeps that are stored here, the newest first."""
    found = list((state_dir / "sweeps").glob(f"*/{DEFINITION}"))
    return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def chosen(state_dir: Path, name: str | None) -> SweepFolder:
    """The sweep of that name, the newest one without a name.

    Raises:
        errors.NotFoundError: there is none. errors.UsageError: it cannot be a name.
    """
    if name is None:
        known = names(state_dir)
        if not known:
            raise errors.NotFoundError(
                "there is no sweep here",
                name="SweepNotFound",
                hint="lecoder-cgpu sweep start -p seed=0..4 -j 2 -- python train.py {seed}",
            )
        name = known[0]
    else:
        check(name)
    return SweepFolder(state_dir, name)
