"""What is held is not forgotten: closes that fail, listings that blink, refusals, and runtimes that nobody knows."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.backends.colab import allocation, backend
from lecoder_cgpu.backends.colab.web_plane import notebook_hash
from lecoder_cgpu.config import Config
from lecoder_cgpu.net import retry
from lecoder_cgpu.sessions import operations
from lecoder_cgpu.sessions.manager import SessionManager
from lecoder_cgpu.system import atomic_files
from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import validate
from tests.support import clock
from tests.support.cli import Cli
from tests.support.colab import logged_in, without_kernels
from tests.support.wait import wait_until

JSON = {"Content-Type": "application/json"}
UNASSIGN = "* /tun/m/unassign/*"


@pytest.fixture
def cli(colab_cli: Cli) -> Cli:
    """A command line that is logged in to the fake."""
    return colab_cli


def stored(cli: Cli) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((cli.state / "sessions.json").read_text())
    return found


def test_a_close_that_fails_leaves_a_runtime_that_can_be_used(colab: FakeColab, cli: Cli) -> None:
    """It is said to be held and to cost, and how to end it; `status`, `ensure` and `run` find it, and buy nothing."""
    assert cli("run", "--gpu", "T4", "echo precious > result.txt").code == 0
    (endpoint,) = colab.vms
    colab.fail(UNASSIGN, status=503, times=None)
    closed = cli("sessions", "close", "--json")
    assert (closed.code, closed.json["error"]["billing"]) == (74, "running")
    message, hint = closed.json["error"]["message"], closed.json["error"]["suggestion"]
    assert f"{endpoint} (Colab GPU T4) is still running and using units: the account spends" in message
    assert "colab.research.google.com" in hint
    assert hint.index("sessions close colab") < hint.index("--force")
    status = cli("status", "--json").json
    assert "being given back" in status["runtimes"][0]["problem"]
    colab.mend()
    again = cli("run", "--json", "cat result.txt")
    assert (again.code, again.json["stdout"]) == (0, "precious\n"), again
    assert "was to be closed" in again.err
    assert cli("sessions", "ensure", "colab", "--json").json["fresh"] is False
    assert list(colab.vms) == [endpoint]
    assert cli("sessions", "close", "--json").json["closed"][0]["released"] == "runtime"
    assert colab.vms == {}


def test_a_close_without_a_login(hollow: FakeColab, cli: Cli) -> None:
    """The hint is to log in, or Colab's own page; what is forgotten by force is not said to have ended."""
    cli("sessions", "create", "a", "--cpu")
    (endpoint,) = hollow.vms
    hollow.revoke_logins()
    closed = cli("sessions", "close", "a", "--json")
    assert closed.code == 77
    assert "auth login" in closed.json["error"]["suggestion"]
    assert endpoint in closed.json["error"]["message"]
    forced = cli("sessions", "close", "a", "--force")
    assert forced.code == 0
    assert "nothing was running" not in forced.out
    assert "may go on, and cost" in forced.out
    assert stored(cli) == []


