"""Settings, shown and changed: `config.json` of the profile in use, or what a profile sets that shares a login."""

from __future__ import annotations

import difflib
import re
from urllib.parse import urlsplit

from .. import errors
from ..auth import credentials
from ..backends import registry
from ..config import SETTINGS, Config, Setting
from ..models.profiles import OneSetting, SettingDocument, Settings
from . import profile_changes, saved_requests

# What these settings take; the others take any text.
CHOICES = {
    "keeper": ("on", "off"),
    "colabApi": ("tunnel", "public"),
    "refreshTokenIn": ("file", "keyring"),
    "auth": ("adc",),
}
NUMBERS = ("keeperInterval", "lossPause", "restartPause", "assignPause")
# What belongs to a login and its sessions, and is therefore that of the profile whose login it is.
OF_THE_LOGIN = ("storageDir", "auth", "refreshTokenIn", "clientId", "clientSecret")


def find(word: str) -> Setting:
    """The setting of that name, in the spelling of config.json, of its variable or of an option.

    Raises:
        errors.UsageError: there is none.
    """
    plain = _plain(word)
    for setting in SETTINGS:
        if plain in (_plain(setting.key), _plain(setting.env)):
            return setting
    keys = [setting.key for setting in SETTINGS]
    near = difflib.get_close_matches(word, keys, n=1)
    raise errors.UsageError(
        f"there is no setting {word!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        name="UnknownSetting",
        hint="lecoder-cgpu config show --all lists them",
    )


def _plain(word: str) -> str:
    return re.sub("[-_]", "", word).casefold().removeprefix("lecodercgpu")


def show(settings: Config) -> Settings:
    """Every setting as it is for this command, and where it comes from."""
    profile = settings.profile
    document = Settings(
        profile=profile.name,
        config_file=_file(settings),
        settings=[_document(settings, setting) for setting in SETTINGS],
    )
    if profile.request:
        document.request = saved_requests.of(profile.request, str(profile_changes.path()))
    return document


def get(settings: Config, word: str) -> OneSetting:
    """One setting."""
    setting = find(word)
    return OneSetting(profile=settings.profile.name, config_file=_file(settings), setting=_document(settings, setting))


def change(settings: Config, setting: Setting, value: str | None) -> OneSetting:
    """Set a setting for the profile in use; None takes it away.

    Raises:
        errors.UsageError: it does not take that value, or belongs to the profile whose login is shared.
    """
    if value is not None:
        value = value.strip()
        _check(setting, value)
    profile = settings.profile
    if profile.login != profile.name and settings.config_file is None:
        if setting.key in OF_THE_LOGIN:
            raise errors.UsageError(
                f"{setting.key} goes with the login, which profile {profile.name!r} shares with {profile.login!r}",
                hint=f"lecoder-cgpu --profile {profile.login} config set {setting.key} VALUE",
            )
        profile_changes.set_settings(profile.name, {setting.key: value})
    else:
        if setting.key in profile.settings:  # saved by `profile set`; its place is config.json from now on
            profile_changes.set_settings(profile.name, {setting.key: None})
        if value is not None or setting.key in settings.file:
            credentials.change_config(settings, {setting.key: value})
    return get(settings.fixed(), setting.key)


def _file(settings: Config) -> str:
    profile = settings.profile
    shared = profile.login != profile.name and settings.config_file is None
    return str(profile_changes.path() if shared else settings.path)


def _document(settings: Config, setting: Setting) -> SettingDocument:
    found = settings.get(setting.key)
    document = SettingDocument(
        key=setting.key,
        is_set=found.value is not None,
        source=found.source,
        variable=setting.env,
        help=setting.help,
    )
    if found.value is not None and not setting.secret:
        document.value = found.value
    return document


def _check(setting: Setting, value: str) -> None:
    problem = None
    if not value:
        problem = f"an empty {setting.key} says nothing"
    elif setting.key in CHOICES and value not in CHOICES[setting.key]:
        problem = f"{setting.key} is {' or '.join(CHOICES[setting.key])}, not {value!r}"
    elif setting.key in NUMBERS and not _is_number(value):
        problem = f"{setting.key} is a number of seconds, not {value!r}"
    elif setting.key.endswith(("Url", "Domain")) and not _is_address(value):
        problem = f"{setting.key} is an address (https://…), not {value!r}"
    elif setting.key == "backend" and not registry.is_known(value):
        problem = f"unknown backend {value!r}"
    if problem is None:
        return
    hint = f"lecoder-cgpu config unset {setting.key}" if not value else f"lecoder-cgpu reference setting {setting.key}"
    if setting.key == "backend" and value:
        hint = f"lecoder-cgpu config set backend {'|'.join(registry.names())}"
    raise errors.UsageError(problem, name="BadSetting", hint=hint)


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < 1e9
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
