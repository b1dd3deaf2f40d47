"""Heads of HTTP/1 messages on their way through a reverse proxy: checked, and rewritten for the other side. Pure.

The other side ("upstream") is a backend's own proxy, with an address and a token of its own. The local client may see
neither. Of the client's address, only what the upstream would refuse is rewritten.

h11 parses the heads. It is made for ends of a connection, which may be generous in what they accept. A proxy must not
be: what two programs could understand in two ways is how requests are smuggled past the first of them. So we refuse
more than h11 does: bare line feeds and carriage returns, folded lines, control characters, and requests with two
lengths, even equal ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import h11

from ..backends.protocol import Upstream
from ..system.redaction import MASK, spellings

LOCAL_HOST = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?", re.I)
_LOCAL_ORIGIN = re.compile(f"https?://{LOCAL_HOST.pattern}", re.I)

# Lines of visible text that end with CRLF. Only the last is empty, and none begins with a blank, which would make it
# the continuation of the line before.
_LINES = re.compile(rb"[!-~\x80-\xff][\t -~\x80-\xff]*\r\n(?:[!-~\x80-\xff][\t -~\x80-\xff]*\r\n)*\r\n")
_DOMAIN = re.compile(r";\s*domain\s*=[^;]*", re.I)
_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te"})
_VERSIONS = (b"1.0", b"1.1")
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_ANY_REQUEST = [("Host", "upstream"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
_LENGTHS = frozenset({"content-length", "transfer-encoding"})

Fields = list[tuple[str, str]]


class Refused(Exception):
    """A request that is answered here, with `status` and a sentence."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


@dataclass(frozen=True)
class Request:
    """The head of a client's request; `host` is the name by which the client knows us."""

    method: str
    target: str
    version: str
    host: str
    fields: Fields

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """Parse the head of a request, with the empty line at its end.

        Raises:
            Refused: it makes no sense, or is not meant for this machine.
        """
        try:
            event = _event(h11.Connection(h11.SERVER, max_incomplete_event_size=len(head)), head)
        except ValueError:
            raise Refused(400, "this is not an HTTP/1 request that can be passed on") from None
        if not isinstance(event, h11.Request) or event.target[:1] != b"/" or event.http_version not in _VERSIONS:
            raise Refused(400, "this is not an HTTP/1 request for a path")
        method, target, version = (
            part.decode("latin-1") for part in (event.method, event.target, b"HTTP/" + event.http_version)
        )
        fields = _fields(event)
        hosts = named(fields, "host")
        # h11 drops the second of two equal lengths, so these are counted in the head itself.
        names = [line.partition(b":")[0].decode("latin-1").lower() for line in head.split(b"\r\n")]
        if len(hosts) != 1 or len([name for name in names if name in _LENGTHS]) > 1:
            raise Refused(400, "there must be one Host, and one length at most")
        # A web page whose name its owner lets point to 127.0.0.1 sends that name, and must not get through.
        if not LOCAL_HOST.fullmatch(hosts[0]):
            raise Refused(403, "only requests to localhost or 127.0.0.1 are passed on")
        # Nor may a page from elsewhere do anything there with our token: it can send requests to this machine, too.
        origins = named(fields, "origin")
        upgrade = "upgrade" in _connection(fields)
        if any(not _LOCAL_ORIGIN.fullmatch(item) for item in origins) and (upgrade or method not in _HARMLESS):
            raise Refused(403, "only pages of localhost or 127.0.0.1 may change something here")
        if method == "TRACE":  # its answer repeats the request, with our token
            raise Refused(405, "TRACE is not passed on")
        return cls(method, target, version, hosts[0], fields)

    @property
    def websocket(self) -> bool:
        return "upgrade" in _connection(self.fields) and "websocket" in [
            value.lower() for value in named(self.fields, "upgrade")
        ]

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice does no harm and needs no body, which would have to be kept for that."""
        framing = [value for name in _LENGTHS for value in named(self.fields, name)]
        return self.method in ("GET", "HEAD") and framing in ([], ["0"])

    def for_upstream(self, upstream: Upstream) -> bytes:
        """The head to send on. It is the last of its connection, unless it asks for a WebSocket."""
        there = urlsplit(upstream.url)
        shown = {**({upstream.header: upstream.token} if upstream.header else {}), **upstream.more}
        ours = {"host", "upgrade", *(name.lower() for name in shown)}
        dropped = (_OF_THE_CONNECTION | _connection(self.fields) | ours) - _LENGTHS
        lines = [
            f"{self.method} {there.path}{self.target} {self.version}",
            f"Host: {there.netloc}",
            *(f"{name}: {value}" for name, value in shown.items()),
            *(["Connection: Upgrade", "Upgrade: websocket"] if self.websocket else ["Connection: close"]),
        ]
        here = f"http://{self.host}".lower()
        for name, value in self.fields:
            if name.lower() in dropped:
                continue
            # For the upstream, our own pages come from its own address. Other origins stay what they are, so that the
            # application can refuse them.
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
        """Parse the head of an answer, with the empty line at its end.

        Raises:
            ValueError: it is not the head of an HTTP/1 answer.
        """
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(head))
        # h11 takes an answer only after a request, and 101 only after one that asks for another protocol.
        connection.send(h11.Request(method="GET", target="/", headers=_ANY_REQUEST))
        event = _event(connection, head)
        if not isinstance(event, (h11.Response, h11.InformationalResponse)) or event.http_version not in _VERSIONS:
            raise ValueError("the answer is not HTTP/1")
        first = f"HTTP/{event.http_version.decode()} {event.status_code} {event.reason.decode('latin-1')}"
        return cls(event.status_code, first, _fields(event))

    @property
    def final(self) -> bool:
        """Whether the content follows. Before this head, others may say that the request was received (status 1xx)."""
        return self.status >= 200 or self.status == 101

    def for_client(self, host: str, upstream: Upstream, port: int) -> bytes:
        """The head to send on to a client that knows us as `host`; `port` is the server's own number of the port."""
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
                value = _DOMAIN.sub("", value)  # the browser would drop a cookie of another domain
            lines.append(f"{name}: {value}")
        head = "\r\n".join(lines)
        for secret in spellings([value for value in (upstream.token, *upstream.more.values()) if value]):
            head = head.replace(secret, MASK)
        return _bytes([head])


def plain(status: int, phrase: str, said: str) -> bytes:
    """A complete answer of our own."""
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
    """The address of a redirection for the local client. Only one that leads back to the same server is changed."""
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


def _event(connection: h11.Connection, head: bytes) -> object:
    """What h11 makes of a head that passes our own checks.

    Raises:
        ValueError: it does not pass them, or h11 refuses it.
    """
    if not _LINES.fullmatch(head):
        raise ValueError("this is not a head of HTTP/1")
    connection.receive_data(head)
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as error:
        raise ValueError(str(error)) from error


def _fields(event: h11.Request | h11.Response | h11.InformationalResponse) -> Fields:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items()]


def named(fields: Fields, name: str) -> list[str]:
    """The values of the fields of that name."""
    return [value for key, value in fields if key.lower() == name]


def _connection(fields: Fields) -> set[str]:
    """The names in `Connection`."""
    return {word.strip().lower() for value in named(fields, "connection") for word in value.split(",")}


def _bytes(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
