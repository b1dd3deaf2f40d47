"""What calls of the library return. Made by `lecoder_cgpu.reference write`; edit `models/`."""

from typing import Any, Literal, overload

from msgspec import Struct

from .models import base as _base, files as _files, history as _history, jobs as _jobs, keeper as _keeper, notebooks as _notebooks, runs as _runs, sessions as _sessions, status as _status

__all__ = [
    "Result", "Accelerator", "Accelerators", "Account", "ActiveSession", "Attempt", "CellResult", "DisplayData",
    "ErrorInfo", "FileEntry", "FileList", "FilesRemoved", "Gpu", "GpuProcess", "Held", "HeldElsewhere",
    "HistoryEntry", "HistoryError", "HistoryRuntime", "Hook", "Host", "Install", "JobDocument", "JobInfo",
    "JobStarted", "JobUsage", "KernelChoice", "KernelInfo", "LeaseInfo", "Loss", "Memory", "NotebookRun",
    "OrderedOutput", "OutputFile", "PackageChange", "ProcessRef", "Progress", "Pulled", "Pushed", "Release",
    "Remaining", "Run", "RuntimeRef", "RuntimeStatus", "SessionClosed", "SessionCounts", "SessionDocument",
    "SessionRef", "SessionsClosed", "ShownError", "Skipped", "Status", "Stopped", "StoredDisplay", "SyncChange",
    "Synced", "Timing", "Transfer", "TransferItem", "Truncated", "UnderWay", "Units", "Usage", "Utilization",
    "Watcher", "WithoutRuntime",
]


class Result(Struct, frozen=True, kw_only=True):
    """What every result can do."""

    def to_dict(self) -> dict[str, Any]:
        """The document, as `--json` prints it."""

class Accelerator(Result, frozen=True, kw_only=True):
    """One kind of accelerator. `memory` is what it has in GB, as its maker says; `unitsPerHour` what a runtime with it
    was last seen to cost, absent if that was never seen.
    """

    name: str
    kind: Literal["GPU", "TPU"]
    allowed: bool
    memory: str | None
    units_per_hour: float | None

class Accelerators(Result, frozen=True, kw_only=True):
    """The document of `gpus`: what may be asked for. `known` is false when Colab did not say. `accelerators` tells of
    each, `balance` and `freeUnits` what the account has left; see `usage`.
    """

    status: Literal["ok"]
    error_code: int
    known: bool
    account: Account | None
    eligible_gpus: list[str]
    ineligible_gpus: list[str]
    eligible_tpus: list[str]
    ineligible_tpus: list[str]
    accelerators: list[Accelerator]
    balance: float | None
    free_units: float | None

class Account(Result, frozen=True, kw_only=True):
    """A Google account: its address, and the name that people read; `unknown` where nobody has told whose login it
    is.
    """

    id: str
    label: str

class ActiveSession(Result, frozen=True, kw_only=True):
    """The session that commands use when none is named."""

    id: str
    label: str
    runtime: str
    name: str

class Attempt(Result, frozen=True, kw_only=True):
    """One attempt of a command that was run several times (`--restarts`, `--retries`).

    `cause` is what became of it: `finished`, `failed` (the program itself), `lost` (its runtime), `oom` (its runtime,
    when the memory was used up), `killed` (by somebody), `limit` (one that was set has ended it), `refused` (it was not
    started) or `unknown`. It is absent while an attempt of a job is under way. `resumed`: fetched results had been put
    back for it. `units` is what the runtime of a lost attempt had cost, where that was counted.
    """

    number: int
    cause: Literal["finished", "failed", "lost", "unknown", "killed", "limit", "refused", "oom"] | None
    resumed: bool
    session: str | None
    accelerator: str | None
    run_id: str | None
    timing: Timing | None
    exit_code: int | None
    error: ErrorInfo | None
    units: float | None
    stdout: str
    stderr: str

class CellResult(Result, frozen=True, kw_only=True):
    """The result of one code cell.

    `index` is the cell's position in the source notebook, counted from 0 over all cells; absent for the injected
    parameters. `status`: `ok`; `error` (with `error`; `allowed` when the cell is tagged `raises-exception`);
    `running`; `not_run` (an earlier cell ended the run); `skipped` (not asked for, or tagged `skip-execution`).
    `errorCode` and `exitCode` are null for a cell that did not run, or has not ended.
    `stdout` and `stderr` are cut to beginning and end; the notebook has all of it, or 16 MiB of each stream if
    `--max-output` is not larger. `leftOut` counts the characters that it lacks, and `truncated.get` then is the command
    that prints all. `displays` lists the formats of each rich output. `shellExit` is the status of the cell's last
    `!command`, if it failed.
    """

    index: int | None
    id: str | None
    status: Literal["ok", "error", "running", "not_run", "skipped"]
    execution_count: int | None
    timing: Timing | None
    error: ErrorInfo | None
    error_code: int | None
    exit_code: int | None
    allowed: bool | None
    stdout: str
    stderr: str
    shell_exit: int | None
    output_bytes: int
    displays: list[list[str]] | None
    truncated: Truncated | None
    left_out: int | None

