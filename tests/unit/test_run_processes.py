"""What belongs to a run, and when a run that somebody ended has ended: real processes of every shape."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.guest.processes import identity
from lecoder_cgpu.guest.run_processes import end_all
from lecoder_cgpu.guest.service import Service
from lecoder_cgpu.helper import bootstrap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc"),
]

IGNORES = "trap '' INT TERM; while :; do sleep 0.05; done"
PYTHON = f"'{sys.executable}' -c"
# Each writes the ids of what it starts into the file `pids`, a line each, and `ready` at the end.
SHAPES = {
    "background": "sleep 60 & echo $! >> pids; sleep 60 & echo $! >> pids; touch ready; wait",
    "traps": f'bash -c "{IGNORES}" & echo $! >> pids; touch ready; wait',
    "setsid": "setsid sleep 60 & echo $! >> pids; touch ready; wait",
    "nohup": "nohup sleep 60 >/dev/null 2>&1 & echo $! >> pids; touch ready; wait",
    "double fork": "(setsid bash -c 'echo $$ >> pids; touch ready; exec sleep 60' &) ; while :; do sleep 0.05; done",
    "no environment": "env -i /bin/sleep 60 & echo $! >> pids; touch ready; wait",
    "daemon's child": (
        "(setsid bash -c 'env -i /bin/sleep 60 & echo $! >> pids; touch ready; wait' &) ; while :; do sleep 0.05; done"
    ),
    "daemon without environment": (
        "(env -i setsid /bin/bash -c 'echo $$ >> pids; touch ready; exec sleep 60' &) ; while :; do sleep 0.05; done"
    ),
    "torchrun": (
        f'{PYTHON} "import signal, subprocess, sys\n'
        "code = 'import signal, time; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN); "
        "print(1, flush=True); time.sleep(60)'\n"
        "workers = [subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) for _ in range(2)]\n"
        "[worker.stdout.readline() for worker in workers]\n"
        "open('pids', 'w').write(''.join(str(worker.pid) + chr(10) for worker in workers)); open('ready', 'w')\n"
        'workers[0].wait()"'
    ),
}


class World:
    """A helper outside of any kernel, and the working folder of its runs."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.home = folder / "home"
        sources = bootstrap.sources()
        self.service = Service(lambda kind, content: None, "test", sources, home=str(self.home), cwd=str(self.work))
        self.run = "run-0001"

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        answer = self.service.serve(json.dumps({"method": method, **arguments})).answer
        assert answer["ok"], answer
        return answer

    def start(self, command: str, **more: Any) -> None:
        self.call("start", run=self.run, shell=command, follow=False, **more)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("show", run=self.run)["runs"][0]
        return found

    def kill(self, name: str) -> bool:
        return bool(self.call("signal", run=self.run, signal=name)["sent"])

    def pids(self) -> list[int]:
        """What the command has started, once it is all there."""
        wait_for(lambda: (self.work / "ready").exists())
        return [int(line) for line in (self.work / "pids").read_text().split()]

    def alive(self) -> list[int]:
        return [pid for pid in self.pids() if identity(pid) is not None]


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.kill("SIGKILL")
    wait_for(lambda: found.state()["state"] == "exited" and not found.state().get("remaining"))
    wait_for(lambda: found.service._store._spare is not None)
    found.service._store.close()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_kill_ends_everything(world: World, shape: str) -> None:
    """SIGKILL reaches whatever the command has started, and the run has ended when nothing of it lives."""
    world.start(SHAPES[shape])
    assert len(world.alive()) == len(world.pids()) > 0
    assert world.kill("SIGKILL")
    wait_for(lambda: world.state()["state"] == "exited")
    assert world.alive() == []
    assert (world.state()["result"]["signal"], world.state().get("remaining")) == ("SIGKILL", None)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_limit_ends_everything(world: World, shape: str) -> None:
    """A time limit goes from SIGTERM to SIGKILL, as far as anything of the run lives."""
    world.start(SHAPES[shape], timeout=1.5, grace=0.3)
    world.pids()
    wait_for(lambda: world.state()["state"] == "exited")
    assert world.alive() == []
    result = world.state()["result"]
    assert (result["stoppedBy"], result["remaining"]) == ("timeout", [])
    if shape in ("traps", "torchrun"):
        assert result["killedBy"] == ["SIGTERM", "SIGKILL"]


@pytest.mark.parametrize("shape", ["traps", "torchrun"])
def test_what_ignores_signals_keeps_the_run_open(world: World, shape: str) -> None:
    """The command has ended, its children have not: the run goes on, names them, and can be ended with SIGKILL."""
    world.start(SHAPES[shape])
    pids = world.pids()
    assert world.kill("SIGTERM")
    wait_for(lambda: bool(world.state().get("remaining")))
    assert set(pids) <= {process["pid"] for process in world.state()["remaining"]}
    time.sleep(0.5)
    assert world.state()["state"] == "running"
    assert world.kill("SIGKILL")
    wait_for(lambda: world.state()["state"] == "exited")
    assert world.alive() == []
    assert world.state()["result"]["signal"] == "SIGTERM", "of the command itself"


def test_a_checkpoint_gets_its_time(world: World) -> None:
    """A program behind a shell saves its work after SIGTERM; the run has not ended before it has."""
    save = (
        "import signal, time, sys\nsignal.signal(15, lambda *_: (time.sleep(1.5), open('saved', 'w'), sys.exit(0)))\n"
    )
    (world.work / "train.py").write_text(save + "open('pids', 'w'); open('ready', 'w')\nwhile True: time.sleep(1)\n")
    world.start(f"'{sys.executable}' train.py; echo x")
    world.pids()
    assert world.kill("SIGTERM")
    time.sleep(0.4)
    assert world.state()["state"] == "running"
    wait_for(lambda: world.state()["state"] == "exited")
    assert (world.work / "saved").exists()


