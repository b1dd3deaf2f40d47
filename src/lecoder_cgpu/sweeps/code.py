"""The code of a sweep: what is sent, and a copy of it as it was when the sweep began.

A sweep takes long, and people go on working meanwhile. So later runtimes get the code that the first one got. What the
sweep itself writes into the folder, its results and its log, is not code.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .. import errors
from ..files import git_excludes, plan
from ..files.ignore import Ignore
from ..files.transfer import local_problems
from ..guest import item_folder, trees
from ..guest.trees import Entry
from ..system import atomic_files as state
from .identity import changed

COPY = "code"  # the folder below that of the sweep

_FIELD = re.compile(r"\{\w+\}")


class Outputs:
    """Which names below a folder are written by the sweep itself.

    Args:
        folder: that is sent. here: where relative paths begin. targets: paths, with `{name}` in them.
    """

    def __init__(self, folder: str, here: str, targets: Sequence[str]) -> None:
        self._patterns: list[re.Pattern[str]] = []
        self._above: set[str] = set()
        root = os.path.realpath(folder)
        for target in targets:
            path = os.path.join(os.path.realpath(here), os.path.expanduser(target))
            name = os.path.relpath(os.path.normpath(path), root).replace(os.sep, "/")
            if name == "." or name.startswith("../"):
                continue
            parts = [re.escape(part) for part in _FIELD.split(name)]
            self._patterns.append(re.compile(".+".join(parts) + "(/.*)?", re.DOTALL))
            fixed = _FIELD.split(name)[0].split("/")[:-1]
            self._above |= {"/".join(fixed[:length]) for length in range(1, len(fixed) + 1)}

    def holds(self, entry: Entry) -> bool:
        """Whether an entry is a result, or a folder that is there for results."""
        if entry.kind == trees.FOLDER and entry.name in self._above:
            return True
        return any(pattern.fullmatch(entry.name) for pattern in self._patterns)


def outputs(folder: str, here: str, pulls: Sequence[str], joblog: str | None) -> Outputs:
    """What a sweep writes: the local places of `--pull`, each `PATH[:LOCAL]`, and its log."""
    targets = []
    for spec in pulls:
        remote, local = plan.split_pull(spec)
        name = plan.remote_name(remote)
        targets.append(os.path.join(local or ".", name) if local is None or local.endswith(("/", os.sep)) else local)
    return Outputs(folder, here, [*targets, *([joblog] if joblog is not None else [])])


def _entries(folder: str, own: Outputs | None, tell: Callable[[str], None]) -> Iterator[Entry]:
    plan.check_folder(folder)
    for entry in plan.scan(folder, Ignore(folder, tell, git_excludes.of(folder))):
        if (own is None or not own.holds(entry)) and entry.kind in (trees.FILE, trees.FOLDER, trees.LINK):
            yield entry


def snapshot(
    folder: str, own: Outputs | None = None, tell: Callable[[str], None] = lambda line: None
) -> dict[str, str]:
    """The files of a folder as a sync sends them: for each its digest, with a mark where it may be executed.

    Args:
        own: what the sweep itself writes there. tell: told what is passed over in ignore files.

    Raises:
        errors.Error: there is no such folder, or a file cannot be read.
    """
    found: dict[str, str] = {}
    for entry in _entries(folder, own, tell):
        name = trees.shown(entry.name)
        if entry.kind == trees.LINK:
            found[name] = f"link {entry.target}"
        elif entry.kind == trees.FOLDER:
            found[f"{name}/"] = ""
        else:
            with local_problems(folder), open(trees.join(folder, entry.name), "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
            found[name] = digest + ("x" if (entry.mode or 0) & 0o100 else "")
    return found


def keep(folder: str, sweep: Path, own: Outputs | None) -> None:
    """Keep a copy of the code beside what is stored of the sweep, if there is none. Large files share their content
    with the originals.

    Raises:
        errors.Error: it cannot be copied.
    """
    target = sweep / COPY
    if target.exists():
        return
    state.ensure_dir(sweep)
    part = sweep / f".{COPY}.part"
    with local_problems(str(target)):
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(mode=0o700)
        for entry in _entries(folder, own, lambda line: None):
            source, copy = trees.join(folder, entry.name), trees.join(str(part), entry.name)
            os.makedirs(copy if entry.kind == trees.FOLDER else os.path.dirname(copy), exist_ok=True)
            if entry.kind == trees.LINK:
                os.symlink(entry.target or "", copy)
            elif entry.kind == trees.FILE and not (
                entry.size >= item_folder.LINKED and item_folder.share(source, copy)
            ):
                shutil.copy2(source, copy)
        part.rename(target)


def kept(sweep: Path, code: dict[str, str] | None) -> str:
    """The copy, after a check that it is what the items before were run with.

    Raises:
        errors.UsageError: (`CodeChanged`) it is another one, or not on this machine.
    """
    target = sweep / COPY
    if not target.exists():
        raise errors.UsageError(
            "the code of the sweep is not on this machine, so it cannot be sent to another runtime",
            name="CodeMissing",
            hint="go on where it was started; or on a session that has it: lecoder-cgpu sweep resume -s NAME",
        )
    now = snapshot(str(target))
    if code is not None and now != code:
        raise errors.UsageError(
            f"the code of the sweep was changed since it began: {changed(code, now)}",
            name="CodeChanged",
            hint="large files are shared with the originals: put them back; or start it as another sweep: --name NAME",
        )
    return str(target)
