"""What `--help` shows: commands and options in groups, and the command that usually comes next.

Pages are made from click's commands once, by `python -m lecoder_cgpu.reference write`, and kept in `pages/`; so to show
one, neither click nor the command is imported (`help_text`). Only with other options beside it, `--help` comes here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from .help_text import WIDEST, Block, file_name

if TYPE_CHECKING:
    from collections.abc import Mapping

# The commands in the order in which they are shown. One that stands in no group is an old name, and hidden.
GROUPS: Mapping[str, Sequence[str]] = {
    "Run": ("run", "job", "sweep", "connect", "install", "kernel", "example"),
    "Files": ("upload", "download", "sync", "ls", "cat", "edit", "rm"),
    "Runtimes and money": ("status", "top", "sessions", "gpus", "usage", "keeper", "policy"),
    "Notebooks": ("notebook", "open", "colab"),
    "History": ("logs", "debug"),
    "Login": ("auth", "profile", "config", "doctor"),
    "For tools": (
        "forward", "serve", "ssh", "ssh-config", "mcp", "skill", "reference", "completion", "upgrade",
    ),
}  # fmt: skip
OLD_NAMES = ("copy", "auth-export", "auth-import", "logout")

# The options of a command in groups; those of every day first. What stands nowhere comes last.
EVERYWHERE = ("--session", "--json", "--backend", "--profile", "--config", "--no-input", "--help")
OPTIONS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "run": {
        "Options of every day": (
            "--sync", "--pull", "--gpu", "--cpu", "--mode", "--file", "--detach", "--timeout", "--session", "--json",
        ),
        "Watch and leave": (
            "--wait", "--on-disconnect", "--attach", "--from", "--key", "--name", "--on-finish",
        ),
        "Runtimes that are lost": (
            "--every", "--pull-when", "--push", "--restarts", "--no-restarts", "--retries", "--retry-on",
            "--store-secrets", "--i-understand-free-tier",
        ),
        "Input, folder and packages": ("--stdin", "--cwd", "--auto-install", "--kernel", "--kernel-name"),
        "Variables and secrets": ("--env", "--env-file", "--secret", "--secrets-file"),
        "Output": (
            "--outputs", "--inline", "--max-output", "--order", "--raw", "--events", "--heartbeat", "--verbose",
        ),
        "The machine": (
            "--tpu", "--high-ram", "--new-runtime", "--wait-for-capacity", "--rm", "--hub", "--server-profile",
            "--server-option",
        ),
        "Limits": ("--idle-timeout", "--idle-release", "--max-runtime", "--max-units", "--release"),
        "Options of every command": EVERYWHERE,
    },
}  # fmt: skip

# What people usually type after a command; a group's line is also that of its commands.
NEXT: Mapping[str, str] = {
    "": "status",
    "run": "status",
    "job": "job list",
    "job list": "job logs JOB -f",
    "job show": "job logs JOB -f",
    "job wait": "job result JOB",
    "job logs": "job wait JOB",
    "sweep": "sweep status",
    "sweep status": "sweep resume",
    "sweep wait": "sweep status",
    "sweep kill": "sweep resume",
    "connect": "job list",
    "install": "run python train.py",
    "kernel": "run -m kernel CODE",
    "example": "run --sync . python train.py",
    "upload": "ls",
    "copy": "ls",
    "download": "sessions close",
    "sync": "run --sync . python train.py",
    "ls": "download FILE",
    "cat": "download FILE",
    "edit": "run python FILE",
    "rm": "ls",
    "status": "sessions close",
    "top": "job list",
    "sessions": "sessions list",
    "sessions list": "sessions close NAME",
    "sessions create": "run nvidia-smi",
    "sessions ensure": "run nvidia-smi",
    "sessions add": "run -m kernel CODE",
    "sessions adopt": "status",
    "sessions close": "usage",
    "gpus": "run --gpu T4 nvidia-smi",
    "usage": "sessions close --all",
    "keeper": "sessions list",
    "policy": "gpus",
    "notebook": "logs --html report.html",
    "notebook parameters": "run NOTEBOOK.ipynb -p NAME=VALUE",
    "notebook list": "notebook pull NOTEBOOK.ipynb",
    "notebook pull": "run NOTEBOOK.ipynb",
    "open": "status",
    "colab": "run ls",
    "logs": "logs show RUN",
    "logs show": "run --attach RUN",
    "logs clear": "logs",
    "debug": "doctor",
    "auth": "gpus",
    "auth setup": "auth login",
    "auth logout": "auth login",
    "auth-export": "auth status",
    "auth-import": "auth status",
    "logout": "auth login",
    "profile": "status",
    "profile create": "auth login",
    "config": "config show",
    "doctor": "status",
    "forward": "open",
    "serve": "status",
    "ssh": "ssh-config",
    "ssh-config": "ssh",
    "mcp": "skill",
    "skill": "reference",
    "reference": "skill",
    "completion": "status",
    "upgrade": "doctor",
}


def next_command(path: str) -> str:
    """What usually comes after a command, without our name.

    Args:
        path: the words of the command, such as `job list`.
    """
    return NEXT.get(path) or NEXT[path.partition(" ")[0]]


class Page(click.HelpFormatter):
    """Takes what click says of a command as blocks, for `help_text.render`."""

    def __init__(self) -> None:
        super().__init__(width=WIDEST)
        self.blocks: list[Block] = []
        self._title = ""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        self.blocks.append(["usage", f"{prog} {args}"])

    def write_heading(self, heading: str) -> None:
        self._title = heading

    def write_text(self, text: str) -> None:
        self.blocks.append(["text", text])

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 0, col_spacing: int = 0) -> None:
        self.blocks.append(["list", self._title, col_max, [list(row) for row in rows]])


def write_commands(page: click.HelpFormatter, commands: Mapping[str, str]) -> None:
    """All commands of the root, in their groups.

    Args:
        commands: the line of each command.
    """
    widest = max(len(name) for names in GROUPS.values() for name in names)
    for title, names in GROUPS.items():
        with page.section(title):
            page.write_dl([(name, commands[name]) for name in names], widest)


def write_subcommands(page: click.HelpFormatter, commands: Iterable[tuple[str, click.Command]]) -> None:
    """The commands of a group, each with its whole first sentence; other names for one of them are left out."""
    rows = [
        (name, text)
        for name, command in commands
        if name == command.name and not (text := command.get_short_help_str(limit=1000)).startswith("The same as")
    ]
    with page.section("Commands"):
        page.write_dl(rows)


def write_options(
    page: click.HelpFormatter, path: str, options: Sequence[click.Option], context: click.Context
) -> None:
    """The options of a command: in the groups that it has, else those of its own before those of every command.

    Args:
        path: the words of the command.
    """
    rows = [(option.opts, record) for option in options if (record := option.get_help_record(context)) is not None]
    groups = OPTIONS.get(path)
    if groups is None:
        own = [opts[0] for opts, _ in rows if not set(opts) & set(EVERYWHERE)]
        groups = {"Options": own, "Options of every command": EVERYWHERE} if own else {"Options": EVERYWHERE}
    left = list(rows)
    for title, names in groups.items():
        found = [row for name in names for row in left if name in row[0]]
        left = [row for row in left if row not in found]
        if found:
            with page.section(title):
                page.write_dl([record for _, record in found])
    if left:
        with page.section("Other options"):
            page.write_dl([record for _, record in left])


def write_next(page: Page, path: str) -> None:
    """The command that usually comes next."""
    page.blocks.append(["line", f"Next: lecoder-cgpu {next_command(path)}"])


def kept(root: click.Group) -> dict[str, str]:
    """The files of `pages/`: their names, and what they hold."""
    return {
        file_name(path.split()): json.dumps(blocks, indent=1, ensure_ascii=False) + "\n"
        for path, blocks in _every(root, None, "lecoder-cgpu")
    }


def _every(command: click.Command, above: click.Context | None, name: str) -> Iterator[tuple[str, list[Block]]]:
    """The words of a command and of those below it, without our own name, and what their pages hold."""
    context = click.Context(command, above, info_name=name, **command.context_settings)
    yield context.command_path.partition(" ")[2], blocks(command, context)
    for below in command.list_commands(context) if isinstance(command, click.Group) else ():
        found = command.get_command(context, below)  # type: ignore[attr-defined]
        assert found is not None
        yield from _every(found, context, below)


def blocks(command: click.Command, context: click.Context) -> list[Block]:
    """What the page of a command holds."""
    page = Page()
    command.format_help(context, page)
    write_next(page, context.command_path.partition(" ")[2])
    return page.blocks
