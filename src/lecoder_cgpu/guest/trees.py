"""Folders on a disk: their names, their listings, and what may be done with single files in them.

Both ends of a transfer use this code: the helper on the runtime (Python 3.8 and newer, standard library only), and the
client, which imports it. Names in a listing are relative to the listed folder, with `/` between their parts.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE, FOLDER, LINK = "file", "folder", "link"
OUTSIDE, SPECIAL = "outside", "special"  # a link that leads out of the tree; a socket, a device, a pipe
PART_SUFFIX = ".lecoder-part"
_WINDOWS = sys.platform == "win32"
_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
_RESERVED |= {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
LONGEST = 4096  # bytes of a name
DEEPEST = 200  # parts of a name
ERRNOS = {
    errno.ENOENT: "FileNotFound",
    errno.EISDIR: "IsADirectory",
    errno.ENOTDIR: "NotADirectory",
    errno.EEXIST: "FileExists",
    errno.EACCES: "PermissionDenied",
    errno.EPERM: "PermissionDenied",
    errno.EROFS: "PermissionDenied",
    errno.ENOSPC: "DiskFull",
    getattr(errno, "EDQUOT", errno.ENOSPC): "DiskFull",
    errno.ENAMETOOLONG: "NameTooLong",
    errno.ENOTEMPTY: "FolderNotEmpty",
}


class Entry(NamedTuple):
    """One line of a listing. It travels as a JSON list in this order.

    Attributes:
        name: relative to the listed folder. kind: `file`, `folder`, `link`, `outside` or `special`.
        size: bytes, 0 for all but files. mtime: in nanoseconds since 1970.
        mode: permission bits; None where the source does not tell. target: of a link, as it is written.
    """

    name: str
    kind: str
    size: int
    mtime: int
    mode: int | None = None
    target: str | None = None


class Problem(Exception):
    """Why something could not be done with a file; `name` is the short machine-readable name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


def problem(error: OSError, path: str) -> Problem:
    """The problem that an error of the operating system stands for."""
    name = ERRNOS.get(error.errno or 0, "FileError")
    return Problem(name, f"{shown(path)}: {error.strerror or error}")


def shown(path: str) -> str:
    """A path in a form that can be printed, even if its name is no UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- names ---------------------------------------------------------------------------------------------------------


def check_name(name: str, *, windows: bool = _WINDOWS) -> str:
    """A relative name that stays where it is put.

    Args:
        windows: whether it becomes a file on Windows, where more names mean something else.

    Raises:
        Problem: (`UnsafeName`) it would leave its folder, or cannot be a name here. (`NameTooLong`) it is too long.
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise Problem("UnsafeName", f"the name {shown(name[:LONGEST])!r} would leave its folder")
    if len(parts) > DEEPEST or len(name) > LONGEST:
        raise Problem("NameTooLong", f"the name {shown(name[:60])!r}… is longer or deeper than any path may be")
    if windows and not all(map(possible_on_windows, parts)):
        raise Problem("UnsafeName", f"the name {shown(name)!r} is not possible on Windows")
    return name


def possible_on_windows(part: str) -> bool:
    """Whether a file may have that name there."""
    device = part.partition(".")[0].rstrip(" ").lower() in _RESERVED
    return not (device or part.rstrip(". ") != part or any(sign in '\\:*?"<>|' or sign < " " for sign in part))


def link_stays(depth: int, target: str, *, windows: bool = _WINDOWS) -> bool:
    """Whether a link can never lead out of a tree, whatever the parts of its target are or will be.

    It may climb at its beginning only, and no higher than the root: behind a name, `..` leads wherever that name may
    lead one day.

    Args:
        depth: how many folders its folder is below the root.
    """
    if windows:
        target = target.replace("\\", "/")
        if ":" in target:
            return False
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    inside = bool(target) and not target.startswith("/") and "\0" not in target and len(target) <= LONGEST
    return inside and climbs <= depth and ".." not in parts[climbs:]


def join(root: str, name: str) -> str:
    """The path of a checked name below a folder."""
    return os.path.join(root, *check_name(name).split("/"))


def is_inside(path: str, root: str) -> bool:
    """Whether a path is `root` or below it; both must be real paths."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def encode_name(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def decode_name(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


# --- listing -------------------------------------------------------------------------------------------------------


def entry(path: str, name: str, found: os.stat_result, root: str) -> Entry:
    """The line of a listing for what is at `path`. A link that leads out of `root` is marked and not followed."""
    mode, mtime = found.st_mode, found.st_mtime_ns
    if stat.S_ISREG(mode):
        return Entry(name, FILE, found.st_size, mtime, stat.S_IMODE(mode))
    if stat.S_ISDIR(mode):
        return Entry(name, FOLDER, 0, mtime, stat.S_IMODE(mode))
    if stat.S_ISLNK(mode):
        target = os.readlink(path)
        return Entry(name, LINK if leads_inside(path, name, target, root) else OUTSIDE, 0, mtime, 0o777, target)
    return Entry(name, SPECIAL, 0, mtime, stat.S_IMODE(mode))


def leads_inside(path: str, name: str, target: str, root: str) -> bool:
    """Whether a link at `path`, which is `name` below `root`, stays below it: now, and wherever it is unpacked."""
    if not link_stays(name.count("/"), target):
        return False
    return is_inside(os.path.realpath(os.path.join(os.path.dirname(path), target)), os.path.realpath(root))


def scan(root: str, skip: Any = None) -> Iterator[Entry]:
    """Everything below a folder, each folder before its entries, without our own half-written files.

    Args:
        skip: called with a name and whether it is a folder. If it returns true, the name is left out, with everything
            below it.

    Raises:
        Problem: a folder cannot be read.
    """
    waiting: list[tuple[str, str]] = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                found = sorted(listing, key=lambda item: item.name)
        except OSError as error:
            raise problem(error, folder) from error
        below = []
        for item in found:
            name = prefix + item.name
            is_folder = item.is_dir(follow_symlinks=False)
            if item.name.endswith(PART_SUFFIX) or (skip is not None and skip(name, is_folder)):
                continue
            try:
                yield entry(item.path, name, item.stat(follow_symlinks=False), root)
            except FileNotFoundError:
                continue  # it was deleted meanwhile
            except OSError as error:
                raise problem(error, item.path) from error
            if is_folder:
                below.append((item.path, name + "/"))
        waiting += reversed(below)


# --- single files and folders ----------------------------------------------------------------------------------------


def check_readable(descriptor: int, path: str) -> None:
    """Check that reading an open file cannot wait for another process.

    Raises:
        Problem: it is a pipe or a socket.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise Problem("NotAFile", f"{shown(path)}: it is neither a file nor a folder")


def make_folder(path: str) -> None:
    """Make a folder, and the folders above it, where they are missing.

    Raises:
        Problem: it cannot be made, or a file is in the way.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError:
        raise Problem("NotADirectory", f"{shown(path)}: a file is in the way") from None
    except OSError as error:
        raise problem(error, path) from error


def write_all(descriptor: int, content: Any) -> None:
    """Write everything. A single call of the system may write less, after a signal or to a full pipe."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
