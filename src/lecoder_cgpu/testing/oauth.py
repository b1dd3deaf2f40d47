"""Google's OAuth: the consent page, the token service, userinfo."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any
from urllib.parse import urlencode, urlsplit

from tornado.web import Finish

from .state import EMAIL, PROFILE, Account, Code, Grant, expand, jwt
from .web import ApiHandler, Handler

CODE_TTL = 600.0
FOR_VMS = "none gsession"  # the consent to a VM's use of Drive or of the account


class Authorize(Handler):
    """The consent page. It decides by the switches, or shows two links (`consent = "page"`)."""

    role = "accounts"

    def get(self) -> None:
        world, switches = self.world, self.world.switches
        problem = self._problem()
        if problem:
            self.page(400, f"Error 400: {problem}")
            return
        decision = self.arg("decision") or switches.consent
        if decision == "page":
            self._ask()
            return
        state = self.arg("state") or ""
        if decision == "deny":
            self._back({"error": "access_denied", "state": state})
            return
        account = world.accounts.get(self.arg("login_hint") or "") or next(iter(world.accounts.values()))
        if self.arg("response_type") == FOR_VMS:
            account.consented.add(state)
            self._back({})
            return
        scopes = expand(self.arg("scope") or "") - expand(" ".join(switches.untick))
        client = self.arg("client_id") or ""
        if self.arg("include_granted_scopes") == "true":
            scopes |= world.granted(account, client)
        first = not world.granted(account, client)
        code = Code(
            account,
            client,
            scopes,
            self.arg("redirect_uri") or "",
            self.arg("code_challenge"),
            # A client that was given a refresh token before gets another one only when it asks for the consent page.
            refreshable=self.arg("access_type") == "offline" and (first or "consent" in (self.arg("prompt") or "")),
            expires=world.clock.now() + CODE_TTL,
        )
        value = f"4/fake-{world.new_secret()}"
        world.tokens.codes[value] = code
        if decision == "wrong_state":
            state = "somebody-else"
        self._back({"state": state, "code": value, "scope": " ".join(sorted(scopes)), "authuser": "0"})

    def _problem(self) -> str:
        redirect = urlsplit(self.arg("redirect_uri") or "")
        if not self.arg("client_id"):
            return "invalid_request: client_id"
        if self.arg("response_type") == FOR_VMS:
            return ""
        if self.arg("response_type") != "code":
            return "unsupported_response_type"
        if redirect.scheme != "http" or redirect.hostname not in ("127.0.0.1", "localhost", "::1"):
            return "redirect_uri_mismatch"
        if not (self.arg("scope") or "").strip():
            return "invalid_scope"
        if self.arg("code_challenge") and self.arg("code_challenge_method") != "S256":
            return "invalid_request: code_challenge_method"
        return ""

    def _back(self, answer: dict[str, str]) -> None:
        redirect = self.arg("redirect_uri") or ""
        self.set_status(302)
        self.set_header("Location", redirect + ("&" if "?" in redirect else "?") + urlencode(answer))
        self.finish(b"")

    def _ask(self) -> None:
        here = self.request.uri or ""
        links = [f'<a href="{escape(here)}&amp;decision={word}">{word}</a>' for word in ("approve", "deny")]
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(f"<!DOCTYPE html><title>Fake consent</title><p>{' · '.join(links)}".encode())


class Token(Handler):
    """The token service."""

    role = "oauth"

    def post(self) -> None:
        kind = self.form("grant_type")
        if kind == "authorization_code":
            self._exchange()
        elif kind == "refresh_token":
            self._refresh()
        else:
            self._refuse(400, "unsupported_grant_type", f"Invalid grant_type: {kind}")

    def _client(self) -> str:
        """The client's id, after a check of its secret. An unknown client is registered."""
        known, client = self.world.tokens.clients, self.form("client_id") or ""
        secret = self.form("client_secret")
        if not client or known.setdefault(client, secret) != secret:
            self._refuse(401, "invalid_client", "The OAuth client was not found." if not client else "Unauthorized")
            raise Finish
        return client

    def _exchange(self) -> None:
        client, world = self._client(), self.world
        code = world.tokens.codes.pop(self.form("code") or "", None)
        if code is None or code.client != client or code.expires <= world.clock.now():
            self._refuse(400, "invalid_grant", "Malformed auth code.")
        elif code.redirect != self.form("redirect_uri"):
            self._refuse(400, "redirect_uri_mismatch", "Bad Request")
        elif code.challenge and code.challenge != challenge(self.form("code_verifier") or ""):
            self._refuse(400, "invalid_grant", "Invalid code verifier.")
        else:
            grant = world.tokens.new_refresh(code.account, client, code.scopes)
            self._give(grant, refresh=code.refreshable)

    def _refresh(self) -> None:
        client, world = self._client(), self.world
        grant = world.tokens.refresh.get(self.form("refresh_token") or "")
        if grant is None:
            self._refuse(400, "invalid_grant", "Token has been expired or revoked.")
        elif grant.client != client:
            self._refuse(401, "unauthorized_client", "Unauthorized")
        elif world.switches.rotate_refresh_tokens:
            del world.tokens.refresh[grant.value]
            self._give(world.tokens.new_refresh(grant.account, client, grant.scopes), refresh=True)
        else:
            self._give(grant, refresh=False)

    def _give(self, grant: Grant, *, refresh: bool) -> None:
        access = self.world.tokens.new_access(grant)
        answer: dict[str, Any] = {
            "access_token": access.value,
            "expires_in": int(self.world.switches.access_ttl),
            "scope": " ".join(sorted(grant.scopes)),
            "token_type": "Bearer",
        }
        if refresh:
            answer["refresh_token"] = grant.value
        if "openid" in grant.scopes:
            answer["id_token"] = jwt({"aud": grant.client, "sub": grant.account.id, "email": grant.account.email})
        self.set_header("Cache-Control", "no-store")
        self.document(answer)

    def _refuse(self, status: int, error: str, description: str) -> None:
        self.document({"error": error, "error_description": description}, status)


