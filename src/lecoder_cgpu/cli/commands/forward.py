"""`forward`: ports of the runtime on 127.0.0.1, until it is ended."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from msgspec import UNSET

from ... import errors
from ...models.connections import Forwarded, ForwardedPort, ListeningEvent
from ...sessions.activity import in_use, promise
from .. import free_tier
from ..app import App, Command
from ..output import Answer

if TYPE_CHECKING:
    from ...models.connections import Via
    from ...ports.http_proxy import PortProxy
    from ...ports.tunnel import Tunnel
    from ...sessions.session import Session

_PORT = re.compile(r"(\d+)(?::(\d+))?")


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[NAME] PORT[:LOCAL]...")
@click.option(
    "--via",
    type=click.Choice(["tunnel", "proxy", "path"]),
    default="tunnel",
    show_default=True,
    help="tunnel carries any TCP. proxy and path (an address for each port, and /_proxy/PORT/ at the runtime's own) "
    "are Colab's, for HTTP and WebSocket only; they may be faster, but Google documents nothing about them.",
)
@click.option(
    "--events", "events_mode", is_flag=True, expose_value=False, help="Print an NDJSON event when it listens."
)
@free_tier.understood_option
@click.pass_obj
def command(app: App, words: Sequence[str], via: Via, understood: bool) -> Answer:
    """Reach ports of a runtime on this machine: HTTP, WebSocket, or anything else over TCP.

    NAME is a session; without it the active one is used. LOCAL is the port here: the same number when it is free, 0
    for any. Only 127.0.0.1 is listened on, and nothing needs to be open on the runtime. Ctrl-C ends it.

    On a free Colab account without compute units it is refused at first, since Colab may end such a runtime for it.

    \b
    lecoder-cgpu forward 6006                    TensorBoard on http://127.0.0.1:6006/
    lecoder-cgpu forward train 8000:9000 7860    two ports of the session `train`
    """
    name, pairs = _parse(app, words)
    session = app.client.existing(name)
    again = " ".join(f"{remote}" if local is None else f"{remote}:{local}" for remote, local in pairs)
    instead = f"lecoder-cgpu forward {session.record.name} {again}"
    free_tier.check(app, session, "forwarded ports", understood, instead + ("" if via == "tunnel" else f" --via {via}"))
    if understood:
        instead += f" {free_tier.OPTION}"
    started = time.monotonic()
    carrier = _carrier(app, session, via, instead)
    document = Forwarded(session=session.record.ref, via=via, ports=[], connections=0, seconds=0)
    try:
        for remote, local in pairs:
            port = carrier.listen(remote, local)
            address = f"http://127.0.0.1:{port}/"
            document.ports.append(ForwardedPort(remote=remote, local=port, address=address))
            app.printer.note(f"{address} is port {remote} of {session.record.name}")
        app.printer.note("Ctrl-C ends it")
        if (text := promise(session)) is not None:
            app.printer.money(text)
        if app.printer.mode == "events":
            app.printer.event(ListeningEvent(session=document.session, via=via, ports=document.ports))
        session.used()
        with in_use(session):
            carrier.run()
    except KeyboardInterrupt:  # also SIGTERM and SIGHUP: the way to end it
        pass
    finally:
        carrier.close()
    document.connections = carrier.connections
    document.reconnections = carrier.reconnections or UNSET
    document.seconds = round(time.monotonic() - started, 3)
    return Answer(document, printed=True)


def _carrier(app: App, session: Session, via: Via, instead: str) -> Tunnel | PortProxy:
    """What carries the connections; `instead` is the command for doing so through the tunnel."""
    if via != "tunnel":
        from ...ports.http_proxy import PathProxy, PortProxy

        return (PortProxy if via == "proxy" else PathProxy)(session, app.printer.notify, instead)
    from ...ports.tunnel import Tunnel

    return Tunnel(session, app.printer.notify)


def _parse(app: App, words: Sequence[str]) -> tuple[str | None, list[tuple[int, int | None]]]:
    """The session that was named, and the pairs of ports."""
    name = app.session
    rest = list(words)
    if rest and not _PORT.fullmatch(rest[0]):
        if name is not None:
            raise errors.UsageError(
                f"the session is given twice: {name!r} and {rest[0]!r}",
                name="ConflictingOptions",
                hint=f"leave out --session {name}, or {rest[0]}",
            )
        name = rest.pop(0)
    if not rest:
        raise errors.UsageError(
            "there is no port to forward",
            hint=f"lecoder-cgpu forward {name} 8000" if name else "lecoder-cgpu forward 8000",
        )
    pairs = []
    for word in rest:
        found = _PORT.fullmatch(word)
        if not found or not 0 < int(found[1]) < 65536 or (found[2] and int(found[2]) > 65535):
            raise errors.UsageError(
                f"{word!r} is not a port", hint="give PORT or PORT:LOCAL, with numbers up to 65535: 8000 or 8000:9000"
            )
        pairs.append((int(found[1]), int(found[2]) if found[2] else None))
    return name, pairs
