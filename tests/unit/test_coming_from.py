"""What docs/coming-from.md says to type is there: every command with its options."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
COMMANDS = json.loads((files("lecoder_cgpu") / "completions.json").read_text("utf-8"))
EVERYWHERE = {"--json", "--help", "-s"}


def lines() -> list[str]:
    """Each piece of code in a right column that is a command of ours."""
    found = []
    for row in PAGE.read_text("utf-8").splitlines():
        cells = re.split(r"(?<!\\)\|", row.strip().strip("|"))
        for code in re.findall(r"`([^`]+)`", cells[1]) if len(cells) == 2 else ():
            ours = code.replace("\\|", "|").rpartition("| ")[2]
            if ours != "cgpu …" and ours.split()[0] in ("cgpu", *COMMANDS[""]["c"]):
                found.append(ours.removeprefix("cgpu "))
    return found


def test_every_command_and_option_is_there() -> None:
    assert len(lines()) > 60
    for line in lines():
        words = line.split()
        path = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), "")
        assert path, line
        options = {word for word in words if re.fullmatch(r"--[a-z][a-z-]*", word)} - EVERYWHERE
        theirs = {"--epochs"} | ({"--lr"} if path == "sweep" else set())
        known = set(COMMANDS[path]["o"])
        assert options - theirs <= known, line
