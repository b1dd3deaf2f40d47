"""The HTTP client and the WebSocket against real servers, and what their failures mean."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.sync.server import ServerConnection, serve

from lecoder_cgpu import errors
from lecoder_cgpu.net import failures, proxies, tls, websocket
from lecoder_cgpu.net.http import Http, exchange, is_loopback
from lecoder_cgpu.net.websocket import WebSocket
from tests.support.wait import wait_until

CONTENT = bytes(range(256)) * 16


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the status in the path; `/busy/N/…` fails N times first, `/file` knows ranges, `/all` does not."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        seen = self.server.seen  # type: ignore[attr-defined]
        seen.append(f"{self.command} {self.path}")
        match self.path.strip("/").split("/"):
            case ["file"]:
                start, end = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
                piece = CONTENT[start : end + 1]
                self._answer(206, piece, {"Content-Range": f"bytes {start}-{end}/{len(CONTENT)}"})
            case ["all"]:
                self._answer(200, CONTENT)
            case ["cut"]:
                self._answer(206, b"short", {"Content-Range": "bytes 0-9/100"}, length=10)
            case ["busy", times]:
                failing = len([path for path in seen if path.endswith(self.path)]) <= int(times)
                self._answer(503 if failing else 200, b"" if failing else b"at last", {"Retry-After": "0"})
            case ["redirect"]:
                self._answer(302, b"", {"Location": "/login"})
            case ["page"]:
                self._answer(200, b"<html>", {"Content-Type": "text/html"})
            case ["cookie"]:
                cookie = self.headers.get("Cookie", "none")
                self._answer(200, cookie.encode(), {"Set-Cookie": "_xsrf=1; Path=/"})
            case [status]:
                self._answer(int(status), b'{"message": "because"}')

    do_POST = do_DELETE = do_GET

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *arguments: object) -> None:
        """Say nothing of clients that went away."""


@pytest.fixture
def served() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and the requests that it has seen."""
    server = Server(("127.0.0.1", 0), Handler)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", server.seen  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def client(served: tuple[str, list[str]]) -> Iterator[Http]:
    made = Http(served[0], {}, pause=0.001)
    with contextlib.closing(made):
        yield made


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        ("401", errors.AuthError, "TokenRefused"),
        ("403", errors.AuthError, "TokenRefused"),
        ("404", errors.NotFoundError, "NotFound"),
        ("418", errors.ConnectionFailed, "UnexpectedAnswer"),
        ("429", errors.ConnectionFailed, "ServerError"),
        ("500", errors.ConnectionFailed, "ServerError"),
        ("redirect", errors.ConnectionFailed, "NotJupyter"),
        ("page", errors.ConnectionFailed, "NotJupyter"),
    ],
)
def test_what_a_refusal_means(client: Http, status: str, kind: type[errors.Error], name: str) -> None:
    """Each status is an error of the right kind, which tells what the server said."""
    with pytest.raises(kind) as raised:
        client.request("GET", status)
    assert raised.value.name == name
    if status.isdigit():
        assert raised.value.http_status == int(status)
        assert "because" in raised.value.message


def test_only_what_may_be_repeated_is(client: Http, served: tuple[str, list[str]]) -> None:
    """GET and DELETE are tried again when the server falters, POST is not, nor what was asked not to be."""
    assert client.request("GET", "busy/2") == b"at last"
    assert client.request("DELETE", "busy/1") == b"at last"
    assert len(served[1]) == 3 + 2
    for method, repeat in (("POST", True), ("GET", False)):
        served[1].clear()
        with pytest.raises(errors.ConnectionFailed):
            client.request(method, "busy/1", repeat=repeat)
        assert len(served[1]) == 1


