"""A start that the user interrupts: what was asked for is given back, or the user is told what is held."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .. import errors
from ..backends.protocol import Leased
from ..store import owners
from ..store.session_store import Record

if TYPE_CHECKING:
    from .runtime import SessionRuntime

PAUSE = 2.0  # seconds after which a runtime whose request was interrupted is looked for again


def give_back(session: SessionRuntime) -> None:
    """Give back the runtime that is being asked for, or boots, if this command has asked for it. Say what is held
    otherwise. Never raises."""
    try:
        _give_back(session)
    except errors.Error as error:
        name = session.record.name
        session.notify(
            f"the runtime of session {name!r} may be held, and cost, for it could not be given back: {error.message}; "
            f"try again: lecoder-cgpu sessions close {name}"
        )


def _give_back(session: SessionRuntime) -> None:
    backend, stored = session.backend, session.store.get(session.record.id)
    if stored is None or stored.allocation is None or not isinstance(backend, Leased):
        return
    state = backend.state(stored)
    if state == "asked" and not stored.allocation.sent:
        session.store.forget(stored)  # nobody was asked yet
        return
    told = None if stored.allocation.asked_by != owners.this_process() else _withdrawn(session, backend, stored)
    if told is None and state in ("asked", "booting", "ready"):
        close = f"lecoder-cgpu sessions close {stored.name}"
        told = f"session {stored.name!r} is still running and using units; to give it back: {close}"
    if told is not None:
        session.notify(told)


def _withdrawn(session: SessionRuntime, backend: Leased, stored: Record) -> str | None:
    """Give back what was asked for; what to tell the user about it. None if another command wants it now."""
    booting = backend.state(stored) != "asked"
    try:
        released = backend.withdraw(stored)
    except errors.Unanswered:  # the answer may have been on its way
        time.sleep(PAUSE)
        try:
            released = backend.withdraw(stored)
        except errors.Unanswered as error:
            return f"{error.message}; {error.hint}"
    if released is None:
        return None
    if released == "runtime" or (released == "nothing" and booting):
        session.store.forget(stored)
        return f"the {stored.label} that was being started was given back"
    if released == "requested":
        session.store.retire(stored.id)
        return f"{backend.label} was told to end the {stored.label} that was being started"
    return "no runtime was started"
