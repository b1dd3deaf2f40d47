"""Logging in and out: the consent page, its answer, and what is stored of it.

OAuth for desktop applications (RFC 8252): the answer comes to an address on 127.0.0.1, with PKCE. Where no browser can
reach this machine, the person pastes the address that the browser could not open; the same in two steps for agents,
which cannot wait in between. google-auth-oauthlib makes the address and exchanges the code, over our transport.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import msgspec
from msgspec import UNSET

from . import config, credentials, errors, logs, models, transport
from .auth import TIMEOUT, Login, lifetime, mint, origin, refusal, token_uri
from .credentials import Pending, Source, Token

WAIT = 300.0  # seconds that we listen for the browser
PENDING = 1800.0  # seconds that a login in two steps may take
ANSWER = b"""<!doctype html><meta charset="utf-8"><title>lecoder-cgpu</title>
<p>Google's answer has arrived. You can close this page; the terminal tells how it went.</p>"""
UNKNOWN = models.Account(id="unknown", label="unknown")


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

    def begin(self, redirect_uri: str) -> tuple[Pending, str]:
        """What must be remembered until the answer comes, and the address of the consent page."""
        flow = self._flow(redirect_uri)
        with self._relaxed():
            url, state = flow.authorization_url(
                prompt=self.prompt, access_type="offline", include_granted_scopes="false"
            )
        pending = Pending(
            id=uuid.uuid4().hex[:12],
            client_id=self.client.id,
            state=state,
            verifier=flow.code_verifier,
            redirect_uri=redirect_uri,
            expires_at=time.time() + PENDING,
        )
        return pending, url

    def start(self) -> tuple[Pending, str]:
        """Begin a login that another command finishes."""
        pending, url = self.begin(_unused_address())
        self.login.files.write_pending(pending)
        return pending, url

    def finish(self, flow: str, answer: str) -> models.StoredLogin:
        """Finish a login that was begun by `start`, with what the person pasted.

        Raises:
            errors.NotFoundError: no such login waits. errors.AuthError, errors.UsageError: the answer is no good.
        """
        pending = self.login.files.read_pending(flow)
        if pending.client_id != self.client.id:
            raise errors.AuthError(
                "this login was begun with another OAuth client", name="ClientChanged",
                hint="begin a new one: lecoder-cgpu auth login --start --json",
            )  # fmt: skip
        try:
            stored = self.complete(pending, code_in(answer, pending))
        except errors.AuthError as error:
            if error.name == "ConsentDenied":
                self.login.files.drop_pending(flow)
            raise
        self.login.files.drop_pending(flow)
        return stored

    def by_browser(self, show: Callable[[str], None], wait: float = WAIT) -> models.StoredLogin:
        """Open the consent page in a browser on this machine and wait for its answer.

        Args:
            show: told the address, in case that no browser opens.
            wait: seconds.

        Raises:
            errors.AuthError: consent was denied, the answer is not for us, or none came.
        """
        import webbrowser

        with _listen() as (redirect_uri, answers):
            pending, url = self.begin(redirect_uri)
            show(url)
            if not webbrowser.open(url):
                logs.current().info("AUTH", "no browser could be opened")
            try:
                answer = answers.get(timeout=wait)
            except queue.Empty:
                raise errors.AuthError(
                    f"no answer came from the browser within {wait:g} s", name="LoginTimeout",
                    hint="try again, or where no browser can reach this machine: lecoder-cgpu auth login --no-browser",
                ) from None  # fmt: skip
        return self.complete(pending, code_in(answer, pending))

    def by_pasting(self, ask: Callable[[str], str | None]) -> models.StoredLogin:
        """Show the address of the consent page and take what the person pastes.

        Raises:
            errors.AuthError, errors.UsageError: consent was denied, or the answer is no good.
        """
        pending, url = self.begin(_unused_address())
        answer = ask(url)
        if not answer or not answer.strip():
            raise errors.UsageError(
                "no answer was given", name="NoCode", hint="in two steps: lecoder-cgpu auth login --start --json"
            )
        return self.complete(pending, code_in(answer, pending))

    def complete(self, pending: Pending, code: str) -> models.StoredLogin:
        """Exchange the code and store the login; the old one is replaced only now."""
        moment = time.time()
        answer = self._exchange(pending, code)
        refresh_token = answer.get("refresh_token")
        if not refresh_token:
            raise errors.AuthError(
                "Google sent no refresh token", name="NoRefreshToken",
                hint="take the tool's access away at https://myaccount.google.com/permissions and log in again",
            )  # fmt: skip
        scope = answer.get("scope") or list(credentials.SCOPES)
        granted = scope.split() if isinstance(scope, str) else list(scope)
        account = UNKNOWN
        try:
            account = userinfo(self.login, answer["access_token"])
        except errors.Error as error:  # the code is used up; a name is not worth the login
            logs.current().warn("AUTH", f"the account's name is not known: {error.message}")
        stored = models.StoredLogin(
            id=str(uuid.uuid4()),
            refresh_token=refresh_token,
            scopes=_as_the_predecessor(granted),
            account=account,
            granted_scopes=sorted(granted),
        )
        source = Source(kind="session", info=credentials.user(self.client, refresh_token))
        token = Token(
            key=source.key, access_token=answer["access_token"], obtained_at=moment, lifetime=lifetime(answer),
            scopes=granted,
        )  # fmt: skip
        store(self.login, stored, token)
        return stored

    def _exchange(self, pending: Pending, code: str) -> Any:
        from oauthlib.oauth2 import OAuth2Error  # type: ignore[import-untyped]

        flow = self._flow(pending.redirect_uri, pending)
        try:
            with self._relaxed():
                return flow.fetch_token(code=code, timeout=TIMEOUT, include_client_id=True)
        except OAuth2Error as error:
            if flow.oauth2session.adapters["https://"].status >= 500:
                raise refusal(None, error) from error
            detail = error.description or error.error
            if error.error == "invalid_grant":
                raise errors.AuthError(
                    f"Google does not take this code: {detail}", name="CodeRefused",
                    hint="a code can be used once and for some minutes; begin again: lecoder-cgpu auth login",
                ) from error  # fmt: skip
            raise refusal({"error": error.error, "error_description": detail}, error) from error

    def _flow(self, redirect_uri: str, pending: Pending | None = None) -> Any:
        from google_auth_oauthlib.flow import Flow  # type: ignore[import-untyped]

        settings = {
            "client_id": self.client.id,
            "client_secret": self.client.secret,
            "auth_uri": f"{origin(self.login.config, 'accountsDomain')}/o/oauth2/v2/auth",
            "token_uri": token_uri(self.login.config),
        }
        known: dict[str, Any] = {"state": pending.state, "code_verifier": pending.verifier} if pending else {}
        flow = Flow.from_client_config(
            {"installed": settings}, scopes=list(credentials.SCOPES), redirect_uri=redirect_uri, **known
        )
        adapter = _adapter()
        flow.oauth2session.mount("https://", adapter)
        flow.oauth2session.mount("http://", adapter)
        return flow

    def _relaxed(self) -> contextlib.AbstractContextManager[None]:
        origins = [origin(self.login.config, key) for key in ("accountsDomain", "oauthDomain")]
        return config.oauthlib(plain_http=all(map(transport.is_loopback, origins)))