def test_pieces_of_a_file(client: Http) -> None:
    """A piece arrives as it is asked for, the whole file also from a server without ranges; nothing else passes."""
    assert b"".join(bytes(piece) for piece in client.read("file", 10, 1000)) == CONTENT[10:1000]
    assert b"".join(bytes(piece) for piece in client.read("all", 0, len(CONTENT))) == CONTENT
    for path, start, end in (("all", 1, 10), ("all", 0, 10)):
        with pytest.raises(errors.ConnectionFailed) as raised:
            list(client.read(path, start, end))
        assert raised.value.name == "NoRanges"


def test_a_piece_that_is_cut_is_a_failure(client: Http) -> None:
    """A file that ends before its announced length is not taken for whole."""
    with pytest.raises(errors.ConnectionFailed):
        list(client.read("cut", 0, 10))


def test_nothing_listens() -> None:
    """The address is named, without the query, which may hold a secret."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(errors.ConnectionFailed) as raised:
        exchange("GET", f"http://127.0.0.1:{port}/?token=secret", timeout=5)
    assert raised.value.name == "ConnectionRefused"
    assert f"127.0.0.1:{port}" in raised.value.message
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    ("cause", "name"),
    [
        (socket.gaierror("no such host"), "NameResolution"),
        (TimeoutError("slow"), "ConnectionTimeout"),
        (ssl.SSLCertVerificationError("self-signed"), "CertificateError"),
        (ConnectionResetError("cut"), "ConnectionFailed"),
    ],
)
def test_why_a_connection_failed(cause: OSError, name: str) -> None:
    """The cause is found below what a library wraps around it."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        cause.verify_message = "self-signed"
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = cause
    assert failures.unreachable("https://example.test/x", wrapped).name == name


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("7", 7.0), (" 7 ", 7.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("soon", None), ("-3", None)],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Seconds or a date; what makes no sense says nothing."""
    assert failures.retry_after(header) == seconds


def test_loopback() -> None:
    """This machine's own addresses, by name and number."""
    assert all(map(is_loopback, ("http://localhost:1/", "ws://127.1.2.3/", "http://[::1]:8/")))
    assert not any(map(is_loopback, ("http://localhost.example/", "http://10.0.0.1/", "")))


def test_cookies_are_not_kept(served: tuple[str, list[str]]) -> None:
    """A Jupyter server that sees its cookie again wants its XSRF token, too."""
    client = Http(served[0], {})
    assert [client.request("GET", "cookie") for _ in range(2)] == [b"none", b"none"]
    client.close()


def echo(connection: ServerConnection) -> None:
    for frame in connection:
        if frame == "bye":
            connection.close(4000)
            return
        connection.send([b"x" * (400 << 10)] * 3 if frame == b"in pieces" else frame)


@pytest.fixture
def echoing() -> Iterator[str]:
    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join()


def test_frames_of_both_kinds(echoing: str) -> None:
    """Text stays text, bytes stay bytes, and silence is None."""
    with contextlib.closing(WebSocket.connect(echoing, {})) as opened:
        opened.send("text")
        opened.send(b"bytes")
        assert [opened.receive(5), opened.receive(5), opened.receive(0.01)] == ["text", b"bytes", None]
        assert opened.close_code is None


def test_a_closed_socket_says_so(echoing: str) -> None:
    """The peer's close is our error, with its code at hand."""
    with contextlib.closing(WebSocket.connect(echoing, {})) as opened:
        opened.send("bye")
        with pytest.raises(errors.ConnectionFailed) as raised:
            opened.receive(5)
        assert raised.value.name == "ConnectionClosed"
        assert opened.close_code == 4000


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_message_of_any_size_is_not_taken(monkeypatch: pytest.MonkeyPatch, echoing: str, pieces: int) -> None:
    """Beyond the limit it is an error that names the server; in several frames, too."""
    monkeypatch.setattr(websocket, "LARGEST", 1 << 20)
    with contextlib.closing(WebSocket.connect(echoing, {})) as opened:
        opened.send(b"x" * (1 << 20))
        assert len(opened.receive(5) or "") == 1 << 20
        opened.send(b"in pieces" if pieces > 1 else b"x" * ((1 << 20) + 1))
        with pytest.raises(
            errors.UnexpectedAnswer, match=r"^127\.0\.0\.1:\d+ sent a message of more than 1 MiB"
        ) as raised:
            opened.receive(5)
        assert raised.value.code == 1006