class DisplayData(Result, frozen=True, kw_only=True):
    """One rich output: a MIME bundle. Binary formats are base64 strings, as in Jupyter's messages.

    `omitted` names the formats that `data` lacks, with their sizes in bytes: binary ones unless `--inline` asked for
    them, and all when the output would have exceeded `--max-output`.
    """

    data: dict[str, Any]
    metadata: dict[str, Any]
    omitted: dict[str, int] | None

class ErrorInfo(Result, frozen=True, kw_only=True):
    """What went wrong, in every document that reports a failure.

    `billing` tells whether we hold a runtime that costs money, as far as this machine knows.
    """

    name: str
    message: str
    category: str
    description: str
    retryable: bool
    traceback: list[str] | None
    suggestion: str | None
    billing: Literal["running", "none", "unknown"] | None

class FileEntry(Result, frozen=True, kw_only=True):
    """One line of `ls`: `kind` is file, folder, link (with its `target`) or special; `mode` in octal digits."""

    name: str
    kind: Literal["file", "folder", "link", "special"]
    size: int
    modified: str | None
    mode: str | None
    target: str | None

class FileList(Result, frozen=True, kw_only=True):
    """`ls`: what is at `path` on the runtime."""

    status: Literal["ok"]
    error_code: int
    path: str
    entries: list[FileEntry]
    session: SessionRef
    notice: str | None
    held: list[Held] | None

class FilesRemoved(Result, frozen=True, kw_only=True):
    """`rm`: the paths that were removed, and how many files and folders they held in all."""

    status: Literal["ok"]
    error_code: int
    removed: list[str]
    entries: int
    session: SessionRef
    notice: str | None
    held: list[Held] | None

class Gpu(Result, frozen=True, kw_only=True):
    """A GPU. What its driver does not report is absent, or "unknown"."""

    name: str
    memory: Memory | None
    utilization: Utilization
    index: int
    uuid: str | None
    driver: str | None

class GpuProcess(Result, frozen=True, kw_only=True):
    """A process that holds memory of a GPU, as its driver tells, and which `run` it belongs to, if to one that goes on.
    In a container, drivers often name none.
    """

    pid: int
    name: str | None
    memory_bytes: int | None
    run: str | None

class Held(Result, frozen=True, kw_only=True):
    """A session whose runtime costs, as far as this machine knows. `certain` is false while it is not known whether
    there is a runtime: it was asked for, or told to end, and that is not confirmed.

    `unitsPerHour` is what such a machine was last seen to cost, null if that was never seen. `idleSeconds` is after how
    much time without work it is released, null for never.

    `formerly` is there for a runtime that is ours and that no session here holds: it was lost, or given back, and is
    listed again. It names the session that had it; `session` is the runtime's endpoint then.
    """

    session: str
    label: str
    certain: bool
    units_per_hour: float | None
    idle_seconds: float | None
    formerly: str | None

class HeldElsewhere(Result, frozen=True, kw_only=True):
    """Sessions of another profile whose runtimes cost, or may cost, as far as this machine knows."""

    profile: str
    sessions: list[str]

class HistoryEntry(Result, frozen=True, kw_only=True):
    """One line of `state/history.jsonl`; the predecessor's lines decode into it too.

    A run is written down when it begins, as `running`, and again when its end is known: a line with `learned`, the time
    of that, replaces the earlier one with the same `id`. `timestamp` is when it began. `status` is `lost` when the
    runtime was gone before it was learned here how the run ended. `stopped` says what was done to end it early, also if
    it then ended well. `watcher` is the process that watches a run which is `running`.
    `outputKept` is false if secrets were passed to a run that was left alone: its output is not kept then. `account` is
    whose runtime it was, or `unknown`, where runtimes belong to an account; `backend` is where it came from.
    """

    status: Literal["ok", "error", "abort", "unknown", "running", "lost"]
    execution_count: int | None
    stdout: str
    stderr: str
    traceback: list[str]
    display_data: list[StoredDisplay]
    error: HistoryError | None
    timing: Timing | None
    id: str
    timestamp: str
    command: str
    mode: Literal["kernel", "terminal", "unknown"]
    runtime: HistoryRuntime
    error_code: int | None
    error_category: str | None
    exit_code: int | None
    session: str | None
    session_id: str | None
    backend: str | None
    account: str | None
    run_id: str | None
    job_name: str | None
    output_bytes: int | None
    output_kept: bool | None
    stopped: Stopped | None
    watcher: Watcher | None
    learned: str | None

