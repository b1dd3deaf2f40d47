"""How a server is opened: a password instead of a token, an authority of its own, a proxy that passes too little on."""

from __future__ import annotations

import contextlib
import hashlib
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from lecoder_cgpu.files.contents_service import ContentsService
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from tests.support.cli import Cli
from tests.support.servers import JupyterServer, start_server

MOST = 1_000_000  # bytes of a body that the proxy passes on
PASSWORD = "open sesame & so on"


def hashed(password: str) -> str:
    """A password as servers store it."""
    return f"sha1:00:{hashlib.sha1(password.encode() + b'00').hexdigest()}"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A server that wants a password and knows no token, with a certificate of an authority that nobody knows."""
    folder = tmp_path_factory.mktemp("locked")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(folder / "chain.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    authority.cert_pem.write_to_path(str(folder / "root.pem"))
    options = (
        f"--PasswordIdentityProvider.hashed_password={hashed(PASSWORD)}",
        "--IdentityProvider.token=",
        f"--ServerApp.certfile={folder / 'chain.pem'}",
        f"--ServerApp.keyfile={folder / 'key.pem'}",
    )
    with start_server(folder, *options, base_url="/user/ada/", tls=True) as server:
        yield server


def test_a_password(locked: JupyterServer, tmp_path: Path) -> None:
    """Logged in once, with a prefix and an own authority: everything works; the password is kept nowhere."""
    cli = Cli(tmp_path / "home")
    ca = locked.root.parent / "root.pem"
    line = ("sessions", "add", "lab", "--url", locked.url, "--ca", str(ca), "--json")
    nothing = cli(*line)
    assert (nothing.code, nothing.json["errorCode"]) == (77, 2001)
    assert "wants a token or a password" in nothing.json["error"]["message"]
    assert "--password-stdin" in nothing.json["error"]["suggestion"]
    wrong = cli(*line, "--password-stdin", stdin=b"wrong\n")
    assert (wrong.code, wrong.json["error"]["name"]) == (77, "PasswordRefused")
    unknown = cli("sessions", "add", "lab", "--url", locked.url, "--password-stdin", "--json", stdin=PASSWORD.encode())
    assert unknown.json["error"]["name"] == "CertificateError"
    assert "--ca FILE" in unknown.json["error"]["suggestion"]
    added = cli(*line, "--password-stdin", stdin=PASSWORD.encode() + b"\n")
    assert added.code == 0, added
    assert cli("run", "-m", "kernel", "print(6*7)").out == "42\n"
    assert cli("run", "echo hi").out == "hi\n"
    (tmp_path / "data").write_bytes(b"x" * 3_000_000)
    assert cli("upload", str(tmp_path / "data"), "there").code == 0
    assert cli("download", "there", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back").stat().st_size == 3_000_000
    for path in (cli.home / "config").rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cli("sessions", "close", "--json").json["closed"][0]["released"] == "kernels"


def test_bad_input(cli: Cli, tmp_path: Path) -> None:
    """Each contradiction is a clear error before anybody is asked."""
    url = ("sessions", "add", "x", "--url", "http://127.0.0.1:9/", "--json")
    (tmp_path / "no.pem").write_text("nothing")
    for more, words in (
        (("--gateway", "http://127.0.0.1:9/"), "exclude each other"),
        (("--token-stdin", "--password-stdin"), "exclude each other"),
        (("--password-stdin",), "no password on stdin"),
        (("-e", "A=1"), "--env is for --gateway"),
        (("--kernel-id", "k"), "--kernel-id is for --gateway"),
        (("--server", "gpu"), "--server is for --hub"),
        (("--ca", str(tmp_path / "nowhere.pem")), "no such file"),
        (("--root", "."), "has no --url"),
    ):
        refused = cli(*url, *more, stdin=b"")
        assert (refused.code, words in refused.json["error"]["message"]) == (2, True), refused
    empty = cli(*url, "--ca", str(tmp_path / "no.pem"))
    assert (empty.code, "no certificate authority" in empty.json["error"]["message"]) == (78, True), empty
    assert cli("sessions", "list", "--json").json == []


def test_what_was_never_started_is_no_session(cli: Cli) -> None:
    """A server that cannot be reached, or a runtime that cannot be started, leaves no session."""
    dead = {"LECODER_CGPU_BACKEND": "jupyter", "LECODER_CGPU_JUPYTER_URL": "http://127.0.0.1:9/"}
    proxied = dead | {"LECODER_CGPU_JUPYTER_URL": "http://lab.example.org/", "HTTP_PROXY": "http://127.0.0.1:9"}
    for env in (dead, proxied):
        for words in (["true"], ["-m", "kernel", "1"], ["--detach", "true"]):
            assert cli("run", *words, env=env).code == 74
    assert cli("upload", __file__, env=dead).code == 74
    refused = cli("--backend", "local", "run", "true", env={"LECODER_CGPU_LOCAL_ROOT": str(cli.home / "nowhere")})
    assert refused.code == 2
    assert cli("sessions", "list", "--json").json == []


@contextlib.contextmanager
def without_upgrade(target: str) -> Iterator[str]:
    """A reverse proxy as people set them up: it forgets the headers of a WebSocket handshake, and limits bodies."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if length > MOST:
                self.send_response(413)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            left_out = ("connection", "upgrade", "host", "accept-encoding")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            request = urllib.request.Request(target.rstrip("/") + self.path, body or None, headers, method=self.command)
            try:
                answer = urllib.request.urlopen(request, timeout=30)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                body = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_PATCH = do_DELETE = do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_proxy_without_websockets(cli: Cli, jupyter: JupyterServer) -> None:
    """`sessions add` tries a WebSocket and names the proxy as the cause; nothing is stored. `doctor` does the same."""
    with without_upgrade(jupyter.url) as url:
        line = ("sessions", "add", "lab", "--token-stdin", "--json", "--url")
        refused = cli(*line, url, stdin=jupyter.token.encode())
        assert (refused.code, refused.json["errorCode"]) == (74, 1006)
        assert "does not pass WebSockets on" in refused.json["error"]["message"]
        assert cli("sessions", "list", "--json").json == []
        assert cli(*line, jupyter.url, stdin=jupyter.token.encode()).code == 0
        stored = cli.state / "sessions.json"
        stored.write_text(stored.read_text().replace(jupyter.url, url))
        problems = [item for item in cli("doctor", "--json").json["findings"] if item["check"] == "session lab"]
        assert "does not pass WebSockets on" in problems[-1]["message"]


