"""Decides what is to be transferred, without a connection: names and targets, packs, and what a sync has to do.

Pure, except that it looks at local folders.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from .. import errors
from ..guest import trees
from ..guest.trees import Entry
from ..helper.file_errors import HERE, error_of

SMALL = 1 << 20  # bytes below which a file travels in a pack
PACK_FILES = 256
PACK_BYTES = 2 << 20
SAME_TIME = 2_000_000  # ns by which mtimes may differ: some file systems keep milliseconds

Skip = Callable[[str, bool], bool]  # whether to leave out a name; the second argument says whether it is a folder
T = TypeVar("T")


# --- names ---------------------------------------------------------------------------------------------------------


def has_magic(path: str) -> bool:
    return any(character in path for character in "*?[")


def expand(sources: Iterable[str]) -> list[str]:
    """Local paths, with each pattern replaced by what it matches (a shell may have done that already).

    Raises:
        errors.NotFoundError: a path does not exist, or a pattern matches nothing.
        errors.UsageError: a path is a pipe or a device.
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
            raise errors.FileNotFound(f"{source}: no such file or folder here", hint=here(path))
        found += matches
    return found


_HOST = re.compile(r"((?:[\w.-]+@)?[\w.-]{2,}):[/~]")  # as scp and docker cp have it; one letter is a drive


def check_no_address(paths: Iterable[str | None]) -> None:
    """Refuse addresses (gs://BUCKET/NAME, HOST:/NAME) where a file of the runtime, or of this machine, is meant: they
    would become folders of that name.

    Raises:
        errors.UsageError
    """
    for path in paths:
        if path is None or os.path.lexists(path):
            continue
        _check_no_url(path)
        if (host := _HOST.match(path)) is not None:
            name, rest = host[1], path[host.end(1) + 1 :]
            raise errors.UsageError(
                f"{path} begins with the name of a host or a session, and a path alone is meant",
                name="NotAPath",
                hint=f"the session stands before the command: lecoder-cgpu -s {name} upload FILE {rest}; "
                f"for a folder of that name: ./{path}",
            )


def _check_no_url(path: str) -> None:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        raise errors.UsageError(
            f"{path} is an address, and files are copied between this machine and the runtime alone",
            name="NotAPath",
            hint=_there(path),
        )


def _there(address: str) -> str:
    """A hint: what on the runtime speaks with an address of that kind."""
    if address.lower().startswith(("http:", "https:")):
        return f"lecoder-cgpu run {shlex.join(['curl', '-LO', address])}"
    tool = {"gs": "gcloud storage cp", "s3": "aws s3 cp"}.get(address.partition(":")[0].lower(), "")
    if not tool:
        return "use a program on the runtime that speaks with it: lecoder-cgpu run COMMAND"
    return f"on the runtime, where that program is installed and logged in: lecoder-cgpu run {tool} FILE {address}"


def here(path: str | os.PathLike[str]) -> str:
    """A hint: the command that lists the nearest existing folder above a missing local path."""
    parents = Path(os.path.abspath(os.path.expanduser(path))).parents
    return f"see what is there: ls {next(parent for parent in parents if parent.is_dir())}"


def check_folder(local: str) -> None:
    """Check that a local path is a folder.

    Raises:
        errors.UsageError: it is something else. errors.NotFoundError: it does not exist.
    """
    if os.path.isdir(local):
        return
    if os.path.exists(local):
        raise errors.UsageError(
            f"{local} is not a folder", name="NotADirectory", hint=f"one file: lecoder-cgpu upload {local}"
        )
    raise errors.FileNotFound(f"{local}: no such folder here", hint=here(local))


def remote_join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder.rstrip("/") else f"{folder}{name}"


def local_name(source: str) -> str:
    """The last part of a local path; "" for a folder that stands for what it holds (`.` or `x/.`)."""
    name = os.path.basename(source.rstrip("/" + os.sep))
    return "" if name in ("", ".", "..") else name


def remote_name(path: str) -> str:
    """The last part of a path on the runtime; "" for a folder that stands for what it holds."""
    name = path.rstrip("/").rpartition("/")[2]
    return "" if name in ("", ".", "..", "~") else name


def clean_remote(path: str) -> str:
    """A path on the runtime as it was meant: on Windows, users write backslashes, which must not become names.

    Raises:
        errors.UsageError: it is empty or an address, or cannot be one.
    """
    check_no_address([path])
    if not path or "\0" in path:
        raise errors.UsageError("a path on the runtime cannot be empty", hint="give a path, such as data/")
    return path.replace("\\", "/") if os.name == "nt" else path