class HistoryError(Result, frozen=True, kw_only=True):
    """The predecessor's names; they differ from those of `run`."""

    ename: str
    evalue: str
    traceback: list[str]

class HistoryRuntime(Result, frozen=True, kw_only=True):
    """The runtime that a run was on, as people know it: a label, and the model of its accelerator or `NONE`."""

    label: str
    accelerator: str

class Hook(Result, frozen=True, kw_only=True):
    """The command of `--on-finish`: `exitCode` is null if it did not start or was interrupted (`problem`)."""

    command: str
    exit_code: int | None
    problem: str | None

class Host(Result, frozen=True, kw_only=True):
    """The machine behind a runtime; `cpus` counts the processors that we may use (by affinity and cgroup limits)."""

    kind: Literal["gpu", "cpu"]
    hostname: str | None
    system: str | None
    python: str | None
    cpus: float | None
    memory: Memory | None
    disk: Memory | None

class Install(Result, frozen=True, kw_only=True):
    """The document of `install`.

    `python` is the interpreter that was installed into. `restartNeeded`: the session's kernel has already imported
    `loadedModules`, which were changed; null if the kernel was too busy to answer, absent, like `changed`, if we do not
    know what changed.
    """

    status: Literal["ok", "error", "abort", "unknown", "running"]
    error_code: int
    exit_code: int
    installer: str | None
    python: str | None
    venv: str | None
    changed: list[PackageChange] | None
    restart_needed: bool | None
    loaded_modules: list[str] | None
    stdout: str
    stderr: str
    truncated: Truncated | None
    error: ErrorInfo | None
    timing: Timing | None
    session: SessionRef
    run_id: str
    interrupted: bool | None
    timed_out: bool | None
    held: list[Held] | None
    notice: str | None

class JobDocument(Result, frozen=True, kw_only=True):
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

    status: Literal["ok", "error", "running", "unknown"]
    error_code: int
    exit_code: int
    job: JobInfo
    session: SessionRef
    error: ErrorInfo | None
    sent: bool | None
    signals: list[str] | None
    signalled: list[ProcessRef] | None
    gpus: list[Gpu] | None
    stdout: str
    stderr: str
    last_line: str | None
    next_offset: int | None
    stderr_next_offset: int | None
    truncated: Truncated | None
    next: str | None
    interrupted: bool | None
    hook: Hook | None
    release: Release | None
    pulled: list[Pulled] | None
    pushed: list[Pushed] | None
    attempts: list[Attempt] | None
    held: list[Held] | None

class JobInfo(Result, frozen=True, kw_only=True):
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
    name: str | None
    session: str | None
    account: str | None
    state: Literal["starting", "queued", "running", "restarting", "waiting", "exited", "lost", "unknown"]
    kind: Literal["process", "kernel", "notebook", "install"]
    detached: bool | None
    command: str | list[str] | None
    cwd: str | None
    created: str | None
    started: str | None
    ended: str | None
    seconds: float | None
    exit_code: int | None
    signal: str | None
    timed_out: bool | None
    pid: int | None
    alive: bool | None
    reason: str | None
    attempt: int | None
    restarts_at: str | None
    stopped: Stopped | None
    remaining: list[ProcessRef] | None
    heartbeat: str | None
    progress: Progress | None
    usage: JobUsage | None
    stdout_bytes: int
    stderr_bytes: int
    output_complete: bool
    bytes_dropped: int | None

class JobStarted(Result, frozen=True, kw_only=True):
    """`run --detach`: the job that was started; `next` is the command that waits for it."""

    status: Literal["ok"]
    error_code: int
    job_id: str
    job: JobInfo
    session: SessionRef
    next: str
    held: list[Held] | None

class JobUsage(Result, frozen=True, kw_only=True):
    """What a running job used when its supervisor last looked (at `at`, by the runtime's clock); it looks every 5 s.

    `cpuPercent` is of one processor. For code in a kernel, the figures are the whole kernel's. `gpuMemoryBytes` is
    present if the driver tells which process holds memory; containers often hide that.
    """

    processes: int | None
    cpu_seconds: float | None
    cpu_percent: float | None
    rss_bytes: int | None
    gpu_memory_bytes: int | None

class KernelChoice(Result, frozen=True, kw_only=True):
    """A kernel that the server can start. `name` is what --kernel-name takes; `language` is in small letters, and empty
    if the server does not tell. `isChosen`: the session's own; `isDefault`: the server's default. `state` and `id` are
    of the kernel of that kind that the session has started, if it runs.
    """

    name: str
    language: str
    display_name: str
    is_chosen: bool
    is_default: bool
    id: str | None
    state: Literal["none", "starting", "idle", "busy", "restarting", "autorestarting", "terminating", "dead", "unknown"] | None

