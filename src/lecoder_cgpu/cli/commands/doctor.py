"""`doctor`: what works, what does not, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...diagnostics import doctor
from ..app import App, Command
from ..output import Answer

if TYPE_CHECKING:
    from ...models.reference import Finding

MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Check the installation, the settings, the login, the network and every session.

    Exit status 78 when there is a problem. Never prints a secret.

    \b
    lecoder-cgpu doctor
    lecoder-cgpu doctor --json
    """
    document = doctor.examine(app.client)
    return Answer(document, lambda: "\n".join(_lines(document.findings)), exit_status=document.exit_code)


def _lines(findings: list[Finding]) -> list[str]:
    lines = []
    for item in findings:
        lines.append(f"{MARKS[item.level]}  {item.check}: {item.message}")
        if isinstance(item.fix, str) and item.level != "ok":
            lines.append(f"         {item.fix}")
    return lines
