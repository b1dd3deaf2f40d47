"""`colab`: what only Colab has."""

from __future__ import annotations

import click

from ... import errors
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

    It does not wait: agree in a browser at the address that it prints, then call it again, or run the code again.

    \b
    lecoder-cgpu colab consent drive --json
    """
    session = app.client.existing(app.session)
    found = session.backend.consent(session.record, kind)
    if found is None:
        raise errors.UsageError(
            f"session {session.record.name!r} is not a Colab runtime, so there is nothing to consent to",
            hint="name one of Colab's with --session NAME: lecoder-cgpu sessions list",
        )
    document = Consent(session=session.record.ref, kind=kind, granted=found.granted)  # type: ignore[arg-type]
    if not found.granted and found.url is not None:
        document.url = found.url
    text = "the runtime has it now" if found.granted else f"open this in a browser, then call again: {document.url}"
    return Answer(document, lambda: text)
