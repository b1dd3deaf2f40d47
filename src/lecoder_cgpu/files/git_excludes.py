"""What git ignores for reasons outside a folder's own ignore files: the repository's `.git/info/exclude`, and the
user's file for all repositories (`core.excludesFile`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from .. import config

GIT_TIME = 5.0  # seconds that git may take to say where the user's file is
LARGEST_LINK = 4096  # bytes of a `.git` that is a file, as in worktrees and submodules


class Excludes(NamedTuple):
    """A file with patterns, and the folders between the one from which these count and the one that is looked at."""

    path: str
    above: tuple[str, ...]


def of(root: str) -> list[Excludes]:
    """The files that count for a folder, the strongest first. They need not exist."""
    folder = Path(os.path.realpath(root))
    found = []
    for place in (folder, *folder.parents):
        git = place / ".git"
        if git.exists():
            found.append(Excludes(str(_common(git) / "info" / "exclude"), folder.relative_to(place).parts))
            break
    users = _users_file()
    return found if users is None else [*found, Excludes(users, ())]


def _common(git: Path) -> Path:
    """The folder that all worktrees of a repository share: `.git` itself, unless that is a file that leads there."""
    try:
        if git.is_file() and git.stat().st_size <= LARGEST_LINK:
            named = git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            git = git.parent / named
        shared = git / "commondir"
        if shared.is_file() and shared.stat().st_size <= LARGEST_LINK:
            return git / shared.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        pass  # then it excludes nothing
    return git


def _users_file() -> str | None:
    try:
        said = subprocess.run(
            ["git", "config", "--global", "--type=path", "--get", "core.excludesFile"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_TIME, check=False, text=True,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None  # without git, nobody has such a file
    if named := said.stdout.strip():
        return os.path.expanduser(named)
    folder = config.environment("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(folder, "git", "ignore")
