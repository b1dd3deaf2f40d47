"""`--rm`: a runtime for one command, given back whatever happens."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.store import owners
from lecoder_cgpu.store.session_store import Owner
from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli
from tests.support.wait import wait_until


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Cli]:
    command = Cli(tmp_path, {"LECODER_CGPU_BACKEND": "local"})
    yield command
    assert command("sessions", "close", "--all").code == 0


def sessions(command: Cli) -> list[dict[str, Any]]:
    path = command.state / "sessions.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found


def test_run_fetch_release(local: Cli, tmp_path: Path) -> None:
    """The program's status is ours, its results are here, and nothing is left of the runtime; what was active stays."""
    assert local("run", "echo kept").code == 0
    (mine,) = sessions(local)
    source = tmp_path / "project"
    source.mkdir()
    (source / "train.sh").write_text("echo trained > model.txt\nexit 3\n")
    target = tmp_path / "model.txt"
    words = ("run", "--rm", "--sync", str(source), "--pull", f"model.txt:{target}", "--json", "bash", "train.sh")
    ran = local(*words)
    validate(ran.json, "run")
    assert (ran.code, ran.json["release"]) == (3, {"released": "server"}), ran
    assert target.read_text() == "trained\n"
    (left,) = sessions(local)
    assert (left["id"], left["isActive"]) == (mine["id"], True)
    assert [path.name for path in (local.state / "local").iterdir()] == [mine["id"]]
    assert local("run", "--rm", "-m", "kernel", "--json", "1/0").json["release"]["released"] == "server"


def test_a_file_that_a_failed_program_did_not_write(local: Cli) -> None:
    """There is nothing to keep the runtime for."""
    ran = local("run", "--rm", "--pull", "out.txt", "--json", "exit 3")
    assert (ran.code, ran.json["release"]["released"]) == (3, "server")
    assert sessions(local) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(colab: FakeColab, colab_cli: Cli, number: int) -> None:
    client = colab_cli.start("run", "--rm", "--cpu", "echo begun; sleep 300", bufsize=0)
    assert client.stdout
    assert client.stdout.readline() == b"begun\n"
    client.send_signal(number)
    client.communicate(timeout=60)
    assert client.returncode == 128 + number
    assert colab.vms == {}
    assert sessions(colab_cli) == []


def test_results_that_could_not_be_fetched(colab: FakeColab, colab_cli: Cli) -> None:
    """The program ended well: the runtime is kept for ten minutes, and both next steps are told."""
    ran = colab_cli("run", "--rm", "--cpu", "--pull", "modle.txt", "--json", "echo x > model.txt")
    assert ran.code == 74, ran
    assert "kept for 10 minutes" in ran.json["notice"]
    assert ran.json["release"]["reason"] == "not all results were fetched: modle.txt"
    (kept,) = sessions(colab_cli)
    assert kept["lease"]["idle"] == 600
    assert kept["owner"] is None
    name = kept["name"]
    assert colab_cli("cat", "model.txt", "-s", name).out == "x\n"
    assert colab_cli("sessions", "close", name).code == 0
    assert colab.vms == {}


def test_killed(colab: FakeColab, colab_cli: Cli) -> None:
    """The record names the command before anything starts; when it is gone, the keeper gives the runtime back, also
    where nothing but its end can be seen."""
    colab.switches.keep_alive = "empty"
    colab_cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    colab.switches.boot_seconds = 3600
    client = colab_cli.start("run", "--rm", "--cpu", "true")
    wait_until(lambda: any(item["runtime"]["endpoint"] in colab.vms for item in sessions(colab_cli)))
    client.kill()
    client.communicate(timeout=30)
    wait_until(lambda: colab.vms == {} and sessions(colab_cli) == [])
    colab.switches.boot_seconds = 0
    client = colab_cli.start("run", "--rm", "--cpu", "echo begun; sleep 300", bufsize=0)
    assert client.stdout
    assert client.stdout.readline() == b"begun\n"
    (record,) = sessions(colab_cli)
    assert record["owner"]["pid"] == client.pid
    assert record["lease"]["idle"] == 600
    time.sleep(2)
    assert len(colab.vms) == 1  # not while the command lives
    client.kill()
    client.communicate(timeout=30)
    wait_until(lambda: colab.vms == {} and sessions(colab_cli) == [])
    colab_cli("keeper", "stop")


def test_killed_on_this_machine(local: Cli) -> None:
    """There is no keeper for what costs nothing: the server itself has the session closed, with all that runs there."""
    client = local.start("run", "--rm", "echo begun; sleep 300", bufsize=0)
    assert client.stdout
    assert client.stdout.readline() == b"begun\n"
    client.kill()
    client.communicate(timeout=30)
    wait_until(lambda: sessions(local) == [] and list((local.state / "local").iterdir()) == [])
    (entry,) = local("logs", "--json").json
    assert (entry["status"], entry["stopped"]["by"]) == ("error", "close")


def test_another_machine_is_not_judged() -> None:
    """Its processes cannot be seen from here."""
    mine = owners.this_process()
    assert not owners.is_gone(mine)
    assert owners.is_gone(Owner(pid=mine.pid, identity="another boot/1", host=mine.host))
    assert not owners.is_gone(Owner(pid=mine.pid, identity="another boot/1", host=mine.host + "-else"))
    assert not owners.is_gone(None)


def test_notebooks_and_shells(local: Cli, tmp_path: Path) -> None:
    import nbformat

    path = tmp_path / "book.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('one')")]), path)
    assert local("run", str(path), "--rm").code == 0
    assert (tmp_path / "book.executed.ipynb").exists()
    assert sessions(local) == []
    piped = local("connect", "--rm", stdin=b"echo from a pipe; exit 4\n")
    assert (piped.code, piped.out) == (4, "from a pipe\n")
    assert sessions(local) == []


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--rm", "--detach", "ls"),
        ("run", "--rm", "--wait", "3", "ls"),
        ("run", "--rm", "--on-disconnect", "detach", "ls"),
        ("run", "--rm", "-s", "local", "ls"),
        ("connect", "--rm", "--attach", "1"),
        ("ssh", "--rm", "--proxy", "--public-key", "x"),
        ("ssh", "--gpu", "T4"),
    ],
)
def test_what_does_not_go_with_it(cli: Cli, words: tuple[str, ...]) -> None:
    document = failed(cli(words[0], "--json", *words[1:]))
    assert (document["errorCode"], document["exitCode"]) == (2006, 2)
