"""Jobs that are run again: what each was started with and what became of its attempts, in the state folder.

One file for each job, `jobs/JOB.json`, and beside it a folder with the files that were sent for the first attempt. The
names of the next attempt derive from the job and the attempt's number: the id of its run, and the key under which its
runtime is asked for. So two machines, two keepers, or one that was killed, get one runtime and start one process.

A job is in one of these states::

    running ──its end, or a loss──> pausing ──due──> running        (another attempt)
       │                               │ └──a secret is missing──> waiting ──job retry──> pausing
       └──────no other attempt─────> ended <──job kill──┘
    ended ──job retry──> pausing

`job_steps` does what is due.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from .. import errors
from ..files.pulling import Pulling
from ..models.base import ErrorInfo
from ..store.leases import Limits
from ..system import atomic_files, logs, redaction
from . import job_names
from .attempts import Cause, Past, Policy
from .losses import Spent

KEPT = 14 * 86400.0  # seconds for which the plan of a job that has ended is kept
NAMESPACE = uuid.UUID("6f0c7a52-9d0e-5d2b-8f5a-3f7f0b8f4c11")  # of the keys of attempts; it never changes

State = Literal["running", "pausing", "waiting", "ended"]


class Try(Struct, kw_only=True):
    """One attempt.

    Attributes:
        run: the id of its run. session, name: the id and the name of its session. endpoint: its runtime, as the lender
            calls it. began: when it was started, seen: when it was last seen unfinished, over: when its end was
            learned (Unix times). before: how many generations there were when it began.
        ran: seconds that the program itself has run. units: that its runtime has cost. put_back: whether results were.
    """

    run: str
    session: str
    name: str
    endpoint: str = ""
    accelerator: str | None = None
    began: float
    seen: float
    over: float | None = None
    before: int = 0
    cause: Cause | None = None
    ran: float = 0.0
    fresh: bool = False
    exit_code: int | None = None
    error: ErrorInfo | None = None
    units: float = 0.0
    put_back: bool = False
    memory: float = 0.0  # how much of the runtime's memory was in use when it was last seen, from 0 to 1
    output: tuple[int, int] = (0, 0)  # bytes of stdout and stderr that it had printed when it was last seen
    warned: bool = False  # its stop file was made

    @property
    def past(self) -> Past:
        """The same for `attempts.decide`, once it is over."""
        assert self.cause is not None
        error = self.error.name if self.error is not None else ""
        return Past(cause=self.cause, ran=self.ran, fresh=self.fresh, exit_code=self.exit_code or 0, error=error)


class Work(Struct, kw_only=True):
    """What every attempt of a job is started with.

    Attributes:
        command: what is executed; typed: as it was typed. sync: the folder there that the kept files are sent to, None
            if none were sent; source: the folder here that they came from. script: the name of one that was sent alone.
        packages: to be installed before. cwd: as it was typed. secrets: the names of variables that are stored nowhere;
            where their values stand in the words above, see `stored_work`. withheld: files here that are never sent.
        stores_secrets: their values are kept apart until the job ends, see `keep_secrets`. push, push_every: see
            `Launch`.
    """

    command: str | list[str]
    typed: str | list[str] = ""
    sync: str | None = None
    source: str | None = None
    script: str | None = None
    packages: list[str] = field(default_factory=list)
    cwd: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    stores_secrets: bool = False
    push: list[tuple[str, str]] = field(default_factory=list)
    push_every: float | None = None
    withheld: list[str] = field(default_factory=list)
    timeout: float | None = None
    idle_timeout: float | None = None


class JobPlan(Struct, kw_only=True):
    """One job, and its attempts.

    Attributes:
        job: its id, which is that of the first attempt's run, too. folder: on the runtime, where the command runs.
        limits: over all attempts; spent: by the runtimes that were lost. pulling: what is fetched, specs: as typed.
        due: when the next attempt begins (Unix time). elsewhere: it needs another runtime. why: why it is not run
            again, or what it waits for. refused: starts that failed in a row, since when. outcome: the exit status
            that is ours to say, where the last attempt has none. understood: the user has agreed to restarts on a free
            account. changed: the Unix time of the last change.
    """

    job: str
    name: str | None = None
    work: Work
    folder: str | None = None
    policy: Policy = Policy()
    limits: Limits = Limits()
    pulling: Pulling | None = None
    specs: list[str] = field(default_factory=list)
    tries: list[Try]
    state: State = "running"
    due: float | None = None
    elsewhere: bool = False
    why: str | None = None
    spent: Spent = Spent()
    refused: int = 0
    refused_since: float | None = None
    outcome: int | None = None
    understood: bool = False
    changed: float = 0.0

    @property
    def last(self) -> Try:
        return self.tries[-1]

    @property
    def session(self) -> str:
        """The id of its session."""
        return self.last.session

    def run_called(self, text: str, number: int | None = None) -> str:
        """The run that is meant: that of an attempt, by its own id or number, else that of the last one.

        Raises:
            errors.UsageError: there was no such attempt.
        """
        if number is not None:
            if not 1 <= number <= len(self.tries):
                had = "one attempt" if len(self.tries) == 1 else f"{len(self.tries)} attempts"
                raise errors.UsageError(
                    f"{self.job} has had {had}, and no attempt {number}",
                    name="NoSuchAttempt",
                    hint=f"lecoder-cgpu job show {self.job}",
                )
            return self.tries[number - 1].run
        return text if any(item.run == text for item in self.tries[1:]) else self.last.run

    @property
    def kept(self) -> bool:
        """Whether it is looked after: it may be run again by itself."""
        return bool(self.policy) or len(self.tries) > 1 or self.state in ("pausing", "waiting")


def run_id(job: str, number: int) -> str:
    """The id of an attempt's run; attempts count from 1."""
    return job if number == 1 else "run-" + sha256(f"attempt {number} of {job}".encode()).hexdigest()[:16]


