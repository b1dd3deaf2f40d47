"""What goes wrong with the fake Colab when it is told to, and how it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.google import User, call, form, new_nbh


@pytest.fixture
def user(colab: FakeColab) -> User:
    return User(colab)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeColab, User, dict[str, Any]]]:
    """A fake with one VM, whose machine is up: for tests that leave it as it is."""
    with FakeColab(tmp_path_factory.mktemp("colab")) as colab:
        user = User(colab)
        yield colab, user, user.assign(variant="GPU", accelerator="T4").json["runtimeProxyInfo"]


def test_faults(colab: FakeColab, user: User) -> None:
    """A fault replaces, delays, changes or loses an answer, as often as it was told to."""
    fault = colab.fail("GET /tun/m/ccu-info", times=2, status=429, headers={"Retry-After": "7"}, body=b"slow down")
    for _ in range(2):
        refused = user("GET", "/tun/m/ccu-info")
        assert (refused.status, refused.body, refused.headers["Retry-After"]) == (429, b"slow down", "7")
    assert user("GET", "/tun/m/ccu-info").status == 200
    assert fault.hits == 2
    colab.fail("tunnel:/tun/m/ccu-info", patch={"eligibleGpus": ["X9"], "assignmentsCount": None})
    answer = user("GET", "/tun/m/ccu-info").json
    assert answer["eligibleGpus"] == ["X9"]
    assert "assignmentsCount" not in answer
    colab.fail("GET /tun/m/ccu-info", raw=lambda body: body[:20])
    assert user("GET", "/tun/m/ccu-info").body == user("GET", "/tun/m/ccu-info").body[:20]
    colab.fail("POST /tun/m/assign", lose=True)
    nbh = new_nbh()
    with pytest.raises(OSError):
        user.assign(nbh)
    assert user("GET", "/tun/m/assign", nbh=nbh).json["endpoint"] == colab.vm.endpoint
    colab.fail("GET /tun/m/assignments", drop=True)
    with pytest.raises(OSError):
        user("GET", "/tun/m/assignments")
    colab.fail("GET /tun/m/assignments", hang=True)
    with pytest.raises(TimeoutError):
        user("GET", "/tun/m/assignments", timeout=0.5)
    assert [request.status for request in colab.requests if request.path == "/tun/m/assignments"] == [None, None]
    assert colab.count("* /tun/m/assign") == 3


def test_faults_must_happen() -> None:
    """A reply that nobody fetched is an error at the end; a lasting one is not."""
    colab = FakeColab().start()
    colab.fail("/tun/m/ccu-info", times=None, status=500)
    colab.fail("POST /tun/m/assign", status=503)
    with pytest.raises(AssertionError, match=r"POST /tun/m/assign$"):
        colab.__exit__(None, None, None)
    with FakeColab() as colab:
        colab.mend(colab.fail("POST /tun/m/assign", status=503))


def test_remote_control(colab: FakeColab, user: User) -> None:
    """Another process can do by HTTP what a test does in Python."""

    def sim(method: str, path: str, **content: Any) -> Any:
        answer = call(method, f"{colab.urls['pa']}/__sim/{path}", None, json.dumps(content).encode())
        assert answer.status == 200, answer
        return answer.json

    sim("POST", "accounts", upgrade="PRO_PLUS", max_vms=3, out_of_stock=["H100"])
    assert user.assign(variant="GPU", accelerator="H100").status == 503
    vm = sim("POST", "vms", accelerator="A100")
    assert (vm["origin"], vm["accelerator"]) == ("browser", "A100")
    sim("POST", "faults", route="GET /tun/m/assignments", status=502, body="<html>")
    assert user("GET", "/tun/m/assignments").status == 502
    address = sim("POST", f"vms/{vm['endpoint']}/move")["url"]
    assert user("GET", "/tun/m/assignments").json["assignments"][0]["runtimeProxyInfo"]["url"] == address != vm["url"]
    sim("POST", f"vms/{vm['endpoint']}/kill")
    sim("POST", "switches", empty_assignments=True)
    assert user("GET", "/tun/m/assignments").json == {"assignments": []}
    assert [request["status"] for request in sim("GET", "requests")][-2:] == [200, 200]
    sim("POST", "advance", seconds=4000)
    assert user("GET", "/tun/m/ccu-info").status == 401
    login = sim("POST", "login", email="grace@example.com")
    fields = {"grant_type": "refresh_token", "refresh_token": login["session"]["refreshToken"]}
    fields |= {"client_id": login["config"]["clientId"], "client_secret": login["config"]["clientSecret"]}
    assert call("POST", colab.urls["oauth"] + "/token", None, form(**fields)).status == 200
    assert {account["email"] for account in sim("GET", "state")["accounts"]} == {"ada@example.com", "grace@example.com"}


def test_what_befalls_a_vm(running: tuple[FakeColab, User, dict[str, Any]]) -> None:
    """Tokens expire, sockets drop with and without a word, a boot takes its time, the address changes."""
    colab, user, _ = running
    vm = colab.vm

    def token() -> dict[str, str]:
        return {
            "X-Colab-Runtime-Proxy-Token": user("GET", "/tun/m/assignments").json["assignments"][0]["runtimeProxyInfo"][
                "token"
            ]
        }

    header = token()
    kernel = call("POST", vm.url + "/api/kernels", header, b"{}").json["id"]
    address = f"ws{vm.url.removeprefix('http')}/api/kernels/{kernel}/channels?session_id=x"
    with connect(address, additional_headers=header, proxy=None, close_timeout=1) as socket:
        colab.expire_proxy_tokens()
        with pytest.raises(EOFError):
            read_to_end(socket)
    assert call("GET", vm.url + "/api", header).status == 404
    header = token()
    with connect(address, additional_headers=header, proxy=None, close_timeout=1) as socket:
        assert colab.drop_sockets(silently=True) == 1
        with pytest.raises(TimeoutError):
            read_to_end(socket, timeout=1)
    vm.boot_requests = 1
    assert call("GET", vm.url + "/api", header).status == 500
    old = vm.url
    colab.move()
    assert vm.url != old
    assert call("GET", vm.url + "/api", header).status == 200
    with pytest.raises(urllib.error.URLError):
        call("GET", old + "/api", header)


def read_to_end(socket: Any, timeout: float = 30) -> None:
    """Read until the socket fails, whatever comes before."""
    try:
        while True:
            socket.recv(timeout)
    except ConnectionClosed as error:
        raise EOFError from error


@pytest.mark.parametrize("mode", ["503", "hang", "refused"])
def test_a_boot_takes_its_time(colab: FakeColab, user: User, mode: Any) -> None:
    """A new VM is not there for a while, each time in the way that was chosen."""
    colab.switches.boot_seconds, colab.switches.boot_mode = 60, mode
    proxy = user.assign().json["runtimeProxyInfo"]
    header = {"X-Colab-Runtime-Proxy-Token": proxy["token"]}
    if mode == "503":
        assert call("GET", proxy["url"] + "/api/colab/resources", header).status == 503
    else:
        with pytest.raises(OSError):
            call("GET", proxy["url"] + "/api/colab/resources", header, timeout=0.5)
    colab.advance(61)
    assert call("GET", proxy["url"] + "/api/colab/resources", header).status == 200


def test_the_program(tmp_path: Path) -> None:
    """It says in one line how to reach it, writes a configuration, and leaves nothing behind when it is ended."""
    where = tmp_path / "config"
    program = [sys.executable, "-m", "lecoder_cgpu.testing.colab", "--config-dir", str(where)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = json.loads(process.stdout.readline())
        written = json.loads((where / "config.json").read_text())
        assert told["LECODER_CGPU_CONFIG_DIR"] == str(where)
        assert told["LECODER_CGPU_COLAB_API_DOMAIN"] == written["colabApiDomain"]
        assert (where / "state" / "session.json").stat().st_mode & 0o077 == 0
        assert call("GET", written["oauthDomain"] + "/__sim/state").json["vms"] == []
        second = subprocess.run(program, capture_output=True, check=False)
        assert second.returncode == 2
        assert b"choose an empty folder" in second.stderr
        assert list(tmp_path.glob("fake-colab-*"))
        process.terminate()
        assert process.wait(60) == 0, process.stderr.read()
        assert process.stderr.read() == b""
    assert not list(tmp_path.glob("fake-colab-*"))
