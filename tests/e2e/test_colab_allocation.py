"""Asking Colab for a runtime: every answer that it may give, lost answers, slow boots, and many who ask at once."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli, Result
from tests.support.wait import wait_until

JSON = {"Content-Type": "application/json"}
RUN = ("run", "-m", "kernel", "--json", "print(6*7)")


def refused(result: Result, code: int, name: str) -> dict[str, Any]:
    """The error of a refusal, which leaves no session behind."""
    document = result.json
    assert (document["errorCode"], document["error"]["name"]) == (code, name), document
    assert document["error"]["suggestion"]
    error: dict[str, Any] = document["error"]
    return error


def sessions(cli: Cli) -> list[dict[str, Any]]:
    """The stored sessions."""
    path = cli.state / "sessions.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found


def test_what_is_asked_for(colab: FakeColab, colab_cli: Cli) -> None:
    """A GPU unless told otherwise; names in any spelling; a shape only where there are two."""
    colab.account.upgrade()
    asked = colab.fail("POST /tun/m/assign", times=None, status=503)
    for options, variant, accelerator, shape in (
        ([], "GPU", None, None),
        (["--gpu", "t4"], "GPU", "T4", None),
        (["--gpu", "A100", "--high-ram"], "GPU", "A100", "hm"),
        (["--gpu", "l4", "--high-ram"], "GPU", "L4", None),
        (["--tpu"], "TPU", None, None),
        (["--tpu", "v5e-1"], "TPU", "V5E1", None),
        (["--cpu"], None, None, None),
        (["--cpu", "--high-ram"], None, None, "hm"),
    ):
        colab.requests.clear()
        refused(colab_cli("run", *options, "ls", "--json"), 2003, "NoCapacity")
        (request,) = [item for item in colab.requests if item.method == "POST" and item.role == "tunnel"]
        assert [request.query.get(key) for key in ("variant", "accelerator", "shape")] == [variant, accelerator, shape]
        assert len(request.query["nbh"]) == 44
        assert request.headers.get("X-Colab-Client-Agent") == "lecoder-cgpu"
        assert sessions(colab_cli) == []
    assert asked.hits == 8
    colab.mend()


def test_names_that_cannot_be_had(colab: FakeColab, colab_cli: Cli) -> None:
    """An unknown name is refused with the list of those that may be used; nothing takes its place."""
    error = refused(colab_cli("run", "--gpu", "A1OO", "ls", "--json"), 2006, "UnknownAccelerator")
    assert "T4" in error["message"]
    assert "A100" in error["suggestion"]
    barred = colab_cli("run", "--gpu", "H100", "ls", "--json")
    refused(barred, 2002, "NotEntitled")
    assert barred.json["session"]["account"] == colab_cli("auth", "status", "--json").json["account"]["id"]
    refused(colab_cli("run", "--tpu", "fooz", "--json"), 2006, "UnknownAccelerator")
    refused(colab_cli("run", "--gpu", "V5E1", "ls", "--json"), 2006, "UnknownAccelerator")
    refused(colab_cli("run", "--tpu=T4", "ls", "--json"), 2006, "UnknownAccelerator")
    refused(colab_cli("run", "--gpu", "fast", "ls", "--json"), 2006, "UnknownAccelerator")
    refused(colab_cli("run", "--gpu", "T4,", "ls", "--json"), 2006, "UsageError")
    refused(colab_cli("run", "--wait-for-capacity", "soon", "ls", "--json"), 2006, "UsageError")
    assert "held" not in colab_cli("run", "--gpu", "H100", "ls").err
    assert colab.count("* /tun/m/assign") == 0
    assert sessions(colab_cli) == []


def test_people_are_told_what_is_held_at_the_end(colab_cli: Cli, tmp_path: Path) -> None:
    """Nothing is said to be held once `--release` has given it back."""
    assert "still running and using units" in colab_cli("run", "--cpu", "echo hi > a.txt").err
    result = colab_cli("run", "--pull", f"a.txt:{tmp_path / 'a.txt'}", "--release", "true")
    assert result.code == 0, result
    assert "held" not in result.err
    assert sessions(colab_cli) == []


def test_people_are_told_that_it_is_not_known(colab: FakeColab, colab_cli: Cli) -> None:
    """After a request whose answer was lost, a runtime may be held; the next command finds out."""
    colab.fail("POST /tun/m/assign", times=None, status=502)
    assert "is not known: lecoder-cgpu sessions list" in colab_cli("run", "ls").err
    assert sessions(colab_cli)[0]["colab"]["state"] == "asked"
    colab.mend()


def test_an_accelerator_that_no_list_knows(colab: FakeColab, colab_cli: Cli) -> None:
    """Where Colab has no list of names, Colab itself is asked; its 400 means that the account may not (F16, F41)."""
    colab.fail("/tun/m/ccu-info", times=None, status=404)
    refused(colab_cli("run", "--gpu", "B200", "ls", "--json"), 2002, "NotEntitled")
    assert colab.count("GET /tun/m/assign") == 1
    usage = colab_cli("usage", "--json").json
    assert usage["units"] == {}
    assert usage["tier"] == "unknown"
    assert colab_cli("gpus", "--json").json["known"] is False
    colab.switches.private_api = True  # then the private API tells
    assert colab_cli("gpus", "--json").json["eligibleGpus"] == ["T4"]
    assert colab_cli("usage", "--json").json["tier"] == "free"
    colab.mend()


@pytest.mark.parametrize(
    ("outcome", "code", "name", "status"),
    [
        (1, 2002, "QuotaDenied", 69),
        (2, 2002, "QuotaExceeded", 69),
        (3, 2002, "QuotaExceeded", 69),
        (5, 2007, "AccountBlocked", 69),
        (99, 2002, "Refused", 69),
    ],
)
def test_outcomes(colab: FakeColab, colab_cli: Cli, outcome: int, code: int, name: str, status: int) -> None:
    """Each refusal that comes with HTTP 200 has its own error, and is asked for once (F14)."""
    colab.account.outcome = outcome
    result = colab_cli(*RUN)
    error = refused(result, code, name)
    assert result.code == status
    assert error["retryable"] is False
    assert colab.count("POST /tun/m/assign") == 1
    assert sessions(colab_cli) == []


def test_too_many_runtimes_has_two_meanings(colab: FakeColab, colab_cli: Cli) -> None:
    """With runtimes held it means that; with none, the usage limit (F13)."""
    foreign = colab.start_vm("T4")
    assert "holds 1" in refused(colab_cli(*RUN), 2002, "TooManyRuntimes")["message"]
    assert foreign.endpoint in colab.vms
    colab.kill(foreign)
    colab.account.max_vms = 0
    refused(colab_cli(*RUN), 2002, "UsageLimit")
    colab.account.max_vms = 1
    assert colab_cli("sessions", "ensure", "mine", "--cpu").code == 0  # which needs no taking over
    assert "-s mine" in refused(colab_cli(*RUN, "--new-runtime"), 2002, "TooManyRuntimes")["suggestion"]


def test_fallback_only_where_it_is_written(hollow: FakeColab, colab_cli: Cli) -> None:
    """Without a second name the first one's shortage is an error; with one, that is tried next (F15)."""
    hollow.account.upgrade()
    hollow.account.out_of_stock.add("H100")
    refused(colab_cli("sessions", "create", "a", "--gpu", "H100", "--json"), 2003, "NoCapacity")
    assert colab_cli("sessions", "create", "a", "--gpu", "H100,G4", "--json").json["session"]["label"].endswith("G4")
    assert [vm.accelerator for vm in hollow.vms.values()] == ["G4"]


