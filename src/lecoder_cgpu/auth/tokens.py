"""Access tokens for Google: from the cache, or minted by google-auth, once for all processes.

Nothing here opens a browser or asks a person. Without a login, the error says what to type. google-auth is imported
only when a token must be minted, which is once an hour.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import errors
from ..config import Config
from ..net import answers, http
from ..system import logs
from . import credentials
from .credentials import Source
from .login_files import Files, Token

if TYPE_CHECKING:
    from ..models.status import Account

MARGIN = 300.0  # seconds before its end at which a token is replaced
LIFETIME = 3600.0  # seconds that a token lives when Google does not say
LONGEST = 366 * 86400.0  # seconds; more is no lifetime
TIMEOUT = 20.0  # seconds for one request to the token service


_LOGINS: weakref.WeakValueDictionary[int, Login] = weakref.WeakValueDictionary()


def login(config: Config, state_dir: Path) -> Login:
    """The login under these settings; the same object, with the token that it has, for everybody who uses them.

    Args:
        config: has the user's OAuth client, and Google's addresses.
        state_dir: the folder of `session.json` and of the cached token.
    """
    found = _LOGINS.get(id(config))
    if found is None or found.config is not config or found.state_dir != state_dir:
        found = _LOGINS[id(config)] = Login(config, state_dir)
    return found


class Login:
    """The login of this user, whatever its source.

    Args:
        config: has the user's OAuth client, and Google's addresses.
        state_dir: the folder of `session.json` and of the cached token.
    """

    def __init__(self, config: Config, state_dir: Path) -> None:
        self.config = config
        self.state_dir = state_dir
        self.files = Files(state_dir)
        self._token: Token | None = None
        self._minting = threading.Lock()

    # --- what is known without asking Google ---

    def source(self) -> Source:
        """Where the credentials come from.

        Raises:
            errors.AuthError: there are none. errors.ConfigError: they cannot be read.
        """
        found = credentials.find(self.config, self.files)
        if found is None:
            raise errors.NotLoggedIn("not logged in to Google", hint=credentials.login_hint(self.config))
        return found

    def is_logged_in(self) -> bool:
        """Whether there are credentials. Only Google knows whether they are still valid."""
        try:
            return credentials.find(self.config, self.files) is not None
        except errors.AuthError:
            return False

    def account(self) -> Account | None:
        """Whose login it is; None while that is not known."""
        try:
            source = self.source()
        except errors.AuthError:
            return None
        if source.account is not None:
            return source.account
        token = self._cached(source)
        return token.account if token is not None else None

    def known_token(self) -> Token | None:
        """The cached access token; None if the next use mints a new one."""
        token = self._cached(self.source())
        return token if _usable(token, None) else None

    def scopes(self) -> frozenset[str] | None:
        """What Google granted, with `email` and `profile` by their short names; None if that is not known."""
        try:
            source = self.source()
        except errors.AuthError:
            return None
        token = self._cached(source)
        if token is not None and token.scopes is not None:
            return credentials.normal(token.scopes)
        return source.granted

    def require(self, scope: str, what: str) -> None:
        """Check that the login may do something. A scope that is not known to be missing counts as granted.

        Args:
            scope: as Google names it, or `email`.
            what: the operation that needs it, for the message.

        Raises:
            errors.AuthError: the scope was not granted; the message names it.
        """
        granted = self.scopes()
        if granted is None or scope in granted or (scope == credentials.DRIVE_FILE and credentials.DRIVE in granted):
            return
        raise errors.ScopeMissing(
            f"{what} needs the permission {scope}, which this login was not given",
            hint="log in again and leave its box ticked: lecoder-cgpu auth login --force",
        )

    # --- access tokens ---

    def access_token(self, *, rejected: str | None = None) -> str:
        """An access token that should be valid.

        Args:
            rejected: the token that a server has just refused with 401, even if it should be valid by our clock. If it
                is still the cached one, a new one is minted, which other processes with the same refusal then use.

        Raises:
            errors.AuthError: no login, or Google has ended it. errors.ConnectionFailed: Google could not be asked; the
                login stays as it is. errors.ConfigError: the files are unusable.
        """
        return self.token(rejected=rejected).access_token

    def token(self, *, rejected: str | None = None) -> Token:
        """Like `access_token`, with what is known about it."""
        with self._minting:
            source = self.source()
            token = self._cached(source)
            if _usable(token, rejected):
                return token  # type: ignore[return-value]
            if source.kind == "environment":  # neither these nor tokens made from them are written to the disk
                self._token = self._mint(source, token)
                return self._token
            with self.files.lock():
                source = self.source()  # another process may have logged in, logged out or refreshed meanwhile
                token = self.files.read_token(source.key)
                if not _usable(token, rejected):
                    token = self._mint_or_keep(source, token, rejected)
                assert token is not None
                self._token = token
                return token

    def _cached(self, source: Source) -> Token | None:
        if self._token is not None and self._token.key == source.key and _usable(self._token, None):
            return self._token
        return None if source.kind == "environment" else self.files.read_token(source.key)

    def _mint_or_keep(self, source: Source, token: Token | None, rejected: str | None) -> Token:
        """A new token, which is stored; while Google cannot be asked, the old one as long as it is valid."""
        try:
            return self._mint(source, token)
        except errors.ConnectionFailed as error:
            if token is not None and token.access_token != rejected and token.left(time.time()) > 0:
                logs.current().warn("AUTH", f"refresh failed, the old token is used while it lasts: {error.message}")
                return token
            raise

    def _mint(self, source: Source, before: Token | None) -> Token:
        """Let google-auth make a token. The caller holds the lock, unless the source is the environment."""
        logs.current().info("AUTH", "refresh", {"source": source.kind, "type": source.info.get("type")})
        try:
            token, rotated = mint(source, self.config)
        except errors.LoginExpired:
            if source.kind == "session":
                self.files.forget(source.info["refresh_token"])
            raise
        if before is not None:
            token = msgspec.structs.replace(
                token, account=before.account, scopes=token.scopes if token.scopes is not None else before.scopes
            )
        if source.kind == "environment":
            return token
        if rotated is not None and source.kind == "session":
            login = self.files.read_login()
            if login is not None:
                self.files.write_login(msgspec.structs.replace(login, refresh_token=rotated))
                token = msgspec.structs.replace(token, key=self.source().key)
        self.files.write_token(token)
        return token


def _usable(token: Token | None, rejected: str | None) -> bool:
    if token is None or token.access_token == rejected:
        return False
    # A token that lives for a minute only must not be replaced at every use.
    return token.left(time.time()) > min(MARGIN, token.lifetime / 2)


def mint(source: Source, config: Config) -> tuple[Token, str | None]:
    """An access token for these credentials, and the refresh token that replaces theirs, if Google sent one.

    Raises:
        errors.LoginExpired: Google says `invalid_grant` (protocol C52).
        errors.AuthError: Google refuses them for another reason.
        errors.ConnectionFailed: Google could not be asked, or failed.
        errors.ConfigError: google-auth cannot read them.
    """
    import google.auth.exceptions
    import google.auth.transport
    import google.oauth2.credentials

    class Request(google.auth.transport.Request):
        """Sends google-auth's requests through our HTTP client."""

        answer: Any = None

        def __call__(
            self,
            url: str,
            method: str = "GET",
            body: Any = None,
            headers: Mapping[str, str] | None = None,
            timeout: float | None = None,
            **options: Any,
        ) -> http.Reply:
            content = body.encode() if isinstance(body, str) else body
            try:
                reply = http.exchange(method, url, content=content, headers=headers, timeout=timeout or TIMEOUT)
            except errors.ConnectionFailed as error:
                raise google.auth.exceptions.TransportError(error) from error  # type: ignore[no-untyped-call]
            text = answers.whole_characters(reply.data.decode("utf-8", "replace"))
            with contextlib.suppress(ValueError):
                self.answer = json.loads(text)
            return dataclasses.replace(reply, data=text.encode())  # google-auth reads it by itself

    request = Request()
    moment = time.time()
    try:
        made = _google(source, config)
        made.refresh(request)
    except google.auth.exceptions.TransportError as error:
        if isinstance(error.__cause__, errors.ConnectionFailed):
            raise error.__cause__ from error
        raise errors.ConnectionFailed(
            f"Google could not be asked for a token: {error}",
            hint="lecoder-cgpu doctor checks the network; then repeat the same command",
        ) from error
    except google.auth.exceptions.RefreshError as error:
        raise refusal(request.answer, error, source) from error
    except (TypeError, AttributeError, ArithmeticError) as error:  # of google-auth: no such answer
        raise refusal(None, error) from error
    except (google.auth.exceptions.GoogleAuthError, ValueError) as error:
        raise errors.ConfigError(
            f"the credentials cannot be used: {error}",
            name="BadCredentials",
            hint="where they come from: lecoder-cgpu auth status; log in: lecoder-cgpu auth login --force",
        ) from error
    answer = request.answer if isinstance(request.answer, dict) else {}
    scope = answer.get("scope")
    token = Token(
        key=source.key,
        access_token=made.token,
        obtained_at=moment,
        lifetime=lifetime(answer),
        scopes=scope.split() if isinstance(scope, str) else None,
    )
    rotated = answer.get("refresh_token")
    return token, rotated if isinstance(rotated, str) and rotated != source.info.get("refresh_token") else None


