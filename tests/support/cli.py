"""The real command line as a subprocess, in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lecoder_cgpu.config import UNATTENDED

from .forked import ForkedCommand, can_fork

TIMEOUT = 120


@dataclass(frozen=True)
class Result:
    """What a command left behind: exit status and both streams, to be judged together."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout; fails when there is anything else."""
        return json.loads(self.out)


@dataclass
class Cli:
    """Runs `lecoder-cgpu` with a configuration folder of its own."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.home / "config" / "state"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("LECODER_", "JUPYTER_", "PYTEST")) and key not in UNATTENDED
        }
        warm = os.environ.get("LECODER_CGPU_TEST_FORKS") == "warm"
        return {
            **kept,
            **({"LECODER_CGPU_WARM": "always", "XDG_RUNTIME_DIR": str(self.home)} if warm else {}),
            "HOME": str(self.home),
            "LECODER_CGPU_CONFIG_DIR": str(self.home / "config"),
            "NO_COLOR": "",
            "LECODER_CGPU_KEEPER": "off",
            "LECODER_CGPU_LOSS_PAUSE": "1",
            "LECODER_CGPU_ASSIGN_PAUSE": "0",
            **self.variables,
            **(extra or {}),
        }

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command and leave it running."""
        environment = self.environment(env)
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        if can_fork(environment, options):
            return ForkedCommand(arguments, env=environment, **options)
        return subprocess.Popen([sys.executable, "-m", "lecoder_cgpu", *arguments], env=environment, **options)

    def __call__(self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> Result:
        """Run a command to its end."""
        options: dict[str, Any] = {} if stdin is None else {"stdin": subprocess.PIPE}
        process = self.start(*arguments, env=env, **options)
        try:
            out, err = process.communicate(stdin, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{arguments} did not end; stdout {out[-2000:]!r} stderr {err[-2000:]!r}") from None
        return Result(process.returncode, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "replace"))

    def raw(self, *arguments: str, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
        """Like calling, in an interpreter of its own, with the bytes of both streams."""
        done = subprocess.run(
            [sys.executable, "-m", "lecoder_cgpu", *arguments],
            env=self.environment(),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr
