"""Learning how runs ended that were left alone, wherever a runtime is asked anyway, or can be asked at no cost.

Most of the time nothing is to be learned, so what asks runtimes is imported when one is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET

from ..history.entries import History
from ..models.status import Status
from ..sessions import status as overview
from . import records

if TYPE_CHECKING:
    from ..helper.client import Helper
    from ..helper.documents import RunState
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session


def history(manager: SessionManager) -> History:
    """The history, in which the runs have ended that are known to have, or to be lost.

    Runtimes of this machine are asked about the runs that were left alone there, and nobody else is.

    Raises:
        errors.ConfigError: the stored sessions cannot be read.
    """
    found = History(manager.state_dir)
    left = records.left_alone(manager)
    if not left:
        return found
    from . import closing

    for record in manager.store.records():
        session = manager.hold_or_none(record)
        if session is not None and session.backend.is_here and any(records.is_of(item, session) for item in left):
            closing.unfinished(manager, record)
    records.settle(manager)
    return found


def status(manager: SessionManager, key: str | None = None, *, account: bool = True) -> Status:
    """The document of `status`; what its runtimes say of their runs is written down. `account` as there.

    Raises:
        errors.NotFoundError, errors.UsageError: the session that was named does not exist, or is ambiguous.
    """
    found = overview.status(manager, key, seen=_note, account=account)
    if (manager.state_dir / "jobs").is_dir():
        from . import planned_jobs

        found.without_runtime = planned_jobs.without_runtime(manager) or UNSET
    return found


def _note(session: Session, helper: Helper, states: Sequence[RunState]) -> None:
    from .jobs import Jobs

    records.note_ends(Jobs(session, helper), states)
