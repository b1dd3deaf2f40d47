"""What a reverse proxy changes in the heads of HTTP messages, and which requests it does not pass on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.backends.protocol import Upstream
from lecoder_cgpu.ports.proxy_heads import Answer, Refused, Request

THERE = Upstream("https://8000-vm.example/base", "X-Token", "s3cret/token", 0.0)


def request(*fields: str, line: str = "GET /x?y=1 HTTP/1.1", host: str | None = "127.0.0.1:9000") -> Request:
    lines = [line, *([f"Host: {host}"] if host is not None else []), *fields]
    return Request.parse(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def sent(*fields: str, **options: str) -> list[str]:
    """The lines that go on."""
    return request(*fields, **options).for_upstream(THERE).decode("latin-1").split("\r\n")[:-2]


def answered(*fields: str, status: str = "200 OK", host: str = "localhost:9000") -> list[str]:
    head = "\r\n".join([f"HTTP/1.1 {status}", *fields]) + "\r\n\r\n"
    return Answer.parse(head.encode()).for_client(host, THERE, 8000).decode("latin-1").split("\r\n")[:-2]


def test_a_request_goes_on_with_the_token() -> None:
    """The path behind the proxy's, its host, the token that is ours alone; what was about the connection stays here."""
    found = sent(
        "X-TOKEN: theirs", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "Cookie: a=b", "Upgrade: h2c"
    )
    assert found == [
        "GET /base/x?y=1 HTTP/1.1",
        "Host: 8000-vm.example",
        "X-Token: s3cret/token",
        "Connection: close",
        "Cookie: a=b",
    ]
    socket = sent("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")
    assert socket[3:] == ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k"]
    assert "Content-Length: 3" in sent("Content-Length: 3, 3", line="POST /x HTTP/1.1")  # can only mean one thing then
    assert "Content-Length: 3" in sent("Connection: content-length", "Content-Length: 3", line="POST /x HTTP/1.0")


def test_only_our_own_pages_come_from_there() -> None:
    """Origin and Referer of our own pages name the upstream; those of others stay, for whoever must refuse them."""
    assert "Origin: https://8000-vm.example" in sent("Origin: http://127.0.0.1:9000")
    assert "Referer: https://8000-vm.example/base/p?q" in sent("Referer: http://127.0.0.1:9000/p?q")
    for field in (
        "Origin: https://evil.example",
        "Origin: null",
        "Referer: http://127.0.0.1:90001/",
        "Origin: http://x",
    ):
        assert field in sent(field)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
def test_pages_from_elsewhere_change_nothing(origin: str) -> None:
    """A page of somebody else can send requests to this machine; what may change something is refused."""
    with pytest.raises(Refused, match="only pages of localhost"):
        sent(f"Origin: {origin}", "Content-Length: 0", line="POST /x HTTP/1.1")
    with pytest.raises(Refused, match="only pages of localhost"):
        sent(f"Origin: {origin}", "Connection: Upgrade", "Upgrade: websocket")
    assert f"Origin: {origin}" in sent(f"Origin: {origin}", line="HEAD /x HTTP/1.1")
    assert sent("Origin: http://localhost:3000", "Content-Length: 0", line="POST /x HTTP/1.1")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:80", "[::1]:8000"])
def test_names_of_this_machine(host: str) -> None:
    """By these names, and no other, we are asked."""
    assert request(host=host).host == host


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "127.evil", "x@127.0.0.1", "10.0.0.1"],
)
def test_other_names_are_refused(host: str) -> None:
    """A name that somebody's DNS could point here does not get through."""
    with pytest.raises(Refused) as refused:
        request(host=host)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\nX-Token: c\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\rX-Token: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: \x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
    ],
)
def test_garbage_is_refused(head: bytes) -> None:
    """What could be understood in two ways is not passed on."""
    with pytest.raises(Refused) as refused:
        Request.parse(head)
    assert refused.value.status == 400


