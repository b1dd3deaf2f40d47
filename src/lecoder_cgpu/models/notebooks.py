"""The documents of `notebook` and `install`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from ..errors import Error
from .base import ErrorInfo, Held, Optional, SessionRef, Timing
from .files import Synced
from .runs import ClearEvent, DisplayEvent, HeartbeatEvent, Hook, NoticeEvent, Pulled, Release, StreamEvent, Truncated

LAST_OUTPUT = 500  # characters of a line that a document repeats


class CellResult(Struct, kw_only=True):
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

    index: int | Optional = UNSET
    id: str | Optional = UNSET
    status: Literal["ok", "error", "running", "not_run", "skipped"]
    execution_count: int | None = field(name="executionCount", default=None)
    timing: Timing | Optional = UNSET
    error: ErrorInfo | Optional = UNSET
    error_code: int | None = field(name="errorCode", default=None)
    exit_code: int | None = field(name="exitCode", default=None)
    allowed: bool | Optional = UNSET
    stdout: str | Optional = UNSET
    stderr: str | Optional = UNSET
    shell_exit: int | Optional = field(name="shellExit", default=UNSET)
    output_bytes: int = field(name="outputBytes", default=0)
    displays: list[list[str]] | Optional = UNSET
    truncated: Truncated | Optional = UNSET
    left_out: int | Optional = field(name="leftOut", default=UNSET)


class NotebookRun(Struct, kw_only=True):
    """The document of `notebook run` and `notebook fetch`: the result of the notebook and of each of its code cells.

    `errorCode`, `exitCode` and `error` are those of the first cell that failed, whose index is `failedCell` (absent if
    something else failed); `failedCodeCell` is its place among the code cells alone, counted from 0, `failedCellId` its
    id in the file, and `lastOutput` the last line that was printed before it failed. `runId` is the run's id in the
    history (`jobId` for a job). `output` is the file with the executed notebook, `drive` the address of the notebook in
    Drive that it has replaced.
    """

    status: Literal["ok", "error", "unknown", "running"]
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    notebook: str
    output: str | Optional = UNSET
    drive: str | Optional = UNSET
    session: SessionRef | Optional = UNSET
    run_id: str | Optional = field(name="runId", default=UNSET)
    job_id: str | Optional = field(name="jobId", default=UNSET)
    cells: list[CellResult] = field(default_factory=list)
    failed_cell: int | Optional = field(name="failedCell", default=UNSET)
    failed_code_cell: int | Optional = field(name="failedCodeCell", default=UNSET)
    failed_cell_id: str | Optional = field(name="failedCellId", default=UNSET)
    last_output: str | Optional = field(name="lastOutput", default=UNSET)
    error: ErrorInfo | Optional = UNSET
    timing: Timing | Optional = UNSET
    timed_out: bool | Optional = field(name="timedOut", default=UNSET)
    interrupted: bool | Optional = UNSET
    output_complete: bool = field(name="outputComplete", default=True)
    auto_installed: list[str] | Optional = field(name="autoInstalled", default=UNSET)
    hook: Hook | Optional = UNSET
    synced: Synced | Optional = UNSET
    pulled: list[Pulled] | Optional = UNSET
    release: Release | Optional = UNSET
    held: list[Held] | Optional = UNSET
    notice: str | Optional = UNSET

    def blame(self, cell: CellResult) -> None:
        """Report a cell's failure as that of the notebook."""
        self.status = "error"
        self.error, self.error_code, self.exit_code = cell.error, cell.error_code or 0, cell.exit_code or 1
        self.failed_cell, self.failed_cell_id = cell.index, cell.id
        before = self.cells[: self.cells.index(cell) + 1]
        if isinstance(cell.index, int):
            self.failed_code_cell = sum(isinstance(item.index, int) for item in before) - 1
        printed = (text for item in reversed(before) for text in (item.stderr, item.stdout) if isinstance(text, str))
        line = next((text.strip().splitlines()[-1] for text in printed if text.strip()), None)
        self.last_output = UNSET if line is None else line[:LAST_OUTPUT]

    def fail(self, error: Error, status: Literal["error", "unknown"] = "error") -> None:
        """Report `error` as the result, unless a cell has failed before."""
        if self.status in ("error", "unknown"):
            return
        self.status, self.error_code, self.exit_code = status, error.code, error.exit_status
        self.error = ErrorInfo.of(error)


class Notebook(Struct, kw_only=True):
    """One entry of `notebook list`, as Drive has it; `colabName` is the name in the notebook itself, with --enrich.
    `account` is whose Drive it is, or `unknown`."""

    id: str
    name: str
    created_time: str = field(name="createdTime")
    modified_time: str = field(name="modifiedTime")
    web_view_link: str | Optional = field(name="webViewLink", default=UNSET)
    colab_name: str | Optional = field(name="colabName", default=UNSET)
    account: str | Optional = UNSET


class NotebookStored(Notebook, kw_only=True):
    """`notebook create`, `push`, `rename` and `open`: the notebook, and its address in Colab."""

    link: str
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class NotebookDeleted(Struct, kw_only=True):
    """`notebook delete`. Unless `permanent`, the notebook is in Drive's bin for thirty days."""

    deleted: Literal[True] = True
    id: str
    name: str
    permanent: bool
    account: str | Optional = UNSET
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class NotebookPulled(Struct, kw_only=True):
    """`notebook pull`: the file that was written, and its size in bytes."""

    id: str
    name: str
    output: str
    bytes: int
    account: str | Optional = UNSET
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class NotebookConverted(Struct, kw_only=True):
    """`notebook convert`: the file that was made, and how many cells it has."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    notebook: str
    output: str
    cells: int


class NotebookParameter(Struct, kw_only=True):
    """A parameter of a notebook: its default as source, its type if that is known, and what the author says of it."""

    name: str
    type: str | Optional = UNSET
    default: str
    help: str | Optional = UNSET


class NotebookParameters(Struct, kw_only=True):
    """`notebook parameters`: what the cell tagged `parameters` sets, in order."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    notebook: str
    parameters: list[NotebookParameter]
    notice: str | Optional = UNSET


class CellStartEvent(Struct, kw_only=True, tag_field="type", tag="cell_start"):
    """`--events` of a notebook: a cell begins; the output that follows is its own. `position` of `total`, from 1."""

    index: int | Optional = UNSET
    id: str | Optional = UNSET
    position: int
    total: int


class CellEvent(Struct, kw_only=True, tag_field="type", tag="cell"):
    """`--events` of a notebook: a cell has ended."""

    cell: CellResult


NotebookEvent = StreamEvent | DisplayEvent | ClearEvent | NoticeEvent | HeartbeatEvent | CellStartEvent | CellEvent


class PackageChange(Struct, kw_only=True):
    """A distribution that was installed (no `before`), removed (no `after`), or replaced."""

    name: str
    before: str | Optional = UNSET
    after: str | Optional = UNSET


class Install(Struct, kw_only=True):
    """The document of `install`.

    `python` is the interpreter that was installed into. `restartNeeded`: the session's kernel has already imported
    `loadedModules`, which were changed; null if the kernel was too busy to answer, absent, like `changed`, if we do not
    know what changed.
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
    held: list[Held] | Optional = UNSET
    notice: str | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "install": Install,
    "notebook-run": NotebookRun,
    "notebook-convert": NotebookConverted,
    "notebook-parameters": NotebookParameters,
    "notebook-list": list[Notebook],
    "notebook-stored": NotebookStored,
    "notebook-delete": NotebookDeleted,
    "notebook-pull": NotebookPulled,
    "notebook-event": NotebookEvent,
}
