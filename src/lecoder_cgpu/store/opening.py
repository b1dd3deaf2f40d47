"""Who opens the kernels of a session: one process and thread at a time, so that many first commands open one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from .. import errors
from ..system import atomic_files
from .session_store import Record, Store

WAIT = 360.0  # seconds that another process may take to open one kernel: a gateway may have to find a machine first


@contextlib.contextmanager
def alone(store: Store, record: Record) -> Iterator[Record | None]:
    """Nobody else opens kernels of the session meanwhile. Yields it as it is stored now, with what others have opened;
    None when it is not stored.

    Raises:
        errors.LockHeld: others have been at it for `WAIT` seconds, and have opened nothing.
    """
    guarded, before = _guarded(store, record), _opened(store, record)
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(
                    atomic_files.lock(guarded, WAIT, f"another command, which starts what {record.name} needs")
                )
                break
            except errors.LockHeld:
                if (opened := _opened(store, record)) == before:
                    raise
                before = opened  # they get on
        yield store.get(record.id)


def begun(store: Store, record: Record) -> bool:
    """Whether anybody has ever begun to open a kernel of the session."""
    return atomic_files.guard_of(_guarded(store, record)).exists()


def _guarded(store: Store, record: Record) -> Path:
    return store.folder / "opening" / record.id


def _opened(store: Store, record: Record) -> object:
    """What kernels the session has, for comparison."""
    stored = store.get(record.id)
    return None if stored is None else msgspec.to_builtins((stored.kernel, stored.kernels, stored.helper))
