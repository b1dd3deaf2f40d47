"""What the resident sends, typed: the documents of a run and of the machine. Offsets and sizes are bytes."""

from __future__ import annotations

from msgspec import Struct, field


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


class Result(Struct, rename="camel", kw_only=True):
    """How a process ended: `exit`, or `signal` by name. `launched` is false when there was nothing to execute.

    `stdout_bytes` and `stderr_bytes` are what the streams held at that moment; children in the background may write
    more. `bytes_dropped` counts what could not be kept (a bound, or a full disk; then `problem` says so);
    `messages_missing` what a kernel sent and nobody saw, requests for input among it.
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
    messages_missing: int = 0
    timed_out: bool = False
    killed_by: list[str] = field(default_factory=list)
    stdin_lost: bool = False
    problem: str | None = None
    error: dict[str, str | None] | None = None  # of a kernel run: ename, evalue


class RunState(Struct, rename="camel", kw_only=True):
    """How a run stands: `starting`, `running`, `exited` (with `result`) or `unknown` (with `reason`, and whether the
    process is `alive`)."""

    run: str
    state: str
    kind: str = "process"
    label: str | None = None
    created: str | None = None
    started: str | None = None
    pid: int | None = None
    result: Result | None = None
    reason: str | None = None
    alive: bool | None = None
    shell: str | None = None
    argv: list[str] | None = None
    pull: list[str] | None = None  # what `job wait` is to fetch
    cwd: str | None = None
    stdout_size: int | None = None
    stderr_size: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will be known."""
        return self.state in ("exited", "unknown")


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
    state: RunState | None = None


class GpuReport(Struct, rename="camel"):
    index: int
    name: str
    uuid: str = ""
    driver: str = ""
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    utilization: int | None = None


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
    memory: MemoryReport | None = None
    disk: DiskReport | None = None
    cpus: float = 1
    hostname: str = ""
    system: str = ""
    python: str = ""
    executable: str = ""
    uptime_seconds: float = 0.0