def _google(source: Source, config: Config) -> Any:
    """google-auth's object for these credentials."""
    info = source.info
    if info.get("type") == "authorized_user":
        import google.oauth2.credentials

        return google.oauth2.credentials.Credentials(  # type: ignore[no-untyped-call]
            token=None,
            refresh_token=info["refresh_token"],
            token_uri=info.get("token_uri") or token_uri(config),
            client_id=info["client_id"],
            client_secret=info["client_secret"],
        )
    import google.auth

    scopes = ["openid", "https://www.googleapis.com/auth/userinfo.email", credentials.COLAB, credentials.DRIVE_FILE]
    return google.auth.load_credentials_from_dict(info, scopes=scopes)[0]  # type: ignore[no-untyped-call]


def token_uri(config: Config) -> str:
    """The address of Google's token service."""
    return f"{origin(config, 'oauthDomain')}/token"


def origin(config: Config, key: str) -> str:
    """One of Google's origins, without a slash at its end."""
    return (config.get(key).value or "").rstrip("/")


def lifetime(answer: Mapping[str, Any]) -> float:
    """How many seconds the token of this answer lives. The number may come as text."""
    try:
        seconds = float(answer.get("expires_in", LIFETIME))
    except (TypeError, ValueError, OverflowError):
        return LIFETIME
    return seconds if 0 < seconds <= LONGEST else LIFETIME