def test_a_socket_is_closed_in_order() -> None:
    """With code 1000, unless the peer reads nothing: then it is cut, and nobody waits."""
    codes: list[int | None] = []

    def serve_one(connection: ServerConnection) -> None:
        if connection.request is not None and connection.request.path == "/deaf":
            stop.wait(30)
            return
        for _ in connection:
            pass
        codes.append(connection.close_code)

    stop = threading.Event()
    with serve(serve_one, "127.0.0.1", 0, max_queue=1, close_timeout=1) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        WebSocket.connect(url, {}).close()
        wait_until(lambda: codes == [1000])
        deaf = WebSocket.connect(url + "deaf", {})
        sending = threading.Thread(target=fill, args=(deaf,))
        sending.start()
        began = time.monotonic()
        deaf.close()
        sending.join(30)
        assert not sending.is_alive()
        assert time.monotonic() - began < 10
        stop.set()
        server.shutdown()
        thread.join()


def fill(socket: WebSocket) -> None:
    """Send until the socket is closed."""
    with contextlib.suppress(errors.ConnectionFailed):
        while True:
            socket.send(b"x" * (1 << 20))


def test_a_handshake_that_is_refused(served: tuple[str, list[str]]) -> None:
    """Its status means what it means for a request."""
    url = served[0].replace("http", "ws")
    for path, kind in (("401", errors.AuthError), ("404", errors.NotFoundError), ("page", errors.ConnectionFailed)):
        with pytest.raises(kind):
            WebSocket.connect(url + path, {})
    with pytest.raises(errors.UsageError):
        WebSocket.connect("ws://", {})


@pytest.mark.parametrize(
    ("proxy", "kind", "said"),
    [
        (None, errors.MissingExtra, "truststore"),
        ("http://127.0.0.1:1", errors.MissingExtra, "truststore"),
        ("socks5://127.0.0.1:1", errors.ConfigError, "is a SOCKS proxy"),
    ],
)
def test_a_missing_package_is_named(
    proxy: str | None, kind: type[errors.Error], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where a SOCKS proxy is used, it is that which lacks something."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    if proxy is not None:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = proxies.missing_package("https://example.org/", ImportError("No module named 'truststore'"))
    assert type(error) is kind
    assert said in error.message


def test_a_password_that_is_not_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and no part of it is shown."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:sec/ret@127.0.0.1:1")
    with pytest.raises(errors.ConfigError, match="user or password") as caught:
        proxies.check("https://example.org/")
    assert "sec" not in caught.value.message + str(caught.value.hint)
    assert proxies.shown("user:sec#ret@127.0.0.1:1") == "127.0.0.1:1"


def test_a_python_that_looks_elsewhere_for_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an OpenSSL built for another system, the file of this one is trusted, never beside what is named."""
    authority = trustme.CA(organization_name="A company")
    authority.cert_pem.write_to_path(str(tmp_path / "bundle.pem"))
    (tmp_path / "README").touch()
    there = ssl.get_default_verify_paths()

    def trusts(named: str | None = None, **paths: str | None) -> bool:
        changed: Any = there._replace(**{"cafile": None, "capath": str(tmp_path), **paths})  # type: ignore[arg-type]
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: changed)
        return "A company" in str(tls._system_context((named, None)).get_ca_certs())

    monkeypatch.setattr(tls, "BUNDLES", (str(tmp_path / "nowhere.pem"), str(tmp_path / "bundle.pem")))
    assert [trusts(), trusts(capath=None), trusts(capath=str(tmp_path / "nowhere"))] == [True] * 3
    assert [trusts("/there.pem"), trusts(cafile="/there.pem")] == [False] * 2
    (tmp_path / "0a1b2c3d.0").touch()
    assert not trusts()