def staging(state_dir: Path, run: str) -> str:
    """What the names begin with under which this machine sends files for an attempt: another one has other names."""
    import socket

    return sha256(f"{socket.gethostname()} {state_dir} {run}".encode()).hexdigest()[:12]


def runtime_key(job: str, number: int) -> str:
    """The key under which the runtime of an attempt is asked for."""
    return str(uuid.uuid5(NAMESPACE, f"{job}/{number}"))


# --- on disk ---


def folder(state_dir: Path) -> Path:
    """Where plans lie."""
    return state_dir / "jobs"


def files(state_dir: Path, job: str) -> Path:
    """Where the files lie that a job was sent with: `code/NAME`, `script/NAME`."""
    return folder(state_dir) / job


def write(state_dir: Path, plan: JobPlan) -> None:
    """Keep a plan. Of a job that has ended, stored secrets are deleted.

    Raises:
        errors.ConfigError: it cannot be written.
    """
    if plan.state == "ended":
        _secrets_file(state_dir, plan.job).unlink(missing_ok=True)
    atomic_files.write_atomic(folder(state_dir) / f"{plan.job}.json", atomic_files.encode(plan))


def keep_secrets(state_dir: Path, job: str, secrets: Mapping[str, str]) -> None:
    """Keep values by name (0600), until the job ends: the user wants that (`--store-secrets`).

    Raises:
        errors.ConfigError: they cannot be written.
    """
    atomic_files.write_atomic(_secrets_file(state_dir, job), atomic_files.encode(dict(secrets)))


def stored_secrets(state_dir: Path, job: str) -> dict[str, str]:
    """What `keep_secrets` has kept; nothing where it cannot be read."""
    try:
        found = atomic_files.decode(_secrets_file(state_dir, job).read_bytes(), dict[str, str])
    except (OSError, atomic_files.Damaged):
        return {}
    redaction.protect(*found.values(), called_secret=True)
    return found


def _secrets_file(state_dir: Path, job: str) -> Path:
    return folder(state_dir) / f"{job}.secrets"


def read(state_dir: Path, job: str) -> JobPlan | None:
    """The plan of a job, by its whole id."""
    return _read(folder(state_dir) / f"{job}.json") if job_names.is_id(job) else None


