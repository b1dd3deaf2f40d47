"""`gpus`: which accelerators the account may ask for."""

from __future__ import annotations

import click

from ...sessions import status
from ..app import App, Command
from ..output import Answer, Table


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Show which GPUs and TPUs this account may ask Colab for. Whether one is free now, only asking tells.

    \b
    lecoder-cgpu gpus
    lecoder-cgpu gpus --json | jq .eligibleGpus
    """
    document = status.accelerators(app.client)
    rows = [
        (name, kind, allowed)
        for names, kind, allowed in (
            (document.eligible_gpus, "GPU", "yes"),
            (document.eligible_tpus, "TPU", "yes"),
            (document.ineligible_gpus, "GPU", "no"),
            (document.ineligible_tpus, "TPU", "no"),
        )
        for name in names
    ]
    empty = "Colab lists no accelerators." if document.known else "Colab does not say which there are."
    return Answer(document, lambda: Table(("NAME", "KIND", "ALLOWED"), rows, empty=empty))
