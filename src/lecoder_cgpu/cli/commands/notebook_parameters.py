"""`notebook parameters`: what a notebook lets its user set."""

from __future__ import annotations

import click
from msgspec import UNSET

from ...models.notebooks import NotebookParameter, NotebookParameters
from ..app import App, Command
from ..looks import Table
from ..output import Answer


@click.command(cls=Command, name="parameters")
@click.argument("notebook")
@click.pass_obj
def parameters(app: App, notebook: str) -> Answer:
    """Show the parameters of a notebook: names, types, defaults, and what the author says of them.

    They are what the cell tagged `parameters` sets. A type is that of an annotation (`n: int = 1`) or of a comment
    (`n = 1  # type: int how many`), else that of the default.

    \b
    lecoder-cgpu notebook parameters train.ipynb
    lecoder-cgpu notebook parameters train.ipynb --json
    """
    from ...notebooks import inspection
    from .. import notebooks

    source = notebooks.read(notebook, app)
    found = inspection.parameters(source.content)
    if found is None:
        app.printer.notify("no cell is tagged `parameters`, so any name may be given")
    items = [
        NotebookParameter(name=item.name, default=item.default, type=item.type or UNSET, help=item.help or UNSET)
        for item in found or ()
    ]
    document = NotebookParameters(notebook=source.name, parameters=items, notice=app.printer.notice or UNSET)
    return Answer(
        document,
        lambda: Table(
            ("NAME", "TYPE", "DEFAULT", "HELP"),
            [(item.name, item.type, item.default, item.help) for item in found or ()],
            "no parameters",
        ),
    )
