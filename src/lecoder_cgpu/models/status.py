"""The documents of `status`, `usage`, `gpus`, `top`, `open` and the bare command."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Held, Optional, SessionRef, readable
from .keeper import LeaseInfo
from .runs import JobState, ProcessRef
from .sessions import KernelInfo, Origin


class Memory(Struct, kw_only=True):
    """Sizes for people (binary units, written as the predecessor does), and the same as byte counts."""

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
    """How busy a GPU and its memory are, as `45%` or `unknown`."""

    gpu: str
    memory: str


class Gpu(Struct, kw_only=True):
    """A GPU. What its driver does not report is absent, or "unknown"."""

    name: str
    memory: Memory | Optional = UNSET
    utilization: Utilization
    index: int = 0
    uuid: str | Optional = UNSET
    driver: str | Optional = UNSET


class Host(Struct, kw_only=True):
    """The machine behind a runtime; `cpus` counts the processors that we may use (by affinity and cgroup limits)."""

    kind: Literal["gpu", "cpu"]
    hostname: str | Optional = UNSET
    system: str | Optional = UNSET
    python: str | Optional = UNSET
    cpus: float | Optional = UNSET
    memory: Memory | Optional = UNSET
    disk: Memory | Optional = UNSET


class Loss(Struct, kw_only=True):
    """That a runtime is gone: `at` is when that was found out, `cause` why, where it is known (a lease that ended)."""

    at: str | None = None
    cause: str | Optional = UNSET


class Remaining(ProcessRef, kw_only=True):
    """A process that lives on after the command of `run` has ended."""

    run: str


class UnderWay(Struct, kw_only=True):
    """A run that has not ended, with the last line that it printed, and `percent` as it printed that last.

    What it uses is as the runtime saw it in the last seconds: `cpuPercent` is of one processor. For code in a kernel,
    the figures are the whole kernel's. `gpuMemoryBytes` is present if the driver tells which process holds memory.
    """

    run: str
    name: str | Optional = UNSET
    command: str
    state: JobState | Optional = UNSET
    detached: bool = False
    started: str | Optional = UNSET
    percent: float | Optional = UNSET
    line: str | Optional = UNSET
    processes: int | Optional = UNSET
    cpu_percent: float | Optional = field(name="cpuPercent", default=UNSET)
    rss_bytes: int | Optional = field(name="rssBytes", default=UNSET)
    gpu_memory_bytes: int | Optional = field(name="gpuMemoryBytes", default=UNSET)


class GpuProcess(Struct, kw_only=True):
    """A process that holds memory of a GPU, as its driver tells, and which `run` it belongs to, if to one that goes on.
    In a container, drivers often name none."""

    pid: int
    name: str | Optional = UNSET
    memory_bytes: int | Optional = field(name="memoryBytes", default=UNSET)
    run: str | Optional = UNSET


class RuntimeStatus(Struct, kw_only=True):
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
    account: str | Optional = UNSET
    gpu: Gpu | None = None
    gpus: list[Gpu] | None = None
    gpu_processes: list[GpuProcess] | Optional = field(name="gpuProcesses", default=UNSET)
    host: Host | Optional = UNSET
    kernel: KernelInfo | Optional = UNSET
    runs: int | None = None
    running: list[UnderWay] | Optional = UNSET
    remaining: list[Remaining] | Optional = UNSET
    lease: LeaseInfo | Optional = UNSET
    problem: str | Optional = UNSET
    lost: Loss | Optional = UNSET
    origin: Origin | Optional = UNSET
    units_per_hour: float | Optional = field(name="unitsPerHour", default=UNSET)


class ActiveSession(Struct, kw_only=True):
    """The session that commands use when none is named."""

    id: str
    label: str
    runtime: str
    name: str


class HeldElsewhere(Struct, kw_only=True):
    """Sessions of another profile whose runtimes cost, or may cost, as far as this machine knows."""

    profile: str
    sessions: list[str]


class SessionCounts(Struct, kw_only=True):
    """How many sessions are stored, and in which state; `max` is null, for no limit is known."""

    total: int
    active: int
    connected: int
    stale: int
    max: int | None = None
    tier: str | None = None
    active_session: ActiveSession | Optional = field(name="activeSession", default=UNSET)


class Account(Struct, kw_only=True):
    """A Google account: its address, and the name that people read; `unknown` where nobody has told whose login it
    is."""

    id: str
    label: str


class Units(Struct, kw_only=True):
    """Compute units of the account. What Colab does not say is absent.

    `perHour` is what all runtimes use together, `hoursLeft` how long the balance lasts at that rate; `freeUnits` is the
    rest of the free quota, and `refillsAt` when it is refilled.
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
    held: list[Held] | Optional = UNSET


