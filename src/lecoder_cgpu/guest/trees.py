"""Folders on a disk: listing them, packing many small files into one piece of bytes, and unpacking that safely.

The same code works on both ends of a transfer: it is sent to the runtime as a part of the helper (Python 3.8 and
newer, standard library only), and imported by the client. Names on the way are relative, with `/` between their parts.

A pack is a row of records: mode, mtime, size and SHA-256 of a file, its name, its content. It is not a tar archive
because it needs none of what makes those dangerous and slow: no absolute names, links to links, devices or owners.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import struct
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Entry = list[Any]  # name, kind, size, mtime in ns, mode, and for a link its target

FILE, FOLDER, LINK = "file", "folder", "link"
OUTSIDE, SPECIAL = "outside", "special"  # a link that leads out of the tree; a socket, a device, a pipe
PART_SUFFIX = ".lecoder-part"
_RECORD = struct.Struct(">HIqI32s")  # length of the name, mode, mtime, size, digest
_NO_DIGEST = b"\0" * 32
_WINDOWS = sys.platform == "win32"
_RESERVED = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))}
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


class Problem(Exception):
    """Why something could not be done with a file; `name` is the short machine-readable name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


def problem(error: OSError, path: str) -> Problem:
    """What an operating system's error means for a transfer."""
    name = ERRNOS.get(error.errno or 0, "FileError")
    return Problem(name, f"{shown(path)}: {error.strerror or error}")


def shown(path: str) -> str:
    """A path as it can be printed, whatever bytes its name has."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- names ---------------------------------------------------------------------------------------------------------


def check_name(name: str) -> str:
    """A relative name that stays where it is put.

    Raises:
        Problem: (`UnsafeName`) it would leave its folder, or cannot be a name here.
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise Problem("UnsafeName", f"the name {shown(name)!r} would leave its folder")
    if _WINDOWS and any(
        set('\\:*?"<>|') & set(part) or part.rstrip(". ") != part or part.partition(".")[0].lower() in _RESERVED
        for part in parts
    ):
        raise Problem("UnsafeName", f"the name {shown(name)!r} is not possible on Windows")
    return name


def join(root: str, name: str) -> str:
    """The path of a checked name below a folder."""
    return os.path.join(root, *check_name(name).split("/"))


def is_inside(path: str, root: str) -> bool:
    """Whether a real path is `root` (a real path, too) or below it."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def encode_name(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def decode_name(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


# --- listing -------------------------------------------------------------------------------------------------------


def entry(path: str, name: str, found: os.stat_result, root: str) -> Entry:
    """What there is at `path`, as one line of a listing; links that lead out of `root` are marked, not followed."""
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return [name, FILE, found.st_size, found.st_mtime_ns, stat.S_IMODE(mode)]
    if stat.S_ISDIR(mode):
        return [name, FOLDER, 0, found.st_mtime_ns, stat.S_IMODE(mode)]
    if stat.S_ISLNK(mode):
        target = os.readlink(path)
        kind = LINK if _leads_inside(path, target, root) else OUTSIDE
        return [name, kind, 0, found.st_mtime_ns, 0o777, target]
    return [name, SPECIAL, 0, found.st_mtime_ns, stat.S_IMODE(mode)]


def _leads_inside(path: str, target: str, root: str) -> bool:
    if os.path.isabs(target):
        return False  # it would point elsewhere on another machine
    return is_inside(os.path.realpath(os.path.join(os.path.dirname(path), target)), os.path.realpath(root))


def scan(root: str, skip: Any = None) -> Iterator[Entry]:
    """Everything below a folder, each folder before what it holds; our own half-written files left out.

    Args:
        skip: called with a name and whether it is a folder; what it is true for is left out, with all below it.

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
                continue  # it went away meanwhile
            except OSError as error:
                raise problem(error, item.path) from error
            if is_folder:
                below.append((item.path, name + "/"))
        waiting += reversed(below)


# --- packs ---------------------------------------------------------------------------------------------------------


def pack(root: str, entries: Iterable[Entry]) -> tuple[bytes, list[tuple[str, str, str]]]:
    """Records of these entries, and what could not be read: name, problem, message.

    An entry is a line of a listing; a file that is no longer what that says was changed meanwhile.
    """
    records: list[bytes] = []
    problems = []
    for item in entries:
        name, kind = item[0], item[1]
        try:
            if kind == FILE:
                records += _file_record(join(root, name), item)
            elif kind == FOLDER:
                records += _record(name, stat.S_IFDIR | _mode(item), item[3], b"", _NO_DIGEST)
            elif kind == LINK:
                records += _record(name, stat.S_IFLNK | 0o777, item[3], encode_name(item[5]), _NO_DIGEST)
        except Problem as error:
            problems.append((name, error.name, error.message))
        except OSError as error:
            told = problem(error, join(root, name))
            problems.append((name, told.name, told.message))
    return b"".join(records), problems


