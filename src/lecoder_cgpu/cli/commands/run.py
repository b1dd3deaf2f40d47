"""`run`: Python in the session's kernel, or a command as a process of its own."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

from ... import errors, kernel_runs, models
from ...history import History, entry_from_run
from ...runtime import Session
from ...watch import InputSource
from .. import parse, runtime_options
from ..app import App, Command
from ..live import KernelView, ProcessView, tell_pulled
from ..output import Answer


class RunCommand(Command):
    """`run` divides the command line itself: what belongs to the remote command is never parsed as ours."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        split = parse.split_run(args)
        return super().parse_args(context, [*runtime_options.attach_tpu(split.ours), "--", *split.remote])


@click.command(
    cls=RunCommand,
    options_metavar="[OPTIONS]",
    epilog="Options come before the command, or after all of it; `--` ends them: run --json -- python train.py --json",
)
@click.argument("words", nargs=-1, metavar="COMMAND...")
@click.option(
    "-m", "--mode", type=click.Choice(parse.MODES), help="kernel: Python that keeps its state; terminal: a process."
)
@click.option("-k", "--kernel", is_flag=True, help="The same as --mode kernel.")
@click.option("-f", "--file", metavar="FILE", help="Read the code from a file (kernel mode); `-` is stdin.")
@click.option("--events", "events_mode", is_flag=True, expose_value=False, help="Print NDJSON events as they happen.")
@click.option("--raw", is_flag=True, help="Keep carriage returns and escape sequences in text.")
@click.option(
    "--max-output",
    type=click.IntRange(min=0),
    metavar="BYTES",
    help="Bytes of each stream in the document, head and tail; 0 is all. Default with --json: 1 MiB.",
)
@click.option("--outputs", metavar="DIR", help="Write images and other rich outputs into this folder (kernel mode).")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="End the work after that."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop watching after that; exit 124, the work goes on.",
)
@click.option(
    "--on-disconnect",
    type=click.Choice(["kill", "detach"]),
    default="kill",
    show_default=True,
    help="What Ctrl-C, SIGTERM or SIGHUP here does to the work.",
)
@click.option("--stdin", "forward_stdin", is_flag=True, help="Forward our stdin to the command, or to input().")
@click.option("--cwd", metavar="DIR", help="Working folder of the command.")
@click.option("--sync", metavar="DIR", help="First send what is new in this local folder, and run in it there.")
@click.option("--pull", multiple=True, metavar="PATH[:LOCAL]", help="Fetch this at the end (a job: at `job wait`).")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable for the command.")
@click.option("--secret", multiple=True, metavar="NAME", help="Pass a variable that appears nowhere (NAME or NAME=-).")
@click.option(
    "--detach", "--background", is_flag=True, help="Start the command and leave it running; prints its job id."
)
@click.option("--key", metavar="KEY", help="With --detach: the same key and command is the same job, however often.")
@click.option("--attach", metavar="RUN_ID", help="Show a run that was started earlier, from its first byte to its end.")
@runtime_options.runtime_options(new=True)
@click.option("-v", "--verbose", is_flag=True, help="Tell on stderr which session is used.")
@click.pass_obj
def command(app: App, /, words: Sequence[str], **options: Any) -> Answer:
    """Run a command as a process on the runtime, or Python in its kernel.

    One word is a shell command line (run by bash); several words are a program and its arguments. In kernel mode
    the words are lines of Python, and variables live until the kernel is restarted.

    \b
    lecoder-cgpu run "nvidia-smi | head -3"
    lecoder-cgpu run python train.py --epochs 3
    lecoder-cgpu run -m kernel "import torch; print(torch.cuda.is_available())" --json
    lecoder-cgpu run -m kernel -f train.py --timeout 600
    """
    job = _Run(app, words, options)
    if options["attach"] is not None:
        return job.attach(options["attach"])
    return job.kernel() if job.mode == "kernel" else job.process()


