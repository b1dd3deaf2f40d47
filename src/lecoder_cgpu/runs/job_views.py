"""Jobs that are run again, as documents: what their plan says, where no runtime has to be asked or none is left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from .. import errors
from ..files import pull_plans, pulling, results
from ..models.base import ErrorInfo, SessionRef, Timing, timestamp
from ..models.jobs import Job, JobDocument
from ..models.runs import Attempt, JobState
from . import job_output, kept_output, stored_work
from .job_plans import JobPlan, Try

if TYPE_CHECKING:
    from ..files.pulling import Pulling
    from ..store.session_store import Store

LOST = errors.LostError.category


def attempts_of(plan: JobPlan) -> list[Attempt]:
    """What became of each attempt."""
    return [_attempt(number, item) for number, item in enumerate(plan.tries, 1)]


def _attempt(number: int, item: Try) -> Attempt:
    note = Attempt(number=number, resumed=item.put_back, session=item.name, run_id=item.run)
    note.accelerator = item.accelerator or UNSET
    if item.cause is not None:
        note.cause = item.cause
    if item.over is not None:
        note.timing = Timing(_stamp(item.began), _stamp(item.over), round(1000 * (item.over - item.began)))
    if item.exit_code is not None and item.cause in ("finished", "failed", "killed", "limit"):
        note.exit_code = item.exit_code
    if item.error is not None and item.cause != "finished":
        note.error = item.error
    if item.units:
        note.units = round(item.units, 4)
    return note


def _stamp(moment: float) -> str:
    return timestamp(datetime.fromtimestamp(moment, UTC))


def job(plan: JobPlan) -> Job:
    """A job as its plan knows it."""
    last = plan.last
    found = Job(
        id=plan.job,
        name=plan.name or UNSET,
        state=_state(plan),
        kind="process",
        detached=True,
        command=stored_work.shown(plan.work.command),
        cwd=plan.folder or UNSET,
        created=_stamp(plan.tries[0].began),
        started=_stamp(last.began),
        session=last.name,
        reason=plan.why or UNSET,
        attempt=len(plan.tries),
        stdout_bytes=last.output[0],
        stderr_bytes=last.output[1],
    )
    if plan.state == "pausing" and plan.due is not None:
        found.restarts_at = _stamp(plan.due)
    if plan.state == "ended":
        found.exit_code = exit_code(plan)
        found.ended = _stamp(last.over or plan.changed)
        found.output_complete = last.cause == "finished"
    return found


def _state(plan: JobPlan) -> JobState:
    named: dict[str, JobState] = {"pausing": "restarting", "waiting": "waiting", "running": "running"}
    if plan.state != "ended":
        return named[plan.state]
    cause = plan.last.cause
    if cause == "oom":
        return "lost"
    return cause if cause == "lost" or cause == "unknown" else "exited"


def exit_code(plan: JobPlan) -> int:
    """The exit status of a job that has ended: the last attempt's, or ours where it has none."""
    last = plan.last
    if plan.outcome is not None:
        return plan.outcome
    if last.cause == "finished":
        return 0
    if last.cause in ("failed", "killed", "limit") and last.exit_code is not None:
        return last.exit_code
    return errors.TimeLimit.exit_status if last.cause == "limit" else errors.LostError.exit_status


def document(plan: JobPlan, store: Store) -> JobDocument:
    """The document of a job as its plan knows it, with the exit status of the command that shows it."""
    found = JobDocument(job=job(plan), session=session(plan, store), attempts=attempts_of(plan))
    if plan.state != "ended":
        found.status, found.exit_code = "running", errors.EXIT_STOPPED_WAITING
        found.next = f"lecoder-cgpu job wait {plan.job}"
        return found
    found.exit_code = exit_code(plan)
    cause = plan.last.cause
    if found.exit_code == 0:
        return found
    found.status = "unknown" if cause in ("lost", "unknown", "oom") and plan.outcome is None else "error"
    found.error = plan.last.error if cause in ("failed", "killed", "limit") and plan.last.error else UNSET
    if not isinstance(found.error, ErrorInfo):
        found.error, found.error_code = _problem(plan)
    else:
        found.error_code = errors.CodeFailure.code
    return found


def without_runtime(
    state_dir: Path, plan: JobPlan, store: Store, offsets: tuple[int, int] | None, most: int | None
) -> JobDocument:
    """The same with what has come home: the output that was copied while the job ran, and the results.

    Args:
        offsets, most: see `planned_jobs.ended`.
    """
    found = document(plan, store)
    copy = kept_output.Copy(state_dir, plan, plan.last)
    if offsets is not None:
        job_output.show_ends(copy, found, offsets, most, f"lecoder-cgpu job logs {plan.job}")
        found.job.stdout_bytes = max(found.job.stdout_bytes, plan.last.output[0])
        found.job.stderr_bytes = max(found.job.stderr_bytes, plan.last.output[1])
    found.job.output_complete = copy.is_complete
    if plan.pulling is not None and plan.state == "ended":
        _add_results(state_dir, plan, plan.pulling, found)
    return found