def _file_record(path: str, item: Entry) -> list[bytes]:
    size = item[2]
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        content = os.read(descriptor, size + 1)
        while 0 < len(content) < size:
            more = os.read(descriptor, size + 1 - len(content))
            if not more:
                break
            content += more
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(content) != size or found.st_mtime_ns != item[3]:
        raise Problem("FileChanged", f"{shown(path)}: it was changed while it was read")
    return _record(item[0], stat.S_IFREG | item[4], item[3], content, hashlib.sha256(content).digest())


def _record(name: str, mode: int, mtime: int, content: bytes, digest: bytes) -> list[bytes]:
    encoded = encode_name(name)
    return [_RECORD.pack(len(encoded), mode, mtime, len(content), digest), encoded, content]


def _mode(item: Entry) -> int:
    return 0o755 if item[4] is None else int(item[4])


def record(name: str, kind: str, mtime: int, content: bytes) -> bytes:
    """The record of a file or folder of which only this much is known."""
    if kind == FOLDER:
        return b"".join(_record(name, stat.S_IFDIR | 0o755, mtime, b"", _NO_DIGEST))
    return b"".join(_record(name, stat.S_IFREG | 0o644, mtime, content, hashlib.sha256(content).digest()))


def folder_records(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Records of the folders of a listing."""
    for item in entries:
        yield b"".join(_record(item[0], stat.S_IFDIR | _mode(item), item[3], b"", _NO_DIGEST))


def records(packed: Any) -> Iterator[tuple[str, int, int, bytes, memoryview]]:
    """Name, mode, mtime, digest and content of each record of a pack.

    Raises:
        Problem: (`BadPack`) it is cut off.
    """
    view = memoryview(packed)
    position = 0
    while position < len(view):
        try:
            length, mode, mtime, size, digest = _RECORD.unpack_from(view, position)
        except struct.error:
            raise Problem("BadPack", "a pack of files was cut off") from None
        start = position + _RECORD.size
        position = start + length + size
        if position > len(view):
            raise Problem("BadPack", "a pack of files was cut off")
        yield decode_name(bytes(view[start : start + length])), mode, mtime, digest, view[start + length : position]


class Unpacker:
    """Writes packs below a folder. Nothing ends up outside of it, nor through a link that leads out.

    Every file is verified, written under another name in its folder, and renamed: what stands under a final name is
    whole. A folder that is not there yet is made and filled under another name itself, which saves renaming its files,
    a quarter of all that small ones cost. Doing the same pack again does no harm.

    Args:
        root: the folder; it is made when it is missing.
        nonce: makes the temporary names those of this transfer.
    """

    def __init__(self, root: str, nonce: str) -> None:
        make_folder(root)
        self._root = os.path.realpath(root)
        self._nonce = nonce
        self._folders: dict[str, str] = {"": self._root}
        self._apart: dict[str, str] = {}  # folders of this pack under another name, and where they belong
        self._new: dict[str, str] = {}  # names of folders in one of these, and in which
        self._denied = _umask()

    def __call__(self, packed: Any) -> tuple[int, int]:
        """Write one pack; returns how many files and how many bytes that were.

        Raises:
            Problem: something cannot be written; what came before it was.
        """
        try:
            done = self._unpack(packed)
        except BaseException:
            with contextlib.suppress(Problem):
                self._settle()  # what is in these folders is whole
            raise
        self._settle()
        return done

    def _unpack(self, packed: Any) -> tuple[int, int]:
        files = size = 0
        for name, mode, mtime, digest, content in records(packed):
            folder, _, last = check_name(name).rpartition("/")
            is_folder = stat.S_ISDIR(mode)
            if is_folder:
                self._settle()  # after it, its time would change again
            path = os.path.join(self.folder(folder, apart=not is_folder), last)
            try:
                if is_folder:
                    self._finish_folder(path, mode, mtime)
                elif stat.S_ISREG(mode):
                    if hashlib.sha256(content).digest() != digest:
                        raise Problem("VerifyFailed", f"{shown(name)}: what arrived is not what was sent")
                    self._write(path, mode, mtime, content, direct=folder in self._new)
                    files, size = files + 1, size + len(content)
                elif stat.S_ISLNK(mode):
                    self._link(path, decode_name(bytes(content)))
                    files += 1
            except OSError as error:
                raise problem(error, join(self._root, name)) from error
        return files, size

    def folder(self, name: str, *, apart: bool = False) -> str:
        """The path of a folder below the root, made when it is missing, and not behind a link that leads out.

        Args:
            apart: make it under another name until the pack is done.
        """
        known = self._folders.get(name)
        if known is None:
            parent, _, last = name.rpartition("/")
            above = self.folder(parent, apart=apart)
            path = os.path.join(above, last)
            try:
                if parent in self._new:
                    os.mkdir(path)
                    self._new[name] = self._new[parent]
                elif apart and not os.path.lexists(path):
                    made = os.path.join(above, f".{self._nonce}-{len(self._apart)}{PART_SUFFIX}")
                    _make_anew(made)
                    self._apart[made], path = path, made
                    self._new[name] = made
                else:
                    os.mkdir(path)
            except FileExistsError:
                if not os.path.isdir(path):
                    raise Problem("NotADirectory", f"{shown(path)}: a file is in the way") from None
            except OSError as error:
                raise problem(error, path) from error
            if not is_inside(os.path.realpath(path), self._root):
                raise Problem("UnsafeName", f"{shown(path)}: it is a link that leads out of the folder")
            known = self._folders[name] = path
        return known

    def _settle(self) -> None:
        """Give the folders of this pack their names."""
        apart, new = self._apart, self._new
        self._apart, self._new = {}, {}
        for name, made in new.items():
            if name in self._folders:
                self._folders[name] = apart[made] + self._folders[name][len(made) :]
        first: Problem | None = None
        for made, path in apart.items():
            try:
                self._place(made, path)
            except (OSError, Problem) as error:
                first = first or (problem(error, path) if isinstance(error, OSError) else error)
                shutil.rmtree(made, ignore_errors=True)
        if first is not None:
            raise first

    def _place(self, made: str, path: str) -> None:
        """Move a folder to its place; if there is one by now, what it holds."""
        try:
            os.rename(made, path)
        except OSError:
            if not os.path.isdir(path):
                raise
            if not is_inside(os.path.realpath(path), self._root):
                raise Problem("UnsafeName", f"{shown(path)}: it is a link that leads out of the folder") from None
            for item in list(os.scandir(made)):
                target = os.path.join(path, item.name)
                if item.is_dir(follow_symlinks=False) and os.path.lexists(target):
                    self._place(item.path, target)
                else:
                    os.replace(item.path, target)
            os.rmdir(made)

    def _write(self, path: str, mode: int, mtime: int, content: memoryview, *, direct: bool) -> None:
        permissions = stat.S_IMODE(mode) & 0o777
        temporary = path if direct else os.path.join(os.path.dirname(path), "." + self._nonce + PART_SUFFIX)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(temporary, flags, permissions)
        try:
            try:
                write_all(descriptor, content)
                if permissions & self._denied and hasattr(os, "fchmod"):
                    os.fchmod(descriptor, permissions)
                if os.utime in os.supports_fd:
                    os.utime(descriptor, ns=(mtime, mtime))
            finally:
                os.close(descriptor)
            if os.utime not in os.supports_fd:
                os.utime(temporary, ns=(mtime, mtime))
            if not direct:
                os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _finish_folder(self, path: str, mode: int, mtime: int) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        if os.path.islink(path) or not os.path.isdir(path):
            raise Problem("NotADirectory", f"{shown(path)}: something else is in the way")
        os.chmod(path, stat.S_IMODE(mode) | 0o700)
        os.utime(path, ns=(mtime, mtime))

    def _link(self, path: str, target: str) -> None:
        if not _leads_inside(path, target, self._root):
            raise Problem("UnsafeName", f"{shown(path)}: the link leads out of the folder")
        if os.path.islink(path) and os.readlink(path) == target:
            return
        temporary = os.path.join(os.path.dirname(path), "." + self._nonce + PART_SUFFIX)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(target, temporary)
        try:
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise


def check_replaceable(path: str) -> None:
    """See that nothing is lost but a file when a file is put under this name.

    Raises:
        Problem: a folder, a device or a pipe has it.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # nothing is there, or making it fails and says how
    if stat.S_ISDIR(mode):
        raise Problem("IsADirectory", f"{shown(path)}: it is a folder")
    if not stat.S_ISREG(mode):
        raise Problem("NotAFile", f"{shown(path)}: it is neither a file nor a folder")


def check_readable(descriptor: int, path: str) -> None:
    """See that what is open ends some time without our waiting for somebody.

    Raises:
        Problem: it is a pipe or a socket.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise Problem("NotAFile", f"{shown(path)}: it is neither a file nor a folder")


def _make_anew(path: str) -> None:
    """Make a folder of our own, in the place of one that a killed process has left half filled."""
    try:
        os.mkdir(path)
    except FileExistsError:
        shutil.rmtree(path)
        os.mkdir(path)


def make_folder(path: str) -> None:
    """Make a folder with those above it, where they are missing.

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
    """Write all of it: a signal or a full pipe may make one call write less."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def delete(root: str, names: Iterable[str]) -> set[str]:
    """Delete files, links and empty folders below `root`; returns those that were there.

    Raises:
        Problem: one cannot be deleted.
    """
    real = os.path.realpath(root)
    gone = set()
    for name in names:
        path = join(root, name)
        if not is_inside(os.path.realpath(os.path.dirname(path)), real):
            raise Problem("UnsafeName", f"{shown(path)}: it is behind a link that leads out of the folder")
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                os.rmdir(path)
            else:
                os.unlink(path)
            gone.add(name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise problem(error, path) from error
    return gone
