"""The one WebSocket client: its time limits, its errors, and what Jupyter servers need of it.

`direct_socket` is below it, and where there is a proxy, `proxied_socket`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import errors
from ..system import logs
from . import direct_socket, failures, proxies, tls
from .direct_socket import Cut
from .frames import Cutter
from .http import CONNECT_TIMEOUT, USER_AGENT
from .retry import persist

if TYPE_CHECKING:
    from ssl import SSLContext

    from .proxied_socket import ProxiedSocket

__all__ = ["Cut", "Cutter", "WebSocket"]

PING_INTERVAL = 20.0  # seconds; proxies cut sockets that are silent for about 80 (protocol C34)
PING_TIMEOUT = 20.0
TOO_BIG = 1009  # the close code for a message that is too large
LARGEST = 48 << 20  # bytes of a message that comes whole
CUTTABLE = 2 << 30  # of one that is cut: a kernel may send hundreds of megabytes in one (protocol J18)
STUCK_WAIT = 0.5  # seconds after which a frame that is still being sent is given up for the close
_LINGER = "hh" if sys.platform == "win32" else "ii"  # the layout of `struct linger`


def reset_when_closed(connection: socket.socket) -> None:
    """Make a later close reset the connection: unsent data is thrown away, and the peer sees that it was cut."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))


def _through_a_proxy(
    url: str, headers: dict[str, str], subprotocols: Sequence[str], options: dict[str, Any]
) -> ProxiedSocket:
    from . import proxied_socket

    return proxied_socket.connect(url, headers, subprotocols, proxy=proxies.whole_address(url), **options)


def _refusal(where: str, refused: direct_socket.Refused) -> errors.Error:
    """What it means that a handshake was answered with another status."""
    body = refused.body.decode("utf-8", "replace")
    if refused.status == 424 or (300 <= refused.status < 400 and "/hub/" in refused.location):
        return failures.hub_stopped(where)
    if 300 <= refused.status < 400:
        return failures.not_jupyter(where, "it redirects to another page")
    if refused.status == 200:
        return failures.not_jupyter(where, "it sent a web page")
    if refused.status in (400, 426) and "upgrade" in body.lower():
        return failures.no_upgrade(refused.status, where)
    return failures.status_error(refused.status, where, body)


