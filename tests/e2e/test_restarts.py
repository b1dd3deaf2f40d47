"""`--restarts` and `--retries`: work that outlives its runtime."""

from __future__ import annotations

import json
import os
import random
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

KNOWN = "--i-understand-free-tier"

# Sums seeded numbers, and saves the state of its random numbers with each checkpoint, which a pointer names.
TRAINING = """
import json, os, random, shutil, sys, time
seen = {name[13:]: value for name, value in os.environ.items() if name.startswith("LECODER_CGPU_")}
print("attempt", seen["ATTEMPT"], seen.get("RESUME"), seen["JOB_ID"], file=sys.stderr, flush=True)
chance, total, step = random.Random(7), 0.0, 0
if "RESUME" in seen and os.path.exists("out/latest"):
    folder = open("out/latest").read()
    state = [json.load(open(f"out/{folder}/{part}")) for part in ("step", "total", "chance")]
    step, total = state[:2]
    chance.setstate((state[2][0], tuple(state[2][1]), state[2][2]))
while step < STEPS:
    step, total = step + 1, total + chance.random()
    time.sleep(0.1)
    if step % 10 == 0:
        os.makedirs(f"out/c{step}", exist_ok=True)
        for part, value in (("step", step), ("total", total), ("chance", chance.getstate())):
            json.dump(value, open(f"out/c{step}/{part}", "w"))
        open("latest.tmp", "w").write(f"c{step}")
        os.replace("latest.tmp", "out/latest")
        shutil.rmtree(f"out/c{step - 20}", ignore_errors=True)
print(step, repr(total), flush=True)
"""


def expected(steps: int) -> str:
    chance = random.Random(7)
    total = 0.0
    for _ in range(steps):
        total += chance.random()
    return f"{steps} {total!r}\n"


def written(tmp_path: Path, steps: int) -> Path:
    source = tmp_path / "src"
    source.mkdir()
    (source / "train.py").write_text(TRAINING.replace("STEPS", str(steps)))
    return source


def generation(place: Path) -> int:
    record = place.parent / f".{place.name}.lecoder-part" / "current"
    return int(json.loads(record.read_text())["number"]) if record.exists() else 0


def take_away(colab: FakeColab, source: Path, place: Path) -> int:
    """Break the source, and take the runtime away, once it has brought results home; how many runtimes there were."""
    before = generation(place)
    wait_until(lambda: generation(place) > before and bool(colab.vms))
    count = len(colab.vms)
    (source / "train.py").write_text("broken(")
    colab.kill()
    return count


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Cli]:
    command = Cli(tmp_path, {"LECODER_CGPU_BACKEND": "local"})
    yield command
    assert command("sessions", "close", "--all").code == 0


def test_an_undisturbed_result_after_losses(colab: FakeColab, colab_cli: Cli, tmp_path: Path) -> None:
    """Two losses: the same result as without; the files of the first attempt, even if they were broken here since; one
    id for all attempts; nothing held twice."""
    source, place = written(tmp_path, 90), tmp_path / "results"
    colab.switches.lost = "404"
    running = colab_cli.start(
        "run", "--rm", "--json", KNOWN, "--restarts", "5", "--sync", str(source),
        "--pull", f"out:{place}", "--every", "1s", "python3", "train.py",
    )  # fmt: skip
    most = 0
    for _ in range(2):
        most = max(most, take_away(colab, source, place))
    out, err = running.communicate(timeout=150)
    document = json.loads(out)
    validate(document, "run")
    assert (running.returncode, document["stdout"]) == (0, expected(90)), (document, err)
    causes = [(item["cause"], item["resumed"]) for item in document["attempts"]]
    assert causes == [("lost", False), ("lost", True), ("finished", True)]
    told = [item["stderr"].split()[:4] for item in document["attempts"]]
    assert [words[1:3] for words in told] == [["1", "None"], ["2", "1"], ["3", "1"]]
    assert len({words[3] for words in told}) == 1
    assert most == 1
    assert colab.vms == {}
    assert document["release"]["released"] is not None
    logged = {item["runId"]: item["status"] for item in colab_cli("logs", "--json").json if "runId" in item}
    assert [logged[item["runId"]] for item in document["attempts"]] == ["lost", "lost", "ok"]


