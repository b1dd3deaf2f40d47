"""`usage`: what the account has left and what it burns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...sessions import status
from ..app import App, Command
from ..output import Answer

if TYPE_CHECKING:
    from ...models.status import Units


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Show Colab's compute units: balance, rate, hours left, free quota.

    Readings lag behind by minutes. A runtime costs units while it is held, idle or not.

    \b
    lecoder-cgpu usage
    lecoder-cgpu usage --json | jq .units.balance
    """
    document = status.usage(app.client)
    shown = lines(document.units) or ["units        Colab does not say"]
    return Answer(document, lambda: "\n".join([f"plan         {document.tier}", *shown]))


def lines(units: Units) -> list[str]:
    """The units for people; what Colab did not say is left out."""
    shown = (
        ("balance", units.balance, "{:g} units"),
        ("burning", units.per_hour, "{:g} units an hour"),
        ("left", units.hours_left, "{:.1f} h at that rate"),
        ("free quota", units.free_units, "{:g} units"),
        ("refilled", units.refills_at, "{}"),
    )
    return [f"{name:<12} {text.format(value)}" for name, value, text in shown if isinstance(value, (int, float, str))]
