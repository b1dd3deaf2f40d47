"""The one WebSocket client: frames, pings, time limits and our errors, over the websockets library."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .. import errors
from ..system import logs
from . import failures, proxies
from .http import CONNECT_TIMEOUT, USER_AGENT, is_loopback, tls_context
from .retry import persist

if TYPE_CHECKING:
    import logging
    from ssl import SSLContext

    from websockets.sync.client import ClientConnection

PING_INTERVAL = 20.0  # seconds; proxies cut sockets that are silent for about 80 (protocol C34)
PING_TIMEOUT = 20.0
TOO_BIG = 1009  # the close code for a message that is too large
LARGEST = 256 << 20  # bytes of a message: a kernel may send hundreds of megabytes in one (protocol J18)
CLOSE_WAIT = 0.01  # seconds for the peer's own close frame; nothing depends on it
STUCK_WAIT = 0.5  # seconds after which a frame that is still being sent is given up for the close
_LINGER = "hh" if sys.platform == "win32" else "ii"  # the layout of `struct linger`


def reset_when_closed(connection: socket.socket) -> None:
    """Make a later close reset the connection: unsent data is thrown away, and the peer sees that it was cut."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))


def _quiet() -> logging.Logger:
    """The library reports sockets that we closed without waiting for the peer; that does not belong on stderr."""
    import logging

    logger = logging.getLogger("lecoder_cgpu.websocket")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