def _adapter() -> Any:
    """What makes a session of `requests`, which google-auth-oauthlib brings, use our transport."""
    import requests

    class Adapter(requests.adapters.BaseAdapter):
        status = 0

        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            body = request.body.encode() if isinstance(request.body, str) else request.body
            headers = {name: value for name, value in request.headers.items() if name != "User-Agent"}
            reply = transport.exchange(request.method, request.url, content=body, headers=headers, timeout=TIMEOUT)
            self.status = reply.status
            response = requests.Response()
            response.status_code = reply.status
            response.headers.update(reply.headers)
            response.headers.pop("content-encoding", None)
            response._content = reply.data
            response.url = request.url
            response.request = request
            return response

        def close(self) -> None:
            pass

    return Adapter()


def code_in(answer: str, pending: Pending) -> str:
    """The code in what the consent page sent back: the whole address it led to, or the code alone.

    Raises:
        errors.AuthError: consent was denied, or this is the answer to another login. errors.UsageError: no code.
    """
    text = answer.strip().strip("'\"")
    if "code=" not in text and "error=" not in text and "://" not in text:
        if not text or any(character.isspace() for character in text):
            raise errors.UsageError(
                "this is neither a code nor the address of the page that could not be opened", name="NoCode",
                hint="paste the whole address from the browser's address bar; it begins with http://127.0.0.1",
            )  # fmt: skip
        return unquote(text)
    query = parse_qs(urlsplit(text).query or text.partition("?")[2] or text)
    if query.get("state") != [pending.state]:
        raise errors.AuthError(
            "this answer belongs to another login (its state differs)", name="WrongState",
            hint="begin a new login and use the page that it opens",
        )  # fmt: skip
    if refused := query.get("error"):
        if refused == ["access_denied"]:
            raise errors.AuthError(
                "consent was denied on Google's page", name="ConsentDenied",
                hint="log in again and allow it; while the client is in testing, the account must be a test user of it",
            )  # fmt: skip
        raise errors.AuthError(
            f"Google refused: {refused[0]}", name="ConsentDenied",
            hint="an organisation's rules may forbid it; use another OAuth client, or ask its administrator",
        )  # fmt: skip
    if not query.get("code"):
        raise errors.UsageError(
            "there is no code in this address", name="NoCode", hint="paste the whole address of the last page"
        )
    return query["code"][0]


