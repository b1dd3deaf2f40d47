"""One contract for all backends: the same stories, as far as each claims what they need, through the real command line.

`Place` is a backend together with what a test does to it from outside: take a runtime away, run out of stock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.sessions import keeper_process
from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed, validate
from tests.support import rented
from tests.support.cli import Cli
from tests.support.colab import logged_in
from tests.support.servers import JupyterServer

LIMIT = 90.0


class Place:
    """A backend and its command line. `gpu` can be had, `refused` is known and not allowed."""

    name = ""
    gpu = ""
    refused = ""
    label = ""
    released = ""  # what closing a session says of its runtime

    def __init__(self, cli: Cli) -> None:
        self.cli = cli

    def __call__(self, *words: str) -> Any:
        return self.cli("--backend", self.name, *words) if words[0] == "run" else self.cli(*words)

    def kept(self) -> Cli:
        """The command line with a keeper that makes a round every half second."""
        self.cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
        return self.cli

    def lose(self) -> None:
        """Take the only runtime away."""
        raise NotImplementedError

    def sell_out(self) -> None:
        """Have no machine with `gpu` for anybody."""
        raise NotImplementedError

    def start_elsewhere(self) -> str:
        """A runtime with `gpu` that a browser started; returns its endpoint."""
        raise NotImplementedError

    def held(self) -> int:
        """How many runtimes the account holds, as the lender knows."""
        raise NotImplementedError

    def pings(self) -> int:
        """How often the lender was told that the runtime is in use."""
        raise NotImplementedError


class Colab(Place):
    """The fake Colab, with an account that has units."""

    name, gpu, refused, label, released = "colab", "T4", "H100", "Colab GPU T4", "runtime"

    def __init__(self, cli: Cli, colab: FakeColab) -> None:
        super().__init__(cli)
        self.colab = colab
        colab.account.upgrade()
        colab.account.eligible_gpus = ("T4", "L4")
        colab.switches.keep_alive = "empty"

    def lose(self) -> None:
        self.colab.kill()

    def sell_out(self) -> None:
        self.colab.account.out_of_stock.add(self.gpu)

    def start_elsewhere(self) -> str:
        return self.colab.start_vm(self.gpu).endpoint

    def held(self) -> int:
        return len(self.colab.vms)

    def pings(self) -> int:
        return self.colab.count("GET /tun/m/*/keep-alive/")


class Rented(Place):
    """The tests' own backend, which comes with an entry point."""

    name, gpu, refused, label, released = "rented", "ZX1", "ZX3", "Rented machine ZX1", "runtime"

    def __init__(self, cli: Cli, shop: rented.Shop) -> None:
        super().__init__(cli)
        self.shop = shop

    def lose(self) -> None:
        with self.shop.books() as books:
            (name,) = books.machines
        rented.kill(self.shop, name)

    def sell_out(self) -> None:
        with self.shop.books() as books:
            books.stock[self.gpu] = 0

    def start_elsewhere(self) -> str:
        return rented.rent_elsewhere(self.shop, self.gpu)

    def held(self) -> int:
        with self.shop.books() as books:
            return len(books.machines)

    def pings(self) -> int:
        with self.shop.books() as books:
            return sum(machine.pings for machine in books.machines.values())


class Local(Place):
    """A server of our own on this machine."""

    name, label, released = "local", "Local runtime", "server"


class Jupyter(Place):
    """A server of somebody else's."""

    name, released = "jupyter", "kernels"


def _place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    cli = Cli(tmp_path / "home")
    if kind == "colab":
        with FakeColab(tmp_path / "colab") as colab:
            place: Place = Colab(logged_in(cli, colab), colab)
            yield place
            cli("sessions", "close", "--all")
            cli("keeper", "stop")
        return
    if kind == "rented":
        shop = rented.Shop(tmp_path / "shop")
        cli.variables |= {**rented.installed(tmp_path / "packages"), rented.SHOP: str(shop.folder)}
        cli.variables["LECODER_CGPU_BACKEND"] = "rented"
        place = Rented(cli, shop)
    elif kind == "local":
        place = Local(cli)
    else:
        server: JupyterServer = request.getfixturevalue("jupyter")
        cli.variables |= {"LECODER_CGPU_JUPYTER_URL": server.url, "LECODER_CGPU_JUPYTER_TOKEN": server.token}
        place = Jupyter(cli)
    yield place
    cli("sessions", "close", "--all")
    cli("keeper", "stop")
    if isinstance(place, Rented):
        place.shop.close()


