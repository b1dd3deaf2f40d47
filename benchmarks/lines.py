"""Throughput: 200,000 printed lines, beside a client that does nothing but print them."""

from __future__ import annotations

from .measure import LINES, TOOL, Runtime, Table, in_turn


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    few = max(rounds // 2, 3)
    floor = runtime.floor(LINES)
    kernel = [*TOOL, "run", "-m", "kernel", LINES]
    table.ratio("200,000 lines, kernel (floor: a minimal script)", in_turn(kernel, floor, few), 1.25)
    table.ratio("200,000 lines, kernel, --json", in_turn([*kernel, "--json"], floor, few), None)
    process = [*TOOL, "run", f'python -c "{LINES}"']
    table.ratio("200,000 lines, process", in_turn(process, floor, few), None)
