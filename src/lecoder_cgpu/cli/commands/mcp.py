"""`mcp`: the tools for coding agents, over the Model Context Protocol."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ... import errors
from ..app import App, Command
from ..output import Answer

if TYPE_CHECKING:
    import socket

CLIENTS = ("claude", "codex", "cursor", "vscode")


class McpCommand(Command):
    """`--config` with the name of a client prints lines for that client; with anything else it is that of every
    command."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        for word in args:
            words += word.split("=", 1) if word.startswith("--config=") else [word]
        for position in range(len(words) - 1):
            if words[position] == "--config":
                _check(words[position + 1])
                if words[position + 1].lower() in CLIENTS:
                    words[position : position + 2] = ["--config-for", words[position + 1].lower()]
        return super().parse_args(context, words)


def _check(value: str) -> None:
    """Raise errors.UsageError if it is neither a client nor a file."""
    if value.lower() not in CLIENTS and not Path(value).expanduser().is_file():
        raise errors.UsageError(
            f"{value} is neither a client whose lines are known nor a configuration file",
            name="NoSuchClient",
            hint=f"lecoder-cgpu mcp --config {'|'.join(CLIENTS)}; others: the command lecoder-cgpu with mcp",
        )


@click.command(cls=McpCommand)
@click.option("--allow", multiple=True, metavar="PATH", help="A folder here that tools may read and write, too.")
@click.option(
    "--config-for", "client", type=click.Choice(CLIENTS), help="Print the lines for that client's configuration."
)
@click.option("--card", "as_card", is_flag=True, help="Print what the server is and offers.")
@click.option("--http", "over_http", is_flag=True, help="Serve Streamable HTTP on 127.0.0.1 instead.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="PORT", help="The port here. Default: any.")
@click.option("--token-stdin", "own_token", is_flag=True, help="Read the token that clients have to show from stdin.")
@click.option(
    "--events", "events_mode", is_flag=True, expose_value=False, help="With --http: an NDJSON event when it listens."
)
@click.pass_obj
def command(
    app: App, /, allow: tuple[str, ...], client: str | None, as_card: bool, over_http: bool, port: int, own_token: bool
) -> Answer:
    """Serve the Model Context Protocol on stdin and stdout, until stdin is closed.

    The server uses one session: that of --session, else the first that it used or ensured, whatever other programs
    make the active one.

    An agent starts it: its configuration names the command `lecoder-cgpu` with the argument `mcp`; `--config claude`
    (or codex, cursor, vscode) prints the lines to paste. It needs the extra mcp: pip install "lecoder-cgpu[mcp]".

    Files here are read and written below the roots that the agent's client names. Where it cannot be asked, as clients
    of the newest protocol, they are below the working folder, unless that is your home folder or holds it; `--allow`
    adds others. Never those of lecoder-cgpu itself.

    With --http, it serves many clients on 127.0.0.1, until Ctrl-C. They have to show the token, and to name this
    machine in the headers Host and Origin.

    \b
    lecoder-cgpu mcp
    lecoder-cgpu mcp --config claude
    lecoder-cgpu mcp --allow ~/data
    lecoder-cgpu --session train mcp
    lecoder-cgpu mcp --http --port 8931
    """
    if client is not None:
        from ...agents import clients

        options = [word for name, value in _given(app).items() if value for word in (name, value)]
        found = clients.lines(client, options)
        app.printer.note(f"for {found.file}:")
        return Answer(found, lambda: found.content.rstrip())
    if as_card:
        from ...agents import clients

        card = clients.card()
        return Answer(card, lambda: "\n".join([card.description, *card.tools]))
    if not over_http and (port or own_token):
        raise errors.UsageError("--port and --token-stdin are for --http", hint="add --http")
    try:
        from ...agents.mcp import serve
    except ImportError as error:
        raise errors.MissingExtra(
            f"the MCP server needs {error.name}, which the extra 'mcp' installs",
            hint='pip install "lecoder-cgpu[mcp]"',
        ) from error
    serve(app.config, allow, app.session, _listening(app, port, own_token) if over_http else None)
    return Answer(None, printed=True)


def _given(app: App) -> dict[str, str | None]:
    """The options that the server is to be started with, too."""
    return {
        "--backend": app.options.get("backend"),
        "--profile": app.profile,
        "--config": app.config_file,
        "--session": app.session,
    }


def _listening(app: App, port: int, own_token: bool) -> tuple[socket.socket, str]:
    """A socket for HTTP, and the token; both are told."""
    from ...agents import http
    from ...models.connections import McpEvent
    from ...system import redaction

    token = sys.stdin.readline().strip() if own_token else secrets.token_hex(24)
    if not token:
        raise errors.UsageError(
            "there is no token on stdin", hint="pipe it in: lecoder-cgpu mcp --http --token-stdin < token.txt"
        )
    listening = http.listen(port)
    where = http.address(listening)
    app.printer.note(f"the MCP server is {where}; clients have to send: Authorization: Bearer {token}")
    if app.printer.mode == "events":
        app.printer.event(McpEvent(address=where, token=token))
    redaction.protect(token, called_secret=True)  # from here on: the user has to see it once
    return listening, token
