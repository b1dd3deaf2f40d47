"""`serve`: a session's Jupyter server on 127.0.0.1, for every other Jupyter client."""

from __future__ import annotations

import secrets
import sys
import time

import click

from ... import errors
from ...models.connections import Served, ServingEvent
from ...sessions.activity import in_use, promise
from ...system import redaction
from .. import free_tier
from ..app import App, Command
from ..output import Answer


@click.command(cls=Command)
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="PORT", help="The port here. Default: any.")
@click.option("--token-stdin", "own_token", is_flag=True, help="Read the token that clients have to show from stdin.")
@click.option(
    "--events", "events_mode", is_flag=True, expose_value=False, help="Print an NDJSON event when it listens."
)
@free_tier.understood_option
@click.pass_obj
def command(app: App, port: int, own_token: bool, understood: bool) -> Answer:
    """Give other Jupyter clients the session's server, on 127.0.0.1 and with a token of its own.

    The runtime's address and credentials stay here, and are renewed while clients go on. Pages and programs that name
    another host are refused. Ctrl-C ends it; the runtime stays.

    \b
    lecoder-cgpu serve --port 8890                prints the address and the token
    lecoder-cgpu serve --session train --events   tells them as JSON
    """
    session = app.client.existing(app.session)
    name = session.record.name
    again = f"lecoder-cgpu serve --session {name}"
    free_tier.check(app, session, "forwarded ports", understood, again)
    token = sys.stdin.readline().strip() if own_token else secrets.token_hex(24)
    if not token:
        raise errors.UsageError("there is no token on stdin", hint=f"pipe it in: {again} --token-stdin < token.txt")
    started = time.monotonic()
    from ...ports.serving import SERVER, ServedRuntime

    served = ServedRuntime(session, app.printer.notify, token)
    document = Served(session=session.record.ref, address="", connections=0, seconds=0)
    try:
        document.address = f"http://127.0.0.1:{served.listen(SERVER, port)}/"
        app.printer.note(f"the Jupyter server of {name} is {document.address}?token={token}")
        app.printer.note(
            f"jupyter lab --gateway-url {document.address} --GatewayClient.auth_token {token}; Ctrl-C ends it"
        )
        if (text := promise(session)) is not None:
            app.printer.money(text)
        if app.printer.mode == "events":
            app.printer.event(ServingEvent(session=document.session, address=document.address, token=token))
        redaction.protect(token, called_secret=True)  # from here on: the user has to see it once
        session.used()
        with in_use(session):
            served.run()
    except KeyboardInterrupt:  # also SIGTERM and SIGHUP: the way to end it
        pass
    finally:
        served.close()
    document.connections = served.connections
    document.seconds = round(time.monotonic() - started, 3)
    return Answer(document, printed=True)
