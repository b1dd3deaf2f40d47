"""A clock that a test can set, for the commands of one machine and for its keeper.

It is a library that those programs preload (`clock.c`), so it needs Linux and a C compiler.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
COMPILER = shutil.which("cc")


@cache
def library(folder: Path) -> str | None:
    """The library, compiled into a folder; None where there is no compiler."""
    if COMPILER is None:
        return None
    made = folder / "clock.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", made, SOURCE, "-ldl", "-lm"], check=True)
    return str(made)


class Clock:
    """The clock of one machine, which is right at first. `variables` belong into the environment of what reads it."""

    def __init__(self, path: Path, library: str) -> None:
        self._path = path
        self.variables = {"LD_PRELOAD": library, "LECODER_CGPU_TEST_CLOCK": str(path)}
        path.write_bytes(struct.pack("d", 0.0))

    def wrong_by(self, seconds: float) -> None:
        """Set it this many seconds before or behind the time."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("d", seconds))
