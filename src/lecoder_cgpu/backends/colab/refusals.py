"""Why Colab refused a session's runtime, for the other processes that had asked for the same one.

The process that is refused forgets the session. The others wait for it, find the session gone, and report this.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from msgspec import Struct

from ... import errors
from ...system import atomic_files

AGE = 900.0  # seconds for which a refusal is worth reporting


class Refusal(Struct):
    """An error as it is passed on. `kind` is its class."""

    kind: str
    name: str
    message: str
    hint: str | None
    at: float


def note(lock: Path, error: errors.Error) -> None:
    """Write down a refusal beside the lock of its session, and remove those that nobody will ask for any more."""
    now = time.time()
    for old in lock.parent.glob("*.refusal"):
        try:
            if now - old.stat().st_mtime > AGE:
                old.unlink(missing_ok=True)
        except OSError:  # another process removes it
            continue
    found = Refusal(type(error).__name__, error.name, error.message, error.hint, now)
    atomic_files.write_atomic(_path(lock), msgspec.json.encode(found))


def noted(lock: Path) -> errors.Error | None:
    """The refusal of a session; None when there is none."""
    try:
        content = atomic_files.read(_path(lock))
        found = None if content is None else atomic_files.decode(content, Refusal)
    except (atomic_files.Damaged, errors.ConfigError):
        return None
    if found is None or time.time() - found.at > AGE:
        return None
    kind = getattr(errors, found.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.Error)):
        return None
    error: errors.Error = kind(found.message, name=found.name, hint=found.hint)
    return error


def _path(lock: Path) -> Path:
    return lock.with_name(lock.name + ".refusal")
