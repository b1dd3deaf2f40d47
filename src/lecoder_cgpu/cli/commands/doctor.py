"""`doctor`: what works, what does not, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ... import errors
from .. import free_tier, runtime_options
from ..app import App, Command
from ..looks import Cell, Prose, Text
from ..output import Answer

if TYPE_CHECKING:
    from ...models.reference import Finding

MARKS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}


@click.command(cls=Command)
@click.option("--field", is_flag=True, help="Look how one real Colab runtime behaves, in less than five minutes.")
@runtime_options.gpu_option
@click.option("--yes", is_flag=True, help="With --field: start the runtime without asking, as scripts have to.")
@click.option("--long", is_flag=True, help="With --field: also how long silent sockets live, for 20 minutes more.")
@click.option("--report", metavar="FILE", help="With --field: write a report that can be posted.")
@click.option(
    "--facts", metavar="NO[,NO…]", help="With --field: look only at these facts of docs/protocol.md: C35,J22."
)
@free_tier.understood_option
@click.pass_obj
def command(app: App, /, field: bool, **options: Any) -> Answer:
    """Check the installation, the settings, the login, the network and every session.

    Exit status 78 when there is a problem. Never prints a secret.

    With --field, a runtime is started (without a GPU unless --gpu asks for one), looked at, and given back whatever
    happens; with --session, that of a session is looked at and stays. See docs/field-check.md.

    \b
    lecoder-cgpu doctor
    lecoder-cgpu doctor --json
    lecoder-cgpu doctor --field --report field.md
    """
    if field:
        from .. import field_check

        return field_check.answer(app, options)
    for name, value in options.items():
        if value:
            shown = free_tier.OPTION if name == "understood" else f"--{name}"
            raise errors.UsageError(f"{shown} goes with --field", hint="lecoder-cgpu doctor --field")
    from ...diagnostics import doctor

    document = doctor.examine(app.client)
    return Answer(document, lambda: Text(_lines(document.findings)), exit_status=document.exit_code)


def _lines(findings: list[Finding]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for item in findings:
        lines.append((Cell(*MARKS[item.level]), "  ", Prose(f"{item.check}: {item.message}")))
        if isinstance(item.fix, str) and item.level != "ok":
            lines.append((" " * 9, Prose(item.fix)))
    return lines
