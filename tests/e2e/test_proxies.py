"""Proxies of the environment, real ones: SOCKS for HTTP and WebSockets, one that refuses, one that demands a login."""

from __future__ import annotations

import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.net import proxies
from lecoder_cgpu.net.http import Http, exchange
from lecoder_cgpu.net.websocket import WebSocket
from tests.support.cli import Cli
from tests.support.servers import start_server

VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
Serve = Callable[[socket.socket], None]


# The libraries leave the socket of a connection that fails at a proxy to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    gc.collect()  # here, and not in the next test


@pytest.fixture
def listening() -> Iterator[Callable[[Serve], int]]:
    """Starts servers for one connection after the other."""
    servers: list[socket.socket] = []

    def start(serve: Serve) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def socks(port: int, asked: list[bytes]) -> Serve:
    """A SOCKS5 proxy that connects to a port of this machine, whatever host it is asked for."""

    def serve(client: socket.socket) -> None:
        client.recv(262)
        client.sendall(b"\5\0")
        request = client.recv(262)
        asked.append(request[5 : 5 + request[4]])
        client.sendall(b"\5\0\0\1\0\0\0\0\0\0")
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join(10)

    return serve


def answering(answer: bytes) -> Serve:
    def serve(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(answer)
        client.close()

    return serve


def socks_login(client: socket.socket) -> None:
    """A SOCKS5 proxy that wants a user and a password, and knows nobody."""
    named = b"\2" in client.recv(262)[2:]
    client.sendall(b"\5\2" if named else b"\5\xff")
    if named:
        client.recv(262)
        client.sendall(b"\1\1")
    client.close()


def test_socks(listening: Callable[[Serve], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP and WebSockets go through it; the host's name is resolved there."""
    asked: list[bytes] = []
    there = "lab.example.invalid"
    with start_server(tmp_path, "--ServerApp.allow_remote_access=True") as jupyter:
        port = listening(socks(int(jupyter.url.rpartition(":")[2].strip("/")), asked))
        headers = {"Authorization": f"token {jupyter.token}"}
        for scheme in ("socks5h", "socks"):
            monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{port}")
            assert b"kernels" in Http(f"http://{there}/", headers).request("GET", "api/status")
            connection = WebSocket.connect(f"ws://{there}/api/events/subscribe", headers)
            connection.close()
    assert asked == [there.encode()] * 4


def test_what_a_proxy_does(listening: Callable[[Serve], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure is its own, with its variable and without its password; and one that no client can use is refused."""
    closed = socket.create_server(("127.0.0.1", 0))
    nobody = closed.getsockname()[1]
    closed.close()
    login = listening(answering(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"))
    refusing = listening(answering(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"))
    odd = listening(answering(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"))
    leaving = listening(answering(b""))
    cases: list[tuple[str, str, type[errors.Error]]] = [
        (f"http://ada:s3cret@127.0.0.1:{nobody}", "ProxyRefused", errors.ConnectionFailed),
        (f"socks5://127.0.0.1:{nobody}", "ProxyRefused", errors.ConnectionFailed),
        ("http://proxy.invalid:3128", "ProxyUnknown", errors.ConnectionFailed),
        (f"http://127.0.0.1:{login}", "ProxyLogin", errors.ConnectionFailed),
        (f"socks5://127.0.0.1:{listening(socks_login)}", "ProxyLogin", errors.ConnectionFailed),
        (f"socks5://ada:s3cret@127.0.0.1:{listening(socks_login)}", "ProxyLogin", errors.ConnectionFailed),
        (f"http://127.0.0.1:{refusing}", "ProxyRefused", errors.ConnectionFailed),
        (f"http://127.0.0.1:{odd}", "ProxyRefused", errors.ConnectionFailed),
        (f"https://127.0.0.1:{odd}", "ProxyRefused", errors.ConnectionFailed),
        (f"socks5://127.0.0.1:{odd}", "ProxyRefused", errors.ConnectionFailed),
        (f"http://127.0.0.1:{leaving}", "ProxyRefused", errors.ConnectionFailed),
        (f"socks5://127.0.0.1:{leaving}", "ProxyRefused", errors.ConnectionFailed),
        ("http://wpad.example.org/proxy.pac", "ProxyIsPac", errors.ConfigError),
        ("gopher://127.0.0.1:70", "BadProxy", errors.ConfigError),
        ("http://127.0.0.1:99999", "BadProxy", errors.ConfigError),
    ]
    for proxy, name, kind in cases:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        calls: list[Callable[[], object]] = [
            lambda: exchange("GET", "https://colab.example.org/x", timeout=20),
            lambda: Http("https://colab.example.org/", {}).request("GET", "x", repeat=False),
            lambda: WebSocket._once("wss://colab.example.org/x", {}, (), 20, None),
        ]
        for call in calls:
            with pytest.raises(kind) as caught:
                call()
            assert (caught.value.name, "HTTPS_PROXY" in caught.value.message) == (name, True), (proxy, caught.value)
            assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"
        if name == "ProxyLogin" and proxy.startswith("socks"):
            asked = "refused the user and the password" if "@" in proxy else "demands a user and a password"
            assert asked in caught.value.message
            assert "HTTPS_PROXY=socks5://USER:PASSWORD@HOST:PORT" in (caught.value.hint or "")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{login}")
    with pytest.raises(errors.ConnectionFailed, match="demands a user"):  # without TLS, it answers for the server
        exchange("GET", "http://colab.example.org/x", timeout=20)
    said = [(login, "demands a user"), (refusing, "refuses to connect to colab.example.org"), (odd, "SSH-2.0")]
    for user in ("", "ada:s3cret@"):
        for port, what in said:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{user}127.0.0.1:{port}")
            for call in calls:
                with pytest.raises(errors.ConnectionFailed) as caught:
                    call()
                wanted = "refused the user and the password" if user and port == login else what
                assert wanted in caught.value.message or (port == odd and "bytearray" not in caught.value.message)
    monkeypatch.setenv("NO_PROXY", "colab.example.org")
    assert proxies.used_for("https://colab.example.org/x") is None
    assert proxies.used_for("https://127.0.0.1/x") is None


def test_answers_without_tls(listening: Callable[[Serve], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy answers in the server's name there: it is named where the answer shows it, or leaves it open."""
    page, said = b"<html>no</html>", b'{"message": "Forbidden"}'
    cases: list[tuple[bytes, bytes, str | None]] = [
        (b"403 No\r\nServer: squid/6.1\r\nX-Squid-Error: ERR_ACCESS_DENIED 0", page, "ProxyRefused"),
        (b"403 Filtered\r\nServer: tinyproxy/1.11.1", page, "ProxyRefused"),
        (b"403 No\r\nProxy-Agent: gate", b"", "ProxyRefused"),
        (b"503 No\r\nProxy-Status: gate; error=connection_refused", said, "ProxyRefused"),
        (b"407 Who\r\nProxy-Authenticate: Basic", b"", "ProxyLogin"),
        (b"403 No\r\nVia: 1.1 gate\r\nContent-Type: text/html", page, "ProxyOrServer"),
        (b"403 No", b"", "ProxyOrServer"),
        (b"403 No\r\nVia: 1.1 gate\r\nContent-Type: application/json", said, None),
        (b"404 No", page, None),
    ]
    address = "http://lab.example.org/"
    for head, body, name in cases:
        answer = b"HTTP/1.1 " + head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{listening(answering(answer))}")
        calls: list[Callable[[], object]] = [
            lambda: exchange("GET", address, timeout=20),
            lambda: Http(address, {}).request("GET", "api", repeat=False),
        ]
        for call in calls:
            if name is None and call is calls[0]:
                assert call().status in (403, 404)  # type: ignore[attr-defined]
                continue
            with pytest.raises(errors.Error) as caught:
                call()
            assert (caught.value.name == name, "HTTP_PROXY" in caught.value.message) == (name is not None,) * 2, head
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{listening(answering(b''))}")
    with pytest.raises(errors.ConnectionFailed, match="the proxy http"):
        exchange("GET", "http://lab.example.org/", timeout=20)
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{listening(socks(listening(answering(b'')), []))}")
    with pytest.raises(errors.ConnectionFailed, match="the server or the proxy closed the connection without"):
        exchange("GET", "http://lab.example.org/", timeout=20)


def test_a_failure_behind_a_proxy(listening: Callable[[Serve], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails behind the tunnel is not called the proxy's; it is named as the way."""
    tunnel = listening(answering(b"HTTP/1.1 200 Connection established\r\n\r\n"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel}")
    with pytest.raises(errors.ConnectionFailed, match=r"colab\.example\.org, through the proxy http") as caught:
        exchange("GET", "https://colab.example.org/x", timeout=20)
    assert caught.value.name == "ConnectionFailed"


def test_commands_behind_a_proxy_that_wants_a_login(
    listening: Callable[[Serve], int], colab_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they are about is not known, and that is an error; the doctor does not praise a login that nobody saw."""
    assert colab_cli("usage").code == 0
    config = colab_cli.home / "config" / "config.json"
    known = json.loads(config.read_text())
    config.write_text(json.dumps(known | {"colabApiDomain": "https://colab.example.org"}))
    port = listening(answering(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"))
    env = {"HTTPS_PROXY": f"http://127.0.0.1:{port}"}
    for words in (["usage"], ["gpus"], ["sessions", "close", "--all"]):
        answer = colab_cli(*words, "--json", env=env)
        assert (answer.code, answer.json["error"]["name"]) == (74, "ProxyLogin"), answer
    listed = colab_cli("sessions", "list", "--json", env=env)
    assert (listed.code, listed.json) == (74, [])
    assert "so the account may hold others" in listed.err
    assert "is not known" in colab_cli("status", env=env).out
    config.write_text(json.dumps(known | {"oauthDomain": "https://oauth.example.org"}))
    found = colab_cli("doctor", "--json", env=env).json["findings"]
    assert [item["level"] for item in found if item["check"] == "login"] == ["ok", "problem"], found
    found = colab_cli("doctor", "--json", env={"HTTPS_PROXY": "http://wpad/proxy.pac"}).json["findings"]
    problems = [item["message"] for item in found if item["level"] == "problem"]
    assert [("PAC" in item, "nothing answers" in item) for item in problems] == [(True, False)] * 2, problems


def test_socks_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install; it is no bug."""
    import sys

    for name in ("socksio", "python_socks", "python_socks.sync"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(errors.ConfigError, match="not installed") as caught:
        exchange("GET", "https://colab.example.org/x", timeout=5)
    assert "pip install" in (caught.value.hint or "")
