"""A gateway whose kernels have machines of their own: everything acts where the session's kernel is, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.other_servers import Gateway, start_gateway
from tests.support.servers import start_server

WHERE = "import os, socket; print(socket.gethostname(), os.path.realpath('.'))"
THERE = f'python -c "{WHERE}"'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with start_gateway(tmp_path_factory.mktemp("apart"), apart=True) as started:
        yield started


@pytest.fixture(scope="module")
def farm(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A session whose kernel is there first; the helper has followed it."""
    cli = Cli(tmp_path_factory.mktemp("cli"))
    added = cli("sessions", "add", "farm", "--gateway", gateway.url, "--token-stdin", stdin=gateway.token.encode())
    assert added.code == 0, added
    first = cli("run", "-m", "kernel", "x = 6*7")
    assert first.err.count("machines of their own") == 1, first
    yield cli
    assert cli("sessions", "close", "farm", "--json").json["closed"][0]["released"] == "kernels"


def test_everything_acts_there(farm: Cli, tmp_path: Path) -> None:
    """Commands, files, jobs of both kinds, results and installing; also while the kernel is busy."""
    there = farm("run", "-m", "kernel", WHERE)
    assert there.err == ""  # it was said once
    assert farm("run", THERE).out == there.out
    job = farm("run", "-m", "kernel", "--detach", f"import time; time.sleep(3); {WHERE}").out.strip()
    assert farm("run", THERE).out == there.out  # while the kernel is busy
    assert (
        farm("kernel", "status", "--json").json["kernel"]["state"] == "busy"
    )  # and not as idle as the control channel
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "where.py").write_text(WHERE)
    (tmp_path / "data.bin").write_bytes(bytes(range(256)) * 5000)
    assert farm("upload", str(tmp_path / "data.bin"), "up.bin").code == 0
    assert farm("job", "wait", job).code == 0
    assert farm("job", "logs", job).out == there.out
    assert farm("run", "-m", "kernel", "import os; print(os.path.getsize('up.bin'))").out == "1280000\n"
    assert farm("run", "-m", "kernel", "os.rename('up.bin', 'moved.bin')").code == 0
    assert farm("download", "moved.bin", str(tmp_path / "back.bin")).code == 0
    assert (tmp_path / "back.bin").read_bytes() == (tmp_path / "data.bin").read_bytes()
    sent = ("--sync", str(tmp_path / "code"), "--pull", f"here.txt:{tmp_path / 'here.txt'}")
    assert farm("run", *sent, "python where.py | tee here.txt").code == 0
    assert (tmp_path / "here.txt").read_text().split()[0] == there.out.split()[0]
    assert farm("connect", stdin=THERE.encode()).out == there.out
    assert farm("install", "traitlets").code == 0
    assert f'"{there.out.split()[0]}"' in farm("status", "--json").out


def test_what_cannot_be_had(farm: Cli) -> None:
    """A tunnel is another kernel there, so it is refused, and nothing is started."""
    refused = farm("forward", "7777", "--json")
    assert (refused.code, refused.json["error"]["name"]) == (2, "KernelElsewhere")


def test_no_output_is_lost(farm: Cli) -> None:
    """Its recording is where it is."""
    assert farm("run", "-m", "kernel", "print('x' * 3_000_000)").out == "x" * 3_000_000 + "\n"
    lines = "".join(f"{number}\n" for number in range(200_000))
    assert farm("run", "-m", "kernel", "for i in range(200_000): print(i)").out == lines
    flushed = farm("run", "-m", "kernel", "for i in range(20_000): print(i, flush=True)")
    assert (flushed.code, flushed.out) == (0, lines[: len(flushed.out)])
    assert flushed.out.endswith("\n19999\n")


def test_a_kernel_that_dies(farm: Cli, gateway: Gateway) -> None:
    """The helper goes with it, and is there again for the next command. A job goes with its machine if that ends, which
    is said, and goes on if not."""
    job = farm("run", "--detach", "sleep 60").out.strip()
    died = farm("run", "-m", "kernel", "import os; os._exit(3)", "--json")
    assert (died.code, died.json["error"]["name"]) == (1, "KernelDied"), died
    assert farm("run", "-m", "kernel", WHERE).out == farm("run", THERE).out
    shown = farm("job", "show", job, "--json")
    if gateway.ends:
        assert (shown.code, shown.json["error"]["name"]) == (74, "RunLost"), shown
        (entry,) = (entry for entry in farm("logs", "--json").json if entry.get("runId") == job)
        assert entry["status"] == "lost"
    else:
        assert shown.json["job"]["state"] == "running"


def test_the_kernel_joins_what_was_there_before(gateway: Gateway, tmp_path: Path) -> None:
    """A command first, then code, through a server before the gateway: what the command left is there. The kernel is
    found again from another machine, and a second session has its own."""
    options = (f"--gateway-url={gateway.url}", f"--GatewayClient.auth_token={gateway.token}")
    cli, elsewhere = Cli(tmp_path / "cli"), Cli(tmp_path / "other")
    with start_server(tmp_path, *options) as server:

        def add(cli: Cli, name: str) -> None:
            options = ("sessions", "add", name, "--url", server.url, "--token-stdin")
            assert cli(*options, stdin=server.token.encode()).code == 0

        add(cli, "front")
        there = cli("run", f"echo left > left.txt; {THERE}").out
        assert cli("run", "-m", "kernel", f"print(open('left.txt').read(), end=''); {WHERE}").out == f"left\n{there}"
        assert cli("run", THERE).out == there
        add(elsewhere, "front")
        assert elsewhere("run", "-m", "kernel", WHERE).out == there
        add(cli, "second")
        second = cli("run", "-s", "second", THERE).out
        assert second != there
        assert cli("run", "-s", "second", "-m", "kernel", WHERE).out == second
        assert cli("sessions", "close", "--all").code == 0
        assert list(server.root.iterdir()) == []