def test_another_accelerator_than_the_one_asked_for(colab: FakeColab, colab_cli: Cli) -> None:
    """It is given back at once, and said so."""
    colab.fail("POST /tun/m/assign", patch={"accelerator": "L4"})
    refused(colab_cli("sessions", "create", "a", "--gpu", "T4", "--json"), 2003, "WrongAccelerator")
    assert colab.vms == {}
    assert sessions(colab_cli) == []


def test_waiting_for_capacity(hollow: FakeColab, colab_cli: Cli) -> None:
    """Colab is asked again when it wants to be, and the user hears of each time (F15, F23)."""
    hollow.fail("POST /tun/m/assign", status=503, headers={"Retry-After": "1"})
    hollow.fail("POST /tun/m/assign", status=429, headers={"Retry-After": "1"})
    result = colab_cli("sessions", "create", "a", "--gpu", "T4", "--wait-for-capacity", "1h", "--json")
    assert result.json["fresh"] is True, result
    assert result.err.count("asking again in 1 s") == 2


def test_waiting_ends_when_the_time_is_up(colab: FakeColab, colab_cli: Cli) -> None:
    """With less patience than the next pause, the refusal is the answer; and Ctrl-C leaves nothing behind."""
    fault = colab.fail("POST /tun/m/assign", times=None, status=503)
    refused(colab_cli("run", "--wait-for-capacity", "2s", "ls", "--json"), 2003, "NoCapacity")
    assert fault.hits == 1
    waiting = colab_cli.start("run", "--wait-for-capacity", "1h", "ls")
    wait_until(lambda: fault.hits == 2)
    wait_until(lambda: bool(sessions(colab_cli)))
    time.sleep(0.5)  # for the refusal to arrive: before that, whether there is a runtime is not known
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert sessions(colab_cli) == []
    colab.mend()


