"""Looks after jobs that may be run again (`run --detach --restarts`), and starts their next attempts.

`runs/job_steps.py` does one step for one job; here it is done for each at the keeper's interval, in a thread, and when
an attempt is due.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..config import Config
from ..runs import job_plans
from ..runs.job_plans import JobPlan
from ..runs.job_steps import Steps
from ..sessions.manager import SessionManager
from ..store.session_store import Store
from ..system import logs

AT_ONCE = 4  # jobs for which something is done at once
BEFORE_RELEASE = 30.0  # seconds that a last look at jobs may delay the release of a runtime
SETTLED = 2_000_000_000  # nanoseconds after which no file system gives two changes the same time
END_WAIT = 2.0  # seconds that steps under way are waited for when the keeper ends


class Restarts:
    """The jobs of one keeper.

    Args:
        interval: seconds between two looks at a job. clock: gives the Unix time.
    """

    def __init__(self, settings: Config, store: Store, interval: float, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._store = store
        self._interval = interval
        self._clock = clock
        self._looked: dict[str, float] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._version: int | None = None  # of the folder of plans, as `_plans` are known
        self._plans: list[JobPlan] = []

    @property
    def unfinished(self) -> bool:
        """Whether any job is to be looked after."""
        return bool(self._unfinished())

    def _unfinished(self) -> list[JobPlan]:
        """The jobs to be looked after. Plans are read when one has changed: most are of jobs that ended days ago."""
        try:
            version = job_plans.folder(self._store.folder).stat().st_mtime_ns
        except OSError:
            return []
        if version != self._version:
            self._plans = job_plans.unfinished(self._store.folder)
            # What changes a moment later may bear the same time, so a fresh one is not trusted yet.
            self._version = version if time.time_ns() - version > SETTLED else None
        return self._plans

    def begin_due(self) -> None:
        """Begin what is due."""
        now = self._clock()
        self._threads = {job: thread for job, thread in self._threads.items() if thread.is_alive()}
        for plan in self._unfinished():
            if plan.job not in self._threads and len(self._threads) < AT_ONCE and self._is_due(plan, now):
                self._looked[plan.job] = now
                self._begin(plan.job)

    def _is_due(self, plan: JobPlan, now: float) -> bool:
        looked = self._looked.get(plan.job)
        if plan.state == "pausing" and plan.due is not None and plan.due <= now:
            return True
        return looked is None or not 0 <= now - looked < self._interval

    def _begin(self, job: str) -> threading.Thread:
        thread = self._threads[job] = threading.Thread(target=self._step, args=(job,), name=f"job {job}", daemon=True)
        thread.start()
        return thread

    def _step(self, job: str) -> None:
        try:
            # A manager of its own: what lenders said a minute ago is not believed.
            manager = SessionManager(self._settings, notify=lambda text: logs.current().info("KEEPER", text))
            Steps(manager, clock=self._clock).step(job)
        except Exception as error:  # one job must not end what looks after all
            logs.current().error("KEEPER", f"{job} could not be looked after", error=error)

    def before_release(self, session: str) -> None:
        """Look at a session's jobs for a last time, so that an end is not taken for a loss."""
        due = [plan.job for plan in job_plans.of_session(self._store.folder, session) if plan.state == "running"]
        threads = [self._threads.get(job) or self._begin(job) for job in due]
        deadline = time.monotonic() + BEFORE_RELEASE
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def finish(self, deadline: float) -> None:
        """Wait until what was begun is done, or until a moment of `time.monotonic`."""
        for thread in list(self._threads.values()):
            thread.join(max(deadline - time.monotonic(), 0.0))

    def close(self) -> None:
        """End. What is under way and has not ended in a few seconds is found again by the next keeper."""
        deadline = time.monotonic() + END_WAIT
        for thread in self._threads.values():
            thread.join(max(deadline - time.monotonic(), 0.0))