class KernelInfo(Result, frozen=True, kw_only=True):
    """The session's kernel. `state` is Jupyter's execution state, or `none` if no kernel was started yet. `name` is
    that of its kernelspec, `language` what it runs, in small letters.
    """

    id: str | None
    state: Literal["none", "starting", "idle", "busy", "restarting", "autorestarting", "terminating", "dead", "unknown"]
    execution_count: int | None
    connections: int | None
    last_activity: str | None
    name: str | None
    language: str | None

class LeaseInfo(Result, frozen=True, kw_only=True):
    """When a Colab runtime is released: after `idleSeconds` without work (at `idleReleaseAt` if none comes), at
    `endsAt`, or when `maxUnits` compute units are spent. `ended` is the limit that was reached. Absent: no such limit.
    """

    idle_seconds: float | None
    idle_release_at: str | None
    ends_at: str | None
    max_units: float | None
    units_spent: float | None
    ended: Literal["idle", "runtime", "units"] | None

class Loss(Result, frozen=True, kw_only=True):
    """That a runtime is gone: `at` is when that was found out, `cause` why, where it is known (a lease that ended)."""

    at: str | None
    cause: str | None

class Memory(Result, frozen=True, kw_only=True):
    """Sizes for people (binary units, written as the predecessor does), and the same as byte counts."""

    total: str
    used: str
    free: str
    total_bytes: int
    used_bytes: int
    free_bytes: int

class NotebookRun(Result, frozen=True, kw_only=True):
    """The document of `notebook run` and `notebook fetch`: the result of the notebook and of each of its code cells.

    `errorCode`, `exitCode` and `error` are those of the first cell that failed, whose index is `failedCell` (absent if
    something else failed); `failedCodeCell` is its place among the code cells alone, counted from 0, `failedCellId` its
    id in the file, and `lastOutput` the last line that was printed before it failed. `runId` is the run's id in the
    history (`jobId` for a job). `output` is the file with the executed notebook, `drive` the address of the notebook in
    Drive that it has replaced.
    """

    status: Literal["ok", "error", "unknown", "running"]
    error_code: int
    exit_code: int
    notebook: str
    output: str | None
    drive: str | None
    session: SessionRef | None
    run_id: str | None
    job_id: str | None
    cells: list[CellResult]
    failed_cell: int | None
    failed_code_cell: int | None
    failed_cell_id: str | None
    last_output: str | None
    error: ErrorInfo | None
    timing: Timing | None
    timed_out: bool | None
    interrupted: bool | None
    output_complete: bool
    auto_installed: list[str] | None
    hook: Hook | None
    synced: Synced | None
    pulled: list[Pulled] | None
    release: Release | None
    held: list[Held] | None
    notice: str | None

class OrderedOutput(Result, frozen=True, kw_only=True):
    """One piece of `order`: this many `bytes` of a stream as they were written, or with `index` one of `display_data`
    or of `shownErrors`.
    """

    of: Literal["stdout", "stderr", "display", "error"]
    bytes: int | None
    index: int | None

class OutputFile(Result, frozen=True, kw_only=True):
    """One file written by `--outputs DIR`; `path` is relative to that folder, `size` in bytes."""

    path: str
    mime: str
    size: int
    output: int

class PackageChange(Result, frozen=True, kw_only=True):
    """A distribution that was installed (no `before`), removed (no `after`), or replaced."""

    name: str
    before: str | None
    after: str | None

class ProcessRef(Result, frozen=True, kw_only=True):
    """A process on the runtime. `command` is its command line, cut after 200 characters."""

    pid: int
    command: str

class Progress(Result, frozen=True, kw_only=True):
    """The last line that a job printed, and the last percentage in it or in the lines right before it."""

    stream: Literal["stdout", "stderr"]
    line: str
    percent: float | None

class Pulled(Result, frozen=True, kw_only=True):
    """One result that `--pull` fetched, or the `error` that kept it. What was left out of it is in `skipped`.

    With `--every`, `generation` is the number of the one that is at `local`, `completeAt` when it was complete, and
    `restless` names what changed all the time and is there as in the generation before. These also come beside an
    `error`: then the last fetch failed, and an earlier generation is there.
    """

    path: str
    local: str
    files: int
    bytes: int
    generation: int | None
    complete_at: str | None
    restless: list[str] | None
    skipped: list[Skipped] | None
    error: ErrorInfo | None

