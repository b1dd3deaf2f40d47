"""The fake Colab itself: what a client may rely on when it was only ever tested against it."""

from __future__ import annotations

import base64
import http.server
import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lecoder_cgpu.testing import nursery
from lecoder_cgpu.testing.colab import FakeColab
from lecoder_cgpu.testing.state import COLAB, EMAIL
from tests.support.google import XSSI, User, call, new_nbh


@pytest.fixture
def user(colab: FakeColab) -> User:
    return User(colab)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeColab, User, dict[str, Any]]]:
    """A fake with one VM, whose machine is up: for tests that leave it as it is."""
    with FakeColab(tmp_path_factory.mktemp("colab")) as colab:
        user = User(colab)
        yield colab, user, user.assign(variant="GPU", accelerator="T4").json["runtimeProxyInfo"]


def test_an_interpreter_without_a_server_is_refused_in_words(tmp_path: Path) -> None:
    """`python -m lecoder_cgpu.testing.colab --python` says what is missing, with no traceback."""
    assert nursery.problem(sys.executable) is None
    assert "cannot be executed" in (nursery.problem(str(tmp_path / "python")) or "")
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    assert "pip install" in (nursery.problem(str(bare)) or "")


def test_the_tunnel_is_strict(colab: FakeColab, user: User) -> None:
    """No token, a token without e-mail, no authuser, no client agent: each is refused; JSON has its prefix."""
    assert call("GET", colab.urls["tunnel"] + "/tun/m/ccu-info", authuser=0).status == 401
    assert User(colab, (COLAB,))("GET", "/tun/m/ccu-info").status == 401
    bearer = {"Authorization": f"Bearer {user.token}"}
    assert call("GET", colab.urls["tunnel"] + "/tun/m/ccu-info", bearer, authuser=0).status == 400
    assert call("GET", colab.urls["tunnel"] + "/tun/m/ccu-info", bearer | {"X-Colab-Client-Agent": "x"}).status == 400
    assert user("GET", "/tun/m/ccu-info").body.startswith(XSSI)
    assert user("GET", "/tun/m/ccu-info", "pa").status == 404


def test_assign(colab: FakeColab, user: User) -> None:
    """A string on GET, a number on POST; the same nbh is the same VM; tokens are minted for each listing."""
    nbh = new_nbh()
    probe = user("GET", "/tun/m/assign", nbh=nbh, variant="GPU", accelerator="T4").json
    assert (probe["variant"], probe["acc"], probe["nbh"], probe["p"]) == ("GPU", "T4", nbh, False)
    made = user.assign(nbh, variant="GPU", accelerator="T4").json
    assert (made["variant"], made["outcome"], made["machineShape"]) == (1, 4, 0)
    again = user("GET", "/tun/m/assign", nbh=nbh).json
    assert again["endpoint"] == made["endpoint"]
    (listed,) = user("GET", "/tun/m/assignments").json["assignments"]
    assert listed["endpoint"] == made["endpoint"]
    assert listed["runtimeProxyInfo"]["token"] != made["runtimeProxyInfo"]["token"]
    assert user.assign("short").status == 400
    assert user.assign().status == 412


def test_refusals(colab: FakeColab, user: User) -> None:
    """What the account may not have, what is not there, and what it has had enough of, each in its own way."""
    account = colab.account
    assert user.assign(variant="GPU", accelerator="A100").status == 400
    assert user.assign(variant="GPU", accelerator="NOPE").status == 400
    assert user.assign(shape="hm").status == 400
    account.out_of_stock.add("T4")
    refused = user.assign(variant="GPU", accelerator="T4")
    assert (refused.status, refused.body) == (503, b"")
    account.outcome = 2
    assert user.assign(variant="GPU", accelerator="T4").json == {"outcome": 2}
    account.denylisted = True
    assert user.assign().json == {"outcome": 5}
    assert not colab.vms


def test_xsrf_tokens(colab: FakeColab, user: User) -> None:
    """A POST needs the token that its own GET gave, and one token works once."""
    nbh = new_nbh()
    token = user("GET", "/tun/m/assign", nbh=nbh).json["token"]
    header = {"X-Goog-Colab-Token": token}
    assert user("POST", "/tun/m/assign", data=b"", nbh=nbh).status == 403
    assert user("POST", "/tun/m/assign", data=b"", headers=header, nbh=new_nbh()).status == 403
    token = user("GET", "/tun/m/assign", nbh=nbh).json["token"]
    header = {"X-Goog-Colab-Token": token}
    assert user("POST", "/tun/m/assign", data=b"", headers=header, nbh=nbh).status == 200
    assert user("POST", "/tun/m/assign", data=b"", headers=header, nbh=nbh).status == 403


