"""Throughput: 200,000 printed lines, beside a client that does nothing but print them."""

from __future__ import annotations

from .measure import LINES, TOOL, Runtime, Table


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    few = max(rounds // 2, 3)
    floor = runtime.floor(LINES)
    kernel = [*TOOL, "run", "-m", "kernel", LINES]
    table.commands("200,000 lines, kernel (floor: a minimal script)", kernel, floor, few, 1.25)
    table.commands("200,000 lines, kernel, --json", [*kernel, "--json"], floor, few, None)
    process = [*TOOL, "run", f'python -c "{LINES}"']
    table.commands("200,000 lines, process", process, floor, few, None)
