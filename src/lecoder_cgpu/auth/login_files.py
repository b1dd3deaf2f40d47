"""The files of a login, which nothing else reads or writes.

`state/session.json` is the predecessor's file, readable in both directions unless the system's keyring has its token;
`state/token.json` caches the access token that was made from it; `state/logins/` holds logins that were begun and wait
for their code.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from .. import errors, profiles
from ..models.login import StoredLogin
from ..models.status import Account
from ..system import atomic_files as state
from ..system import logs, redaction
from . import system_keyring

T = TypeVar("T")

KEYRING: Literal["keyring"] = "keyring"


class Token(Struct, frozen=True, kw_only=True):
    """`token.json`: an access token. Times are seconds since the epoch by this machine's clock, which may be wrong."""

    key: str
    access_token: str = field(name="accessToken")
    obtained_at: float = field(name="obtainedAt")
    lifetime: float
    scopes: list[str] | None = None
    account: Account | None = None

    def left(self, now: float) -> float:
        """Seconds for which it is still valid; 0 when the clock was set back to before we got it."""
        age = now - self.obtained_at
        return self.lifetime - age if age >= -60 else 0.0

    def __repr__(self) -> str:
        return f"Token(lifetime={self.lifetime})"


class Pending(Struct, frozen=True, kw_only=True):
    """A login that waits for its code. `verifier` is the secret half of PKCE."""

    id: str
    client_id: str
    state: str
    verifier: str
    redirect_uri: str
    expires_at: float

    def __repr__(self) -> str:
        return f"Pending(id={self.id!r})"


class Files:
    """The login's files in the folder `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = folder / "session.json"
        self.token = folder / "token.json"
        self.pending = folder / "logins"

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Held while a token is minted or a login replaced. Waits as long as Google may take for another process."""
        return state.lock(self.token, wait=120.0)

    def read_login(self) -> StoredLogin | None:
        """The stored login, with its token wherever that is kept; None if nobody is logged in.

        Raises:
            errors.ConfigError: the file cannot be read, or is damaged (it is set aside then), or the keyring fails.
        """
        found = self._read_session()
        if found is not None and found.refresh_token_in == KEYRING:
            token = system_keyring.read(found.id)
            if token is None:
                raise errors.ConfigError(
                    "the system's keyring has no token of this login any more",
                    name="KeyringFailed",
                    hint="log in again: lecoder-cgpu auth login --force",
                )
            found = msgspec.structs.replace(found, refresh_token=token)
        if found is not None:
            redaction.protect(found.refresh_token)
        return found

    def account(self) -> Account | None:
        """Whose login is stored, without its token; None if nobody is logged in, or the file is damaged."""
        with contextlib.suppress(errors.ConfigError):
            found = self._read_session()
            return None if found is None else found.account
        return None

    def _read_session(self) -> StoredLogin | None:
        return _read(self.session, StoredLogin, "lecoder-cgpu auth login, or auth-import what was exported before")

    def write_login(self, login: StoredLogin) -> None:
        """Replace the stored login. Keys that only other programs know stay if the login has the same id.

        Raises:
            errors.ConfigError: it cannot be written, or is to be kept in a keyring that fails.
        """
        redaction.protect(login.refresh_token)
        kept: dict[str, Any] = {}
        earlier: StoredLogin | None = None
        with contextlib.suppress(OSError, *state.DAMAGED):
            before = msgspec.json.decode(profiles.file_content(self.session))
            if isinstance(before, dict) and before.get("id") == login.id:
                kept = {key: value for key, value in before.items() if key != "refreshTokenIn"}
            earlier = msgspec.convert(before, StoredLogin)
        in_file = login
        if login.refresh_token_in == KEYRING:
            system_keyring.write(login.id, login.refresh_token)
            in_file = msgspec.structs.replace(login, refresh_token="")
        content = {**kept, **msgspec.to_builtins(in_file)}
        state.write_atomic(self.session, json.dumps(content, indent=2, ensure_ascii=False).encode())
        if earlier is not None and (earlier.id != login.id or login.refresh_token_in != KEYRING):
            _leave_keyring(earlier)

    def forget(self, refused: str | None = None) -> bool:
        """Delete the login and its access token; with `refused`, only if that is still the refresh token.

        The caller holds the lock. Returns whether there was a login.
        """
        stored = None
        with contextlib.suppress(errors.ConfigError):
            stored = self._read_session()
        if refused is not None:
            try:
                login = self.read_login()
            except errors.ConfigError:
                login = None
            if login is None or login.refresh_token != refused:
                return False
        if stored is not None:
            _leave_keyring(stored)
        for path in (self.session, self.token):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise state.unusable(path, error) from error
        return stored is not None

    def read_token(self, key: str) -> Token | None:
        """The cached access token of the credentials with that key; None if there is none that can be read."""
        with contextlib.suppress(OSError, state.Damaged):
            token = state.decode(profiles.file_content(self.token), Token)
            redaction.protect(token.access_token)
            if token.key == key:
                return token
        return None

    def write_token(self, token: Token) -> None:
        redaction.protect(token.access_token)
        state.write_atomic(self.token, msgspec.json.encode(token))

    def read_pending(self, flow: str) -> Pending:
        """A login that was begun.

        Raises:
            errors.NotFoundError: there is no login with that id, or its time is over.
        """
        found = None
        if flow.isalnum():
            found = _read(self.pending / f"{flow}.json", Pending, "lecoder-cgpu auth login --start --json")
        if found is None or found.expires_at < time.time():
            raise errors.NotFoundError(
                f"no login {flow!r} waits for its code" + (": its time is over" if found else ""),
                name="LoginNotFound",
                hint="begin a new one: lecoder-cgpu auth login --start --json",
            )
        return found

    def write_pending(self, pending: Pending) -> None:
        """Store a login that was begun, and delete those whose time is over."""
        for path in self.pending.glob("*.json"):
            with contextlib.suppress(errors.ConfigError, OSError):
                old = _read(path, Pending, "")
                if old is not None and old.expires_at < time.time():
                    path.unlink()
        state.write_atomic(self.pending / f"{pending.id}.json", msgspec.json.encode(pending))

    def drop_pending(self, flow: str) -> None:
        with contextlib.suppress(OSError):
            (self.pending / f"{flow}.json").unlink()


def _leave_keyring(login: StoredLogin) -> None:
    """Take a login's token out of the keyring. A keyring that fails now keeps nothing from logging out."""
    if login.refresh_token_in == KEYRING:
        try:
            system_keyring.delete(login.id)
        except errors.ConfigError as error:
            logs.current().warn("AUTH", f"a token stays in the keyring: {error.message}")


def _read(path: Path, kind: type[T], hint: str) -> T | None:
    content = state.read(path)
    if content is None:
        return None
    try:
        return state.decode(content, kind)
    except state.Damaged as error:
        kept = state.set_aside(path)
        raise errors.ConfigError(
            f"{path} is damaged: {error}; it was kept as {kept.name}", name="DamagedLogin", hint=hint
        ) from error
