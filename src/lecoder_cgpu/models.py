"""Every document that we print, store or accept. Their JSON Schemas in `schemas/` are made from these classes.

Field names follow the reference page where it has them (`errorCode`, `display_data`, `duration_ms`); fields that we
add are camelCase. An optional field that does not apply is absent, never null, unless its docstring says otherwise.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from .errors import EXIT_STOPPED_WAITING, Error

Optional = UnsetType  # `str | Optional` reads as "may be absent"


def now() -> str:
    """The present moment as the predecessor writes it: UTC, milliseconds, `Z`."""
    return timestamp(datetime.now(UTC))


def timestamp_ns(nanoseconds: int) -> str:
    """A file's time; one that no calendar has is given as 1970."""
    try:
        return timestamp(datetime.fromtimestamp(nanoseconds / 1e9, UTC))
    except (OverflowError, ValueError, OSError):
        return timestamp(datetime.fromtimestamp(0, UTC))


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class ErrorInfo(Struct, kw_only=True):
    """What went wrong, in every document that reports a failure."""

    name: str
    message: str
    category: str
    description: str
    retryable: bool = False
    traceback: list[str] | Optional = UNSET
    suggestion: str | Optional = UNSET

    @classmethod
    def of(cls, error: Error) -> ErrorInfo:
        """What documents say about an error of ours."""
        return cls(
            name=error.name,
            message=error.message,
            category=error.category,
            description=error.description,
            retryable=error.retryable,
            suggestion=error.hint or UNSET,
        )


class Failure(Struct, kw_only=True):
    """The document of a command that failed before it had an answer of its own."""

    status: Literal["error"] = "error"
    error_code: int = field(name="errorCode")
    exit_code: int = field(name="exitCode")
    error: ErrorInfo
    notice: str | Optional = UNSET


class Done(Struct, kw_only=True):
    """The document of a command whose answer is only that it was done."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    message: str | Optional = UNSET


# --- runs ---------------------------------------------------------------------------------------------------------


class Timing(Struct):
    """When a run was sent and when it was finished, as seen by the client; `duration_ms` in milliseconds."""

    started: str
    completed: str
    duration_ms: int


class DisplayData(Struct, kw_only=True):
    """One rich output: a MIME bundle. Binary formats are base64 strings, as Jupyter has them.

    `omitted` names the formats that `data` lacks, with their sizes in bytes: binary ones unless `--inline` asked for
    them, and all when the output would have exceeded `--max-output`.
    """

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    omitted: dict[str, int] | Optional = UNSET


class OutputFile(Struct, kw_only=True):
    """One file written by `--outputs DIR`; `path` is relative to that folder, `size` in bytes."""

    path: str
    mime: str
    size: int
    output: int


class Manifest(Struct, kw_only=True):
    """`manifest.json` of `--outputs DIR`."""

    version: int = 1
    created: str
    files: list[OutputFile]


class SessionRef(Struct, kw_only=True):
    """Which session a command used."""

    id: str
    name: str
    backend: str


class Truncated(Struct, kw_only=True):
    """What a run's document left out to stay within `--max-output`.

    The sizes are those of the whole streams, of those that were cut; `displays` counts the rich outputs that were left
    out. `get` is the command that prints everything, where the runtime still has it.
    """

    stdout_bytes: int | Optional = field(name="stdoutBytes", default=UNSET)
    stderr_bytes: int | Optional = field(name="stderrBytes", default=UNSET)
    displays: int | Optional = UNSET
    get: str | Optional = UNSET

    def __bool__(self) -> bool:
        return not (self.stdout_bytes is self.stderr_bytes is self.displays is UNSET)


class Stopped(Struct, kw_only=True):
    """What was done to end the work before its time.

    `by`: `timeout`, `idle-timeout`, `interrupt` (its client was interrupted), `no-input` (it asked for input and there
    was none), `kill` (`job kill`), `lease` (the runtime's lease ended). `steps`, in order: names of signals, and for
    code in a kernel also `interrupt`, `kernel restart` and `kernel killed`.
    """

    by: str
    steps: list[str]


class Hook(Struct, kw_only=True):
    """The command of `--on-finish`: `exitCode` is null when it could not be started or was interrupted (`problem`)."""

    command: str
    exit_code: int | None = field(name="exitCode", default=None)
    problem: str | Optional = UNSET


class Pulled(Struct, kw_only=True):
    """One result that `--pull` fetched, or the `error` that kept it."""

    path: str
    local: str
    files: int = 0
    bytes: int = 0
    error: ErrorInfo | Optional = UNSET


class Release(Struct, kw_only=True):
    """What `--release` did with the runtime: `released` as `sessions close` has it, or null and the `reason` why it was
    kept."""

    released: str | None = None
    reason: str | Optional = UNSET


class Run(Struct, kw_only=True):
    """The document of `run`, in both modes.

    `status` is `abort` when the server dropped the request without running it, `unknown` when we lost sight of it, and
    `running` when we were told to stop watching and it goes on.
    `execution_count` is null where there is none. `outputComplete` is false when output is known to be missing;
    `outputBytes` is what the program wrote to both streams. `truncated` is there when this document shows less.
    `autoInstalled` names what --auto-install has installed, and then this is the second run.
    """

    status: Literal["ok", "error", "abort", "unknown", "running"]
    error_code: int = field(name="errorCode")
    stdout: str = ""
    stderr: str | Optional = UNSET
    display_data: list[DisplayData] | Optional = UNSET
    error: ErrorInfo | Optional = UNSET
    timing: Timing | Optional = UNSET
    execution_count: int | None = None
    exit_code: int = field(name="exitCode")
    mode: Literal["kernel", "terminal"]
    session: SessionRef | Optional = UNSET
    run_id: str | Optional = field(name="runId", default=UNSET)
    signal: str | Optional = UNSET
    timed_out: bool | Optional = field(name="timedOut", default=UNSET)
    interrupted: bool | Optional = UNSET
    stopped: Stopped | Optional = UNSET
    max_rss_bytes: int | Optional = field(name="maxRssBytes", default=UNSET)
    output_complete: bool = field(name="outputComplete", default=True)
    output_bytes: int = field(name="outputBytes", default=0)
    bytes_dropped: int | Optional = field(name="bytesDropped", default=UNSET)
    truncated: Truncated | Optional = UNSET
    stdout_base64: str | Optional = field(name="stdoutBase64", default=UNSET)
    stderr_base64: str | Optional = field(name="stderrBase64", default=UNSET)
    outputs: list[OutputFile] | Optional = UNSET
    auto_installed: list[str] | Optional = field(name="autoInstalled", default=UNSET)
    hook: Hook | Optional = UNSET
    release: Release | Optional = UNSET
    synced: Synced | Optional = UNSET
    pulled: list[Pulled] | Optional = UNSET
    notice: str | Optional = UNSET

    def fail(self, error: Error, status: Literal["error", "abort", "unknown"] = "error") -> None:
        """Report `error` as the outcome of the run."""
        self.status = status
        self.error_code = error.code
        self.exit_code = error.exit_status
        self.error = ErrorInfo.of(error)

    def leave(self, interrupted: int | None) -> None:
        """Report that the work goes on without us: our time was up, or a signal (its exit status) told us to go."""
        self.status = "running"
        self.exit_code = interrupted or EXIT_STOPPED_WAITING
        if interrupted is not None:
            self.interrupted = True

    @classmethod
    def not_started(cls, error: Error, mode: Literal["kernel", "terminal"]) -> Run:
        """The document of a run of which nothing was sent."""
        document = cls(status="error", error_code=0, exit_code=0, mode=mode)
        document.fail(error)
        return document


class StreamEvent(Struct, kw_only=True, tag_field="type", tag="stream"):
    """`--events`: text that the program wrote; `base64` instead of `text` where the bytes are not UTF-8.

    `offset` is where it begins in that stream, in bytes (of UTF-8), and `nextOffset` where the next event goes on:
    `run --attach RUN_ID --from NAME=OFFSET` resumes there.
    """

    name: Literal["stdout", "stderr"]
    offset: int
    next_offset: int = field(name="nextOffset")
    text: str | Optional = UNSET
    base64: str | Optional = UNSET


class DisplayEvent(Struct, kw_only=True, tag_field="type", tag="display"):
    """`--events`: a rich output, or with `update` the new content of an earlier one with the same `displayId`."""

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    display_id: str | None = field(name="displayId", default=None)
    update: bool = False
    omitted: dict[str, int] | Optional = UNSET


class ClearEvent(Struct, kw_only=True, tag_field="type", tag="clear"):
    """`--events`: the code cleared its output so far; with `wait`, when the next output comes."""

    wait: bool


class NoticeEvent(Struct, kw_only=True, tag_field="type", tag="notice"):
    """`--events`: something the user should know."""

    text: str


class HeartbeatEvent(Struct, kw_only=True, tag_field="type", tag="heartbeat"):
    """`--events`: this command still watches the run. It comes every 20 seconds (`--heartbeat`), whatever else does.
    The offsets are what was printed of each stream so far, and `silentSeconds` is how long ago that was."""

    at: str
    elapsed_seconds: float = field(name="elapsedSeconds")
    silent_seconds: float = field(name="silentSeconds")
    stdout_offset: int = field(name="stdoutOffset")
    stderr_offset: int = field(name="stderrOffset")


RunEvent = StreamEvent | DisplayEvent | ClearEvent | NoticeEvent | HeartbeatEvent


class Progress(Struct, kw_only=True):
    """The last line that a job printed, and the last percentage that it printed there or in the lines right before."""

    stream: Literal["stdout", "stderr"]
    line: str
    percent: float | Optional = UNSET


class JobUsage(Struct, kw_only=True):
    """What a running job used when its supervisor looked last (`at`, on the runtime's clock), every five seconds.

    `cpuPercent` is of one processor. For code in a kernel, the figures are the whole kernel's. `gpuMemoryBytes` is
    there where the driver tells which process holds memory; containers often hide that.
    """

    processes: int | Optional = UNSET
    cpu_seconds: float | Optional = field(name="cpuSeconds", default=UNSET)
    cpu_percent: float | Optional = field(name="cpuPercent", default=UNSET)
    rss_bytes: int | Optional = field(name="rssBytes", default=UNSET)
    gpu_memory_bytes: int | Optional = field(name="gpuMemoryBytes", default=UNSET)


class Job(Struct, kw_only=True):
    """A run as the runtime keeps it. `state`: starting, queued (code that waits for its kernel), running, exited, or
    unknown with the `reason`.

    `exitCode` is the status that `job wait` ends with, absent while the job is not known to have ended; sizes in bytes.
    `command` of a kernel run is the beginning of its code. `heartbeat` is when the runtime last looked at a job that
    runs.
    """

    id: str
    state: str
    kind: str
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
    stopped: Stopped | Optional = UNSET
    heartbeat: str | Optional = UNSET
    progress: Progress | Optional = UNSET
    usage: JobUsage | Optional = UNSET
    stdout_bytes: int = field(name="stdoutBytes", default=0)
    stderr_bytes: int = field(name="stderrBytes", default=0)
    output_complete: bool = field(name="outputComplete", default=True)
    bytes_dropped: int | Optional = field(name="bytesDropped", default=UNSET)


class JobStarted(Struct, kw_only=True):
    """`run --detach`: the job goes on without us; `next` is the command that waits for it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    job_id: str = field(name="jobId")
    job: Job
    session: SessionRef
    next: str


class JobDocument(Struct, kw_only=True):
    """`job show`, `job kill` and `job wait`. `exitCode` is our own exit status: 124 when the job still runs.

    `gpus` are those of the machine, while the job runs.
    """

    status: Literal["ok", "error", "running", "unknown"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    job: Job
    session: SessionRef
    error: ErrorInfo | Optional = UNSET
    sent: bool | Optional = UNSET
    gpus: list[Gpu] | Optional = UNSET
    interrupted: bool | Optional = UNSET
    hook: Hook | Optional = UNSET
    release: Release | Optional = UNSET
    pulled: list[Pulled] | Optional = UNSET


class JobList(Struct, kw_only=True):
    """`job list`, newest first."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    jobs: list[Job]
    session: SessionRef


class JobLogs(Struct, kw_only=True):
    """`job logs`: a stream from `offset` on; `nextOffset` is where the next call goes on."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    job: Job
    session: SessionRef
    stream: Literal["stdout", "stderr"]
    offset: int
    next_offset: int = field(name="nextOffset")
    text: str
    base64: str | Optional = UNSET


class JobProgress(Struct, kw_only=True):
    """The tool `job_wait`: how a job stands, and what it wrote since the offsets of the last call.

    `stdoutOffset` and `stderrOffset` are for the next call; `…Skipped` counts bytes that were too many to be shown.
    """

    job: Job
    session: SessionRef
    stdout: str = ""
    stderr: str = ""
    stdout_offset: int = field(name="stdoutOffset", default=0)
    stderr_offset: int = field(name="stderrOffset", default=0)
    stdout_skipped: int | Optional = field(name="stdoutSkipped", default=UNSET)
    stderr_skipped: int | Optional = field(name="stderrSkipped", default=UNSET)


# --- files --------------------------------------------------------------------------------------------------------


class Skipped(Struct, kw_only=True):
    """Something that was not copied, and why."""

    path: str
    reason: str


class TransferItem(Struct, kw_only=True):
    """One source of a transfer and where it went. `sha256` of a folder is that of what `sha256sum` prints for its
    files, sorted by name."""

    source: str
    target: str
    files: int
    bytes: int
    sha256: str


class Transfer(Struct, kw_only=True):
    """`upload`, `download` and `copy`. `verified` is false where the runtime's side could not be hashed."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    action: Literal["upload", "download"]
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    sha256: str | Optional = UNSET
    verified: bool = True
    items: list[TransferItem] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    session: SessionRef
    notice: str | Optional = UNSET


class SyncChange(Struct, kw_only=True):
    """One thing that a sync did, or would do."""

    action: Literal["send", "delete"]
    path: str
    size: int | Optional = UNSET


class Synced(Struct, kw_only=True):
    """`sync`: how many files were sent (with their bytes), deleted, and found as they should be. With `--watch`, the
    numbers are those of all `rounds`, and `changes` those of the last one that had any."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    local: str
    remote: str
    sent: int
    bytes: int
    deleted: int
    unchanged: int
    seconds: float
    changes: list[SyncChange] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    dry_run: bool = field(name="dryRun", default=False)
    rounds: int | Optional = UNSET
    session: SessionRef
    notice: str | Optional = UNSET


class FileEntry(Struct, kw_only=True):
    """One line of `ls`: `kind` is file, folder, link (with its `target`) or special; `mode` in octal digits."""

    name: str
    kind: str
    size: int
    modified: str | Optional = UNSET
    mode: str | Optional = UNSET
    target: str | Optional = UNSET


class FileList(Struct, kw_only=True):
    """`ls`: what there is at `path` on the runtime."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str
    entries: list[FileEntry]
    session: SessionRef
    notice: str | Optional = UNSET


class FileContent(Struct, kw_only=True):
    """`cat` of one file: its content as text, and as base64 where it is not UTF-8."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str
    size: int
    text: str
    base64: str | Optional = UNSET
    session: SessionRef
    notice: str | Optional = UNSET


class FilesRemoved(Struct, kw_only=True):
    """`rm`: what was named and is gone, and how many files and folders that were in all."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    removed: list[str]
    entries: int
    session: SessionRef
    notice: str | Optional = UNSET


class FileEdited(Struct, kw_only=True):
    """`edit`: whether the file was changed and saved; `sha256` of what is on the runtime now."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str
    saved: bool
    sha256: str
    session: SessionRef
    notice: str | Optional = UNSET


class SshConfig(Struct, kw_only=True):
    """`ssh-config`: a block for OpenSSH's configuration, and the key that it names."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    host: str
    identity_file: str = field(name="identityFile")
    config: str


class ForwardedPort(Struct, kw_only=True):
    """One port of `forward`: `remote` on the runtime, `local` and its `address` on this machine."""

    remote: int
    local: int
    address: str


class ListeningEvent(Struct, kw_only=True, tag_field="type", tag="listening"):
    """`forward --events`: from now on, connections are taken."""

    session: SessionRef
    ports: list[ForwardedPort]


class Forwarded(Struct, kw_only=True):
    """`forward`, once it was ended; Ctrl-C is the way to end it, and no failure."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    ports: list[ForwardedPort]
    connections: int
    reconnections: int | Optional = UNSET
    seconds: float


class Connected(Struct, kw_only=True):
    """`connect` and `ssh`, once they are over.

    `remoteExitCode` is the shell's own status, absent where it is not known, and when the shell goes on (`detached`;
    `next` is the command to go back). `cells` counts what was run in kernel mode.
    """

    status: Literal["ok", "error"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    session: SessionRef
    mode: Literal["terminal", "kernel", "ssh"]
    seconds: float
    terminal: str | Optional = UNSET
    remote_exit_code: int | Optional = field(name="remoteExitCode", default=UNSET)
    detached: bool | Optional = UNSET
    next: str | Optional = UNSET
    reconnections: int | Optional = UNSET
    cells: int | Optional = UNSET
    failed_cells: int | Optional = field(name="failedCells", default=UNSET)
    error: ErrorInfo | Optional = UNSET
    notice: str | Optional = UNSET

    def fail(self, error: Error) -> None:
        """Report `error` as the way in which it ended."""
        self.status = "error"
        self.error_code = error.code
        self.exit_code = error.exit_status
        self.error = ErrorInfo.of(error)


# --- notebooks ----------------------------------------------------------------------------------------------------


class CellResult(Struct, kw_only=True):
    """What became of one code cell.

    `index` is the cell's place in the source notebook, counted from 0 over all its cells; absent for the parameters
    that were injected. `status`: `ok`; `error` (with `error`; `allowed` when the cell is tagged `raises-exception`);
    `running`; `not_run` (an earlier cell ended the run); `skipped` (not asked for, or tagged `skip-execution`).
    `stdout` and `stderr` are head and tail; the notebook has all of it. `displays` has the formats of each rich output.
    """

    index: int | Optional = UNSET
    id: str | Optional = UNSET
    status: Literal["ok", "error", "running", "not_run", "skipped"]
    execution_count: int | None = field(name="executionCount", default=None)
    timing: Timing | Optional = UNSET
    error: ErrorInfo | Optional = UNSET
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    allowed: bool | Optional = UNSET
    stdout: str | Optional = UNSET
    stderr: str | Optional = UNSET
    output_bytes: int = field(name="outputBytes", default=0)
    displays: list[list[str]] | Optional = UNSET
    truncated: Truncated | Optional = UNSET


class NotebookRun(Struct, kw_only=True):
    """The document of `notebook run` and `notebook fetch`: what became of the notebook and of each of its code cells.

    `errorCode`, `exitCode` and `error` are those of the first cell that failed, whose place is `failedCell` (absent
    when the failure was not a cell's). `output` is the file that holds the executed notebook, `drive` the
    address of the one in Drive that was replaced by it.
    """

    status: Literal["ok", "error", "unknown", "running"]
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    notebook: str
    output: str | Optional = UNSET
    drive: str | Optional = UNSET
    session: SessionRef | Optional = UNSET
    job_id: str | Optional = field(name="jobId", default=UNSET)
    cells: list[CellResult] = field(default_factory=list)
    failed_cell: int | Optional = field(name="failedCell", default=UNSET)
    error: ErrorInfo | Optional = UNSET
    timing: Timing | Optional = UNSET
    timed_out: bool | Optional = field(name="timedOut", default=UNSET)
    interrupted: bool | Optional = UNSET
    output_complete: bool = field(name="outputComplete", default=True)
    notice: str | Optional = UNSET

    def fail(self, error: Error, status: Literal["error", "unknown"] = "error") -> None:
        """Report `error` as the outcome, unless a cell has failed before."""
        if self.status in ("error", "unknown"):
            return
        self.status, self.error_code, self.exit_code = status, error.code, error.exit_status
        self.error = ErrorInfo.of(error)


class Notebook(Struct, kw_only=True):
    """One entry of `notebook list`, as Drive has it; `colabName` is the name in the notebook itself, with --enrich."""

    id: str
    name: str
    created_time: str = field(name="createdTime")
    modified_time: str = field(name="modifiedTime")
    web_view_link: str | Optional = field(name="webViewLink", default=UNSET)
    colab_name: str | Optional = field(name="colabName", default=UNSET)


class NotebookStored(Notebook, kw_only=True):
    """`notebook create`, `push`, `rename` and `open`: the notebook, and its address in Colab."""

    link: str
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class NotebookDeleted(Struct, kw_only=True):
    """`notebook delete`; what is not `permanent` is in Drive's bin for thirty days."""

    deleted: Literal[True] = True
    id: str
    name: str
    permanent: bool
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class NotebookPulled(Struct, kw_only=True):
    """`notebook pull`: the file that was written, of so many bytes."""

    id: str
    name: str
    output: str
    bytes: int
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class NotebookConverted(Struct, kw_only=True):
    """`notebook convert`: the file that was made, and how many cells it has."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    notebook: str
    output: str
    cells: int


class CellStartEvent(Struct, kw_only=True, tag_field="type", tag="cell_start"):
    """`--events` of a notebook: a cell begins; the output that follows is its own. `position` of `total`, from 1."""

    index: int | Optional = UNSET
    id: str | Optional = UNSET
    position: int
    total: int


class CellEvent(Struct, kw_only=True, tag_field="type", tag="cell"):
    """`--events` of a notebook: a cell has ended."""

    cell: CellResult


NotebookEvent = StreamEvent | DisplayEvent | ClearEvent | NoticeEvent | CellStartEvent | CellEvent


class PackageChange(Struct, kw_only=True):
    """A distribution that was installed (no `before`), removed (no `after`), or replaced."""

    name: str
    before: str | Optional = UNSET
    after: str | Optional = UNSET


class Install(Struct, kw_only=True):
    """The document of `install`.

    `python` is the interpreter that was installed into. `restartNeeded`: the session's kernel has imported
    `loadedModules`, which were changed under it; null when the kernel was too busy to say, absent when it is not known
    what changed. `changed` is absent then, too.
    """

    status: Literal["ok", "error", "abort", "unknown", "running"]
    error_code: int = field(name="errorCode")
    exit_code: int = field(name="exitCode")
    installer: str | Optional = UNSET
    python: str | Optional = UNSET
    venv: str | Optional = UNSET
    changed: list[PackageChange] | Optional = UNSET
    restart_needed: bool | Optional | None = field(name="restartNeeded", default=UNSET)
    loaded_modules: list[str] | Optional = field(name="loadedModules", default=UNSET)
    stdout: str = ""
    stderr: str | Optional = UNSET
    truncated: Truncated | Optional = UNSET
    error: ErrorInfo | Optional = UNSET
    timing: Timing | Optional = UNSET
    session: SessionRef
    run_id: str = field(name="runId")
    interrupted: bool | Optional = UNSET
    timed_out: bool | Optional = field(name="timedOut", default=UNSET)
    notice: str | Optional = UNSET


# --- kernel, sessions, status -------------------------------------------------------------------------------------


class KernelInfo(Struct, kw_only=True):
    """The session's kernel. `state` is Jupyter's execution state, or `none` when no kernel was started yet."""

    id: str | None = None
    state: str = "none"
    execution_count: int | None = field(name="executionCount", default=None)
    connections: int | Optional = UNSET
    last_activity: str | Optional = field(name="lastActivity", default=UNSET)


class KernelDocument(Struct, kw_only=True):
    """The document of `kernel status`, `kernel interrupt` and `kernel restart`."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    kernel: KernelInfo
    action: Literal["interrupted", "restarted"] | Optional = UNSET


class RuntimeRef(Struct, kw_only=True):
    label: str
    accelerator: str
    endpoint: str
    url: str | Optional = UNSET


Origin = Literal["ours", "another-machine", "browser", "elsewhere"]


class SessionDocument(Struct, kw_only=True):
    """One entry of `sessions list`.

    `status`: `active` (the one that plain commands use), `idle` (reachable), `stale` (gone), `unreachable`, `starting`
    (being allocated), `closing` (Colab was told to end it, and still lists it).
    `origin` is for Colab's runtimes: `ours`; or no session of ours, so that `id` and `name` are the endpoint: of
    `another-machine` with this tool, of a `browser` or another program, or of `elsewhere` when it does not tell.
    """

    id: str
    name: str
    label: str
    backend: str
    runtime: RuntimeRef
    variant: str
    created_at: str | Optional = field(name="createdAt", default=UNSET)
    last_used_at: str | Optional = field(name="lastUsedAt", default=UNSET)
    is_active: bool = field(name="isActive")
    status: Literal["active", "idle", "stale", "unreachable", "starting", "closing"]
    kernel: KernelInfo | Optional = UNSET
    lease: LeaseInfo | Optional = UNSET
    origin: Origin | Optional = UNSET
    high_ram: bool | Optional = field(name="highRam", default=UNSET)


class SessionStats(Struct, kw_only=True):
    """`sessions list --stats`."""

    total_sessions: int = field(name="totalSessions")
    active_sessions: int = field(name="activeSessions")
    connected_sessions: int = field(name="connectedSessions")
    stale_sessions: int = field(name="staleSessions")
    max_sessions: int | None = field(name="maxSessions", default=None)
    tier: str | None = None


class SessionAdded(Struct, kw_only=True):
    """`sessions add`, `create`, `ensure`, `adopt` and `rename`. `fresh`: a runtime was started for it just now."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionDocument
    fresh: bool | Optional = UNSET


class SessionSwitched(Struct, kw_only=True):
    switched: Literal[True] = True
    session_id: str = field(name="sessionId")
    label: str
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class SessionClosed(Struct, kw_only=True):
    """`released` says what ended: `runtime` (Colab's; its listing confirms it), `requested` (Colab was told, and still
    lists it), `server` (local), `kernels` (jupyter) or `nothing` (already gone)."""

    deleted: Literal[True] = True
    session_id: str = field(name="sessionId")
    name: str
    released: Literal["server", "kernels", "runtime", "requested", "nothing"]
    kernels: list[str] = field(default_factory=list)


class SessionsClosed(Struct, kw_only=True):
    """`sessions close`: the first session closed in the predecessor's fields, all of them in `closed`.

    `held` are the Colab runtimes that the account holds after that, by endpoint, if Colab was asked.
    """

    deleted: bool
    session_id: str | Optional = field(name="sessionId", default=UNSET)
    closed: list[SessionClosed]
    held: list[str] | Optional = UNSET
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class SessionsCleaned(Struct, kw_only=True):
    """`sessions clean`: the ids of the records that were removed, and those kept because we could not tell."""

    removed: list[str]
    kept: list[str] = field(default_factory=list)
    dry_run: bool = field(name="dryRun", default=False)
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class Memory(Struct, kw_only=True):
    """Sizes for people (binary units written as the predecessor does), and the same as exact byte counts."""

    total: str
    used: str
    free: str
    total_bytes: int = field(name="totalBytes")
    used_bytes: int = field(name="usedBytes")
    free_bytes: int = field(name="freeBytes")

    @classmethod
    def of(cls, total: int, used: int) -> Memory:
        free = max(total - used, 0)
        return cls(
            total=readable(total),
            used=readable(used),
            free=readable(free),
            total_bytes=total,
            used_bytes=used,
            free_bytes=free,
        )


class Utilization(Struct, kw_only=True):
    gpu: str
    memory: str


class Gpu(Struct, kw_only=True):
    """A GPU; what its driver does not tell is absent, or "unknown"."""

    name: str
    memory: Memory | Optional = UNSET
    utilization: Utilization
    index: int = 0
    uuid: str | Optional = UNSET
    driver: str | Optional = UNSET


class Host(Struct, kw_only=True):
    """The machine behind a runtime; `cpus` counts those that we may use (affinity and cgroup limits applied)."""

    kind: Literal["gpu", "cpu"]
    hostname: str | Optional = UNSET
    system: str | Optional = UNSET
    python: str | Optional = UNSET
    cpus: float | Optional = UNSET
    memory: Memory | Optional = UNSET
    disk: Memory | Optional = UNSET


class RuntimeStatus(Struct, kw_only=True):
    """One runtime in `status`. `origin` as in `sessions list`, without looking into what is not ours (`elsewhere`);
    `unitsPerHour` only where Colab's figure for all runtimes is that of this one."""

    label: str
    endpoint: str
    accelerator: str
    connected: bool
    backend: str
    session: str
    gpu: Gpu | Optional = UNSET
    gpus: list[Gpu] = field(default_factory=list)
    host: Host | Optional = UNSET
    kernel: KernelInfo | Optional = UNSET
    runs: int = 0
    lease: LeaseInfo | Optional = UNSET
    problem: str | Optional = UNSET
    origin: Origin | Optional = UNSET
    units_per_hour: float | Optional = field(name="unitsPerHour", default=UNSET)


class ActiveSession(Struct, kw_only=True):
    id: str
    label: str
    runtime: str
    name: str


class SessionCounts(Struct, kw_only=True):
    total: int
    active: int
    connected: int
    stale: int
    max: int | None = None
    tier: str | None = None
    active_session: ActiveSession | Optional = field(name="activeSession", default=UNSET)


class Account(Struct, kw_only=True):
    id: str
    label: str


class Units(Struct, kw_only=True):
    """Compute units of the account. What Colab does not say is absent.

    `perHour` is what all runtimes burn together, `hoursLeft` how long the balance lasts at that; `freeUnits` is what is
    left of the free quota, and `refillsAt` when more comes.
    """

    balance: float | Optional = UNSET
    per_hour: float | Optional = field(name="perHour", default=UNSET)
    hours_left: float | Optional = field(name="hoursLeft", default=UNSET)
    runtimes: int | Optional = UNSET
    free_units: float | Optional = field(name="freeUnits", default=UNSET)
    refills_at: str | Optional = field(name="refillsAt", default=UNSET)


class Usage(Struct, kw_only=True):
    """The document of `usage`. `tier` is free, pro, pro_plus or unknown."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    account: Account | Optional = UNSET
    tier: str
    units: Units


class Accelerators(Struct, kw_only=True):
    """The document of `gpus`: what may be asked for. `known` is false when Colab did not say."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    known: bool
    eligible_gpus: list[str] = field(name="eligibleGpus")
    ineligible_gpus: list[str] = field(name="ineligibleGpus")
    eligible_tpus: list[str] = field(name="eligibleTpus")
    ineligible_tpus: list[str] = field(name="ineligibleTpus")


class Consent(Struct, kw_only=True):
    """The document of `colab consent`. Without `granted`, `url` is where the user can agree."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    kind: Literal["drive", "auth"]
    granted: bool
    url: str | Optional = UNSET


class Status(Struct, kw_only=True):
    """The document of `status`. `authenticated` is about Google; other backends need no login.

    `problem` says why Colab did not answer; what it did not say is absent, or empty where older versions had a list.
    """

    authenticated: bool
    account: Account | Optional = UNSET
    tier: str | Optional = UNSET
    units: Units | Optional = UNSET
    eligible_gpus: list[str] = field(name="eligibleGpus", default_factory=list)
    ineligible_gpus: list[str] | Optional = field(name="ineligibleGpus", default=UNSET)
    eligible_tpus: list[str] | Optional = field(name="eligibleTpus", default=UNSET)
    ineligible_tpus: list[str] | Optional = field(name="ineligibleTpus", default=UNSET)
    runtimes: list[RuntimeStatus] = field(default_factory=list)
    sessions: SessionCounts
    backend: str
    problem: str | Optional = UNSET
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class Top(Struct, kw_only=True):
    """`top`: every held runtime as it was at the moment `sampled`, and Colab's units where they are known."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    sampled: str
    runtimes: list[RuntimeStatus]
    units: Units | Optional = UNSET


class Opened(Struct, kw_only=True):
    """`open`: the address, and what the page there is attached to; `opened` when a browser was told to show it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    url: str
    attaches: str
    opened: bool = False


class NextStep(Struct, kw_only=True):
    """A command that makes sense now, and what it does."""

    command: str
    what: str


class Start(Struct, kw_only=True):
    """`lecoder-cgpu` without a command: the session in use, if there is one, and what to type next."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    version: str
    backend: str
    sessions: int
    session: SessionRef | Optional = UNSET
    next: list[NextStep]


# --- history ------------------------------------------------------------------------------------------------------


class HistoryError(Struct, kw_only=True):
    """The predecessor's names; they differ from those of `run`."""

    ename: str
    evalue: str
    traceback: list[str] = field(default_factory=list)


class HistoryRuntime(Struct, kw_only=True):
    label: str
    accelerator: str


class StoredDisplay(Struct, kw_only=True):
    """A rich output as history keeps it: text inline, anything large only as a reference: `bytes`, its size as it came,
    and for an image `sha256`, under which it is kept for a while."""

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)


class HistoryEntry(Struct, kw_only=True):
    """One line of `state/history.jsonl`; the predecessor's lines decode into it too."""

    status: str
    execution_count: int | None = None
    stdout: str = ""
    stderr: str = ""
    traceback: list[str] = field(default_factory=list)
    display_data: list[StoredDisplay] = field(default_factory=list)
    error: HistoryError | Optional = UNSET
    timing: Timing | Optional = UNSET
    id: str
    timestamp: str
    command: str
    mode: str
    runtime: HistoryRuntime
    error_code: int | Optional = field(name="errorCode", default=UNSET)
    error_category: str | Optional = field(name="errorCategory", default=UNSET)
    exit_code: int | Optional = field(name="exitCode", default=UNSET)
    session: str | Optional = UNSET
    run_id: str | Optional = field(name="runId", default=UNSET)
    output_bytes: int | Optional = field(name="outputBytes", default=UNSET)


class HistoryStats(Struct, kw_only=True):
    """`logs --stats`: `successRate` is an unrounded percentage; the two dates are absent when there is no entry."""

    total_executions: int = field(name="totalExecutions")
    successful_executions: int = field(name="successfulExecutions")
    failed_executions: int = field(name="failedExecutions")
    aborted_executions: int = field(name="abortedExecutions")
    success_rate: float = field(name="successRate")
    errors_by_category: dict[str, int] = field(name="errorsByCategory")
    executions_by_mode: dict[str, int] = field(name="executionsByMode")
    oldest_entry: str | Optional = field(name="oldestEntry", default=UNSET)
    newest_entry: str | Optional = field(name="newestEntry", default=UNSET)


class HistoryPage(Struct, kw_only=True):
    """`logs --html FILE`: where the page is, how many runs are on it, and its size in bytes."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str
    runs: int
    bytes: int


class HistoryCleared(Struct, kw_only=True):
    cleared: Literal[True] = True
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


# --- debug log ----------------------------------------------------------------------------------------------------


class LogRecord(Struct, kw_only=True):
    """One line of the debug log. `level`: 0 DEBUG, 1 INFO, 2 WARN, 3 ERROR."""

    timestamp: str
    level: int
    level_name: str = field(name="levelName")
    category: str
    message: str
    data: dict[str, Any] | Optional = UNSET
    error: dict[str, Any] | Optional = UNSET


class LogFile(Struct, kw_only=True):
    path: str
    size: int
    modified: str


class LogFiles(Struct, kw_only=True):
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    files: list[LogFile]


class LogPath(Struct, kw_only=True):
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str


# --- login --------------------------------------------------------------------------------------------------------


class OAuthClient(Struct, frozen=True, kw_only=True):
    """The user's own OAuth client ("Desktop app"). Its secret is none to Google, but we treat it as one."""

    id: str = field(name="clientId")
    secret: str = field(name="clientSecret")

    def __repr__(self) -> str:
        return f"OAuthClient(id={self.id!r})"


class StoredLogin(Struct, frozen=True, kw_only=True):
    """`session.json`. `refreshToken` is the secret that everything else is made from.

    `scopes` lists what the predecessor looks for; it wrote there what it had asked for. `grantedScopes` is ours, and
    what Google really granted.
    """

    id: str
    refresh_token: str = field(name="refreshToken")
    scopes: list[str]
    account: Account
    granted_scopes: list[str] | Optional = field(name="grantedScopes", default=UNSET)

    def __repr__(self) -> str:
        return f"StoredLogin(account={self.account.id!r})"


class LoginInfo(Struct, kw_only=True):
    """`auth status`, `auth check`, and a login or an import that succeeded.

    `source`: `session` (session.json), `adc` (application default credentials), `environment`
    (LECODER_CGPU_CREDENTIALS) or `none`. `scopes` is what Google granted, absent when nobody asked yet;
    `missingScopes` what it did not. `policy` names the command that shows what Colab does not allow.
    """

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    authenticated: bool
    source: Literal["session", "adc", "environment", "none"]
    account: Account | Optional = UNSET
    scopes: list[str] | Optional = UNSET
    missing_scopes: list[str] | Optional = field(name="missingScopes", default=UNSET)
    token_expires_at: str | Optional = field(name="tokenExpiresAt", default=UNSET)
    client_id: str | Optional = field(name="clientId", default=UNSET)
    config_file: str = field(name="configFile")
    session_file: str = field(name="sessionFile")
    checked: bool = False
    message: str | Optional = UNSET
    notice: str | Optional = UNSET
    policy: str = "lecoder-cgpu policy"


class LoginStarted(Struct, kw_only=True):
    """`auth login --start`: a person opens `url`; `next` is the command that takes the answer on stdin."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    url: str
    flow_id: str = field(name="flowId")
    expires_at: str = field(name="expiresAt")
    next: str


class LoginExport(Struct, kw_only=True):
    """`auth export`, the only document that holds a token; with `--ci` also the OAuth client that goes with it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: StoredLogin
    client: OAuthClient | Optional = UNSET
    instructions: str


class LoggedOut(Struct, kw_only=True):
    """`auth logout`: whether there was a login here, and whether Google has revoked it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    logged_out: bool = field(name="loggedOut")
    revoked: bool = False
    notice: str | Optional = UNSET


class ClientSetup(Struct, kw_only=True):
    """`auth setup`: how to make an OAuth client, or the one that is in `config.json` now."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    config_file: str = field(name="configFile")
    client_id: str | Optional = field(name="clientId", default=UNSET)
    steps: list[str] | Optional = UNSET


class Policy(Struct, kw_only=True):
    """`policy`: what Colab's terms allow, in our words, and where Google's are."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    points: list[str]
    links: list[str]


# --- keeper and leases --------------------------------------------------------------------------------------------


class LeaseInfo(Struct, kw_only=True):
    """When a Colab runtime is released: after `idleSeconds` without work (at `idleReleaseAt` if none comes), at
    `endsAt`, or when `maxUnits` compute units are spent. `ended` is the limit that was reached. Absent: no such limit.
    """

    idle_seconds: float | Optional = field(name="idleSeconds", default=UNSET)
    idle_release_at: str | Optional = field(name="idleReleaseAt", default=UNSET)
    ends_at: str | Optional = field(name="endsAt", default=UNSET)
    max_units: float | Optional = field(name="maxUnits", default=UNSET)
    units_spent: float | Optional = field(name="unitsSpent", default=UNSET)
    ended: Literal["idle", "runtime", "units"] | Optional = UNSET


class KeptSession(Struct, kw_only=True):
    """What the keeper last saw of a session. `ping` is how the last one went; `socket`: it holds a kernel's socket."""

    session: str
    endpoint: str
    ping: str
    work: Literal["running", "none", "unknown"]
    socket: bool = False
    problem: str | Optional = UNSET


class KeeperRecord(Struct, kw_only=True):
    """`state/keeper.json`: which process the keeper is, and what it saw at `beat`."""

    pid: int
    identity: str
    version: str
    started: str
    beat: str | Optional = UNSET
    sessions: list[KeptSession] = field(default_factory=list)


class KeeperStatus(Struct, kw_only=True):
    """`keeper status`."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    running: bool
    pid: int | Optional = UNSET
    started: str | Optional = UNSET
    version: str | Optional = UNSET
    beat: str | Optional = UNSET
    sessions: list[KeptSession] = field(default_factory=list)
    problem: str | Optional = UNSET


class KeeperStopped(Struct, kw_only=True):
    """`keeper stop`: whether there was one."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    stopped: bool


class Version(Struct, kw_only=True):
    """`--version --json`."""

    version: str
    python: str
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


# --- the reference ------------------------------------------------------------------------------------------------


class OptionReference(Struct, kw_only=True):
    """One option; `value` names its value and is absent for a flag."""

    names: list[str]
    value: str | Optional = UNSET
    help: str
    default: str | Optional = UNSET
    multiple: bool = False


class CommandReference(Struct, kw_only=True):
    """One command, such as `job wait`."""

    name: str
    usage: str
    summary: str
    description: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    options: list[OptionReference] = field(default_factory=list)


class ErrorReference(Struct, kw_only=True):
    """One class of the error tree: what documents call it, and the exit status that it ends with."""

    code: int
    category: str
    name: str
    exit_code: int = field(name="exitCode")
    retryable: bool
    description: str


class SettingReference(Struct, kw_only=True):
    """One setting: its key in `config.json` and its environment variable."""

    key: str
    env: str
    help: str
    default: str | Optional = UNSET
    secret: bool = False


class Reference(Struct, kw_only=True):
    """`reference --json`: what the installed version can do. `extras` tells which optional parts are installed."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    version: str
    python: str
    commands: list[CommandReference]
    errors: list[ErrorReference]
    exit_codes: dict[str, str] = field(name="exitCodes")
    settings: list[SettingReference]
    variables: dict[str, str]
    files: dict[str, str]
    extras: dict[str, bool]


class Finding(Struct, kw_only=True):
    """One thing that `doctor` looked at; `fix` is the command or the step that mends it."""

    check: str
    level: Literal["ok", "warning", "problem"]
    message: str
    fix: str | Optional = UNSET


class Doctor(Struct, kw_only=True):
    """`doctor`. `status` is `error` when one of the findings is a problem; `error` is about the first of these."""

    status: Literal["ok", "error"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    error: ErrorInfo | Optional = UNSET
    findings: list[Finding]


class Upgrade(Struct, kw_only=True):
    """`upgrade --check`. `installed` is how this copy came (`origin`: from where), `latest` is absent when the package
    index has no version; `command` would install the newest, and nothing has run it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    version: str
    installed: str
    origin: str | Optional = UNSET
    latest: str | Optional = UNSET
    newer: bool = False
    command: str


def readable(size: int) -> str:
    """A byte count in the predecessor's manner: MiB as "512 MB" below 1024 of them, "14.5 GB" above."""
    mebibytes = size / 2**20
    return f"{mebibytes / 1024:.1f} GB" if round(mebibytes) >= 1024 else f"{round(mebibytes)} MB"


def encode(document: object) -> bytes:
    return msgspec.json.encode(document)
