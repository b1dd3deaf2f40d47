"""One invocation of `notebook run`: what its options mean together, the run itself, and what is told afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, structs

from .. import errors
from ..models.notebooks import NotebookRun
from ..notebooks import document as notebook
from ..notebooks import inspection, kernels, papermill_metadata, remembered, remote
from ..notebooks.kernel_place import Place
from ..notebooks.options import NotebookOptions
from ..runs import records
from ..runs.run_record import RunRecord
from ..sessions.session import Session
from . import given_parameters, hook, inputs, notebooks, own_runtime, release, runtime_options, work_files
from .app import App
from .live import ProcessView, aside, heartbeat
from .output import Answer

if TYPE_CHECKING:
    from ..models.files import Synced
    from ..models.jobs import JobStarted

# What needs this command at the end of the work, and what to do instead with --detach.
_NEEDS_US = {
    "output": "lecoder-cgpu notebook fetch JOB -o FILE, when it has ended",
    "in_place": "lecoder-cgpu notebook fetch JOB -o FILE, when it has ended",
    "prepare_only": "leave out --detach, which runs the notebook",
    "auto_install": "install it first: lecoder-cgpu install PACKAGE",
    "forward_stdin": "leave out --stdin",
    "on_finish": "lecoder-cgpu job wait JOB --on-finish COMMAND",
}


class Invocation:
    """One invocation: everything that can be checked here is, before a runtime is asked for."""

    def __init__(self, app: App, name: str, options: dict[str, Any]) -> None:
        self.app = app
        self.printer = app.printer
        self.options = options
        self._check(name)
        parameters = given_parameters.collect(options)
        self.source = notebooks.read(name, app)
        self.target: Path | str | None = None  # text is an address; None is stdout, or a job
        if not options["detach"]:
            self.target = self._target(name, parameters)
        unknown = inspection.unknown(self.source.content, parameters)
        if unknown:
            self.printer.notify("the cell tagged `parameters` does not set: " + ", ".join(unknown))
        if options["inject_paths"]:
            parameters = self._paths() | parameters
        self.parameters = parameters
        self.language = kernels.language(self.source.content, options["kernel_name"])
        self.steps = notebook.plan(
            self.source.content,
            from_cell=options["from_cell"],
            only=options["only"],
            parameters=parameters,
            language=self.language,
        )
        for step in self.steps:
            step.allowed_names = options["allow_error"]
        if options["report_mode"]:
            notebook.hide_sources(self.source.content)
        if not options["in_place"]:  # the source stays as its author wrote it
            cells = [step.cell for step in self.steps if step.wanted]
            papermill_metadata.begin(
                self.source.content,
                cells,
                parameters,
                input_path=self.source.name,
                output_path=notebooks.shown(self.target),
            )
        self.wants = runtime_options.wants(options | {"kernel_name": None})  # the session keeps its own
        self.record = RunRecord(self.printer.notify, "kernel")
        self.secrets = self.record.secrets = inputs.secrets(options["secrets_file"], options["secret"])
        variables = inputs.variables(options["env_file"], options["env"])
        inputs.check_variables(self.secrets, "--secret")
        inputs.check_variables(variables, "--env")
        self.place = Place(cwd=options["cwd"], variables=variables | self.secrets)
        self.synced: Synced | None = None
        self.own: own_runtime.OwnRuntime | None = None
        self.saved: bool | errors.ConfigError = False

    def _check(self, name: str) -> None:
        """Refuse options that contradict each other."""
        options = self.options
        if options["wait"] is not None:
            for option in ("detach", "rm", "auto_install", "forward_stdin", "prepare_only"):
                if options[option]:
                    given = "stdin" if option == "forward_stdin" else option.replace("_", "-")
                    raise errors.UsageError(
                        f"--wait leaves while the work goes on, which does not go with --{given}",
                        name="ConflictingOptions",
                        hint=f"leave out --wait or --{given}",
                    )
        if options["key"] is not None and not options["detach"]:
            raise errors.UsageError("--key is for jobs", hint="add --detach")
        if options["key"] is not None:
            from ..runs.job_names import check_key

            check_key(options["key"])
        if options["name"] is not None:
            if not options["detach"] and options["wait"] is None:
                raise errors.UsageError(
                    "a notebook that is watched to its end has no name",
                    hint="add --detach or --wait TIME, or leave out --name",
                )
            from ..runs.job_names import check

            check(options["name"])
        if options["release"] and (options["detach"] or options["rm"] or not options["pull"]):
            raise errors.UsageError(
                "--release gives the runtime back once results were fetched, which this command does not do",
                name="ConflictingOptions",
                hint="add --pull PATH, without --rm; for a job: lecoder-cgpu job wait JOB --pull PATH --release",
            )
        for option, hint in _NEEDS_US.items():
            if options["detach"] and options[option]:
                shown = {"output": "-o", "forward_stdin": "--stdin"}.get(option, "--" + option.replace("_", "-"))
                raise errors.UsageError(
                    f"--detach leaves before the work ends, so {shown} would never be done",
                    name="ConflictingOptions",
                    hint=hint,
                )
        if name == notebooks.STANDARD and (options["forward_stdin"] or any("=" in item for item in options["secret"])):
            raise errors.UsageError(
                "stdin cannot be both the notebook and something else",
                name="ConflictingOptions",
                hint="lecoder-cgpu notebook run NOTEBOOK.ipynb",
            )
        if options["rm"] and options["detach"]:
            raise errors.UsageError(
                "--rm gives the runtime back when this command ends, so it does not go with --detach",
                name="ConflictingOptions",
                hint="leave out --rm or --detach",
            )
        work_files.check(options["sync"], options["pull"])
        self.pulling = work_files.pulling(options)

    def _target(self, name: str, parameters: dict[str, Any]) -> Path | str | None:
        """Where the executed notebook goes: a file, or an address; None is stdout."""
        output = self.options["output"]
        if output is None and name == notebooks.STANDARD and self.printer.mode == "human":
            output = notebooks.STANDARD  # as papermill does
        if output == notebooks.STANDARD:
            if self.printer.mode != "human" or self.options["in_place"]:
                raise errors.UsageError(
                    "stdout cannot hold both the notebook and the answer",
                    name="ConflictingOptions",
                    hint="leave out --json and --events, or give a file to -o",
                )
            return None
        if output is not None:
            output = given_parameters.formatted(output, parameters)
            if remote.is_address(output) and not self.options["in_place"]:
                remote.check_writable(output)
                return output
        return notebooks.target(self.source, output, in_place=self.options["in_place"])

    def _paths(self) -> dict[str, Any]:
        target = notebooks.shown(self.target) or notebooks.STANDARD
        return {given_parameters.INPUT_PATH: self.source.name, given_parameters.OUTPUT_PATH: target}

    # --- the run ---

    def answer(self) -> Answer:
        """Do it."""
        if self.options["prepare_only"]:
            return self._prepared()
        with own_runtime.scope(self.app, self.wants, wanted=self.options["rm"]) as own:
            self.own = own
            return self._on(self.app.client.session(self.app.session, self.wants) if own is None else own.session())

    def _on(self, session: Session) -> Answer:
        if self.options["verbose"]:
            self.printer.note(f"session: {session.record.name} ({session.record.backend})")
        session.secrets = self.secrets
        self._choose_kernel(session)
        if self.options["restart"] and session.kernel() is not None:
            session.restart_kernel()
            records.remember_restart(session)
        if self.options["sync"] is not None:
            self.synced, cwd = work_files.send(self.printer, session, self.options["sync"], self.options["cwd"])
            self.place = replace(self.place, cwd=cwd)
        if self.options["detach"]:
            document = self._started(session)
            return Answer(document, lambda: document.job_id)
        return self._watched(session) if self.options["wait"] is None else self._watched_for_a_while(session)

    def _choose_kernel(self, session: Session) -> None:
        """Take the kernel that the notebook needs, and refuse what that cannot do."""
        content, wanted = self.source.content, self.options["kernel_name"]
        if wanted is None:
            kernels.check(content, self.source.name, session)
        language = kernels.choose(session, content, self.source.name, wanted)
        if language != self.language:
            self.language = language
            if self.parameters:
                notebook.write_parameters(content, self.steps, self.parameters, language)
        for option in ("cwd", "sync", "env", "env_file", "secret", "secrets_file", "auto_install"):
            if self.options[option]:
                session.require_python(f"--{option.replace('_', '-')}")

    def _prepared(self) -> Answer:
        """Write the notebook as it would be run."""
        document = NotebookRun(status="ok", notebook=self.source.name)
        self._write(document)
        document.notice = self.printer.notice or UNSET
        return Answer(
            document, lambda: str(document.output), exit_status=document.exit_code, printed=self.target is None
        )

    def _options(self, **more: Any) -> NotebookOptions:
        names = ("timeout", "cell_timeout", "idle_timeout", "keep_going", "save_every")
        return NotebookOptions(**{name: self.options[name] for name in names}, place=self.place, **more)

    def _started(self, session: Session) -> JobStarted:
        """Start it as a job."""
        from ..notebooks import jobs

        document = jobs.start(
            session,
            self.source.content,
            self.steps,
            self.source.name,
            self._options(),
            key=self.options["key"],
            pull=self.options["pull"] or None,
            job_name=self.options["name"],
        )
        try:
            secrets = list(self.secrets.values())
            records.remember_job(session, document, f"notebook {self.source.name}", "kernel", secrets=secrets)
        except errors.ConfigError as error:
            self.printer.notify(f"the run was not written to the history: {error.message}")
        if self.pulling is not None:
            self.pulling = structs.replace(self.pulling, owner=document.job_id, folder=self.place.cwd)
            work_files.leave_to_keeper(self.app, session, self.pulling, self.options["pull"], document.job_id)
        session.used()
        return document

    def _watched_for_a_while(self, session: Session) -> Answer:
        """Run it as a job, show what it prints until it ends or --wait is over, and write what there is then."""
        from ..notebooks import jobs as notebook_jobs
        from ..runs import jobs, process_runs

        job = self._started(session).job_id
        printer = self.printer if self.target is not None else self.printer.on_stderr()
        view = ProcessView(printer)
        with heartbeat(printer, view.offsets, self.options["heartbeat"]):
            watched = process_runs.attached_run(session, job, view.show, wait=self.options["wait"])
        view.finish()
        with jobs.Jobs(session) as held:
            state = held.find(job)
            budget = notebooks.cell_budget(self.options["max_output"])
            document, self.source.content = notebook_jobs.collect(session, held.helper, state, max_output=budget)
        self._write(document)
        if document.status == "running":
            self.printer.notify(f"the notebook still runs; the rest, later: lecoder-cgpu notebook fetch {job}")
            if watched.interrupted is True:
                document.interrupted, document.exit_code = True, watched.exit_code
        return self._finished(session, document)

    def _watched(self, session: Session) -> Answer:
        from ..notebooks import runs

        printer = self.printer if self.target is not None else self.printer.on_stderr()
        view = notebooks.NotebookView(printer)
        repair = None
        if self.options["auto_install"]:
            from ..runs import auto_install

            repair = auto_install.CellRepair(session, printer.notify, aside(printer))
        progress = runs.NotebookProgress(
            self.source.content, self.steps, view, notebooks.cell_budget(self.options["max_output"])
        )
        options = self._options(
            install=repair, on_input=inputs.line_from_pipe if self.options["forward_stdin"] else None
        )
        with (
            heartbeat(printer, view.offsets, self.options["heartbeat"]),
            work_files.while_it_runs(self.app, session, self.pulling, self.place.cwd),
            self.record.beginning(session, f"notebook {self.source.name}", parts=True),
        ):
            document = runs.run_notebook(session, progress, self.source.name, self._save, options)
        self._write(document)
        if self.options["in_place"] and self.source.drive_id is not None:
            self._put_back(self.source.drive_id, document)
        if repair is not None and repair.packages:
            document.auto_installed = repair.packages
        return self._finished(session, document)

    def _finished(self, session: Session, document: NotebookRun) -> Answer:
        """Fetch results, and tell how it ended."""
        printer = self.printer if self.target is not None else self.printer.on_stderr()
        failed = document.status != "ok"  # by itself, and not for want of a result
        if self.synced is not None:
            document.synced = self.synced
        if self.options["pull"] and document.status != "running":
            work_files.fetch(printer, session, self.options["pull"], self.place.cwd, document, self.pulling)
        self._remember(session, document)
        session.used()
        hook.finish(printer, self.options["on_finish"], document, document.run_id, self.app.config.profile.name)
        if self.own is not None:
            missing = own_runtime.unfetched(document.pulled, failed=failed)
            document.release = self.own.keep(missing, self.place.cwd) if missing else self.own.end()
        if self.options["release"]:
            release.after_results(printer, self.app.client, session, document, str(document.job_id or document.run_id))
        if self.printer.mode == "human":
            notebooks.tell(printer, document)
        document.notice = self.printer.notice or UNSET
        return Answer(document, exit_status=document.exit_code, printed=True)

    # --- afterwards ---

    def _save(self) -> None:
        """Write the notebook as it is now. That a disk is full must not end the work: the next cell tries again."""
        if self.target is None:
            return
        try:
            if isinstance(self.target, str):
                remote.write(self.target, notebook.encode(self.source.content))
            else:
                notebook.save(self.source.content, self.target)
        except errors.ConfigError as error:
            self.saved = error
        else:
            self.saved = True

    def _write(self, document: NotebookRun) -> None:
        """Write the notebook as it is at the end, and say in the document where it is."""
        if self.target is None:
            self.printer.write(notebook.encode(self.source.content))
            return
        self._save()
        if isinstance(self.saved, errors.ConfigError):
            document.fail(self.saved)
        else:
            document.output = notebooks.shown(self.target) or ""

    def _put_back(self, drive_id: str, document: NotebookRun) -> None:
        """Put the outputs into the notebook in Drive; should that fail, they are in the file here."""
        from ..notebooks import drive

        try:
            drive.Drive(self.app.client.login).replace(drive_id, notebook.encode(self.source.content))
        except errors.Error as error:
            document.fail(error)
            self.printer.notify(f"the notebook in Drive is as it was: {error.message}")
        else:
            document.drive = drive.link(drive_id)

    def _remember(self, session: Session, document: NotebookRun) -> None:
        """Write it down in the history, as one run with what its cells show. A job has been written down before."""
        run, displays = remembered.run_of(document, self.source.content)
        if document.job_id is not UNSET:
            records.note_outputs(session, run, displays)
            return
        self.record.displays = displays
        self.record.end(session, run, f"notebook {document.notebook}")