def refusal(answer: Any, error: Exception, source: Source | None = None) -> errors.Error:
    """The error for an answer of the token service that holds no token (RFC 6749 §5.2)."""
    said = answer.get("error") if isinstance(answer, dict) else None
    detail = str(answer.get("error_description") or said or "") if isinstance(answer, dict) else ""
    if said == "invalid_grant":
        hint = f"log in again: {credentials.LOGIN} {credentials.OTHERWISE}"
        if source is not None and source.kind == "environment":
            hint = (
                "LECODER_CGPU_CREDENTIALS holds a login that has ended; on a machine that is logged in: "
                "lecoder-cgpu auth export --ci"
            )
        elif source is not None and source.kind == "adc":
            hint = "gcloud auth application-default login"
        return errors.LoginExpired(
            # protocol C53
            f"Google has ended this login: {detail} (revoked, or older than the 7 days that a client in testing gets)",
            hint=hint,
        )
    if said in ("invalid_client", "unauthorized_client"):
        return errors.AuthError(
            f"Google refuses the OAuth client: {detail}; the login was kept",
            name="ClientRefused",
            hint=f"check clientId and clientSecret, or set them anew: {credentials.SETUP_HINT}",
        )
    if isinstance(said, str) and not getattr(error, "retryable", False):
        return errors.AuthError(
            f"Google refuses the login: {detail}", name="RefreshRefused", hint="lecoder-cgpu auth login --force"
        )
    return errors.ServerError(
        f"Google's token service failed: {detail or 'its answer was not understood'}; the login was kept",
        hint="repeat the same command in a minute",
    )
