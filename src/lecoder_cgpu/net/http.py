"""The one HTTP client: time limits, retries, proxies and TLS are the same for every request that we send."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import __version__, errors
from ..system import logs, waits
from . import answers, proxies, tls
from .failures import Refusal, jupyter_error, retry_after, status_error, unreachable
from .retry import persist

if TYPE_CHECKING:
    import http.cookiejar

    import httpx2

USER_AGENT = f"lecoder-cgpu/{__version__}"
CONNECT_TIMEOUT = 30.0  # seconds for a handshake
ANSWER = 60.0  # seconds for an answer, and between two bytes of it
REDIRECTIONS = 10
PIECE = 256 << 10  # bytes of a file read at once: few enough to be in the processor's cache still when they are written


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own; such traffic never goes through a proxy."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _client_for(url: str, **options: Any) -> httpx2.Client:
    """A client for one address, through the proxy that the environment names for it.

    Raises:
        errors.ConfigError: that proxy cannot be used.
    """
    import httpx2

    proxies.check(url)
    if (address := proxies.respelled(url)) is not None:
        options["proxy"] = address
    try:
        return httpx2.Client(trust_env=not is_loopback(url), event_hooks={"request": [proxies.follow]}, **options)
    except ImportError as error:
        raise proxies.missing_package(url, error) from error
    except ValueError as error:  # of its scheme
        raise proxies.unusable(url, error) from error


class Http:
    """A client for one base address. It repeats requests that may be repeated when the network or the server fails.

    Args:
        base_url: ends with a slash.
        headers: sent with every request; they may hold a token and never reach a log.
        explain: turns a refusal into the error to raise.
        pause: seconds before the second attempt of a request; later pauses are longer (see `retry.persist`).
        ca: a file with certificate authorities that are trusted besides the usual ones.
    """

    def __init__(
        self,
        base_url: str,
        headers: dict[str, str],
        *,
        explain: Callable[[Refusal], errors.Error] = jupyter_error,
        pause: float = 0.2,
        ca: str | None = None,
    ) -> None:
        self.base_url = base_url
        self._headers = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": answers.ENCODING}
        self._headers.update(headers)
        self._explain = explain
        self._pause = pause
        self._ca = ca

    @cached_property
    def _client(self) -> httpx2.Client:
        # Made late: the import and the TLS set-up take a tenth of a second, and `_read_near` needs neither.
        import httpx2

        client = _client_for(
            self.base_url,
            headers=self._headers,
            timeout=httpx2.Timeout(ANSWER, connect=CONNECT_TIMEOUT),
            # The WebSocket does the same: the system's authorities, or SSL_CERT_FILE; no proxy to this machine itself.
            verify=tls.context_for(self.base_url, self._ca),
            follow_redirects=False,
            cookies=_no_cookies(),
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
        most: int = answers.MOST,
    ) -> bytes:
        """Send a request and return the body of a successful answer. If it is JSON, it is UTF-8 of a bounded depth.

        Args:
            headers: added to those of the client.
            timeout: seconds to wait for the answer, 60 when None; one that comes fast enough has 60 in any case.
            repeat: try again when the failure is transient and a second request does no harm (never a POST).
            most: bytes that the answer may have.

        Raises:
            errors.Error: the server refused; `explain` chose the error. errors.ConnectionFailed: no answer came.
        """

        def once() -> bytes:
            options = {"json": json, "params": params, "headers": headers}
            return self._once(method, path, options, ANSWER if timeout is None else timeout, most)

        return persist(once, pause=self._pause) if repeat and method in ("GET", "PUT", "DELETE") else once()

    def _once(self, method: str, path: str, options: dict[str, Any], limit: float, most: int) -> bytes:
        import httpx2

        what = f"{method} {self.base_url}{path}"
        try:
            idle = httpx2.Timeout(limit, connect=CONNECT_TIMEOUT)
            request = self._client.build_request(method, self.base_url + path, timeout=idle, **options)
            clock = answers.Clock(limit, int(request.headers.get("content-length", 0)), answers.TOTAL)
            with waits.on(f"an answer to {what}"):
                answer = answers.begun(self._client, request, clock, what)
                content = answers.body(answer, clock, what, most)
        except httpx2.ReadTimeout as error:
            logs.current().debug("HTTP", what, {"error": "no answer"})
            raise proxies.silent(error.request) or answers.too_slow(what) from error
        except httpx2.HTTPError as error:
            logs.current().debug("HTTP", what, {"error": str(error)})
            raise unreachable(self.base_url, error) from error
        except (httpx2.InvalidURL, ValueError) as error:
            raise errors.UsageError(
                f"{self.base_url} is not an address: {error}", hint="give it as http://HOST:PORT/"
            ) from error
        logs.current().debug("HTTP", what, {"status": answer.status_code, "ms": _milliseconds(answer)})
        _refuse_at_proxy(self.base_url, answer, content)
        page = "html" in answer.headers.get("content-type", "")
        if not answer.is_success or page:
            location = answer.headers.get("location", "another page") if answer.is_redirect else None
            wait = retry_after(answer.headers.get("retry-after"))
            text = content[:2000].decode("utf-8", "replace")
            raise self._explain(Refusal(answer.status_code, what, text, location, page, wait))
        return content

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

        clock = answers.Clock(ANSWER)
        try:
            request = self._client.build_request("GET", self.base_url + path, headers=headers)
            answer = answers.begun(self._client, request, clock, what)
            try:
                _refuse_at_proxy(self.base_url, answer, b"{}")
                _check_piece(what, answer, wanted, lambda: answers.body(answer, clock, what).decode("utf-8", "replace"))
                left = end - start
                for piece in answers.pieces(answer, clock, what):
                    left -= len(piece)
                    if left < 0:
                        raise answers.unreadable(what, "is larger than the piece that was asked for")
                    yield piece
            finally:
                answer.close()
        except httpx2.HTTPError as error:
            raise unreachable(self.base_url, error) from error

    def _read_near(
        self, path: str, headers: dict[str, str], wanted: tuple[int, int], what: str
    ) -> Iterator[memoryview]:
        """`read` from this machine itself, where the processor is the bottleneck: httpx2 needs three times as much of
        it. The pieces share their memory: fresh memory costs the system more than the bytes that go into it."""
        import http.client

        parts = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER)
        deadline = answers.Deadline(answers.Clock(ANSWER))
        try:
            connection.connect()
            deadline.connection = connection.sock  # kept: the library hands it on to the answer
            connection.request("GET", parts.path + path, headers={**self._headers, **headers})
            answer = connection.getresponse()
            if deadline.passed:  # then the head was cut, and what is there of it may look whole
                raise answers.too_slow(what)
            _check_piece(what, answer, wanted, lambda: answer.read(2000).decode("utf-8", "replace"))
            left, piece = wanted[1] - wanted[0], memoryview(bytearray(PIECE))
            while left:
                got = answer.readinto(piece[:left])
                if not got:
                    raise ConnectionResetError("the connection ended before the file did")
                left -= got
                deadline.received += got
                yield piece[:got]
        except errors.Error:
            raise
        except (http.client.HTTPException, OSError) as error:
            raise answers.too_slow(what) if deadline.passed else unreachable(self.base_url, error) from error
        finally:
            deadline.close()
            connection.close()

    def events(self, path: str, limit: float) -> Iterator[bytes]:
        """Yield the data of a stream of server-sent events as they come; nothing when there is no such stream.

        Args:
            limit: seconds for all of it.

        Raises:
            errors.ConnectionFailed: the connection failed, or the stream took longer.
        """
        import httpx2

        what = f"GET {self.base_url}{path}"
        clock = answers.Clock(limit, total=limit)
        try:
            headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
            answer = answers.begun(
                self._client, self._client.build_request("GET", self.base_url + path, headers=headers), clock, what
            )
            logs.current().debug("HTTP", what, {"status": answer.status_code})
            with contextlib.closing(answer):
                line = bytearray()
                for piece in answers.pieces(answer, clock, what) if answer.is_success else ():
                    *ends, rest = piece.split(b"\n")
                    for end in ends:
                        line += end
                        if line.startswith(b"data:"):
                            yield bytes(line[5:]).strip()
                        line.clear()
                    line += rest
                    if len(line) > answers.MOST:
                        raise answers.unreadable(what, "has a line without end")
        except httpx2.HTTPError as error:
            raise unreachable(self.base_url, error) from error

    def has_page(self, path: str) -> bool:
        """Whether a browser finds something at `path`: a page, or a redirection to one (such as a login).

        Raises:
            errors.ConnectionFailed: the server cannot be reached.
        """
        import httpx2

        clock = answers.Clock(ANSWER)
        try:
            request = self._client.build_request("GET", self.base_url + path)
            answer = answers.begun(self._client, request, clock, f"GET {self.base_url}{path}")
            answer.close()
        except httpx2.HTTPError as error:
            raise unreachable(self.base_url, error) from error
        return answer.is_success or answer.is_redirect

    def close(self) -> None:
        """Close the connections. A client that was closed is not used again."""
        if "_client" in self.__dict__:
            self._client.close()


def _refuse_at_proxy(url: str, answer: httpx2.Response, content: bytes) -> None:
    """Raise what an answer means that a proxy gave in the place of a server without TLS."""
    error = proxies.answered(url, answer.status_code, answer.headers, content)
    if error is not None:
        raise error


@dataclass(frozen=True)
class Reply:
    """An answer with whatever status, for services whose errors have a meaning of their own."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    cookies: tuple[str, ...] = ()  # what it asks to be kept, one line for each