class WebSocket:
    """A WebSocket to a Jupyter server: text or binary frames, pings, and our errors."""

    def __init__(self, connection: direct_socket.DirectSocket | ProxiedSocket, url: str) -> None:
        self._connection = connection
        self._url = url
        self._socket = connection.socket
        self._limit_sending()
        self.subprotocol = connection.subprotocol
        self.first: str | bytes | None = None  # the first frame that came
        self.came = 0  # bytes, or characters of text
        self.ours = False  # whether we have closed it
        self._again: deque[str | bytes] = deque()

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
        cut: Cut | None = None,
    ) -> WebSocket:
        """Open a socket. A handshake that fails for a transient reason is repeated.

        Args:
            url: `ws://` or `wss://`, without a token in it.
            headers: sent with the handshake.
            subprotocols: those that we speak, best first; the server may choose one or none.
            timeout: seconds for the whole handshake, `CONNECT_TIMEOUT` when None.
            ca: see `net.http.Http`.
            ping_interval: seconds between pings, None for none.
            cut: what makes small messages of large ones; without it, and through a proxy, all come whole.

        Raises:
            errors.AuthError, errors.NotFoundError, errors.ConnectionFailed: the handshake was refused or failed.
        """
        seconds = CONNECT_TIMEOUT if timeout is None else timeout
        context = tls.context(ca) if url.startswith("wss:") else None
        return persist(lambda: cls._once(url, headers, subprotocols, seconds, context, ping_interval, cut))

    @classmethod
    def _once(
        cls,
        url: str,
        headers: dict[str, str],
        subprotocols: Sequence[str],
        timeout: float,
        context: SSLContext | None,
        interval: float | None = PING_INTERVAL,
        cut: Cut | None = None,
    ) -> WebSocket:
        where = url.partition("?")[0]
        proxies.check(url)
        limits = {"timeout": timeout, "ping": (interval, PING_TIMEOUT), "largest": LARGEST if cut is None else CUTTABLE}
        options: dict[str, Any] = {"context": context, **limits}
        headers = {"User-Agent": USER_AGENT, **headers}
        connection: direct_socket.DirectSocket | ProxiedSocket
        try:
            if proxies.go_direct(url):
                connection = direct_socket.connect(url, headers, subprotocols, cut=cut, **options)
            else:
                connection = _through_a_proxy(url, headers, subprotocols, {**options, "largest": LARGEST})
        except direct_socket.Refused as refused:
            logs.current().debug("WEBSOCKET", f"refused {where}", {"status": refused.status})
            raise _refusal(where, refused) from refused
        except errors.Error:  # which may be an OSError, too
            raise
        except ImportError as error:
            raise proxies.missing_package(url, error) from error
        except ValueError as error:
            raise errors.UsageError(
                f"{where} is not an address: {error}", hint="give it as http://HOST:PORT/"
            ) from error
        except OSError as error:
            logs.current().debug("WEBSOCKET", f"failed {where}", {"error": str(error)})
            raise failures.unreachable(url, error) from error
        logs.current().debug("WEBSOCKET", f"open {where}")
        return cls(connection, where)

    def send(self, frame: str | bytes) -> None:
        """Send one frame: text as text, bytes as binary.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        try:
            self._connection.send(frame)
        except OSError as error:
            raise self._closed(error) from error
        self._acknowledge_at_once()

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next frame, None when none came within `timeout` seconds.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        if self._again:
            return self._again.popleft()
        try:
            frame = self._connection.recv(timeout)
        except TimeoutError:
            return None
        except OSError as error:
            raise self._closed(error) from error
        self._acknowledge_at_once()
        self.came += len(frame)
        if self.first is None:
            self.first = frame
        return frame

    def put_back(self, frames: Iterable[str | bytes]) -> None:
        """Have these frames received once more, before those that are still to come."""
        self._again.extendleft(reversed(list(frames)))

    def ping(self, timeout: float) -> float | None:
        """The seconds after which the peer answers a ping; None if it does not within `timeout` seconds.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        began = time.monotonic()
        try:
            answered = self._connection.ping()
        except OSError as error:
            raise self._closed(error) from error
        return time.monotonic() - began if answered.wait(timeout) else None

    @property
    def pinged(self) -> int | None:
        """How often the peer has pinged by itself; None where nobody counts."""
        return getattr(self._connection, "pinged", None)

    @property
    def close_code(self) -> int | None:
        """The code with which the peer closed the socket, None while it is open; 1006 when the connection broke."""
        return self._connection.close_code

    def close(self) -> None:
        """Close in order (1000), and without waiting for the peer: everything that matters was exchanged."""
        self.ours = self.ours or self.close_code is None
        # A close frame goes out only after what another thread is sending, which a peer that reads nothing holds up.
        stuck = threading.Timer(STUCK_WAIT, self._end_sending)
        stuck.daemon = True
        stuck.start()
        try:
            with contextlib.suppress(OSError, RuntimeError):
                self._connection.close()
        finally:
            stuck.cancel()

    def keep(self) -> None:
        """Give a socket that was kept open back, which this is not; see `kept_sockets`."""
        self.close()

    def _end_sending(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def abandon(self) -> None:
        """Close, and throw away unsent data: none of it may arrive after another socket has taken over."""
        self.ours = self.ours or self.close_code is None
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
        # sticky, so once for each frame.
        quick = getattr(socket, "TCP_QUICKACK", None)
        if quick is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, quick, 1)

    def _closed(self, error: BaseException) -> errors.ConnectionFailed:
        logs.current().debug("WEBSOCKET", f"closed {self._url}", {"reason": str(error)})
        sent, received = getattr(error, "sent", None), getattr(error, "rcvd", None)
        reason = getattr(sent, "reason", "")
        is_ours = received is None or str(LARGEST) in reason or str(CUTTABLE) in reason  # else we repeated the peer's
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
