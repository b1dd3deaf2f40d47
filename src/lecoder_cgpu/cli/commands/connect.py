"""`connect`: a shell or a Python prompt on the runtime, for a person at a terminal; commands from a pipe work, too."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
from msgspec import UNSET

from ... import config, errors
from ...models.connections import Connected
from ...sessions.activity import in_use, promise
from ...sessions.session import Session
from .. import own_runtime, parse, runtime_options
from ..app import App
from ..console import Console, leave_key
from ..output import Answer, Printer

_RUNTIME_OPTIONS = (
    "rm",
    "new_runtime",
    "gpu",
    "tpu",
    "cpu",
    "high_ram",
    "server_profile",
    "server_option",
    "wait_for_capacity",
    "idle_release",
    "max_runtime",
    "max_units",
    "kernel_name",
)  # passed on to `run`
POLL = 5.0  # seconds; what ends the waiting closes the socket


@click.command(cls=runtime_options.RuntimeCommand)
@click.option(
    "-m",
    "--mode",
    type=click.Choice(parse.MODES),
    default="terminal",
    show_default=True,
    help="terminal: a shell; kernel: a prompt of the session's kernel.",
)
@click.option("--startup-command", metavar="COMMAND", help="Type this into the shell first.")
@click.option("--startup-code", metavar="CODE", help="Run this Python first (kernel mode).")
@click.option("--attach", metavar="TERMINAL", help="Go back to a shell that was left.")
@click.option("--detach-key", default="ctrl-]", show_default=True, metavar="KEY", help="Leave the shell; none: no key.")
@click.option("--outputs", metavar="DIR", help="Where images go that the terminal cannot show (kernel mode).")
@own_runtime.option
@runtime_options.runtime_options(new=True)
@runtime_options.kernel_option
@click.pass_obj
def command(app: App, /, **options: Any) -> Answer:
    """Open an interactive shell on the runtime, or with -m kernel a prompt of its kernel: Python, R, ….

    The shell's exit status is passed through. Ctrl-] leaves it running; a dropped connection comes back by itself.
    When stdin is not a terminal, its lines are the commands, and the output is theirs alone.

    \b
    lecoder-cgpu connect
    lecoder-cgpu connect --gpu T4 --startup-command "cd /content && nvidia-smi"
    lecoder-cgpu connect -m kernel
    lecoder-cgpu connect < commands.sh
    """
    _check(options)
    if not sys.stdin.isatty():
        return _piped(app, options)
    if app.printer.mode != "human" and not app.printer.err_is_terminal:
        raise errors.UsageError(
            "with --json stdout is for the document, so the terminal cannot be shown",
            hint="give commands on stdin: lecoder-cgpu connect --json < commands.sh",
        )
    wants = runtime_options.wants(options)
    with own_runtime.scope(app, wants, wanted=options["rm"]) as own:
        return _connect(app, app.client.session(app.session, wants) if own is None else own.session(), options)


def _connect(app: App, session: Session, options: dict[str, Any]) -> Answer:
    if options["mode"] == "kernel":
        from ..repl import Repl

        document = Repl(app, session, options["outputs"]).until_left(options["startup_code"])
        ended = "left; its variables stay in the kernel"
    else:
        document = _Shell(app.printer, session, options).until_left()
        ended = "" if document.detached is True else _ended(document)
    if ended and not options["rm"]:
        mode = " -m kernel" if document.mode == "kernel" else ""
        name = session.record.name
        app.printer.note(f"{ended}, and session {name} goes on: lecoder-cgpu connect{mode} --session {name}")
    elif ended:
        app.printer.note(ended)
    session.used()
    document.notice = app.printer.notice or UNSET
    return Answer(document, exit_status=document.exit_code, printed=True)


def _ended(document: Connected) -> str:
    """How the shell ended."""
    status = document.remote_exit_code
    return f"the shell ended with status {status}" if isinstance(status, int) else "the shell ended"


def _check(options: dict[str, Any]) -> None:
    kernel = options["mode"] == "kernel"
    for name, mode in (
        ("startup_command", "terminal"),
        ("attach", "terminal"),
        ("startup_code", "kernel"),
        ("outputs", "kernel"),
        ("kernel_name", "kernel"),
    ):
        if options[name] is not None and kernel != (mode == "kernel"):
            option = name.replace("_", "-")
            hint = f"add -m kernel to use --{option}" if mode == "kernel" else f"leave out -m kernel to use --{option}"
            raise errors.UsageError(f"--{option} is for {mode} mode", name="ConflictingOptions", hint=hint)
    if options["rm"] and options["attach"] is not None:
        raise errors.UsageError(
            "--rm uses a runtime of its own, where no shell was left",
            name="ConflictingOptions",
            hint="leave out --rm or --attach",
        )
    try:
        leave_key(options["detach_key"])
    except ValueError:
        raise errors.UsageError(
            f"{options['detach_key']!r} is not a control key",
            hint="--detach-key ctrl-], --detach-key ^Q, or --detach-key none",
        ) from None


def _piped(app: App, options: dict[str, Any]) -> Answer:
    """Commands from a pipe need no terminal: they are a run like any other, with streams apart and a true status."""
    if options["attach"] is not None:
        raise errors.UsageError(
            "a shell that was left needs a terminal to go back to",
            hint=f"type it at a terminal: lecoder-cgpu connect --attach {options['attach']}",
        )
    from . import run

    words = []
    for name in _RUNTIME_OPTIONS:
        option, value = f"--{name.replace('_', '-')}", options[name]
        values = value if isinstance(value, tuple) else (value,) if value else ()
        words += [option if item is True else f"{option}={item}" for item in values]
    if options["mode"] == "kernel":
        words += ["--outputs", options["outputs"]] if options["outputs"] else []
        startup = options["startup_code"]
        code = sys.stdin.buffer.read().decode("utf-8", "replace")
        words += ["-m", "kernel", "--", f"{startup}\n{code}" if startup else code]
    else:
        first = options["startup_command"]
        words += ["--stdin", "--", "bash", *(["-c", f"{first}\nexec bash -s"] if first else ["-s"])]
    with run.command.make_context("run", words, obj=app) as context:
        answer: Answer = run.command.invoke(context)
    return answer


class _Shell:
    """One visit to a shell on the runtime."""

    def __init__(self, printer: Printer, session: Session, options: dict[str, Any]) -> None:
        self._printer = printer
        self._session = session
        self._startup = options["startup_command"]
        self._attach = options["attach"]
        self._key_name = options["detach_key"]
        self._left = False
        self._reconnections = 0

    def until_left(self) -> Connected:
        """Show the shell until it ends or the user leaves it; the terminal is restored in any case."""
        from ...jupyter.terminal import Terminal
        from ...sessions.machines import require_one

        if self._session.record.apart:
            require_one(self._session, "the server's terminals")
        started = time.monotonic()
        with self._printer.waiting("opening a terminal …"):
            self._terminal = Terminal(
                self._session.server, config.environment("TERM") or "xterm-256color", self._attach
            )
        if self._key_name.lower() != "none" and self._attach is None:
            self._printer.note(f"connected to {self._session.record.name}; {self._key_name} leaves the shell running")
        if (text := promise(self._session)) is not None:
            self._printer.money(text)
        screen = self._printer.for_a_person()
        console = Console(
            sys.stdin.fileno(),
            screen.write,
            self._terminal.send,
            self._terminal.resize,
            self._leave,
            leave_key(self._key_name),
        )
        try:
            with console, in_use(self._session):
                self._follow(console)
        finally:
            self._terminal.close()
        return self._document(time.monotonic() - started)

    def _leave(self) -> None:
        self._left = True
        self._terminal.close()  # wakes up the reader that waits for output

    def _follow(self, console: Console) -> None:
        terminal = self._terminal
        while not (terminal.ended or terminal.taken or self._left):
            try:
                text = terminal.receive(POLL)
            except errors.ConnectionFailed:
                if not self._left:
                    self._reconnect(console)
                continue
            if text:
                console.show(text)
                if self._startup is not None:  # the shell has shown its prompt
                    terminal.send(self._startup + "\r")
                    self._startup = None

    def _reconnect(self, console: Console) -> None:
        noted = False

        def note() -> None:
            nonlocal noted
            noted = True
            console.note(f"connection lost; trying to get it back ({self._key_name} leaves)")

        self._terminal.reconnect(lambda: self._left, note)
        if not (self._terminal.ended or self._left):
            self._reconnections += 1
            if noted:
                console.note("connected again")

    def _document(self, seconds: float) -> Connected:
        terminal = self._terminal
        document = Connected(session=self._session.record.ref, mode="terminal", seconds=round(seconds, 3))
        document.terminal = terminal.name or UNSET
        document.reconnections = self._reconnections or UNSET
        if terminal.taken:
            document.detached = True
            document.next = f"lecoder-cgpu connect --session {self._session.record.name}"
            self._printer.notify(
                f"another connection took this terminal, and the shell goes on there; to take it back: {document.next}"
            )
        elif not terminal.ended:
            document.detached = True
            back = "" if terminal.name is None else f" --attach {terminal.name}"
            document.next = f"lecoder-cgpu connect --session {self._session.record.name}{back}"
            self._printer.note(f"left; the shell goes on. To go back: {document.next}")
        elif terminal.exit_status:
            failure = errors.RuntimeFailure(
                f"the shell ended with status {terminal.exit_status}",
                name="ProcessFailed",
                exit_status=terminal.exit_status,
            )
            document.fail(failure)
        document.remote_exit_code = UNSET if terminal.exit_status is None else terminal.exit_status
        return document
