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
from ..jupyter.widgets import STATE, Widgets
from ..models.base import ErrorInfo
from ..models.notebooks import CellResult, NotebookRun
from ..models.runs import Run, Truncated
from ..runs import kernel_runs
from ..sessions.session import Session
from . import cell_outputs, kernel_place, papermill_metadata
from . import document as notebook
from .autosave import Autosave
from .options import DEFAULT, NotebookOptions

if TYPE_CHECKING:
    from ..jupyter.kernel_channels import KernelConnection
    from ..models.base import Timing

CELL_OUTPUT = 4096  # bytes of each stream of a cell in the document
NOTEBOOK_OUTPUT = 16 << 20  # characters of a stream of a cell in the notebook, if the document has no more
LANGUAGE_WAIT = 5.0  # seconds for a kernel to tell its language; a busy one does not
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
        self.timed_out = False  # a cell has reached its limit
        self._observer = observer
        self._limit = max_output
        self._displays = cell_outputs.Displays(None if max_output is None else max(max_output, NOTEBOOK_OUTPUT))
        self._widgets = Widgets()
        if all(step.wanted for step in steps):  # no cell keeps an output of an earlier run
            content.metadata.pop("widgets", None)
        self._outputs = cell_outputs.CellOutputs(self._displays)
        self._collector = self._new_collector()

    def _new_collector(self) -> outputs.Collector:
        error_limit = None if self._limit is None else max(self._limit, CELL_ERROR)
        return outputs.Collector(outputs.OutputOptions(max_output=self._limit, max_error=error_limit))

    def begin(self, number: int) -> None:
        """The cell of that number (among `steps`) begins."""
        self._outputs = cell_outputs.CellOutputs(self._displays)
        self._collector = self._new_collector()
        self.results[number].status = "running"
        papermill_metadata.cell_begins(self.steps[number].cell)
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
        self.results[number].left_out = self._outputs.left_out or UNSET
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
        result.shell_exit = run.shell_exit
        result.timing, result.execution_count = run.timing, run.execution_count
        self.complete = self.complete and run.output_complete
        shown = raised is not None and self._outputs.has_shown(raised.name, raised.message)
        if shown or run.status == "ok":  # sys.exit(0), too
            pass
        elif raised is not None:
            # Viewers show nothing but the traceback, which not every kernel, and no exception group, brings.
            told = raised.traceback or [f"{raised.name}: {raised.message}"]
            self._outputs.fail(raised.name, raised.message, told)
        elif isinstance(run.error, ErrorInfo):
            self._outputs.fail(run.error.name, run.error.message, [f"{run.error.name}: {run.error.message}"])
        self._outputs.settle()
        self._outputs.put(step.cell, run.execution_count)
        result.left_out = self._outputs.left_out or UNSET
        self._widgets.merge(outcome.execution.widgets)
        self._put_widgets()
        if result.status == "error" and raised is not None and step.allows(raised.name) and _is_of_the_code(outcome):
            result.allowed = True
        elif result.status == "error" and self.failure is None:
            self.failure = result
        papermill_metadata.cell_ended(step.cell, result.timing, failed=result.status == "error" and not result.allowed)
        self._observer.ended(result)
        return (result.status == "ok" and raised is None) or result.allowed is True

    def _put_widgets(self) -> None:
        """Put the state of widgets into the notebook, beside that of cells that were not run."""
        found = self._widgets.metadata(self._displays.captured())
        if found is None:
            return
        before = self.content.metadata.get("widgets", {})
        old = before.get(STATE, {}).get("state", {}) if isinstance(before, dict) else {}
        found[STATE]["state"] = {**(old if isinstance(old, dict) else {}), **found[STATE]["state"]}
        self.content.metadata["widgets"] = found

    def document(self, name: str, session: Session, timing: Timing) -> NotebookRun:
        """All of it; cells that were not reached are `not_run`."""
        document = NotebookRun(
            status="ok", notebook=name, session=session.record.ref, cells=self.results, timing=timing
        )
        papermill_metadata.ended(self.content, timing, failed=self.failure is not None)
        document.output_complete = self.complete
        if self.timed_out:
            document.timed_out = True
        if (failed := self.failure) is not None:
            document.blame(failed)
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


def note_language(content: Any, connection: KernelConnection) -> bool:
    """Put into the notebook what the kernel says of its language: viewers choose their colours by it. False if it does
    not answer in time."""
    info = connection.language_info(LANGUAGE_WAIT)
    if info is not None:
        content.metadata["language_info"] = info
    return info is not None