@pytest.mark.parametrize(("limit", "tries"), [(None, 4), ("1", 4), ("3600", 1)])
def test_rate_limits(colab: FakeColab, colab_cli: Cli, limit: str | None, tries: int) -> None:
    """429 is asked again after a pause, or not at all when that would be too long (F23)."""
    headers = {} if limit is None else {"Retry-After": limit}
    fault = colab.fail("/tun/m/ccu-info", times=None, status=429, headers=headers)
    error = refused(colab_cli("usage", "--json"), 1006, "RateLimited")
    assert error["retryable"] is True
    pause = "a minute" if limit is None else f"{limit} s"
    assert error["suggestion"] == f"repeat the same command in {pause}"
    assert fault.hits == tries
    colab.mend()


def test_a_xsrf_token_that_is_refused(hollow: FakeColab, colab_cli: Cli) -> None:
    """A new one is fetched, once (F20)."""
    hollow.fail("POST /tun/m/assign", status=403, body=b"<html>Forbidden</html>")
    assert colab_cli("sessions", "create", "a", "--cpu", "--json").json["fresh"] is True
    assert (hollow.count("GET /tun/m/assign"), hollow.count("POST /tun/m/assign")) == (2, 2)
    hollow.fail("POST /tun/m/unassign/*", status=403)
    assert colab_cli("sessions", "close", "a", "--json").json["closed"][0]["released"] == "runtime"


def test_recaptcha(hollow: FakeColab, colab_cli: Cli) -> None:
    """The flag alone stops nothing; a refusal after it is explained (F19)."""
    hollow.account.recaptcha = True
    error = colab_cli(*RUN).json["error"]
    assert "browser" in error["suggestion"]
    assert error["billing"] == "none", "both requests were answered"
    assert colab_cli("sessions", "list", "--json").json == []
    hollow.switches.recaptcha_blocks = False
    assert colab_cli("sessions", "create", "a", "--cpu", "--json").code == 0


@pytest.mark.parametrize(
    ("fault", "code", "part"),
    [
        ({"status": 403, "body": b'[7,"Request had insufficient authentication scopes."]'}, 2001, "boxes ticked"),
        (
            {"status": 403, "body": b'{"error":{"message":"off","details":[{"reason":"SERVICE_DISABLED"}]}}'},
            2001,
            "enable it",
        ),
        ({"status": 302, "headers": {"Location": "https://accounts.google.com/ServiceLogin"}}, 2001, "auth login"),
        ({"status": 302, "headers": {"Location": "http://captive.example/"}}, 1006, "captive portal"),
        ({"status": 200, "body": b"<html>ServiceLogin</html>"}, 2001, "auth login"),
        ({"status": 200, "body": b"", "headers": JSON}, 1006, "debug tail"),
        ({"status": 200, "body": b")]}'\n{\"assignm", "headers": JSON}, 1006, "debug tail"),
        ({"status": 502, "body": b"<html>bad gateway</html>"}, 1006, "repeat"),
        ({"drop": True}, 1006, "repeat"),
    ],
)
def test_answers_that_make_no_sense(
    colab: FakeColab,
    colab_cli: Cli,
    fault: dict[str, Any],
    code: int,
    part: str,
) -> None:
    """A clear error without a traceback, and no loss of what is known here (F22, F24)."""
    colab.fail("GET /tun/m/assign", times=None, **fault)
    result = colab_cli(*RUN)
    assert result.json["errorCode"] == code, result
    assert part in result.json["error"]["suggestion"]
    assert "Traceback" not in result.err
    assert sessions(colab_cli) == []
    colab.mend()


