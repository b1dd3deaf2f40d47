"""`--sync` and `--pull`: the files that work needs, and its results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..sessions.session import Session
from .live import tell_pulled
from .output import Printer, counted

if TYPE_CHECKING:
    from ..models.files import Synced
    from ..models.notebooks import NotebookRun
    from ..models.runs import Run


def check(sync: str | None, pull: Sequence[str]) -> None:
    """Refuse what cannot be sent or fetched, before anything is done.

    Raises:
        errors.Error: there is no such folder, or `--pull` names nothing.
    """
    if sync:
        from ..files.plan import check_folder

        check_folder(os.path.expanduser(sync))
    if pull:
        from ..files.plan import split_pull

        for spec in pull:
            split_pull(spec)


def send(printer: Printer, session: Session, folder: str, cwd: str | None) -> tuple[Synced, str]:
    """Send what is new in a local folder; returns what was done, and the folder on the runtime to work in.

    Raises:
        errors.Error: not all of it was sent.
    """
    from ..files import commands, plan

    local = os.path.expanduser(folder)
    with printer.waiting(f"sending {folder} …"), commands.Storage(session) as opened:
        synced = opened.sync(local, plan.source_name(local))
    if printer.mode == "human":
        printer.note(f"synced: {counted(synced.sent, 'file')} to {synced.remote}")
    return synced, plan.under(synced.remote, cwd or "")


def fetch(
    printer: Printer, session: Session, specs: Sequence[str], cwd: str | None, document: Run | NotebookRun
) -> None:
    """Fetch results, also of work that failed. The document tells of each, and fails if all else went well."""
    from ..files import results

    with printer.waiting("fetching results …"):
        document.pulled = results.pull(session, specs, cwd)
    problem = results.pull_problem(document.pulled, cwd)
    if problem is not None and document.status == "ok":
        document.fail(problem)
    if printer.mode == "human":
        tell_pulled(printer, document.pulled)
