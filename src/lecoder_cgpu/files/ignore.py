"""Ignore files: which names below a folder are left out of a sync, by the rules of git.

A repository may hold anything, so what is no ignore file (a pipe, a device, a link that leads out, a file of megabytes)
and lines that mean nothing are passed over with a notice, as git does. No pattern takes long (see `patterns`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from ..guest import trees
from ..helper.file_errors import HERE, error_of
from . import patterns, withheld
from .git_excludes import IGNORE_FILES, Excludes
from .patterns import IgnoreLine

LARGEST = 256 << 10  # bytes of an ignore file
LINES = 4000  # of one ignore file


def _without_waiting(name: str, flags: int) -> int:
    """Open a file of which not even reading waits, as that of the kernel's log in /proc does."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


class Ignore:
    """Tells which names below a folder are left out, by its ignore files and those of the folders below it.

    The rules are git's: the last pattern that matches decides, a deeper file wins over a higher one, and everything
    below an ignored folder is ignored. `.git` is always ignored, and so are files of secrets (`withheld`).

    Args:
        excludes: further files with patterns, the strongest first; all ignore files are stronger.
        tell: told what is passed over, once each.
    """

    def __init__(
        self,
        root: str,
        tell: Callable[[str], None] = lambda line: None,
        excludes: Sequence[Excludes] = (),
    ) -> None:
        self._root = root
        self._tell = tell
        self._withheld = withheld.below(root)
        self._excludes = [(item.above, self._excluded(item.path)) for item in excludes]
        self._lines: dict[str, list[IgnoreLine]] = {}

    def __call__(self, name: str, is_folder: bool) -> bool:
        parts = name.split("/")
        if parts[-1] == ".git" or name in self._withheld:
            return True
        for depth in range(len(parts) - 1, -1, -1):
            below = parts[depth:]
            for line in self._of("/".join(parts[:depth])):
                if line.matches(below, is_folder):
                    return not line.kept
        for above, lines in self._excludes:
            for line in lines:
                if line.matches([*above, *parts], is_folder):
                    return not line.kept
        return False

    def covers(self, name: str) -> bool:
        """Whether a name or a folder above it is left out; for names that this disk does not have."""
        parts = name.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return any(self(folder, True) for folder in above) or self(name, False) or self(name, True)

    def _of(self, folder: str) -> list[IgnoreLine]:
        """The lines of a folder's ignore files, the last one first."""
        if folder not in self._lines:
            lines: list[IgnoreLine] = []
            for file in IGNORE_FILES:
                lines += self._parsed(folder, file)
            self._lines[folder] = lines[::-1]
        return self._lines[folder]

    def _parsed(self, folder: str, file: str) -> Iterator[IgnoreLine]:
        shown = trees.shown(f"{folder}/{file}" if folder else file)
        yield from self._lines_of(self._read(os.path.join(self._root, folder, file), shown), shown)

    def _excluded(self, path: str) -> list[IgnoreLine]:
        """The lines of a file that lies outside, the last one first; of none that cannot be read."""
        try:
            if not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
                return []
            with open(path, "rb", opener=_without_waiting) as file:
                content = (file.read(LARGEST) or b"").decode("utf-8", "surrogateescape")
        except OSError as error:
            self._tell(f"{trees.shown(path)}: passed over: {error.strerror}")
            return []
        return list(self._lines_of(content, trees.shown(path)))[::-1]

    def _lines_of(self, content: str, shown: str) -> Iterator[IgnoreLine]:
        for number, text in enumerate(content.removeprefix("\ufeff").split("\n"), 1):
            if number > LINES:
                self._tell(f"{shown}, line {number}: passed over, with all that follow: {LINES} lines are enough")
                return
            try:
                line = patterns.ignore_line(text.removesuffix("\r"))
            except ValueError as error:
                self._tell(f"{shown}, line {number}: passed over: {error}")
                continue
            if line is not None:
                yield line

    def _read(self, path: str, shown: str) -> str:
        """The content of an ignore file; "" where there is none, or something else.

        Raises:
            errors.Error: it cannot be read, so that nobody knows what is to be left out.
        """
        real = os.path.realpath(path)
        if not trees.is_inside(real, os.path.realpath(self._root)):
            if os.path.islink(path):
                self._tell(f"{shown}: passed over: it is a link that leads out of the folder")
            return ""
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(real, flags)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            if os.path.islink(path) or error.errno == errno.ENXIO:  # a link to itself, or a socket
                self._tell(f"{shown}: passed over: {error.strerror}")
                return ""
            raise error_of(trees.problem(error, shown), HERE) from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            os.close(descriptor)
            why = "it is no file" if not stat.S_ISREG(found.st_mode) else f"it is larger than {LARGEST >> 10} KiB"
            self._tell(f"{shown}: passed over: {why}")
            return ""
        with os.fdopen(descriptor, "rb") as opened:
            return opened.read(LARGEST).decode("utf-8", "surrogateescape")
