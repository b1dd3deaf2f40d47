"""Finds sweeps that another machine has begun: each runtime of a sweep has what it is, and which items it has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..files.commands import Storage
from ..system import atomic_files as state
from .places import FOLDER
from .store import DEFINITION, ITEMS, Definition, SweepFolder, decoded

if TYPE_CHECKING:
    from ..sessions.manager import SessionManager


def fetch(manager: SessionManager, sweep: SweepFolder, sessions: Sequence[str]) -> bool:
    """Store here what the runtimes of these sessions know of a sweep; False if none knows it.

    Raises:
        errors.UsageError: (`AmbiguousSweep`) they know several of that name. errors.Error: one cannot be asked.
    """
    for name in sessions:
        with Storage(manager.existing(name)) as storage:
            try:
                rows = storage.list(FOLDER).entries
            except errors.NotFoundError:
                continue
            found = [row.name.rstrip("/") for row in rows if row.name.rstrip("/").rpartition("-")[0] == sweep.name]
            if len(found) > 1:
                raise errors.UsageError(
                    f"{name} has several sweeps of the name {sweep.name!r}: {', '.join(found)}",
                    name="AmbiguousSweep",
                    hint="the command line that started it finds the right one; add -s NAME to that",
                )
            if found:
                definition = _read(storage, f"{FOLDER}/{found[0]}", sweep)
                # Its own runtimes stay those of the machine that began it: that one gives them back.
                definition.name, definition.here, definition.made = sweep.name, os.getcwd(), {}
                definition.sessions, definition.own = list(sessions), None
                sweep.write(definition)
                return True
    return False


def _read(storage: Storage, folder: str, sweep: SweepFolder) -> Definition:
    content: dict[str, bytes] = {}
    for name in (DEFINITION, ITEMS):
        pieces: list[bytes] = []
        storage.read(f"{folder}/{name}", pieces.append)
        content[name] = b"".join(pieces)
    try:
        definition = state.decode(content[DEFINITION], Definition)
    except state.Damaged as error:
        raise errors.ConfigError(
            f"{folder}/{DEFINITION} on the runtime is damaged: {error}", hint=f"lecoder-cgpu rm -r {folder}"
        ) from error
    sweep.add_values(decoded(content[ITEMS], dict[str, str]))
    return definition
