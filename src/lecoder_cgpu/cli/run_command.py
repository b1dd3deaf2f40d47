"""One invocation of `run`: what its options mean together, the run itself, and what is told about it afterwards."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET, structs

from .. import errors
from ..jupyter.kernelspecs import PYTHON
from ..jupyter.messages import new_run_id
from ..jupyter.watch_driver import InputSource
from ..jupyter.watch_limits import WatchLimits
from ..models.runs import Run
from ..runs import kernel_runs, records
from ..runs.attempts import Policy
from ..runs.run_record import RunRecord
from ..runs.scripts import around
from ..sessions import starts
from ..sessions.session import Session
from . import (
    hook,
    inputs,
    local_script,
    missing_scripts,
    own_runtime,
    release,
    restart_terms,
    restarts,
    run_checks,
    run_display,
    runtime_options,
    script_files,
    work_files,
)
from .app import App
from .live import ProcessView, aside, heartbeat
from .output import Answer

if TYPE_CHECKING:
    from ..helper.launch import Launch
    from ..models.files import Synced
    from ..models.jobs import JobStarted
    from ..runs.kept_jobs import KeptJob


class Invocation:
    """One invocation: checks everything that can be checked before anything is sent."""

    def __init__(self, app: App, words: Sequence[str], options: dict[str, Any]) -> None:
        self.app = app
        self.printer = app.printer
        self.options = options
        self.mode: Literal["kernel", "terminal"] = "terminal"
        if options["kernel"] or options["mode"] == "kernel":
            self.mode = "kernel"
        self.record = RunRecord(self.printer.notify, self.mode)
        if options["kernel"] and options["mode"] == "terminal":
            raise errors.UsageError(
                "--kernel and --mode terminal contradict each other", hint="leave out --kernel or --mode"
            )
        kernel = self.mode == "kernel"
        if kernel:
            inputs.check_text(words, "the code")
        work_files.check(options["sync"], options["pull"])
        self.words, self.file, self.arguments = local_script.divide(words, options, kernel=kernel)
        self.script = None if kernel else local_script.given(words, options["sync"])
        if options["behind"]:
            found = script_files.found(words[0], options["sync"]) or words[0]
            self.printer.notify(local_script.divided(found, options["behind"]))
        self.wants = runtime_options.wants(options)
        self.secrets: dict[str, str] = {}
        self.unsent = inputs.Unsent(options, self.printer.notify)
        self.detach_on_signal = options["on_disconnect"] == "detach"
        self.cwd: str | None = options["cwd"]
        self.synced: Synced | None = None
        self.own: own_runtime.OwnRuntime | None = None
        self.document: Run | None = None  # as far as it is known how the run ended
        self.needs: local_script.Script | None = None  # whose packages are installed before it runs
        own_runtime.check(options)
        self.pulling = work_files.pulling(options)
        run_checks.together(options, kernel=kernel)
        self.attempts = restarts.of(app, options, self.pulling, self.wants, kernel=kernel)
        self.kept: KeptJob | None = None
        outputs_dir = Path(options["outputs"]).expanduser() if options["outputs"] else None
        self.manner = run_display.RenderOptions(
            raw=options["raw"],
            inline=options["inline"],
            outputs=outputs_dir,
            max_output=options["max_output"],
            order=options["order"],
            heartbeat=options["heartbeat"],
        )

    def answer(self) -> Answer:
        """Run what was asked for. The document has its fields at whatever moment a signal comes."""
        try:
            with own_runtime.scope(self.app, self.wants, wanted=self.options["rm"]) as self.own:
                return self.kernel() if self.mode == "kernel" else self.process()
        except KeyboardInterrupt as interrupt:
            if self.printer.mode == "human" or self.options["detach"]:
                raise
            return self._interrupted(interrupt)

    def _interrupted(self, interrupt: KeyboardInterrupt) -> Answer:
        document = self.document or records.interrupted_run(self.mode, interrupt)
        document.interrupted, document.exit_code = True, errors.interrupted_status(interrupt)
        if self.own is not None:
            document.release = self.own.end()
        document.notice = self.printer.notice or UNSET
        return Answer(document, exit_status=document.exit_code, printed=True)

    # --- kernel mode ---

    def kernel(self) -> Answer:
        run_checks.of_code(self.options)
        code, filename = inputs.code(self.words, self.file)
        origin = filename or "the code"
        if filename is None and self.arguments:
            filename = "-"  # as `python - ARGUMENTS` calls it
        self.unsent.look()
        header = local_script.header_of(code, origin)  # one that makes no sense is refused before anything
        if self.options["detach"]:
            if header.dependencies:
                raise errors.UsageError(
                    "nothing is installed for code that a kernel executes as a job",
                    name="ConflictingOptions",
                    hint=f"as a process it is: lecoder-cgpu run --detach {filename or 'FILE.py'}",
                )
            return self._detach_code(code, filename)
        self.secrets = self.record.secrets = inputs.secrets(self.options["secrets_file"], self.options["secret"])
        inputs.check_variables(self.secrets, "--secret")
        session = self._session()
        if header.asks:
            session.require_python("a header (# /// script)")
            local_script.install(self.printer, session, header, origin)
        for option in ("secret", "secrets_file", "auto_install"):
            if self.options[option]:
                session.require_python(f"--{option.replace('_', '-')}")
        if self.secrets and session.backend.responder(session.record, {}, self.printer.notify) is None:
            raise errors.UsageError(
                "--secret in a kernel answers google.colab.userdata.get, which this runtime does not have",
                hint="set it in Python (os.environ), or leave out -m kernel to use --secret",
            )
        session.secrets = self.secrets
        once = partial(self._kernel_once, session, code, filename)
        with self._noting_interruption(session, code):
            document = self._repaired(session, once, code)
        return self._finish(session, document, code)

    def _kernel_once(self, session: Session, code: str, filename: str | None) -> Run:
        manner = self.manner
        view = run_display.kernel_view(self.printer, manner)
        try:
            with (
                heartbeat(self.printer, view.offsets, manner.heartbeat),
                work_files.while_it_runs(self.app, session, self.pulling, self.cwd),
                self.record.beginning(session, code),
            ):
                document = kernel_runs.kernel_run(
                    session,
                    code,
                    view.show,
                    limits=WatchLimits(
                        timeout=self.options["timeout"],
                        idle_timeout=self.options["idle_timeout"],
                        wait=self.options["wait"],
                        detach=self.detach_on_signal,
                    ),
                    output=manner.output(self.printer, filename=filename, arguments=self.arguments),
                    on_input=self._input_source(),
                    on_displays=lambda shown: self.record.displays.extend(shown),
                )
        except errors.Error as error:
            return Run.not_started(error, "kernel")
        view.finish(document.error)
        return document

    def _input_source(self) -> InputSource | None:
        """The source of answers to `input()`: stdin with --stdin, a person at a terminal, or None."""
        if self.options["forward_stdin"]:
            return inputs.line_from_pipe
        if self.printer.may_ask:
            return self.printer.ask
        return None

    # --- terminal mode ---

    def process(self) -> Answer:
        run_checks.of_command(self.options, self.words)
        command = self._command()
        self.unsent.look()
        environment = inputs.variables(self.options["env_file"], self.options["env"])
        self.secrets = self.record.secrets = inputs.secrets(self.options["secrets_file"], self.options["secret"])
        run_checks.pushing(self.options, self.secrets)
        script = self.script or local_script.named(self.words, self.options["sync"])
        self.needs = script if script is not None and script.header.asks else None
        restart_terms.agree(self.app, self.options, self.wants)
        if self.options["detach"]:
            return self._detach(command, environment)
        session = self._session()
        once = partial(self._process_once, session, command, environment)
        shown = command if isinstance(command, str) else " ".join(command)
        with self._noting_interruption(session, shown):
            if self.attempts is None:
                document = self._repaired(session, once, shown)
            else:
                session, document = self.attempts.run(
                    session,
                    lambda chosen: self._process_once(chosen, command, environment),
                    lambda chosen, past: self._remember(chosen, past, shown),
                    self._pull,
                )
        return self._finish(session, document, shown)

    def _command(self) -> str | list[str]:
        """The command line, or the words of the command."""
        if not any(word.strip() for word in self.words):
            sent = None if self.words or self.options["forward_stdin"] else inputs.piped()
            if sent is None:
                raise errors.UsageError("there is no command to run", hint='lecoder-cgpu run "nvidia-smi"')
            return sent
        return self.words[0] if len(self.words) == 1 and self.script is None else self.words

    def _placed(self, session: Session, command: str | list[str]) -> str | list[str]:
        """Send what the command needs; returns what is to be executed there."""
        self._sync(session)
        if self.needs is not None:
            local_script.install(self.printer, session, self.needs.header, self.needs.path)
        return command if self.script is None else local_script.command(session, self.script, self.options["sync"])

    def _process_once(self, session: Session, command: str | list[str], environment: dict[str, str]) -> Run:
        from ..runs import process_runs

        view = ProcessView(self.printer)
        shown = command if isinstance(command, str) else " ".join(command)
        try:
            command = self._placed(session, command)
            if self.attempts is not None:
                environment = environment | self.attempts.variables(session, self.cwd)
            run = None if self.pulling is None else new_run_id()
            with (
                heartbeat(self.printer, view.offsets, self.manner.heartbeat),
                work_files.while_it_runs(self.app, session, self.pulling, self.cwd, run),
                self.record.beginning(session, shown),
            ):
                document = process_runs.process_run(
                    session,
                    command,
                    view.show,
                    self._launch(environment, run=run),
                    output=self.manner.output(self.printer, streamed=True),
                    stdin=sys.stdin.buffer if self.options["forward_stdin"] else None,
                    wait=self.options["wait"],
                    detach=self.detach_on_signal,
                )
        except errors.Error as error:
            return Run.not_started(error, "terminal")
        view.finish()
        return document

    def _launch(
        self, environment: dict[str, str] | None = None, *, pull: Sequence[str] | None = None, run: str | None = None
    ) -> Launch:
        """What a run is started with; without `pull`, this invocation fetches the results itself."""
        from ..helper.launch import Launch
        from ..runs import pushed

        return Launch(
            cwd=self.cwd,
            environment=environment,
            secrets=self.secrets,
            timeout=self.options["timeout"],
            idle_timeout=self.options["idle_timeout"],
            name=self.options["name"],
            pull=pull,
            push=pushed.declared(self.options["push"]),
            push_every=self.options["every"],
            run_id=run,
        )

    def _detach_code(self, code: str, filename: str | None) -> Answer:
        from ..runs import jobs

        run_checks.code_leaving(self.options)
        session = self._session()
        launch = self._launch(pull=self.options["pull"])
        if filename is not None and session.language() == PYTHON:
            launch = structs.replace(launch, around=around(filename, self.arguments))
        with self._noting_interruption(session, code):
            document = jobs.start_in_kernel(session, code, launch, key=self.options["key"])
        return self._left(session, document, code, "kernel")

    def _detach(self, command: str | list[str], environment: dict[str, str]) -> Answer:
        from ..runs import jobs
        from ..runs.kept_jobs import KeptJob, Order

        run_checks.leaving(self.options)
        kept = self.kept = KeptJob(
            self.app.client,
            Order(
                **{name: self.options[name] for name in restarts.ORDERED},
                policy=restarts.policy(self.options, kernel=False) or Policy(),
                pulling=self.pulling,
                limits=self.wants.limits,
            ),
        )
        packages = () if self.needs is None else self.needs.header.dependencies
        work = kept.work(command, environment, self.secrets, packages)
        if (earlier := kept.earlier(work)) is not None:
            return Answer(earlier, lambda: earlier.job_id)
        session = self._session()
        shown = command if isinstance(command, str) else " ".join(command)
        alone = self.script if self.options["sync"] is None else None
        with self._noting_interruption(session, shown):
            placed = self._placed(session, command)
            launch = self._launch(environment | kept.variables(session), pull=self.options["pull"], run=kept.job)
            document = jobs.start(session, placed, launch, key=self.options["key"])
        kept.write(session, structs.replace(work, command=placed), self.cwd, alone)
        return self._left(session, document, shown, "terminal")

    def _left(
        self, session: Session, document: JobStarted, command: str, mode: Literal["kernel", "terminal"]
    ) -> Answer:
        """Write down that a job was started, and answer with its id."""
        self.unsent.look()
        self._leave_pulling(session, document.job_id)
        with self.record.telling_unwritten():
            records.remember_job(session, document, command, mode, secrets=list(self.secrets.values()))
        session.used()
        if self.printer.mode == "human":
            self.printer.note(f"it goes on as job {document.job_id}; to wait for it: {document.next}")
        return Answer(document, lambda: document.job_id)

    # --- files ---

    def _sync(self, session: Session) -> None:
        """Send the folder that --sync names; the command then runs in it."""
        folder = self.options["sync"]
        if folder is None:
            return
        keeper = self.attempts or self.kept
        source = None if keeper is None else keeper.sources(os.path.expanduser(folder))
        sent, self.cwd = work_files.send(self.printer, session, folder, self.options["cwd"], source=source)
        self.synced = sent if self.synced is None else self.synced.with_more(sent)

    def _pull(self, session: Session, document: Run) -> None:
        """Fetch what --pull names, also from a run that failed; one that goes on has no results yet."""
        specs = self.options["pull"]
        if not specs or not isinstance(document.run_id, str) or document.pulled is not UNSET:
            return
        if document.status == "running":
            self._leave_pulling(session, document.run_id)
            told = " ".join(f"--pull {spec}" for spec in specs)
            self.printer.notify(f"nothing was fetched yet; later: lecoder-cgpu job wait {document.run_id} {told}")
            return
        work_files.fetch(self.printer, session, specs, self.cwd, document, self.pulling)

    def _leave_pulling(self, session: Session, run: str) -> None:
        """Have the keeper go on with what --every wants of a run that nobody watches any more."""
        wanted = self.pulling and structs.replace(self.pulling, folder=self.cwd)
        work_files.leave_to_keeper(self.app, session, wanted, self.options["pull"], run)

    # --- earlier runs ---

    def attach(self, run_id: str) -> Answer:
        """Show a run that was started earlier, whatever became of the client that started it."""
        if self.words or self.file or self.options["detach"]:
            raise errors.UsageError(
                "--attach shows a run that exists, and starts nothing", hint=f"lecoder-cgpu run --attach {run_id}"
            )
        start = inputs.offsets(self.options["start"])
        session = self.app.client.existing(self.app.session)
        run_id = run_display.run_id_of(session, run_id)
        document = run_display.earlier(
            self.printer, session, run_id, self.manner, wait=self.options["wait"], start=start
        )
        hook.finish(self.printer, self.options["on_finish"], document, document.run_id, self.app.config.profile.name)
        if self.printer.mode == "human":
            run_display.tell(self.printer, document, self.manner.outputs)
        return Answer(document, exit_status=document.exit_code, printed=True)

    # --- both ---

    def _repaired(self, session: Session, once: Callable[[], Run], command: str) -> Run:
        """The run; with --auto-install, a second one when the first lacked a package."""
        if not self.options["auto_install"]:
            return once()
        from ..runs import auto_install

        def record(first: Run) -> None:
            self._remember(session, first, command)
            self.record.displays = []

        return auto_install.repaired(session, once, record, self.printer.notify, aside(self.printer))

    def _session(self) -> Session:
        own, client = self.own, self.app.client
        elsewhere = self.script is not None or self.options["separated"] or self.cwd is not None
        if not elsewhere and (own is not None or starts.starts(client, self.app.session, self.wants)):
            missing_scripts.check(self.words, self.options["sync"], kernel=self.mode == "kernel")
            if self.mode == "terminal":
                missing_scripts.check_kind(self.words, self.options["tpu"])
        session = client.session(self.app.session, self.wants) if own is None else own.session()
        if self.options["verbose"]:
            self.printer.note(f"session: {session.record.name} ({session.record.backend})")
        return session

    def _finish(self, session: Session, document: Run, command: str) -> Answer:
        """Fetch its results, write the run down, tell people how it ended, and answer."""
        failed = document.status != "ok"
        self.document = document
        self.unsent.look()
        if self.synced is not None:
            document.synced = self.synced
        self._pull(session, document)
        alone = self.script if self.options["sync"] is None else None
        if self.script is None or alone is not None:
            local_script.advise(self.printer, self.words, document, alone, command)
        self._remember(session, document, command)
        hook.finish(self.printer, self.options["on_finish"], document, document.run_id, self.app.config.profile.name)
        if self.own is not None:
            missing = own_runtime.unfetched(document.pulled, failed=failed)
            document.release = self.own.keep(missing, self.cwd) if missing else self.own.end()
        if self.options["release"] and isinstance(document.run_id, str):
            release.after_results(self.printer, self.app.client, session, document, document.run_id)
        if self.printer.mode == "human":
            run_display.tell(self.printer, document, self.manner.outputs)
        document.notice = self.printer.notice or UNSET
        return Answer(document, exit_status=document.exit_code, printed=True)

    def _remember(self, session: Session, document: Run, command: str) -> None:
        document.session = session.record.ref
        self.record.end(session, document, command)
        session.used()

    @contextlib.contextmanager
    def _noting_interruption(self, session: Session, command: str) -> Iterator[None]:
        """Write down a run that is interrupted before it was started. What has been started handles it by itself."""
        try:
            yield
        except KeyboardInterrupt as interrupt:
            self.document = self.record.interrupted(session, command, interrupt)
            raise
