"""`job plot`: the numbers that a run prints, as curves."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import click

from ... import errors
from ...history import curves
from ...runs import plots as drawing
from .. import plots, written
from ..app import App, Command
from ..looks import Text
from ..output import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...history.metrics import Series

SHOWN = 4  # curves at a terminal
PICTURED = 20  # curves in a picture
SOURCES = {
    "copy": "its runtime is gone: this is what was copied here while it ran",
    "history": "its runtime is gone: this is what the history keeps of its output",
}


@click.command(cls=Command)
@click.argument("job")
@click.option("--metric", metavar="REGEX", help="Only series whose name this finds; with a group: numbers in lines.")
@click.option("--svg", metavar="FILE", help="Write the curves to FILE as SVG; - is stdout.")
@click.pass_obj
def plot(app: App, job: str, metric: str | None, svg: str | None) -> Answer:
    """Draw the numbers that a run prints, such as its loss, as curves.

    Read are loss=0.53, loss: 0.53, epoch 3/10 ... acc 0.91, dictionaries, lines of JSON, and bars of tqdm and Keras. A
    REGEX with a group is searched for in lines, and the group is the number; a group called step says what it belongs
    to.

    JOB may be any run, one that goes on or has ended. If its runtime is gone, what was kept here of its output is used.

    \b
    lecoder-cgpu job plot run-0123456789abcdef
    lecoder-cgpu job plot run-0123456789abcdef --metric loss --svg loss.svg
    lecoder-cgpu job plot run-0123456789abcdef --metric 'took ([0-9.]+) s'
    lecoder-cgpu job plot run-0123456789abcdef --json | jq '.series[0].last'
    """
    wanted = _pattern(metric)
    if svg == "-" and app.printer.mode != "human":
        raise errors.UsageError(
            "--svg - prints the picture, and --json a document",
            name="ConflictingOptions",
            hint="leave out --json, or give a file to --svg",
        )
    with app.printer.waiting("reading its output …"):
        document, series = drawing.plot(drawing.printed(app.client, job, app.session), wanted)
    if document.source in SOURCES:
        app.printer.notify(SOURCES[document.source])
    if not document.complete:
        app.printer.notify("not all of its output is known")
    if svg is not None and series:
        content = curves.svg(series[:PICTURED], f"{document.run}: what it printed").encode()
        if svg == "-":
            app.printer.write(content + b"\n")
            return Answer(document, printed=True)
        document.svg = written.write(svg, content, "--svg")
        app.printer.aside(f"written: {document.svg}")
    if not series and app.printer.mode == "human":
        app.printer.note(_none_found(document.state, metric))
        return Answer(document, printed=True)
    return Answer(document, lambda: _text(app, series))


def _pattern(metric: str | None) -> re.Pattern[str] | None:
    if metric is None:
        return None
    try:
        return re.compile(metric)
    except (re.error, OverflowError, RecursionError) as error:
        raise errors.UsageError(
            f"--metric {metric[:100]!r} is no regular expression: {error}",
            name="BadPattern",
            hint="a part of a name, such as --metric loss, or a group for the number: --metric 'took ([0-9.]+) s'",
        ) from error


def _none_found(state: str, metric: str | None) -> str:
    what = "no numbers with names" if metric is None else "nothing that --metric finds"
    until_now = " yet" if state in ("running", "starting", "queued") else ""
    return f"it has printed {what}{until_now}\nhint: name them by what is around them: --metric 'took ([0-9.]+) s'"


def _text(app: App, series: Sequence[Series]) -> Text:
    """The curves; in a pipe, a line for each series."""
    if not app.printer.out_is_terminal:
        return Text([(f"{item.name}\t{len(item.y)}\t{curves.summary(item)}",) for item in series])
    columns, rows = shutil.get_terminal_size()
    shown = series[:SHOWN]
    lines: list[Sequence[str]] = []
    for item in shown:
        lines += [plots.cut(line, columns) for line in plots.lines(item, columns, plots.rows_each(len(shown), rows))]
    if len(series) > len(shown):
        names = ", ".join(item.name for item in series[SHOWN:])
        lines.append((f"also printed (--metric NAME shows them): {names}",))
    return Text(lines)
