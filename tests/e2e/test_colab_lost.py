"""Runtimes that go away: before a run, in the middle of one, when they are closed, or only from the listing."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.colab import without_kernels
from tests.support.wait import wait_until

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def cli(colab_cli: Cli) -> Cli:
    """A command line that is logged in to the fake."""
    return colab_cli


def stored(cli: Cli) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((cli.state / "sessions.json").read_text())
    return found


def test_lost_in_the_middle_of_a_run(colab: FakeColab, cli: Cli) -> None:
    """2004 with what was received, in both modes and whichever way a lost proxy fails. The next plain run
    says so and has a new runtime (F6)."""
    colab.switches.lost = "404"
    code = "import time\nprint('begun', flush=True)\ntime.sleep(300)"
    running = cli.start("run", "-m", "kernel", "--json", code)
    wait_until(lambda: bool(colab.vms) and colab.count("GET /api/kernels/*/channels") >= 2)
    time.sleep(2)
    colab.kill()
    out, err = running.communicate(timeout=100)
    document = json.loads(out)
    assert document["errorCode"] == 2004, (document, err)
    assert document["stdout"] == "begun\n"
    assert document["status"] == "unknown"
    assert running.returncode == 74
    # Nothing is started for who names the session, or only looks.
    named = cli("-s", "colab", "run", "--json", "ls")
    assert (named.code, named.json["errorCode"]) == (74, 2004)
    assert cli("job", "list", "--json").json["errorCode"] == 2004
    assert cli("status", "--json").json["runtimes"][0]["connected"] is False
    standing = cli().out.splitlines()[0]
    assert "the runtime of session colab (" in standing, standing
    assert ") is gone" in standing, standing
    shown = cli("status").out
    assert "lecoder-cgpu sessions ensure colab" in shown
    assert "lease" not in shown
    assert colab.vms == {}
    again = cli("run", "--json", "echo again; sleep 0.1")
    assert again.json["stdout"] == "again\n", again
    assert "is gone" in again.json["notice"]
    assert "is gone" in again.err
    # What the old runtime knew is not asked of the new one as if nothing had happened.
    for words in (("job", "show", document["runId"]), ("run", "--attach", document["runId"])):
        earlier = cli(*words, "--json")
        assert (earlier.code, earlier.json["error"]["name"]) == (74, "RunLost"), earlier
        assert "on an earlier runtime of session 'colab'" in earlier.json["error"]["message"]
    # The same for a process, on the new runtime.
    process = cli.start("run", "--json", "echo begun; sleep 300")
    colab.requests.clear()
    wait_until(lambda: colab.count("GET /api/kernels/*/channels") == 1)
    time.sleep(2)
    colab.switches.lost = "refused"
    colab.kill()
    out, err = process.communicate(timeout=100)
    document = json.loads(out)
    assert (document["errorCode"], document["stdout"]) == (2004, "begun\n"), (document, err)


def test_gone_before_anything_was_sent(hollow: FakeColab, cli: Cli) -> None:
    """One lapse of the listing loses nothing, and a runtime that answers is used without another look at it."""
    assert cli("sessions", "create", "a", "--cpu").code == 0
    first = hollow.vm.endpoint
    hollow.expire_proxy_tokens()
    hollow.fail("GET /tun/m/assignments", body=b"{}", status=200, headers=JSON)
    hollow.requests.clear()
    hollow.fail("GET /api/sessions", status=500, times=None)  # no server has to be started for this
    cli("-s", "a", "run", "-m", "kernel", "1")
    assert hollow.count("GET /tun/m/assignments") >= 1
    assert stored(cli)[0]["runtime"]["endpoint"] == first
    assert stored(cli)[0]["colab"]["state"] == "ready"
    hollow.kill()
    hollow.requests.clear()
    cli("run", "-m", "kernel", "1")
    assert hollow.vm.endpoint != first
    assert stored(cli)[0]["runtime"]["endpoint"] == hollow.vm.endpoint
    assert hollow.count("POST /tun/m/assign") == 1


def test_lost_replaced_and_back(hollow: FakeColab, cli: Cli) -> None:
    """A runtime that was taken for lost, and is listed again after another one took its place, is ours: it is shown,
    named by the last line, billed, and can be taken over or ended. How the listing spells its name does not matter."""
    cli.variables["LECODER_CGPU_LOSS_PAUSE"] = "0.2"
    hollow.account.max_vms = 3
    cli("sessions", "create", "a", "--cpu")
    first = hollow.vm.endpoint

    def shout(document: dict[str, Any]) -> dict[str, Any]:
        return {"assignments": [row | {"endpoint": row["endpoint"].upper()} for row in document.get("assignments", [])]}

    def hide(document: dict[str, Any]) -> dict[str, Any]:
        return {"assignments": [row for row in document.get("assignments", []) if row["endpoint"] != first]}

    hollow.mend()
    hollow.fail("GET /tun/m/assignments", times=None, edit=hide)
    hollow.fail("GET /api/kernels", times=None, vm=first, status=502)
    without_kernels(hollow)
    assert cli("sessions", "ensure", "a", "--cpu", "--json").json["fresh"]
    hollow.mend()
    without_kernels(hollow)
    hollow.fail("GET /tun/m/assignments", times=None, edit=shout)
    listed = cli("sessions", "list", "--json").json
    assert [(item["name"], item["status"], item["origin"]) for item in listed[1:]] == [(first, "idle", "ours")]
    assert listed[0]["status"] != "stale"
    assert (len(hollow.vms), len(stored(cli))) == (2, 1)
    shown = cli("status", "--json").json
    assert shown["runtimes"][1]["problem"].startswith("session a had it, and no session has it now")
    assert [item.get("formerly") for item in shown["held"]] == [None, "a"]
    told = cli("sessions", "rename", "a", "c")
    assert f"running again and using units, in no session: {first}, Colab DEFAULT, which a had" in told.err, told.err
    assert f"{first} is running, in no session" in cli().out
    closed = cli("sessions", "close", "c")
    assert closed.code == 0
    assert "sessions close --orphans" in closed.err
    assert "no session holds a runtime" in cli().out
    assert cli("sessions", "switch", "nobody", "--json").json["error"]["billing"] == "running"
    assert cli("sessions", "adopt", first.upper(), "--name", "b").code == 0
    hollow.switches.unassign = "fails"
    assert "unknown" in cli("sessions", "close", "b", "--force", "--json").out
    hollow.switches.unassign = "works"
    assert cli("sessions", "list", "--json").json[0]["origin"] == "ours"
    ended = cli("sessions", "close", "--orphans", "--json").json
    assert [item["name"] for item in ended["closed"]] == [first]
    assert hollow.vms == {}
    assert cli("sessions", "switch", "nobody", "--json").json["error"]["billing"] == "none"


def test_colab_cannot_be_asked(hollow: FakeColab, cli: Cli) -> None:
    """Without the listing nothing is taken for gone: the error is of the connection, and the record stays (F6, F22)."""
    cli("sessions", "create", "a", "--cpu")
    hollow.mend()
    hollow.expire_proxy_tokens()
    hollow.fail("GET /tun/m/assignments", times=None, status=502)
    result = cli("run", "--json", "ls")
    assert (result.json["errorCode"], result.code) == (1006, 74)
    status = cli("status", "--json")
    assert status.code == 0
    assert "502" in status.json["problem"]
    assert cli("sessions", "list", "--json").json[0]["status"] == "unreachable"
    assert cli("sessions", "clean", "--json").json["removed"] == []
    assert stored(cli)[0]["colab"]["state"] == "ready"
    hollow.mend()


def test_released_and_still_listed(hollow: FakeColab, cli: Cli) -> None:
    """`close` says what it knows; the runtime is not used again, and the record goes when the listing agrees (F30)."""
    hollow.switches.linger = 600.0
    hollow.account.max_vms = 2
    cli("sessions", "create", "a", "--cpu")
    closed = cli("sessions", "close", "a", "--json").json
    assert closed["closed"][0]["released"] == "requested"
    assert len(closed["held"]) == 1
    assert cli("sessions", "list", "--json").json[0]["status"] == "closing"
    assert "still lists it" in cli("status", "--json").json["runtimes"][0]["problem"]
    hollow.requests.clear()
    assert cli("sessions", "ensure", "b", "--cpu", "--json").json["fresh"] is True
    assert [item["name"] for item in stored(cli) if item["isActive"]] == ["b"]
    hollow.advance(700)
    hollow.switches.idle_limit = 1e9
    assert [item["name"] for item in cli("sessions", "list", "--json").json] == ["b"]


def test_clean_forgets_and_ends_nothing(hollow: FakeColab, cli: Cli) -> None:
    """A session whose runtime is gone is forgotten, once that is certain; a foreign runtime is left alone."""
    cli("sessions", "create", "a", "--cpu")
    hollow.kill()
    foreign = hollow.start_vm("T4")
    assert [item["status"] for item in cli("sessions", "list", "--json").json][:1] == ["unreachable"]
    patient = {"LECODER_CGPU_LOSS_PAUSE": "600"}
    assert cli("sessions", "clean", "--json", env=patient).json["removed"] == []
    time.sleep(1.1)  # LECODER_CGPU_LOSS_PAUSE of these tests
    assert [item["status"] for item in cli("sessions", "list", "--json").json][:1] == ["stale"]
    (record,) = stored(cli)
    dry = cli("sessions", "clean", "--dry-run", "--json").json
    assert (dry["removed"], stored(cli)) == ([record["id"]], [record])
    hollow.requests.clear()
    assert cli("sessions", "clean", "--json").json["removed"] == [record["id"]]
    assert hollow.count("GET /tun/m/assignments") == 1
    assert stored(cli) == []
    assert foreign.endpoint in hollow.vms


def test_a_new_runtime_is_really_new(hollow: FakeColab, cli: Cli) -> None:
    """--new-runtime asks under another key, and leaves the first one alone."""
    hollow.account.max_vms = 2
    cli("sessions", "create", "a", "--cpu")
    hollow.fail("GET /api/sessions", status=500, times=None)
    cli("run", "--cpu", "--new-runtime", "ls")
    assert len(hollow.vms) == 2
    assert {item["runtime"]["endpoint"] for item in stored(cli)} == set(hollow.vms)
    assert cli("sessions", "close", "--all", "--json").json["deleted"] is True
    assert hollow.vms == {}


def test_flags_choose_among_the_sessions(hollow: FakeColab, cli: Cli) -> None:
    """A session of the kind that is asked for is used before another is started; without flags, the active one."""
    hollow.account.upgrade()
    cli("sessions", "create", "cpu", "--cpu")
    cli("sessions", "create", "gpu", "--gpu", "T4")
    hollow.fail("GET /api/sessions", status=500, times=None)
    for options, name in (([], "gpu"), (["--cpu"], "cpu"), (["--gpu", "L4,T4"], "gpu")):
        assert cli("run", *options, "--json", "-m", "kernel", "1").json["session"]["name"] == name
    assert len(hollow.vms) == 2
    assert cli("run", "--tpu", "--json", "-m", "kernel", "1").json["session"]["name"] == "colab"
    assert len(hollow.vms) == 3


def test_a_record_of_the_predecessor(colab: FakeColab, cli: Cli) -> None:
    """Its session is used as it is: the stale token is renewed, and nothing new is started."""
    vm = colab.start_vm("T4", origin="client")
    old = {
        "id": "5b0e4c1a-0000-4000-8000-000000000000",
        "label": "Colab GPU T4",
        "runtime": {
            "label": "Colab GPU T4",
            "accelerator": "T4",
            "endpoint": vm.endpoint,
            "proxy": {"url": vm.url, "token": "of-yesterday", "tokenExpiresInSeconds": 3600},
        },
        "variant": "GPU",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "lastUsedAt": "2026-01-01T00:00:00.000Z",
        "isActive": True,
    }
    (cli.state / "sessions.json").write_text(json.dumps([old]))
    assert cli("run", "-m", "kernel", "print(6*7)").out == "42\n"
    assert list(colab.vms) == [vm.endpoint]
    assert colab.count("POST /tun/m/assign") == 0
    assert cli("sessions", "close", "5b0e", "--json").json["closed"][0]["released"] == "runtime"
    assert colab.vms == {}
