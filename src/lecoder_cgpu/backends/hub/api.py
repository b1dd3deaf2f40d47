"""The REST API of a JupyterHub, as far as a user's own servers need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import unquote, urlunsplit

import msgspec
from msgspec import Struct, field

from ... import errors
from ...net.addresses import segment
from ...net.failures import Refusal, status_error
from ...net.http import Http

T = TypeVar("T")

START_ANSWER = 90.0  # seconds for the answer to an order to start; Hubs answer after ten, and go on (protocol J42)
NOT_A_HUB = "a single Jupyter server is added with --url instead of --hub"


class ServerModel(Struct, kw_only=True):
    """One server of a user. `pending` is `spawn` or `stop` while that goes on; `user_options` may not be told."""

    name: str = ""
    ready: bool = False
    pending: str | None = None
    url: str = ""
    user_options: dict[str, Any] | None = None
    last_activity: str | None = None


class User(Struct, kw_only=True):
    """Whose token it is: `scopes` are what it may do, `servers` the user's servers that run, by name."""

    name: str
    kind: str = "user"
    scopes: list[str] = field(default_factory=list)
    servers: dict[str, ServerModel] | None = None
    token_id: str | None = None


class Token(Struct, kw_only=True):
    """What the Hub tells of a token."""

    expires_at: str | None = None


class Progress(Struct, kw_only=True):
    """One event of a start."""

    message: str = ""
    ready: bool = False
    failed: bool = False


class About(Struct, kw_only=True):
    """What the Hub says about itself."""

    version: str


class Address(Struct, frozen=True, kw_only=True):
    """What an address that a person gives says: the Hub's, with its final slash, and perhaps a user and a server."""

    url: str
    user: str | None = None
    server: str | None = None


def address(url: str) -> Address:
    """Read an address of a Hub. People paste what the browser shows: /hub/home, /hub/spawn/ada, /user/ada/gpu/lab.

    Raises:
        errors.UsageError: it is no http or https address.
    """
    from ..jupyter import checked

    parts = checked(url)
    path = [part for part in parts.path.split("/") if part]
    user = server = None
    if "hub" in path:
        at = path.index("hub")
        if path[at + 1 : at + 2] == ["spawn"] and len(path) > at + 2:
            user, server = path[at + 2], path[at + 3] if len(path) > at + 3 else None
        path = path[:at]
    elif "user" in path and len(path) > path.index("user") + 1:
        at = path.index("user")
        user = path[at + 1]
        page = path[at + 2] if len(path) > at + 2 else None
        server = None if page in (None, "lab", "tree", "notebooks", "api", "login") else page
        path = path[:at]
    base = "/" + "".join(f"{part}/" for part in path)
    return Address(
        url=urlunsplit((parts.scheme, parts.netloc, base, "", "")),
        user=None if user is None else unquote(user),
        server=None if server is None else unquote(server),
    )


