"""Where agents look for skills, and the page that is put there: installed, told, and removed again."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from .. import errors
from ..system import atomic_files

NAME = "lecoder-cgpu"
FILE = "SKILL.md"
INSTALLED = ".installed"  # beside it: the digest of the page as it was put there, and for which kinds of agents
_OURS = f"\nname: {NAME}\n"  # a line of the page's front matter

# Kind of agent -> its folder of skills, below the home folder, for all projects.
PLACES = {
    "claude": ".claude/skills",
    "codex": ".agents/skills",
    "cursor": ".cursor/skills",
    "gemini": ".gemini/skills",
    "copilot": ".copilot/skills",
    "opencode": ".config/opencode/skills",
    "agents": ".agents/skills",  # what several agents share, codex among them
}


def folder_of(place: str) -> Path:
    """The folder of skills that is meant: that of a kind of agent, or one that is named by its path.

    Raises:
        errors.UsageError: it is neither.
    """
    if place.lower() in PLACES:
        return Path.home() / PLACES[place.lower()]
    path = Path(place).expanduser()
    if not any(sign in place for sign in ("/", "\\", "~", ".")) and not path.is_dir():
        raise errors.UsageError(
            f"{place!r} is no kind of agent that is known, and no folder",
            hint=f"one of {', '.join(PLACES)}; or a folder of skills: lecoder-cgpu skill --install ./skills",
        )
    return path


def sharing(place: str) -> list[str]:
    """The other kinds of agents that look into the same folder."""
    kind = place.lower()
    return [other for other, folder in PLACES.items() if other != kind and folder == PLACES.get(kind)]


def page() -> str:
    """The page of this version."""
    return (Path(__file__).parents[1] / FILE).read_text("utf-8")


def install(place: str) -> Path:
    """Write the page into a folder of skills, in place of an earlier version of it; returns the file.

    Raises:
        errors.UsageError: it cannot be written, something else is there, or it was edited there.
    """
    target = folder_of(place) / NAME / FILE
    _check_ours(target)
    kinds = sorted({*_kinds(target), place.lower()} & PLACES.keys())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _note(target, _digest(page().encode()), kinds)
        atomic_files.write_atomic(target, page().encode())
        target.chmod(0o644)
    except (OSError, errors.ConfigError) as error:
        why = error.message if isinstance(error, errors.Error) else error.strerror or error
        raise errors.UsageError(
            f"{target} cannot be written: {why}",
            hint="give a folder that you may write to: lecoder-cgpu skill --install DIR",
        ) from error
    return target


class Removed(NamedTuple):
    """What `remove` did.

    Attributes:
        path: the file; None where nothing of ours is.
        kept_for: the kinds of agents for which the file was put there as well, so that it stays.
    """

    path: Path | None
    kept_for: list[str]


def remove(place: str) -> Removed:
    """Delete what `install` has written there for that kind of agent, and the folder if nothing else is in it.

    Raises:
        errors.UsageError: what is there is not ours, was edited, or cannot be deleted.
    """
    target = folder_of(place) / NAME / FILE
    if not target.exists() and not target.is_symlink():
        return Removed(None, [])
    _check_ours(target)
    kept_for = [kind for kind in _kinds(target) if kind != place.lower()] if place.lower() in PLACES else []
    try:
        if kept_for:
            _note(target, _installed(target), kept_for)
            return Removed(target, kept_for)
        target.unlink()
        target.with_name(INSTALLED).unlink(missing_ok=True)
        if not any(target.parent.iterdir()):
            target.parent.rmdir()
    except OSError as error:
        raise errors.UsageError(
            f"{target} cannot be deleted: {error.strerror or error}", hint=f"delete it yourself: rm {target}"
        ) from error
    return Removed(target, [])


def _check_ours(target: Path) -> None:
    """Refuse to touch what we have not written."""
    for path in (target.parent, target):
        if path.is_symlink():
            raise errors.UsageError(
                f"{path} is a link", hint="give the folder that it leads to: lecoder-cgpu skill --install DIR"
            )
    try:
        found = target.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise errors.UsageError(
            f"{target} cannot be read: {error.strerror or error}",
            hint="give another folder: lecoder-cgpu skill --install DIR",
        ) from error
    if _OURS.encode() not in found[:4096]:
        raise errors.UsageError(
            f"{target} is another skill, which is left alone",
            hint="move it away, or give another folder: lecoder-cgpu skill --install DIR",
        )
    if found != page().encode() and _digest(found) != _installed(target):
        raise errors.UsageError(
            f"{target} is not as it was put there: somebody has edited it, and it is left alone",
            name="SkillEdited",
            hint="move it away, or delete it yourself, and then repeat the same command",
        )


def _digest(content: bytes) -> bytes:
    return sha256(content).hexdigest().encode()


def _note(target: Path, digest: bytes, kinds: Sequence[str]) -> None:
    """Write down what was put there, and for whom."""
    atomic_files.write_atomic(target.with_name(INSTALLED), b"\n".join([digest, *(kind.encode() for kind in kinds)]))


def _noted(target: Path) -> list[bytes]:
    try:
        return target.with_name(INSTALLED).read_bytes()[:4096].split(b"\n")
    except OSError:
        return [b""]


def _installed(target: Path) -> bytes:
    """The digest of what was put there; nothing where none can be read."""
    return _noted(target)[0]


def _kinds(target: Path) -> list[str]:
    """For which kinds of agents it was put there, as far as that was noted."""
    noted = _noted(target)[1:]
    return [kind for kind in PLACES if kind.encode() in noted]
