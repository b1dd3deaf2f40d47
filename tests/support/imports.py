"""What a command imports, counted in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence


def imported(line: Sequence[str], environment: Mapping[str, str]) -> set[str]:
    """The modules that are there when a command line has been answered, the interpreter's own included."""
    code = (
        "import sys\nfrom lecoder_cgpu.cli.main import main\n"
        f"main({line!r})\nprint('\\nIMPORTED', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
        env=dict(environment),
    )  # fmt: skip
    return set(done.stderr.rpartition("IMPORTED")[2].split())
