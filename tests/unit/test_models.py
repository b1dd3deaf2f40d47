"""The documents are imported by topic, and every one of them can be had."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from lecoder_cgpu import models


def test_every_name_has_its_home() -> None:
    """What type checkers see is what is found, in the topic that is named."""
    tree = ast.parse(Path(models.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == models._HOMES
    assert all(getattr(models, name) is not None for name in seen)


def test_a_kernel_run_needs_few_of_them() -> None:
    """The path that agents take most makes no classes for other commands."""
    code = "import sys, lecoder_cgpu.runs.kernel_runs, lecoder_cgpu.history.entries, lecoder_cgpu.cli.commands.run\n"
    code += "print(*sorted(name.rpartition('.')[2] for name in sys.modules if name.startswith('lecoder_cgpu.models.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"base", "runs", "files", "history"}, done.stdout
