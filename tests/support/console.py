"""Executes the console blocks of a document, as its reader would: one shell, line by line, from top to bottom.

A block is fenced as ```console. `$ ` begins a command, `> ` goes on with it, and what follows is what it prints; `...`
stands for anything. A block without any output says only that its commands succeed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MARK = "\x02END"
LIMIT = 120.0  # seconds for one document
LAST = "trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT\n"  # so that a document that goes wrong leaves no job behind


@dataclass
class Step:
    """One command with what the document says that it prints; `shown` is None where it says nothing."""

    command: str
    shown: list[str] = field(default_factory=list)


def blocks(text: str) -> Iterator[list[Step]]:
    """The console blocks of a Markdown text."""
    for body in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        steps: list[Step] = []
        for line in body.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:]))
            elif line.startswith("> ") and steps and not steps[-1].shown:
                steps[-1].command += "\n" + line[2:]
            elif steps:
                steps[-1].shown.append(line)
        yield steps


def execute(text: str, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Run all blocks in one shell in `folder`; returns what differs from the document, one text for each command.

    Args:
        environment: all of it; of our own nothing is added.
    """
    steps = [step for block in blocks(text) for step in block]
    assert steps, "there is no console block"
    # Job control, so that %1 is what it is at a prompt.
    script = f"set -m\n{LAST}" + "".join(f"{step.command}\nended=$?; echo; echo {MARK}$ended\n" for step in steps)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    pieces = done.stdout.split(MARK)
    problems = []
    for step, piece, after in zip(steps, pieces, pieces[1:], strict=False):
        printed = piece.partition("\n")[2] if step is not steps[0] else piece
        status = int(re.match(r"\d+", after)[0])  # type: ignore[index]
        printed = printed.removesuffix("\n")
        if step.shown and not matches(printed, "\n".join(step.shown)):
            problems.append(f"$ {step.command}\n{printed}\n(should be)\n" + "\n".join(step.shown))
        elif not step.shown and status:
            problems.append(f"$ {step.command}\n{printed}\n(exit status {status})")
    if len(pieces) - 1 < len(steps):
        problems.append("the shell ended early:\n" + pieces[-1])
    return problems


def matches(printed: str, shown: str) -> bool:
    """Whether the output is what is shown, where `...` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
