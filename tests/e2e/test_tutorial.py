"""The tutorial is executed: each console block, in order, in one shell, on the local runtime."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
END = "<<end of a step>>"


def steps(text: str) -> list[tuple[str, str]]:
    """Every command of the console blocks with the output that is printed below it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("curl") is None, reason="needs bash and curl")
def test_every_block(cli: Cli, tmp_path: Path) -> None:
    """What the tutorial shows is what happens; `...` stands for anything."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "lecoder-cgpu").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lecoder_cgpu "$@"\n')
    (programs / "lecoder-cgpu").chmod(0o755)
    commands = steps(TUTORIAL.read_text("utf-8"))
    assert len(commands) > 20
    # Job control, so that %1 is what it is at a prompt.
    script = "set -m\n" + "".join(f"{command}\necho; echo '{END}'\n" for command, _ in commands)
    (tmp_path / "script").write_text(script)
    work = tmp_path / "work"
    work.mkdir()
    environment = cli.environment({"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})
    try:
        done = subprocess.run(
            ["bash", tmp_path / "script"], cwd=work, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=150, check=True,
        )  # fmt: skip
    finally:
        cli("sessions", "close", "--all")
    seen = done.stdout.decode().split(f"\n{END}\n")[:-1]
    assert len(seen) == len(commands)
    check = doctest.OutputChecker().check_output
    wrong = [
        f"$ {command}\n{got}"
        for (command, expected), got in zip(commands, seen, strict=True)
        if not check(expected, got if not got or got.endswith("\n") else got + "\n", doctest.ELLIPSIS)
    ]
    assert not wrong, "\n".join(wrong)
