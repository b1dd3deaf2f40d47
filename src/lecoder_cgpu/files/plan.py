"""What is to be transferred, decided without a connection: names and targets, packs, what a sync has to do. Pure, but
for looking at local folders and their ignore files."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import errors
from ..guest import trees
from ..helper.file_service import error_of

SMALL = 1 << 20  # bytes below which a file travels in a pack
PACK_FILES = 256
PACK_BYTES = 2 << 20
SAME_TIME = 2_000_000  # ns by which mtimes may differ: some file systems keep milliseconds
IGNORE_FILES = (".gitignore", ".lecoderignore")  # the later wins

Entry = list[Any]  # as `trees` has it: name, kind, size, mtime in ns, mode, target of a link
Skip = Callable[[str, bool], bool]


# --- names ---------------------------------------------------------------------------------------------------------


def has_magic(path: str) -> bool:
    return any(character in path for character in "*?[")


def expand(sources: Iterable[str]) -> list[str]:
    """Local paths, with the patterns among them replaced by what they stand for (a shell may have done that already).

    Raises:
        errors.NotFoundError: one is not there, or a pattern stands for nothing.
        errors.UsageError: one is a pipe or a device.
    """
    found = []
    for source in sources:
        path = os.path.expanduser(source)
        if source == "-" or os.path.lexists(path):
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise errors.UsageError(
                    f"{source} is neither a file nor a folder",
                    name="NotAFile",
                    hint="what it gives goes as stdin: lecoder-cgpu upload - REMOTE",
                )
            found.append(path)
            continue
        matches = sorted(glob.glob(path, recursive=True)) if has_magic(path) else []
        if not matches:
            raise errors.NotFoundError(f"{source}: no such file or folder here", name="FileNotFound", hint=here(path))
        found += matches
    return found


def here(path: str | os.PathLike[str]) -> str:
    """The command that shows what there is on this machine, where `path` is not."""
    parents = Path(os.path.abspath(os.path.expanduser(path))).parents
    return f"see what is there: ls {next(parent for parent in parents if parent.is_dir())}"


def check_folder(local: str) -> None:
    """Refuse what is no folder here.

    Raises:
        errors.UsageError: it is something else. errors.NotFoundError: it is nothing.
    """
    if os.path.isdir(local):
        return
    if os.path.exists(local):
        raise errors.UsageError(
            f"{local} is not a folder", name="NotADirectory", hint=f"one file: lecoder-cgpu upload {local}"
        )
    raise errors.NotFoundError(f"{local}: no such folder here", name="FileNotFound", hint=here(local))


def remote_join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder.rstrip("/") else f"{folder}{name}"


def local_name(source: str) -> str:
    """The last part of a local path; "" for a folder that stands for what it holds (`.` or `x/.`)."""
    name = os.path.basename(source.rstrip("/" + os.sep))
    return "" if name in ("", ".", "..") else name


def remote_name(path: str) -> str:
    """The last part of a path on the runtime, in the same way."""
    name = path.rstrip("/").rpartition("/")[2]
    return "" if name in ("", ".", "..", "~") else name


def clean_remote(path: str) -> str:
    """A path on the runtime as it was meant: what Windows users write has backslashes and must not become a name.

    Raises:
        errors.UsageError: it is empty or cannot be one.
    """
    if not path or "\0" in path:
        raise errors.UsageError("a path on the runtime cannot be empty", hint="give a path, such as data/")
    return path.replace("\\", "/") if os.name == "nt" else path


def split_pull(spec: str) -> tuple[str, str | None]:
    """`PATH[:LOCAL]` of --pull as its two paths. (A Windows drive can only be in the second.)

    Raises:
        errors.UsageError: there is no path.
    """
    remote, _, local = spec.partition(":")
    if not remote:
        raise errors.UsageError(f"--pull {spec!r}: there is no path on the runtime", hint="--pull PATH[:LOCAL]")
    return remote, local or None


def under(folder: str | None, path: str) -> str:
    """A path on the runtime as seen from `folder` there."""
    if folder is None or path.startswith(("/", "~")):
        return path
    return remote_join(folder, path) if path else folder


def source_name(sync: str) -> str:
    """The name that a local folder gets on the runtime when none is said."""
    return Path(sync).expanduser().resolve().name or "root"


# --- packs ---------------------------------------------------------------------------------------------------------


def divide(entries: Iterable[Entry]) -> tuple[list[list[Entry]], list[Entry], list[Entry]]:
    """Packs of what is small, the large files, and what is not transferred. Folders come last, the deepest first, so
    that their times and modes are set when nothing more is written into them."""
    packs: list[list[Entry]] = [[]]
    large, skipped, folders = [], [], []
    size = 0
    for item in entries:
        if item[1] in (trees.OUTSIDE, trees.SPECIAL):
            skipped.append(item)
        elif item[1] == trees.FOLDER:
            folders.append(item)
        elif item[1] == trees.FILE and item[2] >= SMALL:
            large.append(item)
        else:
            if len(packs[-1]) >= PACK_FILES or size + item[2] > PACK_BYTES:
                packs.append([])
                size = 0
            packs[-1].append(item)
            size += item[2]
    return [pack for pack in packs if pack], large, skipped


def folders_of(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Packs of the folders among these, the deepest first."""
    folders = [item for item in entries if item[1] == trees.FOLDER][::-1]
    return [folders[start : start + PACK_FILES] for start in range(0, len(folders), PACK_FILES)]


