"""The sources of credentials, and the user's own OAuth client in `config.json`. Nothing here uses the network.

Credentials have four sources; the first that exists wins: `LECODER_CGPU_CREDENTIALS`, application default credentials
chosen by `auth login --adc`, the stored login, and `GOOGLE_APPLICATION_CREDENTIALS`.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, field

from .. import config, errors, profiles
from ..models.base import Optional
from ..models.login import OAuthClient
from ..models.status import Account
from ..system import atomic_files as state
from ..system import redaction
from .login_files import Files

COLAB = "https://www.googleapis.com/auth/colaboratory"
DRIVE_FILE = "https://www.googleapis.com/auth/drive.file"
DRIVE = "https://www.googleapis.com/auth/drive"
EMAIL = "email"
PROFILE = "profile"
# What a login asks for. The predecessor takes a session.json for absent unless it lists all four.
SCOPES = (PROFILE, EMAIL, COLAB, DRIVE_FILE)
NEEDED_FOR = {EMAIL: "Colab", COLAB: "Colab", DRIVE_FILE: "notebooks on Drive", PROFILE: "the account's name"}
_ALIASES = {
    "https://www.googleapis.com/auth/userinfo.email": EMAIL,
    "https://www.googleapis.com/auth/userinfo.profile": PROFILE,
}

LOGIN = "lecoder-cgpu auth login"
OTHERWISE = (
    "(without a browser here: lecoder-cgpu auth login --start --json); "
    'or try it without an account: lecoder-cgpu --backend local run -m kernel "print(6*7)"'
)
ADC_COMMAND = "gcloud auth application-default login --scopes=" + ",".join(
    (
        "openid",
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/userinfo.email",
        COLAB,
        DRIVE_FILE,
    )
)
SETUP_HINT = "lecoder-cgpu auth setup CLIENT_FILE (lecoder-cgpu auth setup explains how to get one)"


def normal(scopes: Iterable[str]) -> frozenset[str]:
    """Scopes with Google's long names of `email` and `profile` (protocol C50) as the short ones that we ask for."""
    return frozenset(_ALIASES.get(scope, scope) for scope in scopes)


