"""Settings and where each came from; the only module that reads environment variables.

Precedence: command line, environment, the profile (`profiles.py`), `config.json`, default. Every value keeps its
source, so that a wrong one can be traced. `config.json` is shared with the predecessor: keys we do not know are left
alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from . import errors, profiles

DEFAULT_BACKEND = "colab"  # of those who choose none


class Setting(NamedTuple):
    """One setting: its `config.json` key, its environment variable and what it is for.

    `private`: a profile with a login of its own does not take it from the profile `default`. The others are about this
    installation, such as the OAuth client.
    """

    key: str
    env: str
    help: str
    default: str | None = None
    secret: bool = False
    private: bool = False


SETTINGS = (
    Setting(
        "backend",
        "LECODER_CGPU_BACKEND",
        "where runtimes come from: colab, jupyter, local, gateway or hub",
        DEFAULT_BACKEND,
        private=True,
    ),
    Setting(
        "jupyterUrl", "LECODER_CGPU_JUPYTER_URL", "address of a Jupyter server, for the jupyter backend", private=True
    ),
    Setting("jupyterToken", "LECODER_CGPU_JUPYTER_TOKEN", "token of that server", secret=True, private=True),
    Setting("hubUrl", "LECODER_CGPU_HUB_URL", "address of a JupyterHub, for the hub backend", private=True),
    Setting("hubToken", "LECODER_CGPU_HUB_TOKEN", "token of a user there", secret=True, private=True),
    Setting("localRoot", "LECODER_CGPU_LOCAL_ROOT", "working folder of the local runtime", private=True),
    Setting("storageDir", "LECODER_CGPU_STORAGE_DIR", "folder of the state files", private=True),
    Setting("clientId", "LECODER_CGPU_CLIENT_ID", "your own OAuth client, see auth setup"),
    Setting("clientSecret", "LECODER_CGPU_CLIENT_SECRET", "its secret", secret=True),
    Setting("auth", "LECODER_CGPU_AUTH", "adc: use Google's application default credentials", private=True),
    Setting(
        "refreshTokenIn",
        "LECODER_CGPU_REFRESH_TOKEN_IN",
        "keyring: keep new logins in the system's keyring instead of a file",
        "file",
    ),
    Setting(
        "colabApi", "LECODER_CGPU_COLAB_API", "Colab's control plane: tunnel, or the public API", "tunnel", private=True
    ),
    Setting(
        "colabClientAgent", "LECODER_CGPU_COLAB_CLIENT_AGENT", "the name under which Colab sees us", "lecoder-cgpu"
    ),
    Setting(
        "colabConsent",
        "LECODER_CGPU_COLAB_CONSENT",
        "drive, auth, or drive,auth: what code on any runtime is handed of the account without asking first",
    ),
    Setting("keeper", "LECODER_CGPU_KEEPER", "off: start no keeper", "on"),
    Setting("keeperInterval", "LECODER_CGPU_KEEPER_INTERVAL", "seconds between the keeper's rounds", "60"),
    Setting(
        "lossPause", "LECODER_CGPU_LOSS_PAUSE", "seconds that Colab's listing lacks a lost runtime, at least", "60"
    ),
    Setting("restartPause", "LECODER_CGPU_RESTART_PAUSE", "seconds between a job's loss and its next attempt", "60"),
    Setting(
        "assignPause", "LECODER_CGPU_ASSIGN_PAUSE", "seconds before a failed request for a runtime is repeated", "10"
    ),
    # Where Google's services are (protocol C1). A local server can stand in for each.
    Setting(
        "accountsDomain", "LECODER_CGPU_ACCOUNTS_DOMAIN", "origin of the consent page", "https://accounts.google.com"
    ),
    Setting("oauthDomain", "LECODER_CGPU_OAUTH_DOMAIN", "origin of the token service", "https://oauth2.googleapis.com"),
    Setting(
        "googleApisDomain",
        "LECODER_CGPU_GOOGLE_APIS_DOMAIN",
        "origin of userinfo and Drive",
        "https://www.googleapis.com",
    ),
    Setting(
        "colabApiDomain",
        "LECODER_CGPU_COLAB_API_DOMAIN",
        "origin of Colab's tunnel",
        "https://colab.research.google.com",
    ),
    Setting(
        "colabGapiDomain",
        "LECODER_CGPU_COLAB_GAPI_DOMAIN",
        "origin of Colab's private API",
        "https://colab.pa.googleapis.com",
    ),
    Setting(
        "colabPublicApiDomain",
        "LECODER_CGPU_COLAB_PUBLIC_API_DOMAIN",
        "origin of Colab's public API",
        "https://colaboratory.googleapis.com",
    ),
)


# What the predecessor wrote into every config.json and never called: the host does not answer.
_NEVER_CALLED = {"colabGapiDomain": "https://colab.googleapis.com"}

# Variables that are no settings: they say where the settings are, or how to print.
VARIABLES = {
    "LECODER_CGPU_CONFIG_DIR": "folder of config.json and of state/",
    "LECODER_CGPU_PROFILE": "the profile to act for, see profile list; --profile comes first",
    "LECODER_CGPU_WARM": "on: quick runs for scripts, by a prepared process and an open connection; always: in CI",
    "LECODER_CGPU_DEBUG": "1 mirrors the debug log to stderr",
    "LECODER_CGPU_CREDENTIALS": "a login for machines: what auth export --ci prints, or the path of such a file",
    "GOOGLE_APPLICATION_CREDENTIALS": "path of Google's application default credentials",
    "EDITOR": "the editor of edit; VISUAL comes first",
    "NO_COLOR": "any value: no colour",
    "CI": "any value: no questions and no colour; likewise AI_AGENT, CLAUDECODE and CODEX_SANDBOX",
    "XDG_CONFIG_HOME": "on Linux, where the folder lecoder-cgpu is, instead of ~/.config",
    "SSL_CERT_FILE": "certificate authorities to trust, for HTTP and WebSocket",
    "HTTPS_PROXY": "proxy for HTTPS and wss; likewise HTTP_PROXY and ALL_PROXY (socks5://… too), and NO_PROXY",
}

# Variables by which coding agents and CI services make themselves known.
UNATTENDED = ("CLAUDECODE", "CODEX_SANDBOX", "AI_AGENT", "CI")

# What lives in the configuration folder (Linux; macOS and Windows have folders of their own, see `config_dir`).
FILES = {
    "~/.config/lecoder-cgpu/config.json": "settings, and the OAuth client (id and secret)",
    "~/.config/lecoder-cgpu/profiles.json": "the profiles, and which one is used",
    "~/.config/lecoder-cgpu/profiles/NAME/": "config.json and state/ of a profile with a login of its own",
    "~/.config/lecoder-cgpu/state/session.json": "the login: refresh token, scopes, account",
    "~/.config/lecoder-cgpu/state/sessions.json": "the stored sessions",
    "~/.config/lecoder-cgpu/state/jobs/": "jobs that may be run again, and the files that they were sent with",
    "~/.config/lecoder-cgpu/state/history.jsonl": "what was run, and how it ended",
    "~/.config/lecoder-cgpu/state/logs/": "the debug log",
    "~/.config/lecoder-cgpu/state/colab/": "locks of the Colab sessions",
    "~/.config/lecoder-cgpu/state/local/": "servers of the local backend",
}

# Optional parts of the installation, and the modules by which they are recognised.
EXTRAS = {
    "local": ("jupyter_server", "ipykernel"),
    "repl": ("prompt_toolkit", "pygments"),
    "notebooks": ("jupytext", "yaml"),
    "remote": ("cloudpickle",),
    "mcp": ("mcp", "PIL"),
    "socks": ("socksio", "python_socks"),
    "keyring": ("keyring",),
}


class Value(NamedTuple):
    """A setting's value and its source: `option`, `environment`, `profile`, `config` or `default`."""

    value: str | None
    source: str


