"""One invocation of `run`: what its options mean together, the run itself, and what is told about it afterwards."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import UNSET

from .. import errors, kernel_runs, models
from ..client import Wants
from ..history import History, entry_from_run
from ..runtime import Session
from ..watch import InputSource
from . import inputs
from .app import App
from .live import KernelView, ProcessView
from .output import Answer


class Invocation:
    """One invocation: checks everything that can be checked before anything is sent."""

    def __init__(self, app: App, words: Sequence[str], options: dict[str, Any]) -> None:
        self.app = app
        self.printer = app.printer
        self.words = list(words)
        self.options = options
        self.mode = "kernel" if options["kernel"] or options["mode"] == "kernel" else "terminal"
        if options["kernel"] and options["mode"] == "terminal":
            raise errors.UsageError("--kernel and --mode terminal contradict each other", hint="leave one of them out")
        self.wants = Wants(cpu=options["cpu"], tpu=options["tpu"], gpu=options["gpu"], new=options["new_runtime"])
        self.secrets: dict[str, str] = {}
        self.detach_on_signal = options["on_disconnect"] == "detach"
        if (options["wait"] is not None or self.detach_on_signal) and options["forward_stdin"]:
            raise errors.UsageError(
                "work that goes on without us cannot read our stdin",
                hint="leave out --stdin",
                name="ConflictingOptions",
            )

    # --- kernel mode ---

    def kernel(self) -> Answer:
        for option in ("cwd", "env", "secret", "detach", "key"):
            if self.options[option]:
                raise errors.UsageError(
                    f"--{option} is for commands; a kernel keeps its own environment",
                    hint=f"set it in Python (os.environ, os.chdir), or leave out -m kernel to use --{option}",
                )
        leaves = self.options["wait"] is not None or self.detach_on_signal
        if leaves and self.options["timeout"] is not None:
            raise errors.UsageError(
                "the time limit of code in a kernel is kept by this command, which may leave before",
                name="ConflictingOptions",
                hint="leave out --timeout, or run the code as a process: it keeps its limit by itself",
            )
        code, filename = inputs.code(self.words, self.options["file"])
        outputs_dir = Path(self.options["outputs"]).expanduser() if self.options["outputs"] else None
        if outputs_dir is not None and outputs_dir.exists() and not outputs_dir.is_dir():
            raise errors.UsageError(f"{outputs_dir} is not a folder", hint="give a folder to --outputs")
        session = self._session()
        view = KernelView(self.printer, raw=self.options["raw"])
        try:
            document = kernel_runs.kernel_run(
                session,
                code,
                view.show,
                filename=filename,
                timeout=self.options["timeout"],
                on_input=self._input_source(),
                raw=self.options["raw"],
                outputs_dir=outputs_dir,
                max_output=self.printer.budget(self.options["max_output"]),
                wait=self.options["wait"],
                detach=self.detach_on_signal,
            )
        except errors.Error as error:
            return self._finish(session, models.Run.not_started(error, "kernel"), code)
        view.finish()
        return self._finish(session, document, code)

    def _input_source(self) -> InputSource | None:
        """Who answers `input()`: stdin with --stdin, a person at a terminal, or nobody."""
        if self.options["forward_stdin"]:
            return inputs.line_from_pipe
        if self.printer.mode == "human" and sys.stdin.isatty() and self.printer.err_is_terminal:
            return self.printer.ask
        return None

    # --- terminal mode ---

    def process(self) -> Answer:
        from .. import process_runs

        if self.options["file"] is not None:
            raise errors.UsageError(
                "--file is for Python in the kernel", hint=f"lecoder-cgpu run -m kernel -f {self.options['file']}"
            )
        if self.options["outputs"] is not None:
            raise errors.UsageError("--outputs is for kernel mode", hint="add -m kernel")
        if not self.words or not any(word.strip() for word in self.words):
            raise errors.UsageError("there is no command to run", hint='lecoder-cgpu run "nvidia-smi"')
        command: str | list[str] = self.words[0] if len(self.words) == 1 else self.words
        if command == "-":
            if self.options["forward_stdin"]:
                raise errors.UsageError("stdin cannot be both the command and its input", hint="leave out --stdin")
            command = inputs.code_from_stdin()
        environment = dict(inputs.variable(item) for item in self.options["env"])
        self.secrets = dict(inputs.secret(item) for item in self.options["secret"])
        if self.options["key"] is not None and not self.options["detach"]:
            raise errors.UsageError("--key is for jobs", hint="add --detach")
        if self.options["detach"]:
            return self._detach(command, environment)
        session = self._session()
        view = ProcessView(self.printer)
        shown = command if isinstance(command, str) else " ".join(command)
        try:
            document = process_runs.process_run(
                session,
                command,
                view.show,
                cwd=self.options["cwd"],
                environment=environment,
                secrets=self.secrets,
                timeout=self.options["timeout"],
                stdin=sys.stdin.buffer if self.options["forward_stdin"] else None,
                raw=self.options["raw"],
                max_output=self.printer.budget(self.options["max_output"], streamed=True),
                wait=self.options["wait"],
                detach=self.detach_on_signal,
            )
        except errors.Error as error:
            return self._finish(session, models.Run.not_started(error, "terminal"), shown)
        view.finish()
        return self._finish(session, document, shown)

    def _detach(self, command: str | list[str], environment: dict[str, str]) -> Answer:
        from .. import jobs

        if self.options["forward_stdin"]:
            raise errors.UsageError("a job has nobody to read stdin from", hint="leave out --stdin or --detach")
        session = self._session()
        document = jobs.start(
            session,
            command,
            key=self.options["key"],
            cwd=self.options["cwd"],
            environment=environment,
            secrets=self.secrets,
            timeout=self.options["timeout"],
        )
        session.used()
        return Answer(document, lambda: document.job_id)

    # --- earlier runs ---

    def attach(self, run_id: str) -> Answer:
        """Show a run that was started earlier, whatever became of the client that started it."""
        if self.words or self.options["file"] or self.options["detach"]:
            raise errors.UsageError("--attach shows a run that is there already", hint="leave out the command")
        from .. import process_runs

        session = self.app.client.existing(self.app.session)
        if kernel_runs.is_kernel_run(session, run_id):
            shown = KernelView(self.printer, raw=self.options["raw"])
            document = kernel_runs.attached_kernel_run(
                session,
                run_id,
                shown.show,
                raw=self.options["raw"],
                max_output=self.printer.budget(self.options["max_output"]),
                wait=self.options["wait"],
            )
            shown.finish()
        else:
            view = ProcessView(self.printer)
            document = process_runs.attached_run(
                session,
                run_id,
                view.show,
                raw=self.options["raw"],
                max_output=self.printer.budget(self.options["max_output"], streamed=True),
                wait=self.options["wait"],
            )
            view.finish()
        if self.printer.mode == "human":
            self._tell(document)
        return Answer(document, exit_status=document.exit_code, printed=True)

    # --- both ---

    def _session(self) -> Session:
        session = self.app.client.session(self.app.session, self.wants)
        if self.options["verbose"]:
            self.printer.note(f"session: {session.record.name} ({session.record.backend})")
        return session

    def _finish(self, session: Session, document: models.Run, command: str) -> Answer:
        """Write the run down, tell people how it ended, and answer."""
        document.session = session.record.ref
        runtime = models.HistoryRuntime(
            label=session.record.runtime.label, accelerator=session.record.runtime.accelerator
        )
        try:
            entry = entry_from_run(document, command, runtime, list(self.secrets.values()))
            History(self.app.client.state_dir).append(entry)
        except errors.ConfigError as error:
            self.printer.notify(f"the run was not written to the history: {error.message}")
        session.used()
        if self.printer.mode == "human":
            self._tell(document)
        document.notice = self.printer.notice or UNSET
        return Answer(document, exit_status=document.exit_code, printed=True)

    def _tell(self, document: models.Run) -> None:
        """What a person should know beyond the program's own output, on stderr."""
        if not isinstance(document.outputs, type(UNSET)):
            for file in document.outputs:
                self.printer.note(f"output: {Path(self.options['outputs']) / file.path} ({file.mime})")
        if not document.output_complete:
            self.printer.note("warning: some output is missing; the server left it out or the connection was lost")
        if document.status == "running":
            assert isinstance(document.run_id, str)
            self.printer.note(f"still running; to see the rest: lecoder-cgpu run --attach {document.run_id}")
            return
        error = document.error
        if isinstance(error, type(UNSET)):
            return
        if document.interrupted is True and document.status == "error":
            self.printer.note("interrupted")
            return
        if isinstance(error.traceback, list) and error.traceback:
            if document.mode == "kernel":  # a process has written its own
                self.printer.note("\n".join(error.traceback))
            if error.category == "runtime":
                return  # the traceback says it all
        elif error.name != "ProcessFailed":
            self.printer.note(f"error: {error.name}: {error.message}")
        if isinstance(error.suggestion, str) and error.name != "ProcessFailed":
            self.printer.note(f"hint: {error.suggestion}")