def exchange(
    method: str,
    url: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float,
    most: int = answers.MOST,
    ca: str | None = None,
    is_file: bool = False,
) -> Reply:
    """Send one request, once. The query of `url` may hold a secret and reaches no log.

    Args:
        timeout, most: see `Http.request`. ca: see `Http`. is_file: what comes is one, and may take its time.

    Raises:
        errors.ConnectionFailed: there was no answer, or one without end.
    """
    import httpx2

    what = f"{method} {url.partition('?')[0]}"
    clock = answers.Clock(timeout, len(content or b""), None if is_file else answers.TOTAL)
    sent = {"User-Agent": USER_AGENT, "Accept-Encoding": answers.ENCODING, **(headers or {})}
    try:
        trusted = tls.context_for(url, ca)
        with waits.on(f"an answer to {what}"), _client_for(url, timeout=timeout, verify=trusted) as client:
            answer = answers.begun(
                client, client.build_request(method, url, content=content, headers=sent), clock, what
            )
            data = answers.body(answer, clock, what, most)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        logs.current().debug("HTTP", what, {"error": str(error)})
        raise unreachable(url, error) from error
    logs.current().debug("HTTP", what, {"status": answer.status_code, "ms": _milliseconds(answer)})
    _refuse_at_proxy(url, answer, data)
    cookies = tuple(answer.headers.get_list("set-cookie"))
    return Reply(answer.status_code, answer.headers, data, cookies)


