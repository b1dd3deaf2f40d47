"""How long it takes from a remote write to the local print: both ends look at the clock of this machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import time

from .measure import TOOL, Aim, Runtime, Table

COUNT = 100
CODE = f"import time\nfor i in range({COUNT}):\n    print(time.time(), flush=True)\n    time.sleep(0.03)"
MOST = 50.0  # milliseconds


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    add(table, "latency of a kernel run's line", ["-m", "kernel", CODE])
    add(table, "latency of a process run's line", ["python", "-c", CODE])


def add(table: Table, name: str, words: list[str]) -> None:
    process = subprocess.Popen([*TOOL, "run", *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    waits = []
    rest = b""
    while data := os.read(process.stdout.fileno(), 1 << 16):
        now = time.time()
        *lines, rest = (rest + data).split(b"\n")
        waits += [1000 * (now - float(line)) for line in lines]
    process.wait()
    assert len(waits) == COUNT
    median, tail = statistics.median(waits), statistics.quantiles(waits, n=20)[-1]
    table.add(
        name,
        f"median {median:.1f} ms   (95 % within {tail:.1f} ms)",
        median,
        Aim(MOST, "ms"),
        milliseconds=round(median, 2),
        milliseconds95=round(tail, 2),
    )
