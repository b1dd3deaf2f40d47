"""`--sync`, `--pull` and `--every`: the files that work needs, and its results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import structs

from .. import errors
from ..jupyter.messages import new_run_id
from ..sessions.session import Session
from . import durations, progress
from .app import App
from .live import tell_pulled
from .output import Printer, counted
from .plain_text import in_a_line

if TYPE_CHECKING:
    from ..files.pulling import Pulling
    from ..models.files import Synced
    from ..models.notebooks import NotebookRun
    from ..models.runs import Run


def check(sync: str | None, pull: Sequence[str]) -> None:
    """Refuse what cannot be sent or fetched, before anything is done.

    Raises:
        errors.Error: there is no such folder, or `--pull` names nothing.
    """
    if sync or pull:
        from ..files import sending

        sending.check(sync, pull)


def every_option(function: Any) -> Any:
    """Add `--every` and `--pull-when` to a command."""
    import click

    function = click.option(
        "--pull-when",
        metavar="GLOB",
        help="Fetch what --pull names when a file of that name comes or changes there (looked at --every 10s).",
    )(function)
    return click.option(
        "--every",
        type=durations.POSITIVE,
        metavar="TIME",
        help="Do what --pull and --push name again and again while the work goes on: a whole copy of one moment.",
    )(function)


def pulling(options: dict[str, Any]) -> Pulling | None:
    """What `--pull`, `--every` and `--pull-when` declare; None without the last two.

    Raises:
        errors.UsageError: there is nothing to fetch, or no place for it.
    """
    when: str | None = options["pull_when"]
    if options["every"] is None and when is None:
        return None
    if not options["pull"] and options.get("push") and when is None:
        return None  # it says how often the runtime copies
    if not options["pull"]:
        option = "--every says how often" if when is None else "--pull-when says when"
        raise errors.UsageError(
            f"{option} --pull fetches, and there is no --pull",
            name="ConflictingOptions",
            hint=f"add --pull PATH[:LOCAL], or leave out {option.partition(' ')[0]}",
        )
    if options.get("attach"):
        raise errors.UsageError(
            "--attach starts nothing, so there is nothing to fetch from", hint="leave out --every and --pull-when"
        )
    if when is not None and not when.strip():
        raise errors.UsageError("--pull-when is empty", hint="a file that the program writes: --pull-when 'out/*.done'")
    from ..files.pulling import LOOK, declared

    return declared(options["pull"], options["every"] or LOOK, new_run_id(), when)


@contextlib.contextmanager
def while_it_runs(
    app: App, session: Session, wanted: Pulling | None, folder: str | None, run: str | None = None
) -> Iterator[None]:
    """Fetch what is wanted at its interval while the body runs.

    Args:
        folder: there, where relative paths start. run: the run, for the keeper, which goes on should we be killed.
    """
    if wanted is None:
        yield
        return
    from ..files import pull_plans, sending
    from ..files.pulling import while_it_runs as fetching
    from ..store import owners

    def opened() -> Session:
        return app.client.hold(app.client.store.get(session.record.id) or session.record)

    wanted = structs.replace(wanted, folder=folder)
    if run is not None and app.config.get("keeper").value != "off":
        with contextlib.suppress(errors.ConfigError):  # the run matters more
            sending.note(app.client, session, wanted, (), run, owners.this_process())
    try:
        with fetching(opened, wanted, app.printer.notify):
            yield
    finally:
        if run is not None:
            pull_plans.remove(app.client.state_dir, run)


def leave_to_keeper(app: App, session: Session, wanted: Pulling | None, specs: Sequence[str], run: str) -> None:
    """Have the keeper fetch what is wanted of a job.

    Args:
        specs: what was typed. run: the job.
    """
    if wanted is not None:
        from ..files import sending

        sending.leave_to_keeper(app.client, session, wanted, specs, run)


def send(
    printer: Printer, session: Session, folder: str, cwd: str | None, *, source: str | None = None
) -> tuple[Synced, str]:
    """Send what is new in a local folder; returns what was done, and the folder on the runtime to work in.

    Args:
        source: a copy of the folder that is sent in its place.

    Raises:
        errors.Error: not all of it was sent.
    """
    from ..files import plan, sending

    with progress.telling(printer, f"sending {folder}") as hears:
        synced, there = sending.send(session, folder, cwd, source=source, progress=hears.advance, expect=hears.expect)
    for item in synced.skipped:
        printer.note(f"skipped: {in_a_line(item.path)}: {item.reason}")
    if printer.mode == "human":  # as `ls` on the runtime takes it
        printer.note(f"synced: {counted(synced.sent, 'file')} to {plan.source_name(os.path.expanduser(folder))}/")
    return synced, there


def fetch(
    printer: Printer,
    session: Session,
    specs: Sequence[str],
    cwd: str | None,
    document: Run | NotebookRun,
    wanted: Pulling | None = None,
) -> None:
    """Fetch results, also of work that failed. The document tells of each, and fails if all else went well.

    Args:
        wanted: what --every declares; its last generation is fetched.
    """
    from ..files import sending

    sending.fetch(session, specs, cwd, document, wanted)
    if printer.mode == "human":
        tell_pulled(printer, document.pulled)