@contextlib.contextmanager
def _listen() -> Iterator[tuple[str, queue.Queue[str]]]:
    """Listen on 127.0.0.1 for the browser; yields our address and a queue of what was asked for there."""
    answers: queue.Queue[str] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            wanted = parts.path in ("/", "/callback") and parts.query
            self.send_response(200 if wanted else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(ANSWER if wanted else b"")
            if wanted:
                answers.put(f"http://127.0.0.1{self.path}")

        def log_message(self, *arguments: Any) -> None:
            """Say nothing: the address holds the code."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)  # browsers open sockets that they never use
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/callback", answers
    finally:
        server.shutdown()
        server.server_close()


def _unused_address() -> str:
    """An address on 127.0.0.1 where nothing listens, for the browser to fail at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/callback"


def _as_the_predecessor(granted: list[str]) -> list[str]:
    """Granted scopes by the names that the predecessor looks for, in its order, the others behind them."""
    have = credentials.normal(granted)
    return [scope for scope in credentials.SCOPES if scope in have] + sorted(have - set(credentials.SCOPES))


def store(login: Login, stored: models.StoredLogin, token: Token) -> None:
    """Make this the login; one by application default credentials ends."""
    with login.files.lock():
        login.files.write_login(stored)
        login.files.write_token(token)
    if login.config.get("auth").source == "config":
        credentials.change_config(login.config, {"auth": None})


# --- asking Google ------------------------------------------------------------------------------------------------


def userinfo(login: Login, access_token: str) -> models.Account:
    """Whose token this is.

    Raises:
        errors.ConnectionFailed: Google could not be asked. errors.AuthError: it does not say.
    """
    url = f"{origin(login.config, 'googleApisDomain')}/oauth2/v2/userinfo"
    reply = transport.exchange(
        "GET", url, headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"}, timeout=TIMEOUT
    )
    found = _object(reply)
    identity = found.get("email") or found.get("id")
    if reply.status != 200 or not isinstance(identity, str):
        raise errors.AuthError(
            f"Google does not say whose login this is (HTTP {reply.status})", hint="lecoder-cgpu auth login --force"
        )
    return models.Account(id=identity, label=str(found.get("name") or identity))


def tokeninfo(login: Login, access_token: str) -> dict[str, Any] | None:
    """What Google knows of a token: `scope`, `expires_in`, perhaps `email`; None when it takes it for invalid.

    Raises:
        errors.ConnectionFailed: Google could not be asked.
    """
    url = f"{origin(login.config, 'oauthDomain')}/tokeninfo?{urlencode({'access_token': access_token})}"
    reply = transport.exchange("GET", url, timeout=TIMEOUT)
    if reply.status in (400, 401):
        return None
    if reply.status != 200:
        raise errors.ConnectionFailed(
            f"Google's token service failed with HTTP {reply.status}", name="ServerError", hint="try again in a moment"
        )
    return _object(reply)


def revoke(login: Login, token: str) -> bool:
    """Have Google end a login everywhere; False when it did not answer so."""
    content = urlencode({"token": token}).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        url = f"{origin(login.config, 'oauthDomain')}/revoke"
        return transport.exchange("POST", url, content=content, headers=kind, timeout=TIMEOUT).status == 200
    except errors.ConnectionFailed as error:
        logs.current().warn("AUTH", f"not revoked: {error.message}")
        return False


def _object(reply: transport.Reply) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        content = json.loads(reply.data)
        if isinstance(content, dict):
            return content
    return {}


def check(login: Login) -> Token:
    """Ask Google whether the login works, and remember what it allows and whose it is.

    Raises:
        errors.AuthError: it does not work, or does not allow the use of Colab. errors.ConnectionFailed: no answer.
    """
    token = login.token()
    found = tokeninfo(login, token.access_token)
    if found is None:
        token = login.token(rejected=token.access_token)
        found = tokeninfo(login, token.access_token)
    if found is None:
        raise errors.AuthError(
            "Google does not take the token that it has just given", name="TokenRefused",
            hint="lecoder-cgpu auth login --force",
        )  # fmt: skip
    source = login.source()
    scopes = found["scope"].split() if isinstance(found.get("scope"), str) else token.scopes
    account = source.account or token.account
    if account is None or account == UNKNOWN:
        try:
            account = userinfo(login, token.access_token)
        except errors.AuthError:
            email = found.get("email")
            account = models.Account(id=email, label=email) if isinstance(email, str) else account
    token = msgspec.structs.replace(token, scopes=scopes, account=account)
    if source.kind != "environment":
        with login.files.lock():
            login.files.write_token(token)
            stored = login.files.read_login()
            if source.kind == "session" and stored is not None and stored.account == UNKNOWN and account is not None:
                login.files.write_login(msgspec.structs.replace(stored, account=account))
    missing = [
        scope for scope in (credentials.EMAIL, credentials.COLAB) if scope not in credentials.normal(scopes or [])
    ]
    if scopes is not None and missing:
        raise errors.AuthError(
            f"the login does not allow the use of Colab: {' and '.join(missing)} was not granted", name="ScopeMissing",
            hint=credentials.ADC_COMMAND if source.kind == "adc" else "lecoder-cgpu auth login --force",
        )  # fmt: skip
    return token


def use_adc(login: Login) -> None:
    """Use application default credentials from now on, after proving that they allow the use of Colab.

    Raises:
        errors.ConfigError: there are none. errors.AuthError: they do not allow it. Nothing has changed then.
    """
    trial = Login(config.Config({**login.config.options, "auth": "adc"}, login.config.config_file), login.files.folder)
    check(trial)
    credentials.change_config(login.config, {"auth": "adc"})


def take(login: Login, content: str, *, replace: bool) -> models.StoredLogin:
    """Store a login that was exported elsewhere, after proving that it works.

    Args:
        content: the bare session, or the whole document of `auth export`.
        replace: there may be a login already.

    Raises:
        errors.UsageError: this is neither, or there is a login already. errors.AuthError: it does not work.
        In every case what was there before stays.
    """
    hint = "pass what `lecoder-cgpu auth-export --json` printed, or the content of session.json"
    try:
        given, packed = credentials.decode_export(content)
    except ValueError as error:
        raise errors.UsageError(f"this is no exported login: {error}", name="BadExport", hint=hint) from error
    known = credentials.client(login.config)
    own = packed or known
    if own is None:
        raise credentials.no_client(login.config)
    try:
        before = login.files.read_login()
    except errors.ConfigError:  # damaged, and set aside by that
        before = None
    if not replace:
        if before is not None and before.refresh_token != given.refresh_token:
            raise errors.UsageError(
                f"there is a login already, of {before.account.id}", name="LoginExists", hint="replace it with --force"
            )
        if known is not None and own != known:
            raise errors.UsageError(
                f"this login belongs to another OAuth client than {login.config.path} has", name="ClientDiffers",
                hint="replace both with --force",
            )  # fmt: skip
    source = Source(kind="session", info=credentials.user(own, given.refresh_token))
    token, rotated = mint(source, login.config)
    account = given.account or userinfo(login, token.access_token)
    granted = token.scopes if token.scopes is not None else UNSET
    stored = models.StoredLogin(
        id=given.id,
        refresh_token=rotated or given.refresh_token,
        scopes=given.scopes if token.scopes is None else _as_the_predecessor(token.scopes),
        account=account,
        granted_scopes=granted if granted is UNSET else sorted(granted),
    )
    if own != known:
        credentials.change_config(login.config, {"clientId": own.id, "clientSecret": own.secret})
    key = Source(kind="session", info=credentials.user(own, stored.refresh_token)).key
    store(login, stored, msgspec.structs.replace(token, key=key))
    return stored


def log_out(login: Login, *, keep_grant: bool) -> tuple[bool, bool]:
    """Forget the login; returns whether there was one, and whether Google has revoked it everywhere."""
    try:
        stored = login.files.read_login()
    except errors.ConfigError:
        stored = None
    revoked = stored is not None and not keep_grant and revoke(login, stored.refresh_token)
    with login.files.lock():
        found = login.files.forget()
    if login.config.file.get("auth") is not None:
        credentials.change_config(login.config, {"auth": None})
        found = True
    return found, revoked
