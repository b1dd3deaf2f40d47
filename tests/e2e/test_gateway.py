"""Gateways as they are by default: they start kernels and tell of none; and a Jupyter server before one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from tests.support.cli import Cli
from tests.support.other_servers import Gateway, start_gateway
from tests.support.servers import start_server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with start_gateway(tmp_path_factory.mktemp("gateway")) as started:
        yield started


@pytest.fixture(scope="module")
def shared(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A session on it, added as if it were any Jupyter server."""
    cli = Cli(tmp_path_factory.mktemp("cli"))
    added = cli("sessions", "add", "farm", "--url", gateway.url, "--token-stdin", stdin=gateway.token.encode())
    assert added.code == 0, added
    assert "does not list its kernels; it is used as a gateway" in added.err
    return cli


def test_the_session_has_kernels_of_its_own(shared: Cli, tmp_path: Path) -> None:
    """Code, commands, files and states work without any listing; variables stay; nothing is said of what is missing."""
    assert shared("run", "-m", "kernel", "x = 6*7").code == 0
    assert shared("run", "-m", "kernel", "print(x)").out == "42\n"
    assert shared("run", "echo hi").out == "hi\n"
    assert shared("kernel", "status", "--json").json["kernel"]["state"] == "idle"
    kernels = shared("kernel", "list", "--json").json[
        "kernels"
    ]  # and those of other languages that are installed there
    assert [item["name"] for item in kernels if item["isChosen"]] == ["python3"]
    (listed,) = shared("sessions", "list", "--json").json
    assert (listed["backend"], listed["status"]) == ("gateway", "active")
    source = tmp_path / "data.bin"
    source.write_bytes(bytes(range(256)) * 5000)
    assert shared("upload", str(source), "up.bin").code == 0
    assert shared("download", "up.bin", str(tmp_path / "back.bin")).code == 0
    assert (tmp_path / "back.bin").read_bytes() == source.read_bytes()


def test_a_wrong_token(shared: Cli, gateway: Gateway) -> None:
    """It is told from a gateway that lists nothing."""
    wrong = shared("sessions", "add", "wrong", "--url", gateway.url, "--token-stdin", "--json", stdin=b"wrong")
    assert (wrong.code, wrong.json["error"]["name"]) == (77, "TokenRefused")
    assert "token" in wrong.json["error"]["suggestion"]


def test_the_environment_of_kernels(gateway: Gateway, tmp_path: Path) -> None:
    """--env reaches the kernel, with a user by default; a kernel for one run is gone after it."""
    cli = Cli(tmp_path, {"LECODER_CGPU_JUPYTER_URL": gateway.url, "LECODER_CGPU_JUPYTER_TOKEN": gateway.token})
    look = "import os; print(os.environ['KERNEL_USERNAME'], os.environ.get('KERNEL_SIZE')); print(os.getpid())"
    options = ("--gateway", gateway.url, "-e", "KERNEL_USERNAME=ada", "-e", "KERNEL_SIZE=l", "--token-stdin")
    assert cli("sessions", "add", "farm", *options, stdin=gateway.token.encode()).code == 0
    assert cli("run", "-m", "kernel", look).out.splitlines()[0] == "ada l"
    kernel = cli("kernel", "status", "--json").json["kernel"]["id"]
    theirs = cli("sessions", "add", "same", *options, "--kernel-id", kernel, stdin=gateway.token.encode())
    assert theirs.code == 0, theirs
    assert cli("run", "-m", "kernel", "-s", "same", "print(os.environ['KERNEL_SIZE'])").out == "l\n"
    assert cli("sessions", "close", "same").code == 0  # which leaves the kernel that it did not start
    assert cli("run", "-m", "kernel", "print(os.environ['KERNEL_SIZE'])").out == "l\n"
    assert cli("sessions", "close", "farm", "--json").json["closed"][0]["released"] == "kernels"
    ran = cli("--backend", "gateway", "run", "--rm", "-m", "kernel", "print(6*7)", "--json")
    assert (ran.code, ran.json["stdout"], ran.json["release"]["released"]) == (0, "42\n", "kernels")
    server = Server(Endpoint(url=gateway.url, token=gateway.token, lists=False))
    with pytest.raises(Exception, match="404"):
        server.kernel(kernel)
    server.close()
    missing = cli("sessions", "add", "gone", *options, "--kernel-id", kernel, "--json", stdin=gateway.token.encode())
    assert (missing.code, missing.json["errorCode"]) == (66, 2005)


def test_a_server_before_a_gateway(gateway: Gateway, tmp_path: Path) -> None:
    """Such a server breaks off at binary frames, so files travel as text."""
    options = (f"--gateway-url={gateway.url}", f"--GatewayClient.auth_token={gateway.token}")
    cli = Cli(tmp_path / "cli")
    with start_server(tmp_path, *options) as server:
        added = cli("sessions", "add", "front", "--url", server.url, "--token-stdin", stdin=server.token.encode())
        assert added.code == 0, added
        source = tmp_path / "data.bin"
        source.write_bytes(bytes(range(256)) * 5000)
        assert cli("upload", str(source), "there.bin").code == 0
        assert cli("download", "there.bin", str(tmp_path / "back.bin")).code == 0
        assert (tmp_path / "back.bin").read_bytes() == source.read_bytes()
        assert cli("run", "wc -c < there.bin").out.strip() == str(source.stat().st_size)
        assert cli("sessions", "close").code == 0
