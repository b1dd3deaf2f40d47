"""What is done for jobs that are run again, one step at a time: looked at, judged, and started anew.

Anybody may take a step, at any time: the keeper, `job wait`, `job retry`. One process at a time does for a job. What
was begun and not written down is found again by the names that derive from the job and the attempt's number.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from .. import errors
from ..backends.protocol import Leased
from ..files import pull_plans, pulling
from ..files.commands import Storage
from ..helper.launch import Launch
from ..models.base import ErrorInfo
from ..models.runs import Stopped
from ..sessions import free_tier
from ..store import leases, lifecycle, rates
from ..system import logs
from . import attempts, job_plans, job_sources, kept_output, losses, records, stored_work
from .job_plans import JobPlan, Try
from .jobs import Jobs
from .process_watch import ProcessRun

if TYPE_CHECKING:
    from ..helper.documents import RunState
    from ..models.jobs import JobDocument
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session
    from ..store.session_store import Record

NOTICE = 180.0  # seconds before a limit ends an attempt at which its stop file appears; a quarter of a short limit
LONGEST_REFILL = 36 * 3600.0  # seconds for which the refill of a quota is waited for
AWAY = 3600.0  # seconds unseen after which a lender may have ended a runtime because its work was done


class Steps:
    """Takes steps for jobs.

    Args:
        manager: of the sessions. secrets: values of variables that are stored nowhere, by name.
        clock: gives the Unix time.
    """

    def __init__(
        self,
        manager: SessionManager,
        secrets: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._manager = manager
        self._secrets = dict(secrets or {})
        self._clock = clock
        self._folder = manager.state_dir
        self.problem: errors.Error | None = None  # why the last start failed

    def step(self, job: str) -> JobPlan | None:
        """Do what is due for a job; its plan afterwards. Nothing is done while another process is at it.

        Raises:
            errors.ConfigError: the state folder cannot be used.
        """
        with job_plans.alone(self._folder, job) as ours:
            plan = job_plans.read(self._folder, job)
            if plan is None or not ours:
                return plan
            before = plan
            if plan.state == "running":
                plan = self.look(plan)
            if plan.state == "pausing" and plan.due is not None and not 0 < plan.due - self._clock() < 2 * 86400:
                plan = self._begin(plan)
            if plan is not before:
                job_plans.write(self._folder, plan)
            return plan

    # --- how it stands ---

    def look(self, plan: JobPlan) -> JobPlan:
        """The plan after a look at the attempt that is under way."""
        last = plan.last
        record = self._manager.store.get(last.session)
        if record is None:
            return self.judged(plan, "killed", why="its session was closed")
        with self._manager.hold(record) as session:
            leased = isinstance(session.backend, Leased)
            if leased and (
                record.runtime.endpoint != last.endpoint or lifecycle.stage(record) in ("closing", "released", "lost")
            ):
                return self._gone(plan, record, session)
            if not leased and session.known_gone():
                return self.judged(plan, "unknown", why="its server has ended, and it may live on")
            try:
                with Jobs(session) as jobs:
                    asked = self._clock()  # this machine may sleep until it takes the answer
                    state = jobs.helper.show(last.run)
                    kept_output.Copy(self._folder, plan, last).grow(jobs.helper, state)
                    if state.ended:
                        return self._end_seen(plan, session, jobs, state, asked)
                    warned = last.warned or self._warned(plan, record, session, jobs)
            except errors.LostError:
                return self._gone(plan, self._manager.store.get(last.session) or record, session)
            except errors.NotFoundError:
                return self.judged(plan, "unknown", why="the runtime does not know it any more")
            except errors.Error as error:
                logs.current().info("RUN", f"{plan.job} was not seen: {error.message}")
                stored = self._manager.store.get(last.session)
                return plan if stored is None else self._gone(plan, stored, session)
        output = (state.stdout_size or 0, state.stderr_size or 0)
        share = (state.usage.memory_share if state.usage is not None else None) or 0.0
        return _with_last(plan, structs.replace(last, seen=asked, output=output, warned=warned, memory=share))

    def _end_seen(self, plan: JobPlan, session: Session, jobs: Jobs, state: RunState, asked: float) -> JobPlan:
        """The plan when the runtime tells that the attempt has ended. One that has finished is lost all the same if the
        runtime goes before the last results are here, and another one may bring them."""
        last = plan.last
        young = asked - last.seen < losses.VERDICT
        if state.result is None and young and isinstance(session.backend, Leased):
            return plan  # a machine that is taken away kills what runs on it first
        records.note_ends(jobs, [state])
        document = jobs.document(state)
        if document.status != "ok" or not self._is_cut_off(plan, jobs):
            return self._ended(plan, state, document)
        seen = _with_last(plan, structs.replace(last, seen=asked))
        gone = self._gone(seen, self._manager.store.get(last.session) or session.record, session)
        if gone.state == "pausing":
            return structs.replace(gone, why="its runtime went before its last results were fetched")
        return plan if gone is seen and young else self._ended(plan, state, document)

    def _is_cut_off(self, plan: JobPlan, jobs: Jobs) -> bool:
        """Fetch the last results of an attempt that may be followed by others; whether its runtime was not there."""
        fetched = pull_plans.find(self._folder, plan.last.run)
        if plan.policy.restarts == 0 or fetched is None or fetched.is_whole:
            return False
        return pulling.is_cut_off(jobs.fetch_last(fetched))

    def _warned(self, plan: JobPlan, record: Record, session: Session, jobs: Jobs) -> bool:
        """Create the stop file of an attempt if a limit is about to end it; whether that was done."""
        left = _left_before_a_limit(plan, record, rates.read(self._folder), self._clock())
        if left is None or not plan.policy:
            return False
        path = stop_file(jobs.helper.hello().home, plan.last.run)
        with Storage(session) as storage:
            storage.upload_stream(io.BytesIO(f"a limit ends this attempt in about {left:.0f} s\n".encode()), path)
        logs.current().info("RUN", f"{plan.job}: a limit is near, and {path} says so")
        return True

    def _gone(self, plan: JobPlan, record: Record, session: Session) -> JobPlan:
        """The plan when the runtime of its attempt is not there, or may not be."""
        last, now = plan.last, self._clock()
        other = record.runtime.endpoint != last.endpoint  # the session has another one: the lender was certain then
        fate = "lost" if other else losses.fate(session)
        if fate is None:
            return plan
        if not other and record.lease is not None and record.lease.ended == "idle":
            return self.judged(plan, "unknown", why="its runtime was released when it had no more work")
        allocation = record.allocation
        lost_at = None if other or allocation is None or allocation.lost_at is None else allocation.lost_at
        moment = now if lost_at is None else leases.moment(lost_at) or now
        away = moment - last.seen
        if fate == "lost" and away > min(leases.lease_of(record).idle or AWAY, AWAY):
            why = f"nobody saw it for {away:.0f} s when its runtime went: it may have ended before"
            return self.judged(plan, "unknown", why=why)
        if fate == "lost" and not other:
            plan = structs.replace(plan, spent=plan.spent.and_of(record))
            last = structs.replace(last, units=leases.lease_of(record).units)
            plan = _with_last(plan, last)
        if fate == "lost" and losses.is_full(last.memory):
            return self.judged(plan, "oom", why=f"{last.memory:.0%} of its memory was in use when it was seen last")
        return self.judged(plan, fate, why="its session was closed" if fate == "killed" else None)

    def _ended(self, plan: JobPlan, state: RunState, document: JobDocument) -> JobPlan:
        job, last = document.job, plan.last
        last.exit_code = document.exit_code
        last.ran = state.result.seconds if state.result is not None else 0.0
        last.output = (job.stdout_bytes, job.stderr_bytes)
        last.error = document.error if isinstance(document.error, ErrorInfo) else None
        if document.status == "unknown":
            return self.judged(plan, "unknown", why=state.reason)
        if isinstance(job.stopped, Stopped) and document.status != "ok":
            return self.judged(plan, losses.ended_by(job.stopped))
        return self.judged(plan, "finished" if document.status == "ok" else "failed")

    def judged(self, plan: JobPlan, cause: attempts.Cause, *, why: str | None = None) -> JobPlan:
        """The plan when an attempt is over: another one is due, or it is the end."""
        now, last = self._clock(), plan.last
        fresh = plan.pulling is not None and pulling.newest(plan.pulling) > last.before
        plan = _with_last(plan, structs.replace(last, cause=cause, over=now, fresh=fresh))
        decision = attempts.decide(plan.policy, [item.past for item in plan.tries])
        again = decision.again and not job_plans.is_stopped(self._folder, plan.job)
        plan = structs.replace(plan, changed=now, why=why or decision.why or None, outcome=None, due=None)
        if again and cause == "lost" and losses.left_of(plan.limits, plan.spent) is None:
            again, plan.why = False, "the limit over all attempts is reached"
            plan.outcome = errors.TimeLimit.exit_status
        logs.current().info("RUN", f"{plan.job}: attempt {len(plan.tries)} is over: {cause}", {"again": again})
        if not again:
            return structs.replace(plan, state="ended")
        pause = max(decision.pause, self._announced()) if cause == "lost" else decision.pause
        return structs.replace(plan, state="pausing", due=now + pause, elsewhere=cause == "lost")

    def _announced(self) -> float:
        """Seconds between a loss and the next request, in which the user can say that it was none."""
        with contextlib.suppress(ValueError):
            return max(float(self._manager.config.get("restartPause").value or ""), 0.0)
        return 60.0

    # --- the next attempt ---

    def _begin(self, plan: JobPlan) -> JobPlan:
        """The plan after the start of another attempt, or after it failed."""
        secrets = {**job_plans.stored_secrets(self._folder, plan.job), **self._secrets}
        missing = [name for name in plan.work.secrets if name not in secrets]
        if missing:
            option = " ".join(f"--secret {name}" for name in missing)
            why = f"its secrets are stored nowhere: lecoder-cgpu job retry {plan.job} {option}"
            return structs.replace(plan, state="waiting", due=None, why=why, changed=self._clock())
        store = self._manager.store
        record = store.get(plan.session)
        if record is None:
            return self._over(plan, "its session was closed")
        if job_plans.is_stopped(self._folder, plan.job):
            return self._over(plan, "it was ended by job kill")
        left = losses.left_of(plan.limits, plan.spent)
        if left is None:
            return self._over(plan, "the limit over all attempts is reached", errors.TimeLimit.exit_status)
        if plan.elsewhere:
            losses.allow(store, record.id, left)
        number = len(plan.tries) + 1
        session = self._manager.hold(store.get(record.id) or record)
        if plan.elsewhere and not plan.understood and free_tier.needs_agreement(session.backend):
            session.close()
            why = f"{free_tier.ONE_AFTER_THE_OTHER}; if you know that you may: lecoder-cgpu job retry {plan.job}"
            return structs.replace(plan, state="waiting", due=None, why=why, changed=self._clock())
        short = free_tier.short_of_units(session.backend, record, rates.read(self._folder)) if plan.elsewhere else None
        if short is not None:
            session.close()
            return self._without_units(plan, *short)
        session.terms = structs.replace(
            session.terms, replace=plan.elsewhere, key=job_plans.runtime_key(plan.job, number)
        )
        self.problem = None
        try:
            with session:
                return self._started(plan, session, number, secrets)
        except errors.Error as error:
            logs.current().warn("RUN", f"{plan.job}: attempt {number} was not started: {error.message}")
            self.problem = error
            return self._failed_start(plan, error)

    def _without_units(self, plan: JobPlan, why: str, refill: float | None) -> JobPlan:
        """The plan while the account cannot pay: it waits for its refill, where that is known, else for somebody."""
        now = self._clock()
        if refill is not None and 0 < refill - now < LONGEST_REFILL:
            due = refill + attempts.CAPACITY_PAUSES[0]
            return structs.replace(plan, due=due, why=f"{why}; waiting for its refill", changed=now)
        why = f"{why}; when it has more: lecoder-cgpu job retry {plan.job}"
        return structs.replace(plan, state="waiting", due=None, why=why, changed=now)

    def _over(self, plan: JobPlan, why: str, outcome: int | None = None) -> JobPlan:
        return structs.replace(plan, state="ended", due=None, why=why, outcome=outcome, changed=self._clock())

    def _failed_start(self, plan: JobPlan, error: errors.Error) -> JobPlan:
        """The plan after a start that failed: it is tried again where time may help."""
        now = self._clock()
        since = plan.refused_since or now
        hopeful = isinstance(error, (errors.CapacityError, errors.QuotaError, errors.LostError)) or error.retryable
        if not hopeful or isinstance(error, errors.NotEntitled) or now - since > attempts.CAPACITY_LIMIT:
            return self._over(plan, f"it could not be started again: {error.message}", error.exit_status)
        if isinstance(error, errors.LostError):
            record = self._manager.store.get(plan.session)
            if not plan.elsewhere and plan.policy.restarts == 0:
                return self._over(plan, f"it could not be started again: {error.message}", error.exit_status)
            if plan.elsewhere and record is not None:
                plan = structs.replace(plan, spent=plan.spent.and_of(record))
            plan = structs.replace(plan, elsewhere=True)
        first, longest = attempts.CAPACITY_PAUSES
        if not isinstance(error, (errors.CapacityError, errors.QuotaError)):
            first = attempts.START_PAUSE
        pause, why = max(min(first * 2**plan.refused, longest), error.retry_after or 0.0), error.message
        refill = self._refill(plan) if isinstance(error, errors.QuotaError) else None
        if refill is not None:
            pause, why, since = refill + first - now, f"{why}; waiting for its refill", now
        return structs.replace(
            plan, refused=plan.refused + 1, refused_since=since, due=now + pause, why=why, changed=now
        )

    def _refill(self, plan: JobPlan) -> float | None:
        """When the account that a job uses gets more of its quota (Unix time); None where that is not known."""
        record = self._manager.store.get(plan.session)
        if record is None:
            return None
        with self._manager.hold(record) as session, contextlib.suppress(errors.Error):
            found = session.backend.account().refills_at if isinstance(session.backend, Leased) else None
            return found if found is not None and 0 < found - self._clock() < LONGEST_REFILL else None
        return None

    def _started(self, plan: JobPlan, session: Session, number: int, secrets: Mapping[str, str]) -> JobPlan:
        run = job_plans.run_id(plan.job, number)
        work = stored_work.with_values(plan.work, secrets)
        session.endpoint  # noqa: B018 - asks for the runtime
        with Jobs(session) as jobs:
            home = jobs.helper.hello().home
            try:
                state, folder = jobs.helper.show(run), plan.folder
                put_back = plan.elsewhere and plan.pulling is not None and pulling.newest(plan.pulling) > 0
            except errors.NotFoundError:
                state, folder, put_back = None, None, False
        before = 0 if plan.pulling is None else pulling.newest(plan.pulling)
        if state is None:
            # Other machines may be at the same: only what the one that starts it has sent gets its place.
            nonce = job_plans.staging(self._folder, run) if plan.elsewhere else None
            sent = job_sources.send(session, structs.replace(plan, work=work), nonce)
            folder, place = sent.folder, sent.place
            if plan.elsewhere and plan.pulling is not None:
                results = pulling.restore(session, structs.replace(plan.pulling, folder=folder), nonce)
                put_back = bool(results)
                place += results
            if job_plans.is_stopped(self._folder, plan.job):
                return self._over(plan, "it was ended by job kill")
            variables = own_variables(plan.job, run, number, home, resumes=put_back)
            launch = Launch(
                cwd=folder,
                place=place,
                environment=work.environment | variables,
                secrets={name: secrets[name] for name in work.secrets},
                timeout=work.timeout,
                idle_timeout=work.idle_timeout,
                name=plan.name,
                pull=plan.specs,
                push=work.push,
                push_every=work.push_every,
            )
            started = ProcessRun(session, sent.command, lambda stream, data: None, run_id=run)
            started.start(launch)
            started.close()
            state = started.state
            assert state is not None
        follow(session, plan, run, folder)
        typed = stored_work.shown(plan.work.command)  # without secrets
        text = typed if isinstance(typed, str) else " ".join(typed)
        records.remember_attempt(session, run, text, plan.name or UNSET, kept=not work.secrets)
        fresh = attempt(session, run, self._clock(), before, put_back=put_back)
        return structs.replace(
            plan,
            tries=[*plan.tries, fresh],
            folder=folder,
            state="running",
            due=None,
            elsewhere=False,
            refused=0,
            refused_since=None,
            why=None,
            outcome=None,
            changed=self._clock(),
        )


def _left_before_a_limit(plan: JobPlan, record: Record, known: rates.Rates, now: float) -> float | None:
    """Seconds until a limit ends an attempt, if these are few; else None. For a limit on cost, a rate must be known."""
    lease, timeout = leases.lease_of(record), plan.work.timeout
    limits = []
    if lease.max_runtime is not None:
        limits.append((lease.began + lease.max_runtime - now, lease.max_runtime))
    if timeout is not None:
        limits.append((plan.last.began + timeout - now, timeout))
    rate = known.get(rates.kind(record), 0.0)
    if lease.max_units is not None and rate > 0:
        limits.append((3600 * (lease.max_units - lease.units) / rate, 3600 * lease.max_units / rate))
    near = [left for left, whole in limits if left < min(NOTICE, whole / 4)]
    return max(min(near), 0.0) if near else None


def attempt(session: Session, run: str, now: float, before: int = 0, *, put_back: bool = False) -> Try:
    """An attempt that was started just now."""
    record = session.store.get(session.record.id) or session.record
    return Try(
        run=run,
        session=record.id,
        name=record.name,
        endpoint=record.runtime.endpoint,
        accelerator=record.runtime.accelerator,
        began=now,
        seen=now,
        before=before,
        put_back=put_back,
    )


def own_variables(job: str, run: str, number: int, home: str, *, resumes: bool = False) -> dict[str, str]:
    """What the command of an attempt finds in its environment.

    Args:
        home: the folder of this tool on the runtime. resumes: whether results were put back.
    """
    found = {
        "LECODER_CGPU_JOB_ID": job,
        "LECODER_CGPU_ATTEMPT": str(number),
        "LECODER_CGPU_STOP_FILE": stop_file(home, run),
    }
    return found | ({"LECODER_CGPU_RESUME": "1"} if resumes else {})


def stop_file(home: str, run: str) -> str:
    """The path that appears on the runtime before a limit ends a run."""
    return f"{home}/stop/{run}"


def follow(session: Session, plan: JobPlan, run: str, folder: str | None) -> None:
    """Have the results of an attempt fetched from now on, and no more those of the one before."""
    if plan.pulling is None:
        return
    state_dir, now = session.store.folder, time.time()
    earlier = pull_plans.find(state_dir, plan.last.run)
    if earlier is not None and plan.last.run != run:
        pull_plans.note(state_dir, pull_plans.over(earlier, now, "it was run again"))
    declared = structs.replace(plan.pulling, folder=folder)
    pull_plans.note(
        state_dir,
        pull_plans.PullPlan(run=run, session=session.record.id, specs=plan.specs, pulling=declared, tried=now),
    )


def _with_last(plan: JobPlan, last: Try) -> JobPlan:
    return structs.replace(plan, tries=[*plan.tries[:-1], last])