class _Run:
    """One invocation: checks everything that can be checked before anything is sent."""

    def __init__(self, app: App, words: Sequence[str], options: dict[str, Any]) -> None:
        self.app = app
        self.printer = app.printer
        self.words = list(words)
        self.options = options
        self.mode = "kernel" if options["kernel"] or options["mode"] == "kernel" else "terminal"
        if options["kernel"] and options["mode"] == "terminal":
            raise errors.UsageError("--kernel and --mode terminal contradict each other", hint="leave one of them out")
        self.wants = runtime_options.wants(options)
        self.secrets: dict[str, str] = {}
        self.detach_on_signal = options["on_disconnect"] == "detach"
        self.cwd: str | None = options["cwd"]
        self.synced: models.Synced | None = None
        if options["pull"]:
            from ...files import split_pull

            for spec in options["pull"]:
                split_pull(spec)
        if (options["wait"] is not None or self.detach_on_signal) and options["forward_stdin"]:
            raise errors.UsageError(
                "work that goes on without us cannot read our stdin",
                hint="leave out --stdin",
                name="ConflictingOptions",
            )

    # --- kernel mode ---

    def kernel(self) -> Answer:
        for option in ("cwd", "env", "detach", "key", "sync"):
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
        code, filename = self._code()
        outputs_dir = Path(self.options["outputs"]).expanduser() if self.options["outputs"] else None
        if outputs_dir is not None and outputs_dir.exists() and not outputs_dir.is_dir():
            raise errors.UsageError(f"{outputs_dir} is not a folder", hint="give a folder to --outputs")
        self.secrets = dict(_secret(self.app, item) for item in self.options["secret"])
        session = self._session()
        if self.secrets and session.backend.responder(session.record, {}, self.printer.notify) is None:
            raise errors.UsageError(
                "--secret in a kernel answers google.colab.userdata.get, which this runtime does not have",
                hint="set it in Python (os.environ), or leave out -m kernel to use --secret",
            )
        session.secrets = self.secrets
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

    def _code(self) -> tuple[str, str | None]:
        """The Python to run, and the file it came from."""
        file = self.options["file"]
        if file is not None and self.words:
            raise errors.UsageError(
                "the code is given twice: with --file and as arguments",
                name="ConflictingOptions",
                hint="leave out one of the two",
            )
        if file == "-" or (file is None and self.words == ["-"]):
            return self._decode(sys.stdin.buffer.read(), "stdin"), None
        if file is None:
            if not self.words:
                raise errors.UsageError("there is no code to run", hint='lecoder-cgpu run -m kernel "print(1)"')
            return "\n".join(self.words), None
        return self._decode(_read_file(file), file), file

    @staticmethod
    def _decode(content: bytes, origin: str) -> str:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise errors.UsageError(
                f"{origin} is not text in UTF-8 (byte {error.start} is {content[error.start]:#04x})",
                name="NotText",
                hint="give a Python source file",
            ) from error
        if "\0" in text:
            raise errors.UsageError(f"{origin} is a binary file", name="NotText", hint="give a Python source file")
        return text

    def _input_source(self) -> InputSource | None:
        """Who answers `input()`: stdin with --stdin, a person at a terminal, or nobody."""
        if self.options["forward_stdin"]:
            return _input_from_pipe
        if self.printer.mode == "human" and sys.stdin.isatty() and self.printer.err_is_terminal:
            return self.printer.ask
        return None

    # --- terminal mode ---

    def process(self) -> Answer:
        from ... import process_runs

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
            command = self._decode(sys.stdin.buffer.read(), "stdin")
        environment = dict(_variable(self.app, item) for item in self.options["env"])
        self.secrets = dict(_secret(self.app, item) for item in self.options["secret"])
        if self.options["key"] is not None and not self.options["detach"]:
            raise errors.UsageError("--key is for jobs", hint="add --detach")
        if self.options["detach"]:
            return self._detach(command, environment)
        session = self._session()
        view = ProcessView(self.printer)
        shown = command if isinstance(command, str) else " ".join(command)
        try:
            self._sync(session)
            document = process_runs.process_run(
                session,
                command,
                view.show,
                cwd=self.cwd,
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
        from ... import jobs

        if self.options["forward_stdin"]:
            raise errors.UsageError("a job has nobody to read stdin from", hint="leave out --stdin or --detach")
        session = self._session()
        self._sync(session)
        document = jobs.start(
            session,
            command,
            key=self.options["key"],
            cwd=self.cwd,
            pull=self.options["pull"],
            environment=environment,
            secrets=self.secrets,
            timeout=self.options["timeout"],
        )
        session.used()
        return Answer(document, lambda: document.job_id)

    # --- files ---

    def _sync(self, session: Session) -> None:
        """Send the folder that --sync names; the command then runs in it."""
        folder = self.options["sync"]
        if folder is None:
            return
        from ... import files, storage

        local = os.path.expanduser(folder)
        with storage.Storage(session) as opened:
            self.synced = opened.sync(local, files.source_name(local))
        self.cwd = files.under(self.synced.remote, self.options["cwd"] or "")
        if self.printer.mode == "human":
            self.printer.note(f"synced: {self.synced.sent} files to {self.synced.remote}")

    def _pull(self, session: Session, document: models.Run) -> None:
        """Fetch what --pull names, also from a run that failed; one that goes on has no results yet."""
        specs = self.options["pull"]
        if not specs or not isinstance(document.run_id, str):
            return
        if document.status == "running":
            told = " ".join(f"--pull {spec}" for spec in specs)
            self.printer.notify(f"nothing was fetched yet; later: lecoder-cgpu job wait {document.run_id} {told}")
            return
        from ... import storage

        document.pulled = storage.pull(session, specs, self.cwd)
        problem = storage.pull_problem(document.pulled, self.cwd)
        if problem is not None and document.status == "ok":
            document.fail(problem)
        if self.printer.mode == "human":
            tell_pulled(self.printer, document.pulled)

    # --- earlier runs ---

    def attach(self, run_id: str) -> Answer:
        """Show a run that was started earlier, whatever became of the client that started it."""
        if self.words or self.options["file"] or self.options["detach"]:
            raise errors.UsageError("--attach shows a run that is there already", hint="leave out the command")
        from ... import process_runs

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
        if self.synced is not None:
            document.synced = self.synced
        self._pull(session, document)
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


def _read_file(name: str) -> bytes:
    path = Path(name).expanduser()
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise errors.NotFoundError(f"{name}: no such file", name="FileNotFound", hint="check the path") from None
    except IsADirectoryError:
        raise errors.UsageError(f"{name} is a folder", name="IsADirectory", hint="give a Python source file") from None
    except OSError as error:
        raise errors.UsageError(
            f"{name} cannot be read: {error.strerror or error}", name="FileNotReadable", hint="check its permissions"
        ) from error


def _variable(app: App, item: str) -> tuple[str, str]:
    """One --env: NAME=VALUE, or NAME with the value that it has here."""
    from ... import config

    name, separator, value = item.partition("=")
    _check_name(name, "--env")
    if separator:
        return name, value
    local = config.environment(name)
    if local is None:
        raise errors.UsageError(
            f"--env {name}: there is no such variable here", hint=f"give a value: --env {name}=VALUE"
        )
    return name, local


def _secret(app: App, item: str) -> tuple[str, str]:
    """One --secret: NAME takes the local variable's value, NAME=- reads it from stdin. Never from the command line."""
    from ... import config, logs

    name, separator, origin = item.partition("=")
    _check_name(name, "--secret")
    if separator and origin != "-":
        raise errors.UsageError(
            f"--secret {name}: a value on the command line would be visible to everybody",
            name="SecretInArguments",
            hint=f"export {name} and use --secret {name}, or pipe it in with --secret {name}=-",
        )
    value = sys.stdin.readline().rstrip("\r\n") if separator else config.environment(name)
    if not value:
        where = "stdin" if separator else "the local environment"
        raise errors.UsageError(f"--secret {name}: there is no value in {where}", hint=f"export {name}=… first")
    logs.current().protect(value)
    return name, value


def _check_name(name: str, option: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise errors.UsageError(f"{option} {name!r}: that is no variable's name", hint=f"{option} NAME")


def _input_from_pipe(prompt: str, password: bool) -> str | None:
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None
