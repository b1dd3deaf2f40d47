"""`serve`: a session's server for other Jupyter clients, with a token of its own and nobody else's way in."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.servers import JupyterServer, start_server


@contextlib.contextmanager
def serving(cli: Cli, *words: str) -> Iterator[Any]:
    """Serve until the block ends; yields the event, and checks the end."""
    process = cli.start("serve", *words, "--events")
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        assert first, process.communicate()
        event = json.loads(first)
        validate(event, "serve-event")
        yield event
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        document = json.loads(out.splitlines()[-1])
        validate(document, "serve")
        assert (process.returncode, document["address"]) == (0, event["address"]), err
    finally:
        process.kill()
        process.communicate()


def ask(address: str, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request(method, path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_who_gets_in(lab: Cli) -> None:
    """The token counts, as a header and in the address; other hosts, other pages and the runtime's own token do not."""
    with serving(lab) as event:
        address, token = event["address"], event["token"]
        path, shown = "/api/kernels", {"Authorization": f"token {token}"}
        assert ask(address, "GET", path, **shown) == 200
        assert ask(address, "GET", f"{path}?token={token}") == 200
        assert ask(address, "GET", path) == 403
        assert ask(address, "GET", f"{path}?token=wrong") == 403
        stored = json.loads((lab.state / "sessions.json").read_text())[0]["runtime"]["proxy"]["token"]
        assert ask(address, "GET", path, Authorization=f"token {stored}") == 403
        assert ask(address, "GET", path, **shown, Host="evil.example.org") == 403
        for origin in ("http://evil.example.org", "http://localhost:3000", "null"):
            for method in ("POST", "GET"):
                assert ask(address, method, path, **shown, Origin=origin) == 403
        assert ask(address, "GET", path, **shown, Origin=address.rstrip("/")) == 200
        assert ask(address, "GET", f"/{token}{path}") == 200
        assert ask(address, "GET", f"/{token}x{path}") == 403


NBCLIENT = """
import sys
import nbformat
from jupyter_server.gateway.gateway_client import GatewayClient
from nbclient import NotebookClient
GatewayClient.instance().url = sys.argv[1]
cells = [nbformat.v4.new_code_cell("import os, sys; print(6*7, os.environ['LECODER_CGPU_RESIDENT_HOME'])")]
notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python"}})
manager = "jupyter_server.gateway.managers.GatewayKernelManager"
NotebookClient(notebook, kernel_manager_class=manager, timeout=60).execute()
print(notebook.cells[0].outputs[0]["text"], end="")
"""


def test_other_programs(tmp_path: Path) -> None:
    """nbclient, which opens WebSockets without a token, and what VS Code asks of an existing server."""
    with start_server(tmp_path / "server") as server:
        cli = Cli(tmp_path / "cli")
        added = cli("sessions", "add", "there", "--url", server.url, "--token-stdin", stdin=server.token.encode())
        assert added.code == 0, added
        with serving(cli) as event:
            address, token = event["address"], event["token"]
            line = [sys.executable, "-c", NBCLIENT, address + token]
            done = subprocess.run(line, capture_output=True, text=True, timeout=100)
            assert done.stdout == f"42 {tmp_path}/server/resident\n", done
            as_vs_code_does(urlsplit(address).netloc, token)


def as_vs_code_does(host: str, token: str) -> None:
    connection = http.client.HTTPConnection(host, timeout=30)

    def call(method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        shown = {"Authorization": f"token {token}", "Content-Type": "application/json", **headers}
        connection.request(method, path, None if body is None else json.dumps(body), shown)
        return connection.getresponse()

    page = call("GET", f"/tree?token={token}")
    (cookie,) = [value.split(";")[0] for value in page.headers.get_all("Set-Cookie", [])]
    assert cookie.startswith("_xsrf=")  # and no other cookie, by which the runtime's server would know us
    page.read()
    xsrf = {"Cookie": cookie, "X-XSRFToken": cookie.partition("=")[2]}
    for path in ("/api", "/api/kernelspecs?1700000000000", "/api/sessions"):
        answer = call("GET", path, **xsrf)
        assert (answer.status, bool(answer.read())) == (200, True)
    wanted = {"path": "a.ipynb-jvsc-1.ipynb", "name": "", "type": "notebook", "kernel": {"name": "python3"}}
    opened = call("POST", "/api/sessions", wanted, **xsrf)
    kernel = json.loads(opened.read())["kernel"]["id"]
    for query, headers in ((f"&token={token}", {}), ("", {"Authorization": f"token {token}"})):
        with connect(f"ws://{host}/api/kernels/{kernel}/channels?session_id=1{query}", additional_headers=headers):
            pass
    with pytest.raises(InvalidStatus):
        connect(f"ws://{host}/api/kernels/{kernel}/channels?token={token}", origin=Origin("http://localhost:3000"))
    assert call("DELETE", f"/api/kernels/{kernel}").status == 204
    connection.close()


def used_as_server(cli: Cli, address: str, token: str) -> None:
    """Everything that this tool asks of a server: REST, sockets, files."""
    added = cli("sessions", "add", "served", "--url", address, "--token-stdin", stdin=token.encode())
    assert added.code == 0, added
    assert cli("run", "-m", "kernel", "print(6*7)").out == "42\n"
    assert cli("run", "echo hi").out == "hi\n"
    assert cli("sessions", "close", "served").code == 0


def test_a_client_that_is_a_gateways(lab: Cli, tmp_path: Path) -> None:
    """Jupyter's own server runs its kernels through it, as `jupyter lab --gateway-url` does."""
    with serving(lab) as event:
        address = event["address"].rstrip("/")
        options = (f"--gateway-url={address}", f"--GatewayClient.auth_token={event['token']}")
        with start_server(tmp_path, *options) as front:
            used_as_server(Cli(tmp_path / "cli"), front.url, front.token)


def test_a_colab_runtime(colab_cli: Cli, colab: FakeColab, tmp_path: Path) -> None:
    """Its proxy's credentials are added here, and renewed when they are refused."""
    assert colab_cli("run", "-m", "kernel", "x = 1").code == 0
    with serving(colab_cli, "--i-understand-free-tier") as event:
        used_as_server(Cli(tmp_path / "other"), event["address"], event["token"])
        colab.expire_proxy_tokens()
        assert ask(event["address"], "GET", f"/api/kernels?token={event['token']}") == 200
    colab_cli("sessions", "close", "--all")


@pytest.mark.parametrize("words", [("--token-stdin",), ("--session", "nobody")])
def test_bad_input(lab: Cli, jupyter: JupyterServer, words: tuple[str, ...]) -> None:
    """An empty token and an unknown session are refused before anything listens."""
    refused = lab("serve", *words, "--json", stdin=b"\n")
    assert (refused.code, refused.json["status"]) == (2 if words == ("--token-stdin",) else 66, "error")
