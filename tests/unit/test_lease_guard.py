"""The lease on the runtime: what is written, when it has ended, and the guard as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.guest import limits
from lecoder_cgpu.guest.lease_guard import Guard, RuntimeLease, release_kind
from lecoder_cgpu.guest.processes import identity
from lecoder_cgpu.guest.programs import Programs
from lecoder_cgpu.guest.state_files import write_json
from lecoder_cgpu.helper import bootstrap

posix = pytest.mark.skipif(sys.platform == "win32", reason="the guard was made for Linux")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def stored(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "lease.json").read_text())
    return found


def write(home: Path, **lease: Any) -> dict[str, Any]:
    write_json(str(home / "lease.json"), lease)
    return lease


@posix
def test_a_guard_made_of_what_a_runtime_is_sent(home: Path) -> None:
    """The guard is a process made of the very sources that travel to the runtime; it ends an overdue lease."""
    lease = RuntimeLease(str(home), Programs(str(home), bootstrap.sources()))
    lease.change({"seconds": 0.2})  # by the time it returns, the guard may have ended the lease already
    deadline = time.monotonic() + 30
    while lease.read()["ended"] is None:
        assert time.monotonic() < deadline, "the guard never ended the lease"
        time.sleep(0.05)
    found = lease.read()
    assert found["ended"]["reason"] == "until"
    assert found["secondsLeft"] <= 0


def test_no_lease(home: Path) -> None:
    """Without a lease there is no limit, and nothing to guard."""
    lease = RuntimeLease(str(home), Programs(str(home), {}))
    found = lease.read()
    assert (found["secondsLeft"], found["idleSeconds"], found["idleFor"], found["ended"]) == (None, None, None, None)
    Guard(str(home)).watch()  # returns at once
    assert not (home / "guard.json").exists()


def test_taking_limits_away_starts_no_guard(home: Path) -> None:
    """A lease without limits needs no guard: with no sources, starting one would fail."""
    lease = RuntimeLease(str(home), Programs(str(home), {}))
    found = lease.change({"seconds": None, "idle": None})
    assert (found["secondsLeft"], found["idleSeconds"]) == (None, None)
    assert not (home / "guard.json").exists()


def test_when_a_lease_ends(home: Path) -> None:
    """At its time; or when nothing has worked for long enough, counted from the last note of activity."""
    guard, now = Guard(str(home)), time.time()
    assert guard._due(write(home, set=now, until=now - 1)) == ("until", 0.0)
    reason, wait = guard._due(write(home, set=now, until=now + 30))
    assert reason is None
    assert 0 < wait <= 1.0  # its pace
    assert guard._due(write(home, set=now - 100, idle=50)) == ("idle", 0.0)
    (home / "activity").touch()
    assert guard._due(write(home, set=now - 100, idle=50))[0] is None
    os.utime(home / "activity", (now - 51, now - 51))
    assert guard._due(write(home, set=now - 100, idle=50)) == ("idle", 0.0)


@posix
def test_work_keeps_an_idle_runtime(home: Path) -> None:
    """A run whose process lives counts as activity; one whose process id was given to another does not."""
    guard, now = Guard(str(home)), time.time()
    run = home / "runs" / "abcdef"
    run.mkdir(parents=True)
    pid = os.getpid()
    write_json(str(run / "state.json"), {"pid": pid, "start": identity(pid)})
    assert guard._due(write(home, set=now - 100, idle=50))[0] is None
    (home / "activity").unlink()
    write_json(str(run / "state.json"), {"pid": pid, "start": "another process"})
    assert guard._due(write(home, set=now - 100, idle=50)) == ("idle", 0.0)
    write_json(str(run / "spec.json"), {"kind": "kernel", "kernelPid": pid, "kernelStart": identity(pid)})
    assert guard._due(write(home, set=now - 100, idle=50))[0] is None  # nobody can say that this kernel is idle
    (home / "activity").unlink()
    write_json(str(run / "result.json"), {})
    assert guard._due(write(home, set=now - 100, idle=50)) == ("idle", 0.0)


@posix
def test_work_may_save_itself_at_the_end(home: Path) -> None:
    """A program and code in a kernel are told, and the end waits for both, as far as they take no more than their time.
    Everybody who ends work grants the same."""
    assert Guard(str(home))._saving == limits.SAVING == 30
    save = "import signal, time, sys\nsignal.signal({0}, lambda *_: (time.sleep(0.8), open({1!r}, 'w'), {2}))\n"
    work = save + "print(1, flush=True)\nwhile True: time.sleep(1)"
    ended = {}
    for name, number, after in (("process", signal.SIGTERM, "sys.exit(0)"), ("kernel", signal.SIGINT, "0")):
        run = home / "runs" / name
        run.mkdir(parents=True)
        code = work.format(int(number), str(run / ("result.json" if name == "kernel" else "saved")), after)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        process.stdout.readline()
        start = identity(process.pid)
        if name == "process":
            write_json(str(run / "state.json"), {"pid": process.pid, "start": start})
        else:
            write_json(str(run / "spec.json"), {"kind": "kernel", "kernelPid": process.pid, "kernelStart": start})
        ended[name] = process
    Guard(str(home), saving=20)._end_runs()
    assert (home / "runs" / "process" / "saved").exists()
    assert (home / "runs" / "kernel" / "result.json").exists()
    assert ended["process"].wait() == 0
    assert ended["kernel"].poll() is None, "a kernel goes with its runtime"
    ended["kernel"].kill()
    ended["kernel"].wait()
    for process in ended.values():
        process.stdout.close()  # type: ignore[union-attr]


def test_setting_the_lease_is_no_work(home: Path) -> None:
    """It puts the end off, as a sign that a client is there; when the runtime last worked is told apart."""
    lease, guard = RuntimeLease(str(home), Programs(str(home), {})), Guard(str(home))
    assert lease.change({"idle": None})["workedAgo"] is None
    lease.active()
    os.utime(home / "activity", (time.time() - 100, time.time() - 100))
    found = lease.change({"idle": None})
    assert 100 <= found["workedAgo"] < 160
    assert found["idleFor"] < 60
    assert guard._due({**stored(home), "idle": 70})[0] is None


def test_a_lease_that_had_ended_begins_anew(home: Path) -> None:
    """Changing an ended lease makes a new one, without the old one's limits."""
    write(home, set=1.0, until=2.0, idle=3.0, ended={"at": "", "reason": "until"})
    lease = RuntimeLease(str(home), Programs(str(home), {}))
    found = lease.change({"seconds": None})
    assert (found["ended"], found["idleSeconds"]) == (None, None)
    assert stored(home)["set"] > 1.0


def test_how_a_runtime_is_released(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colab's machine by its own service; a server only if it is ours and our parent; else only our runs end."""
    monkeypatch.delenv("TBE_RUNTIME_ADDR", raising=False)
    assert release_kind(str(home)) == "runs"
    write_json(str(home.parent / "server.json"), {"pid": 4711})
    monkeypatch.setenv("JPY_PARENT_PID", "4712")
    assert release_kind(str(home)) == "runs"
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    assert release_kind(str(home)) == "server"
    monkeypatch.setenv("TBE_RUNTIME_ADDR", "127.0.0.1:1")
    assert release_kind(str(home)) == "unassign"