def test_a_close_that_has_to_wait(hollow: FakeColab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else who asks Colab about the same runtime is waited for; that is told, and so is how to end it."""
    cli("sessions", "create", "a", "--cpu")
    monkeypatch.setattr(backend, "RELEASE_WAIT", 0.3)
    monkeypatch.setattr(allocation, "BUSY_TOLD", 0.1)
    told: list[str] = []
    monkeypatch.setattr(retry, "tell", told.append)
    for name, value in cli.environment().items():
        monkeypatch.setenv(name, value)
    manager = SessionManager(Config())
    (record,) = manager.store.records()
    with (
        atomic_files.lock(manager.state_dir / "colab" / record.id),
        pytest.raises(errors.RuntimeBusy, match="has not ended") as raised,
    ):
        operations.close(manager, record)
    assert "keeper stop" in str(raised.value.hint)
    assert told == ["another command, or the keeper, is asking Colab about session 'a'; waiting for it, up to 0 s"]
    assert operations.close(manager, record).released == "runtime"


def test_a_close_that_is_killed_in_the_middle(hollow: FakeColab, cli: Cli) -> None:
    """The next close, or `ensure`, finds the runtime as it is, and where it is."""
    cli("sessions", "create", "a", "--gpu", "T4")
    (endpoint,) = hollow.vms
    fault = hollow.fail(UNASSIGN, delay=5.0, times=None)
    running = cli.start("sessions", "close", "a")
    wait_until(lambda: stored(cli)[0]["colab"]["state"] == "closing")
    running.kill()
    running.communicate()
    hollow.mend(fault)
    hollow.move()
    assert cli("sessions", "ensure", "a", "--gpu", "T4", "--json").json["fresh"] is False
    assert list(hollow.vms) == [endpoint]
    assert stored(cli)[0]["colab"]["state"] == "ready"


def test_the_keeper_ends_what_a_close_could_not(colab: FakeColab, cli: Cli) -> None:
    """A close that failed is repeated until the listing agrees; then the session is forgotten."""
    cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    assert cli("sessions", "create", "a", "--cpu").code == 0
    fault = colab.fail(UNASSIGN, status=503, times=None)
    assert cli("sessions", "close", "a").code == 74
    time.sleep(1)
    assert len(colab.vms) == 1
    assert fault.hits >= 3
    colab.mend()
    wait_until(lambda: not colab.vms and not stored(cli))
    cli("keeper", "stop")


def test_a_lost_runtime_that_is_listed_again(colab: FakeColab, cli: Cli) -> None:
    """A long gap in the listing, and a proxy that does not answer meanwhile, lose it; the listing brings it back."""
    assert cli("run", "--cpu", "echo precious > result.txt").code == 0
    (endpoint,) = colab.vms
    colab.fail("GET /tun/m/assignments", body=b"{}", status=200, headers=JSON, times=None)
    colab.fail("proxy:*", status=502, times=None)
    for _ in range(2):
        named = cli("-s", "colab", "run", "--json", "ls")
        assert named.code == 74
        time.sleep(1.1)
    assert stored(cli)[0]["colab"]["state"] == "lost"
    assert "lostAt" in stored(cli)[0]["colab"]
    colab.mend()
    again = cli("run", "--json", "cat result.txt")
    assert (again.json["stdout"], list(colab.vms)) == ("precious\n", [endpoint]), again
    assert stored(cli)[0]["colab"]["lostAt"] is None


def test_closing_a_lost_session_ends_what_lives(hollow: FakeColab, cli: Cli) -> None:
    """Before it says that nothing was running, it asks Colab."""
    cli("sessions", "create", "a", "--cpu")
    records = stored(cli)
    records[0]["colab"]["state"] = "lost"
    (cli.state / "sessions.json").write_text(json.dumps(records))
    assert cli("sessions", "close", "a", "--json").json["closed"][0]["released"] == "runtime"
    assert hollow.vms == {}
    cli("sessions", "create", "b", "--cpu")
    hollow.kill()
    assert cli("sessions", "close", "b", "--json").json["closed"][0]["released"] == "nothing"


def test_a_runtime_in_the_place_of_a_lost_one(hollow: FakeColab, cli: Cli) -> None:
    """It is not taken for missing because of what was listed before it was there."""
    cli("sessions", "create", "a", "--cpu")
    hollow.kill()
    cli("sessions", "list")
    time.sleep(1.1)
    again = cli("sessions", "ensure", "a", "--cpu", "--json")
    assert (again.json["fresh"], again.json["held"][0]["certain"]) == (True, True), again
    assert stored(cli)[0]["colab"]["unlisted"] is None


def test_the_lease_of_an_earlier_runtime_does_not_end_the_next(hollow: FakeColab, cli: Cli) -> None:
    """The keeper sees the new runtime while it boots."""
    cli("sessions", "create", "a", "--cpu")
    hollow.kill()
    (record,) = stored(cli)
    record["colab"]["state"] = "lost"
    record["lease"] |= {"began": time.time() - 7200, "ended": "idle", "why": "it had no work for 60 min"}
    record["createdAt"] = record["lastUsedAt"] = "2026-01-01T00:00:00.000Z"
    (cli.state / "sessions.json").write_text(json.dumps([record]))
    cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.4"}
    hollow.mend()
    hollow.fail("GET /api/kernels", times=4, status=502)
    hollow.fail("GET /api/kernels", times=None, body=b"[]", headers={"Content-Type": "application/json"})
    again = cli("sessions", "ensure", "a", "--cpu", "--json")
    assert again.json["fresh"], again
    assert "ended" not in again.json["session"]["lease"]
    time.sleep(1)
    assert list(hollow.vms) == [again.json["session"]["runtime"]["endpoint"]]
    assert not hollow.count("POST /tun/m/unassign/*")
    cli("keeper", "stop")


def test_a_start_that_was_killed_while_it_booted(hollow: FakeColab, cli: Cli) -> None:
    """The listing sees when it has booted; nobody has to use it for that."""
    hollow.mend()
    hollow.fail("GET /api/kernels", times=None, status=502)
    create = cli.start("sessions", "create", "a", "--cpu")
    wait_until(lambda: hollow.count("GET /api/kernels") > 0)
    create.kill()
    create.communicate()
    assert cli("sessions", "list", "--json").json[0]["status"] == "starting"
    hollow.mend()
    without_kernels(hollow)
    assert cli("sessions", "list", "--json").json[0]["status"] == "active"


def test_a_close_that_hangs(hollow: FakeColab, cli: Cli) -> None:
    """Ctrl-C ends the waiting; the runtime is held and costs until it is confirmed that it ended."""
    cli("sessions", "create", "a", "--cpu")
    hollow.switches.unassign = "hangs"
    close = cli.start("sessions", "close", "a", "--json")
    wait_until(lambda: hollow.count("POST /tun/m/unassign/*") == 1)
    close.send_signal(signal.SIGINT)
    out, _ = close.communicate(timeout=60)
    failure = json.loads(out)
    validate(failure, "failure")
    assert (close.returncode, failure["error"]["billing"]) == (130, "running")
    assert [item["session"] for item in failure["held"]] == ["a"]
    assert len(hollow.vms) == 1
    assert "session a (Colab DEFAULT) is being given back, which is not confirmed: it may still cost" in cli().out
    hollow.switches.unassign = "works"
    assert cli("sessions", "close", "a", "--json").json["closed"][0]["released"] == "runtime"
    assert hollow.vms == {}


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_close_is_repeated_when_colab_stumbles(hollow: FakeColab, cli: Cli, status: int) -> None:
    """A token against request forgery that was too old, in both of its forms, and one failure of the server."""
    cli("sessions", "create", "a", "--cpu")
    hollow.fail("POST /tun/m/unassign/*", status=status)
    assert cli("sessions", "close", "a", "--json").json["closed"][0]["released"] == "runtime"
    assert hollow.count("POST /tun/m/unassign/*") == 2


def test_a_short_pause_that_colab_asks_for_is_waited_for(hollow: FakeColab, cli: Cli) -> None:
    """A 429 with a short Retry-After delays the start; it does not end it."""
    hollow.fail("POST /tun/m/assign", status=429, headers={"Retry-After": "1"})
    created = cli("sessions", "create", "a", "--cpu")
    assert created.code == 0, created
    assert "asking again in 1 s" in created.err


def test_a_full_account_tells_what_it_holds(hollow: FakeColab, cli: Cli) -> None:
    """Everybody who asked at once learns the cause; and the runtime in the way can be taken over."""
    other = hollow.start_vm("T4")
    running = [cli.start("sessions", "ensure", "par", "--gpu", "T4", "--json") for _ in range(3)]
    errors = [json.loads(process.communicate(timeout=90)[0])["error"] for process in running]
    assert [error["name"] for error in errors] == ["TooManyRuntimes"] * 3
    assert all(other.endpoint in error["message"] for error in errors)
    assert f"sessions adopt {other.endpoint} --name NAME" in errors[0]["suggestion"]
    running = [cli.start("sessions", "adopt", other.endpoint, "--name", f"mine-{n}", "--json") for n in range(3)]
    documents = [json.loads(process.communicate(timeout=90)[0]) for process in running]
    assert sorted(document.get("error", {}).get("name", "") for document in documents) == ["", *["SessionExists"] * 2]
    assert len(stored(cli)) == 1


def test_orphans(colab: FakeColab, cli: Cli, tmp_path: Any) -> None:
    """What this tool started elsewhere is ended on demand; a browser's runtime is not."""
    colab.account.max_vms = 3
    elsewhere = logged_in(Cli(tmp_path / "elsewhere"), colab)
    assert elsewhere("run", "--cpu", "-m", "kernel", "1").code == 0
    (orphan,) = colab.vms
    browser = colab.start_vm("T4")
    assert cli("sessions", "close", "--all", "--json").json["deleted"] is False
    assert set(colab.vms) == {orphan, browser.endpoint}
    closed = cli("sessions", "close", "--orphans", "--json").json["closed"]
    assert [(item["name"], item["released"]) for item in closed] == [(orphan, "runtime")]
    assert list(colab.vms) == [browser.endpoint]


def test_a_listing_that_blinks(colab: FakeColab, cli: Cli) -> None:
    """Stale token and three empty listings: the next run finds the variables of the one before."""
    assert cli("run", "--cpu", "-m", "kernel", "x = 41").code == 0
    (endpoint,) = colab.vms
    colab.expire_proxy_tokens()
    colab.switches.blink = 3
    again = cli("run", "-m", "kernel", "--json", "print(x + 1)", env={"LECODER_CGPU_LOSS_PAUSE": "60"})
    assert (again.json["stdout"], list(colab.vms)) == ("42\n", [endpoint]), again


def test_a_session_that_was_only_created(colab: FakeColab, cli: Cli) -> None:
    """Where only traffic to the runtime counts as activity, the keeper sees to it, within the lease."""
    colab.switches.activity = "proxy"
    colab.switches.keep_alive = "empty"
    colab.switches.idle_limit = 10.0
    cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    assert cli("sessions", "create", "a", "--cpu").code == 0
    (endpoint,) = colab.vms
    wait_until(lambda: colab.count("GET /api/kernels/*/channels") >= 3)
    colab.advance(8)
    time.sleep(2)
    colab.advance(8)
    time.sleep(2)
    assert list(colab.vms) == [endpoint]
    cli("sessions", "close", "a")
    cli("keeper", "stop")


def test_what_a_listing_leaves_out_is_held_all_the_same(hollow: FakeColab, cli: Cli) -> None:
    """A close that says what the account holds names the sessions that a blinking listing lacks."""
    hollow.account.max_vms = 2
    cli("sessions", "create", "a", "--cpu")
    (endpoint,) = hollow.vms
    cli("sessions", "create", "b", "--cpu")
    hollow.switches.blink = 2
    assert cli("sessions", "close", "b", "--json").json["held"] == [endpoint]


def test_a_first_command_that_is_killed_while_it_asks(hollow: FakeColab, cli: Cli) -> None:
    """The keeper is there before Colab is asked. It finds what the command did not live to see, and gives it back."""
    hollow.switches.keep_alive = "empty"
    cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    hollow.fail("POST /tun/m/assign", delay=1.0)
    running = cli.start("run", "--rm", "--cpu", "true")
    wait_until(lambda: hollow.count("POST /tun/m/assign") == 1)
    running.kill()
    running.communicate()
    wait_until(lambda: hollow.count("POST /tun/m/unassign/*") == 1)
    wait_until(lambda: not hollow.vms and not stored(cli))
    cli("keeper", "stop")


def test_a_close_that_fails_starts_a_keeper(hollow: FakeColab, cli: Cli) -> None:
    """Somebody has to go on trying, and so has somebody after a look at what is being closed."""
    cli("sessions", "create", "a", "--cpu")
    hollow.fail(UNASSIGN, status=503, times=None)
    cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    assert cli("sessions", "close", "a").code == 74
    assert cli("keeper", "stop", "--json").json["stopped"] is True
    assert cli("sessions", "list", "--json").json[0]["status"] == "closing"
    hollow.mend()
    wait_until(lambda: not hollow.vms and not stored(cli))
    cli("keeper", "stop")


@pytest.mark.parametrize("jump", [0, 2400, -2400])
def test_a_close_before_it_is_known_what_was_started(hollow: FakeColab, cli: Cli, tmp_path: Path, jump: int) -> None:
    """The command that asked was killed, and Colab is still at work: nobody says that nothing was running, even if the
    clock was set meanwhile."""
    if jump:
        machine = clock.Clock(tmp_path / "clock", clock.library(tmp_path) or pytest.skip("needs a C compiler"))
        cli.variables |= machine.variables
    hollow.fail("POST /tun/m/assign", hang=True)
    running = cli.start("sessions", "ensure", "a", "--cpu")
    wait_until(lambda: hollow.count("POST /tun/m/assign") == 1)
    running.kill()
    running.communicate()
    if jump:
        machine.wrong_by(jump)
    closed = cli("sessions", "close", "a", "--json")
    assert (closed.code, closed.json["error"]["name"]) == (74, "StartUnanswered")
    assert closed.json["error"]["billing"] == "unknown"
    assert cli("sessions", "clean", "--json").json["removed"] == []
    hollow.start_vm(origin="client", nbh=notebook_hash(stored(cli)[0]["colab"]["key"]))
    assert cli("sessions", "close", "a", "--json").json["closed"][0]["released"] == "runtime"
    assert not hollow.vms


@pytest.mark.parametrize(
    ("number", "who"), [(signal.SIGINT, "keeper"), (signal.SIGKILL, "list"), (signal.SIGTERM, "orphans")]
)
def test_what_appears_after_its_start_was_interrupted(hollow: FakeColab, cli: Cli, number: int, who: str) -> None:
    """Whoever is there gives it back; a runtime that somebody else has asked for stays."""
    hollow.account.max_vms = 3
    hollow.switches.keep_alive = "empty"
    hollow.start_vm(account=hollow.account)
    cli("sessions", "create", "mine", "--cpu")
    others = set(hollow.vms)
    if who == "keeper":
        cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    hollow.fail("POST /tun/m/assign", hang=True)
    asked = hollow.count("POST /tun/m/assign")
    running = cli.start("run", "--cpu", "--new-runtime", "true", "--json")
    wait_until(lambda: hollow.count("POST /tun/m/assign") > asked)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    key = next(item["colab"]["key"] for item in stored(cli) if item["name"] != "mine")
    if number != signal.SIGKILL:
        assert [item["certain"] for item in json.loads(out)["held"]] == [False, True]
        assert "it may appear, and cost; it is given back then; the keeper does that" in " ".join(err.decode().split())
    assert cli("sessions", "list", "--json").json[0]["status"] == "closing"
    hollow.start_vm(origin="client", nbh=notebook_hash(key))
    if who != "keeper":
        done = cli(*(("sessions", "list") if who == "list" else ("sessions", "close", "--orphans")), "--json")
        assert done.code == 0
        assert set(hollow.vms) == others
    wait_until(lambda: set(hollow.vms) == others and [item["name"] for item in stored(cli)] == ["mine"])
    cli("keeper", "stop")


def test_a_start_that_another_command_wants_is_not_given_back(hollow: FakeColab, cli: Cli) -> None:
    """Two commands wait for one runtime, and one of them is interrupted; a later one takes up what was withdrawn."""
    hollow.fail("POST /tun/m/assign", delay=4.0)
    first = cli.start("sessions", "ensure", "a", "--cpu")
    wait_until(lambda: hollow.count("POST /tun/m/assign") == 1)
    second = cli.start("sessions", "ensure", "a", "--cpu", "--json")
    wait_until(lambda: hollow.count("GET /tun/m/assign*") >= 1)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    third = cli("sessions", "ensure", "a", "--cpu", "--json")
    out, _ = second.communicate(timeout=60)
    assert (third.code, third.json["session"]["status"]) == (0, "active")
    (vm,) = hollow.vms.values()
    (record,) = stored(cli)
    assert record["runtime"]["endpoint"] == vm.endpoint
    assert second.returncode == 0, out
    cli("keeper", "stop")


def test_a_clock_that_is_set_by_a_day(colab: FakeColab, cli: Cli, tmp_path: Path) -> None:
    """Idle for a minute is not idle for a day: no keeper ends what lives, and no command calls it gone."""
    machine = clock.Clock(tmp_path / "clock", clock.library(tmp_path) or pytest.skip("needs a C compiler"))
    cli.variables |= machine.variables
    cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    assert cli("run", "--cpu", "echo precious > result.txt").code == 0
    for seconds in (86400, -86400):
        machine.wrong_by(seconds)
        pings = colab.count("GET /tun/m/*/keep-alive/")
        wait_until(lambda: colab.count("GET /tun/m/*/keep-alive/") >= pings + 4)  # noqa: B023
        (runtime,) = cli("status", "--json").json["runtimes"]
        assert runtime["connected"]
        assert "lost" not in runtime
    assert cli("run", "cat result.txt").out == "precious\n"
    assert cli("sessions", "close", "--json").json["closed"][0]["released"] == "runtime"
    cli("keeper", "stop")


def test_work_whose_session_another_command_closes(colab: FakeColab, cli: Cli) -> None:
    """Each says that it was closed: nothing may still be running."""
    assert cli("run", "--cpu", "true").code == 0
    watched = cli.start("run", "--json", "echo begun; sleep 300")
    code = cli.start("run", "--json", "-m", "kernel", "import time; print('begun', flush=True); time.sleep(300)")
    wait_until(lambda: len(cli("job", "list", "--json").json["jobs"]) == 3)
    assert cli("sessions", "close", "--json").json["closed"][0]["released"] == "runtime"
    for command in (watched, code):
        out, _ = command.communicate(timeout=60)
        document = json.loads(out)
        validate(document, "run")
        assert (command.returncode, document["error"]["name"]) == (74, "SessionClosed")
        assert cli("logs", "show", document["runId"], "--json").json["status"] in ("lost", "unknown")
