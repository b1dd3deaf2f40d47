"""Google's consent page: from the address that a person opens to the code that comes back.

OAuth for desktop applications (RFC 8252): the answer comes to an address on 127.0.0.1, with PKCE (RFC 7636). Where no
browser can reach this machine, the person pastes the address that the browser could not open (protocol C49). For
agents, which cannot wait in between, the same is done in two steps. oauthlib makes the address and the request, and
reads the answer; the request goes through our HTTP client.
"""

from __future__ import annotations

import queue
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .. import config, errors
from ..models.login import StoredLogin
from ..net import http as transport
from ..system import logs
from . import credentials
from .callback import Listener
from .credentials import Source
from .lifecycle import UNKNOWN, as_the_predecessor, store, userinfo
from .login_files import Pending, Token
from .tokens import TIMEOUT, Login, lifetime, origin, refusal, token_uri

WAIT = 300.0  # seconds that we listen for the browser
PENDING = 1800.0  # seconds that a login in two steps may take
VERIFIER_LENGTH = 128  # characters of the secret of PKCE, the most that RFC 7636 allows


class Consent:
    """One login, from the address of the consent page to the stored refresh token.

    Args:
        login: where the result goes.
        select_account: let the person choose among several accounts.
    """

    def __init__(self, login: Login, *, select_account: bool = False) -> None:
        self.login = login
        self.prompt = "select_account consent" if select_account else "consent"
        found = credentials.client(login.config)
        if found is None:
            raise credentials.no_client(login.config)
        self.client = found
        for key in ("accountsDomain", "oauthDomain"):
            if not _is_secure(origin(login.config, key)):
                raise errors.ConfigError(
                    f"{key} is {origin(login.config, key)!r}: a login needs https",
                    name="InsecureOrigin",
                    hint=f"correct or remove {key}; lecoder-cgpu doctor shows the settings",
                )

    def begin(self, redirect_uri: str) -> tuple[Pending, str]:
        """Return what must be remembered until the answer comes, and the address of the consent page."""
        from oauthlib.common import generate_token  # type: ignore[import-untyped]

        flow = self._flow()
        pending = Pending(
            id=uuid.uuid4().hex[:12],
            client_id=self.client.id,
            state=generate_token(),
            verifier=flow.create_code_verifier(VERIFIER_LENGTH),
            redirect_uri=redirect_uri,
            expires_at=time.time() + PENDING,
        )
        page = f"{origin(self.login.config, 'accountsDomain')}/o/oauth2/v2/auth"
        with config.oauthlib(plain_http=transport.is_loopback(page)):
            url = flow.prepare_request_uri(
                page,
                redirect_uri=redirect_uri,
                scope=list(credentials.SCOPES),
                state=pending.state,
                code_challenge=flow.create_code_challenge(pending.verifier, "S256"),
                code_challenge_method="S256",
                prompt=self.prompt,
                access_type="offline",
                include_granted_scopes="false",
            )
        return pending, url

    def start(self) -> tuple[Pending, str]:
        """Begin a login that another command finishes."""
        pending, url = self.begin(_unused_address())
        self.login.files.write_pending(pending)
        return pending, url

    def finish(self, flow: str, answer: str) -> StoredLogin:
        """Finish a login that was begun by `start`, with what the person pasted.

        Raises:
            errors.NotFoundError: no such login waits. errors.AuthError, errors.UsageError: the answer cannot be used.
        """
        pending = self.login.files.read_pending(flow)
        if pending.client_id != self.client.id:
            raise errors.AuthError(
                "this login was begun with another OAuth client",
                name="ClientChanged",
                hint="begin a new one: lecoder-cgpu auth login --start --json",
            )
        try:
            stored = self.complete(pending, code_in(answer, pending))
        except errors.ConsentDenied:
            self.login.files.drop_pending(flow)
            raise
        self.login.files.drop_pending(flow)
        return stored

    def by_browser(self, show: Callable[[str], None], wait: float = WAIT) -> StoredLogin:
        """Open the consent page in a browser on this machine and wait for its answer.

        Args:
            show: told the address, in case no browser opens.
            wait: seconds to wait for the answer.

        Raises:
            errors.AuthError: consent was denied, the answer is not for us, or none came.
        """
        import webbrowser

        listener = Listener()
        with listener.listening() as redirect_uri:
            pending, url = self.begin(redirect_uri)
            listener.state = pending.state
            show(url)
            if not webbrowser.open(url):
                logs.current().info("AUTH", "no browser could be opened")
            try:
                answer = listener.answers.get(timeout=wait)
            except queue.Empty:
                others = "; an answer to another login came, and was passed over" if listener.passed_over else ""
                raise errors.AuthError(
                    f"no answer came from the browser within {wait:g} s{others}",
                    name="LoginTimeout",
                    hint="wait longer: lecoder-cgpu auth login --wait 900; or where no browser can reach this machine: "
                    "lecoder-cgpu auth login --no-browser",
                ) from None
        return self.complete(pending, code_in(answer, pending))

    def by_pasting(self, ask: Callable[[str], str | None]) -> StoredLogin:
        """Show the address of the consent page and take what the person pastes.

        Raises:
            errors.AuthError, errors.UsageError: consent was denied, or the answer cannot be used.
        """
        pending, url = self.begin(_unused_address())
        answer = ask(url)
        if not answer or not answer.strip():
            raise errors.UsageError(
                "no answer was given", name="NoCode", hint="in two steps: lecoder-cgpu auth login --start --json"
            )
        return self.complete(pending, code_in(answer, pending))

    def complete(self, pending: Pending, code: str) -> StoredLogin:
        """Exchange the code and store the login, which replaces the old one only now."""
        moment = time.time()
        answer = self._exchange(pending, code)
        refresh_token = answer.get("refresh_token")
        if not isinstance(refresh_token, str) or not refresh_token:
            raise errors.AuthError(
                "Google sent no refresh token",
                name="NoRefreshToken",
                hint="take the tool's access away at https://myaccount.google.com/permissions, then: "
                "lecoder-cgpu auth login",
            )
        scope = answer.get("scope") or list(credentials.SCOPES)
        granted = scope.split() if isinstance(scope, str) else list(scope)
        account = UNKNOWN
        try:
            account = userinfo(self.login, answer["access_token"])
        except errors.Error as error:  # the code is used up: a login without a name is better than none
            logs.current().warn("AUTH", f"the account's name is not known: {error.message}")
        stored = StoredLogin(
            id=str(uuid.uuid4()),
            refresh_token=refresh_token,
            scopes=as_the_predecessor(granted),
            account=account,
            granted_scopes=sorted(granted),
        )
        source = Source(kind="session", info=credentials.user(self.client, refresh_token))
        token = Token(
            key=source.key,
            access_token=answer["access_token"],
            obtained_at=moment,
            lifetime=lifetime(answer),
            scopes=granted,
        )
        store(self.login, stored, token)
        return stored

    def _exchange(self, pending: Pending, code: str) -> dict[str, Any]:
        """The token service's answer for this code.

        Raises:
            errors.AuthError: it does not take the code, or refuses the client. errors.ConnectionFailed: no answer.
        """
        from oauthlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]

        flow = self._flow()
        body = flow.prepare_request_body(
            code=code,
            redirect_uri=pending.redirect_uri,
            code_verifier=pending.verifier,
            client_secret=self.client.secret,
        )
        reply = transport.exchange(
            "POST",
            token_uri(self.login.config),
            content=body.encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            timeout=TIMEOUT,
        )
        try:
            # No scope is given: Google may grant others than we asked for, which oauthlib would take for an error.
            answer: dict[str, Any] = flow.parse_request_body_response(reply.data.decode("utf-8", "replace"))
        except OAuth2Error as error:
            if reply.status >= 500:
                raise refusal(None, error) from error
            detail = error.description or error.error
            if error.error == "invalid_grant":
                raise errors.AuthError(
                    f"Google does not take this code: {detail}",
                    name="CodeRefused",
                    hint="a code can be used once and for some minutes; begin again: lecoder-cgpu auth login",
                ) from error
            raise refusal({"error": error.error, "error_description": detail}, error) from error
        except (AttributeError, TypeError, ValueError) as error:  # how oauthlib meets JSON of another shape
            raise refusal(None, error) from error
        if not isinstance(answer["access_token"], str):
            raise refusal(None, TypeError("access_token is not a text"))
        return answer

    def _flow(self) -> Any:
        from oauthlib.oauth2 import WebApplicationClient

        return WebApplicationClient(self.client.id)


