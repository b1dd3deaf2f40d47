"""`colab`: what only Colab has."""

from __future__ import annotations

import click

from ...models.status import Consent
from ..app import App, Group
from ..output import Answer


@click.group(cls=Group, name="colab")
def command() -> None:
    """What only Colab has: consent to use Drive or the account on a runtime.

    \b
    lecoder-cgpu colab consent drive
    """


@command.command()
@click.argument("kind", type=click.Choice(["drive", "auth"]))
@click.pass_obj
def consent(app: App, kind: str) -> Answer:
    """Hand Drive or the Google account to the session's runtime; says where to agree if that is still to be done.

    Waits for nobody: agree in a browser at the address that it prints, and call it again, or run the code again.

    \b
    lecoder-cgpu colab consent drive --json
    """
    from ...backends.colab import requests

    session = app.client.existing(app.session)
    if session.record.backend != "colab":
        raise requests.not_colab(session.record.name)
    control = app.client.colab.control_of(session.record)
    found = requests.propagate(control, session.record.runtime.endpoint, requests.GRANTS[kind])
    document = Consent(session=session.record.ref, kind=kind, granted=found.success)  # type: ignore[arg-type]
    if not found.success and found.consent_url is not None:
        document.url = found.consent_url
    text = "the runtime has it now" if found.success else f"open this in a browser, then call again: {document.url}"
    return Answer(document, lambda: text)
