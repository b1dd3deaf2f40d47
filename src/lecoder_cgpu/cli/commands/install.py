"""`install`: packages on the runtime, with the installer's true status."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from ... import errors
from ...history.entries import History, entry_from_run
from ...models.base import ErrorInfo
from ...models.history import HistoryRuntime
from ...models.runs import Run
from ...sessions.session import Session
from .. import durations
from ..app import App, Command
from ..display_options import max_output_option
from ..live import ProcessView
from ..output import Answer

if TYPE_CHECKING:
    from ...models.notebooks import Install


@click.command(cls=Command)
@click.argument("packages", nargs=-1, metavar="PACKAGE...")
@click.option("-r", "--requirement", multiple=True, metavar="FILE", help="A requirements file of this machine.")
@click.option("-e", "--editable", multiple=True, metavar="DIR", help="A project on the runtime, in development mode.")
@click.option("-U", "--upgrade", is_flag=True, help="Upgrade packages that are installed.")
@click.option("--pre", is_flag=True, help="Accept pre-releases.")
@click.option("--no-deps", is_flag=True, help="Leave dependencies out.")
@click.option("--index-url", metavar="URL", help="Look for packages there instead of PyPI.")
@click.option("--extra-index-url", multiple=True, metavar="URL", help="Look for packages there, too.")
@click.option(
    "--venv", metavar="NAME", help="Install into this virtual environment on the runtime, which is created if needed."
)
@click.option(
    "--installer",
    type=click.Choice(["auto", "uv", "pip"]),
    default="auto",
    show_default=True,
    help="The installer; auto uses uv where the runtime has it.",
)
@click.option(
    "--timeout",
    type=durations.POSITIVE_SECONDS,
    metavar="TIME",
    help="End the work after that: 90s, 20m, 2h; a bare number is seconds.",
)
@click.option("--events", "events_mode", is_flag=True, expose_value=False, help="Print NDJSON events as they happen.")
@max_output_option
@click.pass_obj
def command(app: App, /, packages: tuple[str, ...], **options: Any) -> Answer:
    """Install Python packages on the runtime, into the Python that its kernels run in.

    The exit status is the installer's. When something was changed that the session's kernel has imported, the answer
    says that the kernel must be restarted.

    \b
    lecoder-cgpu install transformers "torch>=2.4"
    lecoder-cgpu install -r requirements.txt --json
    lecoder-cgpu install --venv old "numpy<2"        prints the environment's Python
    """
    from ...runs import installs

    files, main = installs.read_files(options["requirement"])
    if not (packages or main or options["editable"]):
        raise errors.UsageError(
            "there is nothing to install", hint="lecoder-cgpu install PACKAGE, or -r FILE, or -e DIR"
        )
    if options["venv"] is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", options["venv"]):
        raise errors.UsageError(
            f"--venv {options['venv']!r}: this is not a name for an environment",
            hint="use letters, digits, . _ and -, such as --venv old",
        )
    for item in packages:
        if not item.strip() or item.startswith("-"):
            raise errors.UsageError(f"{item!r} is not a package", hint="lecoder-cgpu install --help")
    wanted = installs.Wanted(
        requirements=packages,
        files=files,
        main=main,
        editable=options["editable"],
        options=_passed_on(options),
        installer=options["installer"],
        venv=options["venv"],
    )
    session = app.client.session(app.session)
    view = ProcessView(app.printer)
    budget = app.printer.budget(options["max_output"], streamed=True)
    with app.printer.reporting(lambda: view.while_silent("installing …")):
        document = installs.install(session, wanted, view.show, timeout=options["timeout"], max_output=budget)
    view.finish()
    _remember(app, session, document, wanted.label)
    session.used()
    if document.restart_needed is True:
        names = ", ".join(document.loaded_modules if isinstance(document.loaded_modules, list) else [])
        app.printer.notify(f"the kernel has imported {names}, which changed: lecoder-cgpu kernel restart")
    elif document.restart_needed is None and document.status == "ok":
        app.printer.notify("the kernel is busy and could not say whether it has imported what changed")
    if app.printer.mode == "human":
        _tell(app, document)
    document.notice = app.printer.notice or UNSET
    return Answer(document, exit_status=document.exit_code, printed=True)


def _passed_on(options: dict[str, Any]) -> list[str]:
    """The options that both installers know."""
    passed = [f"--{name.replace('_', '-')}" for name in ("upgrade", "pre", "no_deps") if options[name]]
    passed += [f"--index-url={options['index_url']}"] if options["index_url"] else []
    return passed + [f"--extra-index-url={url}" for url in options["extra_index_url"]]


def _remember(app: App, session: Session, document: Install, label: str) -> None:
    run = Run(
        status=document.status,
        error_code=document.error_code,
        exit_code=document.exit_code,
        mode="terminal",
        stdout=document.stdout,
        stderr=document.stderr,
        error=document.error,
        timing=document.timing,
        session=document.session,
        run_id=document.run_id,
    )
    runtime = HistoryRuntime(label=session.record.runtime.label, accelerator=session.record.runtime.accelerator)
    try:
        History(app.client.state_dir).append(entry_from_run(run, label, runtime))
    except errors.ConfigError as error:
        app.printer.notify(f"the run was not written to the history: {error.message}")


def _tell(app: App, document: Install) -> None:
    """What a person should know beyond the installer's own output, on stderr."""
    if isinstance(document.error, ErrorInfo):
        app.printer.note(f"error: {document.error.name}: {document.error.message}")
        if isinstance(document.error.suggestion, str):
            app.printer.note(f"hint: {document.error.suggestion}")
    elif isinstance(document.venv, str):
        app.printer.note(f"python: {document.python}")
