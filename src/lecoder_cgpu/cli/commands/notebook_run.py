"""`notebook run` (and `run NOTEBOOK.ipynb`) and `notebook fetch`: notebooks executed on a runtime."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET, UnsetType

from ... import errors
from ...models.runs import Run
from ...runs import records
from ...sessions.session import Session
from .. import own_runtime, runtime_options
from ..app import App, Command
from ..output import Answer

if TYPE_CHECKING:
    from ...models.notebooks import NotebookRun

_max_output = click.option(
    "--max-output",
    type=click.IntRange(min=0),
    metavar="BYTES",
    help="Bytes of each stream of a cell in the document; 0 is all. Default: 4 KiB. The notebook has all of it.",
)


@click.command(cls=runtime_options.RuntimeCommand, name="run")
@click.argument("notebook")
@click.option("-o", "--output", metavar="FILE", help="The executed notebook. Default: NAME.executed.ipynb beside it.")
@click.option("--in-place", is_flag=True, help="Write the outputs into the source itself, in Drive, too.")
@click.option("-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="Set a parameter (number, text, JSON).")
@click.option("-r", "--raw-parameter", multiple=True, metavar="NAME=TEXT", help="The same, always as text.")
@click.option("-P", "--parameters", multiple=True, metavar="FILE", help="Parameters from a YAML or JSON file.")
@click.option("--from-cell", metavar="CELL", help="Begin with this cell: its place (from 0) or its id.")
@click.option("--only", multiple=True, metavar="CELLS", help="Run only these: a place, a range such as 3-5, or an id.")
@click.option("--keep-going", is_flag=True, help="Run the remaining cells after one has failed.")
@click.option("--restart", is_flag=True, help="Begin with a fresh kernel: variables of earlier runs are gone.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="End the work after that."
)
@click.option("--detach", "--background", is_flag=True, help="Start the work and leave it running; prints its job id.")
@click.option("--key", metavar="KEY", help="With --detach: the same key and notebook is the same job, however often.")
@click.option("--events", "events_mode", is_flag=True, expose_value=False, help="Print NDJSON events as they happen.")
@_max_output
@own_runtime.option
@runtime_options.runtime_options(new=True)
@click.option("-v", "--verbose", is_flag=True, help="Tell on stderr which session is used.")
@click.pass_obj
def run(app: App, /, notebook: str, **options: Any) -> Answer:
    """Run a notebook's cells in the session's kernel, one after the other, until one fails.

    Outputs are saved after every cell, and the exit status is that of the first failure. Parameters are set in a cell
    of their own behind the one tagged `parameters`. Cells tagged `skip-execution` are left out; those tagged
    `raises-exception` may fail. Variables stay in the kernel, so --from-cell goes on where an earlier run stopped.

    \b
    lecoder-cgpu run train.ipynb -p lr=0.01 -p layers='[64, 32]' -o trained.ipynb
    lecoder-cgpu run train.ipynb --from-cell 4 --json
    lecoder-cgpu run https://colab.research.google.com/drive/1AbCdEf --in-place
    """
    return _Run(app, notebook, options).answer()


class _Run:
    """One `notebook run`: everything that can be checked here is, before a runtime is asked for."""

    def __init__(self, app: App, name: str, options: dict[str, Any]) -> None:
        from ...notebooks import document as notebook
        from .. import notebooks

        self.app = app
        self.printer = app.printer
        self.options = options
        if options["key"] is not None and not options["detach"]:
            raise errors.UsageError("--key is for jobs", hint="add --detach")
        if options["detach"] and (options["output"] is not None or options["in_place"]):
            raise errors.UsageError(
                "a job has no file to write to until it is fetched",
                name="ConflictingOptions",
                hint="leave out -o and --in-place; when it has ended: lecoder-cgpu notebook fetch JOB -o FILE",
            )
        if options["rm"] and options["detach"]:
            raise errors.UsageError(
                "--rm gives the runtime back when this command ends, so it does not go with --detach",
                name="ConflictingOptions",
                hint="leave out --rm or --detach",
            )
        parameters = notebooks.parameters(options["parameter"], options["raw_parameter"], options["parameters"])
        self.source = notebooks.read(name, app)
        if not options["detach"]:
            self.target = notebooks.target(self.source, options["output"], in_place=options["in_place"])
        unknown = notebook.unknown_parameters(self.source.content, parameters)
        self.steps = notebook.plan(
            self.source.content, from_cell=options["from_cell"], only=options["only"], parameters=parameters
        )
        if unknown:
            self.printer.notify("the cell tagged `parameters` does not set: " + ", ".join(unknown))
        self.wants = runtime_options.wants(options)
        self.saved: bool | errors.ConfigError = False

    def answer(self) -> Answer:
        with own_runtime.scope(self.app, self.wants, wanted=self.options["rm"]) as own:
            return self._on(self.app.client.session(self.app.session, self.wants) if own is None else own.session())

    def _on(self, session: Session) -> Answer:
        if self.options["verbose"]:
            self.printer.note(f"session: {session.record.name} ({session.record.backend})")
        if self.options["restart"] and session.kernel() is not None:
            session.restart_kernel()
            records.remember_restart(session)
        return self._detached(session) if self.options["detach"] else self._watched(session)

    def _detached(self, session: Session) -> Answer:
        from ...notebooks import jobs

        document = jobs.start(
            session,
            self.source.content,
            self.steps,
            self.source.name,
            keep_going=self.options["keep_going"],
            timeout=self.options["timeout"],
            key=self.options["key"],
        )
        try:
            records.remember_job(session, document, f"notebook {self.source.name}", "kernel")
        except errors.ConfigError as error:
            self.printer.notify(f"the run was not written to the history: {error.message}")
        session.used()
        return Answer(document, lambda: document.job_id)

    def _watched(self, session: Session) -> Answer:
        from ...notebooks import runs
        from .. import notebooks

        view = notebooks.NotebookView(self.printer)
        limit = notebooks.cell_budget(self.options["max_output"])
        progress = runs.NotebookProgress(self.source.content, self.steps, view, limit)
        document = runs.run_notebook(
            session,
            progress,
            self.source.name,
            self._save,
            timeout=self.options["timeout"],
            keep_going=self.options["keep_going"],
        )
        if self.saved is not True:  # no cell was run, or the last attempt failed
            self._save()
        if isinstance(self.saved, errors.ConfigError):
            document.fail(self.saved)
        else:
            document.output = str(self.target)
        if self.options["in_place"] and self.source.drive_id is not None:
            self._put_back(self.source.drive_id, document)
        self._remember(session, document)
        session.used()
        if self.printer.mode == "human":
            notebooks.tell(self.printer, document)
        document.notice = self.printer.notice or UNSET
        return Answer(document, exit_status=document.exit_code, printed=True)

    def _save(self) -> None:
        """Write the notebook as it is now. That a disk is full must not end the work: the next cell tries again."""
        from ...notebooks import document as notebook

        try:
            notebook.save(self.source.content, self.target)
        except errors.ConfigError as error:
            self.saved = error
        else:
            self.saved = True

    def _put_back(self, drive_id: str, document: NotebookRun) -> None:
        """Put the outputs into the notebook in Drive; should that fail, they are in the file here."""
        from ...notebooks import document as notebook
        from ...notebooks import drive

        try:
            drive.Drive(self.app.client.login).replace(drive_id, notebook.encode(self.source.content))
        except errors.Error as error:
            document.fail(error)
            self.printer.notify(f"the notebook in Drive is as it was: {error.message}")
        else:
            document.drive = drive.link(drive_id)

    def _remember(self, session: Session, document: NotebookRun) -> None:
        """Write it down in the history, as one run."""
        run = Run(
            status=document.status,
            error_code=document.error_code,
            exit_code=document.exit_code,
            mode="kernel",
            error=document.error,
            timing=document.timing,
            run_id=document.run_id,
            stdout=_joined(cell.stdout for cell in document.cells),
            stderr=_joined(cell.stderr for cell in document.cells) or UNSET,
            output_bytes=sum(cell.output_bytes for cell in document.cells),
        )
        try:
            records.remember(session, run, f"notebook {document.notebook}")
        except errors.ConfigError as error:
            self.printer.notify(f"the run was not written to the history: {error.message}")


def _joined(texts: Iterable[str | UnsetType]) -> str:
    return "".join(text for text in texts if isinstance(text, str))


@click.command(cls=Command, name="fetch")
@click.argument("job")
@click.option("-o", "--output", metavar="FILE", help="Where to put it. Default: NAME.executed.ipynb here.")
@click.option(
    "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="First wait for its end, at most this long."
)
@_max_output
@click.pass_obj
def fetch(app: App, job: str, output: str | None, wait: float | None, max_output: int | None) -> Answer:
    """Write the notebook of a detached run, with the outputs that there are; exit 124 while it still runs.

    \b
    lecoder-cgpu notebook fetch run-0123456789abcdef -o trained.ipynb
    lecoder-cgpu notebook fetch run-0123456789abcdef --wait 100 --json
    """
    from ...notebooks import document as notebook
    from ...notebooks import jobs as notebook_jobs
    from ...runs import jobs
    from .. import notebooks

    session = app.client.existing(app.session)
    with jobs.Jobs(session) as held:
        state = held.find(job)
        waited = held.wait(state.run, wait) if wait else None
        state = held.find(state.run) if wait else state
        document, content = notebook_jobs.collect(
            session, held.helper, state, max_output=notebooks.cell_budget(max_output)
        )
    name = Path(document.notebook).stem + ".executed.ipynb"
    target = notebooks.writable(Path(output).expanduser() if output else Path(name))
    notebook.save(content, target)
    document.output = str(target)
    if waited is not None and waited.interrupted is True:
        document.interrupted, document.exit_code = True, waited.exit_code
    return Answer(document, lambda: notebooks.summary(document), exit_status=document.exit_code)
