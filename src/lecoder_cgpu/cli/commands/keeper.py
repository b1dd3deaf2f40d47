"""`keeper`: the process that keeps Colab's runtimes alive and ends their leases."""

from __future__ import annotations

import os
import sys

import click
from msgspec import UNSET

from ... import config, errors
from ...models.base import Done
from ...models.keeper import KeeperSchedule, KeeperStatus, KeeperStopped, Scheduler
from ...sessions import keeper_process
from ...warm import control
from .. import keeper_schedule
from ..app import App, Group
from ..output import Answer

LEAST = 60.0  # seconds between two looks at a runtime in one round


@click.group(cls=Group, name="keeper")
def command() -> None:
    """Show, stop or run the background process that ends idle machines for you.

    It is started by the commands that need it, keeps machines alive while work runs, releases them at your limits, and
    ends by itself.

    \b
    lecoder-cgpu keeper status
    """


@command.command()
@click.pass_obj
def status(app: App) -> Answer:
    """Tell whether the keeper runs, and what it last saw.

    \b
    lecoder-cgpu keeper status --json
    """
    found = keeper_process.read(app.client.state_dir)
    alive = keeper_process.is_alive(found)
    document = KeeperStatus(running=alive, profile=app.config.profile.name)
    if found is not None:
        document.pid, document.started, document.version = found.pid, found.started, found.version
        document.beat, document.sessions = found.beat, found.sessions
        accounts = {record.name: record.account for record in app.client.store.records()}
        for item in document.sessions:
            item.account = accounts.get(item.session, UNSET)
        if not alive:
            document.problem = "it died; the next command that uses a Colab session starts another"

    def text() -> str:
        lines = [f"running, process {found.pid}" if alive and found else "not running"]
        lines += [f"{item.session}: work {item.work}, ping {item.ping}" for item in document.sessions]
        return "\n".join(lines + ([document.problem] if document.problem is not UNSET else []))

    return Answer(document, text)


@command.command()
@click.pass_obj
def stop(app: App) -> Answer:
    """End the keeper. Runtimes stay, but are no longer kept alive, and their leases are not ended.

    Processes that LECODER_CGPU_WARM has prepared end, too, when they have done what they are doing. Connections that it
    keeps open are closed.

    \b
    lecoder-cgpu keeper stop
    """
    with app.printer.waiting("ending the keeper …"):
        stopped = keeper_process.stop(app.client.state_dir)
        control.ask("stop")
        control.ask("stop", kept=True)
    document = KeeperStopped(stopped=stopped)
    return Answer(document, lambda: "stopped" if stopped else "it did not run")


@command.command()
@click.option("--settings-stdin", is_flag=True, hidden=True, help="Read secret variables from stdin, as JSON.")
@click.pass_obj
def run(app: App, settings_stdin: bool) -> Answer:
    """Keep what is held, in the foreground, until nothing is.

    \b
    lecoder-cgpu keeper run
    """
    from ...keeper.daemon import KeeperDaemon

    if settings_stdin:
        keeper_process.take_handed()
    KeeperDaemon(app.config, app.client.state_dir, _interval(app)).run()
    return Answer(Done(message="nothing is held"), lambda: "nothing is held")


@command.command()
@click.pass_obj
def tick(app: App) -> Answer:
    """Do once what is due, and end: for cron, launchd or the Task Scheduler, where no process may stay.

    Runtimes are pinged, their leases are looked at, results are fetched, and lost jobs are run again. While a keeper
    runs, nothing is done. Colab's runtimes need it every minute or so.

    \b
    lecoder-cgpu keeper tick
    """
    from ...keeper.daemon import KeeperDaemon

    with app.printer.waiting("doing what is due …"):
        # Nothing is due twice in one round, however short the interval and slow the network: it would never end.
        done = KeeperDaemon(app.config, app.client.state_dir, max(_interval(app), LEAST)).once()
    said = "what was due is done" if done else "the keeper runs, and does that"
    return Answer(Done(message=said), lambda: said)


@command.command()
@click.option("--print", "printed", is_flag=True, help="Print it; nothing is changed on this system.")
@click.option(
    "--for", "kind", type=click.Choice(keeper_schedule.KINDS), help="For which scheduler; this system's if left out."
)
@click.pass_obj
def install(app: App, printed: bool, kind: Scheduler | None) -> Answer:
    """Print what has this system call `keeper tick` every minute, also when no command of this tool was typed.

    A unit and a timer for systemd, an agent for launchd, a task for Windows, or a line for cron; with where it belongs,
    and what logging out does to it. Jobs that are run again (--restarts) then go on after a restart of this machine.

    \b
    lecoder-cgpu keeper install --print
    lecoder-cgpu keeper install --print --for cron
    """
    if not printed:
        raise errors.UsageError(
            "files of your system's scheduler are left to you", hint="see them: lecoder-cgpu keeper install --print"
        )
    words = [sys.executable, "-m", "lecoder_cgpu", "--profile", app.config.profile.name]
    if app.config.config_file is not None:
        words += ["--config", str(app.config.config_file)]
    variables = {"LECODER_CGPU_CONFIG_DIR": str(config.config_dir())}
    storage = app.config.get("storageDir")
    if storage.source == "environment" and storage.value is not None:
        variables["LECODER_CGPU_STORAGE_DIR"] = storage.value
    chosen = kind or keeper_schedule.kind_of(sys.platform, systemd=os.path.isdir("/run/systemd/system"))
    text = keeper_schedule.text(chosen, [*words, "keeper", "tick"], variables, os.path.expanduser("~"))
    if config.environment("LECODER_CGPU_CREDENTIALS"):
        app.printer.notify("the login is in a variable of this shell, which no scheduler has: lecoder-cgpu auth import")
    return Answer(KeeperSchedule(kind=chosen, text=text), lambda: text.rstrip("\n"))


def _interval(app: App) -> float:
    """Seconds between the keeper's rounds."""
    interval = app.config.get("keeperInterval")
    try:
        seconds = float(interval.value or "")
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise errors.ConfigError(
            f"keeperInterval {interval.value!r} (from {interval.source}) is not a number of seconds",
            hint='"keeperInterval": "60" in config.json, or LECODER_CGPU_KEEPER_INTERVAL=60',
        )
    return seconds
