"""Writes packs below a folder, safely: nothing lands outside (see `beneath`), and what has its final name is whole.

**How a file becomes whole.** A file is verified, written under a temporary name in its folder, and renamed. A folder
that does not exist yet is made under a temporary name, filled, and renamed as one at the end of the pack; its files are
written directly, which saves one rename for each (a quarter of the cost of small files).

**State between two records** (all names are relative to the root):

* `_actual`: the folders that this pack has used, and the name that each has now.
* `_apart`: the temporary folders of this pack, and the name that each will get.
* `_new`: the folders that are or lie in a temporary one, and in which. Files in them are written directly.

**Invariants.** Between two packs, all three are empty: `_settle` has renamed every temporary folder, also after a
failure, because what is in them is whole. The record of a folder (its time and mode) comes after its files; temporary
folders are settled before it, because a rename would change the time again. Writing the same pack again does no harm.
If the process is killed, one temporary folder may stay; the next transfer with the same nonce replaces it.

Both ends of a transfer use this code (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Any

from .beneath import DESCRIPTORS, Beneath, Folder, permissions, umask
from .packs import Record, records
from .trees import PART_SUFFIX, Problem, check_name, decode_name, link_stays, problem, shown, write_all

_OWNER = 0o700  # what we need to fill a folder


class Unpacker:
    """Writes packs below a folder; the top of this file explains how.

    Args:
        root: the folder; it is made when it is missing.
        nonce: makes the temporary names unique to this transfer.
        descriptors: see `Beneath`.
    """

    def __init__(self, root: str, nonce: str, *, descriptors: bool = DESCRIPTORS) -> None:
        self._root = Beneath(root, descriptors=descriptors)
        self._by_name = not descriptors
        self._nonce = nonce
        self._actual: dict[str, str] = {}
        self._apart: dict[str, str] = {}
        self._new: dict[str, str] = {}
        self._denied = umask()

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

    def place(self, name: str) -> tuple[Folder, str]:
        """Where a file that does not come in a pack belongs: its folder, which is made, and the last part of its name.

        Raises:
            Problem: the folder cannot be made, or is behind a link that leads out.
        """
        return self._root.place(name, make=True)

    def _unpack(self, packed: Any) -> tuple[int, int]:
        files = size = 0
        for item in records(packed):
            parent, _, last = check_name(item.name).rpartition("/")
            try:
                if item.is_folder:
                    self._settle()  # a rename after this record would change the folder's time again
                    self._finish_folder(self._folder(parent, apart=False), last, item)
                elif item.is_file:
                    if hashlib.sha256(item.content).digest() != item.digest:
                        raise Problem("VerifyFailed", f"{shown(item.name)}: what arrived is not what was sent")
                    folder = self._folder(parent, apart=True)
                    self._write(folder, last, item, direct=parent in self._new)
                    files, size = files + 1, size + len(item.content)
                elif item.is_link:
                    self._link(self._folder(parent, apart=True), last, decode_name(bytes(item.content)))
                    files += 1
                else:
                    raise Problem("BadPack", f"{shown(item.name)}: neither a file, a folder nor a link")
            except OSError as error:
                raise problem(error, os.path.join(self._root.top.path, item.name)) from error
        return files, size

    def _folder(self, name: str, *, apart: bool) -> Folder:
        """A folder below the root. It is made when it is missing, and refused behind a link that leads out.

        Args:
            apart: make it under another name until the pack is done.
        """
        actual, prefix = "", ""
        for part in name.split("/") if name else ():
            parent, prefix = prefix, prefix + "/" + part if prefix else part
            known = self._actual.get(prefix)
            if known is None:
                known = actual + "/" + part if actual else part
                if parent in self._new:
                    self._root.folder(actual).mkdir(part)
                    self._new[prefix] = self._new[parent]
                elif apart and self._root.folder(actual).look(part) is None:
                    final = known
                    last = f".{self._nonce}-{len(self._apart)}{PART_SUFFIX}"
                    known = actual + "/" + last if actual else last
                    self._make_anew(self._root.folder(actual), last)
                    self._apart[known] = final
                    self._new[prefix] = known
                self._actual[prefix] = known
            actual = known
        return self._root.folder(actual, make=True)

    @staticmethod
    def _make_anew(folder: Folder, name: str) -> None:
        """Make an empty folder, and remove what a killed process may have left under this name."""
        try:
            folder.mkdir(name)
        except FileExistsError:
            folder.remove(name)
            folder.mkdir(name)

    def _settle(self) -> None:
        """Rename the temporary folders of this pack to their final names."""
        apart = self._apart
        self._actual, self._apart, self._new = {}, {}, {}
        first: Problem | None = None
        for made, final in apart.items():
            folder = self._root.folder(made.rpartition("/")[0])
            source, last = made.rpartition("/")[2], final.rpartition("/")[2]
            try:
                _move(folder, source, folder, last)
            except (OSError, Problem) as error:
                told = problem(error, os.path.join(folder.path, last)) if isinstance(error, OSError) else error
                first = first or told
                with contextlib.suppress(OSError):
                    folder.remove(source)
        self._root.forget()
        if first is not None:
            raise first

    def _write(self, folder: Folder, last: str, item: Record, *, direct: bool) -> None:
        mode = permissions(item.mode, self._denied)
        temporary = last if direct else "." + self._nonce + PART_SUFFIX
        descriptor = folder.create(temporary, mode)
        try:
            try:
                write_all(descriptor, item.content)
                if not self._by_name:
                    folder.finish(temporary, descriptor, None, item.mtime)
            finally:
                os.close(descriptor)
            if self._by_name:
                folder.finish(temporary, None, None, item.mtime)
            if not direct:
                folder.rename(temporary, folder, last)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.unlink(temporary)
            raise

    def _finish_folder(self, folder: Folder, last: str, item: Record) -> None:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(last)
        try:
            folder.enter(last)
        except NotADirectoryError:
            raise Problem("NotADirectory", f"{folder.shown(last)}: something else is in the way") from None
        folder.finish(last, None, permissions(item.mode, self._denied) | _OWNER, item.mtime)

    def _link(self, folder: Folder, last: str, target: str) -> None:
        if not link_stays(folder.depth, target):
            raise Problem("UnsafeName", f"{folder.shown(last)}: the link leads out of the folder")
        if folder.target(last) == target:
            return
        temporary = "." + self._nonce + PART_SUFFIX
        with contextlib.suppress(FileNotFoundError):
            folder.unlink(temporary)
        folder.link(temporary, target)
        try:
            folder.rename(temporary, folder, last)
        except OSError:
            folder.unlink(temporary)
            raise


def _move(source: Folder, name: str, target: Folder, new: str) -> None:
    """Move something to its place. If there is a folder by now, what a folder holds is moved into it."""
    try:
        source.rename(name, target, new)
    except OSError:
        if target.target(new) is not None:
            raise Problem("UnsafeName", f"{target.shown(new)}: it is a link that leads out of the folder") from None
        try:
            below, place = source.enter(name), target.enter(new)
        except NotADirectoryError:
            raise Problem("NotADirectory", f"{target.shown(new)}: a file is in the way") from None
        for item in below.names():
            _move(below, item, place, item)
        source.rmdir(name)