class Pushed(Result, frozen=True, kw_only=True):
    """What `--push` has written to `target`, a folder of the runtime or an address of a Hub: how much of it is there,
    when all of it was, and what changed all the time. `error` tells why the last copy is not whole.
    """

    path: str
    target: str
    files: int
    bytes: int
    complete_at: str | None
    restless: list[str] | None
    error: ErrorInfo | None

class Release(Result, frozen=True, kw_only=True):
    """What `--release` did with the runtime: `released` as in `sessions close`, or null with the `reason` why it was
    kept.
    """

    released: Literal["server", "kernels", "runtime", "requested", "nothing", "unknown"] | None
    reason: str | None

class Remaining(Result, frozen=True, kw_only=True):
    """A process that lives on after the command of `run` has ended."""

    pid: int
    command: str
    run: str

class Run(Result, frozen=True, kw_only=True):
    """The document of `run`, in both modes.

    `status` is `abort` if the request was dropped and nothing ran, `unknown` if we could not find out how it ended, and
    `running` if we stopped watching and it goes on.
    `execution_count` is null if there is none. `outputComplete` is false if output is known to be missing;
    `outputBytes` is what the program wrote to both streams. `truncated` is present if this document shows less.
    `autoInstalled` names what --auto-install has installed; the document then describes the second run.
    `order`, with `--order`, tells in which order everything was shown; with `--raw` and `--max-output 0`, its bytes
    cut the streams exactly.
    `lateOutputOf` names earlier runs of this kernel whose tasks or threads printed while this one ran; it stands with
    their output.
    `attempts` tells of each attempt of a command with --restarts or --retries; all else is about the last one.
    `shownErrors` are exceptions that the code showed besides `error`. `shellExit` is the exit status of the last
    `!command` of the code, if it failed; the code goes on after one.
    `remaining` names the processes of a command that live on after it has ended: what it left in the background, or
    what could not be ended. `memoryShare`, of a run whose end is not known, is how much of the machine's memory was in
    use when it was seen last, from 0 to 1. `next` is the command that goes on with a run that is `running`.
    """

    status: Literal["ok", "error", "abort", "unknown", "running"]
    error_code: int
    stdout: str
    stderr: str
    display_data: list[DisplayData] | None
    shown_errors: list[ShownError] | None
    order: list[OrderedOutput] | None
    error: ErrorInfo | None
    timing: Timing | None
    execution_count: int | None
    exit_code: int
    mode: Literal["kernel", "terminal"]
    session: SessionRef | None
    run_id: str | None
    signal: str | None
    timed_out: bool | None
    interrupted: bool | None
    stopped: Stopped | None
    remaining: list[ProcessRef] | None
    max_rss_bytes: int | None
    memory_share: float | None
    output_complete: bool
    output_bytes: int
    bytes_dropped: int | None
    passed_over: int | None
    shell_exit: int | None
    late_output_of: list[str] | None
    truncated: Truncated | None
    stdout_base64: str | None
    stderr_base64: str | None
    outputs: list[OutputFile] | None
    auto_installed: list[str] | None
    hook: Hook | None
    release: Release | None
    synced: Synced | None
    pulled: list[Pulled] | None
    pushed: list[Pushed] | None
    attempts: list[Attempt] | None
    next: str | None
    held: list[Held] | None
    notice: str | None

class RuntimeRef(Result, frozen=True, kw_only=True):
    """The runtime of a session: its label, and the model of its accelerator."""

    label: str
    accelerator: str
    endpoint: str
    url: str | None

class RuntimeStatus(Result, frozen=True, kw_only=True):
    """One runtime in `status`. `origin` as in `sessions list`, without looking into what is not ours (`elsewhere`);
    `unitsPerHour` only where Colab's figure for all runtimes is that of this one. An `ours` without a session is one
    that a session had; `problem` tells which.

    `account` is whose runtime it is, or `unknown`, where runtimes belong to an account.

    `gpu`, `gpus` and `runs` (how many runs have not ended) are null for a runtime that was not asked or did
    not answer. `running` tells of each of these runs, `remaining` names what ended ones have left in the background.
    """

    label: str
    endpoint: str
    accelerator: str
    connected: bool
    backend: str
    session: str
    account: str | None
    gpu: Gpu | None
    gpus: list[Gpu] | None
    gpu_processes: list[GpuProcess] | None
    host: Host | None
    kernel: KernelInfo | None
    runs: int | None
    running: list[UnderWay] | None
    remaining: list[Remaining] | None
    lease: LeaseInfo | None
    problem: str | None
    lost: Loss | None
    origin: Literal["ours", "another-machine", "browser", "elsewhere"] | None
    units_per_hour: float | None