def test_unassign(colab: FakeColab, user: User) -> None:
    """A released VM is gone from the listing, or lingers; the second time there is nothing to release."""
    colab.switches.linger = 60
    assert "assignments" not in user("GET", "/tun/m/assignments").json
    endpoint = user.assign().json["endpoint"]
    where = f"/tun/m/unassign/{endpoint}"
    token = user("GET", where).json["token"]
    assert user("POST", where, data=b"").status == 403
    token = user("GET", where).json["token"]
    done = user("POST", where, data=b"", headers={"X-Goog-Colab-Token": token})
    assert (done.status, done.body) == (204, b"")
    assert user("GET", where).status == 404
    assert user("GET", "/tun/m/assignments").json["assignments"][0]["endpoint"] == endpoint
    colab.advance(61)
    assert "assignments" not in user("GET", "/tun/m/assignments").json


def test_ports_have_tokens_of_their_own(colab: FakeColab) -> None:
    """A token opens the port that it was given for, at that port's address; where nothing listens, there is a 502."""
    user, tunnel = User(colab), {"X-Colab-Tunnel": "Google"}
    endpoint = user.assign().json["endpoint"]

    def given(port: str) -> Any:
        return user("GET", "/tun/m/runtime-proxy-token", endpoint=endpoint, port=port, headers=tunnel)

    class Hello(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

    with http.server.HTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        proxy, other = given(str(port)).json, given("8080").json
        header = {"X-Colab-Runtime-Proxy-Token": proxy["token"]}
        assert urlsplit(proxy["url"]).path.startswith(f"/{port}-")
        claims = proxy["token"].split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["port"] == port
        assert call("GET", proxy["url"].rstrip("/") + "/a%2Fb?c", header).body == b"/a%2Fb?c"
        assert other["url"] == colab.vm.url
        assert call("GET", other["url"].rstrip("/") + "/api", header).status == 404
        header = {"X-Colab-Runtime-Proxy-Token": other["token"]}
        assert call("GET", proxy["url"], header).status == 404
        server.shutdown()
    assert call("GET", proxy["url"], {"X-Colab-Runtime-Proxy-Token": proxy["token"]}).status == 502
    assert [given(word).status for word in ("0", "65536", "x", "")] == [404] * 4
    colab.switches.other_ports = False
    assert [given(word).status for word in ("8000", "8080")] == [404, 200]


@pytest.mark.slow
def test_proxy_needs_its_token(running: tuple[FakeColab, User, dict[str, Any]]) -> None:
    """By header or in the query; anything else is a 404, for sockets too."""
    _, user, proxy = running
    header = {"X-Colab-Runtime-Proxy-Token": proxy["token"]}
    assert call("GET", proxy["url"] + "/api", header).status == 200
    assert call("GET", proxy["url"] + "/api", **{"colab-runtime-proxy-token": proxy["token"]}).status == 200
    assert call("GET", proxy["url"] + "/api").status == 404
    assert call("GET", proxy["url"] + "/api", {"Authorization": f"Bearer {user.token}"}).status == 404
    resources = call("GET", proxy["url"] + "/api/colab/resources", header)
    assert resources.body.startswith(XSSI)
    assert resources.json["gpus"][0]["name"] == "Tesla T4"
    kernel = call("POST", proxy["url"] + "/api/kernels", header, b"{}").json
    address = f"ws{proxy['url'].removeprefix('http')}/api/kernels/{kernel['id']}/channels?session_id=x"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, proxy=None)
    assert refused.value.response.status_code == 404
    with connect(address, additional_headers=header, proxy=None) as socket:
        message = {
            "header": {
                "msg_id": "1",
                "msg_type": "kernel_info_request",
                "session": "x",
                "username": "",
                "version": "5.3",
                "date": "",
            },
            "parent_header": {},
            "metadata": {},
            "content": {},
            "channel": "shell",
        }
        socket.send(json.dumps(message))
        while json.loads(socket.recv(30))["header"]["msg_type"] != "kernel_info_reply":
            pass


