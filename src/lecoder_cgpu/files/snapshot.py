"""A copy of a local folder as it is sent, so that another attempt of the same work gets the same files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..guest import trees
from . import git_excludes, plan
from .ignore import Ignore
from .transfer import local_problems


def take(local: str, place: Path) -> str:
    """Copy what a sync would send of a folder below `place`; returns the copy, which has the folder's own name.

    Raises:
        errors.Error: it cannot be read, or there is no room.
    """
    copy = place / plan.source_name(local)
    entries = plan.scan(local, Ignore(local, excludes=git_excludes.of(local)))
    with local_problems(str(copy)):
        copy.mkdir(parents=True)
        for entry in entries:
            source, target = trees.join(local, entry.name), trees.join(str(copy), entry.name)
            if entry.kind == trees.FOLDER:
                os.mkdir(target)
            elif entry.kind == trees.LINK:
                os.symlink(entry.target or "", target)
            elif entry.kind == trees.FILE:
                shutil.copy2(source, target)
    return str(copy)
