"""`--release`: give the runtime back once the results are here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors
from ..models.base import ErrorInfo
from ..models.runs import Release
from ..sessions.manager import SessionManager
from ..sessions.session import Session
from .output import Printer

if TYPE_CHECKING:
    from ..models.jobs import JobDocument
    from ..models.notebooks import NotebookRun
    from ..models.runs import Run


def after_results(
    printer: Printer, client: SessionManager, session: Session, document: Run | JobDocument | NotebookRun, run_id: str
) -> None:
    """Release the runtime and forget the session, if the work has ended, results were declared with --pull, all of them
    are here, and nothing else is at work there. The document says what was done, or why not."""
    reason = _kept(document) or _others(session, run_id)
    outcome = document.release = Release()
    if reason is None:
        from ..runs import closing

        try:
            outcome.released = closing.close(client, session.record).released
        except errors.Error as error:
            reason = error.message
    if reason is not None:
        outcome.reason = reason
        printer.note(f"warning: the runtime was not released: {reason}")


def _kept(document: Run | JobDocument | NotebookRun) -> str | None:
    if document.status in ("running", "unknown"):
        return "the work is not known to have ended"
    pulled = document.pulled
    if not isinstance(pulled, list) or not pulled:
        return "no results were declared with --pull"
    missing = [item.path for item in pulled if isinstance(item.error, ErrorInfo)]
    return f"not all results were fetched: {', '.join(missing)}" if missing else None


def _others(session: Session, run_id: str) -> str | None:
    """Why the runtime must not be released: other work on it, or that it cannot be asked."""
    try:
        helper = session.connect_helper()
        try:
            others = [state.run for state in helper.runs() if not state.ended and state.run != run_id]
        finally:
            helper.close()
    except errors.Error as error:
        return f"whether anything else is at work there cannot be told: {error.message}"
    return f"other work goes on there: {', '.join(others[:5])}" if others else None
