"""The documents of `sweep`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import ErrorInfo, Held, Optional
from .runs import Pulled

# pending: it has no result, and does not run. unreached: the runtime that has it cannot be asked. killed: it was ended
# before its time, and runs again with `resume`.
ItemState = Literal["pending", "running", "done", "failed", "killed", "unreached"]


class SweepParameter(Struct, kw_only=True):
    """One parameter, and how many values it has; `values` are those that people are shown."""

    name: str
    count: int
    values: list[str]


class SweepCounts(Struct, kw_only=True):
    """How many items there are, and how many are in each state."""

    items: int = 0
    pending: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    killed: int = 0
    unreached: int = 0


class SweepItem(Struct, kw_only=True):
    """One item: the values of its parameters, and its command with them. `key` is the hash of the values.

    `state`: pending, running, done, failed, killed (it was ended before its time; `resume` runs it again), or unreached
    (the runtime that has it cannot be asked now). `attempts` are the jobs that were started for it; `jobId` is the last
    one, on the runtime of `session`, and `folder` where it worked there. `output` is a file here with what it printed
    last, at most 256 KiB of each stream. `started` is by our clock, `seconds` by the runtime's.
    """

    key: str
    number: int
    values: dict[str, str]
    state: ItemState
    command: str | Optional = UNSET
    attempts: int = 0
    losses: int | Optional = UNSET
    session: str | Optional = UNSET
    job_id: str | Optional = field(name="jobId", default=UNSET)
    folder: str | Optional = UNSET
    output: str | Optional = UNSET
    exit_code: int | Optional = field(name="exitCode", default=UNSET)
    signal: str | Optional = UNSET
    started: str | Optional = UNSET
    seconds: float | Optional = UNSET
    pulled: list[Pulled] | Optional = UNSET
    error: str | Optional = UNSET


class SweepDocument(Struct, kw_only=True):
    """`sweep`: all of its items, in their order. `exitCode` is the command's own: 0 when all is fine, 1 when items
    failed, 124 while some have no result and nothing went wrong; else that of what stopped it.

    `id` is the hash of the command, the code and the request. `sessions` are those on whose runtimes it ran. With
    `--dry-run`, nothing was stored or started.
    """

    status: Literal["ok", "error", "running"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    error: ErrorInfo | Optional = UNSET
    name: str
    id: str
    command: list[str]
    parameters: list[SweepParameter] = field(default_factory=list)
    counts: SweepCounts = field(default_factory=SweepCounts)
    items: list[SweepItem] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    dry_run: bool | Optional = field(name="dryRun", default=UNSET)
    interrupted: bool | Optional = UNSET
    next: str | Optional = UNSET
    notice: str | Optional = UNSET
    held: list[Held] | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "sweep": SweepDocument,
}
