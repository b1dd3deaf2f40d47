"""The MCP server over Streamable HTTP, on 127.0.0.1 alone and for who shows the token. Only `mcp` imports it.

A page in a browser can send requests to this machine, also under a name of its own (DNS rebinding). So the headers Host
and Origin have to name this machine, and the token has to be there. The card needs no token: it says nothing private.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import uvicorn
from mcp.server import Server
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from .. import errors
from . import clients

HOST = "127.0.0.1"
PATH = "/mcp"
NAMES = (HOST, "localhost")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class _Quiet(uvicorn.Server):
    """Signals are ours: they end the work of the calls, too."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(port: int) -> socket.socket:
    """A socket that listens here; `port` 0 is any.

    Raises:
        errors.UsageError: the port is taken, or may not be used.
    """
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
    except OSError as error:
        found.close()
        raise errors.UsageError(
            f"port {port} cannot be used: {error.strerror}", name="PortTaken", hint="--port 0 takes any that is free"
        ) from error
    found.listen()
    return found


def address(listening: socket.socket) -> str:
    """Where clients connect to."""
    return f"http://{HOST}:{listening.getsockname()[1]}{PATH}"


async def serve(server: Server[Any], listening: socket.socket, token: str) -> None:
    """Serve until the task is cancelled."""
    security = TransportSecuritySettings(
        allowed_hosts=[f"{name}:*" for name in NAMES], allowed_origins=[f"http://{name}:*" for name in NAMES]
    )
    app = server.streamable_http_app(streamable_http_path=PATH, transport_security=security)
    guarded = _Guard(app, TransportSecurityMiddleware(security), token, address(listening))
    config = uvicorn.Config(guarded, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=1)
    await _Quiet(config).serve(sockets=[listening])


class _Guard:
    """Lets through what names this machine and shows the token."""

    def __init__(self, app: Any, security: TransportSecurityMiddleware, token: str, where: str) -> None:
        self._app = app
        self._security = security
        self._token = token
        self._card = msgspec.json.encode(clients.card(where))

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        refusal = await self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        wrong = await self._security.validate_request(request, is_post=False)
        if wrong is not None:
            return wrong
        if request.url.path == clients.CARD:
            return Response(self._card, media_type="application/json")
        shown = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(shown, f"Bearer {self._token}".encode()):
            return None
        return PlainTextResponse("show the token", 401, headers={"WWW-Authenticate": "Bearer"})