class WebSocket:
    """A WebSocket to a Jupyter server: text or binary frames, pings, and our errors."""

    def __init__(self, connection: ClientConnection, url: str) -> None:
        self._connection = connection
        self._url = url
        self._socket = connection.socket
        self._limit_sending()
        self.subprotocol = connection.subprotocol

    @classmethod
    def connect(
        cls,
        url: str,
        headers: dict[str, str],
        *,
        subprotocols: Sequence[str] = (),
        timeout: float | None = None,
        ca: str | None = None,
        ping_interval: float | None = PING_INTERVAL,
    ) -> WebSocket:
        """Open a socket. A handshake that fails for a transient reason is repeated.

        Args:
            url: `ws://` or `wss://`, without a token in it.
            headers: sent with the handshake.
            subprotocols: those that we speak, best first; the server may choose one or none.
            timeout: seconds for the whole handshake, `CONNECT_TIMEOUT` when None.
            ca: see `net.http.Http`.
            ping_interval: seconds between pings, None for none.

        Raises:
            errors.AuthError, errors.NotFoundError, errors.ConnectionFailed: the handshake was refused or failed.
        """
        seconds = CONNECT_TIMEOUT if timeout is None else timeout
        context = tls_context(ca) if url.startswith("wss:") else None
        return persist(lambda: cls._once(url, headers, subprotocols, seconds, context, ping_interval))

    @classmethod
    def _once(
        cls,
        url: str,
        headers: dict[str, str],
        subprotocols: Sequence[str],
        timeout: float,
        context: SSLContext | None,
        interval: float | None = PING_INTERVAL,
    ) -> WebSocket:
        from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        where = url.partition("?")[0]
        proxies.check(url)
        try:
            connection = connect(
                url,
                additional_headers=headers,
                user_agent_header=USER_AGENT,
                subprotocols=[Subprotocol(name) for name in subprotocols] or None,
                ssl=context,
                compression=None,  # costs more time than it saves on the links that matter, and memory on both sides
                max_size=LARGEST,
                open_timeout=timeout,
                close_timeout=CLOSE_WAIT,
                ping_interval=interval,
                ping_timeout=PING_TIMEOUT,
                proxy=None if is_loopback(url) else proxies.whole_address(url) or True,
                logger=_quiet(),
            ).__enter__()  # websockets 17 wants `with`; this connection outlives the function, and `close` ends it
        except InvalidStatus as error:
            response = error.response
            body = (response.body or b"")[:2000].decode("utf-8", "replace")
            logs.current().debug("WEBSOCKET", f"refused {where}", {"status": response.status_code})
            location = response.headers.get("Location", "")
            if response.status_code == 424 or (300 <= response.status_code < 400 and "/hub/" in location):
                raise failures.hub_stopped(where) from error
            if 300 <= response.status_code < 400:
                raise failures.not_jupyter(where, "it redirects to another page") from error
            if response.status_code == 200:
                raise failures.not_jupyter(where, "it sent a web page") from error
            if response.status_code in (400, 426) and "upgrade" in body.lower():
                raise failures.no_upgrade(response.status_code, where) from error
            raise failures.status_error(response.status_code, where, body) from error
        except ImportError as error:
            raise proxies.missing_package(url, error) from error
        except (OSError, EOFError, WebSocketException) as error:
            logs.current().debug("WEBSOCKET", f"failed {where}", {"error": str(error)})
            if isinstance(error, InvalidURI):
                raise errors.UsageError(
                    f"{where} is not an address: {error}", hint="give it as http://HOST:PORT/"
                ) from error
            raise failures.unreachable(url, error) from error
        logs.current().debug("WEBSOCKET", f"open {where}")
        return cls(connection, where)

    def send(self, frame: str | bytes) -> None:
        """Send one frame: text as text, bytes as binary.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(frame)
        except (ConnectionClosed, OSError) as error:
            raise self._closed(error) from error
        self._acknowledge_at_once()

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next frame, None when none came within `timeout` seconds.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            frame = self._connection.recv(timeout=timeout)
        except TimeoutError:
            return None
        except (ConnectionClosed, OSError) as error:
            raise self._closed(error) from error
        self._acknowledge_at_once()
        return frame

    def ping(self, timeout: float) -> float | None:
        """The seconds after which the peer answers a ping; None if it does not within `timeout` seconds.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        from websockets.exceptions import ConnectionClosed

        began = time.monotonic()
        try:
            answered = self._connection.ping()
        except (ConnectionClosed, OSError) as error:
            raise self._closed(error) from error
        return time.monotonic() - began if answered.wait(timeout) else None

    @property
    def close_code(self) -> int | None:
        """The code with which the peer closed the socket, None while it is open; 1006 when the connection broke."""
        return self._connection.close_code

    def close(self) -> None:
        """Close in order (1000), and without waiting for the peer: everything that matters was exchanged."""
        # The library closes only after what another thread is sending, which a peer that reads nothing holds up.
        stuck = threading.Timer(STUCK_WAIT, self._end_sending)
        stuck.daemon = True
        stuck.start()
        try:
            with contextlib.suppress(OSError, RuntimeError):
                self._connection.close()
        finally:
            stuck.cancel()

    def _end_sending(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def abandon(self) -> None:
        """Close, and throw away unsent data: none of it may arrive after another socket has taken over."""
        with contextlib.suppress(OSError):
            reset_when_closed(self._socket)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)  # wakes the thread that reads
        with contextlib.suppress(OSError, RuntimeError):
            self._connection.close()

    def _limit_sending(self) -> None:
        # Pings wait behind a frame that is being sent, so they cannot notice a peer that takes no more of it. Linux can
        # be told to; other systems cannot (protocol J25).
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, option, round(1000 * (PING_INTERVAL + PING_TIMEOUT)))

    def _acknowledge_at_once(self) -> None:
        # A stock server waits for our ACK before it sends its second small frame (protocol J23). The option is not
        # sticky, hence once per frame.
        quick = getattr(socket, "TCP_QUICKACK", None)
        if quick is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, quick, 1)

    def _closed(self, error: BaseException) -> errors.ConnectionFailed:
        logs.current().debug("WEBSOCKET", f"closed {self._url}", {"reason": str(error)})
        sent, received = getattr(error, "sent", None), getattr(error, "rcvd", None)
        is_ours = received is None or str(LARGEST) in getattr(sent, "reason", "")  # else we repeated the peer's code
        if sent is not None and sent.code == TOO_BIG and is_ours:
            return errors.UnexpectedAnswer(
                f"{urlsplit(self._url).netloc} sent a message of more than {LARGEST >> 20} MiB, which was not taken",
                hint="if it comes from code of yours: print less at once",
            )
        return errors.ConnectionFailed(
            f"the connection to {urlsplit(self._url).netloc} was closed: {error}",
            name="ConnectionClosed",
            hint="repeat the same command",
        )
