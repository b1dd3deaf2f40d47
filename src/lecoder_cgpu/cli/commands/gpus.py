"""`gpus`: which accelerators the account may ask for, and what each costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...sessions import status
from ..app import App, Command
from ..looks import Cell, Table
from ..output import Answer

if TYPE_CHECKING:
    from ...models.status import Accelerator, Accelerators

HEADERS = ("NAME", "KIND", "ALLOWED", "MEMORY", "UNITS/H", "ENOUGH FOR")


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Show which GPUs and TPUs this account may ask Colab for, their memory, and what they were seen to cost.

    Whether one is free now, only asking tells. Colab publishes no prices: a dash stands until a runtime of that kind
    was held alone.

    \b
    lecoder-cgpu gpus
    lecoder-cgpu gpus --json | jq .eligibleGpus
    """
    document = status.accelerators(app.client)
    return Answer(document, lambda: _table(document))


def _table(document: Accelerators) -> Table:
    left = sum(value for value in (document.balance, document.free_units) if isinstance(value, (int, float)))
    given = not document.balance and isinstance(document.free_units, float)

    def row(item: Accelerator) -> tuple[str, ...]:
        rate = item.units_per_hour if isinstance(item.units_per_hour, float) else None
        allowed = (
            Cell("yes", "green", drawn="yes, on free units" if given else None) if item.allowed else Cell("no", "dim")
        )
        return (
            Cell(item.name, "bold" if item.allowed else "dim"),
            item.kind,
            allowed,
            f"{item.memory} GB" if isinstance(item.memory, str) else "-",
            "-" if rate is None else Cell(f"{rate:g}", "yellow"),
            "-" if rate is None or not item.allowed else f"{left / rate:.1f} h",
        )

    rows = [row(item) for item in document.accelerators]
    told = ["costs are as they were seen here; see also: lecoder-cgpu usage"]
    if any(cells[4] == "-" for cells in rows):
        told.insert(
            0, "-  not known yet: Colab publishes no prices, so a cost is seen once such a runtime is held alone"
        )
    empty = "Colab lists no accelerators." if document.known else "Colab does not say which there are."
    return Table(
        HEADERS,
        rows,
        empty=empty,
        right=("UNITS/H", "ENOUGH FOR"),
        below=told,
    )
