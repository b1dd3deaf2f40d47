"""How `--help` looks: commands and options in groups, wrapped at words, and the command that usually comes next.

Imported only when a page of help is made, so it may not import anything of the runtime.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

NARROWEST = 40  # columns; a narrower terminal wraps by itself
WIDEST = 80

# The commands in the order in which they are shown. One that stands in no group is an old name, and hidden.
GROUPS: Mapping[str, Sequence[str]] = {
    "Run": ("run", "job", "sweep", "connect", "install", "kernel"),
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
        "Runtimes that are lost": ("--every", "--restarts", "--no-restarts", "--retries", "--retry-on"),
        "Input, folder and packages": ("--stdin", "--cwd", "--auto-install", "--kernel", "--kernel-name"),
        "Variables and secrets": ("--env", "--env-file", "--secret", "--secrets-file"),
        "Output": (
            "--outputs", "--inline", "--max-output", "--order", "--raw", "--events", "--heartbeat", "--verbose",
        ),
        "The machine": (
            "--tpu", "--high-ram", "--new-runtime", "--wait-for-capacity", "--rm", "--server-profile",
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


def formatter(context: click.Context) -> Formatter:
    """One that is as wide as the terminal, within limits."""
    columns = context.terminal_width or min(shutil.get_terminal_size().columns, WIDEST)
    return Formatter(max(columns, NARROWEST) - 2)


class Formatter(click.HelpFormatter):
    """Wraps at white space only: no word and no option is cut, and an example can still be pasted."""

    def __init__(self, width: int) -> None:
        super().__init__(width=width)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The line that says what may be typed."""
        line = f"{prefix or 'Usage: '}{prog} {args}"
        lines = textwrap.wrap(
            line, self.width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
        self.write("".join(f"{part}\n" for part in lines))

    def write_text(self, text: str) -> None:
        """Paragraphs; one that begins with `\\b` has lines of its own."""
        width, indent = self.width - self.current_indent, " " * self.current_indent
        paragraphs = []
        for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
            first, _, rest = paragraph.partition("\n")
            if first.strip() == "\b":
                lines = [line for one in rest.splitlines() for line in _own_line(one.rstrip(), width)]
            else:
                lines = _wrapped(paragraph, width)
            paragraphs.append("".join(f"{indent}{line}\n" for line in lines))
        self.write("\n".join(paragraphs))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Names and what they mean, in two columns; narrow ones on a narrow terminal."""
        rows = list(rows)
        indent = " " * self.current_indent
        if self.width < 60:
            col_max = 10
        column = min(max((len(name) for name, _ in rows), default=0), col_max) + col_spacing
        hanging = indent + " " * column
        for name, text in rows:
            names = _wrapped_name(name, self.width - len(indent))
            lines = _wrapped(text, self.width - len(hanging))
            if len(names) == 1 and len(name) <= column - col_spacing and lines:
                self.write(f"{indent}{name:<{column}}{lines.pop(0)}\n")
            else:
                self.write("".join(f"{indent}{part}\n" for part in names))
            self.write("".join(f"{hanging}{line}\n" for line in lines))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


def _wrapped_name(name: str, width: int) -> list[str]:
    """The names of an option and its value; too long a list of choices goes on in the next line."""
    if len(name) <= width:
        return [name]
    lines = [""]
    for part in re.findall(r"[^ |]+[ |]*", name):
        if lines[-1].strip() and len((lines[-1] + part).rstrip()) > width:
            lines.append("    ")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _own_line(line: str, width: int) -> list[str]:
    """A line that stands for itself, such as an example with a remark. Too long a command goes on behind a backslash,
    as the shell reads it."""
    if len(line) <= width:
        return [line]
    code, _, remark = (part.strip() for part in re.match(r"(.*?\S)(\s{3,}|$)(.*)", line).groups())  # type: ignore[union-attr]
    if "lecoder-cgpu" not in code:
        return textwrap.wrap(line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    lines = [""]
    for word in re.findall(r"""(?:[^\s'"]|'[^']*'|"[^"]*"|['"])+""", code):
        if lines[-1].strip() and len(lines[-1]) + len(word) + 1 > width - 2:
            lines[-1] += " \\"
            lines.append("    " + word)
        else:
            lines[-1] += (" " if lines[-1].strip() else "") + word
    return lines + ["    " + part for part in _wrapped("# " + remark, width - 4)] if remark else lines


def write_commands(page: click.HelpFormatter, commands: Mapping[str, str]) -> None:
    """All commands of the root, in their groups.

    Args:
        commands: the line of each command.
    """
    widest = max(len(name) for names in GROUPS.values() for name in names)
    for title, names in GROUPS.items():
        with page.section(title):
            page.write_dl([(name.ljust(widest) if page.width >= 60 else name, commands[name]) for name in names])


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


def write_next(page: click.HelpFormatter, path: str) -> None:
    """The command that usually comes next."""
    page.write_paragraph()
    page.write_text(f"\b\nNext: lecoder-cgpu {next_command(path)}")
