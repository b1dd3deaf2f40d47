"""Programs that an ended run left in the background: at work when they use a processor, not when they wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.guest.lease_guard import Guard, RuntimeLease
from lecoder_cgpu.guest.leftovers import Leftovers
from lecoder_cgpu.guest.processes import identity
from lecoder_cgpu.guest.programs import Programs
from lecoder_cgpu.guest.run_processes import MARK
from lecoder_cgpu.guest.state_files import write_json
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")


class Left:
    """A run that has ended and left one program, which works or is stopped."""

    def __init__(self, home: Path) -> None:
        folder = home / "runs" / "abcdef"
        folder.mkdir(parents=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", "while True: pass"], env={**os.environ, MARK: str(folder)}, start_new_session=True
        )
        start = identity(self.process.pid)
        write_json(str(folder / "state.json"), {"pid": 1 << 22, "start": start})
        left = {"pid": self.process.pid, "start": start, "command": "python"}
        write_json(str(folder / "result.json"), {"exit": 0, "remaining": [left]})


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    found = Left(tmp_path)
    yield found
    found.process.kill()
    found.process.wait()


def test_what_works_and_what_waits(tmp_path: Path, left: Left) -> None:
    """A look that is asked for too early gives the answer of the last one."""
    found = Leftovers(str(tmp_path / "runs"))
    wait_until(lambda: found.at_work(0.3))
    left.process.send_signal(signal.SIGSTOP)
    assert found.at_work(3600.0)
    wait_until(lambda: not found.at_work(0.3))
    left.process.send_signal(signal.SIGCONT)
    wait_until(lambda: found.at_work(0.3))
    left.process.kill()
    wait_until(lambda: not found.at_work(0.3))


def test_no_runs(tmp_path: Path) -> None:
    """A folder that is missing, and a run whose result cannot be read, are no work."""
    found = Leftovers(str(tmp_path / "runs"))
    assert not found.at_work(0.0)
    (tmp_path / "runs" / "abcdef").mkdir(parents=True)
    (tmp_path / "runs" / "abcdef" / "result.json").write_text("{")
    assert not found.at_work(0.0)


def test_the_lease_knows(tmp_path: Path, left: Left) -> None:
    """The guard notes it as activity, and the helper tells clients."""
    guard = Guard(str(tmp_path))
    wait_until(lambda: bool(guard._due({"set": 1.0, "idle": 1.2}) and (tmp_path / "activity").exists()))
    lease = RuntimeLease(str(tmp_path), Programs(str(tmp_path), {}))
    wait_until(lambda: lease._leftovers.at_work(0.1))
    found = lease.read()
    assert found["background"] is True
    assert found["workedAgo"] < 60
