"""Show a run that was started earlier, and tell people how a run ended. For `run`, `job result` and `logs show`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from .. import errors
from ..jupyter.outputs import OutputOptions
from ..models.runs import Stopped, Truncated
from ..runs import kernel_runs, records
from ..sessions.session import Session
from .display_options import HEARTBEAT, INCOMPLETE
from .live import KernelView, ProcessView, failure_text, heartbeat
from .output import Printer

if TYPE_CHECKING:
    from ..models.runs import Run


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """How to show a run; the fields are options of `run`."""

    raw: bool = False
    inline: bool = False
    outputs: Path | None = None
    max_output: int | None = None
    order: bool = False
    heartbeat: float = HEARTBEAT

    def output(
        self,
        printer: Printer,
        *,
        streamed: bool = False,
        filename: str | None = None,
        arguments: Sequence[str] = (),
    ) -> OutputOptions:
        """What of the output the document holds; see `Printer.budget` for `streamed`."""
        return OutputOptions(
            raw=self.raw,
            max_output=printer.budget(self.max_output, streamed=streamed),
            inline=self.inline,
            order=self.order,
            folder=self.outputs,
            filename=filename,
            arguments=tuple(arguments),
        )


def kernel_view(printer: Printer, manner: RenderOptions, start: tuple[int, int] = (0, 0)) -> KernelView:
    """What shows a kernel run, from these offsets of stdout and stderr on; at a terminal with its images."""
    pictures = None
    if printer.mode == "human" and printer.out_is_terminal and not manner.raw:
        from .pictures import at_terminal

        pictures = at_terminal(printer, saves=manner.outputs is None)
    return KernelView(printer, raw=manner.raw, inline=manner.inline, start=start, pictures=pictures)


def run_id_of(session: Session, text: str) -> str:
    """The id of the run that a text names: an id, a beginning of one, or the name of a job."""
    from ..runs.job_names import is_id

    if is_id(text):
        return text
    from ..runs.jobs import Jobs

    with Jobs(session) as jobs:
        return jobs.find(text).run


def earlier(
    printer: Printer,
    session: Session,
    run_id: str,
    manner: RenderOptions,
    *,
    wait: float | None = None,
    start: tuple[int, int] = (0, 0),
) -> Run:
    """Show a run from its first byte, or from these offsets of stdout and stderr on, to its end, whatever became of the
    client that started it.

    Raises:
        errors.NotFoundError: the runtime does not know it. errors.LostError: it went with another runtime.
        errors.Error: the runtime cannot be reached.
    """
    try:
        in_kernel = kernel_runs.is_kernel_run(session, run_id)
    except errors.NotFoundError as error:
        from ..runs.job_names import missing

        raise missing(session, run_id, error) from error
    if in_kernel:
        shown = kernel_view(printer, manner, start)
        with heartbeat(printer, shown.offsets, manner.heartbeat):
            document = kernel_runs.attached_kernel_run(
                session,
                run_id,
                shown.show,
                output=manner.output(printer),
                wait=wait,
                offsets=start,
            )
        shown.finish(document.error)
        records.note_run(session, document)
        return document
    if manner.outputs is not None:
        raise errors.UsageError(
            "a command has no rich outputs", hint="leave out --outputs; files that it wrote: lecoder-cgpu download PATH"
        )
    from ..runs import process_runs

    view = ProcessView(printer, start=start)
    with heartbeat(printer, view.offsets, manner.heartbeat):
        document = process_runs.attached_run(
            session,
            run_id,
            view.show,
            output=manner.output(printer, streamed=True),
            wait=wait,
            offsets=start,
        )
    view.finish()
    records.note_run(session, document)
    return document


def tell(printer: Printer, document: Run, outputs: Path | None = None) -> None:
    """What a person should know beyond the program's own output, on stderr."""
    if not isinstance(document.outputs, type(UNSET)):
        for file in document.outputs:
            printer.note(f"output: {(outputs or Path()) / file.path} ({file.mime})")
    unwatched = document.interrupted is True and document.status == "unknown"  # the error says so
    if not document.output_complete and not unwatched:
        printer.note(INCOMPLETE)
    if isinstance(document.shell_exit, int):
        printer.note(f"warning: a shell command (!) of the code ended with exit status {document.shell_exit}")
    if not isinstance(document.late_output_of, type(UNSET)):
        for run in document.late_output_of:
            printer.note(f"{run}, which ended before, has printed more meanwhile: lecoder-cgpu job logs {run}")
    if not printer.out_is_terminal:  # a terminal has shown them, or was told where they are
        _tell_images(printer, document)
    if document.status == "running":
        assert isinstance(document.run_id, str)
        printer.note(
            f"{document.run_id} is still running; to go on: lecoder-cgpu job wait {document.run_id}, "
            f"with all its output: lecoder-cgpu run --attach {document.run_id}"
        )
        return
    if isinstance(document.remaining, list):
        for process in document.remaining:
            printer.note(f"still running: {process.pid} {process.command}")
        pids = " ".join(str(process.pid) for process in document.remaining)
        end = f'run "kill {pids}"' if document.mode == "kernel" else f"job kill --escalate {document.run_id}"
        printer.note(f"to end that: lecoder-cgpu {end}")
    error = document.error
    if isinstance(error, type(UNSET)):
        if isinstance(document.stopped, Stopped):
            by, steps = document.stopped.by, ", ".join(document.stopped.steps)
            printer.note(f"stopped before its time ({by}: {steps}); it then ended with exit status 0")
        return
    if document.interrupted is True and document.status == "error":
        printer.note("interrupted" + _steps(document))
        return
    told = _speaks_for_itself(document)
    if text := failure_text(error):
        if document.mode == "kernel":  # a process has written its own
            printer.note(text)
            truncated = document.truncated
            if isinstance(truncated, Truncated) and truncated.error_bytes and isinstance(truncated.get, str):
                printer.note(f"all of the error: {truncated.get}")
        if error.category == "runtime":
            return  # the traceback says it all
    elif not told:
        printer.note(f"error: {error.name}: {error.message}{_steps(document)}")
    if isinstance(error.suggestion, str) and not told:
        lacks = error.category == errors.ImportFailure.category
        printer.note(f"hint: {_typed_here(error.suggestion) if lacks else error.suggestion}")


