"""The program in docs/surviving.md resumes as the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "surviving.md"


def run(folder: Path, program: str, **variables: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LECODER_CGPU_")}
    subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env={**environment, **variables}, check=True, timeout=60
    )


@pytest.mark.slow
def test_the_program_resumes(tmp_path: Path) -> None:
    """From the beginning without LECODER_CGPU_RESUME, whatever lies there; from the state that was put back with it."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    state = tmp_path / "out" / "state.json"
    run(tmp_path, program)
    assert json.loads(state.read_text()) == {"step": 1000}
    state.write_text('{"step": 5000}')
    run(tmp_path, program, LECODER_CGPU_RESUME="1")
    assert json.loads(state.read_text()) == {"step": 5000}  # nothing was left to do, so nothing was written
    run(tmp_path, program)
    assert json.loads(state.read_text()) == {"step": 1000}
