"""The documents of `logs`, and the lines of the history."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Optional, Timing
from .runs import Stopped


class HistoryError(Struct, kw_only=True):
    """The predecessor's names; they differ from those of `run`."""

    ename: str
    evalue: str
    traceback: list[str] = field(default_factory=list)


class HistoryRuntime(Struct, kw_only=True):
    """The runtime that a run was on, as people know it: a label, and the model of its accelerator or `NONE`."""

    label: str
    accelerator: str


class StoredDisplay(Struct, kw_only=True):
    """A rich output in the history: text as it is, anything large as a reference with its original size in `bytes`, and
    for an image with the `sha256` under which it is kept for a while."""

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)


class Watcher(Struct, kw_only=True):
    """A process of a machine, which another one that has its id later has another `identity` than."""

    pid: int
    identity: str
    host: str


HistoryStatus = Literal["ok", "error", "abort", "unknown", "running", "lost"]
HistoryMode = Literal["kernel", "terminal", "unknown"]  # `unknown` is one that only a newer version has


class HistoryEntry(Struct, kw_only=True):
    """One line of `state/history.jsonl`; the predecessor's lines decode into it too.

    A run is written down when it begins, as `running`, and again when its end is known: a line with `learned`, the time
    of that, replaces the earlier one with the same `id`. `timestamp` is when it began. `status` is `lost` when the
    runtime was gone before it was learned here how the run ended. `stopped` says what was done to end it early, also if
    it then ended well. `watcher` is the process that watches a run which is `running`.
    `outputKept` is false if secrets were passed to a run that was left alone: its output is not kept then. `account` is
    whose runtime it was, or `unknown`, where runtimes belong to an account; `backend` is where it came from.
    """

    status: HistoryStatus
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
    mode: HistoryMode
    runtime: HistoryRuntime
    error_code: int | Optional = field(name="errorCode", default=UNSET)
    error_category: str | Optional = field(name="errorCategory", default=UNSET)
    exit_code: int | Optional = field(name="exitCode", default=UNSET)
    session: str | Optional = UNSET
    session_id: str | Optional = field(name="sessionId", default=UNSET)
    backend: str | Optional = UNSET
    account: str | Optional = UNSET
    run_id: str | Optional = field(name="runId", default=UNSET)
    job_name: str | Optional = field(name="jobName", default=UNSET)
    output_bytes: int | Optional = field(name="outputBytes", default=UNSET)
    output_kept: bool | Optional = field(name="outputKept", default=UNSET)
    stopped: Stopped | Optional = UNSET
    watcher: Watcher | Optional = UNSET
    learned: str | Optional = UNSET


class HistoryStats(Struct, kw_only=True):
    """`logs --stats`: `successRate` is an unrounded percentage; the two dates are absent if the history is empty."""

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
    """`logs --html FILE` (or `--ipynb`, `--md`, `--jsonl`): where the document is, how many runs are in it, and its
    size in bytes."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str
    runs: int
    bytes: int


class HistoryCleared(Struct, kw_only=True):
    """`logs clear`: the history is empty now."""

    cleared: Literal[True] = True
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "logs": list[HistoryEntry],
    "logs-show": HistoryEntry,
    "logs-stats": HistoryStats,
    "logs-html": HistoryPage,
    "logs-clear": HistoryCleared,
    "history-line": HistoryEntry,
}
