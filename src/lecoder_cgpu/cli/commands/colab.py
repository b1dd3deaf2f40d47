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
    """Agree that code on the session's runtime gets Drive or the Google account, and hand it over.

    It does not wait. If your account has to agree, too: do so in a browser at the address that it prints, then call it
    again, or run the code again. Once for each session is enough; LECODER_CGPU_COLAB_CONSENT=drive,auth agrees for all.

    \b
    lecoder-cgpu colab consent drive --json
    """
    from ...sessions import consents

    session = app.client.existing(app.session)
    found = consents.give(session, kind)
    document = Consent(session=session.record.ref, kind=kind, granted=found.granted)  # type: ignore[arg-type]
    if not found.granted and found.url is not None:
        document.url = found.url
    text = "the runtime has it now" if found.granted else f"open this in a browser, then call again: {document.url}"
    return Answer(document, lambda: text)
