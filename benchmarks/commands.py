"""Whole-process times of the commands that agents take most, beside the least that any program could do."""

from __future__ import annotations

import sys

from .measure import TOOL, Runtime, Table

# What a script would do that has only a kernel to run a command with.
SHELL = "import subprocess; print(subprocess.run('echo 1', shell=True, capture_output=True, text=True).stdout)"


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    bare = [sys.executable, "-c", "print(1)"]
    table.commands("--version (floor: a bare interpreter)", [*TOOL, "--version"], bare, rounds, 5)
    table.commands("--help (floor: a bare interpreter)", [*TOOL, "--help"], bare, rounds, 5)
    kernel = runtime.floor("print(1)")
    run = [*TOOL, "run", "-m", "kernel", "print(1)"]
    table.commands("kernel run, warm (floor: a minimal script)", run, kernel, rounds, 1.3)
    table.commands("kernel run, warm, --json (the same floor)", [*run, "--json"], kernel, rounds, 1.3)
    process = [*TOOL, "run", "echo 1"]
    table.commands("process run, warm (floor: subprocess in a kernel)", process, runtime.floor(SHELL), rounds, None)
