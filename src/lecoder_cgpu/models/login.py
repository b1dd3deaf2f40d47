"""The documents of `auth` and `policy`, and the files of the login."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Optional
from .status import Account


class OAuthClient(Struct, frozen=True, kw_only=True):
    """The user's own OAuth client ("Desktop app"). Google does not take its secret for confidential; we do."""

    id: str = field(name="clientId")
    secret: str = field(name="clientSecret")

    def __repr__(self) -> str:
        return f"OAuthClient(id={self.id!r})"


class StoredLogin(Struct, frozen=True, kw_only=True):
    """`session.json`. `refreshToken` is the secret from which access tokens are made.

    `scopes` lists the scopes that were asked for, where the predecessor looks for them. `grantedScopes` is a field of
    ours: what Google really granted. With `refreshTokenIn` the file's `refreshToken` is empty, and the token is where
    that says, under the login's `id`.
    """

    id: str
    refresh_token: str = field(name="refreshToken")
    scopes: list[str]
    account: Account
    granted_scopes: list[str] | Optional = field(name="grantedScopes", default=UNSET)
    refresh_token_in: Literal["keyring"] | Optional = field(name="refreshTokenIn", default=UNSET)

    def __repr__(self) -> str:
        return f"StoredLogin(account={self.account.id!r})"


class LoginInfo(Struct, kw_only=True):
    """`auth status`, `auth check`, and a login or an import that succeeded.

    `source`: `session` (session.json), `adc` (application default credentials), `environment`
    (LECODER_CGPU_CREDENTIALS) or `none`. `profile` is the one whose login it is. `scopes` is what Google granted,
    absent if we have not asked yet; `missingScopes` is what it did not grant. `policy` names the command that shows
    what Colab does not allow.
    """

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    authenticated: bool
    profile: str = "default"
    source: Literal["session", "adc", "environment", "none"]
    account: Account | Optional = UNSET
    scopes: list[str] | Optional = UNSET
    missing_scopes: list[str] | Optional = field(name="missingScopes", default=UNSET)
    token_expires_at: str | Optional = field(name="tokenExpiresAt", default=UNSET)
    client_id: str | Optional = field(name="clientId", default=UNSET)
    config_file: str = field(name="configFile")
    session_file: str = field(name="sessionFile")
    checked: bool = False
    message: str | Optional = UNSET
    notice: str | Optional = UNSET
    policy: str = "lecoder-cgpu policy"


class LoginStarted(Struct, kw_only=True):
    """`auth login --start`: a person opens `url`; `next` is the command that takes the answer on stdin. `profile` is
    the one that gets the login, and `account` whose login that replaces, or `unknown`."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    url: str
    flow_id: str = field(name="flowId")
    expires_at: str = field(name="expiresAt")
    next: str
    profile: str = "default"
    account: str | Optional = UNSET


class LoginExport(Struct, kw_only=True):
    """`auth export`, the only document that holds a token; with `--ci` also the OAuth client that goes with it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: StoredLogin
    client: OAuthClient | Optional = UNSET
    instructions: str


class LoggedOut(Struct, kw_only=True):
    """`auth logout`: whether there was a login here, whose (`unknown` if nobody has told), and whether Google has
    revoked it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    logged_out: bool = field(name="loggedOut")
    revoked: bool = False
    account: Account | Optional = UNSET
    profile: str = "default"
    notice: str | Optional = UNSET


class ClientSetup(Struct, kw_only=True):
    """`auth setup`: how to make an OAuth client, or the one that is in `config.json` now."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    config_file: str = field(name="configFile")
    client_id: str | Optional = field(name="clientId", default=UNSET)
    steps: list[str] | Optional = UNSET


class Policy(Struct, kw_only=True):
    """`policy`: what Colab's terms allow, in our words, and links to Google's."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    points: list[str]
    links: list[str]


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "auth-status": LoginInfo,
    "auth-start": LoginStarted,
    "auth-export": LoginExport,
    "auth-logout": LoggedOut,
    "auth-setup": ClientSetup,
    "policy": Policy,
    "session-file": StoredLogin,
}
