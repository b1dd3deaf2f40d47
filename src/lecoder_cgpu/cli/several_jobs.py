"""`job wait` and `job kill` of several jobs, or of all: one after the other, with one limit and one answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..models.jobs import JobDocument, JobDocuments
from ..runs import job_plans, planned_jobs
from ..runs.job_plans import JobPlan

if TYPE_CHECKING:
    from ..runs.jobs import Jobs
    from ..sessions.manager import SessionManager


def check(names: Sequence[str], *, everything: bool) -> None:
    """Refuse a command line that names no jobs, or names some beside --all."""
    if bool(names) == everything:
        raise errors.UsageError(
            "name jobs, or give --all, but not both" if names else "there is no job to act on",
            hint="lecoder-cgpu job list; then their ids, or --all",
        )


class Chosen:
    """The jobs that are meant: those that may be run again by their plans, which hold although there is no runtime now,
    and all others by their ids on the runtime, which is asked only for those.

    Attributes:
        problem: what is raised when something was done about all of them: the runtime could not be asked which jobs it
            has, although it is not known to be gone, or one of them could not be ended.
    """

    def __init__(self, manager: SessionManager, session: str | None) -> None:
        self._manager = manager
        self._session = session
        self._held = contextlib.ExitStack()
        self._jobs: Jobs | None = None
        self.items: Sequence[JobPlan | str] = ()
        self.problem: errors.Error | None = None

    @property
    def jobs(self) -> Jobs:
        """The jobs of the session in use.

        Raises:
            errors.LostError: its runtime is gone. errors.Error: it cannot be asked.
        """
        if self._jobs is None:
            self._jobs = self._held.enter_context(planned_jobs.jobs(self._manager, self._session))
        return self._jobs

    def named(self, names: Sequence[str]) -> None:
        """Choose these, each once, in their order.

        Raises:
            errors.NotFoundError: there is no such job; then nothing was done to the others either.
        """
        found: dict[str, JobPlan | str] = {}
        for name in names:
            plan = planned_jobs.find(self._manager, name, self._session)
            item = self.jobs.find(name).run if plan is None else plan
            found.setdefault(_id(item), item)
        self.items = list(found.values())

    def all(self) -> None:
        """Choose all of the session that have not ended."""
        session = self._manager.existing(self._session, gone=True).record.id
        kept = job_plans.of_session(self._manager.state_dir, session)
        going = [plan for plan in reversed(kept) if plan.state != "ended"]
        runs: Sequence[str] = ()
        try:
            runs = self.jobs.ids(ended=False)
        except errors.Error as error:
            if not going:
                raise
            self.problem = None if isinstance(error, errors.LostError) else error
        attempts = {item.run for plan in going for item in plan.tries}
        self.items = [*going, *(run for run in runs if run not in attempts)]

    def close(self) -> None:
        self._held.close()


def _id(item: JobPlan | str) -> str:
    return item if isinstance(item, str) else item.job


@contextlib.contextmanager
def chosen(manager: SessionManager, session: str | None, names: Sequence[str], *, everything: bool) -> Iterator[Chosen]:
    """The jobs that are named; with `everything`, all of the session that have not ended.

    Raises:
        errors.Error: see `Chosen.named` and `Chosen.jobs`.
    """
    found = Chosen(manager, session)
    with contextlib.closing(found):
        if everything:
            found.all()
        else:
            found.named(names)
        yield found
        if found.problem is not None:
            raise found.problem


def wait(
    found: Chosen,
    timeout: float | None,
    planned: Callable[[JobPlan, float | None], JobDocument],
    one: Callable[[Jobs, JobDocument], object],
) -> JobDocuments:
    """Wait for all of them, at most `timeout` seconds together. Ctrl-C ends the waiting only.

    The exit status is 124 if one still runs, else that of the first that failed.

    Args:
        planned: waits for one that may be run again. one: is told of each other.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    documents: list[JobDocument] = []
    for item in found.items:
        stopped = any(document.interrupted is True for document in documents)
        left = 0.0 if stopped else None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if isinstance(item, JobPlan):
            documents.append(planned(item, left))
            continue
        documents.append(found.jobs.wait(item, left))
        found.jobs.fetch(documents[-1], ())
        one(found.jobs, documents[-1])
    return _together(documents)


def kill(manager: SessionManager, found: Chosen, one: Callable[[Jobs, str], JobDocument]) -> JobDocuments:
    """Do `one`, which sends a signal, to each of them. No other attempt of any begins, whatever fails meanwhile."""
    for item in found.items:
        if isinstance(item, JobPlan) and item.state != "ended":
            job_plans.stop(manager.state_dir, item.job)
    documents = []
    for item in found.items:
        try:
            documents.append(_killed(manager, found, item, one))
        except errors.Error as error:  # the others are ended all the same
            found.problem = found.problem or error
    return _together(documents)


def _killed(
    manager: SessionManager, found: Chosen, item: JobPlan | str, one: Callable[[Jobs, str], JobDocument]
) -> JobDocument:
    if isinstance(item, str):
        return one(found.jobs, item)
    job = item.job
    return planned_jobs.kill(manager, item, lambda jobs: one(jobs, job))


def _together(documents: list[JobDocument]) -> JobDocuments:
    interrupted = [document for document in documents if document.interrupted is True]
    running = [document for document in documents if document.status == "running"]
    failed = [document for document in documents if document.exit_code]
    worst = next(iter(interrupted or running or failed), None)
    if worst is None:
        return JobDocuments(jobs=documents)
    return JobDocuments(
        status=worst.status, error_code=worst.error_code, exit_code=worst.exit_code, error=worst.error, jobs=documents
    )
