"""A real terminal for interactive commands: tmux, whose keys are typed and whose screen is read."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.cli import Cli

LIMIT = 60.0  # seconds

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Tmux:
    """One window in a tmux server of its own."""

    def __init__(self, socket: Path, environment: Mapping[str, str], columns: int, rows: int, command: str) -> None:
        self._base = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._environment = dict(environment)
        self._run("new-session", "-d", "-x", str(columns), "-y", str(rows), command)

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._base, *words], env=self._environment, capture_output=True, timeout=LIMIT, check=True
        )
        return done.stdout.decode()

    def type(self, text: str) -> None:
        """Type text as it stands."""
        self._run("send-keys", "-l", text)

    def key(self, *names: str) -> None:
        """Press keys by tmux's names: Enter, C-c, Tab, Up."""
        self._run("send-keys", *names)

    def line(self, text: str) -> None:
        self.type(text)
        self.key("Enter")

    def resize(self, columns: int, rows: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        """Everything on the screen and above it, without wrapping."""
        return self._run("capture-pane", "-p", "-J", "-S", "-")

    def wait(self, text: str, times: int = 1) -> str:
        """The screen, once `text` is on it, this many times."""
        deadline = time.monotonic() + LIMIT
        while (screen := self.screen()).count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} never came:\n{screen}"
            time.sleep(0.05)
        return screen

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("kill-server")


@contextlib.contextmanager
def in_tmux(
    cli: Cli, *arguments: str, columns: int = 100, rows: int = 30, env: Mapping[str, str] | None = None
) -> Iterator[Tmux]:
    """Our command in a terminal; when it ends, `[status N]` is shown."""
    command = shlex.join([sys.executable, "-m", "lecoder_cgpu", *arguments])
    environment = {**cli.environment(env), "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
    # A socket of its own, with a short path: one that was used before may belong to a server that is still ending.
    socket = Path(tempfile.mkdtemp(prefix="tmux-")) / "socket"
    tmux = Tmux(socket, environment, columns, rows, f"{command}; printf '\\n[status %d]\\n' $?; exec sleep 1000")
    try:
        yield tmux
    finally:
        tmux.close()
        shutil.rmtree(socket.parent, ignore_errors=True)
