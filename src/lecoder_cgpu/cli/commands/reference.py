"""`reference`: what the installed version can do."""

from __future__ import annotations

import click

from ...docgen.describe import describe
from ..app import Command, root
from ..output import Answer


@click.command(cls=Command)
def command() -> Answer:
    """Show every command, error code, exit status and setting of this version.

    \b
    lecoder-cgpu reference --json
    """
    reference = describe(root)

    def text() -> str:
        from ...docgen.pages import errors_table, exit_table

        commands = "\n".join(f"{item.name:<24} {item.summary}" for item in reference.commands)
        return f"{commands}\n\n{errors_table(reference)}\n{exit_table(reference)}"

    return Answer(reference, text)