def plans(state_dir: Path) -> list[JobPlan]:
    """All plans, the one that changed last first."""
    found = [_read(path) for path in folder(state_dir).glob("run-*.json")] if folder(state_dir).is_dir() else []
    return sorted((plan for plan in found if plan is not None), key=lambda plan: plan.changed, reverse=True)


def find(state_dir: Path, text: str) -> JobPlan | None:
    """The job that looks after itself and is called that: its id or a beginning, that of an attempt, a name or key."""
    exact = read(state_dir, text)
    if exact is not None or not text.strip() or not folder(state_dir).is_dir():
        return exact if exact is not None and exact.kept else None
    prefix = text if text.startswith("run-") else f"run-{text}"
    known = [plan for plan in plans(state_dir) if plan.kept]
    for plan in sorted(known, key=lambda plan: plan.tries[0].began, reverse=True):
        if plan.name == text or any(item.run == text for item in plan.tries):
            return plan
    found = [plan for plan in known if plan.job.startswith((prefix, job_names.key_id(text)))]
    return found[0] if len(found) == 1 else None


def plain(state_dir: Path, text: str) -> JobPlan | None:
    """The job of that id, beginning of one, or name that never is run again by itself."""
    prefix = text if text.startswith("run-") else f"run-{text}"
    known = sorted(plans(state_dir), key=lambda plan: plan.tries[0].began, reverse=True)
    named = next((plan for plan in known if plan.name == text), None)
    found = [plan for plan in known if plan.job.startswith((prefix, job_names.key_id(text)))]
    return named or (found[0] if len(found) == 1 and text.strip() else None)


def unfinished(state_dir: Path) -> list[JobPlan]:
    """The plans that somebody has to look after."""
    return [plan for plan in plans(state_dir) if plan.kept and plan.state in ("running", "pausing")]


def stop(state_dir: Path, job: str) -> None:
    """Let nobody begin another attempt. It counts at once, also for who is about to begin one.

    Raises:
        errors.ConfigError: it cannot be written down.
    """
    atomic_files.write_atomic(_stop_mark(state_dir, job), b"")


def is_stopped(state_dir: Path, job: str) -> bool:
    """Whether the user has ended a job."""
    return _stop_mark(state_dir, job).exists()


def go_on(state_dir: Path, job: str) -> None:
    """Allow other attempts again."""
    _stop_mark(state_dir, job).unlink(missing_ok=True)


def _stop_mark(state_dir: Path, job: str) -> Path:
    return folder(state_dir) / f"{job}.stopped"


@contextlib.contextmanager
def alone(state_dir: Path, job: str, wait: float = 0.0) -> Iterator[bool]:
    """One process at a time changes a job; gives whether that is this one now."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(atomic_files.lock(folder(state_dir) / f"{job}.json", wait=wait))
        except errors.LockHeld:
            yield False
            return
        yield True


def tidy(state_dir: Path, now: float) -> None:
    """Forget jobs that ended long ago, and files of jobs that were never started."""
    known = {plan.job: plan for plan in plans(state_dir)}
    for plan in known.values():
        if not (plan.kept and plan.state != "ended") and now - plan.changed > KEPT:
            remove(state_dir, plan.job)


def remove(state_dir: Path, job: str) -> None:
    """Forget a job."""
    shutil.rmtree(files(state_dir, job), ignore_errors=True)
    for name in (f"{job}.json", f"{job}.stopped", f"{job}.secrets", f"{job}.json.lock"):
        with contextlib.suppress(OSError):
            (folder(state_dir) / name).unlink(missing_ok=True)


def of_session(state_dir: Path, session: str) -> Sequence[JobPlan]:
    """The jobs of a session that look after themselves."""
    return [plan for plan in plans(state_dir) if plan.kept and plan.session == session]


def _read(path: Path) -> JobPlan | None:
    try:
        return atomic_files.decode(path.read_bytes(), JobPlan)
    except FileNotFoundError:
        return None
    except (OSError, atomic_files.Damaged) as error:
        logs.current().warn("RUN", f"{path} cannot be read: {error}")
        return None
