"""The keeper: alive while something is held, alone, found again, and true to leases."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lecoder_cgpu.backends.colab import listing as colab_listing
from lecoder_cgpu.config import Config
from lecoder_cgpu.keeper.daemon import KeeperDaemon
from lecoder_cgpu.sessions import keeper_process
from lecoder_cgpu.store.session_store import Record, Store
from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli

LIMIT = 90.0


@pytest.fixture
def kept(colab: FakeColab, colab_cli: Cli) -> Iterator[Cli]:
    """A command line whose keeper makes a round every half second."""
    colab.switches.keep_alive = "empty"
    colab_cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    yield colab_cli
    colab_cli("keeper", "stop")


def until(what: Callable[[], Any]) -> Any:
    """Wait for something to be so."""
    deadline = time.monotonic() + LIMIT
    while not (found := what()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return found


def pings(colab: FakeColab) -> int:
    return colab.count("GET /tun/m/*/keep-alive/")


def record(cli: Cli) -> Record:
    (found,) = Store(cli.state).records()
    return found


def process(cli: Cli) -> int:
    found = keeper_process.read(cli.state)
    assert found is not None
    assert keeper_process.is_alive(found)
    return found.pid


def seen(cli: Cli) -> Any:
    """What the keeper last said of the only session."""
    written = json.loads(keeper_process.path(cli.state).read_bytes())
    validate(written, "keeper-file")
    sessions = written["sessions"]
    return sessions[0] if sessions else {}


def test_from_the_first_run_to_the_last(colab: FakeColab, kept: Cli) -> None:
    """It comes with the first run, pings, is alone, holds nobody's stdio, and goes when nothing is held."""
    assert kept("run", "--cpu", "echo hi").out == "hi\n"  # would not end if the keeper had our pipes
    until(lambda: pings(colab) >= 3)
    pid = process(kept)
    several = [kept.start("status", "--json") for _ in range(4)]
    for command in several:
        assert command.wait(LIMIT) == 0
        command.communicate()
    assert process(kept) == pid
    status = kept("keeper", "status", "--json")
    validate(status.json, "keeper-status")
    assert status.json["running"] is True
    assert status.json["sessions"][0]["work"] == "none"
    lease = kept("sessions", "list", "--json").json[0]["lease"]
    assert lease["idleSeconds"] == 3600
    assert kept("sessions", "close", "--all", "--json").code == 0
    until(lambda: not keeper_process.path(kept.state).exists())

    def said() -> list[str]:
        log = kept("debug", "show", "--json", "-n", "5000").json
        return [line["message"] for line in log if line["category"] == "KEEPER"]

    until(lambda: "ends: nothing is held" in said())
    assert said().count("begins") == 1


def test_a_killed_keeper_is_noticed(colab: FakeColab, kept: Cli) -> None:
    """Its death leaves readable state, is told by the next command, and made good by it."""
    assert kept("run", "--cpu", "true").code == 0
    pid = until(lambda: process(kept))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not keeper_process.is_alive(keeper_process.read(kept.state)))
    status = kept("keeper", "status", "--json").json
    assert (status["running"], "died" in status["problem"]) == (False, True)
    again = kept("run", "true", "--json")
    assert "keeper" in again.json["notice"]
    assert process(kept) != pid
    stopped = kept("keeper", "stop", "--json")
    validate(stopped.json, "keeper-stop")
    assert stopped.json["stopped"] is True
    assert kept("keeper", "stop", "--json").json["stopped"] is False


def test_stop_ends_every_keeper(hollow: FakeColab, kept: Cli) -> None:
    """Also one that waits to take the first one's place, and one whose record is gone."""
    assert kept("sessions", "ensure", "a", "--cpu").code == 0
    until(lambda: seen(kept))  # it has begun, and is the one that keeps
    first = process(kept)
    keeper_process.path(kept.state).unlink()
    second = kept.start("keeper", "run")
    until(lambda: keeper_process.read(kept.state))
    assert process(kept) == first  # it says again that it is there
    stopped = kept("keeper", "stop", "--json")
    assert (stopped.code, stopped.json["stopped"]) == (0, True), stopped
    assert second.wait(LIMIT) == 0
    second.communicate()
    assert keeper_process.read(kept.state) is None
    assert kept("keeper", "stop", "--json").json["stopped"] is False


