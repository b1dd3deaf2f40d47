"""`usage`: what the account has left, what it spends, and for how long that is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from ...sessions import status
from .. import times
from ..app import App, Command
from ..looks import Cell, Text
from ..output import Answer

if TYPE_CHECKING:
    from ...models.status import Units


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Show Colab's compute units: what is left, what is spent an hour, and how many hours that is enough for.

    Readings lag behind by minutes. A runtime costs units while it is held, idle or not.

    \b
    lecoder-cgpu usage
    lecoder-cgpu usage --json | jq .units.balance
    """
    document = status.usage(app.client)

    def text() -> Text:
        shown = lines(document.units, status.seen_rates(app.client)) or [("units left   Colab does not say",)]
        return Text([(f"plan         {document.tier}",), *shown])

    return Answer(document, text)


def lines(units: Units, seen: Mapping[str, float]) -> list[tuple[str, ...]]:
    """The units for people; what Colab did not say is left out.

    Args:
        seen: what machines were seen to cost, in units an hour.
    """
    balance, rate, free = (_number(value) for value in (units.balance, units.per_hour, units.free_units))
    hours = _number(units.hours_left)
    found: list[tuple[str, ...]] = []
    if balance is not None and (balance or not free):  # nothing bought is no debt where units are given away
        found.append((f"units left   {balance:g}",))
    if free is not None:
        refilled = f", refilled {_drawn(units.refills_at)}" if isinstance(units.refills_at, str) else ""
        found.append((f"free units   {free:g}{refilled}",))
    if rate is not None:
        found.append((Cell(f"spending     {rate:g} an hour", "yellow" if rate else ""),))
    if rate and hours is not None:
        found.append((f"enough for   {hours:.1f} h at that rate",))
    elif not rate and (left := (balance or 0.0) + (free or 0.0)) and seen:
        each = ", ".join(f"{left / price:.1f} h of {name} ({price:g} an hour)" for name, price in seen.items())
        found.append((f"enough for   {each}",))
    return found


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _drawn(stamp: str) -> Cell:
    return times.ahead(stamp)
