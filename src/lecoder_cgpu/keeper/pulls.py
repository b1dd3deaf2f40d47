"""Fetches the results of jobs that nobody watches, at the interval that was declared with them (`--pull … --every`).

`files/pull_plans.py` says what is due. Each fetch is done in a thread; a job whose fetch is under way is left alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from .. import errors
from ..backends import registry
from ..config import Config
from ..files import pull_plans, pulling
from ..files.pull_plans import PullPlan
from ..models.base import ErrorInfo
from ..models.runs import Pulled
from ..runs import job_plans, kept_output
from ..sessions.session import Session
from ..store import lifecycle, owners
from ..store.session_store import Record, Store
from ..system import logs

if TYPE_CHECKING:
    from ..helper.client import Helper
    from ..helper.documents import RunState

AT_ONCE = 4  # fetches under way at once
POLL = 0.1  # seconds between two looks whether fetches have ended
BEFORE_RELEASE = 120.0  # seconds that a last fetch may delay the release of a runtime


class Pulls:
    """The fetches of one keeper.

    Args:
        clock: gives the Unix time.
    """

    def __init__(self, settings: Config, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="pulls")
        self._under_way: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    @property
    def unfinished(self) -> bool:
        """Whether anything is still to be fetched."""
        return bool(pull_plans.unfinished(self._store.folder))

    def begin_due(self) -> None:
        """Begin what is due."""
        now = self._clock()
        for plan in pull_plans.unfinished(self._store.folder):
            watched = plan.watcher is not None and not owners.is_gone(plan.watcher)
            if watched or not pull_plans.is_due(plan, now):
                continue
            with self._lock:
                if plan.run in self._under_way:
                    continue
                self._under_way.add(plan.run)
            self._pool.submit(self._fetch, plan)

    def _fetch(self, plan: PullPlan, *, last: bool = False) -> None:
        """Fetch once; `last`: before the runtime is released, so time counts."""
        try:
            pull_plans.note(self._store.folder, self._fetched(plan, last=last))
        except Exception as error:  # one job must not end the fetches of all
            logs.current().error("KEEPER", f"the fetch for {plan.run} failed", error=error)
        finally:
            with self._lock:
                self._under_way.discard(plan.run)

    def _fetched(self, plan: PullPlan, *, last: bool) -> PullPlan:
        """Fetch once; the plan with what came of it."""
        record = self._store.get(plan.session)
        if record is None:
            return pull_plans.over(plan, self._clock(), "its session was closed")
        if lifecycle.stage(record) == "closing":  # asking for its runtime would take it back
            return pull_plans.over(plan, self._clock(), "its session is being closed")
        try:
            with self._session(record) as session:
                helper = session.connect_helper()
                try:
                    state = helper.show(plan.run)
                    self._copy_output(plan.run, helper, state)
                    finished = state.ended
                finally:
                    helper.close()
                marks = plan.marks if finished else pulling.new_marks(session, plan.pulling, plan.marks)
                if marks is None:
                    return structs.replace(plan, tried=self._clock())
                gently = not (finished or last)
                pulled = pulling.fetch(session, plan.pulling, self._log, pause=self._pause, gently=gently)
        except (errors.LostError, errors.NotFoundError) as error:
            return pull_plans.over(plan, self._clock(), error.message)
        except errors.Error as error:
            return pull_plans.after_fetch(plan, self._clock(), finished=False, problem=error.message)
        problem = next((problem for item in pulled if (problem := _problem(item)) is not None), None)
        if problem != plan.problem and problem is not None:
            logs.current().warn("KEEPER", f"{plan.run}: {problem}")
        if problem is None:
            plan = structs.replace(plan, marks=marks)
        return pull_plans.after_fetch(plan, self._clock(), finished=finished, problem=problem)

    def _copy_output(self, run: str, helper: Helper, state: RunState) -> None:
        """Copy what a job has printed, too, unless `restarts` looks after it and does that."""
        plan = job_plans.read(self._store.folder, run)
        if plan is not None and not plan.kept:
            kept_output.Copy(self._store.folder, plan, plan.last).grow(helper, state)

    def _session(self, record: Record) -> Session:
        backend = registry.load(record.backend, self._settings, self._store.folder)
        return Session(record, self._store, backend, self._log, lambda text: contextlib.nullcontext())

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise errors.FetchBusy("the keeper ends", hint="lecoder-cgpu job wait JOB")

    @staticmethod
    def _log(text: str) -> None:
        logs.current().info("KEEPER", text)

    def before_release(self, session: str) -> None:
        """Fetch what a session's jobs have declared, for a last time; at most `BEFORE_RELEASE` seconds."""
        due = [plan for plan in pull_plans.unfinished(self._store.folder) if plan.session == session]
        threads = [
            threading.Thread(target=self._fetch, args=(plan,), kwargs={"last": True}, daemon=True) for plan in due
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + BEFORE_RELEASE
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def finish(self, deadline: float) -> None:
        """Wait until the fetches that were begun are done, or until a moment of `time.monotonic`."""
        while self._under_way and time.monotonic() < deadline:
            time.sleep(POLL)

    def close(self) -> None:
        """End: fetches under way are waited for; what they have not committed is left out."""
        self._stopping.set()
        self._pool.shutdown(cancel_futures=True)


def _problem(pulled: Pulled) -> str | None:
    """Why a result was not fetched; what is not there is none."""
    if pulled.error is UNSET or pulling.is_only_missing(pulled):
        return None
    assert isinstance(pulled.error, ErrorInfo)
    return f"{pulled.path}: {pulled.error.message}"