class SessionClosed(Result, frozen=True, kw_only=True):
    """`released` says what ended: `runtime` (Colab's; its listing confirms it), `requested` (Colab was told, and still
    lists it), `server` (local), `kernels` (jupyter), `nothing` (already gone) or `unknown` (the session was forgotten
    with --force, and what it held may go on). `ended` are the runs that were under way on it, as far as it could be
    asked.
    """

    deleted: Literal[True]
    session_id: str
    name: str
    account: str | None
    released: Literal["server", "kernels", "runtime", "requested", "nothing", "unknown"]
    kernels: list[str]
    ended: list[str] | None

class SessionCounts(Result, frozen=True, kw_only=True):
    """How many sessions are stored, and in which state; `max` is null, for no limit is known."""

    total: int
    active: int
    connected: int
    stale: int
    max: int | None
    tier: str | None
    active_session: ActiveSession | None

class SessionDocument(Result, frozen=True, kw_only=True):
    """One entry of `sessions list`.

    `status`: `active` (the one that plain commands use), `idle` (reachable), `stale` (gone), `unreachable`, `starting`
    (being allocated), `closing` (Colab was told to end it, and still lists it; or its start was interrupted, and what
    may still come of it is given back).

    `origin` is for Colab's runtimes: `ours`, or a runtime without a session here (`id` and `name` are its endpoint):
    also `ours` if a session had it that has it no more (it was lost, or given back, and is listed again), started by
    this tool on `another-machine`, by a `browser` or another program, or `elsewhere` if it does not tell. `account` is
    whose runtime it is, or `unknown`, where runtimes belong to an account.
    """

    id: str
    name: str
    label: str
    backend: str
    account: str | None
    runtime: RuntimeRef
    variant: str
    created_at: str | None
    last_used_at: str | None
    is_active: bool
    status: Literal["active", "idle", "stale", "unreachable", "starting", "closing"]
    kernel: KernelInfo | None
    lease: LeaseInfo | None
    origin: Literal["ours", "another-machine", "browser", "elsewhere"] | None
    high_ram: bool | None

class SessionRef(Result, frozen=True, kw_only=True):
    """Which session a command used. `account` is for runtimes that belong to one: whose it is, or `unknown`."""

    id: str
    name: str
    backend: str
    account: str | None

class SessionsClosed(Result, frozen=True, kw_only=True):
    """`sessions close`: the first session closed in the predecessor's fields, all of them in `closed`.

    `held` are the Colab runtimes that the account holds after that, or may hold, by endpoint, if Colab was asked.
    `wholeAccount` is true if these are all of them, those of browsers and other machines included, by Colab's own
    listing: with an empty `held`, that proves that nothing costs any more. It is absent if nobody could be asked.
    """

    deleted: bool
    session_id: str | None
    closed: list[SessionClosed]
    held: list[str] | None
    whole_account: bool | None
    status: Literal["ok"]
    error_code: int

class ShownError(Result, frozen=True, kw_only=True):
    """An exception that the code showed and that did not end it, as IPython's `showtraceback` does."""

    name: str
    message: str
    traceback: list[str]

class Skipped(Result, frozen=True, kw_only=True):
    """Something that was not copied, and why."""

    path: str
    reason: str

class Status(Result, frozen=True, kw_only=True):
    """The document of `status`. `authenticated` is about Google; other backends need no login. `profile` is the one
    that this command acts for, `heldElsewhere` what others hold that have a login of their own,
    `withoutRuntime` which jobs wait for a runtime or for somebody.

    `problem` says why Colab did not answer; what it did not say is absent, or empty where older versions had a list.
    """

    authenticated: bool
    profile: str
    account: Account | None
    tier: str | None
    units: Units | None
    eligible_gpus: list[str]
    ineligible_gpus: list[str] | None
    eligible_tpus: list[str] | None
    ineligible_tpus: list[str] | None
    runtimes: list[RuntimeStatus]
    sessions: SessionCounts
    held_elsewhere: list[HeldElsewhere] | None
    without_runtime: list[WithoutRuntime] | None
    backend: str
    problem: str | None
    status: Literal["ok"]
    error_code: int
    held: list[Held] | None

class Stopped(Result, frozen=True, kw_only=True):
    """What was done to end the work early.

    `by`: `timeout`, `idle-timeout`, `interrupt` (its client was interrupted), `no-input` (it asked for input and there
    was none), `kill` (`job kill`), `lease` (the runtime's lease ended), `close` (its session was closed), or `unknown`.
    `steps`, in order: names of signals, and for code in a kernel also `interrupt`, `kernel restart`, `kernel killed`.
    """

    by: Literal["timeout", "idle-timeout", "interrupt", "no-input", "kill", "lease", "close", "unknown"]
    steps: list[str]