def run_notebook(
    session: Session,
    progress: NotebookProgress,
    name: str,
    save: Callable[[], None],
    options: NotebookOptions = DEFAULT,
) -> NotebookRun:
    """Run a notebook's cells in the session's kernel, one after the other, and stop at the first that fails.

    Args:
        name: of the notebook, for the document.
        save: called after cells, and now and then while one runs. The caller saves at the end.
        options: limits, and what the code finds.

    Raises:
        errors.Error: nothing was run. What happens after that is in the document.
    """
    connection = session.connect_kernel()
    course = _Course(session, connection, progress, save, options)
    started = datetime.now(UTC)
    try:
        told = note_language(progress.content, connection)
        kernel_place.enter(connection, options.place)
        try:
            with course.saving.running():
                course.run()
            if not told:  # the kernel was still starting, or busy with other code
                note_language(progress.content, connection)
        except KeyboardInterrupt as interrupt:  # between two cells
            course.interrupted = errors.interrupted_status(interrupt)
        finally:
            kernel_place.leave(connection, options.place)
    finally:
        connection.close()
    document = progress.document(name, session, Outcome(Execution(""), started).timing)
    document.run_id = messages.new_run_id()
    course.conclude(document)
    return document


class _Course:
    """The cells of one notebook, run one after the other over one connection."""

    def __init__(
        self,
        session: Session,
        connection: KernelConnection,
        progress: NotebookProgress,
        save: Callable[[], None],
        options: NotebookOptions,
    ) -> None:
        self.interrupted: int | None = None
        self._session = session
        self._connection = connection
        self._progress = progress
        self._number = 0  # of the cell that runs
        self._options = options
        self.saving = Autosave(save, lambda: progress.show(self._number, None), options.save_every)
        self._deadline = None if options.timeout is None else time.monotonic() + options.timeout
        self._ended: errors.Error | None = None  # why the rest is not run, if no cell failed
        self._timed_out = self._unknown = False

    def run(self) -> None:
        """Run what is wanted, until something ends it."""
        for number, step in enumerate(self._progress.steps):
            if not step.wanted:
                continue
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._timed_out = True
                self._ended = errors.TimeLimit(
                    "time limit reached between two cells",
                    name="TimeLimit",
                    hint="allow more with --timeout TIME (20m, 2h)",
                )
                return
            outcome, run = self._cell(number, step)
            with self.saving.ending():
                may_go_on = self._progress.end(number, run, outcome)
                name_rest(self._progress.results[number], self._session.reading_command(outcome.execution.msg_id))
            self.interrupted, self._timed_out = outcome.interrupted, outcome.timed_out
            self._unknown = run.status == "unknown"
            # Later cells rely on the kernel's state, and on a user who wants them run.
            if self.interrupted is not None or self._timed_out or self._unknown or outcome.execution.death is not None:
                return
            # sys.exit(0) ends a notebook as it ends a program: later cells are not run, and nothing failed.
            keep_going = self._options.keep_going and not step.stops
            if not (may_go_on or (keep_going and run.status != "ok")):
                return

    def _cell(self, number: int, step: notebook.Step) -> tuple[Outcome, Run]:
        """Run one cell; once more after each package that was missing and could be installed."""
        while True:
            outcome, run = self._once(number, step)
            if self._options.install is None or run.status != "error" or not self._options.install(run):
                return outcome, run

    def _once(self, number: int, step: notebook.Step) -> tuple[Outcome, Run]:
        progress = self._progress
        self._number = number
        self.saving.change(lambda: progress.begin(number))
        left = None if self._deadline is None else max(self._deadline - time.monotonic(), 0.01)
        of_the_cell = self._options.cell_timeout is not None and (left is None or self._options.cell_timeout < left)
        limits = WatchLimits(
            timeout=self._options.cell_timeout if of_the_cell else left, idle_timeout=self._options.idle_timeout
        )
        outcome = kernel_runs.watched_run(
            self._session,
            self._connection,
            step.cell.source,
            lambda event: self.saving.change(lambda: progress.take(event)),
            limits=limits,
            on_input=self._options.on_input,
        )
        run = kernel_runs.run_document(self._session, outcome)
        if of_the_cell and outcome.timed_out:
            name_cell_limit(run)
        return outcome, run

    def conclude(self, document: NotebookRun) -> None:
        """Add what ended the notebook, beyond its cells."""
        if self.interrupted is not None:
            document.interrupted = True
            ended = errors.RuntimeFailure(
                "interrupted", name="Interrupted", hint="run the rest: repeat the same command with --from-cell CELL"
            )
            document.fail(ended)
            document.exit_code = self.interrupted
        elif self._ended is not None:
            document.fail(self._ended)
        if self._timed_out:
            document.timed_out = True
        if self._unknown:
            document.status = "unknown"


def name_rest(result: CellResult, command: str) -> None:
    """Say which command prints all that a cell has shown, where the notebook has a part of it."""
    if result.left_out is not UNSET and isinstance(result.truncated, Truncated):
        result.truncated.get = command


def name_cell_limit(run: Run) -> None:
    """Say with which option the limit of a cell is set."""
    if isinstance(run.error, ErrorInfo) and isinstance(run.error.suggestion, str):
        run.error.suggestion = run.error.suggestion.replace(" --timeout ", " --cell-timeout ")
