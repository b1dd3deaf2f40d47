"""How often the network is used: counted between the client and a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.jupyter import execution_watch
from tests.support.cli import Cli
from tests.support.proxy import Proxy
from tests.support.servers import JupyterServer


def is_probe(request: str) -> bool:
    """Whether a request asks for one kernel's state."""
    return request.startswith("GET /api/kernels/") and not request.endswith("/channels")


@pytest.fixture
def counted(jupyter: JupyterServer, tmp_path: Path) -> Iterator[tuple[Cli, Proxy]]:
    """The command line with a warm session that reaches the server through the counter."""
    counter = Proxy(jupyter.url)
    command = Cli(tmp_path)
    command("sessions", "add", tmp_path.name, "--url", counter.url, "--token-stdin", stdin=jupyter.token.encode())
    assert command("run", "-m", "kernel", "1").code == 0
    assert command("run", "true").code == 0
    counter.requests.clear()
    yield command, counter
    command("sessions", "close", "--all")
    counter.close()


def test_a_warm_kernel_run_is_one_request(counted: tuple[Cli, Proxy]) -> None:
    """The WebSocket handshake and nothing else; only a kernel that says nothing for seconds, as on a machine with too
    much to do, is asked about."""
    command, counter = counted
    began = time.monotonic()
    assert command("run", "-m", "kernel", "print(6*7)").out == "42\n"
    silent = time.monotonic() - began > execution_watch.SILENCE
    handshake, *others = counter.requests
    assert handshake.endswith("/channels")
    assert all(silent and is_probe(request) for request in others), others


def test_a_silent_kernel_run_is_asked_about(counted: tuple[Cli, Proxy]) -> None:
    """After some seconds without a word, and on the server's word the waiting goes on."""
    command, counter = counted
    code = f"import time; time.sleep({execution_watch.SILENCE + 2}); print(42)"
    assert command("run", "-m", "kernel", code).out == "42\n"
    handshake, *others = counter.requests
    assert handshake.endswith("/channels")
    assert others
    assert all(is_probe(request) for request in others), others


def test_a_warm_process_run_is_one_request(counted: tuple[Cli, Proxy]) -> None:
    """The same, to the helper's kernel."""
    command, counter = counted
    assert command("run", "echo 42").out == "42\n"
    (request,) = counter.requests
    assert request.endswith("/channels")


def test_status_is_at_most_four_requests(counted: tuple[Cli, Proxy]) -> None:
    """And none of them twice."""
    command, counter = counted
    assert command("status", "--json").json["runtimes"][0]["connected"] is True
    assert len(counter.requests) <= 4
    assert len(set(counter.requests)) == len(counter.requests)
