"""Stores, checks, imports and ends a login.

How a person gives consent is in `consent`. Whatever fails here leaves a working login as it is.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET

from .. import errors
from ..models.base import UNKNOWN_ACCOUNT
from ..models.login import StoredLogin
from ..models.status import Account
from ..net import answers, http
from ..system import logs
from . import credentials, system_keyring
from .credentials import Source
from .login_files import KEYRING, Token
from .tokens import TIMEOUT, Login, mint, origin

UNKNOWN = Account(id=UNKNOWN_ACCOUNT, label=UNKNOWN_ACCOUNT)


def as_the_predecessor(granted: list[str]) -> list[str]:
    """Granted scopes by the names and in the order that the predecessor expects; other scopes follow."""
    have = credentials.normal(granted)
    return [scope for scope in credentials.SCOPES if scope in have] + sorted(have - set(credentials.SCOPES))


def store(login: Login, stored: StoredLogin, token: Token) -> None:
    """Make this the login. It replaces the choice of application default credentials."""
    with login.files.lock():
        login.files.write_login(_in_its_place(login, stored))
        login.files.write_token(token)
    if login.config.get("auth").source == "config":
        credentials.change_config(login.config, {"auth": None})


def choose_place(login: Login, *, keyring: bool) -> None:
    """Keep the refresh token in the system's keyring, or in a file, from now on; that of a login there moves.

    Raises:
        errors.ConfigError: the keyring cannot be used. Everything stays as it was.
    """
    if keyring:
        system_keyring.check()
    with login.files.lock():
        stored = login.files.read_login()
        credentials.change_config(login.config, {"refreshTokenIn": KEYRING if keyring else None})
        if stored is not None:
            login.files.write_login(_in_its_place(login, stored))


def _in_its_place(login: Login, stored: StoredLogin) -> StoredLogin:
    """The login with the mark of where its token is kept.

    Raises:
        errors.ConfigError: the setting names no such place.
    """
    place = login.config.get("refreshTokenIn")
    if place.value not in (KEYRING, "file"):
        raise errors.ConfigError(
            f"refreshTokenIn is {place.value!r} (from {place.source})",
            hint='set it to "keyring" or "file"; lecoder-cgpu doctor shows the settings',
        )
    return msgspec.structs.replace(stored, refresh_token_in=KEYRING if place.value == KEYRING else UNSET)


def userinfo(login: Login, access_token: str) -> Account:
    """Whose token this is.

    Raises:
        errors.ConnectionFailed: Google could not be asked. errors.AuthError: its answer does not say.
    """
    url = f"{origin(login.config, 'googleApisDomain')}/oauth2/v2/userinfo"
    reply = http.exchange(
        "GET", url, headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"}, timeout=TIMEOUT
    )
    found = _object(reply)
    identity = found.get("email") or found.get("id")
    if reply.status != 200 or not isinstance(identity, str):
        raise errors.AuthError(
            f"Google does not say whose login this is (HTTP {reply.status})", hint="lecoder-cgpu auth login --force"
        )
    return Account(id=identity, label=str(found.get("name") or identity))


def tokeninfo(login: Login, access_token: str) -> dict[str, Any] | None:
    """What Google knows of a token: `scope`, `expires_in`, perhaps `email`; None if the token is invalid.

    Raises:
        errors.ConnectionFailed: Google could not be asked.
    """
    url = f"{origin(login.config, 'oauthDomain')}/tokeninfo?{urlencode({'access_token': access_token})}"
    reply = http.exchange("GET", url, timeout=TIMEOUT)
    if reply.status in (400, 401):
        return None
    if reply.status != 200:
        raise errors.ServerError(
            f"Google's token service failed with HTTP {reply.status}",
            hint="repeat the same command in a minute",
        )
    return _object(reply)


def revoke(login: Login, token: str) -> bool:
    """Let Google end a login everywhere; False if it did not confirm that."""
    content = urlencode({"token": token}).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        url = f"{origin(login.config, 'oauthDomain')}/revoke"
        return http.exchange("POST", url, content=content, headers=kind, timeout=TIMEOUT).status == 200
    except errors.ConnectionFailed as error:
        logs.current().warn("AUTH", f"not revoked: {error.message}")
        return False


def _object(reply: http.Reply) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        content = json.loads(answers.whole_characters(reply.data.decode("utf-8", "replace")))
        if isinstance(content, dict):
            return content
    return {}


def check(login: Login) -> Token:
    """Ask Google whether the login works, and remember what it allows (protocol C51) and whose it is.

    Raises:
        errors.AuthError: it does not work, or does not allow the use of Colab. errors.ConnectionFailed: no answer.
    """
    token = login.token()
    found = tokeninfo(login, token.access_token)
    if found is None:
        token = login.token(rejected=token.access_token)
        found = tokeninfo(login, token.access_token)
    if found is None:
        raise errors.TokenRefused(
            "Google does not take the token that it has just given",
            hint="lecoder-cgpu auth login --force",
        )
    source = login.source()
    scopes = found["scope"].split() if isinstance(found.get("scope"), str) else token.scopes
    account = source.account or token.account
    if account is None or account == UNKNOWN:
        try:
            account = userinfo(login, token.access_token)
        except errors.AuthError:
            email = found.get("email")
            account = Account(id=email, label=email) if isinstance(email, str) else account
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
        raise errors.ScopeMissing(
            f"the login does not allow the use of Colab: {' and '.join(missing)} was not granted",
            hint=credentials.ADC_COMMAND if source.kind == "adc" else "lecoder-cgpu auth login --force",
        )
    return token


def use_adc(login: Login) -> None:
    """Use application default credentials from now on, after proving that they allow the use of Colab (protocol C54).

    Raises:
        errors.ConfigError: there are none. errors.AuthError: they do not allow it. In both cases nothing has changed.
    """
    settings = login.config.fixed()
    settings.options["auth"] = "adc"
    trial = Login(settings, login.files.folder)
    check(trial)
    credentials.change_config(login.config, {"auth": "adc"})


def take(login: Login, content: str, *, replace: bool) -> StoredLogin:
    """Store a login that was exported on another machine, after proving that it works.

    Args:
        content: the bare session, or the whole document of `auth export`.
        replace: replace a login that is there already.

    Raises:
        errors.UsageError: this is neither, or there is a login already. errors.AuthError: it does not work.
        In each case the earlier login stays.
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
                f"there is a login already, of {before.account.id}",
                name="LoginExists",
                hint="replace it: lecoder-cgpu auth import --force",
            )
        if known is not None and own != known:
            raise errors.UsageError(
                f"this login belongs to another OAuth client than {login.config.path} has",
                name="ClientDiffers",
                hint="replace both: lecoder-cgpu auth import --force",
            )
    source = Source(kind="session", info=credentials.user(own, given.refresh_token))
    token, rotated = mint(source, login.config)
    account = given.account or userinfo(login, token.access_token)
    granted = token.scopes if token.scopes is not None else UNSET
    stored = StoredLogin(
        id=given.id,
        refresh_token=rotated or given.refresh_token,
        scopes=given.scopes if token.scopes is None else as_the_predecessor(token.scopes),
        account=account,
        granted_scopes=granted if granted is UNSET else sorted(granted),
    )
    if own != known:
        credentials.change_config(login.config, {"clientId": own.id, "clientSecret": own.secret})
    key = Source(kind="session", info=credentials.user(own, stored.refresh_token)).key
    store(login, stored, msgspec.structs.replace(token, key=key))
    return stored


def log_out(login: Login, *, keep_grant: bool) -> tuple[bool, bool]:
    """Delete the login. Returns whether there was one, and whether Google has revoked it everywhere."""
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
