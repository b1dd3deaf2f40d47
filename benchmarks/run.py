"""Whole-process times of the commands that agents take most, as ratios to a floor measured in the same run.

`python benchmarks/run.py [ROUNDS]`. Each command and its floor take turns, so that a machine whose speed drifts does
not favour either; the figures are medians of wall time. Ratios are what counts: absolute times are this machine's.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lecoder_cgpu.client import Client
from lecoder_cgpu.config import Config

FLOOR = Path(__file__).with_name("floor.py")
TOOL = [sys.executable, "-m", "lecoder_cgpu"]
LINES = "for i in range(200_000): print(i)"


def timed(command: list[str]) -> float:
    """Seconds that the command takes; its output goes through a pipe and is read, as an agent would."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    taken = time.perf_counter() - began
    assert done.stdout, command
    return taken


def compare(name: str, command: list[str], floor: list[str], target: str, rounds: int) -> None:
    """Time both in turn and print one line."""
    timed(command), timed(floor)
    pairs = [(timed(command), timed(floor)) for _ in range(rounds)]
    ours, least = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{name:<44} {1000 * ours:7.0f} ms   floor {1000 * least:7.0f} ms   ratio {ratio:5.2f}   target {target}")


def kernel_url(client: Client) -> tuple[str, str]:
    """The address of the session's kernel channels, and the token."""
    session = client.session()
    assert session.record.kernel is not None
    endpoint = session.endpoint
    url = f"{endpoint.url.replace('http', 'ws', 1)}api/kernels/{session.record.kernel.id}/channels?session_id=floor"
    return url, endpoint.token or ""


def memory_of(command: list[str]) -> float:
    """Peak memory of a command's process, in MiB, while its output is thrown away."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def with_local_runtime(body: Callable[[Client], None]) -> None:
    """Call `body` with a warm local runtime in a folder of its own, and end it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"LECODER_CGPU_CONFIG_DIR": folder, "LECODER_CGPU_BACKEND": "local"}
        subprocess.run([*TOOL, "run", "-m", "kernel", "1"], check=True, capture_output=True)
        subprocess.run([*TOOL, "run", "true"], check=True, capture_output=True)
        try:
            body(Client(Config()))
        finally:
            subprocess.run([*TOOL, "sessions", "close", "--all"], check=True, capture_output=True)


def main(rounds: int) -> None:
    bare = [sys.executable, "-c", "print(1)"]
    compare("--version", [*TOOL, "--version"], bare, "at most 5", rounds)
    compare("--help", [*TOOL, "--help"], bare, "at most 5", rounds)

    def runs(client: Client) -> None:
        def floor(code: str) -> list[str]:
            return [sys.executable, str(FLOOR), *kernel_url(client), code]

        compare(
            "kernel run, warm", [*TOOL, "run", "-m", "kernel", "print(1)"], floor("print(1)"), "at most 1.3", rounds
        )
        json_run = [*TOOL, "run", "-m", "kernel", "--json", "print(1)"]
        compare("kernel run, warm, --json", json_run, floor("print(1)"), "at most 1.3", rounds)
        shell = "import subprocess; print(subprocess.run('echo 1', shell=True, capture_output=True, text=True).stdout)"
        compare("process run, warm (floor: through a kernel)", [*TOOL, "run", "echo 1"], floor(shell), "-", rounds)
        few = max(rounds // 3, 3)
        compare("200,000 lines, kernel", [*TOOL, "run", "-m", "kernel", LINES], floor(LINES), "at most 1.25", few)
        process = ["python", "-c", f'"{LINES}"']
        compare("200,000 lines, process", [*TOOL, "run", " ".join(process)], floor(LINES), "-", few)
        compare(
            "200,000 lines, kernel, --json", [*TOOL, "run", "-m", "kernel", "--json", LINES], floor(LINES), "-", few
        )
        one = [*TOOL, "run", "head -c 1000000000 /dev/zero"]
        began = time.perf_counter()
        peak = memory_of(one)
        taken = time.perf_counter() - began
        print(f"{'1 GB through a process run':<44} {taken:7.1f} s    client's peak memory {peak:.0f} MiB")

    with_local_runtime(runs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
