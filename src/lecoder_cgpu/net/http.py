"""The one HTTP client: time limits, retries, proxies and TLS are the same for every request that we send."""

from __future__ import annotations

import ssl
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import __version__, errors
from ..system import logs
from .failures import Refusal, jupyter_error, retry_after, status_error, unreachable
from .retry import persist

if TYPE_CHECKING:
    import httpx2

USER_AGENT = f"lecoder-cgpu/{__version__}"
CONNECT_TIMEOUT = 30.0  # seconds for a handshake
PIECE = 256 << 10  # bytes of a file read at once: few enough to be in the processor's cache still when they are written


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own; such traffic never goes through a proxy."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


class Http:
    """A client for one base address. It repeats requests that may be repeated when the network or the server fails.

    Args:
        base_url: ends with a slash.
        headers: sent with every request; they may hold a token and never reach a log.
        explain: turns a refusal into the error to raise.
        pause: seconds before the second attempt of a request; later pauses are longer (see `retry.persist`).
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
        # Made late: the import and the TLS set-up take a tenth of a second, and `_read_near` needs neither.
        import httpx2

        client = httpx2.Client(
            headers=self._headers,
            timeout=httpx2.Timeout(60.0, connect=CONNECT_TIMEOUT),
            # The WebSocket does the same: the system's authorities, or SSL_CERT_FILE; no proxy to this machine itself.
            verify=ssl.create_default_context(),
            trust_env=not is_loopback(self.base_url),
            follow_redirects=False,
        )
        # Close the client when its owner is collected: Python warns of connections that outlive it.
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
            repeat: try again when the failure is transient and a second request does no harm (never a POST).

        Raises:
            errors.Error: the server refused; `explain` chose the error. errors.ConnectionFailed: no answer came.
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
            raise errors.ReadTimeout(
                f"{what}: it was taken, and not answered in time",
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
            wait = retry_after(answer.headers.get("retry-after"))
            raise self._explain(Refusal(answer.status_code, what, answer.text[:2000], location, page, wait))
        return answer.content

    def read(self, path: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        """Yield the bytes of a file from `start` up to `end` (exclusive) as they arrive. The request is not repeated.

        A yielded piece is valid only until the next one is requested.

        Raises:
            errors.AuthError, errors.NotFoundError, errors.ConnectionFailed: see `status_error`. ConnectionFailed
            `NoRanges`: the server sends something other than that piece.
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
        """`read` from this machine itself, where the processor is the bottleneck: httpx2 needs three times as much of
        it. The pieces share their memory: fresh memory costs the system more than the bytes that go into it."""
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
        """Whether a browser finds something at `path`: a page, or a redirection to one (such as a login).

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
        """Close the connections. A client that was closed is not used again."""
        if "_client" in self.__dict__:
            self._client.close()


@dataclass(frozen=True)
class Reply:
    """An answer with whatever status, for services whose errors have a meaning of their own."""

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
    """Raise unless the answer is the wanted piece. A piece that is the whole file may come with status 200."""
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
