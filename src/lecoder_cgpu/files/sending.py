"""What work needs of this machine, and its results: `--sync` before it and `--pull` after it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from . import commands, plan, pull_plans, pulling, results, withheld

if TYPE_CHECKING:
    from ..models.files import Synced
    from ..models.notebooks import NotebookRun
    from ..models.runs import Run
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session
    from ..store.session_store import Owner
    from .pulling import Pulling
    from .transfer import Progress


def check(sync: str | None, pull: Sequence[str]) -> None:
    """Refuse what cannot be sent or fetched, before anything is done.

    Raises:
        errors.Error: there is no such folder, or `pull` names nothing.
    """
    if sync:
        plan.check_folder(os.path.expanduser(sync))
    for spec in pull:
        plan.split_pull(spec)


def send(
    session: Session,
    folder: str,
    cwd: str | None,
    *,
    source: str | None = None,
    progress: Progress | None = None,
    expect: Callable[[int, int], None] | None = None,
) -> tuple[Synced, str]:
    """Send what is new in a local folder; returns what was done, and the folder on the runtime to work in.

    Args:
        source: a copy of the folder that is sent in its place. progress, expect: see `Storage`.

    Raises:
        errors.Error: not all of it was sent.
    """
    local = os.path.expanduser(folder)
    if (left_out := withheld.told(local)) is not None:
        session.notify(left_out)
    with commands.Storage(session, progress, expect=expect) as opened:
        synced = opened.sync(source or local, plan.source_name(local))
    return synced, plan.under(synced.remote, cwd or "")


def fetch(
    session: Session, specs: Sequence[str], cwd: str | None, document: Run | NotebookRun, wanted: Pulling | None = None
) -> None:
    """Fetch results, also of work that failed. The document tells of each, and fails if all else went well.

    Args:
        wanted: what is fetched again and again; its last generation is fetched.
    """
    with session.waiting("fetching results …"):
        if wanted is None:
            document.pulled = results.pull(session, specs, cwd)
        else:
            last = structs.replace(wanted, folder=cwd)
            document.pulled = pulling.fetch_last(session, last, session.notify)
    problem = results.pull_problem(document.pulled, cwd, session.record.name)
    if problem is not None and document.status == "ok":
        document.fail(problem)


def leave_to_keeper(manager: SessionManager, session: Session, wanted: Pulling, specs: Sequence[str], run: str) -> None:
    """Have the keeper fetch what is wanted of a job.

    Args:
        specs: what was typed. run: the job.
    """
    if pull_plans.find(manager.state_dir, run) is not None:  # the same job, started again under its key
        return
    if manager.config.get("keeper").value == "off":
        manager.notify("the keeper is switched off, so results are fetched by `job wait` only")
    note(manager, session, wanted, specs, run)


def note(
    manager: SessionManager,
    session: Session,
    wanted: Pulling,
    specs: Sequence[str],
    run: str,
    watcher: Owner | None = None,
) -> None:
    """Write down what is fetched of a run, and make sure that the keeper is there."""
    now = time.time()
    pull_plans.tidy(manager.state_dir, now)
    pull_plans.write(
        manager.state_dir,
        pull_plans.PullPlan(
            run=run, session=session.record.id, specs=list(specs), pulling=wanted, tried=now, watcher=watcher
        ),
    )
    manager.keep()
