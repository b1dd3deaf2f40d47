"""`debug`: the tool's own log, for finding out what it did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...models.debug import LogFiles, LogPath
from ...system import logs
from ..app import App, Group
from ..output import Answer

if TYPE_CHECKING:
    from ...models.debug import LogRecord


@click.group(cls=Group, name="debug")
def command() -> None:
    """Show the tool's own log: every command, its requests, and the error of those that failed.

    \b
    lecoder-cgpu debug show --level error
    lecoder-cgpu debug tail -f
    """


def _folder(app: App) -> Path:
    return app.client.state_dir / "logs"


def _reading(lines: int, level: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options of the commands that read the log, with these defaults."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "-n",
                "--lines",
                type=click.IntRange(min=1),
                default=lines,
                show_default=True,
                metavar="NUMBER",
                help="The most that are shown.",
            ),
            click.option(
                "-l",
                "--level",
                default=level,
                show_default=True,
                metavar="LEVEL",
                help="Only these and graver ones: debug, info, warn or error.",
            ),
            click.option(
                "-c", "--category", metavar="NAME", help="Only records of that category, such as HTTP or COMMAND."
            ),
            click.option("-s", "--search", metavar="TEXT", help="Only records that contain this text."),
        ):
            function = option(function)
        return function

    return decorate


@command.command()
@_reading(lines=50, level="info")
@click.pass_obj
def show(app: App, lines: int, level: str, category: str | None, search: str | None) -> Answer:
    """Show the newest records, oldest of them first.

    \b
    lecoder-cgpu debug show
    lecoder-cgpu debug show --level error --lines 5 --json
    lecoder-cgpu debug show --category HTTP --level debug
    """
    records = logs.records(_folder(app), lines, level, category, search)
    return Answer(records, lambda: "\n".join(_line(record) for record in records))


@command.command()
@_reading(lines=20, level="debug")
@click.option("-f", "--follow", is_flag=True, help="Go on with records as they are written.")
@click.pass_obj
def tail(app: App, lines: int, level: str, category: str | None, search: str | None, follow: bool) -> Answer:
    """Show the newest records; with -f, go on until Ctrl-C.

    \b
    lecoder-cgpu debug tail
    lecoder-cgpu debug tail -f --search assign
    """
    later = logs.follow(_folder(app), level=level, category=category, search=search)  # from this moment on
    records = logs.records(_folder(app), lines, level, category, search)
    if not follow or app.printer.mode == "json":
        return Answer(records, lambda: "\n".join(_line(record) for record in records))
    for record in records:
        app.printer.show(_line(record))
    for record in later:
        app.printer.show(_line(record))
    return Answer(records, printed=True)


@command.command("list")
@click.pass_obj
def list_(app: App) -> Answer:
    """List the log files, newest first.

    \b
    lecoder-cgpu debug list
    """
    files = logs.files(_folder(app))
    return Answer(LogFiles(files=files), lambda: "\n".join(f"{item.path}\t{item.size}" for item in files))


@command.command()
@click.pass_obj
def path(app: App) -> Answer:
    """Print the folder of the log files.

    \b
    lecoder-cgpu debug path
    """
    folder = str(_folder(app))
    return Answer(LogPath(path=folder), lambda: folder)


def _line(record: LogRecord) -> str:
    import msgspec

    parts = [record.timestamp, f"{record.level_name:<5}", record.category, record.message]
    if isinstance(record.data, dict) and record.data:
        parts.append(msgspec.json.encode(record.data).decode())
    if isinstance(record.error, dict):  # its stack is in the JSON form
        parts.append(str(record.error.get("name", "")))
    return " ".join(parts)
