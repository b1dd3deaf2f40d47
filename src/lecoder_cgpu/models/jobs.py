"""The documents of `run --detach` and `job`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import ErrorInfo, Held, Optional, SessionRef
from .runs import Attempt, Hook, JobKind, JobState, ProcessRef, Pulled, Pushed, Release, Stopped, Truncated
from .sessions import SessionAdded
from .status import Gpu


class Progress(Struct, kw_only=True):
    """The last line that a job printed, and the last percentage in it or in the lines right before it."""

    stream: Literal["stdout", "stderr"]
    line: str
    percent: float | Optional = UNSET


class JobUsage(Struct, kw_only=True):
    """What a running job used when its supervisor last looked (at `at`, by the runtime's clock); it looks every 5 s.

    `cpuPercent` is of one processor. For code in a kernel, the figures are the whole kernel's. `gpuMemoryBytes` is
    present if the driver tells which process holds memory; containers often hide that.
    """

    processes: int | Optional = UNSET
    cpu_seconds: float | Optional = field(name="cpuSeconds", default=UNSET)
    cpu_percent: float | Optional = field(name="cpuPercent", default=UNSET)
    rss_bytes: int | Optional = field(name="rssBytes", default=UNSET)
    gpu_memory_bytes: int | Optional = field(name="gpuMemoryBytes", default=UNSET)


class Job(Struct, kw_only=True):
    """A run as the runtime knows it. `state`: starting, queued (code that waits for its kernel), running, exited, or
    unknown with the `reason`. A job that may be run again (`--restarts`, `--retries`) is also `restarting` (its next
    attempt begins at `restartsAt`), `waiting` (for what the `reason` says) or `lost` (with its runtime, for good). All
    that is said of such a job is about the attempt with the number `attempt`.

    `exitCode` is the exit status of `job wait`, absent until we know that the job has ended; sizes are in bytes.
    `command` of a kernel run is the beginning of its code. `heartbeat` is when the runtime last looked at a running
    job. `remaining` names the processes that live on after the command itself has ended: while the job is `running`,
    they are being ended; later, they are what it left in the background, or what could not be ended.
    `name` is what `--name` or `--key` called it, `detached` whether it was started to run without a client. In a list
    of several sessions, `session` is the name of its own, and `account` whose runtime that is, or `unknown`, where
    runtimes belong to an account.
    """

    id: str
    name: str | Optional = UNSET
    session: str | Optional = UNSET
    account: str | Optional = UNSET
    state: JobState
    kind: JobKind
    detached: bool | Optional = UNSET
    command: str | list[str] | Optional = UNSET
    cwd: str | Optional = UNSET
    created: str | Optional = UNSET
    started: str | Optional = UNSET
    ended: str | Optional = UNSET
    seconds: float | Optional = UNSET
    exit_code: int | Optional = field(name="exitCode", default=UNSET)
    signal: str | Optional = UNSET
    timed_out: bool | Optional = field(name="timedOut", default=UNSET)
    pid: int | Optional = UNSET
    alive: bool | Optional = UNSET
    reason: str | Optional = UNSET
    attempt: int | Optional = UNSET
    restarts_at: str | Optional = field(name="restartsAt", default=UNSET)
    stopped: Stopped | Optional = UNSET
    remaining: list[ProcessRef] | Optional = UNSET
    heartbeat: str | Optional = UNSET
    progress: Progress | Optional = UNSET
    usage: JobUsage | Optional = UNSET
    stdout_bytes: int = field(name="stdoutBytes", default=0)
    stderr_bytes: int = field(name="stderrBytes", default=0)
    output_complete: bool = field(name="outputComplete", default=True)
    bytes_dropped: int | Optional = field(name="bytesDropped", default=UNSET)


class JobStarted(Struct, kw_only=True):
    """`run --detach`: the job that was started; `next` is the command that waits for it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    job_id: str = field(name="jobId")
    job: Job
    session: SessionRef
    next: str
    held: list[Held] | Optional = UNSET


class JobDocument(Struct, kw_only=True):
    """`job show`, `job kill` and `job wait`. `exitCode` is our own exit status: 124 when the job still runs, or when
    `job kill --escalate` could not end all of it.

    `gpus` are those of the machine, while the job runs. `job wait` carries the output: `stdout` and `stderr` from the
    offsets of `--from` on, as a terminal would show them, with head and tail when they are long (`truncated` has the
    sizes and the command that prints all); `lastLine` is the last line printed so far. The next look goes on at
    `nextOffset` (stdout) and `stderrNextOffset`. `next` is the command to go on with while the job runs.
    `attempts` tells of each attempt of a job that may be run again.
    `job kill` tells whether a signal was `sent`, and the `signals`; where the job itself had ended before, `signalled`
    are the processes that it had left, which got them.
    """

    status: Literal["ok", "error", "running", "unknown"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    job: Job
    session: SessionRef
    error: ErrorInfo | Optional = UNSET
    sent: bool | Optional = UNSET
    signals: list[str] | Optional = UNSET
    signalled: list[ProcessRef] | Optional = UNSET
    gpus: list[Gpu] | Optional = UNSET
    stdout: str | Optional = UNSET
    stderr: str | Optional = UNSET
    last_line: str | Optional = field(name="lastLine", default=UNSET)
    next_offset: int | Optional = field(name="nextOffset", default=UNSET)
    stderr_next_offset: int | Optional = field(name="stderrNextOffset", default=UNSET)
    truncated: Truncated | Optional = UNSET
    next: str | Optional = UNSET
    interrupted: bool | Optional = UNSET
    hook: Hook | Optional = UNSET
    release: Release | Optional = UNSET
    pulled: list[Pulled] | Optional = UNSET
    pushed: list[Pushed] | Optional = UNSET
    attempts: list[Attempt] | Optional = UNSET
    held: list[Held] | Optional = UNSET


class JobDocuments(Struct, kw_only=True):
    """`job wait` and `job kill` of several jobs, or with `--all`: a document for each, in the order in which they were
    named; `--all` takes the oldest first.

    `exitCode` is our own exit status: 124 if one still runs, else that of the first that failed.
    """

    status: Literal["ok", "error", "running", "unknown"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    error: ErrorInfo | Optional = UNSET
    jobs: list[JobDocument]
    held: list[Held] | Optional = UNSET


class Unasked(Struct, kw_only=True):
    """A runtime whose jobs are not in a list: its `session`, or its `endpoint` if no session here holds it, and why.
    `account`: see `Job`."""

    session: str | Optional = UNSET
    endpoint: str | Optional = UNSET
    account: str | Optional = UNSET
    error: ErrorInfo


class JobList(Struct, kw_only=True):
    """`job list`, newest first. With `--all-sessions` it has no `session`: each job names its own. What could not be
    asked is then in `unasked`, so that a list without it is whole."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    jobs: list[Job]
    session: SessionRef | Optional = UNSET
    unasked: list[Unasked] | Optional = UNSET
    held: list[Held] | Optional = UNSET


class JobLogs(Struct, kw_only=True):
    """`job logs`: a stream from `offset` on; the next call continues at `nextOffset`.

    `copied` is there if the runtime is gone, and these are bytes that were copied here while the job ran;
    `outputComplete` then tells whether they are known to be all.
    """

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    job: Job
    session: SessionRef
    stream: Literal["stdout", "stderr"]
    offset: int
    next_offset: int = field(name="nextOffset")
    text: str
    base64: str | Optional = UNSET
    copied: Literal[True] | Optional = UNSET
    output_complete: bool | Optional = field(name="outputComplete", default=UNSET)
    held: list[Held] | Optional = UNSET


class JobProgress(Struct, kw_only=True):
    """The tool `job_wait`: the state of a job, and what it wrote from the offsets of the call on.

    `status`, `errorCode`, `exitCode` and `error` are those of `job wait`. `stdoutOffset` and `stderrOffset` are for the
    next call; `…Left` counts the bytes that are there for it already.
    """

    status: Literal["ok", "error", "running", "unknown"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    error: ErrorInfo | Optional = UNSET
    job: Job
    session: SessionRef
    stdout: str = ""
    stderr: str = ""
    stdout_offset: int = field(name="stdoutOffset", default=0)
    stderr_offset: int = field(name="stderrOffset", default=0)
    stdout_left: int | Optional = field(name="stdoutLeft", default=UNSET)
    stderr_left: int | Optional = field(name="stderrLeft", default=UNSET)


class SessionAdopted(SessionAdded, kw_only=True):
    """`sessions adopt`: the session, and the newest jobs on its runtime; they are absent if it could not be asked
    (`notice`)."""

    jobs: list[Job] | Optional = UNSET
    notice: str | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "run-detached": JobStarted,
    "job-list": JobList,
    "job": JobDocument,
    "jobs": JobDocuments,
    "job-logs": JobLogs,
    "job-progress": JobProgress,
    "sessions-adopt": SessionAdopted,
}
