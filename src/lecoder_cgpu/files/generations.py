"""Generations on this machine's disk: each is a whole copy of a folder (or file) of a runtime, at one moment.

The newest has the name that the user gave. Beside it lies a folder of ours, `.NAME.lecoder-part`, which no listing and
no sync shows::

    results/                          the newest generation
    .results.lecoder-part/current     what it is made of (a `Manifest`)
    .results.lecoder-part/previous    the generation before
    .results.lecoder-part/staging     the one that is being fetched
    .results.lecoder-part/next        its manifest: it exists when, and only when, the staging is whole

**A commit** writes `next`, removes `previous`, renames the newest to `previous` and the staging to the user's name, and
`next` to `current`. Killed anywhere, there is a whole generation under one of the names, and the next fetch completes
the commit (`recover`): as long as there is `next`, the staging is whole.

Files that did not change are hard links to those of the generation before: two generations cost little more than one.
What the user added beside the files of a generation is moved along, and never deleted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from .. import errors
from ..guest import trees
from ..guest.trees import Entry
from ..models.base import now as utc_now
from ..system import atomic_files
from . import plan
from .moments import Held
from .transfer import local_problems


class Line(Struct, array_like=True):
    """One entry of a manifest."""

    name: str
    kind: str
    size: int
    mtime: str  # nanoseconds: more digits than other readers of JSON keep
    mode: int | None
    target: str | None
    sha256: str


class Manifest(Struct, kw_only=True):
    """What a generation is made of.

    Attributes:
        owner: the work that it belongs to. number: of the generation, from 1, for each owner. at: when it was complete.
        path: on the runtime. folder: whether that is a folder; of a file, the only line has the name "".
        restless: units that changed all the time, and are here as in the generation before.
        left_out: what could not be fetched, and why.
    """

    owner: str
    number: int
    at: str
    path: str
    folder: bool
    lines: list[Line]
    restless: list[str] = []
    left_out: list[tuple[str, str]] = []

    def holding(self) -> dict[str, Held]:
        """The lines by name."""
        return {
            line.name: Held(
                Entry(line.name, line.kind, line.size, int(line.mtime), line.mode, line.target), line.sha256
            )
            for line in self.lines
        }


class Generations:
    """The generations of one path, under one local name.

    Args:
        target: the local name.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self.target = Path(os.path.abspath(target))
        self._beside = self.target.parent / f".{self.target.name}{trees.PART_SUFFIX}"
        self._staging = self._beside / "staging"
        self._previous = self._beside / "previous"

    @property
    def staging(self) -> str:
        """Where the next generation is put together."""
        return str(self._staging)

    @property
    def previous(self) -> str:
        """Where the generation before the newest lies, if there is one."""
        return str(self._previous)

    @contextlib.contextmanager
    def alone(self, wait: float) -> Iterator[None]:
        """Only one process at a time fetches or puts back; others are waited for, at most `wait` seconds.

        Raises:
            errors.FetchBusy: another one is still at it. errors.Error: the folder cannot be made or written.
        """
        import filelock

        with contextlib.ExitStack() as held:
            try:
                with local_problems(str(self._beside)):
                    self._beside.mkdir(parents=True, exist_ok=True)
                    lock = filelock.FileLock(self._beside / "lock")
                    held.enter_context(lock.acquire(timeout=wait))
            except filelock.Timeout as error:
                raise errors.FetchBusy(
                    f"another process is fetching {self.target}", retryable=True, hint="repeat the same command"
                ) from error
            yield

    def claim(self) -> None:
        """Refuse a name under which something else lies, or nothing can be written: work must not begin for nothing.

        Raises:
            errors.UsageError: there is something that was not fetched so, or the place cannot be written.
        """
        there = next(folder for folder in self.target.parents if os.path.lexists(folder))
        if not (there.is_dir() and os.access(there, os.W_OK)):
            raise errors.UsageError(
                f"{self.target}: results cannot be written there, as {there} is no folder that you may write to",
                name="TargetNotWritable",
                hint="name another place: --pull PATH:LOCAL",
            )
        if self.is_ours() or not os.path.lexists(self.target):
            return
        with contextlib.suppress(OSError):
            if self.target.is_dir() and not self.target.is_symlink() and not os.listdir(self.target):
                return
        raise errors.UsageError(
            f"{self.target} is there already, and was not fetched with --every, which replaces it as a whole",
            name="TargetExists",
            hint=f"name another place: --pull PATH:{self.target.name}-new; or move this away",
        )

    def is_ours(self) -> bool:
        """Whether generations were kept under this name before."""
        return self._read("current") is not None or self._read("next") is not None

    def current(self) -> Manifest | None:
        """What the newest generation is made of; None when there is none."""
        return self._read("current") if os.path.lexists(self.target) else None

    def recover(self) -> None:
        """Complete a commit that was killed. For who has the lock.

        Raises:
            errors.Error: it cannot be completed.
        """
        with local_problems(str(self.target)):
            self._recover()

    def _read(self, name: str) -> Manifest | None:
        with contextlib.suppress(OSError, atomic_files.Damaged, ValueError):
            return atomic_files.decode((self._beside / name).read_bytes(), Manifest)
        return None

    # --- the next one ---

    def begin(self, earlier: Manifest | None) -> dict[str, Held]:
        """Empty the staging, and put what the newest generation has into it; returns what that is. What was changed
        here meanwhile is not among it."""
        with local_problems(self.staging):
            _remove(self._staging)
            held = {} if earlier is None else earlier.holding()
            if earlier is None or not earlier.folder:
                return {name: item for name, item in held.items() if self._link(item, self._staging)}
            self._staging.mkdir()
            return dict(self._links(held.values()))

    def _links(self, items: Iterable[Held]) -> Iterator[tuple[str, Held]]:
        for item in items:
            if self._link(item, Path(trees.join(self.staging, item.entry.name))):
                yield item.entry.name, item

    def _link(self, item: Held, to: Path) -> bool:
        """Put an entry of the newest generation somewhere; False when it is not as it was."""
        entry = item.entry
        source = self.target if not entry.name else Path(trees.join(str(self.target), entry.name))
        try:
            found = os.lstat(source)
            if entry.kind == trees.FOLDER:
                if not stat.S_ISDIR(found.st_mode):
                    return False
                to.mkdir(parents=True, exist_ok=True)
            elif entry.kind == trees.LINK:
                if not stat.S_ISLNK(found.st_mode) or os.readlink(source) != entry.target:
                    return False
                to.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(entry.target, to)
            else:
                same = stat.S_ISREG(found.st_mode) and found.st_size == entry.size
                if not same or (entry.mtime and abs(found.st_mtime_ns - entry.mtime) > plan.SAME_TIME):
                    return False
                to.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(source, to)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            return False
        return True

    def make_room(self, entries: Iterable[Entry]) -> None:
        """Remove from the staging what is of another kind than what comes there, and what comes anew."""
        with local_problems(self.staging):
            for entry in entries:
                path = self._staging if not entry.name else Path(trees.join(self.staging, entry.name))
                if entry.kind != trees.FOLDER or path.is_symlink() or not path.is_dir():
                    _remove(path)

    def commit(self, manifest: Manifest, kept: Iterable[str] = ()) -> None:
        """Make the staging the newest generation.

        Args:
            kept: the names that stay as they are in the generation before.

        Raises:
            errors.Error: the staging is not whole; or the disk refuses, and the newest one stays what it is.
        """
        held = manifest.holding()
        with local_problems(str(self.target)):
            if manifest.folder:
                self._staging.mkdir(exist_ok=True)
                self._prune(held)
                earlier = [held[name] for name in kept]
                self.make_room(item.entry for item in earlier)
                dict(self._links(earlier))
            self._check(held)
            manifest.at = utc_now()
            self._write("next", manifest)
            self._recover()

    def _prune(self, held: Mapping[str, Held]) -> None:
        """Remove from the staging what does not belong to the generation."""
        for folder, below, names in os.walk(self._staging, topdown=False):
            for name in (*names, *below):
                path = Path(folder, name)
                if path.relative_to(self._staging).as_posix() not in held:
                    _remove(path)

    def _check(self, held: Mapping[str, Held]) -> None:
        """Check that the staging has everything that the manifest names."""
        for name, item in held.items():
            path = self._staging if not name else Path(trees.join(self.staging, name))
            found = os.lstat(path)
            if item.entry.kind == trees.FILE and found.st_size != item.entry.size:
                raise trees.Problem("VerifyFailed", f"{path}: it has {found.st_size} of {item.entry.size} bytes")

    def _write(self, name: str, manifest: Manifest) -> None:
        atomic_files.write_atomic(self._beside / name, msgspec.json.encode(manifest))

    def _recover(self) -> None:
        """Complete a commit, from wherever it stopped."""
        following = self._read("next")
        if following is None:
            return
        if os.path.lexists(self._staging):
            if os.path.lexists(self.target):
                _remove(self._previous)
                self._keep_additions(following)
                os.rename(self.target, self._previous)
            os.rename(self._staging, self.target)
        os.replace(self._beside / "next", self._beside / "current")

    def _keep_additions(self, following: Manifest) -> None:
        """Move what the user has put beside the files of the newest generation to where it stays."""
        newest = self._read("current")
        if newest is None or not newest.folder or not following.folder or self.target.is_symlink():
            return
        ours = newest.holding()
        for folder, below, names in os.walk(self.target):
            inside = Path(folder).relative_to(self.target)
            added = [name for name in (*names, *below) if (inside / name).as_posix() not in ours]
            for name in added:
                place = self._staging / inside / name
                with contextlib.suppress(FileExistsError, NotADirectoryError):  # a file of the new one is in the way
                    if not os.path.lexists(place):
                        place.parent.mkdir(parents=True, exist_ok=True)
                        os.rename(Path(folder, name), place)
            below[:] = [name for name in below if name not in added]


def resolve(spec_local: str | None, name: str) -> str:
    """Where a result goes: `LOCAL` itself, or into it when it ends with a slash or is a folder of the user's."""
    if spec_local is None:
        return os.path.abspath(name)
    local = os.path.expanduser(spec_local)
    into = local.endswith(("/", os.sep)) or os.path.basename(local) in ("", ".", "..")
    if not into and os.path.isdir(local):
        into = not Generations(local).is_ours()
    return os.path.abspath(os.path.join(local, name) if into else local)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    """Remove whatever has that name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