class Config:
    """The settings of one invocation.

    Raises `errors.ConfigError` when `config.json` is unreadable; commands that must work without it (such as `logs`)
    never ask for anything but the paths.
    """

    def __init__(
        self, options: dict[str, str] | None = None, config_file: Path | None = None, profile_name: str | None = None
    ) -> None:
        self.options = {} if options is None else options
        self.config_file = config_file
        self.profile_name = profile_name  # None is the one of the environment, else the one that is stored
        self._file: dict[str, Any] | None = None
        self._profile: profiles.Profile | None = None

    @property
    def profile(self) -> profiles.Profile:
        """The profile that this invocation acts for, to its end, whatever is chosen meanwhile.

        Raises:
            errors.UsageError, errors.ConfigError: see `profiles.chosen`.
        """
        if self._profile is None:
            variable = os.environ.get("LECODER_CGPU_PROFILE")
            self._profile = profiles.chosen(config_dir(), self.profile_name, variable)
        return self._profile

    @property
    def home(self) -> Path:
        """The folder of the login that is used."""
        return profiles.home(config_dir(), self.profile.login)

    @property
    def path(self) -> Path:
        return self.config_file or self.home / "config.json"

    @property
    def file(self) -> dict[str, Any]:
        """The content of `config.json`; `{}` when the file does not exist."""
        if self._file is None:
            self._file = read(self.path, required=self.config_file is not None)
        return self._file

    @cached_property
    def _common(self) -> dict[str, Any]:
        """The file of the profile `default`, for what is about this installation."""
        return read(config_dir() / "config.json")

    def reload(self) -> None:
        """Read the files again when they are needed next: they were changed."""
        self._file = None
        self.__dict__.pop("_common", None)

    def fixed(self) -> Config:
        """The same settings in an object of its own, for the profile of this one, whatever is chosen meanwhile."""
        return Config(dict(self.options), self.config_file, self.profile.name)

    def get(self, key: str) -> Value:
        setting = next(item for item in SETTINGS if item.key == key)
        if key in self.options:
            return Value(self.options[key], "option")
        if found := os.environ.get(setting.env):
            return Value(found, "environment")
        if found := self.profile.settings.get(key):
            return Value(found, "profile")
        path, found = self.path, self.file.get(key)
        if found is None and not setting.private and self.profile.login != profiles.DEFAULT and not self.config_file:
            path = config_dir() / "config.json"
            found = self._common.get(key)
        if found is not None:
            if not isinstance(found, str):
                raise errors.ConfigError(
                    f"{path}: {key} must be a string, not {type(found).__name__}",
                    hint=f'write it in quotes in {path}: "{key}": "…"',
                )
            if found == _NEVER_CALLED.get(key):
                return Value(setting.default, "default")
            return Value(found, "config")
        return Value(setting.default, "default")

    @property
    def client_agent(self) -> str:
        """The name under which Colab's services see us (protocol C4)."""
        return self.get("colabClientAgent").value or "lecoder-cgpu"

    @property
    def state_dir(self) -> Path:
        """The folder of the state files; a relative `storageDir` is taken from the folder of `config.json`.

        One that the environment names for every profile has a folder for each login.
        """
        chosen, source = self.get("storageDir")
        if chosen is None:
            return self.home / "state"
        named = self.path.parent / Path(chosen).expanduser()
        return named if source == "config" else profiles.home(named, self.profile.login)


