"""A WebSocket through a proxy: by the websockets library, which knows all kinds of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import failures, frames
from .direct_socket import Closed, Refused

if TYPE_CHECKING:
    import logging
    from ssl import SSLContext

    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import ClientConnection

CLOSE_WAIT = 0.01  # seconds for the peer's own close frame; nothing depends on it


def connect(
    url: str,
    headers: Mapping[str, str],
    subprotocols: Sequence[str],
    *,
    proxy: str | None,
    context: SSLContext | None,
    timeout: float,
    ping: tuple[float | None, float],
    largest: int,
) -> ProxiedSocket:
    """Open a WebSocket.

    Args:
        proxy: its address; None for one that only the system knows. The others are those of `direct_socket.connect`.

    Raises:
        ValueError, Refused: as there. errors.ConnectionFailed: the connection failed. ImportError: a package is missing
        that this kind of proxy needs.
    """
    from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    try:
        connection = connect(
            url,
            additional_headers=headers,
            user_agent_header=None,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            ssl=context,
            compression=None,  # costs more time than it saves on the links that matter, and memory on both sides
            max_size=largest,
            open_timeout=timeout,
            close_timeout=CLOSE_WAIT,
            ping_interval=ping[0],
            ping_timeout=ping[1],
            proxy=proxy or True,
            logger=_quiet(),
        ).__enter__()  # websockets 17 wants `with`; this connection outlives the function, and `close` ends it
    except InvalidStatus as error:
        answer = error.response
        raise Refused(answer.status_code, answer.headers.get("Location", ""), bytes(answer.body or b"")) from error
    except InvalidURI as error:
        raise ValueError(str(error)) from error
    except (OSError, EOFError, WebSocketException) as error:
        raise failures.unreachable(url, error) from error
    return ProxiedSocket(connection)


def _quiet() -> logging.Logger:
    """The library reports sockets that we closed without waiting for the peer; that does not belong on stderr."""
    import logging

    logger = logging.getLogger("lecoder_cgpu.websocket")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


class ProxiedSocket:
    """An open WebSocket of the library, with the methods and exceptions of `DirectSocket`."""

    def __init__(self, connection: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        self._connection = connection
        self._closed = ConnectionClosed
        self.socket = connection.socket
        self.subprotocol: str | None = connection.subprotocol

    @property
    def close_code(self) -> int | None:
        return self._connection.close_code

    def send(self, message: str | bytes) -> None:
        try:
            self._connection.send(message)
        except self._closed as error:
            raise _told(error) from error

    def recv(self, timeout: float | None = None) -> str | bytes:
        try:
            return self._connection.recv(timeout=timeout)
        except self._closed as error:
            raise _told(error) from error

    def ping(self) -> threading.Event:
        try:
            return self._connection.ping()
        except self._closed as error:
            raise _told(error) from error

    def close(self) -> None:
        self._connection.close()


def _told(error: ConnectionClosed) -> Closed:
    said = (error.sent, error.rcvd)
    sent, rcvd = (None if close is None else frames.Close(close.code, close.reason) for close in said)
    return Closed(sent, rcvd, str(error))
