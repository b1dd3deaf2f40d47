"""Notebooks that run without their client: started as jobs, and reconstructed from what the runtime kept.

The job is a process run like any other (waited for, killed and limited like one); its program, the notebook driver,
executes the cells in the session's kernel and writes the kernel's messages into the run's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from .. import errors
from ..helper import bootstrap
from ..helper.client import Helper
from ..helper.documents import RunState
from ..helper.launch import Launch
from ..jupyter import messages
from ..jupyter.execution import Execution
from ..jupyter.outcome import Outcome
from ..models.jobs import JobStarted
from ..runs import job_names, jobs, kernel_runs, remote_programs
from ..sessions.session import Session
from ..system import logs, redaction
from . import document as notebook
from . import kernel_place, kernels
from .options import DEFAULT, NotebookOptions
from .runs import NotebookProgress, name_cell_limit, name_rest, note_language

if TYPE_CHECKING:
    from ..models.notebooks import CellResult, NotebookRun

KIND = "notebook"


class _Place(msgspec.Struct):
    """A code cell as the job's spec remembers it: where it is now, where it was in the source, whether it runs."""

    cell: int
    index: int | None
    wanted: bool


class _Spec(msgspec.Struct):
    """The part of the first line of `messages` that `collect` needs."""

    name: str
    notebook: dict[str, Any]
    places: list[_Place]
    allowed_names: list[str] = msgspec.field(name="allowedNames", default_factory=list)


class _Line(msgspec.Struct):
    """A later line of `messages`; `message` is JSON still."""

    begin: int | None = None
    cell: int | None = None
    message: msgspec.Raw = msgspec.Raw(b"")
    end: int | None = None
    how: str = ""
    at: float = 0.0
    bases: list[str] = []
    dropped: int = 0


# --- starting -------------------------------------------------------------------------------------------------------


def start(
    session: Session,
    content: Any,
    steps: list[notebook.Step],
    name: str,
    options: NotebookOptions = DEFAULT,
    *,
    key: str | None = None,
    pull: Sequence[str] | None = None,
    job_name: str | None = None,
) -> JobStarted:
    """Start a planned notebook as a job in the session's kernel.

    Args:
        name: of the notebook, for people.
        options: limits, and what the code finds. Nobody answers `input()` or installs what is missing.
        key: makes the start idempotent: the same key with the same notebook is the same job.
        pull: results that are noted with the job, for `job wait`. job_name: what people may call the job.

    Raises:
        errors.UsageError: (`NoSharedMachine`) the server keeps its kernels where the helper does not reach them.
            (`KeyConflict`) the key was used with another notebook. errors.Error: nothing was started.
    """
    connection = session.connect_kernel()  # starts a kernel if none is running
    try:
        note_language(content, connection)
    finally:
        connection.close()
    kernel = session.kernel_record
    if kernel is None or kernel.recorded is False:
        raise errors.UsageError(
            "this server keeps its kernels on another machine, where no job can reach them",
            name="NoSharedMachine",
            hint="leave out --detach",
        )
    run = job_names.key_id(key) if key else messages.new_run_id()
    places = [_Place(_position(content, step), step.index, step.wanted) for step in steps]
    cells = [
        {
            "number": number,
            "code": step.cell.source,
            "allowed": step.allowed,
            "allowedNames": [] if step.stops else list(step.allowed_names),
            "stops": step.stops,
            "label": "parameters" if step.index is None else f"cell {step.index}",
        }
        for number, step in enumerate(steps)
        if step.wanted
    ]
    spec: dict[str, Any] = {"run": run, "name": name, "cells": cells, "notebook": content, "places": places}
    spec |= {"keepGoing": options.keep_going, "cellTimeout": options.cell_timeout}
    spec |= {"lastWords": bootstrap.sources()["last_words"]}
    spec |= {"allowedNames": next((list(step.allowed_names) for step in steps), [])}
    place = options.place
    described = [name, cells, options.keep_going, options.timeout]
    further = [options.cell_timeout, options.idle_timeout, place.cwd, sorted(place.variables)]
    further += [session.other_kernel] if session.other_kernel else []
    if any(further):  # so that a key means the same job as in versions without these
        described.append(further)
    if place.is_given:  # the driver does not write these down
        spec |= {"enter": place.entering(), "leave": kernel_place.leaving()}
    digest = sha256(msgspec.json.encode(described)).hexdigest()
    hidden = [value for value in place.variables.values() if redaction.is_called_secret(value)]
    named = job_name or key
    time, idle = options.timeout, options.idle_timeout
    launch = Launch(cwd=place.cwd, timeout=time, idle_timeout=idle, digest=digest, name=named, pull=pull, hidden=hidden)
    state = remote_programs.start(
        session,
        "notebook_driver",
        run,
        spec | {"connection": lambda hello: f"{hello.connections}/kernel-{kernel.id}.json"},
        kind=KIND,
        label=f"notebook {name}",
        launch=launch,
    )
    return JobStarted(
        job_id=run, job=jobs.describe(state), session=session.record.ref, next=f"lecoder-cgpu notebook fetch {run}"
    )


