"""What MCP clients have to be told of our server: lines for their configuration, and its card."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .. import __version__
from ..models.connections import McpConfig, ServerCard
from .tools import TOOLS

NAME = "lecoder-cgpu"
CARD = "/.well-known/mcp/server-card.json"  # where a server that is reached over HTTP has it
WHAT = "Runs code on remote GPUs and Jupyter servers: Google Colab, any Jupyter server, or this machine."


class Place(NamedTuple):
    """Where a client looks for servers: the file, the key, and what it wants besides command and arguments."""

    file: str
    key: str
    more: dict[str, str]


PLACES = {
    "claude": Place(".mcp.json", "mcpServers", {}),
    "codex": Place("~/.codex/config.toml", "mcp_servers", {}),
    "cursor": Place("~/.cursor/mcp.json", "mcpServers", {}),
    "vscode": Place(".vscode/mcp.json", "servers", {"type": "stdio"}),
}


def lines(client: str, options: Sequence[str] = (), command: str | None = None) -> McpConfig:
    """What is pasted into the configuration of that client.

    Args:
        options: of ours, before `mcp`. command: how we are started; None is this installation.
    """
    place = PLACES[client]
    program, *first = [command] if command is not None else _command()
    server: dict[str, object] = {**place.more, "command": program, "args": [*first, *options, "mcp"]}
    if place.file.endswith(".toml"):
        values = "".join(f"{name} = {json.dumps(value)}\n" for name, value in server.items())
        content = f"[{place.key}.{NAME}]\n{values}"
    else:
        content = json.dumps({place.key: {NAME: server}}, indent=2) + "\n"
    return McpConfig(client=client, file=place.file, content=content)


def _command() -> list[str]:
    """The full path: programs with windows often have another PATH than a shell."""
    found = shutil.which(NAME)
    return [sys.executable, "-m", "lecoder_cgpu"] if found is None else [found]


def card(address: str | None = None) -> ServerCard:
    """What the server is and offers, for who looks before it connects. `address` is that of HTTP."""
    return ServerCard(
        name=NAME,
        version=__version__,
        description=WHAT,
        transports=["stdio", "streamable-http"] if address is None else ["streamable-http"],
        url=address,
        authentication=None if address is None else "bearer",
        tools={tool.name: tool.description for tool in TOOLS},
    )
