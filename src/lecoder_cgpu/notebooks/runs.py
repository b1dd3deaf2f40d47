"""Notebook runs: cell after cell in the session's kernel. The outputs of each cell go into the notebook at once.

`NotebookProgress` knows how far a notebook has come. `run_notebook` feeds it over the kernel's socket, and `jobs` with
what the runtime recorded of a detached notebook.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import UNSET

from .. import errors
from ..jupyter import messages, outputs
from ..jupyter.execution import Execution
from ..jupyter.outcome import Outcome
from ..jupyter.watch_limits import WatchLimits
from ..models.base import ErrorInfo
from ..models.notebooks import CellResult, NotebookRun
from ..models.runs import Run
from ..runs import kernel_runs
from ..sessions.session import Session
from . import cell_outputs
from . import document as notebook

if TYPE_CHECKING:
    from ..models.base import Timing

CELL_OUTPUT = 4096  # bytes of each stream of a cell in the document: the notebook has all of it
CELL_ERROR = 16384  # bytes of the message of its error, and of the traceback


class Observer(Protocol):
    """Something that is told of a notebook's progress."""

    def started(self, step: notebook.Step, position: int, total: int) -> None: ...
    def event(self, event: messages.Event) -> None: ...
    def ended(self, result: CellResult) -> None: ...


class NotebookProgress:
    """What became of a notebook's cells so far, in the notebook itself and as results.

    Args:
        content: the notebook; outputs are put into it.
        steps: its code cells, as planned.
        observer: told of everything.
        max_output: bytes of each stream of a cell that the results may hold; None is all.
    """

    def __init__(
        self, content: Any, steps: list[notebook.Step], observer: Observer, max_output: int | None = CELL_OUTPUT
    ) -> None:
        self.content = content
        self.steps = steps
        self.results = [_initial(step) for step in steps]
        self.failure: CellResult | None = None  # of the first cell that failed and may not
        self.complete = True
        self._observer = observer
        self._limit = max_output
        self._displays = cell_outputs.Displays()
        self._outputs = cell_outputs.CellOutputs(self._displays)
        self._collector = self._new_collector()

    def _new_collector(self) -> outputs.Collector:
        error_limit = None if self._limit is None else max(self._limit, CELL_ERROR)
        return outputs.Collector(limit=self._limit, error_limit=error_limit)

    def begin(self, number: int) -> None:
        """The cell of that number (among `steps`) begins."""
        self._outputs = cell_outputs.CellOutputs(self._displays)
        self._collector = self._new_collector()
        self.results[number].status = "running"
        wanted = [place for place, step in enumerate(self.steps) if step.wanted]
        self._observer.started(self.steps[number], wanted.index(number) + 1, len(wanted))

    def take(self, event: messages.Event) -> None:
        """The present cell has shown something."""
        self._outputs.add(event)
        self._collector.add(event)
        self._observer.event(event)

    def show(self, number: int, execution_count: int | None) -> None:
        """Put the outputs so far of a cell that still runs into the notebook."""
        self._outputs.put(self.steps[number].cell, execution_count)
        run = Run(status="ok", error_code=0, exit_code=0, mode="kernel")
        self._collector.fill(run)
        _put_output(self.results[number], run)
        self.results[number].execution_count = execution_count

    def end(self, number: int, run: Run, outcome: Outcome) -> bool:
        """The cell has ended; whether the notebook may go on after it."""
        step, result = self.steps[number], self.results[number]
        raised = outcome.execution.raised
        self._collector.fill(run)
        _put_output(result, run)
        result.status = "ok" if run.status == "ok" else "error"
        result.error, result.error_code, result.exit_code = run.error, run.error_code, run.exit_code
        result.timing, result.execution_count = run.timing, run.execution_count
        self.complete = self.complete and run.output_complete
        if run.status == "ok":  # sys.exit(0), too
            pass
        elif raised is not None:
            self._outputs.fail(raised.name, raised.message, raised.traceback)
        elif isinstance(run.error, ErrorInfo):
            self._outputs.fail(run.error.name, run.error.message, [f"{run.error.name}: {run.error.message}"])
        self._outputs.put(step.cell, run.execution_count)
        if result.status == "error" and step.allowed and _is_of_the_code(outcome):
            result.allowed = True
        elif result.status == "error" and self.failure is None:
            self.failure = result
        self._observer.ended(result)
        return (result.status == "ok" and raised is None) or result.allowed is True

    def document(self, name: str, session: Session, timing: Timing) -> NotebookRun:
        """All of it; cells that were not reached are `not_run`."""
        document = NotebookRun(
            status="ok", notebook=name, session=session.record.ref, cells=self.results, timing=timing
        )
        document.output_complete = self.complete
        if (failed := self.failure) is not None:
            document.status = "error"
            document.error, document.error_code = failed.error, failed.error_code or 0
            document.exit_code = failed.exit_code or 1
            document.failed_cell = failed.index
        return document


