"""Whole-process times of the commands that agents take most, beside the least that any program could do."""

from __future__ import annotations

import sys

from .measure import TOOL, Runtime, Table, in_turn

# What a script would do that has only a kernel to run a command with.
SHELL = "import subprocess; print(subprocess.run('echo 1', shell=True, capture_output=True, text=True).stdout)"


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    bare = [sys.executable, "-c", "print(1)"]
    table.ratio("--version (floor: a bare interpreter)", in_turn([*TOOL, "--version"], bare, rounds), 5)
    table.ratio("--help (floor: a bare interpreter)", in_turn([*TOOL, "--help"], bare, rounds), 5)
    kernel = runtime.floor("print(1)")
    run = [*TOOL, "run", "-m", "kernel", "print(1)"]
    table.ratio("kernel run, warm (floor: a minimal script)", in_turn(run, kernel, rounds), 1.3)
    table.ratio("kernel run, warm, --json (the same floor)", in_turn([*run, "--json"], kernel, rounds), 1.3)
    process = [*TOOL, "run", "echo 1"]
    table.ratio(
        "process run, warm (floor: subprocess in a kernel)", in_turn(process, runtime.floor(SHELL), rounds), None
    )