class StoredDisplay(Result, frozen=True, kw_only=True):
    """A rich output in the history: text as it is, anything large as a reference with its original size in `bytes`, and
    for an image with the `sha256` under which it is kept for a while.
    """

    data: dict[str, Any]
    metadata: dict[str, Any]

class SyncChange(Result, frozen=True, kw_only=True):
    """One thing that a sync did, or would do."""

    action: Literal["send", "delete"]
    path: str
    size: int | None

class Synced(Result, frozen=True, kw_only=True):
    """`sync`: how many files were sent (and their bytes), deleted, and already up to date. With `--watch`, the numbers
    add up all `rounds`, and `changes` are those of the last round that had any.
    """

    status: Literal["ok"]
    error_code: int
    local: str
    remote: str
    sent: int
    bytes: int
    deleted: int
    unchanged: int
    seconds: float
    changes: list[SyncChange]
    skipped: list[Skipped]
    dry_run: bool
    rounds: int | None
    session: SessionRef
    held: list[Held] | None
    notice: str | None

class Timing(Result, frozen=True, kw_only=True):
    """When a run was sent and when it ended, by the client's clock."""

    started: str
    completed: str
    duration_ms: int

class Transfer(Result, frozen=True, kw_only=True):
    """`upload`, `download` and `copy`. `verified` is false if the runtime could not hash its side."""

    status: Literal["ok"]
    error_code: int
    action: Literal["upload", "download"]
    files: int
    bytes: int
    seconds: float
    sha256: str | None
    verified: bool
    items: list[TransferItem]
    skipped: list[Skipped]
    session: SessionRef
    held: list[Held] | None
    notice: str | None

class TransferItem(Result, frozen=True, kw_only=True):
    """One source of a transfer and where it went. For a folder, `sha256` is the hash of what `sha256sum` prints for its
    files, sorted by name.
    """

    source: str
    target: str
    files: int
    bytes: int
    sha256: str

class Truncated(Result, frozen=True, kw_only=True):
    """What a run's document left out to stay within `--max-output`.

    The sizes are those of the whole streams, for each stream that was cut; `errorBytes` is that of the error's message
    and traceback together, if one was cut; `displays` counts the rich outputs that were left out, `shownErrors` the
    exceptions of `shownErrors`, `order` the pieces of `order`. `get` is the command that prints everything, as long as
    the runtime has it.
    """

    stdout_bytes: int | None
    stderr_bytes: int | None
    error_bytes: int | None
    displays: int | None
    shown_errors: int | None
    order: int | None
    get: str | None

class UnderWay(Result, frozen=True, kw_only=True):
    """A run that has not ended, with the last line that it printed, and `percent` as it printed that last.

    What it uses is as the runtime saw it in the last seconds: `cpuPercent` is of one processor. For code in a kernel,
    the figures are the whole kernel's. `gpuMemoryBytes` is present if the driver tells which process holds memory.
    """

    run: str
    name: str | None
    command: str
    state: Literal["starting", "queued", "running", "restarting", "waiting", "exited", "lost", "unknown"] | None
    detached: bool
    started: str | None
    percent: float | None
    line: str | None
    processes: int | None
    cpu_percent: float | None
    rss_bytes: int | None
    gpu_memory_bytes: int | None

class Units(Result, frozen=True, kw_only=True):
    """Compute units of the account. What Colab does not say is absent.

    `perHour` is what all runtimes use together, `hoursLeft` how long the balance lasts at that rate; `freeUnits` is the
    rest of the free quota, and `refillsAt` when it is refilled.
    """

    balance: float | None
    per_hour: float | None
    hours_left: float | None
    runtimes: int | None
    free_units: float | None
    refills_at: str | None

class Usage(Result, frozen=True, kw_only=True):
    """The document of `usage`. `tier` is free, pro, pro_plus or unknown."""

    status: Literal["ok"]
    error_code: int
    account: Account | None
    tier: str
    units: Units
    held: list[Held] | None

class Utilization(Result, frozen=True, kw_only=True):
    """How busy a GPU and its memory are, as `45%` or `unknown`."""

    gpu: str
    memory: str

class Watcher(Result, frozen=True, kw_only=True):
    """A process of a machine, which another one that has its id later has another `identity` than."""

    pid: int
    identity: str
    host: str

class WithoutRuntime(Result, frozen=True, kw_only=True):
    """A job that has no runtime now: it is to be run again (`restarting`) or waits, as `reason` tells."""

    id: str
    state: str
    name: str | None
    reason: str | None
    restarts_at: str | None

