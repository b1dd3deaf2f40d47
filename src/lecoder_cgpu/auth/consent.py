"""Google's consent page: from the address that a person opens to the code that comes back.

OAuth for desktop applications (RFC 8252): the answer comes to an address on 127.0.0.1, with PKCE. Where no browser can
reach this machine, the person pastes the address that the browser could not open (protocol C49); the same in two steps
for agents, which cannot wait in between. google-auth-oauthlib makes the address and exchanges the code, over our
transport.
"""

from __future__ import annotations

import contextlib
import http.server
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .. import config, errors
from ..models.login import StoredLogin
from ..net import http as transport
from ..system import logs
from . import credentials
from .credentials import Pending, Source, Token
from .lifecycle import UNKNOWN, as_the_predecessor, store, userinfo
from .tokens import TIMEOUT, Login, lifetime, origin, refusal, token_uri

WAIT = 300.0  # seconds that we listen for the browser
PENDING = 1800.0  # seconds that a login in two steps may take
ANSWER = b"""<!doctype html><meta charset="utf-8"><title>lecoder-cgpu</title>
<p>Google's answer has arrived. You can close this page; the terminal tells how it went.</p>"""


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

    def finish(self, flow: str, answer: str) -> StoredLogin:
        """Finish a login that was begun by `start`, with what the person pasted.

        Raises:
            errors.NotFoundError: no such login waits. errors.AuthError, errors.UsageError: the answer is no good.
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
                    f"no answer came from the browser within {wait:g} s",
                    name="LoginTimeout",
                    hint="wait longer: lecoder-cgpu auth login --wait 900; or where no browser can reach this machine: "
                    "lecoder-cgpu auth login --no-browser",
                ) from None
        return self.complete(pending, code_in(answer, pending))

    def by_pasting(self, ask: Callable[[str], str | None]) -> StoredLogin:
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

    def complete(self, pending: Pending, code: str) -> StoredLogin:
        """Exchange the code and store the login; the old one is replaced only now."""
        moment = time.time()
        answer = self._exchange(pending, code)
        refresh_token = answer.get("refresh_token")
        if not refresh_token:
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
        except errors.Error as error:  # the code is used up; a name is not worth the login
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
                    f"Google does not take this code: {detail}",
                    name="CodeRefused",
                    hint="a code can be used once and for some minutes; begin again: lecoder-cgpu auth login",
                ) from error
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
                "this is neither a code nor the address of the page that could not be opened",
                name="NoCode",
                hint="paste the whole address from the browser's address bar; it begins with http://127.0.0.1",
            )
        return unquote(text)
    query = parse_qs(urlsplit(text).query or text.partition("?")[2] or text)
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
