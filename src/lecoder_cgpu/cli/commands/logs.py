"""`logs`: what was run and how it ended, from the history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET, Struct

from ... import errors
from ...history import exports
from ...history.entries import History, parse_since
from ...jupyter.screen import render
from ...models.base import Timing
from ...models.history import HistoryCleared, HistoryError, HistoryPage
from ...models.runs import Stopped
from ...store import rates
from .. import display_options, job_text, looks, run_display, times, written
from ..app import App, Group
from ..looks import Cell, Table, Text
from ..output import Answer

if TYPE_CHECKING:
    from ...models.history import HistoryEntry


MODES = {"kernel": "python", "terminal": "shell"}  # as people call them


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "-n",
            "--limit",
            type=click.IntRange(min=1),
            default=50,
            show_default=True,
            metavar="NUMBER",
            help="The most that are shown.",
        ),
        click.option(
            "--status",
            metavar="STATUS",
            help="Only these: ok, error (lost ones, too), abort, unknown, lost or running.",
        ),
        click.option("--category", metavar="NAME", help="Only errors of this category, such as import or memory."),
        click.option("--mode", metavar="MODE", help="Only these: kernel or terminal."),
        click.option("--since", metavar="WHEN", help="Not before: 30m, 2h, 1d, 2w, today, yesterday, or a date."),
        *(
            click.option(f"--{form}", metavar="FILE", help=f"Write them to FILE as {what}; - is stdout.")
            for form, what in exports.FORMS.items()
        ),
        click.option("--stats", is_flag=True, help="Only summary statistics."),
        click.option("--clear", is_flag=True, help="Delete the history."),
    ):
        function = option(function)
    return function


class Chosen(Struct, kw_only=True):
    """The options of `logs`: which entries, and what to do with them."""

    limit: int
    status: str | None
    category: str | None
    mode: str | None
    since: str | None
    html: str | None
    ipynb: str | None
    md: str | None
    jsonl: str | None
    stats: bool
    clear: bool


@click.group(cls=Group, name="logs", invoke_without_command=True)
@_filters
@click.pass_context
def command(context: click.Context, /, **options: Any) -> Answer | None:
    """Show what was run, newest first.

    \b
    lecoder-cgpu logs -n 10 --json
    lecoder-cgpu logs --status error --since 1d
    lecoder-cgpu logs --since today --html report.html
    lecoder-cgpu logs --mode kernel --ipynb today.ipynb
    lecoder-cgpu logs stats
    """
    if context.invoked_subcommand is not None:
        return None
    app, chosen = context.ensure_object(App), Chosen(**options)
    history = _history(app)
    named = [(form, file) for form in exports.FORMS if (file := getattr(chosen, form)) is not None]
    if named:
        others = [form for form, _ in named[1:]] + ["stats"] * chosen.stats + ["clear"] * chosen.clear
        _check_page(app, *named[0], others[0] if others else None)
    if chosen.clear:
        return _clear(history)
    if chosen.stats:
        return _stats(history)
    start = parse_since(chosen.since, datetime.now(UTC)) if chosen.since else None
    entries = history.entries(
        chosen.limit, status=chosen.status, category=chosen.category, mode=chosen.mode, since=start
    )
    if named:
        return _page(app, history, entries, *named[0])
    rows = [_row(entry) for entry in entries]
    return Answer(entries, lambda: _table(rows))


def _table(rows: list[tuple[str, ...]]) -> Table:
    return Table(
        ("STATUS", "WHEN", "MODE", "TOOK", "COMMAND", "ERROR", "RUN"),
        rows,
        empty="The history is empty.",
        gives_way=("COMMAND",),
        spare=("ERROR", "MODE", "TOOK", "WHEN"),
        below=["one of them: lecoder-cgpu logs show RUN"],
    )


def _history(app: App) -> History:
    """The history, with the ends of runs that can be known without asking other machines."""
    from ...runs import learning

    return learning.history(app.client)


@command.command()
@click.pass_obj
def stats(app: App) -> Answer:
    """Summary statistics of the whole history.

    \b
    lecoder-cgpu logs stats --json
    """
    return _stats(_history(app))


@command.command()
@click.pass_obj
def clear(app: App) -> Answer:
    """Delete the history.

    \b
    lecoder-cgpu logs clear
    """
    return _clear(History(app.client.state_dir))


@command.command()
@click.argument("run")
@click.option("--output", is_flag=True, help="Print all of its output, as the runtime recorded it.")
@click.option("--html", metavar="FILE", help="Write what is remembered to a web page, with images; - is stdout.")
@display_options.options
@click.pass_obj
def show(app: App, /, run: str, output: bool, html: str | None, **shown: Any) -> Answer:
    """Show one run: what the history here remembers, or with --output what its runtime recorded.

    With --output, any machine that knows the session can ask; the run's own session is used, if this history names it,
    and else the one in use. --raw, --order, --max-output, --inline and --outputs
    say how that is shown.

    \b
    lecoder-cgpu logs show run-0123456789abcdef
    lecoder-cgpu logs show run-0123456789abcdef --html run.html
    lecoder-cgpu logs show run-0123456789abcdef --output --max-output 0
    """
    history = _history(app)
    entry = history.find(run)
    if html is not None:
        _check_page(app, "html", html, "output" if output else None)
    if output:
        return _output(app, run, entry, run_display.RenderOptions(**shown))
    if entry is None:
        raise errors.NotFoundError(
            f"there is no run {run!r} in the history of this machine",
            name="RunNotFound",
            hint=f"ask the runtime: lecoder-cgpu logs show {run} --output",
        )
    if html is not None:
        return _page(app, history, [entry], "html", html)
    return Answer(entry, lambda: Text(_lines(entry)))


def _output(app: App, run: str, entry: HistoryEntry | None, manner: run_display.RenderOptions) -> Answer:
    key = app.session
    run_id = run
    if entry is not None:
        key = key or (entry.session if isinstance(entry.session, str) else None)
        run_id = entry.run_id if isinstance(entry.run_id, str) else run
    document = run_display.earlier(app.printer, app.client.existing(key), run_id, manner)
    if app.printer.mode == "human":
        run_display.tell(app.printer, document, manner.outputs)
    return Answer(document, exit_status=document.exit_code, printed=True)


def _lines(entry: HistoryEntry) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [
        (Cell(entry.run_id or entry.id, "bold"), ": ", looks.state(entry.status)),
        ("  when      ", Cell(times.utc(entry.timestamp), drawn=times.told(entry.timestamp).drawn)),
    ]
    for label, value in (("session", entry.session), ("mode", entry.mode), ("exit", entry.exit_code)):
        if value is not UNSET:
            lines.append((f"  {label:<9} ", Cell(str(value), drawn=MODES.get(str(value)))))
    if isinstance(entry.stopped, Stopped):
        lines.append((f"  stopped   {': '.join(filter(None, (entry.stopped.by, ', '.join(entry.stopped.steps))))}",))
    for label, text in (("command", entry.command), ("stdout", entry.stdout), ("stderr", entry.stderr)):
        if text:
            shown = text if label == "command" else render(text)
            lines += [(f"  {label}",), *((f"    {line}",) for line in shown.splitlines())]
    for display in entry.display_data:
        plain = display.data.get("text/plain")
        lines += [("  shown",), *((f"    {line}",) for line in (plain if isinstance(plain, str) else "").splitlines())]
        lines += [(f"    {mime}, see: --html FILE",) for mime in display.data if mime.startswith("image/")]
    if isinstance(entry.error, HistoryError):
        lines.append(("  error     ", Cell(f"{entry.error.ename}: {entry.error.evalue}", "red")))
    return lines


def _check_page(app: App, form: str, file: str, other: str | None) -> None:
    """Refuse what a page does not go with; `other` is an option that was given."""
    if file == "-" and app.printer.mode != "human":
        raise errors.UsageError(
            f"--{form} - prints the page, and --json a document",
            name="ConflictingOptions",
            hint=f"leave out --json, or give a file to --{form}",
        )
    if other is not None:
        either = f"--{form} or --{other}"
        raise errors.UsageError(
            f"--{form} cannot be combined with --{other}", name="ConflictingOptions", hint=f"leave out {either}"
        )


def _page(app: App, history: History, entries: list[HistoryEntry], form: str, file: str) -> Answer:
    content = exports.content(form, entries, history.images.read, datetime.now(UTC), rates.read(app.client.state_dir))
    if file == "-":
        app.printer.write(content)
        return Answer(HistoryPage(path=file, runs=len(entries), bytes=len(content)), printed=True)
    path = written.write(file, content, f"--{form}")
    document = HistoryPage(path=path, runs=len(entries), bytes=len(content))
    return Answer(document, lambda: f"{document.path}: {document.runs} runs")


def _clear(history: History) -> Answer:
    history.clear()
    return Answer(HistoryCleared(), lambda: "the history is empty now")


def _stats(history: History) -> Answer:
    document = history.stats()

    def text() -> str:
        lines = [
            f"runs         {document.total_executions}",
            f"successful   {document.successful_executions} ({document.success_rate:.1f} %)",
            f"failed       {document.failed_executions}",
            f"aborted      {document.aborted_executions}",
        ]
        lines += [f"  {category:<10} {count}" for category, count in sorted(document.errors_by_category.items())]
        return "\n".join(lines)

    return Answer(document, text)


def _row(entry: HistoryEntry) -> tuple[str, ...]:
    first = next((line for line in entry.command.splitlines() if line.strip()), "")
    shown = first if len(first) <= 60 else first[:59] + "…"
    if first.strip() != entry.command.strip() and not shown.endswith("…"):
        shown += " …"
    took = times.span(entry.timing.duration_ms / 1000) if isinstance(entry.timing, Timing) else "-"
    failed = entry.error.ename if isinstance(entry.error, HistoryError) else ""
    if not failed and isinstance(entry.stopped, Stopped):
        failed = f"stopped ({entry.stopped.by})"
    run = entry.run_id if isinstance(entry.run_id, str) else entry.id
    return (
        looks.state(entry.status),
        times.ago(entry.timestamp),
        Cell(entry.mode, drawn=MODES.get(entry.mode)),
        took,
        shown,
        Cell(failed, "red" if entry.status == "error" else ""),
        Cell(run, "dim", drawn=run[: job_text.SHORT]),
    )
