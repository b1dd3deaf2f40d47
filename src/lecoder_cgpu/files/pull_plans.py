"""What is to be fetched of jobs that nobody watches: one file for each job in the state folder, for the keeper.

A plan is written when the job is started, and says what came of it. It is kept for a while after the job's end, so
that `job wait` knows where its results belong.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
from msgspec import Struct

from .. import errors
from ..store.session_store import Owner
from ..system import atomic_files, logs
from .pulling import Marks, Pulling

KEPT = 14 * 86400.0  # seconds for which the plan of a job that has ended is kept
RETRIES = 10  # fetches that may fail after a job's end before its plan is given up


class PullPlan(Struct, kw_only=True):
    """What is fetched of one job.

    Attributes:
        watcher: the process that watches the run and fetches by itself; nobody else does while it lives.
        run: the job. session: the id of its session. specs: what was declared, as it was typed.
        tried: when it was last fetched (Unix time), or the job was started. failed: fetches since the job's end.
        ended: nothing more is fetched by itself, and why, where that was not the job's end.
        problem: why the last fetch failed. marks: the files that said when to fetch, at the last fetch.
    """

    run: str
    session: str
    specs: list[str]
    pulling: Pulling
    tried: float
    failed: int = 0
    ended: bool = False
    why: str | None = None
    watcher: Owner | None = None
    problem: str | None = None
    marks: Marks = msgspec.field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether everything has come home that was there when the job had ended."""
        return self.ended and self.why is None and self.problem is None


def is_due(plan: PullPlan, now: float) -> bool:
    """Whether it is time to fetch. A clock that was set back does not stop fetching."""
    return not plan.ended and not 0 <= now - plan.tried < plan.pulling.every


def after_fetch(plan: PullPlan, now: float, *, finished: bool, problem: str | None) -> PullPlan:
    """The plan after a fetch.

    Args:
        finished: whether the job had ended before the fetch began. problem: why a result was not fetched, if so.
    """
    failed = plan.failed + 1 if finished and problem is not None else plan.failed
    ended = finished and (problem is None or failed >= RETRIES)
    return msgspec.structs.replace(plan, tried=now, problem=problem, failed=failed, ended=ended)


def over(plan: PullPlan, now: float, why: str) -> PullPlan:
    """The plan of a job that cannot be fetched any more."""
    return msgspec.structs.replace(plan, tried=now, ended=True, why=why)


# --- on disk ---


def folder(state_dir: Path) -> Path:
    """Where plans lie."""
    return state_dir / "pulls"


def write(state_dir: Path, plan: PullPlan) -> None:
    """Keep a plan.

    Raises:
        errors.ConfigError: it cannot be written.
    """
    atomic_files.ensure_dir(folder(state_dir))
    atomic_files.write_atomic(folder(state_dir) / f"{plan.run}.json", msgspec.json.encode(plan))


def find(state_dir: Path, run: str) -> PullPlan | None:
    """The plan of a job."""
    return _read(folder(state_dir) / f"{run}.json") if "/" not in run else None


def plans(state_dir: Path) -> list[PullPlan]:
    """All plans, oldest first."""
    found = [_read(path) for path in folder(state_dir).glob("*.json")] if folder(state_dir).is_dir() else []
    return sorted((plan for plan in found if plan is not None), key=lambda plan: plan.tried)


def unfinished(state_dir: Path) -> list[PullPlan]:
    """The plans by which something is still fetched."""
    return [plan for plan in plans(state_dir) if not plan.ended]


def tidy(state_dir: Path, now: float) -> None:
    """Forget plans whose jobs ended long ago."""
    for plan in plans(state_dir):
        if plan.ended and now - plan.tried > KEPT:
            (folder(state_dir) / f"{plan.run}.json").unlink(missing_ok=True)


def _read(path: Path) -> PullPlan | None:
    try:
        return atomic_files.decode(path.read_bytes(), PullPlan)
    except FileNotFoundError:
        return None
    except (OSError, atomic_files.Damaged) as error:
        logs.current().warn("FILES", f"{path} cannot be read: {error}")
        return None


def remove(state_dir: Path, run: str) -> None:
    """Forget a plan."""
    with contextlib.suppress(OSError):
        (folder(state_dir) / f"{run}.json").unlink(missing_ok=True)


def note(state_dir: Path, plan: PullPlan) -> None:
    """Keep a plan; that this fails is only logged."""
    with contextlib.suppress(errors.ConfigError):
        write(state_dir, plan)
