"""`doctor --field` says exactly what the fake's switches say, on one runtime, which is given back."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu import config
from lecoder_cgpu.diagnostics.field_check import check
from lecoder_cgpu.diagnostics.field_check.subject import Plan
from lecoder_cgpu.models.field_check import FieldFact
from lecoder_cgpu.sessions.manager import SessionManager
from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli
from tests.support.colab import logged_in
from tests.support.pty import Pty
from tests.support.wait import wait_until

PYTHON = os.environ.get("LECODER_CGPU_TEST_COLAB_PYTHON", sys.executable)
QUICK = Plan(pace=0.01, gone_within=0.5, pong=1.0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, FakeColab]]:
    """A paying account with a session that is held, and that has run nothing."""
    with FakeColab(tmp_path_factory.mktemp("colab")) as colab:
        colab.account.upgrade("PRO")
        colab.switches.terminals = True  # the front takes them away where a test says so
        command = logged_in(Cli(tmp_path_factory.mktemp("home")), colab)
        assert command("sessions", "ensure", "held", "--cpu").code == 0
        yield command, colab


@pytest.fixture
def switched(shared: tuple[Cli, FakeColab]) -> Iterator[Callable[..., tuple[Cli, FakeColab]]]:
    """The same, with switches that are set back afterwards."""
    command, colab = shared
    before = vars(colab.switches).copy()

    def switch(**switches: Any) -> tuple[Cli, FakeColab]:
        vars(colab.switches).update(switches)
        colab.requests.clear()
        return command, colab

    yield switch
    vars(colab.switches).update(before)


def facts(document: Any) -> dict[str, Any]:
    validate(document, "field-check")
    return {item["fact"]: item for item in document["facts"]}


def looked(command: Cli, monkeypatch: pytest.MonkeyPatch, plan: Plan, number: str, *, own: bool = False) -> FieldFact:
    """One fact, looked at with times of our own, on the session that is held or on a runtime of the check's own."""
    from lecoder_cgpu.backends.protocol import RuntimeRequest
    from lecoder_cgpu.sessions import operations

    for name, value in command.environment().items():
        if name.startswith("LECODER_CGPU_"):
            monkeypatch.setenv(name, value)
    manager = SessionManager(config.Config())
    session = manager.own(RuntimeRequest(cpu=True)) if own else manager.existing("held")
    with session:
        try:
            document = check.examine(session, plan, own=own, only=frozenset([number]), progress=lambda name: None)
        finally:
            if own:
                operations.close(manager, session.record)
    return document.facts[-1]


SWITCHES: list[tuple[dict[str, Any], str, dict[str, str]]] = [
    ({}, "C35,C40,J31", {
        "v1 subprotocol": "not agreed to", "binary frames up": "pass", "binary frames down": "pass",
        "largest frame down": "8 MiB passes", "/files": "sends pieces of files",
        "longest body": "a body of 24 MiB passes",
    }),
    ({"v1": "spoken"}, "C35", {"v1 subprotocol": "agreed to and spoken"}),
    ({"v1": "echoed"}, "C35", {"v1 subprotocol": "agreed to and not spoken: .*"}),
    ({"binary": "swallowed"}, "C35", {"binary frames up": "are swallowed", "binary frames down": "are swallowed"}),
    ({"binary": "closed"}, "C35", {
        "binary frames up": r"the socket is closed \(1003\)", "binary frames down": r"the socket is closed \(1003\)",
    }),
    ({"frame_limit": 200_000}, "C35,J22", {
        "largest frame up": r"64 KiB passes; 256 KiB: the socket is closed \(1009\)",
        "largest frame down": r"64 KiB passes; 256 KiB: the socket is closed \(1009\)",
    }),
    ({"kernels": 1}, "C39", {"second kernel": "refused beside 1: HTTP 403"}),
    ({"kernels": 1, "kernel_refusal": 500}, "C39", {"second kernel": "refused beside 1: HTTP 500"}),
    ({"kernels": 0}, "C39,C36", {"second kernel": "not seen", "working folder": "not seen"}),
    ({"files": "whole"}, "C40", {"/files": "sends whole files only"}),
    ({"files": "500"}, "C40", {"/files": "HTTP 500"}),
    ({"contents": False}, "C40,J31", {"contents API": "HTTP 404", "longest body": "a body of 64 KiB: HTTP 404"}),
    ({"body_limit": 100_000}, "J31", {"longest body": "a body of 64 KiB passes; a body of 1 MiB: HTTP 413"}),
    ({"terminals": False}, "C42", {"/api/terminals": "HTTP 404"}),
    ({}, "C42,C41", {"/api/terminals": "start a shell", "/colab/tty": "not seen"}),
    ({"port_paths": True}, "C59,C32", {"/_proxy/PORT/": "reaches the port", "address of a port": "reaches the port"}),
    ({"other_ports": False}, "C59,C32", {"/_proxy/PORT/": "HTTP .*", "address of a port": "no token: HTTP 404"}),
    ({"stale_status": 401}, "C30", {"stale token": "HTTP 401"}),
    ({"keep_alive": "empty"}, "C19", {"keep-alive ping": "answered"}),
    ({"proxy_ttl_said": 1800}, "C29", {"proxy token": "told to live 1800 s; a JWT .* for this runtime"}),
    ({"opaque_tokens": True}, "C29", {"proxy token": "told to live 3600 s; opaque"}),
    ({"proxy_exp_skew": 1000}, "C29", {"proxy token": r".*a JWT that ends in (4600|459\d) s.*"}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SWITCHES)))
