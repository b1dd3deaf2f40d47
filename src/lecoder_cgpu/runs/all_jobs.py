"""The jobs of one session, or of every session here, as one list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from .. import errors
from ..models.base import ErrorInfo
from ..models.jobs import JobList, Unasked
from ..sessions import operations
from ..store import lifecycle
from .jobs import Jobs

if TYPE_CHECKING:
    from ..models.jobs import Job
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session

SHOWN = 20  # jobs of a runtime that was taken over


def of(jobs: Jobs, limit: int, *, detached: bool = False) -> JobList:
    """The newest jobs of a runtime, with the GPU memory that running ones hold.

    Args:
        detached: whether only those are meant that were started to run without a client.
    """
    document = jobs.list(limit, detached=detached)
    if any(job.usage for job in document.jobs):
        jobs.add_gpus(document.jobs)
    return document


def newest(session: Session) -> list[Job]:
    """The newest jobs of a session.

    Raises:
        errors.Error: its runtime could not be asked.
    """
    with Jobs(session) as jobs:
        return jobs.list(SHOWN).jobs


def of_all_sessions(manager: SessionManager, limit: int, *, detached: bool = False) -> JobList:
    """The newest jobs on the runtimes of all sessions; `detached` as in `of`. No runtime is started for that.

    What could not be asked is named, and so are the account's runtimes that no session here holds.
    """
    found: list[Job] = []
    unasked: list[Unasked] = []
    for record in manager.store.records():
        if lifecycle.is_gone(record):
            continue
        try:
            with Jobs(manager.existing(record.id)) as jobs:
                for job in of(jobs, limit, detached=detached).jobs:
                    job.session, job.account = record.name, record.account
                    found.append(job)
        except errors.Error as error:
            unasked.append(Unasked(session=record.name, account=record.account, error=ErrorInfo.of(error)))
    unasked += _without_session(manager)
    found.sort(key=lambda job: job.created if isinstance(job.created, str) else "", reverse=True)
    return JobList(jobs=found[:limit], unasked=unasked or UNSET)


def _without_session(manager: SessionManager) -> list[Unasked]:
    """The runtimes of the accounts that no session here holds: their jobs can be asked for when they are taken over."""
    records = manager.store.records()
    found = []
    for lender in operations.lenders(manager, records):
        account = operations.holder(lender).id
        try:
            others = operations.foreign(lender, records, manager.state_dir)
        except errors.Error as error:
            found.append(Unasked(endpoint=lender.label, account=account, error=ErrorInfo.of(error)))
            continue
        for item in others:
            problem = errors.NotFoundError(
                f"no session here holds {item.endpoint}",
                name="SessionNotFound",
                hint=f"take it over: lecoder-cgpu sessions adopt {item.endpoint} --name NAME",
            )
            found.append(Unasked(endpoint=item.endpoint, account=account, error=ErrorInfo.of(problem)))
    return found
