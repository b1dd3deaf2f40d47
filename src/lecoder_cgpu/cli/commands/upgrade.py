"""`upgrade`: whether there is a newer version. Only `--install` installs it, by what this one was installed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ... import errors
from ...diagnostics import installation
from ..app import App, Command
from ..output import Answer

if TYPE_CHECKING:
    from ...models.reference import Upgrade


@click.command(cls=Command)
@click.option("--check", is_flag=True, help="Ask the package index for the newest version.")
@click.option("--install", is_flag=True, help="Install it, if there is a newer one.")
@click.pass_obj
def command(app: App, check: bool, install: bool) -> Answer:
    """Tell whether there is a newer version, and the command that installs it; with --install, run that.

    \b
    lecoder-cgpu upgrade --check
    lecoder-cgpu upgrade --install
    """
    if not (check or install):
        raise errors.UsageError(
            "--check or --install is missing: nothing is asked of the package index unless it is wanted",
            hint="lecoder-cgpu upgrade --check, or at once: lecoder-cgpu upgrade --install",
        )
    document = installation.check()
    if install and document.newer:
        with app.printer.waiting(f"{document.command} …"):
            installation.install(document)
    return Answer(document, lambda: "\n".join(_lines(document)))


def _lines(document: Upgrade) -> list[str]:
    origin = f" from {document.origin}" if isinstance(document.origin, str) else ""
    lines = [f"version {document.version}, installed by {document.installed}{origin}"]
    if not isinstance(document.latest, str):
        lines.append("the package index has no version of it")
    elif document.ran is True:
        lines.append(f"version {document.latest} is installed now")
    elif document.newer:
        lines += [f"version {document.latest} is newer; to install it:", document.command]
    else:
        lines.append("there is no newer version")
    return lines
