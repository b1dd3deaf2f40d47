"""Peak memory of every process that 1 GB passes through, and how fast it passes."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from .measure import TOOL, Aim, Runtime, Table

BYTES = 1_000_000_000
SHELL = f"yes 0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopq | head -c {BYTES}"
# Flushed: a kernel that is busy printing gathers hundreds of megabytes in one message otherwise, and whoever reads a
# message has to hold it.
CODE = f"lines = ('x' * 999 + '\\n') * 1000\nfor i in range({BYTES} // 1_000_000): print(lines, end='', flush=True)"
MOST = 150  # MiB of any process
COUNT = (
    "import subprocess, sys, resource\n"
    "process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
    "total = 0\n"
    "while data := process.stdout.read1(1 << 20): total += len(data)\n"
    "assert process.wait() == 0\n"
    "print(total, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    if not Path("/proc/self/status").exists():
        return  # peak memory of other processes is read there
    session = runtime.client.session()
    connected = session.connect_helper()
    helper = connected.hello().pid
    kernel = _pid_of_kernel()
    connected.close()
    session.server.close()
    for name, words in (("process", [SHELL]), ("kernel", ["-m", "kernel", CODE])):
        for pid in (helper, kernel):
            _forget_peak(pid)
        before = _megabytes(helper, "VmRSS")
        began = time.perf_counter()
        command = [sys.executable, "-c", COUNT, *TOOL, "run", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        taken = time.perf_counter() - began
        total, peak = map(int, done.stdout.split())
        assert total == BYTES, total
        client, after = peak / 1024, _megabytes(helper, "VmHWM")
        table.add(
            f"1 GB through a {name} run",
            f"{BYTES / taken / 1e6:.0f} MB/s   client {client:.0f} MiB, helper {before:.0f} -> {after:.0f} MiB",
            max(client, after),
            Aim(MOST, "MiB"),
            megabytesPerSecond=round(BYTES / taken / 1e6, 1),
            clientMiB=round(client),
            helperMiB=round(after),
            helperBeforeMiB=round(before),
        )


def _pid_of_kernel() -> int:
    done = subprocess.run(
        [*TOOL, "run", "-m", "kernel", "import os; print(os.getpid())"], capture_output=True, check=True, text=True
    )
    return int(done.stdout)


def _forget_peak(pid: int) -> None:
    """Have the system count a process's peak memory from now on."""
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


def _megabytes(pid: int, field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
