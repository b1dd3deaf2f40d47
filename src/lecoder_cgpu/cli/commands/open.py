"""`open`: the address at which a browser shows a session or a notebook, and what one finds there."""

from __future__ import annotations

from urllib.parse import quote

import click

from ... import errors
from ...models.status import Opened
from ...sessions.session import Session
from ..app import App, Command
from ..output import Answer

COLAB = "https://colab.research.google.com"


@click.command(cls=Command, name="open")
@click.argument("name", required=False)
@click.option("--notebook", metavar="ID", help="A notebook on Drive, by its id: opens in Colab, on a separate runtime.")
@click.option("--print", "only_print", is_flag=True, help="Print the address, and open nothing.")
@click.pass_obj
def command(app: App, name: str | None, notebook: str | None, only_print: bool) -> Answer:
    """Open a session's server, or a notebook, in the browser.

    With --json nothing is opened. The address holds no token: the server's page asks for it.

    \b
    lecoder-cgpu open lab
    lecoder-cgpu open --notebook 1AbC... --print
    """
    if notebook is not None:
        if name is not None:
            raise errors.UsageError(
                "a session and a notebook cannot be opened at once",
                name="ConflictingOptions",
                hint=f"lecoder-cgpu open --notebook {notebook}",
            )
        document = Opened(
            url=f"{COLAB}/drive/{quote(notebook, safe='')}",
            attaches="nothing: Colab gives the notebook a separate runtime, without our variables and files",
        )
    else:
        document = _of_session(app.client.existing(name or app.session))
    if app.printer.mode == "human" and not only_print:
        app.printer.note(f"{document.url} ({document.attaches})")
        if not click.launch(document.url):
            document.opened = True
    return Answer(document, lambda: document.url if only_print else "")


def _of_session(session: Session) -> Opened:
    """The page of a session's server.

    Raises:
        errors.NotFoundError: there is nothing that a browser could show.
    """
    record = session.record
    if session.backend.no_page is not None:
        raise errors.NotFoundError(
            session.backend.no_page,
            name="NothingToOpen",
            hint=f"lecoder-cgpu connect --session {record.name}",
        )
    for page in ("lab", "tree"):
        if session.server.has_page(page):
            path = quote(session.record.kernel.path if session.record.kernel is not None else session.kernel_path)
            return Opened(
                url=f"{session.endpoint.url}{page}",
                attaches=f"the server's own files and kernels; the session's kernel is listed there as {path}",
            )
    raise errors.NotFoundError(
        f"the server of session {record.name!r} has no web interface, only its API",
        name="NothingToOpen",
        hint=f"lecoder-cgpu connect --session {record.name}",
    )
