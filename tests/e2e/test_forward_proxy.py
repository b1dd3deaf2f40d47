"""`forward --via proxy`: HTTP and WebSocket through Colab's own proxy, with a token for each port."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Origin

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli
from tests.support.forwarding import forwarded
from tests.support.servers import free_port
from tests.support.wait import wait_until

LARGE = hashlib.shake_128(b"large").digest(20_000_000)


class App(http.server.BaseHTTPRequestHandler):
    """An application: large files, echoes, redirections to itself, and a 404 of its own."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        match self.path:
            case "/large":
                self._send(200, LARGE)
            case "/headers":
                self._send(200, json.dumps(dict(self.headers)).encode())
            case "/away":
                self._send(302, b"", Location=f"http://{self.headers['Host']}/there")
            case "/endless":  # no length: only the end of the connection ends it
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(LARGE)
            case _:
                self._send(404, b"mine")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, hashlib.sha256(body).digest())

    def _send(self, status: int, body: bytes, **fields: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def web() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), App) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def handle(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture
def echo() -> Iterator[int]:
    """A WebSocket server that sends everything back, and refuses pages from elsewhere."""

    with serve(handle, "127.0.0.1", 0, max_size=None, origins=[None]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]


@pytest.fixture
def train(colab_cli: Cli, hollow: FakeColab) -> Cli:
    """A command line with a runtime, `train`, of an account that pays."""
    hollow.account.balance = 50.0
    assert colab_cli("sessions", "create", "train", "--cpu").code == 0
    return colab_cli


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None, **fields: str) -> Any:
    """One request to a port of this machine: status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def asked(colab: FakeColab) -> int:
    """How often a token for a port was asked for."""
    return colab.count("GET /tun/m/runtime-proxy-token")


def test_http_and_websocket(train: Cli, colab: FakeColab, web: int, echo: int) -> None:
    """Two ports at once, many requests at once, large bodies in both directions; the token shows nowhere."""
    with forwarded(train, "train", f"{web}:0", f"{echo}:0", "--via", "proxy") as running:
        first, second = running.ports
        with ThreadPoolExecutor(8) as pool:
            assert {body for _, _, body in pool.map(lambda _: ask(first, "/large"), range(8))} == {LARGE}
        assert ask(first, "/endless")[2] == LARGE
        assert ask(first, "/x", "POST", LARGE)[2] == hashlib.sha256(LARGE).digest()
        seen = json.loads(ask(first, "/headers", Cookie="a=b", Origin=f"http://127.0.0.1:{first}")[2])
        assert (seen["Cookie"], seen["Origin"]) == ("a=b", f"http://{seen['Host']}")  # one site, as the server sees it
        assert ask(first, "/away", Host=f"localhost:{first}")[1]["Location"] == f"http://localhost:{first}/there"
        with connect(f"ws://127.0.0.1:{second}", max_size=None, proxy=None) as socket_:
            for message in ("text übung", b"\x00\xff" * 400_000, "", "last"):
                socket_.send(message)
                assert socket_.recv(timeout=60) == message
        with pytest.raises(InvalidStatus, match="403"):  # its own refusal: a foreign page stays one
            connect(f"ws://127.0.0.1:{second}", origin=Origin("https://evil.example"), proxy=None).__enter__()
        with pytest.raises(ConnectionRefusedError):  # as a listener on all addresses would not
            socket.create_connection(("127.0.0.2", first), timeout=30)
        assert asked(colab) == 2  # one for each port; the foreign page was refused here
        tokens = list(colab.vm.tokens)
    validate(running.document, "forward")
    assert (running.status, running.document["via"], running.document["connections"]) == (0, "proxy", 14)
    logged = "".join(path.read_text() for path in (train.home / "config").rglob("*.log*"))
    record = (train.state / "sessions.json").read_text()
    for token in tokens:
        assert token not in running.err + json.dumps(running.document) + logged
    assert sum(token in record for token in tokens) == 1  # the Jupyter server's, as before


def test_the_path_of_a_port(train: Cli, colab: FakeColab, web: int, echo: int) -> None:
    """`--via path` needs no token but the runtime's own, and its renewal; where there are no paths, that is said."""
    colab.switches.port_paths, colab.switches.other_ports = True, False
    with forwarded(train, "train", f"{web}:0", f"{echo}:0", "--via", "path") as running:
        first, second = running.ports
        assert ask(first, "/x", "POST", LARGE)[2] == hashlib.sha256(LARGE).digest()
        assert ask(first, "/away", Host=f"localhost:{first}")[1]["Location"] == f"http://localhost:{first}/there"
        with connect(f"ws://127.0.0.1:{second}", proxy=None) as socket_:
            socket_.send("text")
            assert socket_.recv(timeout=60) == "text"
        colab.expire_proxy_tokens()
        assert ask(first, "/large")[2] == LARGE
        colab.switches.port_paths = False
        assert ask(first, "/large")[0] == 404
    validate(running.document, "forward")
    assert running.document["via"] == "path"
    assert "this runtime has no paths for ports; lecoder-cgpu forward train" in running.err


