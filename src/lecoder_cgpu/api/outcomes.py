"""Runs that have ended, as results or exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from .. import errors, results
from ..models.base import ErrorInfo

if TYPE_CHECKING:
    from ..models.notebooks import Install, NotebookRun
    from ..models.runs import Run

__all__ = ["ended", "failure"]


@overload
def ended(document: Run, check: bool) -> results.Run: ...
@overload
def ended(document: NotebookRun, check: bool) -> results.NotebookRun: ...
@overload
def ended(document: Install, check: bool) -> results.Install: ...
def ended(document: Run | NotebookRun | Install, check: bool) -> results.Run | results.NotebookRun | results.Install:
    """The result of a finished call.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the remote work, or the watching; now it ends the caller, too.
        errors.Error: with `check`, the failure of the run, see `failure`. One that goes on has not failed.
    """
    if document.interrupted is True:
        raise KeyboardInterrupt(f"{document.run_id} was interrupted")
    if check and not (document.error_code == 0 and document.status in ("ok", "running")):
        raise failure(document)
    return results.of(document)


def failure(document: Run | NotebookRun | Install) -> errors.Error:
    """The failure in a document as an exception of the class that has its code. Its `run` is the result, its notes hold
    the remote traceback."""
    info = document.error
    if not isinstance(info, ErrorInfo):
        error: errors.Error = errors.UnknownFailure(f"the run ended with status {document.status}", name="NoResult")
        error.run = results.of(document)
        return error
    # Several classes may share a code: a limit of ours and one of the code's, our connection and the code's files.
    alike = [kind for kind in errors.tree() if kind.code == document.error_code]
    kind = next((kind for kind in alike if kind.exit_status == document.exit_code), alike[0])
    kind = {narrow.__name__: narrow for narrow in errors.subclasses(kind)}.get(info.name, kind)
    error = kind(
        info.message,
        name=info.name,
        hint=info.suggestion if isinstance(info.suggestion, str) else None,
        retryable=info.retryable,
        exit_status=document.exit_code,
    )
    error.run = results.of(document)
    if isinstance(info.traceback, list):
        error.add_note("\n".join(info.traceback))
    return error
