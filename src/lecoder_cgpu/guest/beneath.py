"""Works below one folder and never outside of it, whatever links lie there, from earlier or since a moment ago.

A folder is opened through its descriptor from the one above it, without following links, and everything in it is done
through that descriptor (`openat` and `O_NOFOLLOW`). So nobody can put a link in the way between a check and its use. A
link on the way is followed by hand while it stays below the root; the last name is never followed. Where the system has
no descriptors of folders (Windows), each part is looked at just before it is used.

Both ends of a transfer use this code (Python 3.8 and newer, standard library only; no library does this).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from .trees import Problem, check_name, make_folder, problem, shown, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable

DESCRIPTORS = os.open in os.supports_dir_fd and os.scandir in os.supports_fd and hasattr(os, "O_NOFOLLOW")
HELD = 32  # folders that a root keeps open, to be used again
LINKS = 40  # followed on the way to one folder
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_REPARSE = 0x400  # the attribute of what Windows follows: links, junctions


def permissions(mode: int, denied: int) -> int:
    """The permissions a a mode from elsewhere gets here: never setuid and the like, and what the umask allows."""
    return mode & 0o777 & ~denied


def umask() -> int:
    """The bits that this process denies to new files."""
    current = os.umask(0o077)
    os.umask(current)
    return current


class Folder:
    """An open folder. Its methods take names of one part and never follow a link of that name.

    Attributes:
        path: where it is. above: the folder that holds it; None for the root.
    """

    def __init__(self, path: str, descriptor: int | None, above: Folder | None = None) -> None:
        self.path = path
        self.above = above
        self._descriptor = descriptor

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    @property
    def depth(self) -> int:
        """How many levels it is below the root."""
        depth, above = 0, self.above
        while above is not None:
            depth, above = depth + 1, above.above
        return depth

    def shown(self, name: str) -> str:
        """The path of a name in this folder, for messages."""
        return shown(os.path.join(self.path, name))

    def _at(self, name: str) -> str:
        return name if self._descriptor is not None else os.path.join(self.path, name)

    def enter(self, name: str) -> Folder:
        """The folder of that name.

        Raises:
            NotADirectoryError: it is something else; a link is. OSError: it does not exist, or cannot be opened.
        """
        path = os.path.join(self.path, name)
        if self._descriptor is not None:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            try:
                return Folder(path, os.open(name, flags, dir_fd=self._descriptor), self)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.EMLINK):  # what some systems say of a link
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
                raise
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or getattr(found, "st_file_attributes", 0) & _REPARSE:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return Folder(path, None, self)

    def look(self, name: str) -> os.stat_result | None:
        """What has that name; None when nothing does."""
        try:
            return os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Everything in this folder."""
        with os.scandir(self.path if self._descriptor is None else self._descriptor) as listing:
            return [item.name for item in listing]

    def open(self, name: str, flags: int, mode: int = 0o666) -> int:
        """A descriptor of the file of that name. It waits for no pipe.

        Raises:
            Problem: it is a link, a device or a pipe. OSError: as `os.open` has it.
        """
        try:
            descriptor = os.open(self._at(name), flags | _FLAGS, mode, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise Problem("NotAFile", f"{self.shown(name)}: it is a link or a pipe") from None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Problem("NotAFile", f"{self.shown(name)}: it is neither a file nor a folder")
        return descriptor

    def create(self, name: str, mode: int = 0o666) -> int:
        """A descriptor of a new file, to write; a file or link that has that name is removed."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            return self.open(name, flags, mode)
        except FileExistsError:
            self.unlink(name)
            return self.open(name, flags, mode)

    def write(self, name: str, content: Any) -> None:
        """Write a file. What has that name before is replaced, and nothing is written through a link."""
        descriptor = self.create(name)
        try:
            write_all(descriptor, content)
        finally:
            os.close(descriptor)

    def finish(self, name: str, descriptor: int | None, mode: int | None, mtime: int) -> None:
        """Give what has that name its permissions (None leaves them) and time (nanoseconds since 1970).

        Args:
            descriptor: of the file, where it is open; a folder is opened.
        """
        opened = None
        if descriptor is None and self._descriptor is not None:
            opened = descriptor = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=self._descriptor)
        try:
            if mode is not None:
                if descriptor is not None and hasattr(os, "fchmod"):
                    os.fchmod(descriptor, mode)
                else:
                    os.chmod(self._at(name), mode)
            if descriptor is not None and os.utime in os.supports_fd:
                os.utime(descriptor, ns=(mtime, mtime))
            elif self._descriptor is None:
                os.utime(self._at(name), ns=(mtime, mtime))
        finally:
            if opened is not None:
                os.close(opened)

    def mkdir(self, name: str, mode: int = 0o777) -> None:
        os.mkdir(self._at(name), mode, dir_fd=self._descriptor)

    def unlink(self, name: str) -> None:
        os.unlink(self._at(name), dir_fd=self._descriptor)

    def rmdir(self, name: str) -> None:
        os.rmdir(self._at(name), dir_fd=self._descriptor)

    def rename(self, name: str, folder: Folder, new: str) -> None:
        """Give something another name, in this or another folder; a file of that name is replaced."""
        os.replace(self._at(name), folder._at(new), src_dir_fd=self._descriptor, dst_dir_fd=folder._descriptor)

    def link(self, name: str, target: str) -> None:
        os.symlink(target, self._at(name), dir_fd=self._descriptor)

    def target(self, name: str) -> str | None:
        """The target of a link as it is written; None when it is not a link."""
        try:
            return os.readlink(self._at(name), dir_fd=self._descriptor)
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """Delete a file or link, or a folder with everything in it."""
        try:
            below = self.enter(name)
        except NotADirectoryError:
            self.unlink(name)
            return
        for item in below.names():
            below.remove(item)
        self.rmdir(name)

    def check_replaceable(self, name: str, *, links: bool = True) -> None:
        """Check that a file may be put under this name.

        Args:
            links: a link may be replaced.

        Raises:
            Problem: a folder, a device, a pipe or a link is there.
        """
        found = self.look(name)
        if found is None or stat.S_ISREG(found.st_mode):
            return
        if stat.S_ISDIR(found.st_mode):
            raise Problem("IsADirectory", f"{self.shown(name)}: it is a folder")
        if not stat.S_ISLNK(found.st_mode):
            raise Problem("NotAFile", f"{self.shown(name)}: it is neither a file nor a folder")
        if not links:
            where = shown(os.path.realpath(os.path.join(self.path, name)))
            raise Problem("IsALink", f"{self.shown(name)}: it is a link, to {where}")


class Beneath:
    """The folders below one folder, which is made when it is missing.

    Args:
        root: the folder. Links in this path are followed: somebody here has named it.
        descriptors: whether to work with descriptors of folders; False is for systems that have none.

    Raises:
        Problem: the folder cannot be made or opened.
    """

    def __init__(self, root: str, *, descriptors: bool = DESCRIPTORS) -> None:
        make_folder(root)
        path = os.path.realpath(root)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY) if descriptors else None
        except OSError as error:
            raise problem(error, root) from error
        self.top = Folder(path, descriptor)
        self._held: dict[str, Folder] = {}

    def folder(self, name: str, *, make: bool = False) -> Folder:
        """The folder of a checked name; "" is the root itself.

        Args:
            make: make it, and those above it, where they are missing.

        Raises:
            Problem: it does not exist, something else is in the way, or it is behind a link that leads out.
        """
        here, prefix = self.top, ""
        for part in name.split("/") if name else ():
            prefix = prefix + "/" + part if prefix else part
            known = self._held.get(prefix)
            if known is None:
                known = self._step(here, part, make)
                while len(self._held) >= HELD:
                    del self._held[next(iter(self._held))]
                self._held[prefix] = known
            here = known
        return here

    def forget(self) -> None:
        """Close every folder but the root. Folders were renamed, or nothing is to be done for a while."""
        self._held.clear()

    def place(self, name: str, *, make: bool = False) -> tuple[Folder, str]:
        """The folder that holds a name, which is checked, and the last part of the name."""
        parent, _, last = check_name(name).rpartition("/")
        return self.folder(parent, make=make), last

    def _step(self, start: Folder, part: str, make: bool) -> Folder:
        """One folder further. Links are followed here, as long as they stay below the root."""
        here, waiting, followed = start, [part], 0
        outwards = Problem("UnsafeName", f"{start.shown(part)}: it is a link that leads out of the folder")
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if here.above is None:
                    raise outwards
                here = here.above
                continue
            try:
                try:
                    here = here.enter(part)
                except FileNotFoundError:
                    if not make:
                        raise
                    with contextlib.suppress(FileExistsError):
                        here.mkdir(part)
                    here = here.enter(part)
            except NotADirectoryError as error:
                target = here.target(part)
                if target is None:
                    raise Problem("NotADirectory", f"{here.shown(part)}: a file is in the way") from error
                followed += 1
                if os.path.isabs(target) or followed > LINKS:
                    raise outwards from None
                waiting += reversed(target.replace(os.sep, "/").split("/"))
            except OSError as error:
                raise problem(error, os.path.join(here.path, part)) from error
        return here

    def delete(self, names: Iterable[str]) -> set[str]:
        """Delete files, links and empty folders; returns the names that were there.

        Raises:
            Problem: one cannot be deleted, or is behind a link that leads out.
        """
        deleted = set()
        for name in names:
            try:
                folder, last = self.place(name)
                found = folder.look(last)
                if found is None:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    folder.rmdir(last)
                else:
                    folder.unlink(last)
                deleted.add(name)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise problem(error, os.path.join(self.top.path, name)) from error
            except Problem as error:
                if not isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                    raise
        return deleted
