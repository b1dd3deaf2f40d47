"""What git ignores for reasons outside a folder: the ignore files of the folders above it in the same repository, the
repository's `.git/info/exclude`, and the user's file (`core.excludesFile`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from .. import config

IGNORE_FILES = (".gitignore", ".lecoderignore")  # the later wins
GIT_TIME = 5.0  # seconds that git may take to say where the user's file is
LARGEST_LINK = 4096  # bytes of a `.git` that is a file, as in worktrees and submodules


class Excludes(NamedTuple):
    """A file with patterns, and the folders between the one from which these count and the one that is looked at."""

    path: str
    above: tuple[str, ...]


def of(root: str) -> list[Excludes]:
    """The files that count for a folder, the strongest first. They need not exist."""
    folder = Path(os.path.realpath(root))
    found: list[Excludes] = []
    for place in (folder, *folder.parents):
        git, above = place / ".git", folder.relative_to(place).parts
        if above:
            found += [Excludes(str(place / name), above) for name in reversed(IGNORE_FILES)]
        if git.exists():
            found.append(Excludes(str(_common(git) / "info" / "exclude"), above))
            break
    else:  # it is in no repository
        place, above, found = folder, (), []
    users = _users_file(place)
    return found if users is None else [*found, Excludes(users, above)]


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


def _users_file(top: Path) -> str | None:
    """The file that git's settings name, those of the repository with this top folder included."""
    said = _setting(["-C", str(top), "config"])
    if said is not None and said.returncode not in (0, 1):  # it is somebody else's, whom git does not trust
        said = _setting(["config", "--global"])
    if said is None:
        return None  # without git, nobody has such a file
    if named := said.stdout.strip():
        return os.path.join(top, os.path.expanduser(named))
    folder = config.environment("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(folder, "git", "ignore")


def _setting(words: list[str]) -> subprocess.CompletedProcess[str] | None:
    """What git says of `core.excludesFile`; None if it cannot be asked."""
    try:
        return subprocess.run(
            ["git", *words, "--type=path", "--get", "core.excludesFile"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_TIME, check=False, text=True,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