def test_random_losses(colab: FakeColab, colab_cli: Cli, tmp_path: Path, loss_seed: int) -> None:
    """Lost at random moments, also while another runtime is asked for, or results are put back: the same result, never
    two runtimes, and nothing held at the end."""
    chance = random.Random(loss_seed)
    source, place = written(tmp_path, 40), tmp_path / "results"
    colab.switches.lost = chance.choice(("404", "refused"))
    running = colab_cli.start(
        "run", "--rm", "--json", KNOWN, "--restarts", "9", "--sync", str(source),
        "--pull", f"out:{place}", "--every", "1s", "python3", "train.py",
    )  # fmt: skip
    most, losses = 0, 0
    wait_until(lambda: generation(place) > 0)
    due = time.monotonic() + chance.uniform(0.0, 2.0)
    until = time.monotonic() + 120
    while running.poll() is None:
        assert time.monotonic() < until
        most = max(most, len(colab.vms))
        if losses < 2 and time.monotonic() > due and colab.vms:
            colab.kill()
            losses += 1
            due = time.monotonic() + chance.uniform(2.0, 8.0)
        time.sleep(0.05)
    out, err = running.communicate()
    document = json.loads(out)
    assert (running.returncode, document["stdout"]) == (0, expected(40)), (document, err)
    causes = [item["cause"] for item in document.get("attempts", [])]
    assert losses == 0 or causes == ["lost"] * (len(causes) - 1) + ["finished"], document
    assert most == 1
    assert colab.vms == {}


def test_a_machine_that_dies_of_its_memory(colab: FakeColab, colab_cli: Cli) -> None:
    """It would die again, so there is no other attempt. The command plays what the runtime notes of its memory."""
    note = 'cd $LECODER_CGPU_RUN && echo \'{"at": "", "memoryShare": 0.97}\' > u && mv u usage.json'
    colab.switches.lost = "404"
    refused = colab_cli("run", "--json", "--restarts", "3", "--max-units", "2", "true")
    assert (refused.code, refused.json["error"]["name"], colab.vms) == (2, "FreeTier", {}), refused
    assert "at most 2 units" in refused.err
    running = colab_cli.start("run", "--json", KNOWN, "--restarts", "3", f"while {note}; do echo x; sleep 0.02; done")
    wait_until(lambda: any("progress" in job for job in colab_cli("job", "list", "--json").json.get("jobs", ())))
    colab.kill()
    document = json.loads(running.communicate(timeout=60)[0])
    validate(document, "run")
    assert [item["cause"] for item in document["attempts"]] == ["oom"], document
    assert (document["status"], document["memoryShare"], "97%" in document["error"]["message"]) == (
        "unknown",
        0.97,
        True,
    )
    assert (running.returncode, colab.vms) == (74, {})


def test_what_is_not_run_again(local: Cli, tmp_path: Path) -> None:
    """The program's own failure under --restarts, a failure at once under --retries, and what the user ends."""
    once = local("run", "--json", "--restarts", "3", "exit 5")
    assert (once.code, [item["cause"] for item in once.json["attempts"]]) == (5, ["failed"]), once
    unasked = local("run", "--json", "--no-restarts", "exit 5")
    assert (unasked.code, "attempts" in unasked.json) == (5, False), unasked
    early = local("run", "--json", "--retries", "3", "exit 5")
    assert early.code == 5
    assert "of its own running time, and would do so again" in early.err
    running = local.start("run", "--json", "--restarts", "3", "--name", "long", "sleep 60")
    wait_until(lambda: any(job["state"] == "running" for job in local("job", "list", "--json").json["jobs"]))
    assert local("job", "kill", "long").code == 0
    document: dict[str, Any] = json.loads(running.communicate(timeout=30)[0])
    assert (document["stopped"]["by"], document["attempts"][0]["cause"]) == ("kill", "killed"), document


def test_a_server_that_dies_on_a_machine_that_stays(local: Cli, tmp_path: Path) -> None:
    """The program may live on there, so it is not run a second time beside the first."""
    mark = tmp_path / "mark"
    running = local.start("run", "--json", "--restarts", "3", f"echo x >> {mark}; sleep 4; echo y >> {mark}")
    wait_until(mark.exists)
    (server,) = (local.state / "local").glob("*/server.json")
    os.kill(int(json.loads(server.read_text())["pid"]), signal.SIGKILL)
    document: dict[str, Any] = json.loads(running.communicate(timeout=150)[0])
    assert (document["status"], [item["cause"] for item in document["attempts"]]) == ("unknown", ["unknown"]), document
    wait_until(lambda: mark.read_text().endswith("y\n"))
    assert mark.read_text() == "x\ny\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--restarts", "unlimited"),
        ("--restarts", "many"),
        ("--retry-on", "3"),
        ("--restarts", "2", "--no-restarts"),
        ("--restarts", "2", "-m", "kernel"),
        ("--retries", "2", "--wait", "5"),
    ],
)
def test_what_makes_no_sense(cli: Cli, words: tuple[str, ...]) -> None:
    """Refused before anything is asked for."""
    refused = cli("run", "--json", *words, "true")
    assert (refused.code, refused.json["errorCode"]) == (2, 1006) or refused.json["error"]["category"] == "usage"