def test_it_says_what_the_switch_says(
    switched: Callable[..., tuple[Cli, FakeColab]], request: pytest.FixtureRequest, number: int
) -> None:
    """One switch in three by default; `--matrix` tries all."""
    if number % 3 and not request.config.getoption("matrix"):
        pytest.skip("with --matrix")
    switches, only, expected = SWITCHES[number]
    command, colab = switched(**switches)
    if only == "C29":
        colab.expire_proxy_tokens()  # so that there is one of the new kind
    found = facts(command("doctor", "--field", "-s", "held", "--facts", only, "--json").json)
    for name, text in expected.items():
        assert re.fullmatch(text, found[name].get("seen", found[name]["state"])), found[name]
        assert "a TypeError" not in found[name].get("why", "")
    assert colab.count("POST /tun/m/assign") == 0
    assert len(colab.vms) == 1


def test_listings(switched: Callable[..., tuple[Cli, FakeColab]], monkeypatch: pytest.MonkeyPatch) -> None:
    command, _ = switched(blink=2)
    found = looked(command, monkeypatch, QUICK, "C15")
    assert (found.seen, found.state) == ("28 of 30 listings show the runtime", "different")


def test_silence(switched: Callable[..., tuple[Cli, FakeColab]], monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--long`: a socket without pings is cut, and one with pings lives."""
    command, _ = switched(idle_cut=2.5)
    plan = Plan(pong=3.0, long=True, silences=(0.3, 5.0), ping_interval=0.2)
    found = looked(command, monkeypatch, plan, "C34")
    assert found.seen == "without pings alive after 0.3 s of silence, dead after 5 s; with pings alive to the end"


def test_the_end_from_inside(switched: Callable[..., tuple[Cli, FakeColab]], monkeypatch: pytest.MonkeyPatch) -> None:
    command, colab = switched(linger=60.0)
    found = looked(command, monkeypatch, QUICK, "C46", own=True)
    assert found.seen == "HTTP 200; still listed after 0 s"
    assert len(colab.vms) == 1


def test_what_the_other_side_sends(switched: Callable[..., tuple[Cli, FakeColab]], tmp_path: Path) -> None:
    """Nothing of it comes into the report as it is; what hinders one fact hinders no other, and everything ends."""
    command, colab = switched(tty=False)
    spoilt = {"gpus": [{"name": "<a@b.example> http://evil/|" + "x" * 900, "memoryTotalBytes": 1 << 30}]}
    colab.fail("GET /api/colab/resources", patch=spoilt)
    colab.fail("PUT /api/contents/*", drop=True)
    colab.fail("GET /files/*", status=200, body=b"<html>")
    report = tmp_path / "field.md"
    words = ("--gpu", "T4", "--facts", "C45,C40,C41,C35", "--report", str(report))
    result = command("doctor", "--field", "--yes", "--json", *words)
    assert result.code == 0, result
    found = facts(result.json)
    assert found["memory and GPUs"]["seen"].endswith("nvidia-smi: Tesla T4 15360 MiB")
    assert found["/files"].get("seen", found["/files"]) == "HTTP 200 with something else"
    assert found["contents API"]["state"] == "not seen"
    assert found["/colab/tty"]["seen"] == "HTTP 404"
    assert found["binary frames up"]["seen"] == "pass"
    for secret in ("@", "http:", "evil/", "gpu-t4-s", colab.account.email, "127.0.0.1"):
        assert secret not in report.read_text()
    assert "| C35 | binary frames up | pass | pass |" in report.read_text()
    assert len(colab.vms) == 1


def test_whole(tmp_path: Path) -> None:
    """All facts on the image of Colab's machines (half a minute where nothing else is at work), and few requests."""
    with FakeColab(tmp_path / "colab", python=PYTHON) as colab:
        colab.account.upgrade("PRO")
        command = logged_in(Cli(tmp_path / "home"), colab)
        result = command("doctor", "--field", "--yes", "--report", str(tmp_path / "field.md"), "--json")
        assert result.code == 0, result
        document = result.json
        found = facts(document)
        unseen = [item for item in found.values() if item["state"] == "not seen"]
        slow = {"message rate", "data rate"}  # on a busy machine they come too slowly for the limits of the server
        assert {item["fact"] for item in unseen} <= slow, unseen
        assert set(found) == {fact.name for fact in (*check.FACTS, *check.LAST)}
        assert found["keep-alive ping"]["seen"] == "taken, and not answered"
        assert found["release from inside"]["state"] == found["second kernel"]["state"] == "expected"
        assert document["release"]["released"] == "nothing"  # it has ended itself
        assert colab.vms == {}
        assert colab.count("POST /tun/m/assign") == 1
        assert colab.count("* /tun/m/*") < 45
        tokens = re.compile(r"eyJ|ya29|m-s-fake|127\.0\.0\.1|@")
        assert not tokens.search((tmp_path / "field.md").read_text())
        assert not tokens.search(result.out)


def test_interrupted(switched: Callable[..., tuple[Cli, FakeColab]], tmp_path: Path) -> None:
    """SIGTERM in the middle: the runtime is given back, and the report has what was seen until then."""
    command, colab = switched()
    client = command.start("doctor", "--field", "--yes", "--json", "--report", str(tmp_path / "field.md"))
    wait_until(lambda: colab.count("GET /api/kernels/*/channels") > 0)
    client.send_signal(signal.SIGTERM)
    client.communicate(timeout=60)
    assert client.returncode == 128 + signal.SIGTERM
    assert len(colab.vms) == 1
    text = (tmp_path / "field.md").read_text()
    assert "It was interrupted" in text
    assert "| C30 | stale token |" in text
    assert "| C60 | throughput |" not in text


def test_agreement(switched: Callable[..., tuple[Cli, FakeColab]], pty_of: Callable[..., Pty]) -> None:
    """What it costs is said, and without a yes nothing is started."""
    command, colab = switched()
    before = command("sessions", "list").out.splitlines()
    refused = command("doctor", "--field", "--gpu", "T4", "--json")
    assert failed(refused)["error"]["suggestion"] == "lecoder-cgpu doctor --field --yes --gpu T4"
    asked = pty_of(command, "doctor", "--field", "--facts", "C36")
    asked.wait(lambda: b"[y/N]" in asked.seen)
    assert b"units an hour" in asked.seen or b"compute units" in asked.seen
    asked.type(b"n\n")
    assert asked.end() == 2
    assert colab.count("POST /tun/m/assign") == 0
    assert command("sessions", "list").out.splitlines() == before


def test_refusals(switched: Callable[..., tuple[Cli, FakeColab]], tmp_path: Path) -> None:
    """What makes no sense is refused before anything is started; on a free account no port is tried."""
    command, colab = switched()
    for words, told in [
        (("--field", "-s", "held", "--gpu", "T4"), "--session names a runtime"),
        (("--field", "--yes", "--facts", "C999"), "no fact 'C999'"),
        (("--field", "--yes", "--report", str(tmp_path)), "no report can be written"),
        (("--field", "--yes", "--backend", "local"), "runtimes that are rented"),
        (("--long",), "--long goes with --field"),
    ]:
        result = command("doctor", *words)
        assert result.code != 0
        assert told in result.err
    tier, balance = colab.account.tier, colab.account.balance
    colab.account.tier, colab.account.balance = "FREE", 0.0
    try:
        free = facts(command("doctor", "--field", "-s", "held", "--facts", "C32,C59", "--json").json)
    finally:
        colab.account.tier, colab.account.balance = tier, balance
    assert all("on a free account" in item["why"] for item in free.values())
    assert colab.count("POST /tun/m/assign") == 0


def test_what_is_learnt_is_kept(switched: Callable[..., tuple[Cli, FakeColab]], tmp_path: Path) -> None:
    """The session remembers whether binary frames pass, and how large ones; nothing of the check is left there."""

    def held() -> Any:
        stored = json.loads((command.state / "sessions.json").read_text())
        return next(item for item in stored if item["name"] == "held")

    def learnt() -> list[bool | None]:
        return [held()["resident"]["binary"]]

    command, colab = switched()
    result = command("doctor", "--field", "-s", "held", "--facts", "C35,C60", "--json")
    assert "MB/s up" in facts(result.json)["throughput"]["seen"]
    assert learnt() == [True]
    (tmp_path / "large").write_bytes(os.urandom(3_000_000))
    assert command("upload", "-s", "held", str(tmp_path / "large"), "large").code == 0
    assert command("download", "-s", "held", "large", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    colab.switches.binary = "closed"
    command("doctor", "--field", "-s", "held", "--facts", "C35")
    assert learnt() == [False]
    assert command("upload", "-s", "held", str(tmp_path / "large"), "again").code == 0
    assert "lecoder" not in command("ls", "-s", "held").out
    colab.switches.frame_limit = 500_000
    command("doctor", "--field", "-s", "held", "--facts", "J22")
    assert held()["messageSize"] == 256 << 10