def fetch(url: str, *, most: int, timeout: float) -> bytes:
    """What a public address holds, redirections followed, but no more than `most` bytes and one. The query of `url` may
    hold a secret and reaches no log.

    Args:
        timeout: seconds, for all of it.

    Raises:
        errors.NotFoundError: there is nothing. errors.AuthError: it is not public.
        errors.ConnectionFailed: it did not come, or not in time.
    """
    import httpx2

    shown = url.partition("?")[0]
    what, clock = f"GET {shown}", answers.Clock(timeout)
    start = url
    for _ in range(REDIRECTIONS):
        client = _client_for(
            url,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": answers.ENCODING},
            timeout=httpx2.Timeout(min(timeout, 60.0), connect=CONNECT_TIMEOUT),
            verify=tls.context_for(url, None),
            follow_redirects=False,
        )
        try:
            with client:
                answer = answers.begun(client, client.build_request("GET", url), clock, what)
                logs.current().debug("HTTP", what, {"status": answer.status_code})
                with contextlib.closing(answer):
                    if not answer.has_redirect_location:
                        _refuse_at_proxy(url, answer, b"")
                        return _beginning(answer, clock, shown, most)
                    url = str(answer.url.join(answer.headers["location"]))
        except (errors.ReadTimeout, httpx2.ReadTimeout) as error:
            raise errors.ConnectionFailed(
                f"{shown} did not come whole within {timeout:.0f} seconds",
                name="NoAnswer",
                hint="download it yourself and give the file",
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise unreachable(url, error) from error
        # A page may not make us ask the programs of this machine, either.
        if urlsplit(url).scheme != "https" and not (is_loopback(start) and is_loopback(url)):
            raise errors.ConnectionFailed(
                f"{shown} redirects to an address without https",
                name="InsecureOrigin",
                retryable=False,
                hint="download it yourself and give the file",
            )
    raise answers.unreadable(what, f"redirects more than {REDIRECTIONS} times")


def _beginning(answer: httpx2.Response, clock: answers.Clock, shown: str, most: int) -> bytes:
    """The content of a public address, and one byte more than `most` when there is more."""
    if not answer.is_success:
        raise _unavailable(answer.status_code, shown)
    content = bytearray()
    for piece in answers.pieces(answer, clock, f"GET {shown}"):
        content += piece
        if len(content) > most:
            break
    del content[most + 1 :]
    return bytes(content)


def _unavailable(status: int, shown: str) -> errors.Error:
    if status in (404, 410):
        return errors.NotFoundError(f"there is nothing at {shown}: HTTP {status}", hint="check the address")
    if status in (401, 403):
        return errors.AuthError(
            f"{shown} is not public: HTTP {status}", name="NotPublic", hint="download it yourself and give the file"
        )
    return errors.ConnectionFailed(f"{shown}: HTTP {status}", retryable=status >= 500, hint="try again later")


def _check_piece(what: str, answer: Any, wanted: tuple[int, int], body: Callable[[], str]) -> None:
    """Raise unless the answer is the wanted piece. A piece that is the whole file may come with status 200."""
    status: int = getattr(answer, "status_code", None) or answer.status
    headers = answer.headers
    logs.current().debug("HTTP", what, {"status": status, "range": list(wanted)})
    if status >= 400:
        raise status_error(status, what, body()[:2000])
    start, end = wanted
    piece = status == 206 and headers.get("content-range", "").startswith(f"bytes {start}-{end - 1}/")
    whole = status == 200 and start == 0 and headers.get("content-length") == str(end)
    length = headers.get("content-length", str(end - start)) == str(end - start)
    if not ((piece and length) or whole):
        raise errors.ConnectionFailed(
            f"{what}: the server does not send pieces of files", name="NoRanges", retryable=False
        )


def _no_cookies() -> http.cookiejar.CookieJar:
    """A jar that takes none: a server that knows us by a cookie would ask for its XSRF token instead of ours."""
    import http.cookiejar

    return http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))


def _milliseconds(answer: httpx2.Response) -> int:
    return round(answer.elapsed.total_seconds() * 1000)