def test_a_slow_answer_holds_no_place(cli: Cli) -> None:
    """A keeper with nothing left to keep makes room for the next one at once, whatever it still waits for."""
    config = Config(config_file=cli.home / "config" / "config.json")
    keeper, answered = KeeperDaemon(config, cli.state, 0.2), threading.Event()
    keeper._pool.submit(answered.wait)
    ends = threading.Thread(target=keeper.run, daemon=True)
    ends.start()
    until(lambda: keeper.state.stage == "ended")
    with keeper_process.alone(cli.state, 20):
        assert ends.is_alive()
    answered.set()
    ends.join()


def test_idle_release(colab: FakeColab, kept: Cli) -> None:
    """A job keeps the runtime, with an open socket; without work it is released, and the next run says so."""
    started = kept("run", "--cpu", "--idle-release", "never", "--detach", "sleep 300", "--json")
    assert started.code == 0, started
    until(lambda: seen(kept).get("socket"))
    assert kept("run", "--idle-release", "1s", "true").code == 0
    time.sleep(4)  # several times what is allowed without work
    assert len(colab.vms) == 1
    assert seen(kept)["work"] == "running"
    kept("job", "kill", started.json["jobId"])
    until(lambda: not colab.vms)
    until(lambda: record(kept).allocation.state == "lost")  # type: ignore[union-attr]
    assert record(kept).lease.ended == "idle"  # type: ignore[union-attr]
    until(lambda: not keeper_process.path(kept.state).exists())  # nothing is held any more
    again = kept("run", "--idle-release", "never", "echo back", "--json")
    assert (again.code, again.json["stdout"]) == (0, "back\n")
    assert "no work for 1 s" in again.json["notice"]
    assert record(kept).lease.ended is None  # type: ignore[union-attr]


def test_nobody_is_left_to_release_it(colab: FakeColab, kept: Cli) -> None:
    """A runtime whose keeper is gone, as with a laptop, releases itself when it has had no work for long enough."""
    assert kept("run", "--cpu", "--idle-release", "5s", "true").code == 0
    folder = colab.vm.machine.folder
    until(lambda: list(folder.rglob("lease.json")))
    os.kill(process(kept), signal.SIGKILL)
    until(lambda: not colab.vms)
    again = kept("run", "--idle-release", "never", "echo back", "--json")
    assert (again.code, again.json["stdout"]) == (0, "back\n")
    assert "is gone" in again.json["notice"]


def test_a_limit_on_time(colab: FakeColab, kept: Cli) -> None:
    """--max-runtime ends the runtime under a run, which is told why; nothing new is started behind the user's back."""
    colab.fail("/tun/m/*/keep-alive/", times=None, status=500)  # pings that fail put nothing off
    assert kept("run", "--cpu", "-m", "kernel", "import time").code == 0
    limit = f"{time.time() - record(kept).lease.began + 10:.0f}s"  # type: ignore[union-attr]
    result = kept("run", "--max-runtime", limit, "-m", "kernel", "print(1, flush=True); time.sleep(120)", "--json")
    document = result.json
    validate(document, "run")
    assert (result.code, document["errorCode"], document["stdout"]) == (69, 2008, "1\n"), document
    assert "--max-runtime" in document["error"]["message"]
    until(lambda: not colab.vms and record(kept).allocation.state == "lost")  # type: ignore[union-attr]
    assert failed(kept("run", "true", "--json"), "run")["errorCode"] == 2008
    assert not colab.vms
    more = kept("run", "--max-runtime", "1h", "echo more", "--json")
    assert (more.code, more.json["stdout"]) == (0, "more\n")


