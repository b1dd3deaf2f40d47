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
@click.argument("words", nargs=-1, metavar="[COMMAND | error CODE | exit STATUS | setting NAME]")
def command(words: tuple[str, ...]) -> Answer:
    """Show every command, error code, exit status and setting of this version, or one of them.

    An error is named by its code or its name, an exit status by its number, a setting by its key or its variable.

    \b
    lecoder-cgpu reference --json
    lecoder-cgpu reference job wait
    lecoder-cgpu reference error 1005
    lecoder-cgpu reference exit 124
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


LOOKS = {
    "command": parts.of_command,
    "error": parts.of_error,
    "exit": parts.of_exit,
    "setting": parts.of_setting,
}
VALUES = {"command": "NAME", "error": "CODE", "exit": "STATUS", "setting": "NAME"}


def _part(reference: Reference, words: tuple[str, ...]) -> ReferencePart:
    kind, name = words[0].lower(), " ".join(words)
    found = parts.of_command(reference, name)
    if found is None and name.isdecimal():  # codes and statuses have no number in common
        found = parts.of_error(reference, name)
    if found is None and kind in LOOKS:
        if len(words) == 1:
            raise errors.UsageError(f"which {kind}?", hint=f"lecoder-cgpu reference {kind} {VALUES[kind]}")
        name = " ".join(words[2:] if kind == "exit" and words[1] in ("status", "code") else words[1:])
        found = LOOKS[kind](reference, name)
    if found is None:
        import difflib

        prefix = kind + " " if kind in LOOKS and kind != "command" else ""
        known = [item.removeprefix(prefix) for item in parts.names(reference) if item.startswith(prefix)]
        near = [prefix + item for item in difflib.get_close_matches(name, known, n=3)]
        raise errors.NotFoundError(
            f"there is no {name!r} in the reference",
            hint="lecoder-cgpu reference "
            + " or ".join(near or ["COMMAND", *(f"{item} {VALUES[item]}" for item in LOOKS if item != "command")]),
        )
    return found
