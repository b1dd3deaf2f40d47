"""What the helper sends, typed: the documents of a run and of the machine. Offsets and sizes are bytes."""

from __future__ import annotations

from msgspec import Struct, field

from ..system import redaction


class Hello(Struct, rename="camel"):
    hash: str
    pid: int
    python: str
    executable: str
    cwd: str
    home: str
    platform: str
    has_bash: bool
    takes_files: bool = False
    connections: str | None = None  # the folder of the kernels' connection files


class KernelError(Struct):
    """The exception that ended a kernel run, as the kernel published it."""

    ename: str | None = None
    evalue: str | None = None
    traceback: list[str] = field(default_factory=list)


class Signal(Struct):
    """What was sent to a run (`signal`, by name), on whose behalf: `interrupt` (its client was told to end it),
    `kill` (`job kill`), `lease` or `close` (the session of a local runtime was closed)."""

    signal: str
    by: str
    at: str


class ProcessUsage(Struct, rename="camel", kw_only=True):
    """What a run used when it was looked at last: processor seconds so far, percent of one processor since the look
    before, bytes of memory. For a kernel run, these are the kernel's. `memory_share` is
    how much of the machine's memory is in use by anybody, from 0 to 1. All but `at` are absent where the system does
    not tell."""

    at: str
    pids: list[int] = field(default_factory=list)
    processes: int | None = None
    cpu_seconds: float | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    memory_share: float | None = None


class OutputProgress(Struct):
    """The last line of output, and the last percentage that was printed in it or near it."""

    stream: str
    line: str
    percent: float | None = None


class LeaseEnd(Struct):
    """When a lease ended, and why: `until` (its time) or `idle`."""

    at: str
    reason: str


class Lease(Struct, rename="camel", kw_only=True):
    """Until when the runtime keeps itself, told by its own clock.

    Attributes:
        seconds_left: to its end, None when it has none. idle_seconds: of idleness that it may have, None for any.
        idle_for: seconds since the runtime was last at work, or a client set the lease.
        worked_ago: seconds since it was last at work or in use, whoever's; None when it never was, or a helper of
            version 0.6.0 does not tell.
        background: programs that ended runs left in the background are at work.
        release: what happens at the end: `unassign` (Colab), `server` (a local one), `runs` (only our runs are ended).
        ended: when it has ended already. problem: why the release did not work so far; it is tried again.
    """

    seconds_left: float | None = None
    idle_seconds: float | None = None
    idle_for: float | None = None
    worked_ago: float | None = None
    background: bool = False
    release: str = "runs"
    ended: LeaseEnd | None = None
    problem: str | None = None


class PushState(Struct, rename="camel", kw_only=True):
    """How a copy that the runtime makes by itself stands, see `guest/pushes.py`."""

    path: str
    target: str
    files: int = 0
    bytes: int = 0
    complete_at: str | None = None
    restless: list[str] = field(default_factory=list)
    problem: str | None = None