def _is_secure(url: str) -> bool:
    """Whether a secret may be sent there: over TLS, or to this machine itself, where a test may stand in for Google."""
    return urlsplit(url).scheme == "https" or transport.is_loopback(url)


def code_in(answer: str, pending: Pending) -> str:
    """The code in what the consent page sent back: in the address that it led to, or the code alone.

    Raises:
        errors.AuthError: consent was denied, or this is the answer to another login. errors.UsageError: no code.
    """
    text = answer.strip().strip("'\"")
    if "code=" not in text and "error=" not in text and "://" not in text:
        if not text or any(character.isspace() for character in text):
            raise errors.UsageError(
                "this is neither a code nor the address of the page that could not be opened",
                name="NoCode",
                hint="paste the whole address from the browser's address bar; it begins with http://127.0.0.1",
            )
        return unquote(text)
    query = parse_qs(text.partition("#")[0].partition("?")[2] or text)
    if query.get("state") != [pending.state]:
        raise errors.AuthError(
            "this answer belongs to another login (its state differs)",
            name="WrongState",
            hint="begin anew, and use the page that it opens: lecoder-cgpu auth login",
        )
    if refused := query.get("error"):
        if refused == ["access_denied"]:
            raise errors.ConsentDenied(
                "consent was denied on Google's page",
                hint="log in again and allow it: lecoder-cgpu auth login; while the client is in testing, "
                "the account must be a test user of it",
            )
        raise errors.ConsentDenied(
            f"Google refused: {refused[0]}",
            hint="an organisation's rules may forbid it: ask its administrator, or use another OAuth client: "
            "lecoder-cgpu auth setup CLIENT_FILE --force",
        )
    if not query.get("code"):
        raise errors.UsageError(
            "there is no code in this address",
            name="NoCode",
            hint="paste the whole address of the last page; it holds code=…",
        )
    return query["code"][0]


def _unused_address() -> str:
    """An address on 127.0.0.1 where nothing listens, so that the browser shows it and fails."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/callback"
