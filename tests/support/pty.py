"""Commands on a pseudo-terminal of the test's own, where tmux would stand between it and them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .cli import Cli

LIMIT = 60.0  # seconds
SILENCE = 0.3  # seconds that the system may take to hand on what an ended command has written


class Pty:
    """A command on a pseudo-terminal; `seen` is what it has written there."""

    def __init__(self, cli: Cli, *arguments: str, **streams: Any) -> None:
        self.controller, self.terminal = os.openpty()
        options: dict[str, Any] = {"stdin": self.terminal, "stdout": self.terminal, "stderr": self.terminal, **streams}
        self.before = self.modes()
        self.process = cli.start(*arguments, start_new_session=True, env={"TERM": "xterm-256color"}, **options)
        self.seen = b""

    def modes(self) -> list[Any]:
        import termios

        return termios.tcgetattr(self.terminal)

    def wait(self, condition: Callable[[], object]) -> None:
        import select

        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, self.seen
            assert self.process.poll() is None or condition(), self.seen
            if select.select([self.controller], [], [], 0.05)[0]:
                self.seen += os.read(self.controller, 65536)

    def type(self, text: bytes) -> None:
        os.write(self.controller, text)

    def end(self) -> int:
        """Wait for the end; what was written until then is in `seen`."""
        import select

        self.wait(lambda: self.process.poll() is not None)
        while select.select([self.controller], [], [], SILENCE)[0]:
            self.seen += os.read(self.controller, 65536)
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        os.close(self.controller)
        os.close(self.terminal)


@pytest.fixture
def pty_of() -> Iterator[Callable[..., Pty]]:
    """Starts commands on pseudo-terminals, and ends them."""
    started: list[Pty] = []

    def start(*arguments: Any, **options: Any) -> Pty:
        started.append(Pty(*arguments, **options))
        return started[-1]

    yield start
    for item in started:
        item.close()