def _position(content: Any, step: notebook.Step) -> int:
    return next(place for place, cell in enumerate(content.cells) if cell is step.cell)


# --- what became of it ----------------------------------------------------------------------------------------------


class _Nobody:
    """An observer that ignores everything: the output is not news."""

    def started(self, step: notebook.Step, position: int, total: int) -> None: ...
    def event(self, event: messages.Event) -> None: ...
    def ended(self, result: CellResult) -> None: ...


def collect(session: Session, helper: Helper, state: RunState, *, max_output: int | None) -> tuple[NotebookRun, Any]:
    """What became of a notebook job so far: the document, and the notebook with the outputs that there are.

    Args:
        max_output: bytes of each stream of a cell in the document; None is all.

    Raises:
        errors.UsageError: the run is not a notebook.
        errors.NotFoundError: it has not begun, or never did.
        errors.UnexpectedAnswer: what the runtime kept of it cannot be read.
    """
    if state.kind != KIND:
        raise errors.UsageError(
            f"{state.run} is no notebook", name="NotANotebook", hint=f"lecoder-cgpu job result {state.run}"
        )
    lines = iter(_lines(helper, state.run))
    first = next(lines, None)
    if first is None:
        raise errors.NotFoundError(
            f"job {state.run!r} has nothing to show yet: it is {state.state}",
            name="NothingRecorded",
            hint=f"lecoder-cgpu job show {state.run}",
            retryable=not state.ended,
        )
    try:
        spec = msgspec.json.decode(first, type=_Spec)
        content = notebook.library().from_dict(spec.notebook)
        names = spec.allowed_names
        steps = [notebook.Step(content.cells[place.cell], place.index, place.wanted, names) for place in spec.places]
    except (msgspec.MsgspecError, AttributeError, IndexError) as error:  # code on the runtime can write to the file
        raise errors.UnexpectedAnswer(
            f"what the runtime kept of {state.run} is not a notebook: {error}",
            retryable=False,
            hint=f"what it printed: lecoder-cgpu job logs {state.run}",
        ) from error
    progress = NotebookProgress(content, steps, _Nobody(), max_output)
    _replay(session, progress, lines, kernels.language(content))
    begun, ended = _moment(state.started or state.created), datetime.now(UTC)
    if state.result is not None:
        begun, ended = _moment(state.result.started), _moment(state.result.ended)
    timing = Outcome(Execution(""), begun, completed=ended).timing
    document = progress.document(spec.name, session, timing)
    document.job_id = document.run_id = state.run
    for cell in document.cells:
        name_rest(cell, session.reading_command(state.run))
    _conclude(document, state)
    return document, content


