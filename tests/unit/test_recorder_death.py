"""A kernel's process ends while much of what it has published waits to be written: what it did and what the next one
does are kept apart, also for kernels whose messages do not say which process they come from."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.guest.recorders import Recorders
from lecoder_cgpu.guest.state_files import read_json
from tests.support import kernel_player
from tests.support.wait import wait_until

OLD, LATER, NEW = (f"run-{number:016x}" for number in (1, 2, 3))
BACKLOG = 60_000  # messages, more than are written before the next process works


class Process:
    """The process of the kernel."""

    def __init__(self, connection: Path) -> None:
        command = [sys.executable, kernel_player.__file__, str(connection)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __call__(self, *words: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Path]:
    """A connection file, with the ports of this test."""
    found: dict[str, Any] = {"transport": "tcp", "ip": "127.0.0.1", "key": ""}
    for name in ("iopub_port", "control_port", "shell_port"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            found[name] = free.getsockname()[1]
    path = tmp_path / f"kernel-{os.urandom(4).hex()}.json"
    path.write_text(json.dumps(found))
    yield path
    path.unlink()  # which ends the recorder


def test_the_next_process_is_not_the_last(connection: Path, tmp_path: Path) -> None:
    """The runs of the process that has ended get all that it had published, and those of the next one are not ended by
    it. They begin while most of it is unread, on all but the quickest machines."""
    (tmp_path / "runs").mkdir()
    recorders = Recorders(str(tmp_path), str(tmp_path / "runs"), str(tmp_path))
    kernel = connection.stem.removeprefix("kernel-")

    def result(run: str) -> dict[str, Any] | None:
        return read_json(str(tmp_path / "runs" / run / "result.json"))

    first = Process(connection)
    assert recorders.record(kernel) > 0
    first("begin", OLD, BACKLOG)
    first("idle", OLD)
    first("begin", LATER, 5)
    first.end()
    began = time.monotonic()
    second = Process(connection)
    assert 0 < recorders.record(kernel) < time.monotonic() - began
    second("begin", NEW, 10)
    second("idle", NEW)
    wait_until(lambda: result(NEW) is not None)
    wait_until(lambda: result(LATER) is not None)
    second.end()
    ended = {run: result(run) or {} for run in (OLD, LATER, NEW)}
    assert [ended[run].get("died") for run in ended] == [None, "the kernel died or was restarted", None]
    texts = [(tmp_path / "runs" / run / "stdout").read_text() for run in ended]
    assert texts == ["line\n" * lines for lines in (BACKLOG, 5, 10)]