def _typed_here(suggestion: str) -> str:
    """A suggestion as it may be typed at this terminal: documents speak of the runtime's own shell."""
    package = suggestion.removeprefix("pip install ")
    return suggestion if package == suggestion else f"lecoder-cgpu install {package}"


def _tell_images(printer: Printer, document: Run) -> None:
    """That images are not among what was printed, and how to see them."""
    shown = document.display_data if isinstance(document.display_data, list) else []
    hidden = sum(any(mime.startswith("image/") for mime in (*item.data, *(item.omitted or ()))) for item in shown)
    if hidden and isinstance(document.outputs, type(UNSET)):
        what = "an image was" if hidden == 1 else f"{hidden} images were"
        printer.note(
            f"{what} not shown: lecoder-cgpu logs show {document.run_id} --html run.html, or run it with --outputs DIR"
        )


def _speaks_for_itself(document: Run) -> bool:
    """Whether a command ended of its own accord: it has printed why, and its exit status is ours."""
    ended_by_others = document.signal == "SIGKILL" or document.exit_code == 137
    stopped = isinstance(document.signal, str) and isinstance(document.stopped, Stopped)
    failed = document.mode == "terminal" and document.status == "error"
    return failed and document.error_code == errors.RuntimeFailure.code and not (ended_by_others or stopped)


def _steps(document: Run) -> str:
    """What it took to end the run, where that was more than one step."""
    stopped = document.stopped
    if isinstance(stopped, Stopped) and len(stopped.steps) > 1:
        return f" ({', '.join(stopped.steps)})"
    return ""