def test_a_limit_lets_work_be_saved(colab: FakeColab, kept: Cli) -> None:
    """A command gets SIGTERM, and time; how it takes that, the limit ended it."""
    assert kept("run", "--cpu", "true").code == 0
    limit = f"{time.time() - record(kept).lease.began + 6:.0f}s"  # type: ignore[union-attr]
    saving = "trap 'sleep 2; echo saved; exit 0' TERM; echo begun; while :; do sleep 0.2; done"
    result = kept("run", "--max-runtime", limit, saving, "--json")
    assert (result.code, result.json["errorCode"], result.json["stdout"]) == (69, 2008, "begun\nsaved\n"), result
    assert result.json["stopped"] == {"by": "lease", "steps": ["SIGTERM"]}
    until(lambda: not colab.vms)


def test_a_limit_on_cost(colab: FakeColab, kept: Cli) -> None:
    """--max-units counts what the account burns and releases the runtime when that is reached."""
    assert kept("run", "--gpu", "T4", "true").code == 0
    assert kept("run", "--max-units", "0.001", "true").code in (
        0,
        69,
    )  # 1.2 an hour: three seconds, perhaps over by now
    until(lambda: not colab.vms)
    until(lambda: record(kept).allocation.state == "lost")  # type: ignore[union-attr]
    lease = kept("sessions", "list", "--json").json[0]["lease"]
    assert lease["ended"] == "units"
    assert lease["unitsSpent"] >= 0.001
    assert failed(kept("run", "true", "--json"), "run")["errorCode"] == 2008


def test_pings_that_fail(colab: FakeColab, kept: Cli) -> None:
    """No runtime is given up because of pings alone: only when the listing lacks it, too."""
    assert kept("run", "--cpu", "true").code == 0
    for fault in ({"status": 404}, {"status": 500}, {"drop": True}):
        before = colab.fail("/tun/m/*/keep-alive/", times=3, **fault)
        until(lambda: before.hits == 3)  # noqa: B023
        done = pings(colab)
        until(lambda: pings(colab) > done)  # noqa: B023
        assert record(kept).allocation.state == "ready"  # type: ignore[union-attr]
    colab.call(colab.vm.kill)
    until(lambda: record(kept).allocation.state == "lost")  # type: ignore[union-attr]
    until(lambda: not keeper_process.path(kept.state).exists())


def test_an_hour_with_tokens_of_a_minute(colab: FakeColab, colab_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session outlives its proxy token by an hour of Google's time, and Colab's own limit for what nobody keeps."""
    colab.switches.keep_alive = "empty"
    colab.switches.proxy_ttl = 60
    monkeypatch.setattr(colab_listing, "LISTING_AGE", 0.0)  # real seconds, of which none pass here
    assert colab_cli("run", "--cpu", "true").code == 0
    config = Config(config_file=colab_cli.home / "config" / "config.json")
    own = KeeperDaemon(config, colab_cli.state, clock=colab.world.clock.now)
    for _ in range(120):
        colab.advance(30)
        assert own.tick()
    proxy = record(colab_cli).runtime.proxy
    assert proxy is not None
    assert colab.vm.admits(proxy.token)
    assert 60 <= pings(colab) <= 62
    own.close()
    colab.requests.clear()
    assert colab_cli("run", "echo late").out == "late\n"
    assert colab.count("*", role="tunnel") == 0  # the token in the record is good, so Colab is asked nothing


def test_bad_limits(colab: FakeColab, colab_cli: Cli) -> None:
    """They are refused before anything is asked for."""
    for option, value in (
        ("--idle-release", "soon"),
        ("--max-runtime", "0"),
        ("--max-units", "-1"),
        ("--max-units", "x"),
    ):
        assert failed(colab_cli("run", option, value, "true", "--json"))["errorCode"] == 2006
    line = ("--backend", "local", "run", "--max-runtime", "1h", "true", "--json")
    assert failed(colab_cli(*line))["error"]["name"] == "NoLease"
    assert colab.requests == []
    assert colab_cli("sessions", "list", "--json").json == []
