"""`main`: the only place where an error becomes an exit status, and where a bug still yields a document."""

from __future__ import annotations

import contextlib
import io
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import __version__, errors
from ..system import faults, interrupts
from . import held, parse, standard_streams
from .output import Answer, Printer, ReaderGone

if TYPE_CHECKING:
    from .app import App


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came; treated like Ctrl-C, with its own exit status."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status. Never raises."""
    arguments = list(arguments)
    standard_streams.repair()
    faults.close_to_others()
    printer = Printer(parse.output_mode(arguments))  # type: ignore[arg-type]
    _catch_signals()
    try:
        if arguments in (["--version"], ["-V"], ["-v"]):
            return _shown(__version__, printer)
        if arguments[-1:] in (["--help"], ["-h"]) and (page := _kept_page(arguments[:-1], printer)) is not None:
            return _shown(page, printer)
        return _invoke(arguments, printer)
    except KeyboardInterrupt as interrupt:  # a second signal while we were cleaning up, or one before there was an App
        return _answer_shortly(printer, interrupt)


def _kept_page(words: list[str], printer: Printer) -> str | None:
    """The page of help of the command that these words name alone, for people; None for every other command line."""
    from . import help_text

    blocks = help_text.kept(words) if printer.mode == "human" else None
    return None if blocks is None else help_text.render(blocks, help_text.columns())


def _shown(text: str, printer: Printer) -> int:
    """The fast path of --version and of pages of help, which needs nothing of the rest."""
    try:
        standard_streams.release_signals()
        printer.show(text)
    except errors.Error as error:
        return printer.failure(error, lambda: "none")
    return 0


def _invoke(arguments: list[str], printer: Printer) -> int:
    from .app import App

    app = App(printer, arguments)
    try:
        standard_streams.release_signals()
        answer = _dispatch(arguments, app)
        return _undisturbed(printer, lambda: _answered(answer, app))
    except errors.Error as error:
        return _failed(error, error, app)
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt, app)
    except Exception as error:
        if (behind := interrupts.behind(error)) is not None:
            return _interrupted(behind, app)
        return _failed(faults.of_this_machine(error), error, app)


def _undisturbed(printer: Printer, end: Callable[[], int]) -> int:
    """Do what ends a command, and return its exit status. A signal that comes meanwhile changes nothing of what the
    document says; the second one is not kept back."""
    if printer.mode == "human":
        return end()
    status = None
    try:
        with interrupts.Hold():
            status = end()
    except KeyboardInterrupt:
        if status is None:
            raise
    return status


def _answered(answer: Answer, app: App) -> int:
    printer = app.printer
    info: Any = getattr(answer.document, "error", None)
    if printer.mode != "human" and hasattr(info, "billing"):
        info.billing = app.billing()
    held_now = held.fill(app, answer.document)
    status = printer.answer(answer)
    if printer.mode == "human" and type(answer.document).__name__ not in held.VIEWS:
        printer.money(held.line(held_now))
    if printer.reader_gone:  # the work may have ended well by itself, but what it printed was not read
        status = errors.interrupted_status(ReaderGone())
    _log_end(app, status, None, answer.document)
    return status


def _failed(told: errors.Error, cause: Exception, app: App) -> int:
    """Answer that the command has failed; `cause` is what the log is to tell of."""

    if told.hint == shlex.join(["lecoder-cgpu", *app.arguments]):  # it has just failed
        told.hint = None

    def end() -> int:
        _log_end(app, told.exit_status, cause)
        return app.printer.failure(told, app.billing, app.about)

    return _undisturbed(app.printer, end)


def _answer_shortly(printer: Printer, interrupt: KeyboardInterrupt) -> int:
    """Answer a signal at once, if nothing was answered yet: nobody is asked what is held."""
    status = errors.interrupted_status(interrupt)
    if printer.mode == "human":
        return status
    with contextlib.suppress(KeyboardInterrupt):
        _undisturbed(printer, lambda: printer.failure(_interruption(status), lambda: "unknown"))
    return status


def _interruption(status: int) -> errors.RuntimeFailure:
    return errors.RuntimeFailure("interrupted", name="Interrupted", exit_status=status)


def _interrupted(interrupt: KeyboardInterrupt, app: App) -> int:
    """Answer that a signal has ended the command; returns its exit status."""
    return _undisturbed(app.printer, lambda: _answer_interrupted(interrupt, app))


def _answer_interrupted(interrupt: KeyboardInterrupt, app: App) -> int:
    printer, status = app.printer, errors.interrupted_status(interrupt)
    interrupted = _interruption(status)
    if isinstance(interrupt, interrupts.Unwatched):
        interrupted.message += f"; run {interrupt.run} was started, and may go on"
        interrupted.hint = f"lecoder-cgpu job wait {interrupt.run}, or lecoder-cgpu job kill {interrupt.run}"
    elif parse.transfers(app.arguments):
        interrupted.hint = "what has arrived is kept; repeat the same command: it goes on there"
    _log_end(app, status, interrupted)
    mode = None if printer.mode == "human" else parse.watched_run(app.arguments)
    if mode is None:
        printer.failure(interrupted, app.billing, app.about)
        if printer.mode == "human":
            printer.money(held.line(held.now(app)))
        return status
    from ..runs.records import interrupted_run

    document = interrupted_run(mode, interrupt)
    document.error.billing = app.billing()  # type: ignore[union-attr]
    held.fill(app, document)
    return printer.answer(Answer(document, exit_status=status, printed=True))


