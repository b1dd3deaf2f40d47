"""The table of commands and the click groups made from it. A command's module is imported when it is called, never for
`--help`."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .. import config, errors, profiles
from ..backends import registry

if TYPE_CHECKING:
    from ..models.base import Failure
    from ..sessions.manager import SessionManager
    from ..system.logs import Log
    from .output import Billing, Printer

HELP = {"help_option_names": ["-h", "--help"]}

# command -> (module under cli.commands, with its attribute if that is not `command`; one line of help). Several in one
# module stand there under their names.
COMMANDS = {
    "run": ("run", "Run Python or a shell command on a runtime."),
    "example": ("example", "Write a small project to try everything with."),
    "sweep": ("sweep", "Run a command with many values, over several runtimes."),
    "connect": ("connect", "Open a shell or a Python prompt on a runtime."),
    "forward": ("forward", "Reach ports of a runtime on 127.0.0.1."),
    "serve": ("serve", "Give other Jupyter clients the session's server, on 127.0.0.1."),
    "ssh": ("ssh", "Open an SSH connection to a Colab runtime."),
    "ssh-config": ("ssh_config", "Print a host block for OpenSSH, editors and rsync."),
    "status": ("status", "Show login, runtimes, GPUs and sessions."),
    "top": ("top", "Watch GPUs, memory and runs of all sessions."),
    "open": ("open", "Open a session's server or a notebook in the browser."),
    "sessions": ("sessions", "List, create, add, switch, rename, restart and close sessions."),
    "usage": ("usage", "Show Colab's compute units: balance, rate, hours left."),
    "gpus": ("gpus", "Show which accelerators this account may ask for."),
    "colab": ("colab", "What only Colab has: Drive on a runtime, and consent to it."),
    "job": ("job", "List, follow, wait for and end detached runs."),
    "upload": ("files", "Copy files and folders to the runtime."),
    "copy": ("files", "The same as upload."),
    "download": ("files", "Copy files and folders from the runtime."),
    "sync": ("files", "Send what differs between a local folder and one there."),
    "ls": ("files", "List files on the runtime."),
    "cat": ("files", "Print files of the runtime."),
    "edit": ("files", "Edit a file of the runtime."),
    "rm": ("files", "Delete files on the runtime."),
    "install": ("install", "Install Python packages on the runtime."),
    "notebook": ("notebook", "Run notebooks, cell by cell, and keep them in Google Drive."),
    "kernel": ("kernel", "List the kernels; show, interrupt or restart the session's."),
    "logs": ("logs", "Show what was run, and how it ended."),
    "debug": ("debug", "Show the tool's own log."),
    "profile": ("profile", "Keep several accounts apart, or options under a name."),
    "config": ("config", "Show and change settings."),
    "doctor": ("doctor", "Check the installation, the login, the network and every session."),
    "mcp": ("mcp", "Serve coding agents over the Model Context Protocol."),
    "skill": ("skill", "Print the page that teaches a coding agent to use this tool."),
    "auth": ("auth", "Log in to Google, carry a login to other machines."),
    "auth-export": ("auth:export", "The same as auth export."),
    "auth-import": ("auth:import_", "The same as auth import."),
    "logout": ("auth:logout", "The same as auth logout."),
    "keeper": ("keeper", "The background process that ends idle machines for you."),
    "policy": ("policy", "Tell what Colab's rules allow."),
    "reference": ("reference", "Show all commands, errors and settings of this version."),
    "completion": ("completion", "Have the Tab key complete commands, files, sessions and jobs."),
    "upgrade": ("upgrade", "Tell whether there is a newer version."),
}


@dataclass
class App:
    """What every command gets: how to answer, the settings, the session that was asked for."""

    printer: Printer
    arguments: Sequence[str] = ()
    options: dict[str, str] = field(default_factory=dict)
    config_file: str | None = None
    session: str | None = None
    profile: str | None = None

    @cached_property
    def log(self) -> Log:
        """The debug log, opened with a record of this command. A folder that cannot be used must not hide the error
        that the command itself will report about it."""
        from .. import __version__
        from ..system import logs, redaction

        for setting in config.SETTINGS:
            if setting.secret:
                with contextlib.suppress(errors.ConfigError, errors.UsageError):
                    redaction.protect(self.config.get(setting.key).value)
        mirror = self.printer.note if config.debug() else None
        try:
            log = logs.Log(self.config.state_dir / "logs", mirror)
        except (errors.ConfigError, errors.UsageError):
            return logs.current()
        logs.install(log)
        log.info("COMMAND", "start", {"arguments": shown(self.arguments), "version": __version__})
        return log

    @cached_property
    def config(self) -> config.Config:
        from pathlib import Path

        path = Path(self.config_file).expanduser() if self.config_file else None
        return config.Config(options=self.options, config_file=path, profile_name=self.profile)

    @cached_property
    def client(self) -> SessionManager:
        from ..net import retry
        from ..sessions.manager import SessionManager

        retry.tell = self.printer.note
        self.printer.watch_waits()
        return SessionManager(
            self.config,
            notify=self.printer.notify,
            waiting=self.printer.waiting,
            announce=self.printer.money if self.printer.shows_a_person else None,
            agree=self.printer.agrees,
        )

    def billing(self) -> Billing:
        """Whether a runtime is held that costs money, as far as it is known here, without asking anybody."""
        try:
            stored = self.client.store.records()
        except errors.Error:
            return "unknown"
        from ..store import former, lifecycle

        found = {lifecycle.billing(record) for record in stored if self.client.leased(record.backend) is not None}
        strays = former.returned(self.client.state_dir, stored)
        found |= {"unknown" if item.ended else "running" for item in strays}
        return "running" if "running" in found else "unknown" if "unknown" in found else "none"

    @property
    def account(self) -> str | None:
        """Whose account the chosen backend's runtimes belong to, `unknown` if nobody has told; None if they do to none.

        Raises:
            errors.Error: the files of the login cannot be read.
        """
        from ..sessions import operations

        lender = self.client.leased(self.client.chosen)
        return operations.holder(lender).id if lender is not None and lender.has_account() else None

    def about(self, document: Failure) -> None:
        """Say in the document of a failure for which profile and whose account the command acted, and what is held.
        Nobody is asked."""
        from . import held

        held.fill(self, document)
        with contextlib.suppress(errors.Error):
            if (name := self.config.profile.name) != profiles.DEFAULT:
                document.profile = name
            if (account := self.account) is not None:
                document.account = account


class BackendName(click.Choice[str]):
    """The name of a backend: one of those listed in help and messages, or one that an installed package brings."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if registry.is_known(value) else super().convert(value, param, ctx)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is None or value is False:
        return
    app = context.find_object(App)
    assert app is not None
    match parameter.name:
        case "backend":
            app.options["backend"] = value
        case "config_file":
            app.config_file = value
        case "session_key":
            app.session = app.printer.session = value
        case "profile_name":
            app.profile = app.printer.profile = value
        case "no_input":
            app.printer.no_input = True


