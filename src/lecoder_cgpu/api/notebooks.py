"""Notebooks for programs: read, executed in a session's kernel or left there as a job, and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors, results
from ..notebooks import document as notebook
from ..notebooks import jobs, kernels, papermill_metadata, remembered, runs, scripts
from ..notebooks.kernel_place import Place
from ..notebooks.options import NotebookOptions
from ..runs import auto_install, records
from ..runs.run_record import RunRecord
from ..system import atomic_files
from .session_base import silent

if TYPE_CHECKING:
    from ..jupyter.messages import Event
    from ..models.jobs import JobStarted
    from ..models.notebooks import CellResult, NotebookRun
    from ..sessions.session import Session

__all__ = ["Observer", "Prepared", "Wanted", "collected", "output_of"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a notebook is to be executed; `Session.run_notebook` explains the fields."""

    parameters: Mapping[str, Any] | None = None
    kernel_name: str | None = None
    cwd: str | None = None
    environment: Mapping[str, str] | None = None
    timeout: float | None = None
    cell_timeout: float | None = None
    keep_going: bool = False
    restart: bool = False
    auto_install: bool = False

    @property
    def options(self) -> NotebookOptions:
        """The part that the execution needs."""
        return NotebookOptions(
            timeout=self.timeout,
            cell_timeout=self.cell_timeout,
            keep_going=self.keep_going,
            place=Place(cwd=self.cwd, variables=dict(self.environment or {})),
        )


def output_of(path: Path, output: str | Path | None) -> Path:
    """Where the executed notebook goes: beside the source unless it is said where.

    Raises:
        errors.UsageError: (`SourceIsOutput`, `NoSuchFolder`) it cannot go there.
    """
    if not path.name:
        raise errors.UsageError("a notebook is needed", name="NoNotebook", hint="give the path of one")
    if output is None:
        target = notebook.chosen(path.with_name(f"{path.stem}.executed.ipynb"))
    else:
        target = Path(output).expanduser()
    if target == path:
        raise errors.UsageError(
            f"{target} is the source itself", name="SourceIsOutput", hint="give another output, in a folder that exists"
        )
    if not _may_be_written(target):
        raise errors.UsageError(
            f"{target} cannot be written: its folder is missing, or it is no file",
            name="NoSuchFolder",
            hint="give another output, in a folder that exists",
        )
    return target


def _may_be_written(target: Path) -> bool:
    try:
        return target.parent.is_dir() and atomic_files.is_replaceable(target)
    except OSError:  # its name is too long
        return False


def _parameters(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Values for a notebook.

    Raises:
        errors.UsageError: (`BadParameter`) one cannot be written in a notebook.
    """
    for name, value in (given or {}).items():
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise errors.UsageError(
                f"the parameter {name} cannot be written in a notebook: {error}",
                name="BadParameter",
                hint="give texts, numbers, True, False, None, and lists and dicts of them",
            ) from error
    return dict(given or {})


class Prepared:
    """A notebook that was read, with its parameters in it.

    Args:
        path: of the notebook, or of a text of cells. target: where the executed one goes; None for a job.

    Raises:
        errors.NotFoundError: there is no such file. errors.UsageError: it is no notebook, or cannot be run there.
    """

    def __init__(self, held: Session, path: Path, wanted: Wanted, target: Path | None) -> None:
        self.held = held
        self.name = str(path)
        self.wanted = wanted
        self.content = _read(path, held.notify)
        parameters = _parameters(wanted.parameters)
        language = kernels.language(self.content, wanted.kernel_name)
        self.steps = notebook.plan(self.content, parameters=parameters, language=language)
        cells = [step.cell for step in self.steps if step.wanted]
        output = None if target is None else str(target)
        papermill_metadata.begin(self.content, cells, parameters, input_path=self.name, output_path=output)
        if wanted.kernel_name is None:
            kernels.check(self.content, self.name, held)
        chosen = kernels.choose(held, self.content, self.name, wanted.kernel_name)
        if chosen != language and parameters:
            notebook.write_parameters(self.content, self.steps, parameters, chosen)
        if wanted.cwd is not None or wanted.environment:
            held.require_python("cwd and environment")
        if wanted.restart and held.kernel() is not None:
            held.restart_kernel()
            records.remember_restart(held)

    def run(self, target: Path, observer: runs.Observer, max_output: int | None) -> NotebookRun:
        """Execute it and write it to `target`, also when a cell fails."""
        progress = runs.NotebookProgress(self.content, self.steps, observer, max_output)

        def save() -> None:
            notebook.save(self.content, target)

        repair = auto_install.CellRepair(self.held, self.held.notify, silent) if self.wanted.auto_install else None
        options = replace(self.wanted.options, install=repair)
        record = RunRecord(self.held.notify, "kernel")
        with record.beginning(self.held, f"notebook {self.name}", parts=True):
            document = runs.run_notebook(self.held, progress, self.name, save, options)
        save()
        if repair is not None and repair.packages:
            document.auto_installed = repair.packages
        document.output = str(target)
        run, record.displays = remembered.run_of(document, self.content)
        record.end(self.held, run, f"notebook {self.name}")
        return document

    def start(self, key: str | None, pull: Sequence[str] | None) -> JobStarted:
        """Start it as a job."""
        document = jobs.start(
            self.held, self.content, self.steps, self.name, self.wanted.options, key=key, pull=pull or None
        )
        records.remember_job(self.held, document, f"notebook {self.name}", "kernel")
        return document


def collected(held: Session, job: str, output: str | Path | None, max_output: int | None) -> NotebookRun:
    """What became of a notebook job so far, and with `output` the notebook as it is now, written there.

    Raises:
        errors.NotFoundError: there is no such job. errors.UsageError: it is no notebook.
    """
    from ..runs.jobs import Jobs

    with Jobs(held) as known:
        state = known.find(job)
        document, content = jobs.collect(held, known.helper, state, max_output=max_output)
    if output is not None:
        target = Path(output).expanduser()
        notebook.save(content, target)
        document.output = str(target)
    run, displays = remembered.run_of(document, content)
    records.note_outputs(held, run, displays)
    return document


class Observer:
    """Tells of a notebook's progress: `on_event` of every output, `on_cell` of each cell that has ended."""

    def __init__(
        self,
        on_event: Callable[[Event], None] | None = None,
        on_cell: Callable[[results.CellResult], None] | None = None,
    ) -> None:
        self._on_event = on_event
        self._on_cell = on_cell

    def started(self, step: notebook.Step, position: int, total: int) -> None:
        """A cell begins."""

    def event(self, event: Event) -> None:
        """A cell has shown something."""
        if self._on_event is not None:
            self._on_event(event)

    def ended(self, result: CellResult) -> None:
        """A cell has ended."""
        if self._on_cell is not None:
            self._on_cell(results.of(result))


def _read(path: Path, tell: Callable[[str], None]) -> Any:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise errors.FileNotFound(f"{path}: no such file", hint=f"ls {path.parent}") from None
    except IsADirectoryError:
        raise errors.UsageError(
            f"{path} is a folder", name="IsADirectory", hint=f"name a file in it: ls {path}"
        ) from None
    except OSError as error:
        raise errors.UsageError(
            f"{path} cannot be read: {error.strerror or error}", name="FileNotReadable", hint=f"chmod u+r {path}"
        ) from error
    if not scripts.is_text(str(path)):
        return notebook.parse(content, str(path), tell)
    try:
        return scripts.parse(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise errors.UsageError(f"{path} is not text in UTF-8", name="NotText", hint="save it as UTF-8") from None
