"""Sessions given back, and what becomes of the runs that went on there: the history says that the close ended them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..guest.limits import SAVING
from ..models.sessions import SessionClosed, SessionsClosed
from ..sessions import operations
from ..store import lifecycle
from ..system import logs
from . import records
from .jobs import LOOK, Jobs

LISTED = 1000  # runs of a runtime that are looked through for those whose ends nobody has seen
KILLED = 10.0  # seconds that the system gets to remove what SIGKILL was sent to

if TYPE_CHECKING:
    from ..helper.documents import RunState
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session
    from ..store.session_store import Record


def unfinished(manager: SessionManager, record: Record) -> list[RunState]:
    """The runs that are under way on a session's runtime. The history is completed by those that have ended. Empty if
    it has no helper of ours, or cannot be asked: nobody may be kept from giving a runtime back, or from looking."""
    if record.helper is None:
        return []
    session = manager.hold_or_none(record)
    if session is None or session.known_gone():
        return []
    try:
        with session:
            if session.backend.find(record) is None:
                return []
            with Jobs(session) as jobs:
                return [state for state in jobs.known(LISTED) if not state.ended]
    except errors.Error as error:
        logs.current().info("SESSION", f"what runs on {record.name} is not known: {error.message}")
        return []


def words_of(state: RunState) -> str:
    """What a run executes, in one line."""
    command = state.shown()
    return " ".join((command if isinstance(command, str) else " ".join(command)).split())


def close(manager: SessionManager, record: Record, running: Sequence[RunState] | None = None) -> SessionClosed:
    """Release a session's runtime as far as it is ours, then forget the session; see `operations.close`.

    Args:
        running: what is under way there, if that was just asked.

    Raises:
        errors.Error: the runtime could not be told; the session is kept then.
    """
    if running is None:
        running = unfinished(manager, record)
    session = manager.hold(record)
    if running and manager.leased(record.backend) is None:  # what they save now is there afterwards
        with session, manager.waiting(f"ending the runs of {record.name} …"):
            end_runs(session, "close", SAVING)
    closed = operations.close(manager, record)
    if running:
        closed.ended = [state.run for state in running]
        records.note_closed(session, closed.ended)
    return closed


def explain(manager: SessionManager, record: Record, error: errors.Error) -> None:
    """Say what a close that failed leaves behind, what that costs, and how to end it."""
    name, lender = record.name, manager.leased(record.backend)
    stored = manager.store.get(record.id)
    if lender is None or stored is None or not stored.runtime.endpoint or not lifecycle.is_held(stored):
        error.hint = f"to remove it from the list although it may go on: lecoder-cgpu sessions close {name} --force"
        return
    rate = None if isinstance(error, errors.AuthError) else operations.rate(lender)
    cost = "" if rate is None else f": the account spends {rate:g} units an hour"
    error.message += f"; {stored.runtime.endpoint} ({stored.runtime.label}) is still running and using units{cost}"
    first = "log in again (lecoder-cgpu auth login), then " if isinstance(error, errors.AuthError) else ""
    if isinstance(error, errors.RuntimeBusy):
        first = "end a keeper that hangs (lecoder-cgpu keeper stop), then "
    page = f", or end it on {lender.page}" if lender.page else ""
    error.hint = (
        f"it was not closed: {first}repeat lecoder-cgpu sessions close {name}{page}; "
        f"to remove it from the list although it may go on, and cost: lecoder-cgpu sessions close {name} --force"
    )


def end_runs(session: Session, by: str, grace: float) -> None:
    """Have everything end that runs on a session's runtime, and learn how it ended. That this fails is told.

    Commands get SIGTERM, and SIGKILL if they live `grace` seconds later; code in a kernel is interrupted.

    Args:
        by: on whose behalf, see `models.Stopped`.
    """
    try:
        with Jobs(session) as jobs:
            left = [state for state in jobs.helper.runs() if not state.ended]
            _end(jobs, left, by, grace)
    except errors.Error as error:
        session.notify(f"whether the runs of {session.record.name} were ended is not known: {error.message}")


def _end(jobs: Jobs, states: Sequence[RunState], by: str, grace: float) -> None:
    helper, runs = jobs.helper, [state.run for state in states]
    for state in states:
        helper.signal(state.run, "SIGINT" if state.kind == "kernel" else "SIGTERM", by=by)
    deadline = time.monotonic() + grace
    while (left := [run for run in runs if not helper.show(run).gone]) and time.monotonic() < deadline:
        time.sleep(LOOK)
    for state in states:
        if state.run in left and state.kind != "kernel":
            helper.signal(state.run, "SIGKILL", by=by)
    deadline = time.monotonic() + (KILLED if left else 0.0)
    while not all(helper.show(run).ended for run in left) and time.monotonic() < deadline:
        time.sleep(LOOK)
    records.note_ends(jobs, [helper.show(run) for run in runs])


def close_sessions(manager: SessionManager, stored: Sequence[Record]) -> SessionsClosed:
    """Close these sessions. The accounts are asked afterwards what they still hold.

    Raises:
        errors.Error: the first failure. The others are closed all the same.
    """
    closed: list[SessionClosed] = []
    failure: errors.Error | None = None
    for record in stored:
        try:
            closed.append(close(manager, record))
        except errors.Error as error:
            explain(manager, record, error)
            failure = failure or error
    if failure is not None:
        raise failure
    document = SessionsClosed(deleted=bool(closed), closed=closed)
    if closed:
        document.session_id = closed[0].session_id
    lenders = [lender.name for lender in operations.lenders(manager, manager.store.records())]
    asked = dict.fromkeys([*(record.backend for record in stored), *lenders])
    with contextlib.suppress(errors.Error):  # then nothing is said of it
        document.held = operations.held(manager, asked)
        if any(manager.leased(name) is not None for name in asked):
            document.whole_account = True
    return document
