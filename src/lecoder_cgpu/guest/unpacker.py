"""Writes packs below a folder, safely: nothing lands outside of it, and what has its final name is whole.

**How a file becomes whole.** A file is verified, written under a temporary name in its folder, and renamed. A folder
that does not exist yet is made under a temporary name, filled, and renamed as one at the end of the pack; its files are
written directly, which saves one rename for each (a quarter of the cost of small files).

**State between two records** (all names are relative to the root):

* `_folders`: every folder that was used, and its path now. A path is checked once, when it enters: its real path must
  be inside the root, so a link that leads out is refused.
* `_apart`: the temporary folders of this pack, and the path that each will get.
* `_new`: the folders that are or lie in a temporary one, and in which. Files in them are written directly.

**Invariants.** Between two packs, `_apart` and `_new` are empty: `_settle` has renamed every temporary folder, also
after a failure, because what is in them is whole. The record of a folder (its time and mode) comes after its files;
temporary folders are settled before it, because a rename would change the time again. Writing the same pack again does
no harm. If the process is killed, one temporary folder may stay; the next transfer with the same nonce replaces it.

Both ends of a transfer use this code (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from typing import Any

from .packs import records
from .trees import (
    PART_SUFFIX,
    Problem,
    check_name,
    decode_name,
    is_inside,
    join,
    leads_inside,
    make_folder,
    problem,
    shown,
    write_all,
)


class Unpacker:
    """Writes packs below a folder; the top of this file explains how.

    Args:
        root: the folder; it is made when it is missing.
        nonce: makes the temporary names unique to this transfer.
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
        """Write one pack; returns the number of files and of bytes.

        Raises:
            Problem: something cannot be written. Everything before it in the pack was written.
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
        for item in records(packed):
            folder, _, last = check_name(item.name).rpartition("/")
            if item.is_folder:
                self._settle()  # a rename after this record would change the folder's time again
            path = os.path.join(self.folder(folder, apart=not item.is_folder), last)
            try:
                if item.is_folder:
                    self._finish_folder(path, item.mode, item.mtime)
                elif item.is_file:
                    if hashlib.sha256(item.content).digest() != item.digest:
                        raise Problem("VerifyFailed", f"{shown(item.name)}: what arrived is not what was sent")
                    self._write(path, item.mode, item.mtime, item.content, direct=folder in self._new)
                    files, size = files + 1, size + len(item.content)
                elif item.is_link:
                    self._link(path, decode_name(bytes(item.content)))
                    files += 1
            except OSError as error:
                raise problem(error, join(self._root, item.name)) from error
        return files, size

    def folder(self, name: str, *, apart: bool = False) -> str:
        """The path of a folder below the root. It is made when it is missing, and refused behind a link that leads out.

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
        """Rename the temporary folders of this pack to their final names."""
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
        """Move a folder to its place. If a folder is there by now, move the contents into it."""
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
        if not leads_inside(path, target, self._root):
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


def _make_anew(path: str) -> None:
    """Make an empty folder, and remove what a killed process may have left under this name."""
    try:
        os.mkdir(path)
    except FileExistsError:
        shutil.rmtree(path)
        os.mkdir(path)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
