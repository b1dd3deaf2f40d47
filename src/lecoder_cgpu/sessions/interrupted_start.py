"""A start that the user interrupts: what was asked for is given back, or the user is told what is held."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from .. import errors
from ..backends.protocol import Leased
from ..store.session_store import Record

if TYPE_CHECKING:
    from .runtime import SessionRuntime

ASKER = os.urandom(8).hex()  # the id of this command among those that may ask for runtimes
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
    if stored.allocation.asker != ASKER:
        if state in ("asked", "booting", "ready"):
            close = f"lecoder-cgpu sessions close {stored.name}"
            session.notify(f"session {stored.name!r} is still running and using units; to give it back: {close}")
        return
    session.notify(_released(session, backend, stored))


def _released(session: SessionRuntime, backend: Leased, stored: Record) -> str:
    """Release the runtime; what to tell the user about it."""
    booting = backend.state(stored) != "asked"
    try:
        released = backend.release(stored)
    except errors.Unanswered:  # the answer may have been on its way
        time.sleep(PAUSE)
        released = backend.release(stored)
    if released == "runtime" or (released == "nothing" and booting):
        session.store.forget(stored)
        return f"the {stored.label} that was being started was given back"
    if released == "requested":
        session.store.retire(stored.id)
        return f"{backend.label} was told to end the {stored.label} that was being started"
    return "no runtime was started"
