"""Whole-process times of the commands that agents take most, beside the least that any program could do."""

from __future__ import annotations

import sys

from lecoder_cgpu.cli.app import COMMANDS

from .measure import TOOL, Runtime, Table, timed

# What a script would do that has only a kernel to run a command with.
SHELL = "import subprocess; print(subprocess.run('echo 1', shell=True, capture_output=True, text=True).stdout)"
BARE = [sys.executable, "-c", "print(1)"]


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    table.commands("--version (floor: a bare interpreter)", [*TOOL, "--version"], BARE, rounds, 3)
    table.commands("--help (floor: a bare interpreter)", [*TOOL, "--help"], BARE, rounds, 4)
    slowest = max(COMMANDS, key=lambda name: timed([*TOOL, name, "--help"])[1])
    table.commands("COMMAND --help, the slowest (the same floor)", [*TOOL, slowest, "--help"], BARE, rounds, 5)
    kernel = runtime.floor("print(1)")
    run = [*TOOL, "run", "-m", "kernel", "print(1)"]
    table.commands("kernel run, warm (floor: a minimal script)", run, kernel, rounds, 1.15)
    table.commands("kernel run, warm, --json (the same floor)", [*run, "--json"], kernel, rounds, 1.15)
    table.commands("kernel run, warm (floor: a bare interpreter)", run, BARE, rounds, None)
    if sys.platform == "linux":
        table.commands("the same by a prepared process", run, BARE, rounds, 7, prepared=True)
    process = [*TOOL, "run", "echo 1"]
    table.commands("process run, warm (floor: subprocess in a kernel)", process, runtime.floor(SHELL), rounds, 1.1)
