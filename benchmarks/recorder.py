"""What being recorded costs the user's kernel: the same prints in two kernels of one server, one of them recorded.

The code times itself, so that the figures are the kernel's own: wall time, and processor time, in which other work on
this machine does not show. The client is the same minimal one for both.
"""

from __future__ import annotations

import subprocess

from .measure import Runtime, Table

CODE = """
import sys, time
began = time.perf_counter(), time.process_time()
for i in range({count}): print(i{options})
sys.stdout.flush()
print('took', time.perf_counter() - began[0], time.process_time() - began[1])
"""
CASES = {
    "200,000 lines": CODE.format(count=200_000, options=""),
    "5,000 flushed lines": CODE.format(count=5_000, options=", flush=True"),
}
MOST = 1.05


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    session = runtime.client.session()
    assert session.record.kernel is not None
    assert session.record.kernel.recorded
    plain, _ = session.server.open_session("benchmark-plain.ipynb")
    assert plain.kernel is not None
    number = 0
    for name, code in CASES.items():
        pairs = []
        for _ in range(rounds + 1):
            number += 1
            # A request without a run's id would not be written down.
            ours = took([*runtime.floor(code), f"run-{number:016x}"])
            pairs.append((ours, took(runtime.floor(code, plain.kernel.id))))
        for kind, which, most in (("wall", 0, MOST), ("processor", 1, MOST)):
            times = [(ours[which], floor[which]) for ours, floor in pairs[1:]]
            table.ratio(f"{name}, recorded or not: {kind} time", times, most)
    session.server.delete_kernel(plain.kernel.id)
    session.server.close()


def took(command: list[str]) -> tuple[float, float]:
    """What the code says of its own wall and processor time."""
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    wall, processor = done.stdout.rpartition("took")[2].split()
    return float(wall), float(processor)