def test_the_guard_in_every_form(colab: FakeColab, colab_cli: Cli) -> None:
    """With CRLF, without, with a comma, and on a host that normally has none (F21)."""
    for guard in (")]}'\r\n", "", ")]}',\n"):
        colab.switches.xssi = guard
        assert colab_cli("gpus", "--json").json["eligibleGpus"] == ["T4"]
    colab.switches.private_api, colab.switches.xssi_elsewhere = True, ")]}'\n"
    colab.fail("/tun/m/ccu-info", status=404)
    assert colab_cli("gpus", "--json").json["eligibleGpus"] == ["T4"]


def test_values_that_nobody_knows_yet(colab: FakeColab, colab_cli: Cli) -> None:
    """New enum values, numbers as text, missing and further fields are no errors (F26)."""
    colab.start_vm("T4")
    colab.fail(
        "GET /tun/m/assignments",
        times=None,
        edit=lambda answer: {
            "assignments": [
                {"endpoint": "x-1", "accelerator": "Z9000", "variant": "7", "machineShape": "2", "novelty": [1]},
                {"endpoint": "x-2", "variant": "1", "accelerator": "t4"},
                {"endpoint": "x-3"},
            ],
            "more": True,
        },
    )
    found = {item["name"]: item for item in colab_cli("sessions", "list", "--json").json}
    assert found["x-1"]["runtime"]["accelerator"] == "Z9000"
    assert found["x-1"]["highRam"] is True
    assert (found["x-2"]["variant"], found["x-2"]["runtime"]["accelerator"]) == ("GPU", "T4")
    assert found["x-3"]["variant"] == "DEFAULT"
    colab.mend()


def test_a_lost_answer_is_found_again(colab: FakeColab, colab_cli: Cli) -> None:
    """The runtime was made and the answer lost: the same key finds it, and there is no second one (F17)."""
    colab.fail("POST /tun/m/assign", lose=True)
    result = colab_cli(*RUN)
    assert result.json["stdout"] == "42\n"
    assert len(colab.vms) == 1
    assert colab.count("POST /tun/m/assign") == 1


def test_a_start_that_fails_for_a_while(hollow: FakeColab, colab_cli: Cli) -> None:
    """It is repeated after a pause that is told, with a look before each; a start that succeeds asks little else."""
    hollow.fail("POST /tun/m/assign", times=2, status=502)
    asked = colab_cli("sessions", "ensure", "a", "--cpu", env={"LECODER_CGPU_ASSIGN_PAUSE": "0.1"})
    assert asked.code == 0, asked
    assert asked.err.count("if it had no effect, Colab is asked again") == 2
    assert [request.line for request in hollow.requests if request.role in ("tunnel", "proxy")] == [
        "GET /tun/m/assign",
        "POST /tun/m/assign",
        *(["GET /tun/m/assign"] * 2 + ["POST /tun/m/assign"]) * 2,
        "GET /api/kernels",
    ]
    assert len(hollow.vms) == 1


def test_a_client_that_is_killed_while_it_asks(hollow: FakeColab, colab_cli: Cli) -> None:
    """What it asked for was written down before: the next command finds that runtime, and gives it back (F17)."""
    hollow.fail("POST /tun/m/assign", delay=2)
    asking = colab_cli.start("sessions", "create", "a", "--cpu")
    wait_until(lambda: hollow.count("POST /tun/m/assign") == 1)
    asking.kill()
    asking.communicate()
    wait_until(lambda: len(hollow.vms) == 1)
    hollow.fail("GET /tun/m/assign", status=403)  # a refusal of something else is no answer to what was asked
    assert colab_cli("sessions", "ensure", "a", "--cpu", "--json").json["errorCode"] == 2001
    assert colab_cli("sessions", "list", "--json").json == []
    assert hollow.vms == {}
    assert colab_cli("sessions", "ensure", "a", "--cpu", "--json").json["fresh"] is True
    assert colab_cli("sessions", "close", "a", "--json").json["closed"][0]["released"] == "runtime"
    assert hollow.vms == {}


