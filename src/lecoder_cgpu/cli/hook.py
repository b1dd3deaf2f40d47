"""`--on-finish`: a command of the user's, executed here when a run has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from .. import config
from ..models.base import SessionRef
from ..models.runs import Hook
from .output import Printer

if TYPE_CHECKING:
    from ..models.base import Optional
    from ..models.jobs import JobDocument
    from ..models.notebooks import NotebookRun
    from ..models.runs import Run

STDERR = 2  # stdout is for our answer


def restarting(printer: Printer, command: str | None, document: JobDocument, profile: str) -> None:
    """Execute the hook because a job is about to be run again; in its environment, LECODER_CGPU_EVENT is `restart`."""
    if command is not None:
        _execute(printer, Hook(command=command), document, document.job.id, profile, "restart")


def finish(
    printer: Printer,
    command: str | None,
    document: Run | JobDocument | NotebookRun,
    run_id: str | Optional,
    profile: str,
) -> None:
    """Execute the hook, if there is one and the run has ended (or its end can no longer be known), and note in the
    document what became of it. Our own exit status stays that of the run.

    The command is a line for this machine's shell. It finds in its environment LECODER_CGPU_RUN_ID,
    LECODER_CGPU_STATUS (ok, error, abort or unknown), LECODER_CGPU_EXIT_CODE, LECODER_CGPU_ERROR_CODE and
    LECODER_CGPU_SESSION, in LECODER_CGPU_PROFILE the profile that this command acts for, and in LECODER_CGPU_EVENT
    `end`. What it prints goes to stderr.
    """
    if command is None or run_id is UNSET or document.status == "running":
        return
    document.hook = Hook(command=command)
    _execute(printer, document.hook, document, str(run_id), profile, "end")


def _execute(
    printer: Printer, hook: Hook, document: Run | JobDocument | NotebookRun, run_id: str, profile: str, event: str
) -> None:
    import subprocess

    session = document.session.name if isinstance(document.session, SessionRef) else ""
    environment = {
        **config.child_environment(profile),
        "LECODER_CGPU_EVENT": event,
        "LECODER_CGPU_RUN_ID": run_id,
        "LECODER_CGPU_STATUS": document.status,
        "LECODER_CGPU_EXIT_CODE": str(document.exit_code),
        "LECODER_CGPU_ERROR_CODE": str(document.error_code),
        "LECODER_CGPU_SESSION": session,
    }
    try:
        done = subprocess.run(  # noqa: S602 - a shell line is what the user gave
            hook.command, shell=True, env=environment, stdin=subprocess.DEVNULL, stdout=STDERR, check=False
        )
        hook.exit_code = done.returncode
    except OSError as error:
        hook.problem = f"it could not be started: {error.strerror or error}"
    except KeyboardInterrupt:
        hook.problem = "it was interrupted"
    if hook.exit_code != 0:
        printer.note(f"warning: the command of --on-finish {hook.problem or f'ended with status {hook.exit_code}'}")