def _initial(step: notebook.Step) -> CellResult:
    result = CellResult(status="not_run" if step.wanted else "skipped")
    if step.index is not None:
        result.index = step.index
    if name := step.cell.get("id"):
        result.id = str(name)
    return result


def _put_output(result: CellResult, run: Run) -> None:
    result.stdout = run.stdout or UNSET
    result.stderr = run.stderr
    result.output_bytes = run.output_bytes
    result.truncated = run.truncated
    if isinstance(run.display_data, list):
        result.displays = [list(shown.data or shown.omitted or {}) for shown in run.display_data]


def _is_of_the_code(outcome: Outcome) -> bool:
    """Whether the code itself failed: not a limit, an interrupt by the user, or the kernel's death."""
    return outcome.execution.raised is not None and not outcome.timed_out and outcome.interrupted is None


def run_notebook(
    session: Session,
    progress: NotebookProgress,
    name: str,
    save: Callable[[], None],
    *,
    timeout: float | None = None,
    keep_going: bool = False,
) -> NotebookRun:
    """Run a notebook's cells in the session's kernel, one after the other, and stop at the first that fails.

    Args:
        name: of the notebook, for the document.
        save: called after every cell.
        timeout: seconds for all of it; then the present cell is interrupted and nothing more is run.
        keep_going: run the other cells after one has failed.

    Raises:
        errors.Error: nothing was run. What happens after that is in the document.
    """
    connection = session.connect_kernel()
    started = datetime.now(UTC)
    deadline = None if timeout is None else time.monotonic() + timeout
    ended: errors.Error | None = None  # why the rest is not run, if no cell failed
    interrupted: int | None = None
    timed_out = unknown = False
    try:
        for number, step in enumerate(progress.steps):
            if not step.wanted:
                continue
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                timed_out = True
                ended = errors.TimeLimit(
                    "time limit reached between two cells", name="TimeLimit", hint="allow more with --timeout SECONDS"
                )
                break
            progress.begin(number)
            limits = WatchLimits(timeout=left)
            outcome = kernel_runs.watched_run(session, connection, step.cell.source, progress.take, limits=limits)
            run = kernel_runs.run_document(session, outcome)
            may_go_on = progress.end(number, run, outcome)
            save()
            interrupted, timed_out, unknown = outcome.interrupted, outcome.timed_out, run.status == "unknown"
            # Later cells rely on the kernel's state, and on a user who wants them run.
            if interrupted is not None or timed_out or unknown or outcome.execution.death is not None:
                break
            # sys.exit(0) ends a notebook as it ends a program: later cells are not run, and nothing failed.
            if not (may_go_on or (keep_going and run.status != "ok")):
                break
    except KeyboardInterrupt as interrupt:  # between two cells
        interrupted = errors.interrupted_status(interrupt)
    finally:
        connection.close()
    document = progress.document(name, session, Outcome(Execution(""), started).timing)
    document.run_id = messages.new_run_id()
    if interrupted is not None:
        document.interrupted = True
        ended = errors.RuntimeFailure(
            "interrupted", name="Interrupted", hint="run the rest: repeat the same command with --from-cell CELL"
        )
        document.fail(ended)
        document.exit_code = interrupted
    elif ended is not None:
        document.fail(ended)
    if timed_out:
        document.timed_out = True
    if unknown:
        document.status = "unknown"
    return document