WORDS = (
    b"GET POST / /x HTTP/1.1 HTTP/1.0 : Host localhost Content-Length Transfer-Encoding chunked 0 7 X-Token a , Upgrade"
)
BLANKS = [b" ", b"\t", b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b"Host: localhost\r\n", b"Content-Length: 7\r\n"]
PIECES = st.sampled_from([*WORDS.split(), *BLANKS])


@given(st.lists(PIECES, max_size=12))
def test_what_goes_on_is_one_request(pieces: list[bytes]) -> None:
    """Whatever a client sends: it is refused, or the upstream sees one request with one host, token and length."""
    try:
        parsed = Request.parse(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(pieces) + b"\r\n\r\n")
    except Refused:
        return
    head = parsed.for_upstream(THERE)
    assert head.count(b"\r\n\r\n") == 1
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or line[:1] in b" \t" for line in lines)
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    assert [names.count(name) for name in (b"host", b"x-token", b"connection")] == [1, 1, 1]
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1


def test_what_may_be_repeated() -> None:
    """Requests without an effect and without a body."""
    assert request().repeatable
    assert request("Content-Length: 0", line="HEAD / HTTP/1.1").repeatable
    assert not request(line="POST / HTTP/1.1").repeatable
    assert not request("Content-Length: 1").repeatable
    assert not request("Transfer-Encoding: chunked").repeatable


def test_redirections_lead_back_here() -> None:
    """Where the upstream's address or the server's own is meant, the client is sent to ours; elsewhere otherwise."""
    for location, expected in {
        "https://8000-vm.example/base/next?a#b": "http://localhost:9000/next?a#b",
        "http://8000-vm.example/base": "http://localhost:9000/",
        "https://8000-vm.example:443/baseball": "http://localhost:9000/baseball",
        "https://8000-vm.example//evil.example": "http://localhost:9000//evil.example",
        "http://127.0.0.1:8000/next": "http://localhost:9000/next",
        "http://127.0.0.1:8001/next": "http://127.0.0.1:8001/next",
        "https://elsewhere.example/base/next": "https://elsewhere.example/base/next",
        "/relative": "/relative",
        "http://[bad": "http://[bad",
    }.items():
        assert answered(f"Location: {location}", status="302 Found")[2:] == [f"Location: {expected}"]


def test_the_upstream_does_not_show() -> None:
    """The connection ends with the answer, cookies are for this address, and the token is in nothing."""
    found = answered(
        "Connection: keep-alive",
        "Keep-Alive: timeout=5",
        "Alt-Svc: h3",
        "Transfer-Encoding: chunked",
        "Set-Cookie: a=b; Domain=8000-vm.example; Path=/",
        "X-Echo: s3cret/token s3cret%2Ftoken",
    )
    assert found == [
        "HTTP/1.1 200 OK",
        "Connection: close",
        "Transfer-Encoding: chunked",
        "Set-Cookie: a=b; Path=/",
        "X-Echo: *** ***",
    ]
    fields = ["Upgrade: websocket", "Connection: Upgrade"]
    assert answered(*fields, status="101 Switching Protocols")[1:] == fields
    assert answered(status="100 Continue") == ["HTTP/1.1 100 Continue"]


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_is_no_answer(head: bytes) -> None:
    """It is not passed on as one."""
    with pytest.raises(ValueError):
        Answer.parse(head)


def test_answers_of_old_and_terse_servers() -> None:
    """Version 1.0, and a status without words."""
    assert Answer.parse(b"HTTP/1.0 404 Not Found\r\n\r\n").first == "HTTP/1.0 404 Not Found"
    assert (Answer.parse(b"HTTP/1.1 200\r\n\r\n").status, Answer.parse(b"HTTP/1.1 101 \r\n\r\n").final) == (200, True)


def test_secrets_are_not_shown() -> None:
    """A traceback may print an upstream."""
    assert "s3cret" not in repr(THERE)
