"""The MCP server over HTTP: with its token, for this machine alone."""

from __future__ import annotations

import json
import signal
import subprocess

import anyio
import httpx2
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from tests.contract.test_documents import validate
from tests.e2e.test_mcp import answer
from tests.support.cli import Cli


def test_over_http(lab: Cli) -> None:
    """Two clients use one server; what names another host, or has no token, is refused; SIGTERM ends it."""
    server = lab.start("mcp", "--http", "--events", "--token-stdin", stdin=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(b"secret-token\n")
    server.stdin.close()
    server.stdin = None
    event = json.loads(server.stdout.readline())
    validate(event, "mcp-event")
    address = event["address"]
    shown = {"Authorization": f"Bearer {event['token']}"}
    origin = address.removesuffix("/mcp")
    card = httpx2.get(f"{origin}/.well-known/mcp/server-card.json").json()
    validate(card, "mcp-card")
    assert (card["url"], card["authentication"]) == (address, "bearer")
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer other"}, 401),
        (shown | {"Host": "evil.example.org"}, 421),
        (shown | {"Origin": "https://evil.example.org"}, 403),
    ):
        assert httpx2.post(address, json=body, headers=headers).status_code == status, headers

    async def both() -> None:
        async with httpx2.AsyncClient(headers=shown, timeout=60) as web:
            async with McpClient(streamable_http_client(address, http_client=web)) as first:
                assert (await answer(first, "run", code="shared = 6"))["status"] == "ok"
            async with McpClient(streamable_http_client(address, http_client=web)) as second:
                assert (await answer(second, "run", code="print(shared * 7)"))["stdout"] == "42\n"

    anyio.run(both)
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=10)
    assert server.returncode == 128 + signal.SIGTERM
