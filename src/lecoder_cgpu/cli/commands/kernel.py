"""`kernel`: the kernel that keeps a session's variables."""

from __future__ import annotations

import click

from ...models.sessions import KernelChoice, KernelDocument, KernelList
from ..app import App, Group
from ..looks import Table
from ..output import Answer


@click.group(cls=Group, name="kernel")
def command() -> None:
    """Show, interrupt or restart the session's kernel, and list those that it may have.

    \b
    lecoder-cgpu kernel list
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
    session = app.client.existing(app.session)
    document = KernelDocument(session=session.record.ref, kernel=session.kernel_info(session.kernel()))
    return Answer(document, lambda: f"{session.record.name}: {document.kernel.state}")


@command.command("list")
@click.pass_obj
def list_(app: App) -> Answer:
    """Show the kernels that the session's server can start, for --kernel-name.

    \b
    lecoder-cgpu kernel list
    lecoder-cgpu kernel list --json | jq -r '.kernels[].name'
    """
    session = app.client.existing(app.session)
    from ...sessions.kernel_choices import kernel_choices

    document = KernelList(session=session.record.ref, kernels=kernel_choices(session))
    rows = [(_mark(item), item.name, item.language, item.display_name, item.state or "-") for item in document.kernels]
    headers = ("", "NAME", "LANGUAGE", "DESCRIPTION", "STATE")
    return Answer(document, lambda: Table(headers, rows, empty="The server has no kernels."))


def _mark(item: KernelChoice) -> str:
    return "*" if item.is_chosen else "default" if item.is_default else ""


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
