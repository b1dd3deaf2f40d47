"""Servers that are down, wrong or hostile, and state that is damaged: each has its own clear error."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from tests.support.cli import Cli
from tests.support.servers import JupyterServer, free_port, start_server


@contextlib.contextmanager
def answering(
    status: int, content_type: str, body: bytes, headers: dict[str, str] | None = None, protocol: str = "HTTP/1.0"
) -> Iterator[str]:
    """A server that gives one and the same answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

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


@contextlib.contextmanager
def hanging_up() -> Iterator[str]:
    """A server that closes every connection at once."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        listener.settimeout(0.1)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                listener.accept()[0].close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        stop.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("status", "content_type", "body", "code", "exit_status", "words"),
    [
        (200, "text/html", b"<html>Log in</html>", 1006, 74, "not the address of a Jupyter server"),
        (200, "application/json", b'{"hello": 1}', 1006, 74, "not what a Jupyter server sends"),
        (200, "application/json", b"{", 1006, 74, "not what a Jupyter server sends"),
        (401, "application/json", b'{"message": "no"}', 2001, 77, "wants a token or a password"),
        (403, "application/json", b'{"message": "Forbidden"}', 2001, 77, "wants a token or a password"),
        (404, "text/html", b"<html>nope</html>", 2005, 66, "404"),
        (500, "text/plain", b"boom", 1006, 74, "500"),
        (502, "text/html", b"<html>bad gateway</html>", 1006, 74, "502"),
    ],
)
def test_wrong_answers(
    cli: Cli, status: int, content_type: str, body: bytes, code: int, exit_status: int, words: str
) -> None:
    """The error says what the server answered, and what was not started is not stored; a run says the same."""
    with answering(status, content_type, body) as url:
        for line in (
            ["sessions", "add", "x", "--url", url, "--json"],
            ["--backend", "jupyter", "run", "-m", "kernel", "1", "--json"],
            ["--backend", "jupyter", "run", "ls", "--json"],
        ):
            result = cli(*line, env={"LECODER_CGPU_JUPYTER_URL": url})
            document = result.json
            assert (document["errorCode"], result.code) == (code, exit_status), document
            assert words in document["error"]["message"]
            assert document["error"]["suggestion"]
            assert result.err == ""
    stored = [item["name"] for item in cli("sessions", "list", "--json").json]
    assert stored == (["jupyter"] if status == 404 else [])  # a runtime that is not found may have been there


def test_a_redirect_to_a_login_page(cli: Cli) -> None:
    """Hubs redirect when the token is wrong; that is said, and the redirect is not followed with our token."""
    with answering(302, "text/html", b"", {"Location": "https://login.example/"}) as url:
        result = cli("sessions", "add", "x", "--url", url, "--json")
    assert result.json["errorCode"] == 1006
    assert "login.example" in result.json["error"]["message"]


def test_a_server_that_hangs_up(cli: Cli) -> None:
    """A closed connection is a retryable error of the connection."""
    with hanging_up() as url:
        result = cli("sessions", "add", "x", "--url", url, "--json")
    assert (result.json["errorCode"], result.code, result.json["error"]["retryable"]) == (1006, 74, True)


def test_a_wrong_token(cli: Cli, jupyter: JupyterServer) -> None:
    """A real server's refusal, when adding and when the token changed later."""
    refused = cli("sessions", "add", "x", "--url", jupyter.url, "--token-stdin", "--json", stdin=b"wrong-token-value")
    assert refused.json["error"]["suggestion"].startswith("the token is wrong")
    assert (refused.json["errorCode"], refused.code) == (2001, 77)
    assert "wrong-token-value" not in refused.out + refused.err
    environment = {"LECODER_CGPU_JUPYTER_URL": jupyter.url, "LECODER_CGPU_JUPYTER_TOKEN": "wrong-token-value"}
    for mode in (["-m", "kernel", "1"], ["ls"]):
        result = cli("--backend", "jupyter", "run", *mode, "--json", env=environment)
        assert (result.json["errorCode"], result.code) == (2001, 77)