def test_an_answer_of_the_application_stays_its_own(train: Cli, colab: FakeColab, web: int) -> None:
    """A 404 may be a stale token: one is asked for, and not again for a while; the answer is passed on as it is."""
    with forwarded(train, "train", f"{web}:0", "--via", "proxy") as running:
        for _ in range(5):
            assert ask(running.ports[0], "/nothing")[::2] == (404, b"mine")
        assert asked(colab) == 2


@pytest.mark.parametrize("status", [404, 401, 403])
def test_a_token_expires(train: Cli, colab: FakeColab, web: int, status: int) -> None:
    """A request without a body is repeated with a fresh one; any other is refused once, and the next gets through."""
    colab.switches.stale_status = status
    with forwarded(train, "train", f"{web}:0", "--via", "proxy") as running:
        colab.switches.idle_limit = 1e9
        colab.advance(3700)
        assert ask(running.ports[0], "/large")[2] == LARGE
    with forwarded(train, "train", f"{web}:0", "--via", "proxy") as running:
        colab.expire_proxy_tokens()
        assert ask(running.ports[0], "/x", "POST", b"body")[0] == status
        assert ask(running.ports[0], "/x", "POST", b"body")[2] == hashlib.sha256(b"body").digest()


def test_a_token_is_renewed_before_it_ends(train: Cli, colab: FakeColab, web: int) -> None:
    """What Colab says of its life is enough; nobody has to be refused first."""
    colab.switches.proxy_ttl_said = 200
    with forwarded(train, "train", f"{web}:0", "--via", "proxy") as running:
        colab.switches.proxy_ttl_said = None
        colab.expire_proxy_tokens()
        for _ in range(3):
            assert ask(running.ports[0], "/x", "POST", b"body")[0] == 200
        assert asked(colab) == 2


def test_the_proxy_moves(train: Cli, colab: FakeColab, web: int) -> None:
    """Where nothing listens any more, the address is asked for again."""
    with forwarded(train, "train", f"{web}:0", "--via", "proxy") as running:
        colab.move()
        assert ask(running.ports[0], "/x", "POST", b"body")[0] == 200


def test_the_proxy_speaks_tls(train: Cli, colab: FakeColab, tmp_path: Path) -> None:
    """As Google's does. Its certificate is checked; bodies and WebSockets pass, and the end of one is passed on."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    ended = threading.Event()

    def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            handle(connection)
        ended.set()

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), App) as web,
        serve(talk, "127.0.0.1", 0, max_size=None, ssl=context) as echo,
    ):
        web.socket = context.wrap_socket(web.socket, server_side=True)
        for server in (web, echo):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = (web.server_address[1], echo.socket.getsockname()[1])
        for port in ports * 2:
            where = {"endpoint": colab.vm.endpoint, "port": str(port)}
            colab.fail("GET /tun/m/runtime-proxy-token", query=where, patch={"url": f"https://localhost:{port}/"})
        words = ("train", *(f"{port}:0" for port in ports), "--via", "proxy")
        trusting = Cli(train.home, {"SSL_CERT_FILE": str(tmp_path / "ca.pem")})
        with forwarded(trusting, *words) as running:
            assert ask(running.ports[0], "/large")[2] == LARGE
            assert ask(running.ports[0], "/x", "POST", LARGE)[2] == hashlib.sha256(LARGE).digest()
            assert "X-Colab-Runtime-Proxy-Token" in json.loads(ask(running.ports[0], "/headers")[2])
            with connect(f"ws://127.0.0.1:{running.ports[1]}", max_size=None, proxy=None) as socket_:
                socket_.send(LARGE)
                assert socket_.recv(timeout=60) == LARGE
                socket_.socket.shutdown(socket.SHUT_RDWR)  # no farewell
            assert ended.wait(30)
        with forwarded(train, *words) as running:
            status, _, said = ask(running.ports[0], "/")
            assert (status, b"certificate is not trusted" in said) == (502, True)
        for server in (web, echo):
            server.shutdown()


def test_nothing_listens_there(train: Cli) -> None:
    """The proxy's answer is passed on."""
    with forwarded(train, "train", f"{free_port()}:0", "--via", "proxy") as running:
        assert ask(running.ports[0], "/")[0] == 502


