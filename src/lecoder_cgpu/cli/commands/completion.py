"""`completion`: what makes a shell complete our commands, options and values, and file names as before."""

from __future__ import annotations

from pathlib import Path

import click

from ... import config, errors
from ...models.base import Done
from ...models.reference import CompletionChanged
from .. import completion_scripts
from ..app import App, Command
from ..looks import good
from ..output import Answer

SHELLS = tuple(completion_scripts.SCRIPTS)


@click.command(cls=Command)
@click.argument("action", type=click.Choice([*SHELLS, "install", "uninstall"]))
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.pass_obj
def command(app: App, action: str, shell: str | None) -> Answer:
    """Have the Tab key complete commands, options, files, sessions, jobs and more; or print the script for that.

    `install` is for the shell that SHELL names, or one that is given; it says what it has changed. `uninstall` undoes
    that. Both names are completed, lecoder-cgpu and cgpu.

    \b
    lecoder-cgpu completion install
    lecoder-cgpu completion uninstall zsh
    lecoder-cgpu completion bash > ~/.local/share/bash-completion/completions/lecoder-cgpu
    """
    folder = config.config_dir()
    if action in SHELLS:
        script = completion_scripts.script(action, folder)
        return Answer(Done(message=script), lambda: script)
    chosen = shell or Path(config.environment("SHELL") or "").name
    if chosen not in SHELLS:
        raise errors.UsageError(
            f"{chosen or 'the shell'} is not known here", hint=f"name one: lecoder-cgpu completion {action} bash"
        )
    try:
        change = completion_scripts.install if action == "install" else completion_scripts.remove
        changed = [str(path) for path in change(chosen, Path.home(), folder)]
    except OSError as error:
        raise errors.ConfigError(
            f"{error.filename} cannot be written: {error.strerror}",
            hint=f"print the script, and put it where {chosen} finds it: lecoder-cgpu completion {chosen}",
        ) from error
    document = CompletionChanged(shell=chosen, changed=changed)
    if action == "install":
        document.undo = f"lecoder-cgpu completion uninstall {chosen}"
        app.printer.aside(f"it works in new shells; to undo that: {document.undo}")
    return Answer(
        document, lambda: good("\n".join(f"changed {path}" for path in changed) or "nothing of ours was there")
    )
