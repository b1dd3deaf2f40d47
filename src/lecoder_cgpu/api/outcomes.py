"""Runs that failed, as exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors
from ..models.base import ErrorInfo

if TYPE_CHECKING:
    from ..models.base import Optional
    from ..models.notebooks import Install, NotebookRun
    from ..models.runs import Run


def ended(document: Run, check: bool) -> Run:
    """The document of a finished call.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the remote work; now it ends the caller, too.
        errors.Error: with `check`, the failure of the run.
    """
    if document.interrupted is True:
        raise KeyboardInterrupt(f"run {document.run_id} was interrupted")
    return checked(document) if check else document


def checked(document: Run) -> Run:
    """The document, if the run succeeded or goes on.

    Raises:
        errors.Error: of the class that has the run's code. Its `run` is the document, its notes hold the remote
            traceback.
    """
    if document.error_code == 0 and document.status in ("ok", "running"):
        return document
    raise failure(document, document.error)


def failure(document: Run | Install | NotebookRun, info: ErrorInfo | Optional) -> errors.Error:
    """The failure in a document as an exception, whose notes hold the remote traceback."""
    if not isinstance(info, ErrorInfo):
        return errors.UnknownFailure(f"the run ended with status {document.status}", name="NoResult")
    # Several classes may share a code: a limit of ours and one of the code's, our connection and the code's files.
    alike = [kind for kind in errors.tree() if kind.code == document.error_code]
    kind = next((kind for kind in alike if kind.exit_status == document.exit_code), alike[0])
    error = kind(
        info.message,
        name=info.name,
        hint=info.suggestion if isinstance(info.suggestion, str) else None,
        retryable=info.retryable,
        exit_status=document.exit_code,
    )
    error.run = document
    if isinstance(info.traceback, list):
        error.add_note("\n".join(info.traceback))
    return error