class Result(Struct, rename="camel", kw_only=True):
    """How a process ended: `exit`, or `signal` by name. `launched` is false when there was nothing to execute.

    `stdout_bytes` and `stderr_bytes` are what the streams held at that moment; children in the background may write
    more. `bytes_dropped` counts what could not be kept (a bound, or a full disk; then `problem` says so).

    Of kernel runs: `error`; `died` when the kernel's process ended before the code did; `aborted` when the kernel
    refused the code; `gap` when the recorder itself was restarted meanwhile, so that output may be missing;
    `messages_missing` counts what the kernel sent and was not seen, requests for input included; `passed_over` counts
    what made no sense; `verdict` is `ok` or `error` by the kernel's reply, `unknown` without one, and None in
    results of version 0.6.0; `shell_exit` is the status of the last `!command` that failed.
    """

    exit: int | None = None
    signal: str | None = None
    launched: bool = True
    started: str
    ended: str
    seconds: float = 0.0
    max_rss_bytes: int | None = None
    user_seconds: float | None = None
    system_seconds: float | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    bytes_dropped: int = 0
    timed_out: bool = False
    stopped_by: str | None = None  # "timeout" or "idle-timeout"
    killed_by: list[str] = field(default_factory=list)  # the steps that were taken to end it, in order
    stdin_lost: bool = False
    pushes: list[PushState] = field(default_factory=list)
    out_of_memory: bool = False  # the system has killed it because memory ran out
    problem: str | None = None
    error: KernelError | None = None
    died: str | None = None
    aborted: bool = False
    gap: bool = False
    messages_missing: int = 0
    passed_over: int = 0
    verdict: str | None = None
    shell_exit: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all output was kept, as far as is known. A kernel that died may have had more to send."""
        lost = self.bytes_dropped or self.gap or self.messages_missing or self.passed_over
        return not lost and self.died is None


class Process(Struct):
    """A process of a run, and its command line."""

    pid: int
    command: str = ""


class RunState(Struct, rename="camel", kw_only=True):
    """How a run stands: `starting`, `queued` (code that waits for the kernel), `running`, `exited` (with `result`) or
    `unknown` (with `reason`, and whether a process of it is `alive`).

    `remaining` are the processes that live on after the command itself has ended.
    """

    run: str
    state: str
    kind: str = "process"
    label: str | None = None
    name: str | None = None  # of a job, chosen by who started it
    detached: bool | None = None  # whether it was started to run without a client
    created: str | None = None
    started: str | None = None
    pid: int | None = None
    result: Result | None = None
    reason: str | None = None
    alive: bool | None = None
    shell: str | None = None
    argv: list[str] | None = None
    code: str | None = None  # of a kernel run, its beginning
    kernel: str | None = None  # the id of the kernel that executes it
    pull: list[str] | None = None  # what `job wait` is to fetch
    cwd: str | None = None
    timeout: float | None = None
    idle_timeout: float | None = None
    signals: list[Signal] = field(default_factory=list)
    remaining: list[Process] = field(default_factory=list)
    usage: ProcessUsage | None = None
    progress: OutputProgress | None = None
    pushes: list[PushState] = field(default_factory=list)
    stdout_size: int | None = None
    stderr_size: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will be known."""
        return self.state in ("exited", "unknown")

    def shown(self) -> str | list[str]:
        """What it executes, as lists may show it."""
        text = self.label or self.shell
        return redaction.words(self.argv) if self.argv and not text else redaction.hide(text or self.code or "")

    @property
    def gone(self) -> bool:
        """Whether it has ended and nothing of it lives."""
        return self.ended and not self.remaining and not self.alive


class Chunk(Struct, rename="camel"):
    """A piece of a stream. `size` is how much the stream holds; `data` is absent where there is too much of it."""

    offset: int = 0
    size: int = 0
    data: bytes = b""
    final: bool = False


class Update(Struct, rename="camel"):
    """News of a run; what did not change is absent."""

    run: str
    stdout: Chunk | None = None
    stderr: Chunk | None = None
    order: Chunk | None = None  # of the two; absent for runs of version 0.6.0 and older
    state: RunState | None = None
    memory: float | None = None  # how much of the machine's memory is in use by anybody, from 0 to 1


class GpuReport(Struct, rename="camel"):
    index: int
    name: str
    uuid: str = ""
    driver: str = ""
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    utilization: int | None = None


class GpuProcess(Struct, rename="camel"):
    pid: int
    memory_bytes: int | None = None
    name: str = ""


class MemoryReport(Struct, rename="camel"):
    total_bytes: int
    available_bytes: int


class DiskReport(Struct, rename="camel"):
    total_bytes: int
    free_bytes: int
    path: str


class Report(Struct, rename="camel", kw_only=True):
    """The machine; `sampling` when the GPUs had not answered yet, `gpu_problem` when they could not be asked."""

    sampling: bool = False
    gpus: list[GpuReport] = field(default_factory=list)
    gpu_problem: str | None = None
    gpu_processes: list[GpuProcess] = field(default_factory=list)
    memory: MemoryReport | None = None
    disk: DiskReport | None = None
    cpus: float = 1
    hostname: str = ""
    system: str = ""
    python: str = ""
    executable: str = ""
    uptime_seconds: float = 0.0