def test_a_server_from_the_environment(cli: Cli, jupyter: JupyterServer) -> None:
    """Address and token in variables are enough, and the token is written nowhere."""
    environment = {"LECODER_CGPU_JUPYTER_URL": jupyter.url, "LECODER_CGPU_JUPYTER_TOKEN": jupyter.token}
    result = cli("--backend", "jupyter", "run", "-m", "kernel", "print(6*7)", "--json", env=environment)
    assert result.json["stdout"] == "42\n"
    for path in cli.home.rglob("*"):
        if path.is_file():
            assert jupyter.token not in path.read_text("utf-8", "replace"), path
    assert cli("sessions", "close", "--all", env=environment).code == 0


def test_a_server_that_is_gone_later(cli: Cli) -> None:
    """A session whose server is down: retryable, kept by clean, closable by force."""
    _stored(cli, f"http://127.0.0.1:{free_port()}/")
    run = cli("run", "-m", "kernel", "1", "--json")
    assert (run.json["errorCode"], run.code, run.json["error"]["retryable"]) == (1006, 74, True)
    listed = cli("sessions", "list", "--json").json
    assert [item["status"] for item in listed] == ["unreachable"]
    assert cli("sessions", "clean", "--json").json["removed"] == []
    status = cli("status", "--json")
    assert status.code == 0
    assert status.json["runtimes"][0]["connected"] is False
    assert status.json["runtimes"][0]["problem"]
    assert cli("sessions", "close", "gone", "--json").code == 74
    assert cli("sessions", "close", "gone", "--force", "--json").code == 0
    assert cli("sessions", "list", "--json").json == []


def test_a_server_that_knows_nothing_any_more(cli: Cli) -> None:
    """404 to everything: a kernel that is not there is no sign of a session that can be used."""
    with answering(404, "application/json", b"{}") as url:
        _stored(cli, url)
        (item,) = cli("sessions", "list", "--json").json
    assert (item["status"], "kernel" in item) == ("unreachable", False)


def _stored(cli: Cli, url: str) -> None:
    """A session with a kernel on the server at that address."""
    cli.state.mkdir(parents=True)
    record = {
        "id": "11111111-0000-4000-8000-000000000000",
        "label": "x",
        "name": "gone",
        "backend": "jupyter",
        "runtime": {
            "label": "x",
            "endpoint": url,
            "proxy": {"url": url},
        },
        "createdAt": "2026-01-01T00:00:00.000Z",
        "lastUsedAt": "2026-01-01T00:00:00.000Z",
        "isActive": True,
        "kernel": {"id": "k", "path": "p"},
    }
    (cli.state / "sessions.json").write_text(json.dumps([record]))


@pytest.mark.parametrize(
    "line",
    [["run", "-m", "kernel", "1"], ["status"], ["sessions", "list"], ["logs"], ["debug", "show"], ["kernel", "status"]],
)
def test_damaged_configuration(cli: Cli, line: list[str]) -> None:
    """A config.json that is no JSON is named, with the way to mend it; a sessions.json is set aside and reported."""
    (cli.home / "config").mkdir()
    (cli.home / "config" / "config.json").write_text("{ not json")
    result = cli(*line, "--json")
    assert (result.json["errorCode"], result.code) == (2009, 78)
    assert "config.json" in result.json["error"]["message"]


def test_damaged_sessions(cli: Cli) -> None:
    """A file that is no array is kept under another name; one bad record hides nothing and is kept in place."""
    cli.state.mkdir(parents=True)
    (cli.state / "sessions.json").write_text("[{")
    assert cli("sessions", "list", "--json").json["errorCode"] == 2009
    assert list(cli.state.glob("sessions.json.damaged-*"))
    (cli.state / "sessions.json").write_text('[{"id": 5}]')
    result = cli("sessions", "list", "--json")
    assert (result.code, result.json) == (0, [])
    assert "cannot be read" in result.err
    assert json.loads((cli.state / "sessions.json").read_text()) == [{"id": 5}]


