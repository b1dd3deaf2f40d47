"""`skill`: the page that teaches a coding agent to use this tool."""

from __future__ import annotations

from pathlib import Path

import click

from ... import errors
from ...models.base import Done
from ..app import Command
from ..output import Answer


@click.command(cls=Command)
@click.option("--install", metavar="DIR", help="Write lecoder-cgpu/SKILL.md into this folder of skills.")
def command(install: str | None) -> Answer:
    """Print SKILL.md (agentskills.io), or install it where an agent looks for skills.

    \b
    lecoder-cgpu skill
    lecoder-cgpu skill --install ~/.claude/skills
    """
    text = (Path(__file__).parents[2] / "SKILL.md").read_text("utf-8")
    if install is None:
        return Answer(Done(message=text), lambda: text)
    target = Path(install).expanduser() / "lecoder-cgpu" / "SKILL.md"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    except OSError as error:
        raise errors.UsageError(
            f"{target} cannot be written: {error.strerror or error}",
            hint="give a folder that you may write to: lecoder-cgpu skill --install DIR",
        ) from error
    return Answer(Done(message=str(target)), lambda: str(target))
