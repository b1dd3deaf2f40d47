"""What becomes of a session that was stored a moment ago, when the first attempt to use it ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .. import errors
from ..backends.protocol import Leased
from ..store import opening
from ..store.session_store import insert

if TYPE_CHECKING:
    from .runtime import SessionRuntime

NEVER_STARTED = (errors.MissingExtra, errors.UsageError, errors.CapacityError)
NEVER_REACHED = (errors.ConnectionFailed, errors.AuthError, errors.NotFoundError, errors.ConfigError)


def failed(session: SessionRuntime, error: errors.Error) -> None:
    """Forget a session that failed before anything was started for it. A lender's backend does that itself."""
    untried, session.untried = session.untried, False
    never = NEVER_STARTED if session.backend.owns_runtime else NEVER_REACHED
    may_be_held = isinstance(session.backend, Leased) or session.record.hub is not None
    if may_be_held or not (untried and isinstance(error, never)):
        return
    with contextlib.suppress(errors.ConfigError), opening.alone(session.store, session.record) as stored:
        if stored is not None and not (stored.kernel or stored.kernels or stored.helper):
            session.store.remove(session.record.id)


def started(session: SessionRuntime) -> None:
    """Store a session again whose runtime runs now, although another command has failed to start it and forgot it."""
    record = session.record
    if isinstance(session.backend, Leased) or session.store.get(record.id) is not None:
        return
    with session.store.transaction() as records:
        if any(item.name == record.name for item in records):
            record.name = f"{record.name}-{record.id[:8]}"
        insert(records, record)