def test_state_that_cannot_be_written(cli: Cli, jupyter: JupyterServer) -> None:
    """A run whose history cannot be written still gives its result, with a notice."""
    cli("sessions", "add", "lab", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    assert cli("run", "-m", "kernel", "1").code == 0
    history = cli.state / "history.jsonl"
    history.unlink()
    history.mkdir()  # as root, permissions stop nobody: a folder in its place does
    result = cli("run", "-m", "kernel", "print(2)", "--json")
    assert (result.code, result.json["stdout"]) == (0, "2\n")
    assert "history" in result.json["notice"]
    cli("sessions", "close", "--all")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk(cli: Cli, jupyter: JupyterServer) -> None:
    """A disk that fills up costs the history entry, is said, and costs nothing else."""
    cli("sessions", "add", "lab", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    cli.state.joinpath("history.jsonl").symlink_to("/dev/full")
    result = cli("run", "-m", "kernel", "print(2)", "--json")
    assert (result.code, result.json["stdout"]) == (0, "2\n")
    assert "No space left" in result.json["notice"]
    cli("sessions", "close", "--all")


def test_a_proxy_without_websockets() -> None:
    """It passes the handshake on as a plain request, which the server refuses; the error names the proxy."""
    body = b'Can "Upgrade" only to "WebSocket".'
    with answering(400, "text/plain", body, protocol="HTTP/1.1") as url:
        server = Server(Endpoint(url=url, token="t"))
        with pytest.raises(errors.UnexpectedAnswer, match="does not pass WebSockets on") as raised:
            server.open_channels("kernel", "session")
    assert "Upgrade" in (raised.value.hint or "")


def test_closing_ends_only_what_we_started(cli: Cli, jupyter: JupyterServer) -> None:
    """A kernel of somebody else on the same server stays. Ours and the helper's go, and what was started for the
    session by requests whose answers nobody has seen, whether it was found later or not."""
    server = Server(Endpoint(url=jupyter.url, token=jupyter.token))
    theirs, _ = server.open_session("theirs.ipynb")
    assert theirs.kernel
    before = {kernel.id for kernel in server.kernels()}
    cli("sessions", "add", "mine", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    cli("run", "-m", "kernel", "1")
    (mine,) = json.loads((cli.state / "sessions.json").read_text())
    unseen, _ = server.open_session("elsewhere.ipynb", owner=mine["id"])
    assert server.open_session("elsewhere.ipynb", owner=mine["id"]) == (unseen, True)
    assert server.open_session("elsewhere.ipynb", owner="another") == (unseen, False)
    ours = {kernel.id for kernel in server.kernels()} - before
    closed = cli("sessions", "close", "mine", "--json").json["closed"][0]
    assert closed["released"] == "kernels"
    assert set(closed["kernels"]) >= ours
    left = {kernel.id for kernel in server.kernels()}
    assert theirs.kernel.id in left
    assert not ours & left
    server.delete_kernel(theirs.kernel.id)
    server.close()


def test_tls(cli: Cli, tmp_path: Path) -> None:
    """https with a certificate of an authority that we are told of; without it, the error says what to do."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    chain, key, root = (tmp_path / name for name in ("chain.pem", "key.pem", "root.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    certificate.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(root))
    options = (f"--ServerApp.certfile={chain}", f"--ServerApp.keyfile={key}")
    with start_server(tmp_path / "server", *options, tls=True) as server:
        line = ("sessions", "add", "tls", "--url", server.url, "--token-stdin", "--json")
        refused = cli(*line, stdin=server.token.encode())
        assert (refused.json["error"]["name"], refused.code) == ("CertificateError", 74)
        assert "SSL_CERT_FILE" in refused.json["error"]["suggestion"]
        trusting = Cli(cli.home, {"SSL_CERT_FILE": str(root)})
        assert trusting(*line, stdin=server.token.encode()).code == 0
        assert trusting("run", "-m", "kernel", "print(6*7)").out == "42\n"
        assert trusting("run", "echo hi").out == "hi\n"
        trusting("sessions", "close", "--all")


def test_a_state_folder_that_is_a_file(cli: Cli) -> None:
    """The error is one of configuration and names the path."""
    (cli.home / "config").write_text("in the way")
    result = cli("--backend", "local", "run", "ls", "--json")
    assert (result.json["errorCode"], result.code) == (2009, 78)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_somebody_else(cli: Cli) -> None:
    """State of another user is not touched."""
    cli.state.mkdir(parents=True)
    os.chown(cli.state, 12345, 12345)
    result = cli("--backend", "local", "run", "ls", "--json")
    assert (result.json["errorCode"], result.code) == (2009, 78)
    assert "another user" in result.json["error"]["message"]
    assert list(cli.state.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_everything_is_private(cli: Cli, jupyter: JupyterServer) -> None:
    """Folders are 0700 and files 0600, whatever the umask."""
    cli("sessions", "add", "lab", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    cli("run", "-m", "kernel", "1")
    for path in [cli.home / "config", *(cli.home / "config").rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))
    cli("sessions", "close", "--all")
