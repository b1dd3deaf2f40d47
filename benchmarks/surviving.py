"""What results that come home meanwhile cost the work, and how soon it goes on after its runtime was lost."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from lecoder_cgpu.testing.colab import FakeColab

from .measure import TOOL, Aim, Runtime, Table

# 1 GiB in 256 files, of which each round replaces 1 %. It prints how many rounds it did in the seconds that it is
# given, which begin when the file `go` is there.
WORK = """
import hashlib, os, sys, time
os.makedirs("out", exist_ok=True)
for number in range(256):
    open(f"out/{number}", "wb").write(os.urandom(1 << 12) * 1024)
while not os.path.exists("go"):
    time.sleep(0.05)
until, rounds = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < until:
    for _ in range(20):
        hashlib.sha256(bytes(16 << 20)).hexdigest()
    for number in range(3):
        name = f"out/{(3 * rounds + number) % 256}"
        open("part", "wb").write(os.urandom(1 << 12) * 1024)
        os.replace("part", name)
    rounds += 1
print(rounds)
"""
SECONDS = 60.0  # that the work is given
SETTLE = 5.0  # seconds between the first GiB on the disk and the work
EVERY = "10s"
LINES = "print('first', flush=True); import time; time.sleep(120)"


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    few = max(rounds // 5, 1)
    cost(table, runtime, few)
    going_on(table, few)


def cost(table: Table, runtime: Runtime, rounds: int, seconds: float = SECONDS) -> None:
    """How much less the work does while 1 GiB that changes by 1 % each round is fetched every ten seconds."""
    pairs = [(_rounds(runtime, seconds, pulled=True), _rounds(runtime, seconds, pulled=False)) for _ in range(rounds)]
    slower = 100 * (sum(floor for _, floor in pairs) / max(sum(ours for ours, _ in pairs), 1) - 1)
    table.add(
        "1 GiB pulled every 10 s: what it costs the run",
        f"{slower:.1f} % (rounds {', '.join(f'{ours} of {floor}' for ours, floor in pairs)})",
        max(slower, 0.0),
        Aim(3, "%"),
        percent=round(slower, 2),
    )


def _rounds(runtime: Runtime, seconds: float, *, pulled: bool) -> int:
    with tempfile.TemporaryDirectory(dir=runtime.folder) as folder:
        place, home = Path(folder) / "work", Path(folder) / "home"
        place.mkdir()
        words = ["--pull", f"out:{home}", "--every", EVERY] if pulled else []
        command = [*TOOL, "run", "--cwd", str(place), *words, "python3", "-c", WORK, str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
            while not (home.exists() if pulled else (place / "out" / "255").exists()) and running.poll() is None:
                time.sleep(0.1)
            os.sync()
            time.sleep(SETTLE)
            (place / "go").touch()
            out, _ = running.communicate()
        return int(out)


def going_on(table: Table, rounds: int) -> None:
    """From the loss to the first line of the next attempt, beside a fresh run with the same folder. The pauses that let
    the lender and the user say that it was no loss are left out."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder, FakeColab() as colab:
        colab.configure(Path(folder) / "config")
        colab.switches.lost = "404"
        source = Path(folder) / "source"
        source.mkdir()
        (source / "main.py").write_text(LINES)
        environment = {
            **os.environ,
            "LECODER_CGPU_CONFIG_DIR": str(Path(folder) / "config"),
            "LECODER_CGPU_BACKEND": "colab",
            "LECODER_CGPU_KEEPER": "off",
            "LECODER_CGPU_LOSS_PAUSE": "0",
            "LECODER_CGPU_RESTART_PAUSE": "0",
        }
        words = ["run", "--rm", "--gpu", "T4", "--i-understand-free-tier", "--restarts", "1", "--sync", str(source)]
        for _ in range(rounds):
            began = time.perf_counter()
            with subprocess.Popen(
                [*TOOL, *words, "python3", "main.py"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as running:
                assert running.stdout is not None
                running.stdout.readline()
                fresh = time.perf_counter() - began
                colab.kill()
                began = time.perf_counter()
                running.stdout.readline()
                pairs.append((time.perf_counter() - began, fresh))
                running.terminate()
                running.communicate()
    table.ratio("from a loss to the first line, beside a fresh run", pairs, 1.2)