def _dispatch(arguments: list[str], app: App) -> Answer:
    """Parse and run; what click itself prints (help, version) becomes the document in JSON mode."""
    import click

    from .app import root

    captured = io.StringIO()
    shield = contextlib.redirect_stdout(captured) if app.printer.mode != "human" else contextlib.nullcontext()
    try:
        with shield:
            result = root.main(args=arguments, prog_name="lecoder-cgpu", standalone_mode=False, obj=app)
    except click.exceptions.NoArgsIsHelpError as error:
        raise errors.UsageError(
            f"{error.ctx.command_path}: a command is missing", hint=_first_command(error.ctx) or _help(error)
        ) from None
    except click.NoSuchOption as error:
        from .other_words import option_beside, option_here

        context, name = error.ctx, error.option_name
        hint = (option_here(name, context.command) or option_beside(name, context)) if context else None
        hint = hint or _with_command(error, app)
        raise errors.UsageError(error.format_message(), hint=hint or _help(error)) from error
    except click.MissingParameter as error:
        raise errors.UsageError(error.format_message(), hint=_completed(error, app.arguments)) from error
    except click.UsageError as error:
        raise errors.UsageError(_plain(error.format_message()), hint=_help(error)) from error
    except click.ClickException as error:
        raise errors.UsageError(error.format_message()) from error
    except click.Abort as abort:  # what click makes of any KeyboardInterrupt; the first one knows its exit status
        cause = abort.__cause__
        raise (cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt()) from None
    if isinstance(result, Answer):
        return result
    if app.printer.mode == "human":  # click has printed it
        return Answer(None, printed=True)
    from ..models.base import Done

    return Answer(Done(message=captured.getvalue().rstrip("\n")), printed=True)


def _with_command(error: Any, app: App) -> str | None:
    """What is meant by options that stand where a command should: `run` before those of its own, or to look."""
    import click

    from .app import shown

    if error.ctx is None or not isinstance(error.ctx.command, click.Group):
        return None
    if error.ctx.parent is not None:
        return _first_command(error.ctx)
    if error.option_name not in parse.RUN_OPTIONS or shown(app.arguments) != list(app.arguments):
        return None
    return shlex.join(("lecoder-cgpu", "run", *app.arguments))


def _first_command(context: Any) -> str | None:
    """What is usually meant by the name of a group alone: to look; and how to see the others."""
    known = context.command.list_commands(context)
    look = next((name for name in ("list", "status", "show") if name in known), None)
    path = context.command_path
    return None if look is None else f"{path} {look}, or what else there is: {path} --help"


def _completed(error: Any, arguments: Sequence[str]) -> str:
    """What was typed, with what is missing in its place."""
    import click

    from .app import shown

    missing, context = error.param, error.ctx
    if missing is None or context is None or shown(arguments) != list(arguments):
        return _help(error)
    words = [missing.make_metavar(context)]
    if isinstance(missing, click.Option):
        words.insert(0, missing.opts[-1])
    else:
        behind = context.command.params[context.command.params.index(missing) + 1 :]
        words += [item.make_metavar(context) for item in behind if isinstance(item, click.Argument) and item.required]
    return f"{shlex.join(('lecoder-cgpu', *arguments))} {' '.join(words)}"


def _plain(message: str) -> str:
    """What click says of a value, in words."""
    import re

    message = re.sub(r"is not a valid integer(?: range)?\.$", "is no whole number", message)
    message = re.sub(r"is not a valid float(?: range)?\.$", "is no number", message)
    found = re.search(r" is not in the range (?:(\S+?)(<=?))?x(?:(<=?|>=?)(\S+?))?\.$", message)
    if found is None:
        return message
    least, _, sign, other = found.groups()
    if least is not None:
        told = f"between {least} and {other}"
    else:
        told = {">=": "at least ", ">": "more than ", "<=": "at most ", "<": "less than "}[sign] + other
    return f"{message[: found.start()]}: it has to be {told}"


def _help(error: Any) -> str:
    path = error.ctx.command_path if error.ctx else "lecoder-cgpu"
    if path == "lecoder-cgpu notebook run" and "extra argument" in error.format_message():  # papermill's way
        return f"{path} IN.ipynb -o OUT.ipynb -p NAME=VALUE"
    return f"{path} --help"


def _log_end(app: App, status: int, error: BaseException | None, document: Any = None) -> None:
    """Record how the command ended. What needed no log (--help) opens none; a failure is always recorded."""
    detail: dict[str, Any] = {"exitStatus": status}
    if error is None:
        failure: Any = getattr(document, "error", None)
        if name := getattr(failure, "name", None):  # what failed was the user's code
            detail |= {"errorCode": document.error_code, "category": failure.category}
            app.log.error("RUN", f"failed: {name}: {failure.message}", detail)
        elif "log" in vars(app):
            app.log.info("COMMAND", "end", detail)
        return
    if isinstance(error, errors.Error):
        detail["errorCode"] = error.code
    from .secret_arguments import protect

    protect(app.arguments)
    app.log.error("COMMAND", f"failed: {error}", detail, error)


def _catch_signals() -> None:
    """Turn SIGTERM and SIGHUP into an orderly end: remote work is interrupted and the document printed."""
    sys.unraisablehook = interrupts.raise_again

    def handle(number: int, frame: object) -> None:
        raise Terminated(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A process started by nohup ignores SIGHUP on purpose; leave that alone.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError, OSError):
                signal.signal(number, handle)
