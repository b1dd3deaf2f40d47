"""What `logs`, `job list`, `status` and the tools for agents say of a run: the same, and the truth."""

from __future__ import annotations

import json
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
    "status": ("status",),
    "history": ("logs",),  # this machine's own runtime is asked
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
    wait_until((next((shared.state / "local").iterdir()) / "resident" / "runs" / job / "result.json").exists)
    shared(*(job if word == "JOB" else word for word in LEARNING[how]))
    (entry,) = (json.loads(line) for line in (shared.state / "history.jsonl").read_text().splitlines()[-1:])
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


def test_a_close_says_what_it_ended(local: Cli) -> None:
    """What ran is said to be ended by it, and what had ended before, unseen, keeps its own end. Nothing is lost."""
    done = started(local, "exit 3")
    kernel = started(local, "-m", "kernel", "import time; time.sleep(100)")
    job = started(local, "sleep 100")
    wait_until(lambda: local("job", "logs", done, "--json").json["job"]["state"] == "exited")
    closed = local("sessions", "close", "--json").json["closed"]
    assert sorted(closed[0]["ended"]) == sorted([job, kernel])
    found = {entry["runId"]: entry for entry in entries(local)}
    told = [(found[run]["status"], found[run]["exitCode"], found[run]["stopped"]) for run in (job, kernel)]
    assert told == [
        ("error", 143, {"by": "close", "steps": ["SIGTERM"]}),
        ("error", 1, {"by": "close", "steps": ["SIGINT"]}),
    ]
    assert (found[done]["status"], found[done]["exitCode"]) == ("error", 3)
    assert "stopped" not in found[done]
    assert local("logs", "--stats", "--json").json["failedExecutions"] == 3
    assert entries(local, "--status", "running") == []


MODES = {
    "process": ("echo begun; until test -e go; do sleep 0.1; done; echo done",),
    "kernel": (
        "-m",
        "kernel",
        "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.1)\nprint('done')",
    ),
}


def test_a_killed_watcher_leaves_its_record(local: Cli) -> None:
    """It is written at the start, in the order of the starts, and completed by whoever learns the end."""
    for words in MODES.values():
        watcher = local.start("run", "--events", *words, bufsize=0)
        assert watcher.stdout
        assert b"begun" in watcher.stdout.readline()
        watcher.kill()
        watcher.communicate()
    left = entries(local)
    assert [(item["status"], item["mode"]) for item in left] == [("running", "kernel"), ("running", "terminal")]
    assert not {"exitCode", "errorCode", "learned"} & set(left[0])
    assert local("run", "touch go; echo between").code == 0
    wait_until(lambda: all(job["state"] == "exited" for job in local("job", "list", "--json").json["jobs"]))
    found = entries(local)
    assert [item["timestamp"] for item in found[1:]] == [item["timestamp"] for item in left]
    assert [item["stdout"] for item in found] == ["between\n", "begun\ndone\n", "begun\ndone\n"]
    assert {(item["status"], item["exitCode"], "watcher" in item) for item in found} == {("ok", 0, False)}


def test_what_ends_well_when_it_is_stopped_says_so(shared: Cli) -> None:
    """A program that saves its work on SIGTERM and exits with 0 has not done all that it was to do."""
    job = started(shared, "trap 'echo saved; exit 0' TERM; echo begun; while :; do sleep 0.1; done")
    wait_until(lambda: shared("job", "logs", job).out == "begun\n")
    assert shared("job", "kill", job).code == 0
    assert shared("job", "wait", job).out == f"{job} exited 0 (stopped: kill)\n"
    (entry,) = entries(shared, "-n", "1")
    assert (entry["status"], entry["stopped"]) == ("ok", {"by": "kill", "steps": ["SIGTERM"]})
    assert "stopped (kill)" in shared("logs", "-n", "1").out


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
