"""The documents of `profile` and `config`, and what `profiles.json` holds."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Optional
from .status import Account


class SavedRequest(Struct, kw_only=True):
    """What a profile asks runtimes for where a command says nothing itself. Times are seconds; null is no limit.

    `gpu` and `tpu` are names, the best first; an empty list of TPUs is any.
    """

    gpu: list[str] | Optional = UNSET
    tpu: list[str] | Optional = UNSET
    cpu: bool | Optional = UNSET
    high_ram: bool | Optional = field(name="highRam", default=UNSET)
    wait_for_capacity: float | Optional = field(name="waitForCapacity", default=UNSET)
    idle_release: float | Optional | None = field(name="idleRelease", default=UNSET)
    max_runtime: float | Optional | None = field(name="maxRuntime", default=UNSET)
    max_units: float | Optional | None = field(name="maxUnits", default=UNSET)
    server_options: dict[str, Any] | Optional = field(name="serverOptions", default=UNSET)


class StoredProfile(Struct, kw_only=True):
    """One profile in `profiles.json`. `shares` names the profile whose login, sessions and history it uses; without it,
    it has a folder of its own."""

    shares: str | Optional = UNSET
    settings: dict[str, str] | Optional = UNSET
    request: SavedRequest | Optional = UNSET


class StoredProfiles(Struct, kw_only=True):
    """`profiles.json`: the profile that commands use unless they name one, and what there is beside `default`."""

    active: str = "default"
    profiles: dict[str, StoredProfile] = field(default_factory=dict)


class ProfileDocument(Struct, kw_only=True):
    """A profile. `isActive`: `profile use` has chosen it. `isUsed`: this command acts for it.

    `shares` names the profile whose login, sessions and history are used, else they are its own, in `folder`.
    `authenticated` is about Google; `account` has the id `unknown` where nobody has told yet whose login it is.
    `request` is what runtimes are asked for with, `settings` what it sets beside its config.json; secrets are `***`.
    """

    name: str
    is_active: bool = field(name="isActive")
    is_used: bool = field(name="isUsed")
    shares: str | Optional = UNSET
    folder: str
    authenticated: bool
    account: Account | Optional = UNSET
    sessions: int | Optional = UNSET
    request: SavedRequest | Optional = UNSET
    settings: dict[str, str] | Optional = UNSET
    problem: str | Optional = UNSET


class ProfileList(Struct, kw_only=True):
    """`profile list`. `source` tells why this command acts for the profile `isUsed`: by an `option`, by the
    `environment`, as it is `stored`, or as the `default`."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    profiles: list[ProfileDocument]
    source: Literal["option", "environment", "stored", "default"] | Optional = UNSET
    notice: str | Optional = UNSET


class ProfileChanged(Struct, kw_only=True):
    """`profile create`, `set`, `use`, `rename` and `delete`: the profile as it is now, or was, and what to type
    next."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    action: Literal["created", "changed", "used", "renamed", "deleted"]
    profile: ProfileDocument
    next: str | Optional = UNSET
    notice: str | Optional = UNSET


class SettingDocument(Struct, kw_only=True):
    """A setting: its value, and where that comes from: `option`, `environment`, `profile`, `config` or `default`.

    A secret has no `value`, only `isSet`.
    """

    key: str
    is_set: bool = field(name="isSet")
    value: str | Optional = UNSET
    source: str
    variable: str
    help: str


class Settings(Struct, kw_only=True):
    """`config show`: every setting of the profile in use, and the file that `config set` writes."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    profile: str
    config_file: str = field(name="configFile")
    settings: list[SettingDocument]
    request: SavedRequest | Optional = UNSET


class OneSetting(Struct, kw_only=True):
    """`config get`, `set` and `unset`: the setting as it is for the next command."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    profile: str
    config_file: str = field(name="configFile")
    setting: SettingDocument
    notice: str | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "profile-list": ProfileList,
    "profile": ProfileChanged,
    "profiles-file": StoredProfiles,
    "config-show": Settings,
    "config": OneSetting,
}
