"""`kernel`: the kernel that keeps a session's variables."""

from __future__ import annotations

import click

from ...models.sessions import KernelDocument
from ..app import App, Group
from ..output import Answer


@click.group(cls=Group, name="kernel")
def command() -> None:
    """Show, interrupt or restart the session's kernel.

    \b
    lecoder-cgpu kernel status
    lecoder-cgpu kernel interrupt
    """


@command.command()
@click.pass_obj
def status(app: App) -> Answer:
    """Show whether the kernel is idle or busy.

    \b
    lecoder-cgpu kernel status --json | jq -r .kernel.state
    """
    session = app.client.existing(app.session, gone=True)
    kernel = None if session.is_lost() else session.kernel()
    document = KernelDocument(session=session.record.ref, kernel=session.kernel_info(kernel))
    return Answer(document, lambda: f"{session.record.name}: {document.kernel.state}")


@command.command()
@click.pass_obj
def interrupt(app: App) -> Answer:
    """Interrupt what the kernel executes now; its variables stay.

    \b
    lecoder-cgpu kernel interrupt
    """
    session = app.client.existing(app.session)
    kernel = session.running_kernel()
    session.server.interrupt(kernel.id)
    document = KernelDocument(
        session=session.record.ref, kernel=session.kernel_info(session.kernel()), action="interrupted"
    )
    return Answer(document, lambda: f"{session.record.name}: interrupted")


@command.command()
@click.pass_obj
def restart(app: App) -> Answer:
    """Restart the kernel: its variables are lost, files stay.

    \b
    lecoder-cgpu kernel restart
    lecoder-cgpu kernel restart --session train
    """
    return restart_kernel(app, app.session)


def restart_kernel(app: App, key: str | None) -> Answer:
    """Restart the kernel of the session `key`, the active one when it is None."""
    from ...runs import records

    session = app.client.existing(key)
    kernel = session.kernel_info(session.restart_kernel())
    records.remember_restart(session)
    document = KernelDocument(session=session.record.ref, kernel=kernel, action="restarted")
    return Answer(document, lambda: f"{session.record.name}: restarted; its variables are gone")
