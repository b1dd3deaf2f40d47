"""Files of this machine that are never sent with a folder: those that the user has named as holding secrets.

Whoever reads such a file calls `add`, and `Ignore` leaves it out of whatever is sent, also of copies and of code.
"""

from __future__ import annotations

import os

from ..guest import trees

_paths: set[str] = set()


def add(path: str) -> None:
    """Leave this file out from now on, in this process; a pipe or a device is in no folder that is sent."""
    path = os.path.abspath(os.path.expanduser(path))
    if os.path.isfile(path):
        _paths.add(path)


def paths() -> list[str]:
    """All of these files, sorted."""
    return sorted(_paths)


def below(root: str) -> set[str]:
    """Their names below a folder, with `/` between the parts. A file and a link to it are both named."""
    roots = {os.path.abspath(root), os.path.realpath(root)}
    found = set()
    for path in _paths:
        folder, name = os.path.split(path)
        for whole in (path, os.path.realpath(path), os.path.join(os.path.realpath(folder), name)):
            for above in roots:
                if trees.is_inside(whole, above) and whole != above:
                    found.add(os.path.relpath(whole, above).replace(os.sep, "/"))
    return found


def told(root: str) -> str | None:
    """The line that says what of a folder is not sent; None if there is nothing."""
    names = sorted(map(trees.shown, below(root)))
    return f"not sent, because it holds secrets: {', '.join(names)}" if names else None
