"""Consent: the address that is opened, what counts as an answer, and what a token service may say."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.auth.callback import CONNECTIONS, Listener
from lecoder_cgpu.auth.consent import Consent, code_in
from lecoder_cgpu.auth.credentials import SCOPES
from lecoder_cgpu.auth.login_files import Pending
from lecoder_cgpu.auth.tokens import Login
from lecoder_cgpu.config import Config

PENDING = Pending(
    id="x", client_id="mine", state="s", verifier="v" * 43, redirect_uri="http://127.0.0.1:9/", expires_at=0
)


class Handler(http.server.BaseHTTPRequestHandler):
    """A token service that gives the server's one answer, and keeps what it was sent."""

    def do_POST(self) -> None:
        server: Any = self.server
        server.sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        status, body = server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def consent(folder: Path, origin: str, **options: bool) -> Consent:
    path = folder / "config.json"
    path.write_text(
        json.dumps({"clientId": "mine", "clientSecret": "hush", "accountsDomain": origin, "oauthDomain": origin})
    )
    return Consent(Login(Config(config_file=path), folder), **options)


def test_the_address_of_the_consent_page(tmp_path: Path) -> None:
    """It asks for what we need, offline, with PKCE; the secret half stays here, and no two logins share anything."""
    made = consent(tmp_path, "https://accounts.example", select_account=True)
    pending, url = made.begin("http://127.0.0.1:9/callback")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    digest = hashlib.sha256(pending.verifier.encode()).digest()
    assert url.startswith("https://accounts.example/o/oauth2/v2/auth?")
    assert asked == {
        "response_type": "code",
        "client_id": "mine",
        "redirect_uri": "http://127.0.0.1:9/callback",
        "scope": " ".join(SCOPES),
        "state": pending.state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "prompt": "select_account consent",
        "access_type": "offline",
        "include_granted_scopes": "false",
    }
    assert 43 <= len(pending.verifier) <= 128
    other, _ = made.begin("http://127.0.0.1:9/callback")
    assert not {pending.verifier, pending.state, pending.id} & {other.verifier, other.state, other.id}


@pytest.mark.parametrize("origin", ["http://accounts.example", "ftp://accounts.example", "accounts.example"])
def test_no_secret_goes_over_plain_http(tmp_path: Path, origin: str) -> None:
    """Only this machine itself may do without TLS."""
    with pytest.raises(errors.ConfigError) as raised:
        consent(tmp_path, origin)
    assert raised.value.name == "InsecureOrigin"


def test_a_code_is_exchanged(tmp_path: Path, service: Any) -> None:
    """The request holds what RFC 6749 and 7636 ask for; other scopes than those asked for are no error."""
    answer = {
        "access_token": "a",
        "refresh_token": "r",
        "expires_in": 3599,
        "scope": "openid email",
        "token_type": "Bearer",
    }
    service.answer = (200, json.dumps(answer).encode())
    found = consent(tmp_path, f"http://127.0.0.1:{service.server_port}")._exchange(PENDING, "4/code")
    assert (found["access_token"], found["refresh_token"], found["scope"]) == ("a", "r", ["openid", "email"])
    assert service.sent == {
        "grant_type": ["authorization_code"],
        "code": ["4/code"],
        "client_id": ["mine"],
        "client_secret": ["hush"],
        "redirect_uri": [PENDING.redirect_uri],
        "code_verifier": [PENDING.verifier],
    }


