"""The fake Google's logins: what the consent page, the token service and consent for a VM do."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lecoder_cgpu.testing.colab import CLIENT, FakeColab
from lecoder_cgpu.testing.oauth import challenge
from lecoder_cgpu.testing.state import COLAB, DRIVE_FILE, EMAIL
from tests.support.google import Answer, User, call, form


@pytest.fixture
def user(colab: FakeColab) -> User:
    return User(colab)


def test_login_by_code_and_pkce(colab: FakeColab) -> None:
    """The consent page sends a code back; it buys tokens once, for the right verifier and redirect only."""
    where: dict[str, Any] = {
        "client_id": "mine",
        "redirect_uri": "http://127.0.0.1:9/",
        "response_type": "code",
        "state": "s",
        "scope": "email profile " + COLAB,
        "access_type": "offline",
        "code_challenge": challenge("v" * 43),
        "code_challenge_method": "S256",
        "prompt": "consent",
    }

    def code() -> str:
        answer = call("GET", colab.urls["accounts"] + "/o/oauth2/v2/auth", **where)
        assert answer.status == 302
        back = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert back["state"] == ["s"]
        return back["code"][0]

    def buy(code: str, **changed: str) -> Answer:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": "mine",
            "client_secret": "secret",
            "redirect_uri": "http://127.0.0.1:9/",
            "code_verifier": "v" * 43,
            **changed,
        }
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
        "GET",
        colab.urls["accounts"] + "/o/oauth2/v2/auth",
        client_id="mine",
        response_type="code",
        state="s",
        redirect_uri="http://localhost:9/callback",
        scope="email",
    )
    back = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert back.get("error") == ([expected] if expected else None)
    assert (back["state"] == ["s"]) is (consent == "deny")


def test_a_consent_page(colab: FakeColab) -> None:
    """With that switch the page asks, and one of its links is the answer."""
    colab.switches.consent = "page"
    page = call(
        "GET",
        colab.urls["accounts"] + "/o/oauth2/v2/auth",
        client_id="mine",
        response_type="code",
        state="<s>",
        redirect_uri="http://127.0.0.1:9/",
        scope="email",
    )
    assert page.status == 200
    links = dict(re.findall(r'<a href="([^"]*decision=(\w+))">', page.body.decode())[::-1])
    assert set(links.values()) == {"approve", "deny"}
    for link, word in links.items():
        answer = call("GET", colab.urls["accounts"] + unescape(link))
        assert (b"code=" in answer.headers["Location"].encode()) is (word == "approve")
    assert call("GET", colab.urls["accounts"] + "/o/oauth2/v2/auth", client_id="mine").status == 400


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


def test_drive_scope_is_no_colab_scope(colab: FakeColab) -> None:
    """A login without the scope for userinfo is refused there with the reason."""
    refused = User(colab, (DRIVE_FILE,))("GET", "/oauth2/v2/userinfo", "apis")
    assert refused.status == 403
    assert refused.json["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


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