def _show(context: click.Context, text: str) -> None:
    """What click would print by itself: for people through the Printer, which knows how writing fails."""
    app = context.find_object(App)
    if app is None or app.printer.mode != "human":
        click.echo(text)
    else:
        app.printer.show(text)


class _Helpful(click.Command):
    """A command whose help is shown by `_show`."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _help
        return option

    def get_help(self, ctx: click.Context) -> str:
        from . import help_page, help_text

        return help_text.render(help_page.blocks(self, ctx), ctx.terminal_width or help_text.columns())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from . import help_page

        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        options = [item for item in self.get_params(ctx) if isinstance(item, click.Option)]
        help_page.write_options(formatter, _path(ctx), options, ctx)


def _path(context: click.Context) -> str:
    """The words that name a command, without our own name."""
    return context.command_path.partition(" ")[2]


def _help(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        _show(context, context.get_help())
        context.exit()


def complete_profile(context: click.Context, parameter: click.Parameter, begun: str) -> list[Any]:
    """The names of profiles that a shell may complete a word to."""
    from click.shell_completion import CompletionItem

    try:
        known = profiles.read(config.config_dir() / profiles.FILE)["profiles"]
    except errors.ConfigError:
        return []
    return [CompletionItem(name) for name in sorted({profiles.DEFAULT, *known}) if name.startswith(begun)]


def common_options() -> list[click.Option]:
    """The options that every command takes, before or after its name."""
    return [
        click.Option(["--json", "json_mode"], is_flag=True, expose_value=False, help="Print one JSON document."),
        click.Option(
            ["-s", "--session", "session_key"], metavar="NAME", expose_value=False, callback=_remember, is_eager=True,
            help="Use this session: its name, its id, or a unique prefix.",
        ),
        click.Option(
            ["--backend"], type=BackendName(registry.names()), expose_value=False, callback=_remember, is_eager=True,
            help="Where runtimes come from. Default: colab.",
        ),
        click.Option(
            ["-c", "--config", "config_file"], metavar="PATH", expose_value=False, callback=_remember, is_eager=True,
            help="Use this file instead of config.json.",
        ),
        click.Option(
            ["--profile", "profile_name"], metavar="NAME", expose_value=False, callback=_remember, is_eager=True,
            shell_complete=complete_profile, help="Act for this profile (see `profile list`).",
        ),
        click.Option(
            ["--no-input"], is_flag=True, expose_value=False, callback=_remember, is_eager=True,
            help="Never ask anything.",
        ),
    ]  # fmt: skip


class Command(_Helpful):
    """A command with the common options. Its own options win: `debug show -c` is a category, not a config file."""

    def invoke(self, context: click.Context) -> Any:
        context.ensure_object(App).log  # noqa: B018 - opened here, and not for --help
        return super().invoke(context)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {**HELP, **self.context_settings}
        taken = {name for parameter in self.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for option in common_options():
            option.opts = [name for name in option.opts if name not in taken]
            if option.opts:
                self.params.append(option)


class Group(_Helpful, click.Group):
    """A group whose commands take the common options."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {**HELP, **self.context_settings}
        if type(self) is Group:
            self.params += common_options()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from . import help_page

        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        help_page.write_subcommands(formatter, [(name, item) for name, item in found if item is not None])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if type(self) is not Root and args and not args[0].startswith("-") and args[0] not in self.commands:
            from .other_words import called_below

            if (here := called_below(args[0], self.commands)) is not None:
                raise _called(context, f"{_path(context)} {args[0]}", f"{_path(context)} {here}", args[1:])
            _not_in_group(self, context, args)
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        if self.invoke_without_command and type(self) is Group:
            context.ensure_object(App).log  # noqa: B018
        return super().invoke(context)


