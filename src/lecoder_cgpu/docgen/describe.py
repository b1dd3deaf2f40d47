"""What this version can do, as one document: what `reference --json` prints, and the source of every page."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import click
from msgspec import UNSET

from .. import __version__, config, errors
from ..diagnostics import installation
from ..models.reference import CommandReference, ErrorReference, OptionReference, Reference, SettingReference

# What an exit status means whatever the command; a process run passes the status of its program through.
EXIT_STATUSES = {
    0: "success",
    1: "the code failed, or a command failed in a way that has no other status",
    2: "wrong arguments",
    66: "no such session, job, file or notebook",
    69: "no runtime is available",
    70: "a bug in lecoder-cgpu",
    74: "the connection or the runtime was lost, or a transfer failed",
    75: "a time limit was reached",
    77: "not logged in, or not allowed",
    78: "the configuration or the state on disk cannot be used",
    124: "the command stopped waiting; the work goes on",
    129: "SIGHUP ended the command",
    130: "Ctrl-C ended the command",
    141: "the reader of the output closed it",
    143: "SIGTERM ended the command",
}


def describe(root: click.Group) -> Reference:
    """The reference of the installed version.

    Args:
        root: the root command; its commands are imported.
    """
    return Reference(
        version=__version__,
        python=".".join(str(part) for part in sys.version_info[:3]),
        commands=list(_commands(root)),
        errors=[
            ErrorReference(
                code=kind.code,
                category=kind.category,
                name=kind.__name__,
                exit_code=kind.exit_status,
                retryable=kind.retryable,
                description=kind.description,
            )
            for kind in errors.tree()
        ],
        exit_codes={str(status): meaning for status, meaning in EXIT_STATUSES.items()},
        settings=[
            SettingReference(
                key=item.key, env=item.env, help=item.help, default=item.default or UNSET, secret=item.secret
            )
            for item in config.SETTINGS
        ],
        variables=dict(config.VARIABLES),
        files=dict(config.FILES),
        extras=installation.extras(),
    )


def _commands(root: click.Group) -> Iterator[CommandReference]:
    context = click.Context(root, info_name="lecoder-cgpu", **root.context_settings)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        if not command.hidden:
            yield from _with_children(command, context, name)


def _with_children(command: click.Command, parent: click.Context, name: str) -> Iterator[CommandReference]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield _command(command, context)
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            assert child is not None
            if not child.hidden:
                yield from _with_children(child, context, child_name)


def _command(command: click.Command, context: click.Context) -> CommandReference:
    text = inspect.cleandoc(command.help or "").replace("\f", "")
    summary, _, rest = text.partition("\n\n")
    paragraphs = [part for part in rest.split("\n\n") if part.strip()]
    examples = [
        line.strip()
        for part in paragraphs
        if part.startswith("\b")
        for line in part.splitlines()
        if "lecoder-cgpu " in line
    ]
    return CommandReference(
        name=context.command_path.removeprefix("lecoder-cgpu "),
        usage=" ".join(["lecoder-cgpu", *context.command_path.split()[1:], *command.collect_usage_pieces(context)]),
        summary=" ".join(summary.split()),
        description=[" ".join(part.split()) for part in paragraphs if not part.startswith("\b")],
        examples=examples,
        options=[
            _option(item, context) for item in command.params if isinstance(item, click.Option) and not item.hidden
        ],
    )


def _option(option: click.Option, context: click.Context) -> OptionReference:
    default = option.get_default(context, call=False)
    shown = default is not None and option.show_default and not callable(default)
    choices = list(option.type.choices) if isinstance(option.type, click.Choice) else []
    value: Any = UNSET
    if not (option.is_flag or option.count):
        value = "|".join(choices) if choices else option.make_metavar(context)
    return OptionReference(
        names=[*option.opts, *option.secondary_opts],
        value=value,
        help=option.help or "",
        default=str(default) if shown else UNSET,
        multiple=option.multiple,
    )
