"""What `logs`, `job list`, `status` and the tools for agents say of a run: the same, and the truth."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.wait import wait_until


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Cli]:
    """The command line with the local backend chosen; what it started is ended afterwards."""
    command = Cli(tmp_path, {"LECODER_CGPU_BACKEND": "local"})
    yield command
    assert command("sessions", "close", "--all").code == 0


def entries(command: Cli, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = command("logs", *words, "--json").json
    for entry in found:
        validate([entry], "logs")
    return found


def started(command: Cli, *words: str) -> str:
    job: str = command("run", "--detach", *words, "--json").json["jobId"]
    return job


LEARNING = {
    "wait": ("job", "wait", "JOB"),
    "list": ("job", "list"),
    "show": ("job", "show", "JOB"),
    "logs": ("job", "logs", "JOB"),
    "attach": ("run", "--attach", "JOB"),
    "result": ("job", "result", "JOB"),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    command = Cli(tmp_path_factory.mktemp("records"), {"LECODER_CGPU_BACKEND": "local"})
    yield command
    assert command("sessions", "close", "--all").code == 0


@pytest.mark.parametrize("how", LEARNING)
def test_whoever_learns_the_end_completes_the_entry(shared: Cli, how: str) -> None:
    """Until then no exit status is claimed; afterwards status, exit status and output are those of the job."""
    job = started(shared, f"echo out-{how}; echo err >&2; sleep 1; exit 4")
    (running,) = entries(shared, "-n", "1")
    assert (running["runId"], running["status"]) == (job, "running")
    assert not {"exitCode", "errorCode", "learned"} & set(running), running
    time.sleep(2)
    shared(*(job if word == "JOB" else word for word in LEARNING[how]))
    (entry,) = entries(shared, "-n", "1")
    assert (entry["id"], entry["timestamp"]) == (running["id"], running["timestamp"])
    assert (entry["runId"], entry["status"], entry["exitCode"]) == (job, "error", 4), entry
    assert (entry["stdout"], entry["stderr"]) == (f"out-{how}\n", "err\n")
    assert entry["outputBytes"] == len(entry["stdout"]) + 4
    assert entry["learned"] > entry["timestamp"]
    assert job in [item["runId"] for item in entries(shared, "--status", "error")]
    assert shared("logs", "show", job, "--json").json["exitCode"] == 4


def test_code_in_a_kernel_that_was_left_alone(shared: Cli) -> None:
    job = started(shared, "-m", "kernel", "print('there'); 1/0")
    shared("job", "wait", job)
    (entry,) = entries(shared, "-n", "1")
    assert (entry["status"], entry["mode"], entry["stdout"]) == ("error", "kernel", "there\n")
    assert entry["error"]["ename"] == "ZeroDivisionError"


def test_a_key_used_twice_is_one_entry(shared: Cli) -> None:
    """While it runs, and when it has ended."""
    words = ("--key", "once", "echo once; exit 3")
    job = started(shared, *words)
    assert started(shared, *words) == job
    shared("job", "wait", job)
    assert started(shared, *words) == job
    assert [item["status"] for item in entries(shared) if item.get("runId") == job] == ["error"]


def test_secrets_of_a_job_stay_out(shared: Cli) -> None:
    """Their values are not known any more when the end is learned, so no output is kept."""
    command = ("run", "--detach", "--secret", "TOKEN_OF_MINE", "echo $TOKEN_OF_MINE", "--json")
    job = shared(*command, env={"TOKEN_OF_MINE": "quite-a-secret-value"}).json["jobId"]
    assert shared("job", "wait", job).code == 0
    (entry,) = entries(shared, "-n", "1")
    assert (entry["status"], entry["stdout"], entry["outputKept"]) == ("ok", "", False)
    assert "quite-a-secret-value" not in (shared.state / "history.jsonl").read_text()


def test_a_closed_session_loses_what_ran_on_it(local: Cli) -> None:
    job = started(local, "sleep 100")
    assert local("sessions", "close").code == 0
    (entry,) = entries(local, "--status", "error")
    assert (entry["runId"], entry["status"], entry["error"]["ename"]) == (job, "lost", "RunLost")
    assert entry["exitCode"] == 74
    assert "was closed" in entry["error"]["evalue"]
    assert local("logs", "--stats", "--json").json["failedExecutions"] == 1
    assert entries(local, "--status", "running") == []


def test_restarts_are_in_the_record(shared: Cli) -> None:
    shared("run", "-m", "kernel", "x = 1")
    assert shared("kernel", "restart").code == 0
    (entry,) = entries(shared, "-n", "1")
    assert (entry["command"], entry["status"], entry["mode"]) == ("kernel restart", "ok", "kernel")


def test_cells_that_did_not_run_claim_nothing(shared: Cli, tmp_path: Path) -> None:
    """Their codes are null, and the notebook's entry has a run id and the output that it counts."""
    import nbformat

    cells = [nbformat.v4.new_code_cell(source) for source in ("print('one')", "1/0", "print('three')")]
    path = tmp_path / "book.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    document = shared("run", str(path), "--json").json
    validate(document, "notebook-run")
    assert [(cell["status"], cell["exitCode"]) for cell in document["cells"]] == [
        ("ok", 0), ("error", 1), ("not_run", None)
    ]  # fmt: skip
    assert [cell["errorCode"] for cell in document["cells"]] == [0, document["errorCode"], None]
    (entry,) = entries(shared, "-n", "1")
    assert entry["runId"] == document["runId"]
    assert (entry["stdout"], entry["outputBytes"]) == ("one\n", 4)


def test_what_was_not_asked_is_null(colab: FakeColab, colab_cli: Cli) -> None:
    """A runtime that is gone has a time and counts as no active session; one that runs elsewhere claims no runs."""
    assert colab_cli("run", "--cpu", "--detach", "sleep 100").code == 0
    (runtime,) = colab_cli("status", "--json").json["runtimes"]
    assert (runtime["runs"], runtime["gpus"]) == (1, [])
    colab.kill()
    assert colab_cli("run", "-s", "colab", "ls").code == 74
    document = colab_cli("status", "--json").json
    (runtime,) = document["runtimes"]
    assert (runtime["runs"], runtime["gpus"], runtime["gpu"]) == (None, None, None)
    assert runtime["lost"]["at"] > "2026"
    assert document["sessions"]["active"] == 0
    (entry,) = entries(colab_cli, "--status", "lost")
    assert runtime["lost"]["at"] in entry["error"]["evalue"]


def test_an_interrupted_start_is_given_back_and_written_down(colab: FakeColab, colab_cli: Cli) -> None:
    colab.switches.boot_seconds = 30
    client = colab_cli.start("run", "--gpu", "T4", "nvidia-smi")
    wait_until(lambda: bool(colab.vms))
    time.sleep(1.5)
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=30)
    assert client.returncode == 130
    assert b"given back" in err, err
    assert colab.vms == {}
    assert colab_cli("sessions", "list", "--json").json == []
    (entry,) = entries(colab_cli)
    assert (entry["command"], entry["status"], entry["exitCode"]) == ("nvidia-smi", "abort", 130)