class Revoke(Handler):
    role = "oauth"

    def post(self) -> None:
        known = self.world.tokens.revoke(self.get_argument("token", ""))
        self.document({} if known else {"error": "invalid_token"}, 200 if known else 400)


class TokenInfo(Handler):
    role = "oauth"

    def get(self) -> None:
        grant = self.world.tokens.valid(self.get_argument("access_token", ""))
        if grant is None:
            self.document({"error": "invalid_token", "error_description": "Invalid Value"}, 400)
            return
        expires = grant.expires or 0
        answer = {
            "azp": grant.client,
            "aud": grant.client,
            "scope": " ".join(sorted(grant.scopes)),
            "exp": str(int(expires)),
            "expires_in": str(int(expires - self.world.clock.now())),
            "access_type": "offline",
        }
        if EMAIL in grant.scopes:
            answer |= {"sub": grant.account.id, "email": grant.account.email, "email_verified": "true"}
        self.document(answer)

    post = get


class UserInfo(ApiHandler):
    role = "apis"
    scopes = (EMAIL, PROFILE)
    read_scopes = ()
    service = "people.googleapis.com"

    def get(self) -> None:
        grant = self.grant()
        account: Account = self.account
        answer: dict[str, Any] = {"id": account.id}
        if grant and EMAIL in grant.scopes:
            answer |= {"email": account.email, "verified_email": True}
        if grant and PROFILE in grant.scopes:
            answer |= {"name": account.name, "given_name": account.name.split()[0], "picture": ""}
        self.document(answer)


def challenge(verifier: str) -> str:
    """RFC 7636, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


ACCOUNTS: list[Any] = [(r"/o/oauth2/v2/auth", Authorize), (r"/o/oauth2/auth", Authorize)]
OAUTH: list[Any] = [(r"/token", Token), (r"/revoke", Revoke), (r"/tokeninfo", TokenInfo)]
APIS: list[Any] = [(r"/oauth2/v2/userinfo", UserInfo)]
