"""`skill`: the page that teaches a coding agent to use this tool."""

from __future__ import annotations

import click

from ... import errors
from ...agents import skill_places
from ...models.base import Done
from ...models.reference import SkillPlaced
from ..app import Command
from ..output import Answer

KINDS = "|".join(skill_places.PLACES)


@click.command(cls=Command)
@click.option(
    "--install",
    is_flag=False,
    flag_value="",
    metavar=f"{KINDS}|DIR",
    help="Put it where such an agent looks, or into DIR/lecoder-cgpu.",
)
@click.option(
    "--uninstall", is_flag=False, flag_value="", metavar=f"{KINDS}|DIR", help="Delete what --install has put there."
)
def command(install: str | None, uninstall: str | None) -> Answer:
    """Print SKILL.md (agentskills.io), or install it where an agent looks for skills.

    It is put below the home folder, for all projects. What is there and not ours is left alone.

    \b
    lecoder-cgpu skill
    lecoder-cgpu skill --install claude
    lecoder-cgpu skill --uninstall claude
    """
    if install is not None and uninstall is not None:
        raise errors.UsageError(
            "--install and --uninstall contradict each other", hint="leave out --install or --uninstall"
        )
    if "" in (install, uninstall):
        raise errors.UsageError(
            "which kind of agent is it for?",
            hint=f"lecoder-cgpu skill --install KIND, of {', '.join(skill_places.PLACES)}",
        )
    if install is not None:
        path = str(skill_places.install(install))
        undo = f"lecoder-cgpu skill --uninstall {install}"
        return Answer(SkillPlaced(message=path, path=path, undo=undo), lambda: f"{path}\nto undo that: {undo}")
    if uninstall is not None:
        removed = skill_places.remove(uninstall)
        text = f"deleted {removed}" if removed is not None else "nothing of ours is there"
        document = SkillPlaced(message=text)
        if removed is not None:
            document.removed = str(removed)
        return Answer(document, lambda: text)
    text = skill_places.page()
    return Answer(Done(message=text), lambda: text)
