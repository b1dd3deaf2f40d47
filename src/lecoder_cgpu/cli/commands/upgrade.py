"""`upgrade`: whether there is a newer version. It never installs anything by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ... import errors
from ...diagnostics import installation
from ..app import Command
from ..output import Answer

if TYPE_CHECKING:
    from ...models.reference import Upgrade


@click.command(cls=Command)
@click.option("--check", is_flag=True, help="Ask the package index for the newest version.")
def command(check: bool) -> Answer:
    """Tell whether there is a newer version, and the command that installs it.

    \b
    lecoder-cgpu upgrade --check
    """
    if not check:
        raise errors.UsageError("this command only looks, and only when told to", hint="lecoder-cgpu upgrade --check")
    document = installation.check()
    return Answer(document, lambda: "\n".join(_lines(document)))


def _lines(document: Upgrade) -> list[str]:
    origin = f" from {document.origin}" if isinstance(document.origin, str) else ""
    lines = [f"version {document.version}, installed by {document.installed}{origin}"]
    if not isinstance(document.latest, str):
        lines.append("the package index has no version of it")
    elif document.newer:
        lines += [f"version {document.latest} is newer; to install it:", document.command]
    else:
        lines.append("there is no newer version")
    return lines