@pytest.mark.parametrize(
    ("status", "body", "kind", "name"),
    [
        (400, {"error": "invalid_grant", "error_description": "Bad Request"}, errors.AuthError, "CodeRefused"),
        (401, {"error": "invalid_client", "error_description": "no"}, errors.AuthError, "ClientRefused"),
        (400, {"error": "redirect_uri_mismatch"}, errors.AuthError, "RefreshRefused"),
        (503, {"error": "backend"}, errors.ConnectionFailed, "ServerError"),
        (500, "<html>oops</html>", errors.ConnectionFailed, "ServerError"),
        (200, [], errors.ConnectionFailed, "ServerError"),
        (200, 7, errors.ConnectionFailed, "ServerError"),
        (200, None, errors.ConnectionFailed, "ServerError"),
        (200, {"access_token": 7}, errors.ConnectionFailed, "ServerError"),
        (200, {"access_token": "a", "scope": 7}, errors.ConnectionFailed, "ServerError"),
        (200, {"access_token": "a", "expires_in": {}}, errors.ConnectionFailed, "ServerError"),
        (400, {"error": {"code": 7}}, errors.Error, ""),
        (200, "<html>log in to the hotel's network</html>", errors.Error, ""),
    ],
)
def test_what_a_token_service_may_say(
    tmp_path: Path, service: Any, status: int, body: Any, kind: type[errors.Error], name: str
) -> None:
    """Each refusal is the error that it means, and nonsense is never a bug of ours."""
    service.answer = (status, (body if isinstance(body, str) else json.dumps(body)).encode())
    with pytest.raises(kind) as raised:
        consent(tmp_path, f"http://127.0.0.1:{service.server_port}")._exchange(PENDING, "4/code")
    assert name in ("", raised.value.name)
    assert "hush" not in raised.value.message


@pytest.mark.parametrize(
    "answer",
    [
        "http://127.0.0.1:9/?state=s&code=4/abc",
        "'http://127.0.0.1:9/?code=4%2Fabc&state=s'",
        "state=s&code=4/abc",
        " 4/abc\n",
        "4%2Fabc",
    ],
)
def test_a_code_is_found(answer: str) -> None:
    """In the address as browsers show it, quoted or not, or alone."""
    assert code_in(answer, PENDING) == "4/abc"


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("", "NoCode"),
        ("what now", "NoCode"),
        ("http://127.0.0.1:9/?state=s", "NoCode"),
        ("http://127.0.0.1:9/?state=other&code=4/abc", "WrongState"),
        ("http://127.0.0.1:9/?code=4/abc", "WrongState"),
        ("http://127.0.0.1:9/?state=s&error=access_denied", "ConsentDenied"),
        ("http://127.0.0.1:9/?state=s&error=admin_policy_enforced", "ConsentDenied"),
    ],
)
def test_what_is_no_code(answer: str, name: str) -> None:
    """Nothing, nonsense, the answer to another login, and a refusal are told apart."""
    with pytest.raises(errors.Error) as raised:
        code_in(answer, PENDING)
    assert raised.value.name == name


def ask(address: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_what_is_no_answer_ends_no_waiting() -> None:
    """A request of another program, of a web page, or to another name is refused; the right one still arrives."""
    listener = Listener()
    with listener.listening() as address:
        right = "/callback?code=4/x&state=mine"
        assert ask(address, right) == 403, "before the state is known"
        listener.state = "mine"
        assert ask(address, "/favicon.ico") == 404
        assert ask(address, "/?x=1") == 403
        assert ask(address, "/callback?code=4/x&state=other") == 403
        assert ask(address, right, Host="evil.example") == 403
        assert ask(address, right, Origin="https://evil.example") == 403
        assert ask(address, right, Origin="null") == 403
        assert ask(address, f"http://evil.example{right}") == 404
        assert listener.answers.empty()
        assert ask(address, right) == 200
        assert code_in(listener.answers.get(timeout=10), msgspec.structs.replace(PENDING, state="mine")) == "4/x"


def test_connections_that_say_nothing_are_in_nobodys_way(capfd: pytest.CaptureFixture[str]) -> None:
    """Any page can open hundreds. The answer comes in between, and what is odd about a request is not shown."""
    listener = Listener()
    listener.state = "mine"
    with listener.listening() as address, contextlib.ExitStack() as stack:
        where = (urlsplit(address).hostname, urlsplit(address).port)
        idle = [stack.enter_context(socket.create_connection(where, timeout=10)) for _ in range(CONNECTIONS + 5)]
        idle[-1].sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        idle[-2].sendall(b"GET http://[::bad/callback?state=mine HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert idle[-2].recv(20).startswith(b"HTTP/1.0 400")
        assert idle[0].recv(1) == b"", "the oldest made room"
        assert ask(address, "/callback?code=4/x&state=mine") == 200
        assert listener.answers.get(timeout=10)
    assert capfd.readouterr() == ("", "")