def config_dir() -> Path:
    """Where the reference page says that files live. The macOS and Windows folders are the predecessor's."""
    if moved := os.environ.get("LECODER_CGPU_CONFIG_DIR"):
        return Path(moved).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Preferences" / "lecoder-cgpu"
    if sys.platform == "win32":
        base = os.environ.get("APPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Roaming") / "lecoder-cgpu" / "Config"
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "lecoder-cgpu"


def debug() -> bool:
    """Whether debug records are mirrored to stderr (`LECODER_CGPU_DEBUG`)."""
    return os.environ.get("LECODER_CGPU_DEBUG", "") not in ("", "0")


def unattended() -> bool:
    """Whether no person sits at the terminal, whatever `isatty` says: coding agents run in terminals, too."""
    return any(os.environ.get(name) for name in UNATTENDED)


def colour_allowed() -> bool:
    """False when the user asked for no colour (https://no-color.org), or the terminal cannot show it."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and not unattended()


def environment(name: str) -> str | None:
    """One variable of the local environment, for `--env NAME` and `--secret NAME`."""
    return os.environ.get(name)


def adc_file() -> Path | None:
    """Google's application default credentials: the file that the environment names, else gcloud's if it is there."""
    if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return Path(named).expanduser()
    folder = os.environ.get("CLOUDSDK_CONFIG")
    if folder is None and sys.platform == "win32":
        folder = str(Path(os.environ.get("APPDATA", "~")) / "gcloud")
    found = Path(folder or "~/.config/gcloud").expanduser() / "application_default_credentials.json"
    return found if found.exists() else None


@contextlib.contextmanager
def oauthlib(*, plain_http: bool) -> Iterator[None]:
    """With `plain_http`, oauthlib accepts `http://` inside the block: a server on this machine may stand in for Google.

    The environment is the only place where oauthlib looks.
    """
    name = "OAUTHLIB_INSECURE_TRANSPORT"
    before = os.environ.get(name)
    if plain_http:
        os.environ[name] = "1"
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before
        elif plain_http:
            os.environ.pop(name, None)


def child_environment(profile: str | None = None) -> dict[str, str]:
    """The environment for a process that we start ourselves on this machine.

    If this process belongs to a run of a runtime, that process does not: its environment lacks the run's mark.

    Args:
        profile: the profile that commands of ours in that process act for.
    """
    more = {} if profile is None else {"LECODER_CGPU_PROFILE": profile}
    return {name: value for name, value in os.environ.items() if name != "LECODER_CGPU_RUN"} | more


# What a process of ours may show in its environment: what finds programs, folders, certificates and settings. All else
# may hold secrets of the user, for whatever they ran when we started it.
_SHOWN = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"),
    *("WINDIR", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "PROGRAMDATA", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "CLOUDSDK_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("DBUS_SESSION_BUS_ADDRESS", "LD_PRELOAD"),
)
_SHOWN_PREFIXES = ("LC_", "XDG_", "PYTHON", "COVERAGE_")


def keeper_environment() -> tuple[dict[str, str], dict[str, str]]:
    """The environment for the keeper, which lives long: what it may show to who looks at processes, and what it is
    handed on its stdin, because it is a secret or may be one: a backend of another package has variables of its own."""
    secret = {"LECODER_CGPU_CREDENTIALS", *(setting.env for setting in SETTINGS if setting.secret)}
    shown: dict[str, str] = {}
    handed: dict[str, str] = {}
    for name, value in child_environment().items():
        common = name.upper() in _SHOWN or name.startswith((*_SHOWN_PREFIXES, "LECODER_CGPU_"))
        (shown if common and name not in secret else handed)[name] = value
    return shown, handed


def take_environment(handed: dict[str, str]) -> None:
    """In the keeper: use what `keeper_environment` has handed over, from now on."""
    os.environ.update(handed)


_pipes: dict[Path, bytes | None] = {}  # what was read from them; None: reading was begun


def _given(path: Path) -> bytes:
    """The content of a file that somebody named. It may be a pipe, as `<(COMMAND)` of a shell is: that is read once,
    and not waited for again when a signal has ended the reading.

    Raises:
        OSError: it cannot be read, or is too large.
    """
    if not path.exists() or path.is_file():
        return profiles.file_content(path)
    if path not in _pipes:
        _pipes[path] = None
        with open(path, "rb") as file:
            found = file.read(profiles.LARGEST + 1)
        if len(found) <= profiles.LARGEST:
            _pipes[path] = found
    content = _pipes[path]
    if content is None:
        raise OSError(errno.EINVAL, "it has no end, or was not read to its end")
    return content


def read(path: Path, *, required: bool = False) -> dict[str, Any]:
    """The JSON object in a file of settings; `{}` when the file does not exist and is not `required`.

    Raises:
        errors.ConfigError: it cannot be read, or is something else.
    """
    import json

    try:
        text = (_given(path) if required else profiles.file_content(path)).decode()
    except FileNotFoundError:
        if required:
            raise errors.ConfigError(
                f"{path}: no such file", hint="give another file to --config, or leave it out"
            ) from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise errors.ConfigError(f"{path} cannot be read: {why}", hint=f"chmod u+r {path}") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise errors.ConfigError(
            f"{path} is not JSON: {error}", hint=f"repair {path}, or move it away: mv {path} {path}.bad"
        ) from error
    if not isinstance(content, dict):
        raise errors.ConfigError(
            f"{path} must hold a JSON object", hint=f"repair {path}, or move it away: mv {path} {path}.bad"
        )
    return content
