"""Puts files in their places at the moment when a run starts, and at no other.

Several clients may prepare the same attempt of a job. Each sends its files under names of its own; whoever starts the
run first has them put in place before the process exists, and those of the others are thrown away. So a slow client
puts nothing old over what the program has written since.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from .pushes import PART

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def place(pairs: Iterable[Sequence[str]], cwd: str) -> None:
    """Move what was sent (first of each pair) to where it belongs; folders are merged, files replaced.

    Raises:
        OSError: not all was moved.
    """
    for staged, target in pairs:
        _move(_path(staged, cwd), _path(target, cwd))


def drop(pairs: Iterable[Sequence[str]], cwd: str) -> None:
    """Delete what was sent for a run that another client has started."""
    for staged, _ in pairs:
        path = _path(staged, cwd)
        if not path.endswith(PART):
            continue  # nothing of ours
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            os.remove(path)


def _path(path: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, os.path.expanduser(path)))


def _move(staged: str, target: str) -> None:
    if os.path.isdir(target) and os.path.isdir(staged) and not os.path.islink(staged):
        for name in os.listdir(staged):
            _move(os.path.join(staged, name), os.path.join(target, name))
        os.rmdir(staged)
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.replace(staged, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # else the target is on another disk, such as a mounted Drive
            raise
        if os.path.isdir(staged):
            os.mkdir(target)
            _move(staged, target)
            return
        shutil.copy2(staged, target + PART, follow_symlinks=False)
        os.replace(target + PART, target)
        os.remove(staged)