def tree_digest(digests: dict[str, str]) -> str:
    """One hash for many files: that of what `sha256sum` prints for them, sorted by name."""
    lines = (b"%s  %s\n" % (digests[name].encode(), trees.encode_name(name)) for name in sorted(digests))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def scan(folder: str, skip: Skip | None = None) -> list[Entry]:
    """Everything below a local folder.

    Raises:
        errors.Error: it cannot be read.
    """
    try:
        return list(trees.scan(folder, skip))
    except trees.Problem as error:
        raise error_of(error, "here") from error


# --- sync ----------------------------------------------------------------------------------------------------------


class Ignore:
    """Which names below a folder are to be left out, after its ignore files and those of the folders below it.

    As git has it: the last pattern that matches decides, a deeper file goes before a higher one, and what is below an
    ignored folder is ignored. `.git` always is.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._specs: dict[str, Any] = {}

    def __call__(self, name: str, is_folder: bool) -> bool:
        parts = name.split("/")
        if parts[-1] == ".git":
            return True
        for depth in range(len(parts) - 1, -1, -1):
            spec = self._spec("/".join(parts[:depth]))
            if spec is None:
                continue
            told = spec.check_file("/".join(parts[depth:]) + ("/" if is_folder else "")).include
            if told is not None:
                return bool(told)
        return False

    def covers(self, name: str) -> bool:
        """Whether a name or a folder above it is left out; for names that are not on this disk."""
        parts = name.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return any(self(folder, True) for folder in above) or self(name, False) or self(name, True)

    def _spec(self, folder: str) -> Any:
        if folder not in self._specs:
            lines: list[str] = []
            for file in IGNORE_FILES:
                try:
                    lines += Path(self._root, folder, file).read_text("utf-8", "surrogateescape").splitlines()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError as error:
                    raise error_of(trees.problem(error, os.path.join(folder, file)), "here") from error
            spec = None
            if lines:
                import pathspec  # only who has ignore files pays for it

                spec = pathspec.GitIgnoreSpec.from_lines(lines)
            self._specs[folder] = spec
        return self._specs[folder]


@dataclass
class Plan:
    """What a sync does: entries to send, names to delete (the deepest first), and how much is there already."""

    send: list[Entry] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)  # same size and time; only hashes tell whether they differ
    unchanged: int = 0
    skipped: list[Entry] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(item[2] for item in self.send)


def plan(here: Iterable[Entry], there: Iterable[Entry], *, checksum: bool = False, delete: Skip | None = None) -> Plan:
    """Compare two folders.

    Args:
        checksum: files of the same size are `unsure`, whatever their times say.
        delete: what is only there, or a file where a folder is to be and the reverse, is deleted, but for what this
            says is ignored; None deletes nothing.
    """
    made = Plan()
    theirs = {item[0]: item for item in there}
    ours = set()
    for item in here:
        name, kind = item[0], item[1]
        ours.add(name)
        if kind in (trees.OUTSIDE, trees.SPECIAL):
            made.skipped.append(item)
            continue
        other = theirs.get(name)
        if other is None or other[1] != kind:
            made.send.append(item)
        elif kind == trees.FOLDER:
            continue
        elif kind == trees.LINK:
            made.unchanged += item[5] == other[5]
            if item[5] != other[5]:
                made.send.append(item)
        elif item[2] != other[2] or (not checksum and abs(item[3] - other[3]) > SAME_TIME):
            made.send.append(item)
        elif checksum:
            made.unsure.append(name)
        else:
            made.unchanged += 1
    if delete is not None:
        in_the_way = {item[0] for item in made.send if trees.FOLDER in (item[1], theirs.get(item[0], item)[1])}
        extra = [
            name
            for name in theirs
            if (name not in ours or name in in_the_way) and not delete(name, theirs[name][1] == trees.FOLDER)
        ]
        made.delete = sorted(extra, key=lambda name: (name.count("/"), name), reverse=True)
    return made


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