def _add_results(state_dir: Path, plan: JobPlan, declared: Pulling, found: JobDocument) -> None:
    """Tell what has come home, and that the rest will not, unless it is known to be all."""
    fetched = pull_plans.find(state_dir, plan.last.run)
    gone = errors.LostError(
        "its runtime is gone: what is here was fetched before, and may not be all",
        hint=f"run it again, from its last generation on: lecoder-cgpu job retry {plan.job}",
    )
    found.pulled = pulling.at_home(declared, None if fetched is not None and fetched.is_whole else gone)
    problem = results.pull_problem(found.pulled, plan.folder, plan.last.name)
    if problem is not None and found.status == "ok":
        found.status, found.error = "error", ErrorInfo.of(problem)
        found.error_code, found.exit_code = problem.code, problem.exit_status


def complete(found: JobDocument, plan: JobPlan) -> None:
    """Add what the plan alone knows to a document that answers `job wait`: whose offsets those are, the exit status
    that is ours to say, what a job waits for, and what can be done about results that went with their runtime."""
    if found.status == "running" and isinstance(found.next, str) and "--from" in found.next:
        found.next += f" --attempt {len(plan.tries)}"
    if plan.why and found.job.reason is UNSET:
        found.job.reason = plan.why
    if plan.outcome is not None:
        found.exit_code = plan.outcome
    if plan.state == "waiting" and plan.why:
        found.error = ErrorInfo.of(
            errors.UsageError(f"the job waits: {plan.why}", name="JobWaits", hint=plan.why.partition(": ")[2])
        )
    pulled = found.pulled if isinstance(found.pulled, list) else []
    gone = any(isinstance(item.error, ErrorInfo) and item.error.category == LOST for item in pulled)
    if gone and isinstance(found.error, ErrorInfo) and found.error.category == errors.TransferError.category:
        found.error.suggestion = f"run it again, from its last generation on: lecoder-cgpu job retry {plan.job}"


def _problem(plan: JobPlan) -> tuple[ErrorInfo, int]:
    what = {
        "lost": "the runtime of its last attempt was lost",
        "oom": "the runtime of its last attempt was lost when its memory was used up",
        "unknown": "how its last attempt ended is not known",
        "killed": "it was ended",
        "limit": "a limit has ended it",
        "refused": "it could not be started",
    }.get(plan.last.cause or "", "it has ended")
    kind = errors.TimeLimit if plan.outcome == errors.TimeLimit.exit_status else errors.LostError
    error = kind(
        f"{what}: {plan.why}" if plan.why else what,
        name="LimitReached" if kind is errors.TimeLimit else "JobLost",
        hint=f"run it again: lecoder-cgpu job retry {plan.job}",
    )
    return ErrorInfo.of(error), error.code


def session(plan: JobPlan, store: Store) -> SessionRef:
    """The session of its last attempt, by what is known of it here."""
    record = store.get(plan.session)
    return SessionRef(id=plan.session, name=plan.last.name, backend="") if record is None else record.ref


def labelled(found: JobDocument, plan: JobPlan) -> JobDocument:
    """The document of an attempt as that of its job."""
    label(found.job, plan)
    found.attempts = attempts_of(plan)
    if found.status == "running":
        found.next = f"lecoder-cgpu job wait {plan.job}"
    return found


def label(found: Job, plan: JobPlan) -> None:
    """Let what a runtime knows of an attempt be called as its job."""
    number = next((number for number, item in enumerate(plan.tries, 1) if item.run == found.id), None)
    if number is not None:
        found.id, found.attempt = plan.job, number


def merged(jobs: Sequence[Job], plans: Sequence[JobPlan]) -> list[Job]:
    """A list in which each job stands once, by its last attempt; those that have no runtime now come first.

    Args:
        jobs: what runtimes know. plans: of the same sessions.
    """
    by_run: dict[str, JobPlan] = {item.run: plan for plan in plans for item in plan.tries}
    shown, seen = [], set()
    for found in jobs:
        plan = by_run.get(found.id)
        if plan is not None:
            if plan.last.run != found.id or plan.state in ("pausing", "waiting"):
                continue
            seen.add(plan.job)
            label(found, plan)
        shown.append(found)
    return [job(plan) for plan in plans if plan.job not in seen] + shown
