"""Heads of HTTP/1 messages on their way through a reverse proxy: checked, and changed for the other side. Pure.

The other side ("upstream") is a proxy of a backend's with an address and a token of its own. Nothing of these may reach
the local client, and of the local address only what would be refused there is changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ..backends.protocol import Upstream
from ..system.redaction import MASK, spellings

LOCAL_HOST = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?", re.I)

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - as RFC 9110 calls it
_REQUEST = re.compile(rf"({_TOKEN}) (/[!-~\x80-\xff]*) (HTTP/1\.[01])")
_ANSWER = re.compile(r"HTTP/1\.[01] (\d{3})(?: [\t -~\x80-\xff]*)?")
_FIELD = re.compile(rf"({_TOKEN}):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_DOMAIN = re.compile(r";\s*domain\s*=[^;]*", re.I)
_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te"})
_FRAMING = frozenset({"content-length", "transfer-encoding"})

Fields = list[tuple[str, str]]


class Refused(Exception):
    """A request that is answered here, with `status` and a sentence."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


@dataclass(frozen=True)
class Request:
    """The head of a client's request; `host` is what the client calls us."""

    method: str
    target: str
    version: str
    host: str
    fields: Fields

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """The request whose head, with the empty line, that is.

        Raises:
            Refused: it makes no sense, or is not meant for this machine.
        """
        first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        line = _REQUEST.fullmatch(first)
        fields = _fields(rest)
        if line is None or fields is None:
            raise Refused(400, "this is no HTTP/1 request for a path")
        hosts = _values(fields, "host")
        if len(hosts) != 1 or len([name for name, _ in fields if name.lower() in _FRAMING]) > 1:
            raise Refused(400, "there must be one Host, and one length at most")
        # A web page whose name its owner lets point to 127.0.0.1 sends that name, and must not get through.
        if not LOCAL_HOST.fullmatch(hosts[0]):
            raise Refused(403, "only requests to localhost or 127.0.0.1 are passed on")
        if line[1] == "TRACE":  # its answer repeats the request, with our token
            raise Refused(405, "TRACE is not passed on")
        return cls(line[1], line[2], line[3], hosts[0], fields)

    @property
    def websocket(self) -> bool:
        return "upgrade" in _named(self.fields) and "websocket" in [
            value.lower() for value in _values(self.fields, "upgrade")
        ]

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no harm, and there is no body that would have to be kept for that."""
        framing = [value for name in _FRAMING for value in _values(self.fields, name)]
        return self.method in ("GET", "HEAD") and framing in ([], ["0"])

    def for_upstream(self, upstream: Upstream) -> bytes:
        """The head to send on: the last of its connection, unless it asks for a WebSocket."""
        there = urlsplit(upstream.url)
        dropped = (_OF_THE_CONNECTION | _named(self.fields) | {"host", "upgrade", upstream.header.lower()}) - _FRAMING
        lines = [
            f"{self.method} {there.path}{self.target} {self.version}",
            f"Host: {there.netloc}",
            f"{upstream.header}: {upstream.token}",
            *(["Connection: Upgrade", "Upgrade: websocket"] if self.websocket else ["Connection: close"]),
        ]
        here = f"http://{self.host}".lower()
        for name, value in self.fields:
            if name.lower() in dropped:
                continue
            # Our own pages come from the upstream's address, as it sees it. Those of others stay what they are, so
            # that whoever has to refuse them can.
            if name.lower() == "origin" and value.lower() == here:
                value = f"{there.scheme}://{there.netloc}"
            elif name.lower() == "referer" and f"{value}/".lower().startswith(f"{here}/"):
                value = upstream.url + value[len(here) :]
            lines.append(f"{name}: {value}")
        return _bytes(lines)


@dataclass(frozen=True)
class Answer:
    """The head of the answer from there."""

    status: int
    first: str
    fields: Fields

    @classmethod
    def parse(cls, head: bytes) -> Answer:
        """The answer whose head, with the empty line, that is.

        Raises:
            ValueError: it is none.
        """
        first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        line = _ANSWER.fullmatch(first)
        fields = _fields(rest)
        if line is None or fields is None:
            raise ValueError("the answer is not HTTP/1")
        return cls(int(line[1]), first, fields)

    @property
    def final(self) -> bool:
        """Whether nothing but content follows; before that come heads that only tell that the request was taken."""
        return self.status >= 200 or self.status == 101

    def for_client(self, host: str, upstream: Upstream, port: int) -> bytes:
        """The head to send on to a client that calls us `host`; `port` is what the server calls itself."""
        lines = [self.first]
        dropped = {"alt-svc"}  # it names other doors of the upstream
        if self.status != 101:
            dropped |= _OF_THE_CONNECTION
            lines += ["Connection: close"] if self.final else []
        for name, value in self.fields:
            if name.lower() in dropped:
                continue
            if name.lower() == "location":
                value = _local(value, host, urlsplit(upstream.url), port)
            elif name.lower() == "set-cookie":
                value = _DOMAIN.sub("", value)  # another domain than ours would make it void
            lines.append(f"{name}: {value}")
        head = "\r\n".join(lines)
        for secret in spellings([upstream.token]):
            head = head.replace(secret, MASK)
        return _bytes([head])


def plain(status: int, phrase: str, said: str) -> bytes:
    """A whole answer of our own."""
    body = f"lecoder-cgpu: {said}\n".encode()
    return (
        _bytes(
            [
                f"HTTP/1.1 {status} {phrase}",
                "Content-Type: text/plain; charset=utf-8",
                f"Content-Length: {len(body)}",
                "Connection: close",
            ]
        )
        + body
    )


def _local(location: str, host: str, there: SplitResult, port: int) -> str:
    """Where a redirection leads for the local client, if it leads back to the same server."""
    try:
        parts = urlsplit(location)
        own = LOCAL_HOST.fullmatch(parts.netloc) and parts.port == port
        back = bool(parts.netloc) and _authority(parts) == _authority(there)
    except ValueError:
        return location
    if not own and not back:
        return location
    path = parts.path
    if back and f"{path}/".startswith(f"{there.path}/"):
        path = path[len(there.path) :]
    return parts._replace(scheme="http", netloc=host, path=path or "/").geturl()


def _authority(parts: SplitResult) -> tuple[str | None, int | None]:
    """Host and port; http and https are the same here, for TLS may end before the server."""
    return parts.hostname, None if parts.port in (80, 443) else parts.port


def _fields(lines: list[str]) -> Fields | None:
    found = [_FIELD.fullmatch(line) for line in lines]
    return None if None in found else [(match[1], match[2]) for match in found if match]


def _values(fields: Fields, name: str) -> list[str]:
    return [value for key, value in fields if key.lower() == name]


def _named(fields: Fields) -> set[str]:
    """The names in `Connection`."""
    return {word.strip().lower() for value in _values(fields, "connection") for word in value.split(",")}


def _bytes(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
