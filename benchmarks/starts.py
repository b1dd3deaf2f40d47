"""From nothing to the first result on this machine, and how long `status` waits for Colab's answers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lecoder_cgpu.testing.colab import FakeColab

from .measure import TOOL, Aim, Runtime, Table

FLOOR = [sys.executable, "-m", f"{__package__}.from_nothing"]
CODE = "print(1)"
ANSWER = 1.0  # seconds that each answer of the fake Colab takes, so that the machine's own time hardly counts


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    few = max(rounds // 3, 1)
    first_run(table, few)
    status(table, few)


def first_run(table: Table, rounds: int) -> None:
    """A local runtime that does not exist yet, beside a server, a kernel and a client without anything else."""
    pairs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "LECODER_CGPU_CONFIG_DIR": folder, "LECODER_CGPU_BACKEND": "local"}
            ours = seconds([*TOOL, "run", "-m", "kernel", CODE], environment)
            subprocess.run([*TOOL, "sessions", "close", "--all"], env=environment, check=True, capture_output=True)
        with tempfile.TemporaryDirectory() as folder:
            pairs.append((ours, seconds([*FLOOR, folder, CODE], dict(os.environ))))
    table.ratio("first run on a fresh local runtime", pairs, 0.8)


def status(table: Table, rounds: int) -> None:
    """How many answers, one after the other, `status` waits for beyond the slowest, with one runtime."""
    with tempfile.TemporaryDirectory() as folder, FakeColab() as colab:
        colab.configure(Path(folder))
        environment = {**os.environ, "LECODER_CGPU_CONFIG_DIR": folder, "LECODER_CGPU_KEEPER": "off"}
        environment["LECODER_CGPU_BACKEND"] = "colab"
        subprocess.run([*TOOL, "run", "--gpu", "T4", "true"], env=environment, check=True, capture_output=True)
        quick = statistics.median(seconds([*TOOL, "status"], environment) for _ in range(rounds))
        colab.fail("GET *", times=None, delay=ANSWER)
        slow = statistics.median(seconds([*TOOL, "status"], environment) for _ in range(rounds))
        colab.mend()
    more = (slow - quick) / ANSWER - 1
    table.add("answers that `status` waits for, beyond one", f"{more:.1f}", more, Aim(1.5, ""), answers=round(more, 2))


def seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began
