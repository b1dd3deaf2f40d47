"""stdout and stderr of a process: shown, recorded, attached to and logged in the order in which it wrote to them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.cli import Cli
from tests.support.servers import JupyterServer

# Writes to the streams in turns, each time when what it wrote before was recorded: a busy machine proves nothing.
TURNS = """
import glob, json, os, sys, time
def folder():
    while True:
        for path in glob.glob(sys.argv[1] + "/*/state.json"):
            with open(path) as file:
                if json.load(file)["pid"] == os.getpid():
                    return os.path.dirname(path)
        time.sleep(0.01)
order = folder() + "/order"
for i in range(15):
    for number, name in ((2, "err"), (1, "out")):
        before = os.path.getsize(order)
        os.write(number, f"{name} {i:02d}\\n".encode())
        while os.path.getsize(order) == before:
            time.sleep(0.001)
"""
ORDERED = "".join(f"err {i:02d}\nout {i:02d}\n" for i in range(15))
OUT, ERR = ("".join(f"{name} {i:02d}\n" for i in range(15)) for name in ("out", "err"))
BAR = """
import sys, time
from tqdm import tqdm
for epoch in range(5):
    for _ in tqdm(range(30), desc=f"epoch {epoch}"):
        time.sleep(0.001)
    print(f"accuracy 0.86{epoch}", flush=True)
"""


def merged(lab: Cli, *words: str) -> str:
    """What a terminal would get: both streams of a command of ours in one pipe."""
    process = lab.start(*words, stderr=subprocess.STDOUT)
    out, _ = process.communicate(timeout=90)
    return out.decode()


@pytest.fixture
def turns(jupyter: JupyterServer) -> tuple[str, ...]:
    """The words of a command that writes to both streams in turns."""
    return ("--", sys.executable, "-c", TURNS, str(jupyter.root.parent / "resident" / "runs"))


@pytest.fixture
def job(lab: Cli, turns: tuple[str, ...]) -> str:
    """A job that has written to both streams in turns."""
    started = lab("run", "--detach", *turns).out.strip()
    assert lab("job", "wait", started).code == 0
    return started


def test_a_run_shows_one_order(lab: Cli, turns: tuple[str, ...], job: str) -> None:
    """While it runs, attached to later, in a job's log, and as events."""
    assert merged(lab, "run", *turns) == ORDERED
    assert merged(lab, "run", "--attach", job) == ORDERED
    assert merged(lab, "job", "logs", job) == ORDERED
    assert merged(lab, "job", "logs", job, "-f") == ORDERED
    assert merged(lab, "job", "logs", job, "--from", "-14") == ORDERED[-28:]
    assert merged(lab, "job", "logs", job, "--bytes", "14") == ORDERED[:28]
    assert merged(lab, "job", "logs", job, "--stream", "stderr") == ERR
    events = [json.loads(line) for line in lab("run", "--events", "--attach", job).out.splitlines()]
    assert "".join(event["text"] for event in events if event.get("type") == "stream") == ORDERED
    document = lab("run", "--json", "--attach", job).json
    assert (document["stdout"], document["stderr"]) == (OUT, ERR)


def test_a_progress_bar_eats_nothing(lab: Cli) -> None:
    """A result printed behind a bar stands on a line of its own."""
    shown = merged(lab, "run", "--", sys.executable, "-c", BAR)
    for epoch in range(5):
        assert f"\naccuracy 0.86{epoch}\n" in shown.replace("\r", "\n")


def test_code_in_the_kernel_has_one_order(lab: Cli) -> None:
    """The log of a kernel job, too."""
    turn = "print('err', i, file=sys.stderr, flush=True); print('out', i, flush=True)"
    code = f"import sys\nfor i in range(5): {turn}"
    job = lab("run", "-m", "kernel", "--detach", code).out.strip()
    lab("job", "wait", job)
    assert merged(lab, "job", "logs", job) == "".join(f"err {i}\nout {i}\n" for i in range(5))


def test_runs_without_an_order(lab: Cli, jupyter: JupyterServer, job: str) -> None:
    """Those that version 0.6.0 recorded are shown, one stream after the other."""
    (jupyter.root.parent / "resident" / "runs" / job / "order").unlink()
    assert merged(lab, "job", "logs", job) == OUT + ERR
    assert sorted(merged(lab, "run", "--attach", job).splitlines()) == sorted((OUT + ERR).splitlines())


def test_attaching_from_an_offset(lab: Cli, job: str) -> None:
    """Of each stream, what was seen is passed over; the rest keeps its order."""
    for lines in (0, 1, 5):
        offset = ("--from", f"stdout={7 * lines}", "--from", f"stderr={7 * lines}")
        assert merged(lab, "run", "--attach", job, *offset) == ORDERED[14 * lines :]
