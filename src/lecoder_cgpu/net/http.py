"""The one HTTP client and the one WebSocket, and where their failures become ours.

Everything that crosses the network goes through here, so that time limits, retries, proxies, TLS and the wording of
failures are the same everywhere. Nothing here knows what a kernel is.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from .. import __version__, errors
from ..system import logs

if TYPE_CHECKING:
    import httpx2
    from websockets.sync.client import ClientConnection

T = TypeVar("T")

USER_AGENT = f"lecoder-cgpu/{__version__}"
UNREACHED = "repeat the same command; lecoder-cgpu doctor checks the network"
CONNECT_TIMEOUT = 30.0  # seconds for a handshake
PING_INTERVAL = 20.0  # seconds; proxies cut sockets that are silent for about 80
PING_TIMEOUT = 20.0
_LINGER = "hh" if sys.platform == "win32" else "ii"  # the layout of `struct linger`
PIECE = 256 << 10  # bytes of a file read at once: few enough to be in the processor's cache still when they are written
ATTEMPTS = 4  # of an idempotent request that meets a transient failure
RETRY_AFTER_MOST = 30.0  # seconds; whoever asks for more patience than that is not asked again by itself


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own; such traffic never goes through a proxy."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


@dataclass(frozen=True)
class Refusal:
    """An answer that is no success: its HTTP status, the request in words, and the text of its body.

    `location` is where it redirects to; `page` is true for a web page, which no API sends; `retry_after` is in seconds.
    """

    status: int
    what: str
    body: str = ""
    location: str | None = None
    page: bool = False
    retry_after: float | None = None


def jupyter_error(refusal: Refusal) -> errors.Error:
    """What a refusal means when it comes from a Jupyter server."""
    if refusal.location is not None:
        return _not_jupyter(refusal.what, f"it redirects to {refusal.location}")
    if refusal.page and 200 <= refusal.status < 300:
        return _not_jupyter(refusal.what, "it sent a web page")
    error = status_error(refusal.status, refusal.what, refusal.body)
    error.retry_after = refusal.retry_after
    return error


def status_error(status: int, what: str, body: str = "") -> errors.Error:
    """The error for an HTTP status that is not a success; `what` names the request for people."""
    error = _status_error(status, what, body)
    error.http_status = status
    return error


def _status_error(status: int, what: str, body: str) -> errors.Error:
    detail = _excerpt(body)
    said = f"HTTP {status}" + (f" ({detail})" if detail else "")
    if status in (401, 403):
        return errors.AuthError(
            f"{what}: the server refused the token: {said}",
            name="TokenRefused",
            hint="check the token; give a new one with: lecoder-cgpu sessions add NAME --url URL --token-stdin --force",
        )
    if status == 404:
        return errors.NotFoundError(
            f"{what}: {said}",
            name="NotFound",
            hint="give the address with the server's base path: lecoder-cgpu sessions add NAME --url URL --force",
        )
    if status == 429 or status >= 500:
        return errors.ConnectionFailed(
            f"{what}: the server failed with {said}", name="ServerError", hint="repeat the same command in a minute"
        )
    return errors.ConnectionFailed(
        f"{what}: the server answered {said}",
        name="UnexpectedAnswer",
        retryable=False,
        hint="is this the address of a Jupyter server? lecoder-cgpu debug tail shows the requests",
    )


def _excerpt(body: str) -> str:
    """A short plain part of an error body; HTML pages say nothing that helps."""
    text = body.strip()
    if not text or text.startswith("<"):
        return ""
    with contextlib.suppress(ValueError):
        import json

        content = json.loads(text)
        if isinstance(content, dict):
            text = str(content.get("message") or content.get("reason") or "")
    return " ".join(text.split())[:200]


def unreachable(url: str, error: BaseException) -> errors.ConnectionFailed:
    """The error for an address to which no connection came about, or whose connection failed."""
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (OSError, TimeoutError)):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return errors.ConnectionFailed(
            f"{where}: its TLS certificate is not trusted: {cause.verify_message}",
            name="CertificateError",
            retryable=False,
            hint="set SSL_CERT_FILE to the file with its certificate authority",
        )
    if isinstance(cause, socket.gaierror):
        return errors.ConnectionFailed(
            f"{where}: there is no host of that name",
            name="NameResolution",
            hint="check the name; lecoder-cgpu doctor checks the network",
        )
    if isinstance(cause, ConnectionRefusedError):
        return errors.ConnectionFailed(
            f"{where}: nothing listens there (connection refused)",
            name="ConnectionRefused",
            hint="start the server there; the addresses in use: lecoder-cgpu sessions list",
        )
    if isinstance(cause, TimeoutError) or "timed out" in str(error) or "Timeout" in type(error).__name__:
        return errors.ConnectionFailed(f"{where}: no answer in time", name="ConnectionTimeout", hint=UNREACHED)
    reason = str(cause or error) or type(error).__name__
    return errors.ConnectionFailed(f"{where}: the connection failed: {reason}", hint=UNREACHED)


def reset_when_closed(connection: socket.socket) -> None:
    """Have a connection end with a reset: what was not sent yet is thrown away, and the peer sees that it was cut."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))


