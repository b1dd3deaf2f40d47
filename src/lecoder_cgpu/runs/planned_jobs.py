"""Jobs that may be run again: one job, whatever runtime its attempt is on, or on none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from .. import errors
from ..backends.protocol import Leased
from ..models.jobs import JobDocument
from ..models.status import WithoutRuntime
from ..sessions import keeper_process
from ..system import logs
from . import job_names, job_output, job_plans, job_views
from .job_plans import JobPlan
from .job_steps import Steps
from .jobs import Jobs

if TYPE_CHECKING:
    from ..models.jobs import Job, JobList
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session

LOOK = 1.0  # seconds between two looks at a job that is waited for
KILL_WAIT = 900.0  # seconds that a start which is under way may take before a job is ended


def find(manager: SessionManager, name: str, session: str | None = None) -> JobPlan | None:
    """The job of that name, if it may be run again; None for all others. `session` is the one that it must be of."""
    if session is not None:
        record = manager.store.find(session)
        plan = job_plans.find(manager.state_dir, name)
        return plan if plan is not None and plan.session == record.id else None
    return job_plans.find(manager.state_dir, name)


def jobs(manager: SessionManager, session: str | None, name: str | None = None, attempt: int | None = None) -> Jobs:
    """The jobs of a session; without one, of that which the named job is on, else of the active one.

    Raises:
        errors.UsageError: there was no such attempt. errors.LostError: its runtime is gone.
    """
    plan = None if name is None else find(manager, name, session)
    if plan is not None:
        return on_runtime(manager, plan, attempt)
    if attempt not in (None, 1):
        raise errors.UsageError(
            f"{name} has one attempt", name="NoSuchAttempt", hint="--attempt is for jobs with --restarts or --retries"
        )
    return Jobs(manager.existing(session or (None if name is None else job_names.where(manager, name))))


def on_runtime(manager: SessionManager, plan: JobPlan, number: int | None = None) -> Jobs:
    """The jobs of the runtime that an attempt is on, or was.

    Raises:
        errors.LostError: that runtime is gone. errors.Error: it cannot be reached.
    """
    run = plan.run_called(plan.job, number)
    item = next(item for item in plan.tries if item.run == run)
    record = manager.store.get(item.session)
    if record is None or record.runtime.endpoint != item.endpoint:
        which = plan.tries.index(item) + 1
        raise errors.LostError(
            f"what attempt {which} of {plan.job} printed was lost with its runtime",
            name="RunLost",
            hint=f"what is known of it: lecoder-cgpu job show {plan.job}",
        )
    jobs = Jobs(manager.existing(record.id))
    jobs.attempt = number
    return jobs


def show(manager: SessionManager, plan: JobPlan) -> JobDocument:
    """The document of a job, as its runtime knows it, or its plan."""
    if plan.state in ("running", "ended") and plan.last.cause in (None, "finished", "failed", "killed", "limit"):
        with contextlib.suppress(errors.Error), on_runtime(manager, plan) as jobs:
            document = jobs.document(jobs.find(plan.job))
            fetches = plan.pulling is not None and plan.policy.restarts != 0  # which takes its time
            if document.status != "running" and plan.state == "running" and not fetches:  # nobody has looked since
                plan = Steps(manager).step(plan.job) or plan
            if plan.state == "pausing":
                return job_views.document(plan, manager.store)
            found = job_views.labelled(document, plan)
            if plan.why:
                found.job.reason = plan.why
            return found
    document = job_views.document(plan, manager.store)
    _say_who_acts(manager, [document.job])
    return document


def _say_who_acts(manager: SessionManager, jobs: Sequence[Job]) -> None:
    """Let jobs that are to be run again say so if nobody is here who does that."""
    waiting = [job for job in jobs if job.state == "restarting"]
    if not waiting or keeper_process.is_alive(keeper_process.read(manager.state_dir)):
        return
    for job in waiting:
        why = f"; {job.reason}" if isinstance(job.reason, str) else ""
        job.reason = f"waiting for a machine of yours: no keeper runs here, so lecoder-cgpu job wait {job.id}{why}"


def without_runtime(manager: SessionManager) -> list[WithoutRuntime]:
    """The jobs that have no runtime now, and wait for one or for somebody."""
    plans = [plan for plan in job_plans.plans(manager.state_dir) if plan.state in ("pausing", "waiting")]
    jobs = [job_views.job(plan) for plan in plans]
    _say_who_acts(manager, jobs)
    return [
        WithoutRuntime(id=job.id, name=job.name, state=job.state, reason=job.reason, restarts_at=job.restarts_at)
        for job in jobs
    ]


def listed(manager: SessionManager, document: JobList, *, everywhere: bool, session: str | None = None) -> JobList:
    """A list of jobs in which those that are run again stand once, under their own ids.

    Args:
        everywhere: of all sessions; else of the one with the id `session`.
    """
    plans = [plan for plan in job_plans.plans(manager.state_dir) if plan.kept]
    if not everywhere:
        plans = [plan for plan in plans if plan.session == session]
    document.jobs = job_views.merged(document.jobs, plans)
    _say_who_acts(manager, document.jobs)
    for job in document.jobs:
        if not everywhere:
            job.session = UNSET
    return document


# --- waiting ---


class Waiting:
    """Waits for a job over all of its attempts.

    Args:
        tell: told of losses and other attempts. event: called when another attempt is due, with the job's document.
    """

    def __init__(
        self,
        manager: SessionManager,
        plan: JobPlan,
        tell: Callable[[str], None],
        event: Callable[[JobDocument], None] = lambda document: None,
    ) -> None:
        self._manager = manager
        self._job = plan.job
        self._tell = tell
        self._event = event
        self._said = len(plan.tries) if plan.state == "running" else 0
        self._acts = manager.config.get("keeper").value == "off"
        self._steps = Steps(manager)
        self._jobs: Jobs | None = None  # of the attempt that is under way
        self.interrupted: int | None = None

    def wait(self, timeout: float | None) -> JobPlan:
        """Wait for its end, at most `timeout` seconds. Ctrl-C ends the waiting only."""
        try:
            return self._wait(None if timeout is None else time.monotonic() + timeout)
        finally:
            self._close()

    def _wait(self, deadline: float | None) -> JobPlan:
        while True:
            plan = self._look()
            self._say(plan)
            left = None if deadline is None else deadline - time.monotonic()
            if plan.state in ("ended", "waiting") or (left is not None and left <= 0):
                return plan
            try:
                if plan.state == "running":
                    self._follow(plan)
                time.sleep(LOOK if left is None else min(left, LOOK))
            except KeyboardInterrupt as interrupt:
                self.interrupted = errors.interrupted_status(interrupt)
                return plan

    def _look(self) -> JobPlan:
        """How it stands. Without a keeper, what is due is done here."""
        if self._acts:
            plan = self._steps.step(self._job)
        else:
            self._manager.keep()
            plan = job_plans.read(self._manager.state_dir, self._job)
        if plan is None:
            raise errors.NotFoundError(
                f"job {self._job} was removed meanwhile", name="JobNotFound", hint="lecoder-cgpu job list"
            )
        return plan

    def _follow(self, plan: JobPlan) -> bool:
        """Look at the attempt that is under way; False if it has ended, or cannot be asked now. Contact that was lost
        is not made again here: whoever waits is to hear of a loss in time to say that it was none."""
        try:
            if self._jobs is None:
                self._jobs = on_runtime(self._manager, plan)
            if not self._jobs.helper.show(plan.last.run).ended:
                return True
            if not self._acts:
                self._steps.step(self._job)  # its end is known: nobody has to wait for the keeper's next round
        except errors.Error as error:
            logs.current().info("RUN", f"{self._job} cannot be followed: {error.message}")
        self._close()
        return False

    def _close(self) -> None:
        if self._jobs is not None:
            self._jobs.helper.close()
            self._jobs = None

    def _say(self, plan: JobPlan) -> None:
        number = len(plan.tries)
        if plan.state == "pausing" and self._said != -number:
            self._said = -number
            cause = plan.last.cause or "ended"
            left = max((plan.due or 0.0) - time.time(), 0.0)
            self._tell(f"attempt {number} is over ({cause}); restarting in {left:.0f} s: job kill {plan.job} stops it")
            self._event(job_views.document(plan, self._manager.store))
        elif plan.state == "running" and self._said not in (0, number):
            self._tell(f"attempt {number} of {plan.job} runs on {plan.last.name}")
            self._said = number
        elif self._said == 0 and plan.state == "running":
            self._said = number


def kill(manager: SessionManager, plan: JobPlan, one: Callable[[Jobs], JobDocument]) -> JobDocument:
    """End a job: its attempt, if one is under way, and there is no other.

    Args:
        one: sends the signals.
    """
    folder = manager.state_dir
    if plan.state == "ended":
        with contextlib.suppress(errors.Error), on_runtime(manager, plan) as jobs:
            return job_views.labelled(one(jobs), plan)
    else:
        job_plans.stop(folder, plan.job)
    with job_plans.alone(folder, plan.job, KILL_WAIT) as ours:
        found = job_plans.read(folder, plan.job) or plan
        if ours and found.state in ("pausing", "waiting"):
            found = structs.replace(
                found, state="ended", due=None, why="it was ended by job kill", outcome=None, changed=time.time()
            )
            job_plans.write(folder, found)
    if found.state == "running":
        with on_runtime(manager, found) as jobs:
            killed = one(jobs)
        Steps(manager).step(found.job)
        return job_views.labelled(killed, job_plans.read(folder, found.job) or found)
    document = job_views.document(found, manager.store)
    document.status, document.exit_code, document.sent = "ok", 0, False
    document.error, document.error_code = UNSET, 0
    return document


def retry(manager: SessionManager, plan: JobPlan, secrets: Mapping[str, str], source: str | None) -> JobPlan:
    """Run a job again that has ended, or that waits, under its own id as the next attempt.

    Args:
        secrets: values by name. source: a folder that is sent in place of the one that was.

    Raises:
        errors.UsageError: (`JobRuns`) it has not ended. errors.Error: it could not be started.
    """
    from ..files import withheld
    from ..runs import job_sources

    folder = manager.state_dir
    steps = Steps(manager, secrets)
    with job_plans.alone(folder, plan.job, KILL_WAIT):
        plan = job_plans.read(folder, plan.job) or plan
        if plan.state == "running":
            plan = steps.look(plan)
        if plan.state == "running":
            raise errors.UsageError(
                f"{plan.job} has not ended, as far as is known",
                name="JobRuns",
                hint=f"lecoder-cgpu job wait {plan.job}; or end it first: lecoder-cgpu job kill {plan.job}",
            )
        if source is not None:
            job_sources.renew(folder, plan, source)
            if (left_out := withheld.told(source)) is not None:
                manager.notify(left_out)
        record = manager.store.get(plan.session)
        held = None if record is None else manager.hold(record)
        gone = held is not None and isinstance(held.backend, Leased) and held.is_lost()
        plan = structs.replace(
            plan,
            state="pausing",
            due=time.time(),
            elsewhere=gone,
            refused=0,
            refused_since=None,
            understood=True,
            changed=time.time(),
        )
        plan.work.secrets = sorted({*plan.work.secrets, *secrets})
        if plan.work.stores_secrets and secrets:
            job_plans.keep_secrets(folder, plan.job, {**job_plans.stored_secrets(folder, plan.job), **secrets})
        job_plans.go_on(folder, plan.job)
        job_plans.write(folder, plan)
    found = steps.step(plan.job) or plan
    if found.state == "ended" and len(found.tries) == len(plan.tries):
        problem = steps.problem or errors.LostError(
            found.why or "it could not be started", hint="repeat the same command that started it"
        )
        raise problem
    return found


def retried(
    manager: SessionManager, name: str, session: str | None, *, sync: bool, secrets: Mapping[str, str]
) -> JobDocument:
    """`job retry`: the document of the job with its next attempt.

    Raises:
        errors.NotFoundError: this machine did not start it. See `retry` for others.
    """
    plan = find(manager, name, session) or job_plans.plain(manager.state_dir, name)
    if plan is None:
        raise errors.NotFoundError(
            f"this machine has not started a job {name!r} that it could run again",
            name="JobNotFound",
            hint="only commands of `run --detach` can be run again, where they were started; or repeat that command",
        )
    plan = retry(manager, plan, secrets, plan.work.source if sync else None)
    if manager.config.get("keeper").value != "off":
        manager.keep()
    document = job_views.document(plan, manager.store)
    document.exit_code = 0
    return document


def ended(
    manager: SessionManager,
    plan: JobPlan,
    pull: Sequence[str],
    offsets: tuple[int, int] | None = None,
    most: int | None = None,
    counted: int | None = None,
) -> tuple[JobDocument, Session | None]:
    """What `job wait` answers with, and the session if its runtime could be asked: results are fetched then.

    Args:
        offsets: from which bytes of stdout and stderr on output is shown; None shows none. most: bytes of each.
        counted: in the output of which attempt the offsets count; that of another one is shown from its beginning.
    """
    document, session = None, None
    if offsets is not None and counted not in (None, len(plan.tries)):
        offsets = (0, 0)
    try:
        with on_runtime(manager, plan) as jobs:
            found = jobs.document(jobs.find(plan.job))
            if plan.state != "pausing":
                jobs.fetch(found, pull)
            if offsets is not None:
                job_output.show_ends(jobs, found, offsets, most, jobs.session.reading_command(plan.job))
            document, session = job_views.labelled(found, plan), jobs.session  # not before it has its output
    except errors.Error as error:
        logs.current().info("RUN", f"{plan.job} is shown by its plan: {error.message}")
    if document is None or plan.state in ("pausing", "waiting") or plan.last.cause in ("lost", "unknown", "oom"):
        document = job_views.without_runtime(manager.state_dir, plan, manager.store, offsets, most)
    job_views.complete(document, plan)
    return document, session


def remove(manager: SessionManager, plan: JobPlan) -> str:
    """Delete a job that has ended, with its output; returns its id.

    Raises:
        errors.UsageError: it has not ended.
    """
    if plan.state != "ended":
        raise errors.UsageError(
            f"{plan.job} has not ended", name="JobRuns", hint=f"end it first: lecoder-cgpu job kill {plan.job}"
        )
    for number in range(1, len(plan.tries) + 1):
        with contextlib.suppress(errors.LostError, errors.NotFoundError), on_runtime(manager, plan, number) as jobs:
            jobs.remove(plan.job)
    job_plans.remove(manager.state_dir, plan.job)
    return plan.job