class Source(Struct, frozen=True, kw_only=True):
    """Credentials in google-auth's form (`info` has a `type` such as `authorized_user`), and what is known of them."""

    kind: Literal["environment", "adc", "session"]
    info: dict[str, Any]
    account: Account | None = None
    granted: frozenset[str] | None = None

    @property
    def key(self) -> str:
        """Identifies the credentials that a cached access token was made from, without revealing them."""
        return hashlib.sha256(json.dumps(self.info, sort_keys=True).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Source(kind={self.kind!r}, type={self.info.get('type')!r})"


# --- the user's OAuth client --------------------------------------------------------------------------------------


def client(settings: config.Config) -> OAuthClient | None:
    """The OAuth client of `config.json` or the environment; None if its id or its secret is missing."""
    found = settings.get("clientId").value, settings.get("clientSecret").value
    redaction.protect(found[1])
    return OAuthClient(id=found[0], secret=found[1]) if found[0] and found[1] else None


def login_steps(settings: config.Config) -> str:
    """The commands that log in, in their order: without an OAuth client, `auth login` alone would only fail."""
    try:
        missing = client(settings) is None
    except errors.ConfigError:
        missing = False
    return "lecoder-cgpu auth setup (once: an OAuth client), then: lecoder-cgpu auth login" if missing else LOGIN


def login_hint(settings: config.Config) -> str:
    """What to do where nobody is logged in."""
    return f"log in with: {login_steps(settings)} {OTHERWISE}"


def no_client(settings: config.Config) -> errors.AuthError:
    """The error for a login without an OAuth client."""
    return errors.NoClient(f"there is no OAuth client (clientId and clientSecret) in {settings.path}", hint=SETUP_HINT)


def change_config(settings: config.Config, changes: dict[str, str | None]) -> None:
    """Set keys of `config.json` (None removes one); all others stay as they are.

    The two origins that the predecessor insists on are added where they are missing, but not in the file of a profile,
    which the predecessor never reads, and which would no longer take them from the profile `default`.
    """
    origins = {
        "colabApiDomain": "https://colab.research.google.com",
        "colabGapiDomain": "https://colab.pa.googleapis.com",
    }
    with state.lock(settings.path):
        content = {
            **(origins if settings.profile.login == profiles.DEFAULT else {}),
            **config.read(settings.path),
            **changes,
        }
        kept = {key: value for key, value in content.items() if value is not None}
        state.write_atomic(settings.path, (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode())
    settings.reload()


def decode_client(content: bytes) -> OAuthClient:
    """The client in a file that Google's console offers for download.

    Raises:
        errors.UsageError: it is something else.
    """
    hint = 'download the JSON of a client of type "Desktop app"; lecoder-cgpu auth setup explains how to make one'
    try:
        document = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise errors.UsageError(f"this is no client file: {error}", name="BadClientFile", hint=hint) from error
    if "web" in document:
        raise errors.UsageError('this is a client of type "Web application"', name="BadClientFile", hint=hint)
    found = document.get("installed", document)
    try:
        return msgspec.convert({"clientId": found["client_id"], "clientSecret": found["client_secret"]}, OAuthClient)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise errors.UsageError(
            "this is no client file: it has no client_id and client_secret", name="BadClientFile", hint=hint
        ) from error


# --- where credentials come from ----------------------------------------------------------------------------------


class Exported(Struct, frozen=True, kw_only=True):
    """A login as `auth-export` prints it, or as somebody wrote it by hand; Google can be asked for what is missing."""

    refresh_token: str = field(name="refreshToken")
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    scopes: list[str] = field(default_factory=list)
    account: Account | None = None
    granted_scopes: list[str] | Optional = field(name="grantedScopes", default=UNSET)

    def __repr__(self) -> str:
        return f"Exported(id={self.id!r})"


def decode_export(content: str | bytes) -> tuple[Exported, OAuthClient | None]:
    """A bare session, or the whole document of `auth export`, and the client that came along.

    Raises:
        ValueError: it is neither. The message says what is wrong and holds no secret.
    """
    document = msgspec.json.decode(content, type=dict[str, Any])
    inner = document.get("session", document)
    login = msgspec.convert(inner, Exported)
    if not login.refresh_token:
        raise ValueError("refreshToken is empty")
    redaction.protect(login.refresh_token)
    packed = document.get("client")
    return login, msgspec.convert(packed, OAuthClient) if packed is not None else None


def find(settings: config.Config, files: Files) -> Source | None:
    """The credentials to use; None if there are none. Nothing is asked for over the network.

    Raises:
        errors.ConfigError: they cannot be read. errors.AuthError: the OAuth client is missing.
    """
    if given := config.environment("LECODER_CGPU_CREDENTIALS"):
        return _from_environment(settings, given)
    chosen = settings.get("auth")
    if chosen.value not in (None, "adc"):
        raise errors.ConfigError(
            f"auth is {chosen.value!r} (from {chosen.source})",
            hint='set "auth" to "adc" or leave it out; lecoder-cgpu doctor shows the settings',
        )
    if chosen.value == "adc":
        return _from_file(config.adc_file())
    login = files.read_login()
    if login is not None:
        own = client(settings)
        if own is None:
            raise no_client(settings)
        granted = None if login.granted_scopes is UNSET else normal(login.granted_scopes)
        return Source(kind="session", info=user(own, login.refresh_token), account=login.account, granted=granted)
    if config.environment("GOOGLE_APPLICATION_CREDENTIALS"):
        return _from_file(config.adc_file())
    return None


def user(own: OAuthClient, refresh_token: str) -> dict[str, Any]:
    """A refresh token with its client, in the form that google-auth reads."""
    return {
        "type": "authorized_user",
        "client_id": own.id,
        "client_secret": own.secret,
        "refresh_token": refresh_token,
    }


def _from_environment(settings: config.Config, given: str) -> Source:
    """The credentials that the variable holds or whose file it names.

    Its value is never told: what is no path of a file may be a secret that was encoded or quoted once too often.
    """
    hint = "it takes JSON or a path: what `lecoder-cgpu auth export --ci` prints, or a credentials file of Google's"
    name = "LECODER_CGPU_CREDENTIALS"
    redaction.protect(given, given.strip(), str(Path(given)))
    try:
        content: str | bytes = given if given.lstrip().startswith("{") else Path(given).expanduser().read_bytes()
    except FileNotFoundError:
        problem = "is neither JSON nor the path of a file"
    except (OSError, ValueError, RuntimeError) as error:  # too long for a name, a NUL, no home to expand
        problem = f"names nothing that can be read ({getattr(error, 'strerror', None) or type(error).__name__})"
    else:
        try:
            return _source(content, "environment", settings)
        except ValueError as error:
            problem = f"cannot be used: {error}"
    # Raised where no other error is at work, whose text would hold the value.
    raise errors.ConfigError(f"{name} {problem}", name="BadCredentials", hint=hint)


def _from_file(path: Path | None) -> Source:
    hint = "lecoder-cgpu auth login --help tells how credentials are found"
    if path is None:
        raise errors.ConfigError(
            "there are no application default credentials",
            name="BadCredentials",
            hint=ADC_COMMAND,
        )
    try:
        return _source(path.read_bytes(), "adc", None)
    except OSError as error:
        raise errors.ConfigError(
            f"{path} cannot be read: {error.strerror}", name="BadCredentials", hint=hint
        ) from error
    except ValueError as error:
        raise errors.ConfigError(f"{path} cannot be used: {error}", name="BadCredentials", hint=hint) from error


def _source(content: str | bytes, kind: Literal["environment", "adc"], settings: config.Config | None) -> Source:
    """Credentials from JSON: Google's own formats, or a login that was exported.

    Raises:
        ValueError: it is neither.
    """
    document = msgspec.json.decode(content, type=dict[str, Any])
    redaction.protect(*(document.get(name) for name in ("client_secret", "refresh_token", "private_key")))
    if isinstance(document.get("type"), str):
        if document["type"] == "authorized_user":
            for name in ("client_id", "client_secret", "refresh_token"):
                if not isinstance(document.get(name), str) or not document[name]:
                    raise ValueError(f"{name} is missing")
        email = document.get("client_email") or document.get("account")
        account = Account(id=email, label=email) if isinstance(email, str) and email else None
        return Source(kind=kind, info=document, account=account)
    login, packed = decode_export(content)
    own = packed or (client(settings) if settings is not None else None)
    if own is None:
        raise ValueError("it has no OAuth client, and config.json has none either")
    granted = None if login.granted_scopes is UNSET else normal(login.granted_scopes)
    return Source(kind=kind, info=user(own, login.refresh_token), account=login.account, granted=granted)
