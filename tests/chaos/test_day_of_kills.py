"""A day on the fake in which commands are killed with SIGKILL at random moments. What is held is never forgotten, no
state is damaged, no file is half, and in the end all is given back and nothing of it is left.

`pytest tests/chaos/test_day_of_kills.py -s --kills 300` does so until 300 commands were killed, and prints figures.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lecoder_cgpu.store.session_store import Store
from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.life import Machine, World
from tests.support.wait import wait_until

SECONDS = 2.0  # that a command takes when nothing is known of it
KEPT = 0.2  # of the commands are left alone
CONTENT = b"0123456789abcdef" * (3 << 16)  # of the files that are copied; a download of it has several parts
DAY = (
    ("sessions", "ensure", "k1", "--gpu", "T4"), ("run", "-s", "k1", "echo ran"), ("upload", "-s", "k1", "f", "up/"),
    ("run", "-s", "k1", "-m", "kernel", "print(6 * 7)"), ("download", "-s", "k1", "up/f", "down/"),
    ("run", "-s", "k1", "--detach", "--key", "j", "sleep 1; echo done"), ("job", "wait", "j", "-s", "k1"),
    ("job", "list", "-s", "k1"), ("sync", "-s", "k1", "folder", "synced"), ("download", "-s", "k1", "synced", "down/"),
    ("logs",), ("auth", "check"), ("usage",), ("status",), ("sessions", "list"), ("kernel", "restart", "-s", "k1"),
    ("sessions", "switch", "k1"), ("sessions", "close", "k1", "--no-input"), ("run", "--rm", "--cpu", "true"),
    ("sessions", "ensure", "k1", "--gpu", "T4"), ("sessions", "close", "--all", "--no-input"), ("sessions", "clean"),
)  # fmt: skip


@dataclass
class Day:
    """One machine, and how often and where its commands were killed."""

    world: World
    machine: Machine
    folder: Path
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    durations: dict[tuple[str, ...], float] = field(default_factory=dict)

    def do(self, line: tuple[str, ...], *, kill: bool) -> None:
        began = time.monotonic()
        process = self.machine.cli.start(*line, cwd=self.folder)
        if kill:
            limit = self.chance.uniform(0, 1.1 * self.durations.get(line, SECONDS))
            try:
                out, err = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                self.killed[" ".join(line[:2])] += process.returncode == -signal.SIGKILL
                return
        else:
            out, err = process.communicate(timeout=120)
        self.durations[line] = time.monotonic() - began
        self.ended[" ".join(line[:2])] += 1
        shown = f"{line}: {process.returncode} {out!r} {err!r}"
        assert process.returncode not in (1, 70), shown
        assert b"Traceback" not in err, shown
        assert b"is gone" not in err or b"closing" not in err, shown

    def check(self) -> None:
        """What has to be true at any moment."""
        self.world.check()
        store = Store(self.machine.state)
        store.records()
        assert store.damaged == []
        assert json.loads((self.machine.state / "session.json").read_text())["refreshToken"]
        for path in self.folder.glob("down/**/*"):
            if path.is_file() and path.name in ("f", "g"):
                assert path.read_bytes() == CONTENT, f"{path} is not whole"


def left_behind(cli: Cli) -> list[str]:
    """The command lines of the processes that belong to this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"LECODER_CGPU_CONFIG_DIR={cli.home / 'config'}".encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture
def day(colab: FakeColab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Day]:
    colab.switches.keep_alive = "empty"
    account = colab.add_account("killed@example.com", max_vms=5)
    account.upgrade("PRO")
    cli = Cli(tmp_path / "home", {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"})
    colab.configure(cli.home / "config", account=account)
    machine = Machine("one", cli)
    work = tmp_path / "work"
    (work / "folder").mkdir(parents=True)
    for path in (work / "f", work / "folder" / "g"):
        path.write_bytes(CONTENT)
    yield Day(World(colab, account, [machine]), machine, work, random.Random(1))
    cli("sessions", "close", "--all", "--no-input")
    cli("keeper", "stop")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
@pytest.mark.timeout(7200)
def test_a_day_of_kills(day: Day, kills: int) -> None:
    began = time.monotonic()
    while day.killed.total() < kills:
        for line in DAY:
            day.do(line, kill=day.chance.random() >= KEPT)
            day.check()
            if day.killed.total() >= kills:
                break
    cli = day.machine.cli
    for line in (*DAY[:6], ("job", "wait", "j", "-s", "k1"), DAY[4]):
        done = cli.start(*line, cwd=day.folder)
        out, err = done.communicate(timeout=120)
        assert done.returncode == 0, (line, out, err)
    assert (day.folder / "down" / "f").read_bytes() == CONTENT
    closed = cli("sessions", "close", "--all", "--no-input", "--json")
    assert (closed.code, closed.json["wholeAccount"]) == (0, True), closed
    assert day.world.now().live == {}
    assert cli("keeper", "stop").code == 0
    wait_until(lambda: left_behind(cli) == [])
    for path in day.machine.state.rglob(".*"):
        assert not path.name.startswith(".sessions.json."), path
    print(
        f"{day.killed.total()} of {day.killed.total() + day.ended.total()} commands were killed in "
        f"{time.monotonic() - began:.0f} s; by command: {dict(day.killed)}"
    )