def test_who_may_ask(train: Cli, colab: FakeColab, web: int) -> None:
    """Neither a page under a name that leads here, nor what is no request, gets through."""
    with forwarded(train, "train", f"{web}:0", "--via", "proxy") as running:
        port = running.ports[0]
        colab.requests.clear()
        assert ask(port, "/large", Host=f"evil.example:{port}")[0] == 403
        assert ask(port, "/large", "TRACE")[0] == 405
        assert ask(port, "/", Filler="x" * 300_000)[0] == 431
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
        assert not colab.count("* *", "proxy")


def test_google_refuses_the_port(train: Cli, colab: FakeColab) -> None:
    """The command ends at once, and names the one that works."""
    colab.switches.other_ports = False
    document = failed(train("forward", "train", "8000:0", "--via", "proxy", "--json"))
    assert (document["errorCode"], document["error"]["name"]) == (2005, "NoPortProxy")
    assert document["error"]["suggestion"] == "lecoder-cgpu forward train 8000:0"


def test_google_ignores_the_port(train: Cli, colab: FakeColab) -> None:
    """The Jupyter server's address is not taken for another port's: nobody meant to open that."""
    url = colab.vm.url
    colab.fail("GET /tun/m/runtime-proxy-token", patch={"url": url})
    assert failed(train("forward", "train", "8000:0", "--via", "proxy", "--json"))["error"]["name"] == "NoPortProxy"


def test_runtimes_of_the_public_api(colab_cli: Cli, hollow: FakeColab, web: int) -> None:
    """That API has no tokens for ports; the tunnel is asked, where the runtime's name there is known."""
    hollow.account.balance = 50.0
    colab_cli.variables["LECODER_CGPU_COLAB_API"] = "public"
    assert colab_cli("sessions", "create", "train", "--cpu").code == 0
    with forwarded(colab_cli, "train", f"{web}:0", "--via", "proxy") as running:
        assert ask(running.ports[0], "/large")[2] == LARGE


def test_free_accounts_are_told(train: Cli, colab: FakeColab) -> None:
    """The command that is named keeps the way that was chosen."""
    colab.account.balance = 0.0
    document = failed(train("forward", "train", "8000", "--via", "proxy", "--json"))
    assert document["error"]["suggestion"] == "lecoder-cgpu forward train 8000 --via proxy --i-understand-free-tier"


def test_backends_without_a_proxy(cli: Cli) -> None:
    """It is a mistake to ask for one."""
    cli("--backend", "local", "sessions", "add", "here")
    document = failed(cli("forward", "here", "8000", "--via", "proxy", "--json"))
    cli("sessions", "close", "--all")
    assert (document["errorCode"], document["exitCode"], document["error"]["name"]) == (2006, 2, "NoPortProxy")
    assert document["error"]["suggestion"] == "lecoder-cgpu forward here 8000"


@pytest.mark.parametrize("lost", ["404", "refused"])
def test_the_runtime_is_lost(train: Cli, colab: FakeColab, web: int, lost: Any) -> None:
    """Requests show it, and once a listing has confirmed it the command ends like the tunnel."""
    colab.switches.lost = lost
    process = train.start("forward", "train", f"{web}:0", "--via", "proxy", "--events")
    assert process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["ports"][0]["local"]
        colab.kill()

        def asked() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):  # nobody listens any more
                assert ask(port, "/large")[0] in (404, 502)
            return process.poll() is not None

        wait_until(asked, 20)
        out, _ = process.communicate(timeout=60)
        document = json.loads(out)
        assert (document["errorCode"], document["error"]["name"], process.returncode) == (2004, "RuntimeLost", 74)
    finally:
        process.kill()
        process.communicate()


def test_the_session_is_closed(train: Cli, web: int) -> None:
    """Another command gives the runtime back: the ports go with it, whether or not anybody uses them."""
    process = train.start("forward", "train", f"{web}:0", "--via", "proxy", "--events")
    assert process.stdout is not None
    try:
        assert b"listening" in process.stdout.readline()
        assert train("sessions", "close", "train").code == 0
        out, _ = process.communicate(timeout=60)
        assert (json.loads(out)["errorCode"], process.returncode) == (2004, 74)
    finally:
        process.kill()
        process.communicate()
