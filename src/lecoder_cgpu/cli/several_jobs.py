"""`job wait` and `job kill` of several jobs, or of all: one after the other, with one limit and one answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..models.jobs import JobDocument, JobDocuments

if TYPE_CHECKING:
    from ..runs.jobs import Jobs


def check(names: Sequence[str], *, everything: bool) -> None:
    """Refuse a command line that names no jobs, or names some beside --all."""
    if bool(names) == everything:
        raise errors.UsageError(
            "name jobs, or give --all, but not both" if names else "there is no job to act on",
            hint="lecoder-cgpu job list; then their ids, or --all",
        )


def chosen(jobs: Jobs, names: Sequence[str], *, everything: bool) -> Sequence[str]:
    """The ids of the jobs that are named, each once, in their order; with `everything`, of all that have not ended.

    Raises:
        errors.NotFoundError: there is no such job; then nothing was done to the others either.
    """
    if everything:
        return jobs.ids(ended=False)
    return list(dict.fromkeys(jobs.find(name).run for name in names))


def wait(jobs: Jobs, runs: Sequence[str], timeout: float | None, one: Callable[[JobDocument], object]) -> JobDocuments:
    """Wait for all of them, at most `timeout` seconds together. Ctrl-C ends the waiting only.

    `one` is told of each. The exit status is 124 if one still runs, else that of the first that failed.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    documents: list[JobDocument] = []
    for run in runs:
        stopped = any(document.interrupted is True for document in documents)
        left = 0.0 if stopped else None if deadline is None else max(deadline - time.monotonic(), 0.0)
        documents.append(jobs.wait(run, left))
        jobs.fetch(documents[-1], ())
        one(documents[-1])
    return _together(documents)


def kill(runs: Sequence[str], one: Callable[[str], JobDocument]) -> JobDocuments:
    """Do `one`, which sends a signal, to each of them."""
    return _together([one(run) for run in runs])


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
