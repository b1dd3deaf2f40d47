"""What failures of the network mean: an HTTP status, or a connection that failed, as one of our errors.

Pure, but for the variables that name proxies. The clients in `http` and `websocket` raise what these functions return,
so both word the same failure the same.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .. import errors
from . import answers, proxies

_SECONDS = re.compile(r"[0-9]{1,9}")
UNREACHED = "repeat the same command; lecoder-cgpu doctor checks the network"


class Refusal(NamedTuple):
    """An unsuccessful answer: its HTTP status, the request in words, and the text of its body.

    `location` is the target of a redirection. `page` is true for a web page, which no API sends. `retry_after` is in
    seconds.
    """

    status: int
    what: str
    body: str = ""
    location: str | None = None
    page: bool = False
    retry_after: float | None = None


def jupyter_error(refusal: Refusal) -> errors.Error:
    """The error for a refusal that comes from a Jupyter server."""
    if refusal.status == 424 or (refusal.location is not None and "/hub/" in refusal.location):
        return hub_stopped(refusal.what)
    if refusal.location is not None:
        return not_jupyter(refusal.what, f"it redirects to {refusal.location}")
    if refusal.page and 200 <= refusal.status < 300:
        return not_jupyter(refusal.what, "it sent a web page")
    error = status_error(refusal.status, refusal.what, refusal.body)
    error.retry_after = refusal.retry_after
    return error


def status_error(status: int, what: str, body: str = "") -> errors.Error:
    """The error for an unsuccessful HTTP status; `what` names the request for people."""
    error = _status_error(status, what, body)
    error.http_status = status
    return error


def _status_error(status: int, what: str, body: str) -> errors.Error:
    detail = _excerpt(body)
    said = f"HTTP {status}" + (f" ({detail})" if detail else "")
    if status in (401, 403):
        return errors.TokenRefused(
            f"{what}: the server refused the token: {said}",
            hint="check the token; give a new one with: lecoder-cgpu sessions add NAME --url URL --token-stdin --force",
        )
    if status == 404:
        return errors.NotFoundError(
            f"{what}: {said}",
            name="NotFound",
            hint="give the address with the server's base path: lecoder-cgpu sessions add NAME --url URL --force",
        )
    if status == 429 or status >= 500:
        return errors.ServerError(f"{what}: the server failed with {said}", hint="repeat the same command in a minute")
    return errors.UnexpectedAnswer(
        f"{what}: the server answered {said}",
        hint="is this the address of a Jupyter server? lecoder-cgpu debug tail shows the requests",
    )


def _excerpt(body: str) -> str:
    """A short plain part of an error body. HTML pages say nothing that helps."""
    text = body.strip()
    if not text or text.startswith("<"):
        return ""
    with contextlib.suppress(ValueError):
        import json

        content = json.loads(answers.whole_characters(text))
        if isinstance(content, dict):
            text = str(content.get("message") or content.get("reason") or "")
    return " ".join(text.split())[:200]


def unreachable(url: str, error: BaseException) -> errors.ConnectionFailed:
    """The error for an address that could not be connected to, or whose connection failed."""
    parts = urlsplit(url)
    where = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (OSError, TimeoutError)):
        cause = cause.__cause__ or cause.__context__
    if (of_proxy := proxies.failure(url, error, cause)) is not None:
        return of_proxy
    ssl: Any = sys.modules.get("ssl")  # costs an import, and who has not made it speaks no TLS
    if ssl is not None and isinstance(cause, ssl.SSLCertVerificationError):
        return errors.ConnectionFailed(
            f"{where}: its TLS certificate is not trusted: {cause.verify_message}",
            name="CertificateError",
            retryable=False,
            hint="add its certificate authority to those that the system trusts, or set SSL_CERT_FILE to a file with "
            "it; for a server of your own: lecoder-cgpu sessions add … --ca FILE --force",
        )
    if isinstance(cause, socket.gaierror):
        return errors.NameResolution(
            f"{where}: there is no host of that name",
            hint="check the name; lecoder-cgpu doctor checks the network",
        )
    if isinstance(cause, ConnectionRefusedError):
        return errors.ConnectionRefused(
            f"no server answers at {where} (connection refused)",
            hint="start it, or see which address each session has: lecoder-cgpu sessions list; "
            "lecoder-cgpu doctor checks the network",
        )
    if (used := proxies.used_for(url)) is not None:
        where += f", through {used.shown}"
    if isinstance(cause, TimeoutError) or "timed out" in str(error) or "Timeout" in type(error).__name__:
        return errors.ConnectionTimeout(f"{where}: no answer in time", hint=UNREACHED)
    hint = UNREACHED if used is None else f"{UNREACHED}; to go without the proxy: unset {used.variable}"
    if cause is None and "without sending a response" in str(error):
        who = "the server" if used is None else "the server or the proxy"
        return errors.ConnectionFailed(f"{where}: {who} closed the connection without an answer", hint=hint)
    reason = str(cause or error) or type(error).__name__
    return errors.ConnectionFailed(f"{where}: the connection failed: {reason}", hint=hint)


def no_upgrade(status: int, what: str) -> errors.Error:
    """The error for a WebSocket handshake that reached the server as a plain request."""
    error = errors.UnexpectedAnswer(
        f"{what}: a proxy before the server does not pass WebSockets on: HTTP {status}",
        hint="have the proxy pass the headers Upgrade and Connection on (HTTP/1.1); "
        "nginx: https://nginx.org/en/docs/http/websocket.html",
    )
    error.http_status = status
    return error


def sockets_refused(refusal: errors.Error, where: str) -> errors.Error:
    """The error for WebSockets that are refused by a server which takes the same token for everything else."""
    return errors.UnexpectedAnswer(
        f"{where} accepts the token and refuses WebSockets (HTTP {refusal.http_status}), over which code runs: the "
        "server does, or a proxy before it",
        name="WebSocketsRefused",
        retryable=False,
        http_status=refusal.http_status,
        hint="have the proxy pass the headers Upgrade, Connection and Authorization on, or ask who runs the server to "
        "allow WebSockets; files go without: lecoder-cgpu upload, lecoder-cgpu download",
    )


def hub_stopped(what: str) -> errors.ConnectionFailed:
    """The error for a server that its JupyterHub does not run now (protocol J40)."""
    return errors.ServerStopped(
        f"{what}: the JupyterHub there does not run this server now",
        hint="lecoder-cgpu sessions add NAME --hub URL --start --token-stdin starts it; or start it on the Hub's page",
    )


def not_jupyter(what: str, saw: str) -> errors.ConnectionFailed:
    """The error for an address that is not a Jupyter server's; `saw` says how that shows."""
    return errors.ConnectionFailed(
        f"{what}: this is not the address of a Jupyter server: {saw}",
        name="NotJupyter",
        retryable=False,
        hint="was the address yours? give --url the server's base address, without /lab or /tree, and the right token; "
        "if not, something on the way answers in its place: repeat the same command",
    )


def retry_after(header: str | None) -> float | None:
    """Seconds from now, as a Retry-After header asks for them by number or date; None if it makes no sense."""
    if header is None:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return float(header)
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError, OSError):  # all that odd dates end in
        return None
