"""`reference`: what the installed version can do, all of it or the part that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ... import errors
from ...docgen import parts
from ...docgen.describe import describe
from ..app import Command, root
from ..output import Answer

if TYPE_CHECKING:
    from ...models.reference import Reference, ReferencePart


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[COMMAND | error CODE | setting NAME]")
def command(words: tuple[str, ...]) -> Answer:
    """Show every command, error code, exit status and setting of this version, or one of them.

    An error is named by its code or its name, a setting by its key or its variable.

    \b
    lecoder-cgpu reference --json
    lecoder-cgpu reference job wait
    lecoder-cgpu reference error 1005
    lecoder-cgpu reference setting backend
    """
    reference = describe(root)
    if words:
        part = _part(reference, words)
        return Answer(part, lambda: parts.text(part))

    def text() -> str:
        from ...docgen.pages import errors_table, exit_table

        commands = "\n".join(f"{item.name:<24} {item.summary}" for item in reference.commands)
        return f"{commands}\n\n{errors_table(reference)}\n{exit_table(reference)}"

    return Answer(reference, text)


def _part(reference: Reference, words: tuple[str, ...]) -> ReferencePart:
    name = " ".join(words)
    found = parts.of_command(reference, name)
    if found is None and words[0] in ("command", "error", "setting"):
        if len(words) == 1:
            raise errors.UsageError(f"which {words[0]}?", hint=f"lecoder-cgpu reference {words[0]} NAME")
        name = " ".join(words[1:])
        look = {"command": parts.of_command, "error": parts.of_error, "setting": parts.of_setting}[words[0]]
        found = look(reference, name)
    if found is None:
        import difflib

        kind = words[0] + " " if words[0] in ("error", "setting") else ""
        known = [item.removeprefix(kind) for item in parts.names(reference) if item.startswith(kind)]
        near = [kind + item for item in difflib.get_close_matches(name, known, n=3)]
        raise errors.NotFoundError(
            f"there is no {name!r} in the reference",
            hint="lecoder-cgpu reference " + " or ".join(near or ["COMMAND", "error CODE", "setting NAME"]),
        )
    return found
