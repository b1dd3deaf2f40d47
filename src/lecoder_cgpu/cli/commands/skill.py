"""`skill`: the page that teaches a coding agent to use this tool."""

from __future__ import annotations

import shlex

import click

from ... import errors
from ...agents import skill_places
from ...models.base import Done
from ...models.reference import SkillPlaced
from ..app import Command
from ..looks import Prose
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
        undo = f"lecoder-cgpu skill --uninstall {shlex.quote(install)}"
        document = SkillPlaced(message=path, path=path, undo=undo)
        lines = [path, f"to undo that: {undo}"]
        if others := skill_places.sharing(install):
            document.also_for = others
            lines.insert(1, f"the same file is for: {', '.join(others)}")
        return Answer(document, lambda: Prose("\n".join(lines)))
    if uninstall is not None:
        removed = skill_places.remove(uninstall)
        text = f"deleted {removed.path}" if removed.path is not None else "nothing of ours is there"
        document = SkillPlaced(message=text)
        if removed.kept_for:
            kind = removed.kept_for[0]
            document.message = text = (
                f"{removed.path} stays for {', '.join(removed.kept_for)}: lecoder-cgpu skill --uninstall {kind}"
            )
            document.also_for = removed.kept_for
        elif removed.path is not None:
            document.removed = str(removed.path)
        return Answer(document, lambda: Prose(text))
    text = skill_places.page()
    return Answer(Done(message=text), lambda: text)