def _lines(helper: Helper, run: str) -> list[bytes]:
    content: list[bytes] = []
    rest = b""
    offset = 0
    while True:
        chunk = helper.read(run, "messages", offset)
        if not chunk.data:
            return content  # an incomplete last line is still being written
        offset += len(chunk.data)
        *lines, rest = (rest + chunk.data).split(b"\n")
        content += lines


def _replay(session: Session, progress: NotebookProgress, lines: Any, language: str) -> None:
    """Feed `progress` with the messages that the notebook driver recorded of a kernel of that language."""
    decoder = msgspec.json.Decoder(_Line)
    outcome: Outcome | None = None
    number = 0
    for raw in lines:
        try:
            line = decoder.decode(raw.decode("utf-8", "replace"))
            message = messages.decode(str(bytes(line.message), "utf-8")) if line.message else None
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            logs.current().debug("RUN", f"passed over a line of a notebook's recording: {error}")
            progress.complete = False
            continue
        if line.begin is not None and 0 <= line.begin < len(progress.steps):
            number = line.begin
            outcome = Outcome(Execution(""), datetime.fromtimestamp(line.at, UTC), language=language)
            progress.begin(number)
        elif message is not None and outcome is not None:
            if not outcome.execution.msg_id:  # a recording has the messages of one cell, and no others' between them
                outcome.execution.identify(message.parent)
            event = outcome.execution.receive(message)
            if event is not None and not isinstance(event, messages.InputRequested):
                progress.take(event)
        elif line.end is not None and outcome is not None:
            _end(session, progress, number, outcome, line)
            outcome = None
        elif line.dropped:
            progress.complete = False
    if outcome is not None:
        progress.show(number, outcome.execution.execution_count)


def _end(session: Session, progress: NotebookProgress, number: int, outcome: Outcome, line: _Line) -> None:
    outcome.completed = datetime.fromtimestamp(line.at, UTC)
    outcome.bases = line.bases
    outcome.dropped = outcome.execution.missing > 0
    if line.how == "died":
        outcome.execution.death = "the kernel died or was restarted"
    elif line.how == "abandoned":
        outcome.unknown = True
        outcome.steps.append("the job was ended while the cell did not react to an interrupt")
    elif line.how == "interrupted":
        outcome.interrupted = 130
    outcome.timed_out = line.how == "timeout"
    run = kernel_runs.run_document(session, outcome)
    if outcome.timed_out:
        name_cell_limit(run)
    progress.end(number, run, outcome)
    progress.timed_out = progress.timed_out or outcome.timed_out


def _conclude(document: NotebookRun, state: RunState) -> None:
    """Add what the state of the job says to what its cells say."""
    if not state.ended:
        document.status, document.exit_code = "running", errors.EXIT_STOPPED_WAITING
        document.error_code, document.error = 0, UNSET
        return
    if state.result is None:
        lost = errors.LostError(
            f"how the job ended cannot be known: {state.reason}",
            name="SupervisorLost",
            hint=f"what it has shown: lecoder-cgpu notebook fetch {state.run}",
        )
        document.fail(lost, status="unknown")
        return
    if state.result.timed_out:
        limit = errors.TimeLimit(
            "time limit reached", name="TimeLimit", hint="allow more with --timeout TIME (20m, 2h)"
        )
        document.status = "ok"
        document.fail(limit)
        document.timed_out = True
        return
    status = jobs.exit_status(state) or 0
    if status > 128 and status in (129, 130, 137, 143):
        document.interrupted = True
        document.status = "ok"
        document.fail(
            errors.RuntimeFailure(
                "the job was ended by a signal",
                name="Interrupted",
                hint="run the rest: lecoder-cgpu notebook run NOTEBOOK --from-cell CELL",
            )
        )
        document.exit_code = status
    elif status and document.status == "ok":
        failed = errors.InternalError(
            f"the notebook driver on the runtime ended with exit status {status}",
            name="DriverFailed",
            hint=f"lecoder-cgpu job logs {state.run}",
        )
        document.fail(failed)


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.now(UTC)