class Http:
    """A client for one base address. Requests that may be repeated safely are, when the network or the server falters.

    Args:
        base_url: ends with a slash.
        headers: sent with every request; they may hold a token and never reach a log.
        explain: which error a refusal is.
        pause: seconds before the second try of a request that may be repeated; then longer.
    """

    def __init__(
        self,
        base_url: str,
        headers: dict[str, str],
        *,
        explain: Callable[[Refusal], errors.Error] = jupyter_error,
        pause: float = 0.2,
    ) -> None:
        self.base_url = base_url
        self._headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}
        self._explain = explain
        self._pause = pause

    @cached_property
    def _client(self) -> httpx2.Client:
        # Made late: its import and its TLS set-up take a tenth of a second, and `_read_near` needs neither.
        import httpx2

        client = httpx2.Client(
            headers=self._headers,
            timeout=httpx2.Timeout(60.0, connect=CONNECT_TIMEOUT),
            # As the WebSocket has it: the system's authorities, or SSL_CERT_FILE; and no proxy to this machine itself.
            verify=ssl.create_default_context(),
            trust_env=not is_loopback(self.base_url),
            follow_redirects=False,
        )
        # Who is done with us need not say so: connections that stay open behind their owner are a warning of Python's.
        weakref.finalize(self, client.close).atexit = False
        return client

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> bytes:
        """Send a request and return the body of a successful answer.

        Args:
            headers: added to those of the client.
            timeout: seconds to wait for the answer, 60 when None.
            repeat: do so when that does no harm (never a POST) and the failure is transient.

        Raises:
            errors.Error: as `explain` has it. errors.ConnectionFailed: no answer came.
        """

        def once() -> bytes:
            return self._once(method, path, json, params, headers, timeout)

        return persist(once, pause=self._pause) if repeat and method in ("GET", "PUT", "DELETE") else once()

    def _once(
        self,
        method: str,
        path: str,
        json: Any,
        params: dict[str, str] | None,
        headers: dict[str, str] | None,
        timeout: float | None,
    ) -> bytes:
        import httpx2

        what = f"{method} {self.base_url}{path}"
        limit = httpx2.USE_CLIENT_DEFAULT if timeout is None else httpx2.Timeout(timeout, connect=CONNECT_TIMEOUT)
        try:
            answer = self._client.request(
                method, self.base_url + path, json=json, params=params, headers=headers, timeout=limit
            )
        except httpx2.ReadTimeout as error:
            logs.current().debug("HTTP", what, {"error": "no answer"})
            raise errors.ConnectionFailed(
                f"{what}: it was taken, and not answered in time",
                name="ReadTimeout",
                hint="lecoder-cgpu status shows what came of it",
            ) from error
        except httpx2.HTTPError as error:
            logs.current().debug("HTTP", what, {"error": str(error)})
            raise unreachable(self.base_url, error) from error
        except (httpx2.InvalidURL, ValueError) as error:
            raise errors.UsageError(
                f"{self.base_url} is not an address: {error}", hint="give it as http://HOST:PORT/"
            ) from error
        logs.current().debug("HTTP", what, {"status": answer.status_code, "ms": _milliseconds(answer)})
        page = "html" in answer.headers.get("content-type", "")
        if not answer.is_success or page:
            location = answer.headers.get("location", "another page") if answer.is_redirect else None
            wait = _seconds(answer.headers.get("retry-after"))
            raise self._explain(Refusal(answer.status_code, what, answer.text[:2000], location, page, wait))
        return answer.content

    def read(self, path: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        """A piece of a file as its bytes come: from `start` up to `end`, which is not part of it. Not repeated.

        What is yielded keeps its content only until the next is asked for.

        Raises:
            errors.AuthError, errors.NotFoundError, errors.ConnectionFailed: as `status_error` has it; also
            (`NoRanges`) when the server sends something else than that piece.
        """
        what = f"GET {self.base_url}{path}"
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept": "*/*", "Accept-Encoding": "identity"}
        wanted = (start, end)
        if urlsplit(self.base_url).scheme == "http" and is_loopback(self.base_url):
            yield from self._read_near(path, headers, wanted, what)
            return
        import httpx2

        try:
            with self._client.stream("GET", self.base_url + path, headers=headers) as answer:
                if answer.status_code >= 400:
                    answer.read()
                _check_piece(what, answer.status_code, answer.headers, wanted, lambda: answer.text)
                yield from answer.iter_raw()
        except httpx2.HTTPError as error:
            raise unreachable(self.base_url, error) from error

    def _read_near(
        self, path: str, headers: dict[str, str], wanted: tuple[int, int], what: str
    ) -> Iterator[memoryview]:
        """The same from this machine itself: there the processor is what limits, and httpx2 needs three times as much
        of it. The pieces share their memory, as fresh memory costs the system more than the bytes that go into it."""
        import http.client

        parts = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            connection.request("GET", parts.path + path, headers={**self._headers, **headers})
            answer = connection.getresponse()
            _check_piece(
                what,
                answer.status,
                answer.headers,
                wanted,
                lambda: answer.read(2000).decode("utf-8", "replace"),
            )
            left = int(answer.headers.get("content-length") or 0)
            piece = memoryview(bytearray(PIECE))
            while left:
                got = answer.readinto(piece[:left])
                if not got:
                    raise ConnectionResetError("the connection ended before the file did")
                left -= got
                yield piece[:got]
        except (http.client.HTTPException, OSError) as error:
            raise unreachable(self.base_url, error) from error
        finally:
            connection.close()

    def has_page(self, path: str) -> bool:
        """Whether there is something for a browser at `path`, a page or the way to one (such as a login).

        Raises:
            errors.ConnectionFailed: the server cannot be reached.
        """
        import httpx2

        try:
            answer = self._client.get(self.base_url + path)
        except httpx2.HTTPError as error:
            raise unreachable(self.base_url, error) from error
        return answer.is_success or answer.is_redirect

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()


@dataclass(frozen=True)
class Reply:
    """An answer as it came, whatever its status: for services whose errors have a meaning of their own."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def exchange(
    method: str, url: str, *, content: bytes | None = None, headers: Mapping[str, str] | None = None, timeout: float
) -> Reply:
    """Send one request, once. The query of `url` may hold a secret and reaches no log.

    Raises:
        errors.ConnectionFailed: there was no answer.
    """
    import httpx2

    what = f"{method} {url.partition('?')[0]}"
    try:
        answer = httpx2.request(
            method,
            url,
            content=content,
            headers={"User-Agent": USER_AGENT, **(headers or {})},
            timeout=timeout,
            verify=ssl.create_default_context(),
            trust_env=not is_loopback(url),
        )
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        logs.current().debug("HTTP", what, {"error": str(error)})
        raise unreachable(url, error) from error
    logs.current().debug("HTTP", what, {"status": answer.status_code, "ms": _milliseconds(answer)})
    return Reply(answer.status_code, answer.headers, answer.content)


def _check_piece(what: str, status: int, headers: Any, wanted: tuple[int, int], body: Callable[[], str]) -> None:
    """Raise unless the answer is that piece; a piece that is the whole file comes as such (200)."""
    logs.current().debug("HTTP", what, {"status": status, "range": list(wanted)})
    if status >= 400:
        raise status_error(status, what, body()[:2000])
    start, end = wanted
    piece = status == 206 and headers.get("content-range", "").startswith(f"bytes {start}-{end - 1}/")
    whole = status == 200 and start == 0 and headers.get("content-length") == str(end)
    if not (piece or whole):
        raise errors.ConnectionFailed(
            f"{what}: the server does not send pieces of files", name="NoRanges", retryable=False
        )


def _milliseconds(answer: httpx2.Response) -> int:
    return round(answer.elapsed.total_seconds() * 1000)


def _seconds(header: str | None) -> float | None:
    """The header Retry-After, which holds seconds or a date, in seconds from now."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def persist(
    action: Callable[[], T],
    *,
    again: Callable[[Exception], bool | float] | None = None,
    attempts: int = ATTEMPTS,
    pause: float = 0.2,
) -> T:
    """Do what may be repeated safely, several times while the network or the server falters.

    Args:
        again: whether an error is worth another try, or after how many seconds; `_transient` when None.
        attempts: how often at most.
        pause: seconds between the second try and the third; later ones take longer.
    """
    worth = again or _transient
    try:
        return action()
    except errors.Error as error:
        wait = worth(error)
        if wait is False:
            raise
    if wait is not True:  # a server that says when it wants to be asked again is obeyed
        time.sleep(wait)
    import stamina  # only who needs it pays for it

    # What it logs of each try is for programs that set up logging; without a handler it would land on stderr.
    logging.getLogger("stamina").addHandler(logging.NullHandler())
    for attempt in stamina.retry_context(on=worth, attempts=attempts - 1, wait_initial=pause, wait_max=15 * pause):
        with attempt:
            return action()
    raise AssertionError("retry_context returns or raises")


def _transient(error: Exception) -> bool | float:
    """Whether another try may help, or after how many seconds; where nothing listens, or nothing answered for so long
    already, it hardly does."""
    if not isinstance(error, errors.ConnectionFailed) or not error.retryable:
        return False
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= RETRY_AFTER_MOST else False
    return error.name not in ("ConnectionRefused", "ConnectionTimeout", "ReadTimeout", "NameResolution")


def _not_jupyter(what: str, saw: str) -> errors.ConnectionFailed:
    return errors.ConnectionFailed(
        f"{what}: this is not the address of a Jupyter server: {saw}",
        name="NotJupyter",
        retryable=False,
        hint="give --url the server's base address, without /lab or /tree; a login page means that the token is wrong",
    )


class WebSocket:
    """A WebSocket to a Jupyter server: text or binary frames of any size, pings, and our errors."""

    def __init__(self, connection: ClientConnection, url: str) -> None:
        self._connection = connection
        self._url = url
        self._socket = connection.socket
        self._limit_sending()
        self.subprotocol = connection.subprotocol

    @classmethod
    def connect(
        cls, url: str, headers: dict[str, str], *, subprotocols: Sequence[str] = (), timeout: float | None = None
    ) -> WebSocket:
        """Open a socket; a handshake that meets a transient failure is repeated.

        Args:
            url: `ws://` or `wss://`, without a token in it.
            headers: sent with the handshake.
            subprotocols: those that we speak, the best first; the server may choose one or none.
            timeout: seconds for the whole handshake, `CONNECT_TIMEOUT` when None.

        Raises:
            errors.AuthError, errors.NotFoundError, errors.ConnectionFailed: the handshake was refused or failed.
        """
        seconds = CONNECT_TIMEOUT if timeout is None else timeout
        return persist(lambda: cls._once(url, headers, subprotocols, seconds))

    @classmethod
    def _once(cls, url: str, headers: dict[str, str], subprotocols: Sequence[str], timeout: float) -> WebSocket:
        from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        # What it has to say of a socket that we closed, without waiting for the peer, is nothing for stderr.
        logger = logging.getLogger("lecoder_cgpu.websocket")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        where = url.partition("?")[0]
        try:
            connection = connect(
                url,
                additional_headers=headers,
                user_agent_header=USER_AGENT,
                subprotocols=[Subprotocol(name) for name in subprotocols] or None,
                compression=None,  # costs more time than it saves on the links that matter, and memory on both sides
                max_size=None,
                open_timeout=timeout,
                close_timeout=1,
                ping_interval=PING_INTERVAL,
                ping_timeout=PING_TIMEOUT,
                proxy=None if is_loopback(url) else True,
                logger=logger,
            ).__enter__()  # websockets 17 wants `with`; this connection outlives the function, and `close` ends it
        except InvalidStatus as error:
            response = error.response
            body = (response.body or b"")[:2000].decode("utf-8", "replace")
            logs.current().debug("WEBSOCKET", f"refused {where}", {"status": response.status_code})
            if 300 <= response.status_code < 400:
                raise _not_jupyter(where, "it redirects to another page") from error
            if response.status_code == 200:
                raise _not_jupyter(where, "it sent a web page") from error
            raise status_error(response.status_code, where, body) from error
        except (OSError, EOFError, WebSocketException) as error:
            logs.current().debug("WEBSOCKET", f"failed {where}", {"error": str(error)})
            if isinstance(error, InvalidURI):
                raise errors.UsageError(
                    f"{where} is not an address: {error}", hint="give it as http://HOST:PORT/"
                ) from error
            raise unreachable(url, error) from error
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

    @property
    def close_code(self) -> int | None:
        """The code with which the peer closed the socket, None while it is open; 1006 when the connection broke."""
        return self._connection.close_code

    def close(self) -> None:
        """Close without waiting for the peer: the work that mattered is done."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError, RuntimeError):
            self._connection.close()

    def abandon(self) -> None:
        """Close, and throw away what was not sent yet: nothing of it may arrive when another socket has taken over."""
        with contextlib.suppress(OSError):
            reset_when_closed(self._socket)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)  # wakes the thread that reads
        with contextlib.suppress(OSError, RuntimeError):
            self._connection.close()

    def _limit_sending(self) -> None:
        # Pings wait behind a frame that is being sent, so they cannot notice a peer that takes no more of it. Linux can
        # be told to; other systems cannot.
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, option, round(1000 * (PING_INTERVAL + PING_TIMEOUT)))

    def _acknowledge_at_once(self) -> None:
        # A stock server writes with Nagle's algorithm on: its second small frame waits for our ACK of the first, which
        # Linux delays by 40 ms. The option is not sticky, hence once per frame.
        quick = getattr(socket, "TCP_QUICKACK", None)
        if quick is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, quick, 1)

    def _closed(self, error: BaseException) -> errors.ConnectionFailed:
        logs.current().debug("WEBSOCKET", f"closed {self._url}", {"reason": str(error)})
        return errors.ConnectionFailed(
            f"the connection to {urlsplit(self._url).netloc} was closed: {error}",
            name="ConnectionClosed",
            hint="repeat the same command",
        )
