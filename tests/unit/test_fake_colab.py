"""The fake Colab itself: what a client may rely on when it was only ever tested against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from lecoder_cgpu.testing.colab import CLIENT, FakeColab
from lecoder_cgpu.testing.oauth import challenge
from lecoder_cgpu.testing.state import COLAB, DRIVE_FILE, EMAIL, SCOPES

XSSI = b")]}'\n"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body.removeprefix(XSSI))


def call(
    method: str, url: str, headers: dict[str, str] | None = None, data: bytes | None = None, timeout: float = 60,
    **query: Any,
) -> Answer:  # fmt: skip
    """One request by plain HTTP; a refusal is an answer too."""
    if query:
        url += "?" + urlencode(query)
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with OPENER.open(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.read(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), dict(error.headers))


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


class User:
    """Somebody with an access token."""

    def __init__(self, colab: FakeColab, scopes: tuple[str, ...] = SCOPES, **login: Any) -> None:
        self.colab = colab
        client, secret = CLIENT
        answer = call(
            "POST", colab.urls["oauth"] + "/token", None,
            form(grant_type="refresh_token", refresh_token=colab.login(scopes, **login), client_id=client,
                 client_secret=secret),
        )  # fmt: skip
        self.token: str = answer.json["access_token"]

    def __call__(
        self, method: str, path: str, role: str = "tunnel", data: bytes | None = None, timeout: float = 60,
        headers: dict[str, str] | None = None, **query: Any,
    ) -> Answer:  # fmt: skip
        sent = {"Authorization": f"Bearer {self.token}"}
        if role == "tunnel":
            sent["X-Colab-Client-Agent"] = "tests"
            query = {"authuser": 0, **query}
        return call(method, self.colab.urls[role] + path, sent | (headers or {}), data, timeout, **query)

    def assign(self, nbh: str | None = None, **query: Any) -> Answer:
        """GET and, when there is nothing yet, POST."""
        query = {"nbh": nbh or new_nbh(), **query}
        first = self("GET", "/tun/m/assign", **query)
        if first.status != 200 or "token" not in first.json:
            return first
        return self("POST", "/tun/m/assign", data=b"", headers={"X-Goog-Colab-Token": first.json["token"]}, **query)


def new_nbh() -> str:
    return str(uuid.uuid4()).replace("-", "_").ljust(44, ".")


@pytest.fixture
def user(colab: FakeColab) -> User:
    return User(colab)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeColab, User, dict[str, Any]]]:
    """A fake with one VM, whose machine is up: for tests that leave it as it is."""
    with FakeColab(tmp_path_factory.mktemp("colab")) as colab:
        user = User(colab)
        yield colab, user, user.assign(variant="GPU", accelerator="T4").json["runtimeProxyInfo"]


def test_login_by_code_and_pkce(colab: FakeColab) -> None:
    """The consent page sends a code back; it buys tokens once, for the right verifier and redirect only."""
    where: dict[str, Any] = {
        "client_id": "mine", "redirect_uri": "http://127.0.0.1:9/", "response_type": "code", "state": "s",
        "scope": "email profile " + COLAB, "access_type": "offline", "code_challenge": challenge("v" * 43),
        "code_challenge_method": "S256", "prompt": "consent",
    }  # fmt: skip

    def code() -> str:
        answer = call("GET", colab.urls["accounts"] + "/o/oauth2/v2/auth", **where)
        assert answer.status == 302
        back = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert back["state"] == ["s"]
        return back["code"][0]

    def buy(code: str, **changed: str) -> Answer:
        fields = {
            "grant_type": "authorization_code", "code": code, "client_id": "mine", "client_secret": "secret",
            "redirect_uri": "http://127.0.0.1:9/", "code_verifier": "v" * 43, **changed,
        }  # fmt: skip
        return call("POST", colab.urls["oauth"] + "/token", None, form(**fields))

    first = code()
    bought = buy(first).json
    assert bought["refresh_token"]
    assert set(bought["scope"].split()) >= {EMAIL, COLAB, "openid"}
    assert buy(first).json["error"] == "invalid_grant"
    assert buy(code(), code_verifier="w" * 43).json["error"] == "invalid_grant"
    assert buy(code(), redirect_uri="http://127.0.0.1:8/").json["error"] == "redirect_uri_mismatch"
    assert buy(code(), client_secret="other").json["error"] == "invalid_client"
    where["prompt"] = "none"
    assert "refresh_token" not in buy(code()).json
    colab.switches.untick = (COLAB,)
    assert COLAB not in buy(code()).json["scope"]


@pytest.mark.parametrize(("consent", "expected"), [("deny", "access_denied"), ("wrong_state", None)])
def test_consent_that_goes_wrong(colab: FakeColab, consent: Any, expected: str | None) -> None:
    """The user may say no, and an answer may come from somebody else."""
    colab.switches.consent = consent
    answer = call(
        "GET", colab.urls["accounts"] + "/o/oauth2/v2/auth", client_id="mine", response_type="code", state="s",
        redirect_uri="http://localhost:9/callback", scope="email",
    )  # fmt: skip
    back = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert back.get("error") == ([expected] if expected else None)
    assert (back["state"] == ["s"]) is (consent == "deny")


def test_tokens_end(colab: FakeColab, user: User) -> None:
    """An access token ends with its time or with its revocation, a refresh token with the latter."""
    assert user("GET", "/oauth2/v2/userinfo", "apis").json["email"] == colab.account.email
    info = call("GET", colab.urls["oauth"] + "/tokeninfo", access_token=user.token)
    assert info.json["email"] == colab.account.email
    colab.advance(3600)
    assert user("GET", "/oauth2/v2/userinfo", "apis").status == 401
    assert call("GET", colab.urls["oauth"] + "/tokeninfo", access_token=user.token).json["error"] == "invalid_token"
    refresh = colab.login()
    fields = form(grant_type="refresh_token", refresh_token=refresh, client_id=CLIENT[0], client_secret=CLIENT[1])
    access = call("POST", colab.urls["oauth"] + "/token", None, fields).json
    assert "refresh_token" not in access
    assert call("POST", colab.urls["oauth"] + "/revoke", None, form(token=access["access_token"])).status == 200
    assert call("POST", colab.urls["oauth"] + "/token", None, fields).json["error"] == "invalid_grant"


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
        message = {"header": {"msg_id": "1", "msg_type": "kernel_info_request", "session": "x", "username": "",
                              "version": "5.3", "date": ""}, "parent_header": {}, "metadata": {}, "content": {},
                   "channel": "shell"}  # fmt: skip
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
    """Neither its address nor its files outlive a VM, and its proxy refuses connections or answers 404."""
    colab.account.max_vms = 2
    seen = set()
    for _ in range(2):
        made = user.assign().json
        proxy = made["runtimeProxyInfo"]
        vm = colab.vms[made["endpoint"]]
        assert vm.machine.folder.exists()
        colab.call(vm.kill)
        try:
            seen.add(str(call("GET", proxy["url"] + "/api", {"X-Colab-Runtime-Proxy-Token": proxy["token"]}).status))
        except urllib.error.URLError as error:
            seen.add("refused" if isinstance(error.reason, ConnectionError) else str(error))
    assert seen == {"404", "refused"}
    assert "assignments" not in user("GET", "/tun/m/assignments").json


def test_drive_scope_is_no_colab_scope(colab: FakeColab) -> None:
    """A login without the scope for userinfo is refused there with the reason."""
    refused = User(colab, (DRIVE_FILE,))("GET", "/oauth2/v2/userinfo", "apis")
    assert refused.status == 403
    assert refused.json["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


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
        return {"X-Colab-Runtime-Proxy-Token": user("GET", "/tun/m/assignments").json["assignments"][0][
            "runtimeProxyInfo"]["token"]}  # fmt: skip

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
    assert call("GET", vm.url + "/api", header).status == 502
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


def test_credentials_need_consent(colab: FakeColab, user: User) -> None:
    """A dry run names the page for the consent; before the user was there nothing is propagated."""
    endpoint = user.assign().json["endpoint"]

    def propagate(dry: str, **changed: str) -> Answer:
        query: dict[str, Any] = {
            "authtype": "dfs_ephemeral",
            "version": 2,
            "dryrun": dry,
            "propagate": "true",
            "record": "false",
        }
        query |= changed
        path = f"/tun/m/credentials-propagation/{endpoint}"
        first = user("GET", path, **query)
        if first.status != 200:
            return first
        return user("POST", path, data=b"", headers={"X-Goog-Colab-Token": first.json["token"]}, **query)

    assert propagate("true", authtype="other").status == 400
    assert propagate("false").json == {"success": False}
    asked = propagate("true").json
    assert asked["success"] is False
    page = call("GET", asked["unauthorized_redirect_uri"])
    assert page.headers["Location"].startswith(colab.urls["tunnel"] + "/tun/m/authorize-for-drive-credentials-ephem")
    assert propagate("true").json == {"success": True}
    assert not colab.vm.propagated
    assert propagate("false").json == {"success": True}
    assert colab.vm.propagated == {"dfs_ephemeral"}


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
