"""docs/library.md, executed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.cli import Cli

PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text("utf-8")


def test_the_page_is_true(tmp_path: Path) -> None:
    """Every piece of it, one after the other, on this machine; what it prints is what it says."""
    cli = Cli(tmp_path, {"LECODER_CGPU_BACKEND": "local"})
    program = tmp_path / "page.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)).replace(', gpu="T4"', ""))
    folder = tmp_path / "work"
    folder.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", str(program)],
            env=cli.environment(),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        cli("sessions", "close", "--all")
    assert done.returncode == 0, done
    assert "Warning" not in done.stderr
    for line in (
        "1005 pip install surely-not-there",
        "3 None",
        "0 b'trained\\n'",
        "[(1, 'finished', 0)] b'1\\n'",
        "300\n300\n",
        "error b ZeroDivisionError train.executed.ipynb",
        "['0\\n', '1\\n', '2\\n']",
        "scaling 2\n",
        "[3.0, 6.0] [2.0]",
        "[[2.0], [1.0]]",
        "['work'] [] None",
    ):
        assert line in done.stdout, (line, done.stdout)