def split_pull(spec: str) -> tuple[str, str | None]:
    """`PATH[:LOCAL]` of --pull as its two paths. (A Windows drive can only be in the second.)

    Raises:
        errors.UsageError: there is no path, or one of them is an address.
    """
    remote, _, local = spec.partition(":")
    _check_no_url(spec)
    check_no_address([local])
    if not remote:
        raise errors.UsageError(f"--pull {spec!r}: there is no path on the runtime", hint="--pull PATH[:LOCAL]")
    return remote, local or None


def under(folder: str | None, path: str) -> str:
    """A path on the runtime as seen from `folder` there."""
    if folder is None or path.startswith(("/", "~")):
        return path
    return remote_join(folder, path) if path else folder


def source_name(sync: str) -> str:
    """The name that a local folder gets on the runtime when the user gives none."""
    return Path(sync).expanduser().resolve().name or "root"


# --- packs ---------------------------------------------------------------------------------------------------------


class Batches(NamedTuple):
    """How the entries of a folder travel."""

    packs: list[list[Entry]]
    large: list[Entry]  # each by itself
    skipped: list[Entry]  # not at all


def divide(entries: Iterable[Entry]) -> Batches:
    """Divide the entries of a folder by how they travel. Folders themselves come last, see `folders_of`."""
    packs: list[list[Entry]] = [[]]
    large, skipped = [], []
    size = 0
    for item in entries:
        if item.kind in (trees.OUTSIDE, trees.SPECIAL):
            skipped.append(item)
        elif item.kind == trees.FOLDER:
            continue
        elif item.kind == trees.FILE and item.size >= SMALL:
            large.append(item)
        else:
            if len(packs[-1]) >= PACK_FILES or size + item.size > PACK_BYTES:
                packs.append([])
                size = 0
            packs[-1].append(item)
            size += item.size
    return Batches([pack for pack in packs if pack], large, skipped)


def folders_of(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Packs of the folders among these. The deepest come first, so that nothing is written into a folder whose time
    and mode are set already."""
    folders = [item for item in entries if item.kind == trees.FOLDER][::-1]
    return list(batches(folders, PACK_FILES))


def tree_digest(digests: dict[str, str]) -> str:
    """One hash for many files: the SHA-256 of what `sha256sum` prints for them, sorted by name."""
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
        raise error_of(error, HERE) from error


# --- sync ----------------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """What a sync does.

    Attributes:
        send: entries to send. delete: names to delete, the deepest first.
        unsure: names whose size agrees; only hashes tell whether the files differ.
        unchanged: how many files and links are on the runtime already. skipped: entries that cannot be sent.
    """

    send: list[Entry] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    unchanged: int = 0
    skipped: list[Entry] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes to send."""
        return sum(item.size for item in self.send)


def plan(here: Iterable[Entry], there: Iterable[Entry], *, checksum: bool = False, delete: Skip | None = None) -> Plan:
    """Compare two folders.

    Args:
        checksum: files of the same size are `unsure`, whatever their times say.
        delete: tells which names are ignored and stay. Everything else that is only there is deleted, and so is a file
            in the place of a folder, and the reverse. None deletes nothing.
    """
    made = Plan()
    theirs = {item.name: item for item in there}
    ours = set()
    for item in here:
        ours.add(item.name)
        if item.kind in (trees.OUTSIDE, trees.SPECIAL):
            made.skipped.append(item)
            continue
        other = theirs.get(item.name)
        if other is None or other.kind != item.kind:
            made.send.append(item)
        elif item.kind == trees.FOLDER:
            continue
        elif item.kind == trees.LINK:
            made.unchanged += item.target == other.target
            if item.target != other.target:
                made.send.append(item)
        elif item.size != other.size or (not checksum and abs(item.mtime - other.mtime) > SAME_TIME):
            made.send.append(item)
        elif checksum:
            made.unsure.append(item.name)
        else:
            made.unchanged += 1
    if delete is not None:
        in_the_way = {item.name for item in made.send if trees.FOLDER in (item.kind, theirs.get(item.name, item).kind)}
        extra = [
            name
            for name, item in theirs.items()
            if (name not in ours or name in in_the_way) and not delete(name, item.kind == trees.FOLDER)
        ]
        made.delete = sorted(extra, key=lambda name: (name.count("/"), name), reverse=True)
    return made


def batches(items: list[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
