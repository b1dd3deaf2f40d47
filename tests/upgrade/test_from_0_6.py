"""What 0.6.0 left running goes on under this version: its sessions, kernels, helpers, jobs, keeper and files."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from lecoder_cgpu.sessions import keeper_process
from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
COMMIT = "257d714817634cb9ab3a12aadedce2457720bb5a"  # version 0.6.0
KEPT = {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}


@pytest.fixture(scope="session")
def old_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of 0.6.0, taken from the repository's history."""
    command = ["git", "-C", str(ROOT), "archive", COMMIT, "src"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if done.returncode:
        pytest.skip(f"the history of this checkout does not reach back to 0.6.0: {done.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def of_0_6(cli: Cli, source: Path) -> Cli:
    """The command line of 0.6.0 with the same configuration and state."""
    old = replace(cli, variables={**cli.variables, "PYTHONPATH": str(source)})
    assert old("--version").out.split()[-1] == "0.6.0"
    return old


def succeeds(cli: Cli, *words: str, stdin: bytes | None = None) -> str:
    result = cli(*words, stdin=stdin)
    assert result.code == 0, result
    return result.out


def test_local_work_goes_on(cli: Cli, old_source: Path, tmp_path: Path) -> None:
    """Variables stay in the kernel, a job that runs is found, waited for and read, the history is whole; then the old
    version can work with what the new one left."""
    cli.variables["LECODER_CGPU_BACKEND"] = "local"
    old, go = of_0_6(cli, old_source), tmp_path / "go"
    succeeds(old, "run", "-m", "kernel", "x = 41")
    job = succeeds(old, "run", "--detach", f"echo begun; until test -e {go}; do sleep 0.1; done; echo ended; exit 3")
    job = job.strip()
    cell = succeeds(old, "run", "-m", "kernel", "--detach", "print('from a cell')").strip()
    try:
        (session,) = cli("sessions", "list", "--json").json
        assert (session["backend"], session["name"]) == ("local", "local")
        status = cli("status", "--json").json
        validate(status, "status")
        assert status["runtimes"][0]["connected"] is True
        assert succeeds(cli, "run", "-m", "kernel", "print(x + 1)") == "42\n"
        jobs = {item["id"]: item["state"] for item in cli("job", "list", "--json").json["jobs"]}
        assert jobs[job] == "running"
        assert cli("job", "wait", job, "--timeout", "0.5").code == 124
        go.touch()
        assert cli("job", "wait", job, "--timeout", "60").code == 3
        assert cli("job", "logs", job).out == "begun\nended\n"
        assert cli("job", "wait", cell, "--timeout", "60").code == 0
        assert cli("run", "--attach", cell).out == "from a cell\n"
        # The helper of 0.6.0 answers what this version asks.
        assert cli("run", "echo out; echo err >&2; exit 7").code == 7
        data = os.urandom(300_000)
        (tmp_path / "data").write_bytes(data)
        succeeds(cli, "upload", str(tmp_path / "data"), "there/data")
        succeeds(cli, "download", "there/data", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == data
        commands = [entry["command"] for entry in cli("logs", "-n", "20", "--json").json]
        assert "x = 41" in commands
        assert "print(x + 1)" in commands
        # And back: the old version reads what this one wrote.
        assert old("sessions", "list", "--json").json[0]["id"] == session["id"]
        succeeds(cli, "run", "-m", "kernel", "y = x + 1")
        assert succeeds(old, "run", "-m", "kernel", "print(y)") == "42\n"
        assert "y = x + 1" in [entry["command"] for entry in old("logs", "-n", "20", "--json").json]
    finally:
        closed = cli("sessions", "close", "--all", "--json")
    assert closed.code == 0, closed
    assert cli("sessions", "list", "--json").json == []


def test_a_session_of_this_version_in_the_old_one(cli: Cli, old_source: Path) -> None:
    """Who goes back to 0.6.0 finds the session and its variables, and can close it."""
    cli.variables["LECODER_CGPU_BACKEND"] = "local"
    old = of_0_6(cli, old_source)
    succeeds(cli, "run", "-m", "kernel", "x = 42")
    job = succeeds(cli, "run", "--detach", "echo hi; exit 3").strip()
    try:
        assert succeeds(old, "run", "-m", "kernel", "print(x)") == "42\n"
        assert old("job", "wait", job, "--timeout", "60").code == 3
        assert old("job", "logs", job).out == "hi\n"
        assert "x = 42" in [entry["command"] for entry in old("logs", "--json").json]
    finally:
        closed = old("sessions", "close", "--all", "--json")
    assert closed.code == 0, closed
    assert cli("sessions", "list", "--json").json == []


def test_a_colab_runtime_and_its_keeper_go_on(colab: FakeColab, colab_cli: Cli, old_source: Path) -> None:
    """The runtime is the same one, the keeper of 0.6.0 is known and goes on, and its lease counts."""
    colab.switches.keep_alive = "empty"
    cli = colab_cli
    cli.variables |= KEPT
    old = of_0_6(cli, old_source)
    succeeds(old, "run", "--cpu", "--max-runtime", "2h", "-m", "kernel", "x = 41")
    job = succeeds(old, "run", "--detach", "sleep 600").strip()
    endpoint = colab.vm.endpoint
    wait_until(lambda: keeper_process.is_alive(keeper_process.read(cli.state)))
    keeper = keeper_process.read(cli.state)
    assert keeper is not None
    try:
        lease = cli("sessions", "list", "--json").json[0]["lease"]
        assert lease["endsAt"] == old("sessions", "list", "--json").json[0]["lease"]["endsAt"]
        assert succeeds(cli, "run", "-m", "kernel", "print(x + 1)") == "42\n"
        assert list(colab.vms) == [endpoint]
        status = cli("keeper", "status", "--json").json
        validate(status, "keeper-status")
        assert (status["running"], status["pid"]) == (True, keeper.pid)
        asked = colab.count("GET /tun/m/*/keep-alive/")
        wait_until(lambda: colab.count("GET /tun/m/*/keep-alive/") > asked + 1)
        # A keeper of this version takes over, and the old one's session is kept as it was.
        succeeds(cli, "keeper", "stop")
        assert succeeds(cli, "run", "-m", "kernel", "print(x)") == "41\n"
        wait_until(lambda: keeper_process.is_alive(keeper_process.read(cli.state)))
        again = keeper_process.read(cli.state)
        assert again is not None
        assert again.pid != keeper.pid
        assert succeeds(old, "run", "-m", "kernel", "print(x)") == "41\n"
        assert list(colab.vms) == [endpoint]
        succeeds(cli, "job", "kill", job)
    finally:
        closed = cli("sessions", "close", "--all", "--json")
        cli("keeper", "stop")
    assert closed.code == 0, closed
    assert not colab.vms