@overload
def of(document: _status.Accelerator) -> Accelerator: ...
@overload
def of(document: _status.Accelerators) -> Accelerators: ...
@overload
def of(document: _status.Account) -> Account: ...
@overload
def of(document: _status.ActiveSession) -> ActiveSession: ...
@overload
def of(document: _runs.Attempt) -> Attempt: ...
@overload
def of(document: _notebooks.CellResult) -> CellResult: ...
@overload
def of(document: _runs.DisplayData) -> DisplayData: ...
@overload
def of(document: _base.ErrorInfo) -> ErrorInfo: ...
@overload
def of(document: _files.FileEntry) -> FileEntry: ...
@overload
def of(document: _files.FileList) -> FileList: ...
@overload
def of(document: _files.FilesRemoved) -> FilesRemoved: ...
@overload
def of(document: _status.Gpu) -> Gpu: ...
@overload
def of(document: _status.GpuProcess) -> GpuProcess: ...
@overload
def of(document: _base.Held) -> Held: ...
@overload
def of(document: _status.HeldElsewhere) -> HeldElsewhere: ...
@overload
def of(document: _history.HistoryEntry) -> HistoryEntry: ...
@overload
def of(document: _history.HistoryError) -> HistoryError: ...
@overload
def of(document: _history.HistoryRuntime) -> HistoryRuntime: ...
@overload
def of(document: _runs.Hook) -> Hook: ...
@overload
def of(document: _status.Host) -> Host: ...
@overload
def of(document: _notebooks.Install) -> Install: ...
@overload
def of(document: _jobs.JobDocument) -> JobDocument: ...
@overload
def of(document: _jobs.Job) -> JobInfo: ...
@overload
def of(document: _jobs.JobStarted) -> JobStarted: ...
@overload
def of(document: _jobs.JobUsage) -> JobUsage: ...
@overload
def of(document: _sessions.KernelChoice) -> KernelChoice: ...
@overload
def of(document: _sessions.KernelInfo) -> KernelInfo: ...
@overload
def of(document: _keeper.LeaseInfo) -> LeaseInfo: ...
@overload
def of(document: _status.Loss) -> Loss: ...
@overload
def of(document: _status.Memory) -> Memory: ...
@overload
def of(document: _notebooks.NotebookRun) -> NotebookRun: ...
@overload
def of(document: _runs.OrderedOutput) -> OrderedOutput: ...
@overload
def of(document: _runs.OutputFile) -> OutputFile: ...
@overload
def of(document: _notebooks.PackageChange) -> PackageChange: ...
@overload
def of(document: _runs.ProcessRef) -> ProcessRef: ...
@overload
def of(document: _jobs.Progress) -> Progress: ...
@overload
def of(document: _runs.Pulled) -> Pulled: ...
@overload
def of(document: _runs.Pushed) -> Pushed: ...
@overload
def of(document: _runs.Release) -> Release: ...
@overload
def of(document: _runs.Run) -> Run: ...
@overload
def of(document: _sessions.RuntimeRef) -> RuntimeRef: ...
@overload
def of(document: _status.RuntimeStatus) -> RuntimeStatus: ...
@overload
def of(document: _sessions.SessionClosed) -> SessionClosed: ...
@overload
def of(document: _status.SessionCounts) -> SessionCounts: ...
@overload
def of(document: _sessions.SessionDocument) -> SessionDocument: ...
@overload
def of(document: _base.SessionRef) -> SessionRef: ...
@overload
def of(document: _sessions.SessionsClosed) -> SessionsClosed: ...
@overload
def of(document: _runs.ShownError) -> ShownError: ...
@overload
def of(document: _files.Skipped) -> Skipped: ...
@overload
def of(document: _status.Status) -> Status: ...
@overload
def of(document: _runs.Stopped) -> Stopped: ...
@overload
def of(document: _history.StoredDisplay) -> StoredDisplay: ...
@overload
def of(document: _files.SyncChange) -> SyncChange: ...
@overload
def of(document: _files.Synced) -> Synced: ...
@overload
def of(document: _base.Timing) -> Timing: ...
@overload
def of(document: _files.Transfer) -> Transfer: ...
@overload
def of(document: _files.TransferItem) -> TransferItem: ...
@overload
def of(document: _runs.Truncated) -> Truncated: ...
@overload
def of(document: _status.UnderWay) -> UnderWay: ...
@overload
def of(document: _status.Units) -> Units: ...
@overload
def of(document: _status.Usage) -> Usage: ...
@overload
def of(document: _status.Utilization) -> Utilization: ...
@overload
def of(document: _history.Watcher) -> Watcher: ...
@overload
def of(document: _status.WithoutRuntime) -> WithoutRuntime: ...
ABSENT: dict[str, str]
RENAMED: dict[str, str]
def kind_of(document: type[Struct]) -> type[Result]: ...
def document_of(name: str) -> type[Struct]: ...