@pytest.mark.parametrize("prefix", ["nohup", "setsid", "sh -c 'sleep 0.5; exec \"$@\"' sh"])
def test_a_command_that_ends_by_itself_leaves_its_server(world: World, prefix: str) -> None:
    """As in a shell. The server is named, keeps the run from being removed, and can be ended later."""
    world.start(f"{prefix} sleep 60 > /dev/null 2>&1 & echo $! >> pids; touch ready; exit 3")
    wait_for(lambda: world.state()["state"] == "exited")
    (pid,) = world.pids()
    result = world.state()["result"]
    assert (result["exit"], result["stoppedBy"]) == (3, None)
    # what is left becomes `sleep` a moment later
    wait_for(lambda: [(one["pid"], one["command"]) for one in world.state()["remaining"]] == [(pid, "sleep 60")])
    refused = world.service.serve(json.dumps({"method": "forget", "run": world.run})).answer
    assert refused["error"]["name"] == "StillRunning"
    assert str(pid) in refused["error"]["message"]
    assert world.kill("SIGTERM")
    wait_for(lambda: "remaining" not in world.state())
    assert world.alive() == []
    assert world.kill("SIGKILL") is False, "nothing is left"


def test_what_lives_is_seen_behind_newer_runs(world: World) -> None:
    """Whoever asks what is at work must not miss what was started before many quick runs: a run that goes on, and what
    one has left. Of what is over, only the newest are named."""
    world.start("touch ready pids; sleep 60")
    for run, command in {"run-0002": "setsid sleep 60 >/dev/null 2>&1 &", "run-0003": ":", "run-0004": ":"}.items():
        world.call("start", run=run, shell=command, follow=False)
        wait_for(lambda run=run: world.call("show", run=run)["runs"][0]["state"] == "exited")  # type: ignore[misc]
    found = [state["run"] for state in world.call("runs", limit=1)["runs"]]
    assert found == ["run-0004", "run-0002", "run-0001"]
    assert world.call("signal", run="run-0002", signal="SIGKILL")["sent"]
    wait_for(lambda: [state["run"] for state in world.call("runs", limit=1)["runs"]] == ["run-0004", "run-0001"])


def test_a_signal_that_does_not_end(world: World) -> None:
    """A program that takes SIGUSR1 and ends by itself has not been ended by somebody."""
    command = "trap 'touch seen' USR1; setsid sh -c 'echo $$ >> pids; touch ready; exec sleep 60' &"
    world.start(command + " until test -e seen; do sleep 0.05; done; exit 0")
    world.pids()
    assert world.kill("SIGUSR1")
    wait_for(lambda: world.state()["state"] == "exited")
    assert world.state()["result"]["exit"] == 0
    assert world.alive() == world.pids()


def test_another_process_with_the_same_id_is_no_member(world: World) -> None:
    """Processes that are not of the run get no signal: neither a sibling run, nor what is older than the run."""
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    world.start("sleep 60 & echo $! >> pids; touch ready; wait")
    world.pids()
    world.call("start", run="run-0002", shell="sleep 60", follow=False)
    wait_for(lambda: world.call("show", run="run-0002")["runs"][0]["state"] == "running")
    assert world.kill("SIGKILL")
    wait_for(lambda: world.state()["state"] == "exited")
    assert other.poll() is None
    assert world.call("show", run="run-0002")["runs"][0]["state"] == "running"
    other.kill()
    other.wait()
    assert world.call("signal", run="run-0002", signal="SIGKILL")["sent"]
    wait_for(lambda: world.call("show", run="run-0002")["runs"][0]["state"] == "exited")


def test_a_killed_supervisor_leaves_a_run_that_can_be_ended(world: World) -> None:
    """Without a supervisor, and after the command itself, what is left is known by its environment."""
    world.start("setsid sleep 60 & echo $! >> pids; touch ready; wait")
    (pid,) = world.pids()
    found = world.service._store.find(world.run)
    assert found.process is not None
    found.process.kill()
    wait_for(lambda: world.state()["state"] == "unknown")
    os.killpg(world.state()["pid"], signal.SIGKILL)
    wait_for(lambda: [process["pid"] for process in world.state().get("remaining", ())] == [pid])
    assert world.state()["alive"] is True
    assert world.kill("SIGKILL")
    wait_for(lambda: world.state()["alive"] is False)
    assert world.alive() == []
    (Path(found.folder) / "result.json").write_text("{}")  # for the fixture: it is over


def test_the_end_of_a_lease_ends_all_runs(world: World) -> None:
    """Those that go on, those that ignore SIGTERM, and what ended ones have left."""
    world.start(SHAPES["traps"])
    world.pids()
    world.call("start", run="run-0002", shell="setsid sleep 60 >/dev/null 2>&1 & echo $! >> pids", follow=False)
    wait_for(lambda: world.call("show", run="run-0002")["runs"][0].get("remaining", []) != [])
    end_all(str(world.home / "runs"), 0.5, "lease")
    wait_for(lambda: world.state()["state"] == "exited")
    assert world.alive() == []
    assert len(world.pids()) == 2
    assert [(item["signal"], item["by"]) for item in world.state()["signals"]] == [
        ("SIGTERM", "lease"),
        ("SIGKILL", "lease"),
    ]