@pytest.fixture(params=["colab", "rented", "local", "jupyter"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Every backend."""
    yield from _place(request.param, request, tmp_path)


@pytest.fixture(params=["colab", "rented"])
def lender(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The backends whose runtimes are leased."""
    yield from _place(request.param, request, tmp_path)


@pytest.fixture(params=["local", "jupyter"])
def free(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The backends whose runtimes cost nothing."""
    yield from _place(request.param, request, tmp_path)


def until(what: Callable[[], Any]) -> Any:
    """Wait for something to be so."""
    deadline = time.monotonic() + LIMIT
    while not (found := what()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.1)
    return found


def sessions(place: Place) -> Any:
    document = place("sessions", "list", "--json").json
    validate(document, "sessions-list")
    return document


def test_from_the_first_run_to_the_last(place: Place) -> None:
    """A command and code run; the session is listed and found in `status`; closing it says what became of it."""
    ran = place("run", "-m", "kernel", "print(6*7)", "--json")
    assert (ran.code, ran.json["stdout"]) == (0, "42\n"), ran
    validate(ran.json, "run")
    assert place("run", "echo hi").out == "hi\n"
    (item,) = sessions(place)
    assert (item["backend"], item["status"], item["isActive"]) == (place.name, "active", True)
    status = place("status", "--json").json
    validate(status, "status")
    assert (status["runtimes"][0]["backend"], status["runtimes"][0]["connected"]) == (place.name, True)
    closed = place("sessions", "close", "--json").json
    validate(closed, "sessions-close")
    assert closed["closed"][0]["released"] == place.released
    assert sessions(place) == []


def test_ensure_twice_is_once(place: Place) -> None:
    """The second `sessions ensure` finds what the first has started."""
    first = place.cli("--backend", place.name, "sessions", "ensure", "work", "--json")
    assert first.code == 0, first
    again = place.cli("--backend", place.name, "sessions", "ensure", "work", "--json")
    assert again.json["fresh"] is False
    assert again.json["session"]["runtime"] == first.json["session"]["runtime"]
    assert len(sessions(place)) == 1


def test_nothing_is_leased_where_nothing_costs(free: Place) -> None:
    """Accelerators and limits are refused before anything is started; no line speaks of money."""
    for option in (["--gpu", "T4"], ["--tpu"], ["--high-ram"]):
        refused = failed(free("run", *option, "true", "--json"))
        assert (refused["errorCode"], refused["exitCode"]) == (2006, 2)
    for option in (["--max-runtime", "1h"], ["--idle-release", "5m"], ["--max-units", "3"]):
        refused = failed(free("run", *option, "true", "--json"))
        assert refused["error"]["name"] == "NoLease"
    assert sessions(free) == []
    ran = free("run", "true")
    assert "costs" not in ran.err
    failure = failed(free("run", "-m", "kernel", "--session", "nobody", "1", "--json"))
    assert failure["error"]["billing"] == "none"
    (item,) = sessions(free)
    assert "lease" not in item
    assert "origin" not in item


def test_an_accelerator_with_a_lease(lender: Place) -> None:
    """What was asked for is what is listed; the limits are those of the command; people are told what is held."""
    ran = lender("run", "--gpu", lender.gpu, "--max-runtime", "2h", "--idle-release", "30m", "true")
    assert ran.code == 0, ran
    assert f"still running and using units: {lender.name}, {lender.label}; stops after 30 min" in ran.err
    assert f"lecoder-cgpu sessions close {lender.name}" in ran.err
    (item,) = sessions(lender)
    assert (item["runtime"]["accelerator"], item["label"], item["origin"]) == (lender.gpu, lender.label, "ours")
    assert item["lease"]["idleSeconds"] == 1800
    assert item["lease"]["endsAt"]
    again = lender("run", "--gpu", lender.gpu, "--max-runtime", "never", "true", "--json")
    assert again.json["session"]["name"] == lender.name
    assert "endsAt" not in sessions(lender)[0]["lease"]
    failure = failed(lender("run", "--session", "nobody", "true", "--json"))
    assert failure["error"]["billing"] == "running"
    runtime = lender("status", "--json").json["runtimes"][0]
    assert runtime["unitsPerHour"] > 0
    assert lender("status").out.count("if idle") == 1
    assert lender("sessions", "close").code == 0
    assert lender.held() == 0


def test_refusals(lender: Place) -> None:
    """An accelerator that is not allowed, and one that is not free: each its own code, and no session remains."""
    denied = failed(lender("run", "--gpu", lender.refused, "true", "--json"))
    assert (denied["errorCode"], denied["error"]["name"]) == (2002, "NotEntitled")
    lender.sell_out()
    busy = failed(lender("run", "--gpu", lender.gpu, "true", "--json"))
    assert (busy["errorCode"], busy["error"]["name"], busy["error"]["billing"]) == (2003, "NoCapacity", "none")
    assert sessions(lender) == []
    assert lender.held() == 0


def test_the_account(lender: Place) -> None:
    """`usage` tells the balance, `gpus` what may be asked for; `status` has both."""
    usage = lender("usage", "--json").json
    validate(usage, "usage")
    assert usage["units"]["balance"] == 100.0
    assert usage["account"]["id"]
    gpus = lender("gpus", "--json").json
    validate(gpus, "gpus")
    assert lender.gpu in gpus["eligibleGpus"]
    assert lender.refused in gpus["ineligibleGpus"]
    status = lender("status", "--json").json
    assert (status["units"]["balance"], status["tier"]) == (100.0, usage["tier"])
    assert lender.gpu in status["eligibleGpus"]


def test_what_others_started(lender: Place) -> None:
    """A runtime of a browser's is listed and left alone, taken over by name, and ended by name."""
    first, second = lender.start_elsewhere(), lender.start_elsewhere()
    listed = sessions(lender)
    assert {item["id"] for item in listed} == {first, second}
    assert {item["backend"] for item in listed} == {lender.name}
    assert {item["runtime"]["accelerator"] for item in listed} == {lender.gpu}
    assert {item["endpoint"] for item in lender("status", "--json").json["runtimes"]} == {first, second}
    assert lender("sessions", "clean", "--json").json["removed"] == []
    adopted = lender("sessions", "adopt", first, "--name", "mine", "--json")
    assert adopted.code == 0, adopted
    assert lender("run", "--session", "mine", "echo hi").out == "hi\n"
    unknown = failed(lender("sessions", "adopt", "no-such-runtime", "--name", "other", "--json"))
    assert unknown["errorCode"] == 2005
    ended = lender("sessions", "close", second, "--json").json
    assert (ended["closed"][0]["released"], ended["held"]) == ("runtime", [first])
    assert lender("sessions", "close", "mine", "--json").json["held"] == []
    proof = lender("sessions", "close", "--all", "--json").json
    assert (proof["held"], proof["wholeAccount"]) == ([], True), "also when there was nothing to close"
    assert lender.held() == 0


def test_a_loss(lender: Place) -> None:
    """A command that named the session is told of the loss; a plain one gets another runtime, and says so."""
    assert lender("run", "-m", "kernel", "x = 1").code == 0
    lender.lose()
    named = failed(lender("run", "-m", "kernel", "--session", lender.name, "print(x)", "--json"), "run")
    assert named["errorCode"] == 2004
    assert sessions(lender)[0]["status"] == "stale"
    again = lender("run", "-m", "kernel", "print(x)", "--json")
    assert "is gone" in again.json["notice"]
    assert again.json["error"]["name"] == "NameError"
    assert lender.held() == 1
    lender.lose()
    until(lambda: lender("sessions", "clean", "--json").json["removed"] != [])  # a lender may want to be sure first
    assert sessions(lender) == []


def test_the_keeper(lender: Place) -> None:
    """It keeps the runtime while it is held, releases it when the lease says so, and goes when nothing is held."""
    cli = lender.kept()
    assert lender("run", "--idle-release", "never", "true").code == 0
    until(lambda: lender.pings() >= 2)
    keeper = cli("keeper", "status", "--json").json
    assert (keeper["running"], keeper["sessions"][0]["ping"]) == (True, "ok")
    # Not `run`: the keeper is quick, and may release an idle runtime before a command begins on it.
    assert cli("--backend", lender.name, "sessions", "ensure", lender.name, "--idle-release", "1s").code == 0
    until(lambda: lender.held() == 0)
    until(lambda: not keeper_process.path(cli.state).exists())
    ended = failed(lender("run", "--session", lender.name, "true", "--json"))
    assert (ended["errorCode"], ended["error"]["name"]) == (2004, "LeaseEnded")


def test_a_limit_in_units(lender: Place) -> None:
    """The keeper counts what the account burns, and releases the runtime at the limit."""
    limits = ("--idle-release", "never", "--max-units", "0.0001")
    started = lender.kept()("--backend", lender.name, "sessions", "ensure", lender.name, *limits)
    assert started.code == 0, started
    until(lambda: lender.held() == 0)
    ended = failed(lender("run", "--session", lender.name, "true", "--json"))
    assert (ended["errorCode"], ended["error"]["name"]) == (2008, "LeaseEnded")


def test_a_plugin_that_cannot_be_loaded(tmp_path: Path) -> None:
    """A broken package is named, and hinders nobody who does not choose it."""
    cli = Cli(tmp_path / "home")
    cli.variables |= rented.installed(tmp_path / "packages", target="no_such_module:Backend", name="broken")
    refused = failed(cli("--backend", "broken", "run", "true", "--json"))
    assert (refused["errorCode"], "no_such_module" in refused["error"]["message"]) == (2009, True)
    assert cli("--backend", "local", "sessions", "list", "--json").json == []
    unknown = cli("--backend", "nobody", "run", "true", "--json")
    assert (unknown.code, json.loads(unknown.out)["errorCode"]) == (2, 2006)
