"""`job rehearse`: takes the runtime of a job away, so that a user sees the job go on with its results elsewhere.

A rented runtime is given back to its lender behind the session's back, which looks as if the lender had taken it. On
this machine, where nothing can be taken away, the attempt's processes are killed and its results are moved aside.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from .. import errors
from ..backends.protocol import Leased
from ..files import pulling
from ..guest import trees
from . import job_plans
from .job_steps import Steps
from .jobs import Jobs

if TYPE_CHECKING:
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session
    from .job_plans import JobPlan

LOCK = 60.0  # seconds that a look which is under way may take


def check(manager: SessionManager, plan: JobPlan | None, name: str) -> JobPlan:
    """The job, if its loss can be rehearsed.

    Raises:
        errors.UsageError: it would not be run again, or nothing of it would come back.
    """
    if plan is None or plan.policy.restarts == 0:
        raise errors.UsageError(
            f"{name} is not run again after a loss",
            name="NoRestarts",
            hint="start it so: lecoder-cgpu run --detach --restarts 1 --pull out:results --every 1m COMMAND",
        )
    if plan.state != "running":
        raise errors.UsageError(
            f"{plan.job} has no runtime that could be taken away now", hint=f"lecoder-cgpu job show {plan.job}"
        )
    if plan.pulling is not None and pulling.newest(plan.pulling) == 0:
        raise errors.UsageError(
            f"nothing of {plan.job} has come home yet, so nothing could be put back",
            name="NothingFetched",
            hint="wait for the first fetch (--every), then repeat the same command",
        )
    return plan


def question(manager: SessionManager, plan: JobPlan) -> str:
    """What the user is to agree to."""
    with contextlib.closing(_session(manager, plan)) as session:
        if isinstance(session.backend, Leased):
            return (
                f"This gives {plan.last.endpoint}, the runtime of {plan.job}, back to {session.backend.label}, with "
                "all that is on it; the job then asks for another one, which may cost, and may have to wait for it"
            )
        return f"This kills what {plan.job} runs, and moves its results on this machine aside"


def take_away(manager: SessionManager, plan: JobPlan) -> str:
    """Take the runtime away; returns what was done, in words.

    Raises:
        errors.UsageError: it is a machine that stays, and not this one. errors.Error: it was not taken away.
    """
    with contextlib.closing(_session(manager, plan)) as session:
        if isinstance(session.backend, Leased):
            session.backend.release_endpoint(plan.last.endpoint)
            return f"{plan.last.endpoint} was given back; that it is gone is noticed in about a minute"
        if not session.backend.is_here:
            raise errors.UsageError(
                "the machine of a server that is not rented stays, so its loss cannot be rehearsed",
                hint="rehearse with --backend local, or on the fake Colab: docs/fake-colab.md",
            )
        with job_plans.alone(manager.state_dir, plan.job, LOCK) as ours:
            found = job_plans.read(manager.state_dir, plan.job)
            if not ours or found is None or found.state != "running":
                raise errors.UsageError(f"{plan.job} has ended meanwhile", hint=f"lecoder-cgpu job show {plan.job}")
            aside = _lose_here(session, found)
            job_plans.write(manager.state_dir, Steps(manager).judged(found, "lost", why="a loss was rehearsed"))
    return f"what it ran was killed{''.join(f'; moved aside: {path}' for path in aside)}"


def _session(manager: SessionManager, plan: JobPlan) -> Session:
    record = manager.store.get(plan.session)
    if record is None or record.runtime.endpoint != plan.last.endpoint:
        raise errors.LostError(
            f"the runtime of {plan.job} is gone already", hint=f"what becomes of it: lecoder-cgpu job wait {plan.job}"
        )
    return manager.hold(record)


def _lose_here(session: Session, plan: JobPlan) -> list[str]:
    """Kill an attempt on this machine, and rename its results; returns their new names."""
    with Jobs(session) as jobs:
        jobs.kill(plan.last.run, "SIGKILL", escalate=True)
        cwd = jobs.helper.hello().cwd
    aside = []
    for item in plan.pulling.results if plan.pulling is not None else ():
        parts = (os.path.expanduser(part) for part in (plan.folder or "", item.path))
        path = os.path.normpath(os.path.join(cwd, *parts))
        new = f"{path}.attempt-{len(plan.tries)}"
        if os.path.lexists(path) and not os.path.lexists(new) and not trees.is_inside(cwd, path):
            os.rename(path, new)
            aside.append(new)
    return aside