def shown(arguments: Sequence[str]) -> list[str]:
    """The arguments as the log may keep them: without the values of secrets, of --env and of settings, and without a
    login to import."""
    from ..system import redaction
    from . import secret_arguments

    kept = secret_arguments.hidden(redaction.words(arguments), arguments)
    if "auth-import" in kept or ("auth" in kept and "import" in kept):
        return [word if word.startswith("-") or word in ("auth", "import", "auth-import") else "***" for word in kept]
    if "config" in kept and "set" in kept:
        at = kept.index("set") + 2
        kept[at:] = [word if word.startswith("-") else "***" for word in kept[at:]]
    for position, word in enumerate(kept):
        attached = word.startswith("--env=")
        if attached or (position and kept[position - 1] in ("-e", "--env")):
            name, separator, value = word.removeprefix("--env=").partition("=")
            kept[position] = ("--env=" if attached else "") + name + separator + ("***" if value else "")
    return kept


class Root(Group):
    """The root command: knows its commands by name only, until one of them is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        found = importlib.import_module(f"{__package__}.commands.{module}")
        command: click.Command = getattr(found, attribute or "command", None) or getattr(found, name)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "help":
            args = [*[word for word in args[1:] if word != "help"], "--help"]
            if all(word.startswith("-") for word in args):  # of no command in particular
                click.echo(context.get_help())
                context.exit()
        if args and args[0] not in COMMANDS:
            _no_command(context, args[0], args[1:])
        return super().resolve_command(context, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from . import help_page

        help_page.write_commands(formatter, {name: text for name, (_, text) in COMMANDS.items()})


def _called(context: click.Context, typed: str, here: str, given: Sequence[str]) -> errors.UsageError:
    from .other_words import with_arguments

    whole = with_arguments(context.find_root(), here, given if shown(given) == list(given) else ())
    return errors.UsageError(
        f"there is no command {typed!r}; it is called {here!r} here", hint=" ".join(("lecoder-cgpu", whole))
    )


def _not_in_group(group: click.Group, context: click.Context, words: Sequence[str]) -> None:
    """Refuse a word behind the name of a group that names a thing and no command: to show it is meant."""
    from .other_words import near

    name = "run" if words[0].endswith(".ipynb") else "show"
    if name in group.commands and near(words[0], group.commands) is None:
        raise errors.UsageError(
            f"there is no command {words[0]!r} in {_path(context)!r}",
            hint=shlex.join(("lecoder-cgpu", *_path(context).split(), name, *words)),
        )


def _no_command(context: click.Context, word: str, given: Sequence[str]) -> NoReturn:
    """Refuse a word that is no command, with the command that other tools call so, or with the nearest one."""
    from .other_words import called_here, near, phrase_here, without_run

    if (here := phrase_here((word, *given))) is not None:
        raise _called(context, f"{word} {given[0]}", here, given[1:])
    if (here := called_here(word)) is not None:
        raise _called(context, word, here, given)
    if os.path.isfile(word):
        raise errors.UsageError(
            f"there is no command {word!r}; it is a file here", hint=shlex.join(("lecoder-cgpu", "run", word, *given))
        )
    if (inside := without_run((word, *given))) is not None:
        raise errors.UsageError(f"there is no command {word!r}", hint=shlex.join(("lecoder-cgpu", *inside)))
    meant = near(word, COMMANDS)
    context.fail(f"there is no command {word!r}" + (f"; did you mean {meant!r}?" if meant else ""))


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from .. import __version__

        _show(context, __version__)
        context.exit()


@click.group(
    cls=Root,
    invoke_without_command=True,
    params=[
        *common_options(),
        click.Option(
            ["-v", "-V", "--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version,
            help="Print the version.",
        ),
    ],
    epilog="Every command takes --json: stdout is then exactly one JSON document.",
)  # fmt: skip
@click.pass_context
def root(context: click.Context) -> Any:
    """Run code on GPUs and Jupyter runtimes from the command line.

    \b
    lecoder-cgpu run "nvidia-smi"                 a shell command there
    lecoder-cgpu run --sync . python train.py     send this folder, run in it
    lecoder-cgpu --backend local run -m kernel "print(6*7)"   Python, on this machine
    lecoder-cgpu status --json                    what is held, answered as JSON
    """
    if context.invoked_subcommand is not None:
        return None
    from .start_page import answer

    return answer(context.ensure_object(App))
