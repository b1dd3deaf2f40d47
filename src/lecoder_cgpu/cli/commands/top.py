"""`top`: what every held runtime is doing, looked at again and again."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import click

from ... import config
from ...models.base import now
from ...models.sessions import KernelInfo
from ...models.status import Host, Memory, Top
from .. import durations, looks
from ..app import App, Command
from ..looks import Table
from ..output import Answer

if TYPE_CHECKING:
    from ...models.status import RuntimeStatus

HEADERS = ("SESSION", "RUNTIME", "GPU", "BUSY", "GPU MEMORY", "MEMORY", "DISK", "RUNS", "KERNEL", "UNITS/H")
ACCOUNT_PAUSE = 30.0  # seconds between two questions about the account, whose figures lag behind by minutes


@click.command(cls=Command)
@click.option(
    "-d",
    "--delay",
    type=durations.Duration(0.2, bare=True),
    default=2.0,
    show_default=True,
    metavar="TIME",
    help="Pause between two looks.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), metavar="LOOKS", help="End after this many looks.")
@click.option("--once", is_flag=True, help="Look once and end, as with --json or without a terminal.")
@click.pass_obj
def command(app: App, delay: float, count: int | None, once: bool) -> Answer:
    """Watch GPUs, memory, disk and runs of all sessions; q ends it.

    For each GPU: how busy it is, and its memory, with the looks before as a curve. For each run: what it uses, how far
    it is, how fast it goes and when it will be done, as it prints that itself. The arrows scroll, and choose what runs
    are sorted by.

    \b
    lecoder-cgpu top
    lecoder-cgpu top --once --json | jq '.runtimes[].gpu.utilization.gpu'
    """
    look = Looks(app)
    printer = app.printer
    with printer.waiting("looking …"):
        document = look()
    if printer.mode != "human" or not printer.out_is_terminal:
        return Answer(document, lambda: _table(document))
    from .. import top_screen, top_view

    paint = looks.coloured if config.colour_allowed() else looks.plain
    if not once and document.runtimes and top_screen.can_show():
        screen = top_screen.Screen(look, printer.write, paint, delay, count)
        screen.run(document)
        document = screen.seen
        if count is None:
            return Answer(document, printed=True)
    view = top_view.View(top_view.Trends(), shutil.get_terminal_size().columns, paint, now=time.time())
    lines = [*top_view.head(document, view), *top_view.body(document, view)]
    printer.write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
    return Answer(document, printed=True)


class Looks:
    """Looks at all sessions; what the account has, and what it holds elsewhere, is asked less often."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._last: Top | None = None
        self._asked = 0.0

    def __call__(self) -> Top:
        """One look.

        Raises:
            errors.NotFoundError, errors.UsageError: the session that was named does not exist, or is ambiguous.
        """
        from ...runs import learning

        last, moment = self._last, time.monotonic()
        whole = last is None or moment - self._asked >= ACCOUNT_PAUSE
        status = learning.status(self._app.client, self._app.session, account=whole)
        document = Top(sampled=now(), runtimes=status.runtimes, units=status.units)
        if whole or last is None:
            self._asked = moment
        else:
            _complete(document, last)
        self._last = document
        return document


def _complete(document: Top, last: Top) -> None:
    """Add what the last look knew of the account."""
    document.units = last.units
    here = {runtime.endpoint: runtime for runtime in document.runtimes}
    for runtime in last.runtimes:
        if runtime.endpoint in here:
            here[runtime.endpoint].units_per_hour = runtime.units_per_hour
        elif not runtime.session:
            document.runtimes.append(runtime)


def _table(document: Top) -> Table:
    """For pipes: one row for each GPU."""
    rows = [row for runtime in document.runtimes for row in _rows(runtime)]
    return Table(HEADERS, rows, empty="no runtime is held; see: lecoder-cgpu status")


def _rows(runtime: RuntimeStatus) -> list[tuple[str, ...]]:
    """One row for each GPU, and at least one; a dash stands for what is not known."""
    if not runtime.connected:
        problem = runtime.problem if isinstance(runtime.problem, str) else "not reachable"
        return [(runtime.session, runtime.label, problem, *("-" for _ in HEADERS[3:]))]
    host = runtime.host if isinstance(runtime.host, Host) else None
    kernel = runtime.kernel.state if isinstance(runtime.kernel, KernelInfo) else "-"
    rate = f"{runtime.units_per_hour:g}" if isinstance(runtime.units_per_hour, float) else "-"
    memory, disk = (_used(size) for size in ((host.memory, host.disk) if host else (None, None)))
    rest = (memory, disk, "-" if runtime.runs is None else str(runtime.runs), kernel, rate)
    if not runtime.gpus:
        return [(runtime.session, runtime.label, "none", "-", "-", *rest)]
    rows: list[tuple[str, ...]] = []
    for number, gpu in enumerate(runtime.gpus):
        first = (runtime.session, runtime.label) if number == 0 else ("", "")
        last = rest if number == 0 else ("",) * len(rest)
        rows.append((*first, gpu.name, gpu.utilization.gpu, _used(gpu.memory), *last))
    return rows


def _used(memory: object) -> str:
    return f"{memory.used} of {memory.total}" if isinstance(memory, Memory) else "-"
