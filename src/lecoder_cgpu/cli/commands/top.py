"""`top`: what every held runtime is doing, looked at again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...models.base import now
from ...models.sessions import KernelInfo
from ...models.status import Host, Memory, Top
from ...sessions import status as overview
from .. import durations
from ..app import App, Command
from ..looks import Table
from ..output import Answer

if TYPE_CHECKING:
    from ...models.status import RuntimeStatus

HEADERS = ("SESSION", "RUNTIME", "GPU", "BUSY", "GPU MEMORY", "MEMORY", "DISK", "RUNS", "KERNEL", "UNITS/H")


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
@click.pass_obj
def command(app: App, delay: float, count: int | None) -> Answer:
    """Watch GPUs, memory, disk and running commands of all sessions; Ctrl-C ends it.

    With --json, or when stdout is not a terminal, it looks once.

    \b
    lecoder-cgpu top
    lecoder-cgpu top --json | jq '.runtimes[].gpu.utilization.gpu'
    """

    def look() -> Top:
        status = overview.status(app.client, app.session)
        return Top(sampled=now(), runtimes=status.runtimes, units=status.units)

    if app.printer.mode == "human" and app.printer.out_is_terminal:
        document = app.printer.live(look, _table, delay, count)
        return Answer(document, printed=True)
    document = look()
    return Answer(document, lambda: _table(document))


def _table(document: Top) -> Table:
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