@pytest.mark.parametrize("mode", ["502", "503", "refused"])
def test_a_slow_boot(hollow: FakeColab, colab_cli: Cli, mode: Any) -> None:
    """The assignment comes before the runtime answers; it is waited for (F8)."""
    hollow.switches.boot_mode, hollow.switches.boot_requests = mode, 4
    assert colab_cli("sessions", "create", "a", "--cpu", "--json").json["fresh"] is True
    assert hollow.count("POST /tun/m/assign") == 1


def test_many_first_commands_make_one_runtime(colab: FakeColab, colab_cli: Cli) -> None:
    """Twenty at once: one allocation, one session, one refresh, and twenty answers (F40)."""
    running = [colab_cli.start("run", "--gpu", "t4", f"echo {number}") for number in range(20)]
    outputs = [process.communicate(timeout=170) for process in running]
    assert [out.decode() for out, _ in outputs] == [f"{number}\n" for number in range(20)], outputs
    assert len(colab.vms) == 1
    assert colab.count("POST /tun/m/assign") == 1
    assert colab.count("POST /token") == 1
    assert len(sessions(colab_cli)) == 1


def test_many_first_commands_that_are_refused(colab: FakeColab, colab_cli: Cli) -> None:
    """All of them fail, and Colab was not asked twenty times."""
    colab.account.denylisted = True
    running = [colab_cli.start("run", "true", "--json") for _ in range(6)]
    codes = [json.loads(process.communicate(timeout=100)[0])["errorCode"] for process in running]
    assert set(codes) <= {2007, 2003}
    assert 2007 in codes
    assert sessions(colab_cli) == []


def test_ensuring_is_idempotent(hollow: FakeColab, colab_cli: Cli) -> None:
    """The second time finds the first one's runtime; another kind under the same name is refused."""
    hollow.account.upgrade()
    assert colab_cli("sessions", "ensure", "train", "--gpu", "L4,T4", "--json").json["fresh"] is True
    again = colab_cli("sessions", "create", "train", "--gpu", "L4", "--json").json
    assert (again["fresh"], again["session"]["runtime"]["accelerator"]) == (False, "L4")
    assert colab_cli("sessions", "ensure", "train", "--tpu", "--json").json["errorCode"] == 2006
    assert len(hollow.vms) == 1
    assert colab_cli("sessions", "delete", "train", "--json").json["deleted"] is True


def test_a_login_that_was_revoked(colab: FakeColab, colab_cli: Cli) -> None:
    """`status` says so in its document, what needs the login fails with 2001, and no runtime is touched (F3)."""
    vm = colab.start_vm("T4")
    assert colab_cli("usage").code == 0
    colab.revoke_logins()
    assert colab_cli("status", "--json").json["authenticated"] is False
    result = colab_cli(*RUN)
    assert (result.code, result.json["errorCode"]) == (77, 2001)
    assert vm.endpoint in colab.vms


def test_without_a_login(colab: FakeColab, colab_cli: Cli) -> None:
    """`status` is a document and no error; what needs a login says how, and leaves nothing behind."""
    (colab_cli.state / "session.json").unlink()
    status = colab_cli("status", "--json")
    assert (status.code, status.json["authenticated"], status.json["runtimes"]) == (0, False, [])
    for line in (RUN, ("usage", "--json"), ("gpus", "--json"), ("sessions", "create", "a", "--json")):
        result = colab_cli(*line)
        assert (result.code, result.json["errorCode"]) == (77, 2001)
        assert "auth login" in result.json["error"]["suggestion"]
    assert colab_cli("sessions", "list", "--json").json == []
    assert sessions(colab_cli) == []
    assert colab.requests == []