def test_a_proxy_that_limits_bodies(jupyter: JupyterServer) -> None:
    """A file that goes through the contents API is cut into pieces that pass, and arrives whole."""
    content = bytes(range(256)) * 12_000
    with without_upgrade(jupyter.url) as url:
        server = Server(Endpoint(url=url, token=jupyter.token))
        files = ContentsService(server, "")
        half = files.begin("limited.bin", len(content), "key", "nonce")
        done: list[int] = []
        files.write(half, [(0, content[:2_000_000]), (2_000_000, content[2_000_000:])], done.append)
        files.commit(half)
        assert sum(done) == len(content)
        assert (jupyter.root / "limited.bin").read_bytes() == content
        server.close()


def test_a_server_that_ends_idle_kernels(tmp_path: Path) -> None:
    """It does not end the helper's while work goes on that nobody watches, and all output is there."""
    cull = {"cull_idle_timeout": 3, "cull_interval": 1, "cull_connected": True}
    options = [f"--MappingKernelManager.{name}={value}" for name, value in cull.items()]
    cli = Cli(tmp_path / "home")
    with start_server(tmp_path, *options) as server:
        added = cli("sessions", "add", "lab", "--url", server.url, "--token-stdin", stdin=server.token.encode())
        assert added.code == 0, added
        code = "import time; time.sleep(6); print('from the kernel')"
        jobs = {
            cli("run", "--detach", "sleep 6; echo from a process").out.strip(): "from a process\n",
            cli("run", "-m", "kernel", "--detach", code).out.strip(): "from the kernel\n",
        }
        time.sleep(8)  # a question would count as use
        for job, printed in jobs.items():
            assert cli("job", "wait", job).code == 0
            assert cli("job", "logs", job).out == printed


LYING = """
from pathlib import Path
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from tornado.web import HTTPError

V1 = "v1.kernel.websocket.jupyter.org"
select, prepare = KernelWebsocketHandler.select_subprotocol, KernelWebsocketHandler.pre_get

def manner():
    return Path(__file__).with_name("manner").read_text()

class Lying(ZMQChannelsWebsocketConnection):
    subprotocol = property(lambda self: V1 if manner() == "v1" else None)

def selected(self, offered):
    return None if manner() == "v1" else select(self, offered)

async def refusing(self):
    if manner() == "refuses":
        raise HTTPError(403)
    await prepare(self)

KernelWebsocketHandler.select_subprotocol, KernelWebsocketHandler.pre_get = selected, refusing
"""


def test_sockets_that_are_not_as_agreed(cli: Cli, tmp_path: Path) -> None:
    """v1 that is agreed to and not spoken, and the other way round: found out once, and told. Sockets that are refused
    alone are no fault of the token, and files go without."""
    root = tmp_path / "lying" / "root"
    root.mkdir(parents=True)
    (root / "lying.py").write_text(LYING)
    (root / "manner").write_text("default")
    with start_server(tmp_path / "lying", "--ServerApp.kernel_websocket_connection_class=lying.Lying") as server:
        for manner in ("default", "v1"):
            (root / "manner").write_text(manner)
            line = ("sessions", "add", manner, "--token-stdin", "--url", server.url)
            assert cli(*line, stdin=server.token.encode()).code == 0
            first = cli("run", "-s", manner, "-m", "kernel", "print(6 * 7)")
            assert (first.code, first.out) == (0, "42\n"), first
            assert f"the server speaks the {manner} form" in first.err
            second = cli("run", "-s", manner, "echo again")
            assert (second.code, second.out) == (0, "again\n"), second
            assert "the server speaks" not in second.err
        # What was found out is found out anew when the server is replaced by another one.
        again = cli("run", "-s", "default", "echo later")
        assert (again.code, again.out) == (0, "later\n"), again
        assert "the server speaks the v1 form" in again.err
        (root / "manner").write_text("default")
        (tmp_path / "file").write_text("earlier")
        assert cli("upload", "-s", "v1", str(tmp_path / "file"), "there").code == 0
        (root / "manner").write_text("refuses")
        refused = cli("run", "-s", "v1", "-m", "kernel", "1", "--json").json["error"]
        assert refused["name"] == "WebSocketsRefused", refused
        assert "accepts the token and refuses WebSockets (HTTP 403)" in refused["message"]
        (tmp_path / "file").write_text("content")
        up = cli("upload", "-s", "v1", str(tmp_path / "file"), "there")
        assert (up.code, (root / "there").read_text()) == (0, "content"), up
