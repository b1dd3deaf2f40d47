"""`forward`: HTTP, WebSocket and raw TCP through a kernel's channels, complete and in order across lost connections."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli
from tests.support.forwarding import Hasher, exchange, forwarded
from tests.support.proxy import Proxy
from tests.support.servers import JupyterServer, free_port


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[int]:
    """A plain web server with a file of 3 MB."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web/file").write_bytes(hashlib.shake_128(b"file").digest(3_000_000))
    handler = functools.partial(Quiet, directory=tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def echo() -> Iterator[int]:
    """A WebSocket server that sends everything back."""

    def handle(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(handle, "127.0.0.1", 0, max_size=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]


def test_http_and_websocket(lab: Cli, jupyter: JupyterServer, web: int, echo: int) -> None:
    """Two ports at once, twenty requests at once; afterwards nothing is left on the runtime."""
    expected = hashlib.shake_128(b"file").digest(3_000_000)

    def get(port: int) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/file", timeout=60) as answer:
            content: bytes = answer.read()
            return content

    with forwarded(lab, lab.home.name, f"{web}:0", f"{echo}:0") as running:
        assert len(running.ports) == 2
        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(get, [running.ports[0]] * 20)) == {expected}
        with connect(f"ws://127.0.0.1:{running.ports[1]}", max_size=None, proxy=None) as socket_:
            for message in ("text übung", b"\x00\xff" * 400_000, "", "last"):
                socket_.send(message)
                assert socket_.recv(timeout=60) == message
        with pytest.raises(ConnectionRefusedError):  # as a listener on all addresses would not
            socket.create_connection(("127.0.0.2", running.ports[0]), timeout=30)
    validate(running.document, "forward")
    assert (running.status, running.document["connections"]) == (0, 21)
    request = urllib.request.Request(jupyter.url + "api/sessions", headers={"Authorization": f"token {jupyter.token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert not [item for item in json.load(answer) if "tunnel" in item["path"]]


def test_both_directions_at_once(lab: Cli) -> None:
    """Half-closed connections end as they would without us, and every byte arrives."""
    server = Hasher(20_000_000)
    sent = hashlib.shake_128(b"sent").digest(20_000_000)
    with forwarded(lab, f"{server.port}:0") as running:
        assert exchange(running.ports[0], sent) == server.blob + hashlib.sha256(sent).digest()
    server.close()


def test_dropped_connections(jupyter: JupyterServer, cli: Cli) -> None:
    """A transfer through the tunnel survives the loss of our connection to the runtime, several times."""
    proxy = Proxy(jupyter.url)
    cli("sessions", "add", "far", "--url", proxy.url, "--token-stdin", stdin=jupyter.token.encode())
    server = Hasher(40_000_000)
    sent = hashlib.shake_128(b"sent").digest(40_000_000)
    with forwarded(cli, "far", f"{server.port}:0") as running, ThreadPoolExecutor(3) as pool:
        transfers = [pool.submit(exchange, running.ports[0], sent) for _ in range(3)]
        for _ in range(4):
            time.sleep(0.4)
            proxy.cut()
        for transfer in transfers:
            received = transfer.result(120)
            assert received[:-32] == server.blob
            assert received[-32:] == hashlib.sha256(sent).digest()
    assert running.document["reconnections"] >= 1
    proxy.close()
    server.close()


def test_a_server_that_starts_later(lab: Cli) -> None:
    """Until something listens there, connections end and a note tells why, once; then they work."""
    port = free_port()
    with forwarded(lab, f"{port}:0") as running:
        for _ in range(2):
            with pytest.raises((urllib.error.URLError, OSError)):
                urllib.request.urlopen(f"http://127.0.0.1:{running.ports[0]}/", timeout=30)
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), Quiet) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with urllib.request.urlopen(f"http://127.0.0.1:{running.ports[0]}/", timeout=30) as answer:
                assert answer.status == 200
            server.shutdown()
    assert running.err.count(f"port {port} of the runtime: Connection refused") == 1


def test_ports_of_this_machine(lab: Cli, web: int) -> None:
    """The same number when it is free, another one when not; a number that was asked for and is taken is an error."""
    free = free_port()
    with forwarded(lab, str(web), f"{web}:{free}") as running:
        assert running.ports[0] != web  # the web server is on this machine, too
        assert running.ports[1] == free
    refused = failed(lab("forward", f"8000:{web}", "--json"))
    assert (refused["errorCode"], refused["error"]["name"]) == (2006, "PortTaken")


def test_a_killed_server(cli: Cli, web: int) -> None:
    """When the runtime ends, so does the command, and it says so."""
    cli("--backend", "local", "sessions", "add", "here")
    process = cli.start("forward", "here", f"{web}:0", "--events")
    assert process.stdout is not None
    event = json.loads(process.stdout.readline())
    validate(event, "forward-event")
    assert event["type"] == "listening"
    try:
        cli("sessions", "close", "--all")
        out, _ = process.communicate(timeout=90)
        document = json.loads(out)
        assert (document["errorCode"], document["error"]["name"], process.returncode) == (2004, "TunnelLost", 74)
    finally:
        process.kill()
        process.communicate()