class Hub:
    """Calls to one Hub with one token.

    Args:
        url: the Hub's address with its final slash, without `hub/`. ca: see `net.http.Http`.

    Every method raises errors.AuthError (the token is refused, or lacks a scope), errors.NotFoundError or
    errors.ConnectionFailed; see `net.http.Http.request`.
    """

    def __init__(self, url: str, token: str | None, ca: str | None = None) -> None:
        self.url = url
        headers = {"Authorization": f"token {token}"} if token else {}
        self._http = Http(url, headers, explain=_explain, ca=ca)

    def close(self) -> None:
        self._http.close()

    def version(self) -> str:
        """The Hub's version, and the proof that it is one.

        Raises:
            errors.ConnectionFailed: (`NotJupyterHub`) it is not a Hub.
        """
        try:
            return self._get("hub/api/", About).version
        except (errors.NotFoundError, errors.UnexpectedAnswer) as error:
            raise _no_hub(self.url, error.message) from error

    def who(self) -> User:
        """The user whose token it is."""
        return self._get("hub/api/user", User)

    def expires(self, user: User) -> str | None:
        """When the token ends, as an ISO time; None when it does not, or that is not told."""
        if user.token_id is None:
            return None
        try:
            return self._get(f"hub/api/users/{segment(user.name)}/tokens/{segment(user.token_id)}", Token).expires_at
        except (errors.AuthError, errors.NotFoundError):
            return None

    def servers(self, user: str) -> dict[str, ServerModel]:
        """The user's servers that run, or are being started or stopped, by name."""
        return self._get(f"hub/api/users/{segment(user)}", User).servers or {}

    def start(self, user: str, server: str, options: dict[str, Any]) -> None:
        """Order the start of a server. The options are sent always: an empty body means those of last time
        (protocol J41).

        Raises:
            errors.CapacityError: (`SpawnFailed`) the Hub refuses, with its own words.
        """
        major = self.version().partition(".")[0]
        old = major.isdecimal() and len(major) < 4 and int(major) < 6
        body: dict[str, Any] = options if old else {"user_options": options}
        self._http.request("POST", _path(user, server), json=body, timeout=START_ANSWER)

    def stop(self, user: str, server: str) -> None:
        """Order the end of a server; a named one is forgotten, too. One that is not there is fine."""
        try:
            self._http.request("DELETE", _path(user, server), json={"remove": True} if server else None)
        except errors.NotFoundError:
            return

    def progress(self, user: str, server: str, limit: float) -> Iterator[Progress]:
        """The events of a start that goes on, for at most `limit` seconds."""
        for data in self._http.events(f"{_path(user, server)}/progress", limit):
            try:
                yield msgspec.json.decode(data, type=Progress)
            except ValueError:
                continue  # of a kind that we do not know

    def _get(self, path: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(self._http.request("GET", path), type=kind)
        except ValueError as error:
            raise _no_hub(self.url, str(error)) from error


def _path(user: str, server: str) -> str:
    end = f"servers/{segment(server)}" if server else "server"
    return f"hub/api/users/{segment(user)}/{end}"


def _no_hub(url: str, saw: str) -> errors.ConnectionFailed:
    return errors.ConnectionFailed(
        f"{url}: this is not the address of a JupyterHub: {saw}", name="NotJupyterHub", retryable=False, hint=NOT_A_HUB
    )


def _explain(refusal: Refusal) -> errors.Error:
    """A Hub's refusal as our error. It says itself what is missing, and that is passed on."""
    if refusal.location is not None or (refusal.page and refusal.status < 400):
        error: errors.Error = _no_hub(refusal.what, "it is a page for people")
        error.hint = NOT_A_HUB
        return error
    said = _message(refusal.body)
    if refusal.status == 403 and "scope" in said.lower():
        error = errors.ScopeMissing(
            f"{refusal.what}: the Hub accepts the token, which may not do this: {said}",
            hint="with --token-stdin, give one with more rights, made on the Hub's page /hub/token",
        )
    elif refusal.status in (401, 403):
        error = errors.TokenRefused(
            f"{refusal.what}: the Hub refused the token: {said or refusal.status}",
            hint="it is wrong, has ended or was revoked; make another on the Hub's page /hub/token, and add --force",
        )
    elif refusal.what.startswith("POST ") and refusal.status in (400, 409, 422, 424, 429, 500, 503):
        error = errors.CapacityError(
            f"the Hub did not start the server: {said or f'HTTP {refusal.status}'}",
            name="SpawnFailed",
            retryable=refusal.status in (429, 503),
            hint="the Hub's log tells more; profiles and options: --server-profile, --server-option",
        )
    else:
        error = status_error(refusal.status, refusal.what, refusal.body)
    error.http_status, error.retry_after = refusal.status, refusal.retry_after
    return error


def _message(body: str) -> str:
    try:
        content = msgspec.json.decode(body)
    except ValueError:
        return ""
    found = content.get("message") if isinstance(content, dict) else None
    return " ".join(found.split())[:500] if isinstance(found, str) else ""
