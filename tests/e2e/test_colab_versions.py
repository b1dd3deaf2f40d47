"""The helper and kernel runs on the versions that Colab's machines pin, and in front of a base path."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from lecoder_cgpu.jupyter.terminal import Terminal
from tests.support.cli import Cli
from tests.support.forwarding import Hasher, exchange, forwarded
from tests.support.notebooks import code, read, write
from tests.support.servers import start_server

PYTHON = os.environ.get("LECODER_CGPU_TEST_COLAB_PYTHON")


@pytest.fixture(scope="module", params=["pinned", "base-path"])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line with a session on another kind of server."""
    if request.param == "pinned" and not PYTHON:
        pytest.skip("LECODER_CGPU_TEST_COLAB_PYTHON names no interpreter with Colab's versions")
    folder = tmp_path_factory.mktemp(request.param)
    pinned = request.param == "pinned"
    python, base_url = (PYTHON or "", "/") if pinned else (sys.executable, "/user/ada/")
    with start_server(folder, python=python, base_url=base_url) as server:
        command = Cli(folder / "client")
        command.home.mkdir()
        # As a browser shows it: the page's path is taken off, the base path kept.
        url = server.url + "lab?reset"
        added = command("sessions", "add", "other", "--url", url, "--token-stdin", stdin=server.token.encode())
        assert added.code == 0, added
        yield command
        assert command("sessions", "close", "--all", "--json").json["closed"][0]["released"] == "kernels"


def test_kernel_runs(other: Cli, tmp_path: Path) -> None:
    """State, exceptions with their hierarchy, tracebacks that name the file, time limits, death."""
    assert other("run", "-m", "kernel", "x = 6").code == 0
    assert other("run", "-m", "kernel", "print(x * 7)").out == "42\n"
    own = other("run", "-m", "kernel", "class Gone(ConnectionError): pass\nraise Gone('x')", "--json").json
    assert (own["errorCode"], own["error"]["name"]) == (1006, "Gone")
    script = tmp_path / "train.py"
    script.write_text("def step():\n    return 1 / 0\nstep()\n")
    failed = other("run", "-m", "kernel", "-f", str(script), "--json").json
    assert str(script) in "\n".join(failed["error"]["traceback"])
    assert other("run", "-m", "kernel", "input()", "--json").json["error"]["name"] == "StdinNotImplementedError"
    late = other("run", "-m", "kernel", "--timeout", "1", "import time; time.sleep(60)", "--json")
    assert (late.code, late.json["errorCode"]) == (75, 1003)
    died = other("run", "-m", "kernel", "import os, time; time.sleep(0.5); os._exit(1)", "--json").json
    assert died["error"]["name"] == "KernelDied"
    assert other("run", "-m", "kernel", "print('again')").out == "again\n"


def test_process_runs(other: Cli) -> None:
    """Streams, status, stdin, signals, and far more output than the server's rate limits let through."""
    result = other("run", "echo out; echo err >&2; exit 7")
    assert (result.code, result.out, result.err) == (7, "out\n", "err\n")
    code, out, _ = other.raw("run", "--stdin", "cat", stdin=b"x" * 300_000)
    assert (code, out) == (0, b"x" * 300_000)
    code, out, _ = other.raw("run", "seq 1 3000000")
    expected = "".join(f"{number}\n" for number in range(1, 3_000_001)).encode()
    assert hashlib.md5(out).digest() == hashlib.md5(expected).digest()
    assert other("run", "--timeout", "1", "sleep 60").code == 75


def test_notebooks(other: Cli, tmp_path: Path) -> None:
    """Watched and detached, with an exception of the user's own, and a kill that interrupts the kernel."""
    source = write(tmp_path / "n.ipynb", code("n = 6\nn * 7"), code("class Mine(ImportError): pass\nraise Mine('m')"))
    watched = other("run", str(source), "--json")
    assert (watched.code, watched.json["errorCode"], watched.json["failedCell"]) == (1, 1005, 1)
    job = other("run", str(source), "--detach").out.strip()
    done = other("notebook", "fetch", job, "--wait", "60", "-o", str(tmp_path / "o.ipynb"), "--json")
    assert (done.code, done.json["errorCode"], done.json["outputComplete"]) == (1, 1005, True)
    assert read(tmp_path / "o.ipynb").cells[0].outputs[0].data == {"text/plain": "42"}
    slow = write(tmp_path / "s.ipynb", code("import time\nprint('begun', flush=True)\ntime.sleep(90)"))
    job = other("run", str(slow), "--detach").out.strip()
    while other("job", "logs", job).out != "begun\n":
        assert other("job", "wait", job, "--timeout", "0.1").code == 124
    assert other("job", "kill", job).code == 0
    assert other("job", "wait", job).code == 143
    assert other("run", "-m", "kernel", "print('free')").out == "free\n"


def test_status(other: Cli) -> None:
    """The machine is described on every version."""
    (runtime,) = other("status", "--json").json["runtimes"]
    assert runtime["connected"] is True
    assert runtime["host"]["memory"]["totalBytes"] > 0
    assert runtime["host"]["cpus"] > 0


def test_a_forwarded_port(other: Cli) -> None:
    """A kernel of any version can become the tunnel."""
    server = Hasher(3_000_000)
    with forwarded(other, f"{server.port}:0") as running:
        assert exchange(running.ports[0], b"sent") == server.blob + hashlib.sha256(b"sent").digest()
    server.close()


def test_a_shell(other: Cli) -> None:
    """A terminal of any version tells the shell's own exit status."""
    server = Server(_endpoint(other))
    terminal = Terminal(server, "xterm")
    terminal.resize(20, 70)
    terminal.send("stty size; exit 7\r")
    shown = ""
    while not terminal.ended:
        shown += terminal.receive(30) or ""
    assert "20 70" in shown
    assert terminal.exit_status == 7
    server.close()


def _endpoint(other: Cli) -> Endpoint:
    """The session's server."""
    (record,) = json.loads((other.state / "sessions.json").read_text())
    return Endpoint(url=record["runtime"]["proxy"]["url"], token=record["runtime"]["proxy"]["token"])
