"""The documents are imported by topic."""

from __future__ import annotations

import subprocess
import sys


def test_a_kernel_run_needs_few_of_them() -> None:
    """The path that agents take most makes no classes for other commands."""
    code = "import sys, lecoder_cgpu.runs.kernel_runs, lecoder_cgpu.history.entries, lecoder_cgpu.cli.commands.run\n"
    code += "print(*sorted(name.rpartition('.')[2] for name in sys.modules if name.startswith('lecoder_cgpu.models.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"base", "runs", "files", "history", "debug"}, done.stdout