class Accelerator(Struct, kw_only=True):
    """One kind of accelerator. `memory` is what it has in GB, as its maker says; `unitsPerHour` what a runtime with it
    was last seen to cost, absent if that was never seen."""

    name: str
    kind: Literal["GPU", "TPU"]
    allowed: bool
    memory: str | Optional = UNSET
    units_per_hour: float | Optional = field(name="unitsPerHour", default=UNSET)


class Accelerators(Struct, kw_only=True):
    """The document of `gpus`: what may be asked for. `known` is false when Colab did not say. `accelerators` tells of
    each, `balance` and `freeUnits` what the account has left; see `usage`."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    known: bool
    account: Account | Optional = UNSET
    eligible_gpus: list[str] = field(name="eligibleGpus")
    ineligible_gpus: list[str] = field(name="ineligibleGpus")
    eligible_tpus: list[str] = field(name="eligibleTpus")
    ineligible_tpus: list[str] = field(name="ineligibleTpus")
    accelerators: list[Accelerator] = field(default_factory=list)
    balance: float | Optional = UNSET
    free_units: float | Optional = field(name="freeUnits", default=UNSET)


class Consent(Struct, kw_only=True):
    """The document of `colab consent`. Without `granted`, `url` is where the user can agree."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    kind: Literal["drive", "auth"]
    granted: bool
    url: str | Optional = UNSET


class Mounted(Struct, kw_only=True):
    """The document of `colab mount`: where Drive is a folder on the runtime, and where in it the user's files are."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    path: str
    files: str
    readonly: bool = False
    held: list[Held] | Optional = UNSET


class WithoutRuntime(Struct, kw_only=True):
    """A job that has no runtime now: it is to be run again (`restarting`) or waits, as `reason` tells."""

    id: str
    state: str
    name: str | Optional = UNSET
    reason: str | Optional = UNSET
    restarts_at: str | Optional = field(name="restartsAt", default=UNSET)


class Status(Struct, kw_only=True):
    """The document of `status`. `authenticated` is about Google; other backends need no login. `profile` is the one
    that this command acts for, `heldElsewhere` what others hold that have a login of their own,
    `withoutRuntime` which jobs wait for a runtime or for somebody.

    `problem` says why Colab did not answer; what it did not say is absent, or empty where older versions had a list.
    """

    authenticated: bool
    profile: str = "default"
    account: Account | Optional = UNSET
    tier: str | Optional = UNSET
    units: Units | Optional = UNSET
    eligible_gpus: list[str] = field(name="eligibleGpus", default_factory=list)
    ineligible_gpus: list[str] | Optional = field(name="ineligibleGpus", default=UNSET)
    eligible_tpus: list[str] | Optional = field(name="eligibleTpus", default=UNSET)
    ineligible_tpus: list[str] | Optional = field(name="ineligibleTpus", default=UNSET)
    runtimes: list[RuntimeStatus] = field(default_factory=list)
    sessions: SessionCounts
    held_elsewhere: list[HeldElsewhere] | Optional = field(name="heldElsewhere", default=UNSET)
    without_runtime: list[WithoutRuntime] | Optional = field(name="withoutRuntime", default=UNSET)
    backend: str
    problem: str | Optional = UNSET
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    held: list[Held] | Optional = UNSET


class Top(Struct, kw_only=True):
    """`top`: every runtime that we hold, as it was at the time `sampled`, and Colab's units if they are known."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    sampled: str
    runtimes: list[RuntimeStatus]
    units: Units | Optional = UNSET


class Opened(Struct, kw_only=True):
    """`open`: the address, and what the page there is attached to; `opened` if a browser was asked to show it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    url: str
    attaches: str
    opened: bool = False
    held: list[Held] | Optional = UNSET


class NextStep(Struct, kw_only=True):
    """A command that makes sense now, and what it does."""

    command: str
    what: str


class Start(Struct, kw_only=True):
    """`lecoder-cgpu` without a command: the session in use, if any, and what to type next."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    version: str
    profile: str = "default"
    backend: str
    sessions: int
    session: SessionRef | Optional = UNSET
    next: list[NextStep]
    held: list[Held] | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "status": Status,
    "start": Start,
    "top": Top,
    "open": Opened,
    "usage": Usage,
    "gpus": Accelerators,
    "colab-consent": Consent,
    "colab-mount": Mounted,
}