def test_contents_are_those_of_the_vm(running: tuple[FakeColab, User, dict[str, Any]]) -> None:
    """The root of the contents holds `content`; a folder that is not empty is not deleted."""
    _, _, proxy = running
    header = {"X-Colab-Runtime-Proxy-Token": proxy["token"]}
    body = json.dumps({"type": "file", "format": "text", "content": "x" * 2_000_000}).encode()
    assert call("PUT", proxy["url"] + "/api/contents/content/big.txt", header, body).status == 201
    assert len(call("GET", proxy["url"] + "/api/contents/content/big.txt", header).json["content"]) == 2_000_000
    assert call("DELETE", proxy["url"] + "/api/contents/content", header).status == 400
    assert call("GET", proxy["url"] + "/api/contents/nothing", header).status == 404


def test_a_lost_vm_is_really_gone(tmp_path: Path, colab: FakeColab, user: User) -> None:
    """Neither its address nor its files outlive a VM, and its proxy refuses connections, or answers 404 or 500."""
    colab.account.max_vms = 3
    seen = set()
    for _ in range(3):
        made = user.assign().json
        proxy = made["runtimeProxyInfo"]
        vm = colab.vms[made["endpoint"]]
        assert vm.machine.folder.exists()
        colab.call(vm.kill)
        try:
            seen.add(str(call("GET", proxy["url"] + "/api", {"X-Colab-Runtime-Proxy-Token": proxy["token"]}).status))
        except urllib.error.URLError as error:
            seen.add("refused" if isinstance(error.reason, ConnectionError) else str(error))
    assert seen == {"404", "500", "refused"}
    assert "assignments" not in user("GET", "/tun/m/assignments").json


def test_keep_alive(colab: FakeColab, user: User) -> None:
    """A ping needs its header, counts at once, and is hardly ever answered; without pings a VM does not last."""
    endpoint = user.assign().json["endpoint"]
    path = f"/tun/m/{endpoint}/keep-alive/"
    tunnel = {"X-Colab-Tunnel": "Google"}
    assert user("GET", path).status == 400
    colab.advance(400)
    with pytest.raises(TimeoutError):
        user("GET", path, headers=tunnel, timeout=0.5)
    colab.advance(400)
    assert endpoint in colab.vms
    colab.switches.keep_alive = "empty"
    assert user("GET", path, headers=tunnel).body == b""
    colab.advance(481)
    assert not colab.vms
    assert user("GET", path, headers=tunnel).status == 404


def test_vms_cost(colab: FakeColab, user: User) -> None:
    """What is held burns units; nothing lives longer than the longest life."""
    colab.account.upgrade(balance=10.0)
    user.assign(variant="GPU", accelerator="T4")
    colab.switches.idle_limit = 1e9
    colab.advance(3600)
    money = User(colab)("GET", "/tun/m/ccu-info").json
    assert money["currentBalance"] == pytest.approx(8.8, abs=0.01)
    assert money["consumptionRateHourly"] == pytest.approx(1.2)
    colab.advance(12 * 3600)
    assert not colab.vms


def test_private_api(colab: FakeColab, user: User) -> None:
    """Closed to the user's own client by default; else with its own spellings, and without what is empty."""
    refused = user("GET", "/v1/user-info", "pa")
    assert (refused.status, refused.json["error"]["details"][0]["reason"]) == (403, "SERVICE_DISABLED")
    colab.switches.private_api = True
    info = user("GET", "/v1/user-info", "pa", get_ccu_consumption_info="true")
    assert not info.body.startswith(XSSI)
    assert info.json["subscriptionTier"] == "SUBSCRIPTION_TIER_NONE"
    assert info.json["eligibleAccelerators"][0] == {"variant": "VARIANT_GPU", "models": ["T4"]}
    assert info.json["freeCcuQuotaInfo"]["remainingTokens"] == "50000"
    assert "paidComputeUnitsBalance" not in info.json
    assert user("GET", "/v1/assignments", "pa").json == {}
    endpoint = user.assign().json["endpoint"]
    (row,) = user("GET", "/v1/assignments", "pa").json["assignments"]
    assert (row["variant"], row["machineShape"]) == ("VARIANT_UNSPECIFIED", "SHAPE_DEFAULT")
    assert user("GET", "/v1/runtime-proxy-token", "pa", endpoint=endpoint, port=8080).json["tokenTtl"] == "3600s"
    assert user("GET", "/tun/m/runtime-proxy-token", endpoint=endpoint, port=8080).status == 400
    tunnel = {"X-Colab-Tunnel": "Google"}
    twin = user("GET", "/tun/m/runtime-proxy-token", endpoint=endpoint, port=8080, headers=tunnel)
    assert twin.json["tokenExpiresInSeconds"] == 3600
    assert User(colab, (EMAIL,))("GET", "/v1/assignments", "pa").status == 403
