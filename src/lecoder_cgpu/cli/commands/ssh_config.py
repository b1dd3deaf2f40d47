"""`ssh-config`: a host block for OpenSSH, so that editors, scp and rsync reach a runtime."""

from __future__ import annotations

import click

from ...models.connections import SshConfig
from ...ports import ssh
from .. import free_tier
from ..app import App, Command
from ..output import Answer
from .ssh import host_name, options_for


@click.command(cls=Command, name="ssh-config")
@click.argument("name", required=False)
@free_tier.understood_option
@click.pass_obj
def command(app: App, name: str | None, understood: bool) -> Answer:
    """Print a host block for ~/.ssh/config; it makes a key for the session, new each time.

    \b
    lecoder-cgpu ssh-config train >> ~/.ssh/config
    code --remote ssh-remote+lecoder-train /content
    """
    session = app.client.existing(name or app.session)
    free_tier.check(app, session, "SSH", understood, f"lecoder-cgpu ssh-config {session.record.name}")
    key = ssh.make_key(app.client.state_dir / "ssh" / session.record.id)
    host = host_name(session)
    options = options_for(app, session, key)
    lines = [f"Host {host}", "  User root", *(f"  {option} {value}" for option, value in options)]
    document = SshConfig(session=session.record.ref, host=host, identity_file=str(key), config="\n".join(lines))
    return Answer(document, lambda: document.config)
