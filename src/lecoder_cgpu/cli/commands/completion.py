"""`completion`: the script that makes a shell complete our commands and options."""

from __future__ import annotations

import click

from ...models.base import Done
from ..app import Command, root
from ..output import Answer


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> Answer:
    """Print the completion script for a shell.

    \b
    lecoder-cgpu completion bash > ~/.local/share/bash-completion/completions/lecoder-cgpu
    lecoder-cgpu completion zsh > ~/.zfunc/_lecoder-cgpu
    lecoder-cgpu completion fish > ~/.config/fish/completions/lecoder-cgpu.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(root, {}, "lecoder-cgpu", "_LECODER_CGPU_COMPLETE").source()
    return Answer(Done(message=script), lambda: script)
