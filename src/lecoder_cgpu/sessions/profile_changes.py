"""Profiles: listed, made, changed, chosen, renamed and deleted. What a profile is, `lecoder_cgpu.profiles` says.

Whatever fails here leaves `profiles.json` and every folder as they are. Nothing that is held, and no login, is lost
with a profile: it has to be given back, or logged out, before.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, structs

from .. import errors, profiles
from ..auth.lifecycle import UNKNOWN
from ..backends.protocol import RuntimeRequest
from ..config import SETTINGS, Config, config_dir
from ..models.profiles import ProfileDocument, ProfileList, SavedRequest, StoredProfile, StoredProfiles
from ..models.status import HeldElsewhere
from ..store import lifecycle
from ..store.session_store import Record, Store
from ..system import atomic_files
from . import keeper_process, saved_requests
from .manager import SessionManager

REQUEST = tuple(name.replace("_", "-") for name in SavedRequest.__struct_fields__)  # what `--unset` takes


def path() -> Path:
    """The file of the profiles."""
    return config_dir() / profiles.FILE


def read() -> StoredProfiles:
    """What is stored.

    Raises:
        errors.ConfigError: it cannot be used.
    """
    content = profiles.read(path())
    for own in content["profiles"].values():
        saved_requests.of(own.get("request") or {}, str(path()))
    return msgspec.convert(content, StoredProfiles)


@contextlib.contextmanager
def _changing() -> Iterator[StoredProfiles]:
    """What is stored, to be changed in place; written at the end, with nobody else writing in between."""
    with atomic_files.lock(path()):
        stored = read()
        before = msgspec.json.encode(stored)
        yield stored
        if (content := msgspec.json.encode(stored)) != before:
            atomic_files.write_atomic(path(), msgspec.json.format(content, indent=2) + b"\n")


def find(stored: StoredProfiles, name: str) -> str:
    """The name of a profile as it was given to it.

    Raises:
        errors.UsageError: there is none.
    """
    found = profiles.spelled(stored.profiles, name)
    if found is None:
        raise profiles.unknown(stored.profiles, name)
    return found


# --- looking ---


def everything(used: Config) -> ProfileList:
    """Every profile, `default` first.

    Args:
        used: the settings of this command.

    Raises:
        errors.UsageError: it acts for a profile that does not exist. errors.ConfigError: the file cannot be used.
    """
    stored = read()
    document = ProfileList(profiles=[])
    try:
        profile = used.profile
    except errors.ConfigError as error:  # the stored choice names none; a list has to show what there is
        document.notice = error.message
    else:
        document.source = profile.source  # type: ignore[assignment]
    for name in (profiles.DEFAULT, *sorted(stored.profiles.keys() - {profiles.DEFAULT})):
        document.profiles.append(one(stored, name, used))
    return document


def one(stored: StoredProfiles, name: str, used: Config) -> ProfileDocument:
    """One profile, as far as it is known here: Google is not asked."""
    own = stored.profiles.get(name, StoredProfile())
    settings = Config(profile_name=name)
    document = ProfileDocument(
        name=name,
        is_active=stored.active == name,
        is_used=_used(used) == name,
        shares=own.shares,
        folder=str(profiles.home(config_dir(), own.shares or name)),
        authenticated=False,
        request=own.request,
        settings=_shown(own.settings),
    )
    try:
        manager = SessionManager(settings)
        document.authenticated = manager.login.is_logged_in()
        if document.authenticated:
            document.account = manager.login.account() or UNKNOWN
        document.sessions = len(manager.store.records())
    except errors.Error as error:  # what is wrong with one profile hides no other
        document.problem = error.message
    return document


def _used(used: Config) -> str | None:
    try:
        return used.profile.name
    except errors.ConfigError:
        return None


def _shown(settings: Any) -> Any:
    if not settings:
        return UNSET
    secrets = {setting.key for setting in SETTINGS if setting.secret}
    return {key: "***" if key in secrets else value for key, value in settings.items()}


def held_elsewhere(used: Config) -> list[HeldElsewhere]:
    """What the profiles hold that have another login than the one in use."""
    found: list[HeldElsewhere] = []
    for name in (profiles.DEFAULT, *sorted(read().profiles)):
        settings = Config(profile_name=name)
        if settings.profile.login in (used.profile.login, *(item.profile for item in found)):
            continue
        with contextlib.suppress(errors.ConfigError):  # `profile list` tells
            costs = [item.name for item in Store(settings.state_dir).records() if _may_cost(item)]
            if costs:
                found.append(HeldElsewhere(profile=settings.profile.login, sessions=costs))
    return found


def _may_cost(record: Record) -> bool:
    return record.allocation is not None and lifecycle.billing(record) != "none"


# --- changing ---


def create(used: Config, name: str, *, share: bool) -> ProfileDocument:
    """Make a profile with a login of its own, or one that shares that of the profile in use.

    Raises:
        errors.UsageError: that is no name for it, or there is such a profile.
    """
    with _changing() as stored:
        _check_new(stored, name)
        owner = used.profile.login if share else UNSET
        stored.profiles[name] = StoredProfile(shares=owner)
        if not share:
            atomic_files.ensure_dir(profiles.home(config_dir(), name))
    return one(stored, name, used)


def _check_new(stored: StoredProfiles, name: str) -> None:
    if not profiles.NAME.fullmatch(name):
        raise errors.UsageError(
            f"{name!r} cannot be a profile's name",
            hint="use letters, digits, '_' and '-', beginning with a letter or digit: lecoder-cgpu profile create work",
        )
    taken = profiles.spelled(stored.profiles, name)
    if taken is not None:
        alike = "" if taken == name else f", which differs from {name!r} in capital letters only"
        raise errors.UsageError(
            f"there is a profile {taken!r} already{alike}",
            name="ProfileExists",
            hint=f"choose another name; {profiles.LIST} shows them",
        )


def keep_request(
    used: Config, name: str, wants: RuntimeRequest, *, backend: str | None, unset: list[str]
) -> tuple[ProfileDocument, bool]:
    """Save what a profile asks runtimes for; one that does not exist is made, and shares the login of the one in use.

    Args:
        wants: what is said now; the rest stays. backend: where its runtimes come from, from now on.
        unset: names of `REQUEST`, and `backend`, that are taken away.

    Returns:
        The profile, and whether it is new.

    Raises:
        errors.UsageError: the backend has no such runtimes, or there is no such accelerator.
    """
    with _changing() as stored:
        known = profiles.spelled(stored.profiles, name)
        if known is None:
            _check_new(stored, name)
        name = known or name
        own = stored.profiles.setdefault(
            name, StoredProfile() if known is not None else StoredProfile(shares=used.profile.login)
        )
        settings = dict(own.settings or {})
        if backend is not None:
            settings["backend"] = backend
        elif "backend" in unset:
            settings.pop("backend", None)
        before = structs.replace(
            own.request or SavedRequest(), **{item.replace("-", "_"): UNSET for item in unset if item in REQUEST}
        )
        found = saved_requests.joined(before, saved_requests.saved(wants))
        _check_request(name, own, settings, found)
        own.settings = settings or UNSET
        own.request = found if saved_requests.words(found) else UNSET
    return one(stored, name, used), known is None


def set_settings(name: str, changes: dict[str, str | None]) -> None:
    """Set settings of a profile that has no config.json of its own; None takes one away.

    Raises:
        errors.UsageError: there is no such profile.
    """
    with _changing() as stored:
        own = stored.profiles[find(stored, name)]
        settings = {**(own.settings or {}), **changes}
        own.settings = {key: value for key, value in settings.items() if value is not None} or UNSET


def _check_request(name: str, own: StoredProfile, settings: dict[str, str], kept: SavedRequest) -> None:
    """Refuse what the profile's backend could never give."""
    wants = saved_requests.request(kept)
    options = {"backend": settings["backend"]} if "backend" in settings else {}
    manager = SessionManager(Config(options=options, profile_name=own.shares or name))
    manager.check_kind(manager.chosen, wants)
    if wants.gpu or wants.tpu:
        with contextlib.suppress(errors.AuthError, errors.ConfigError):  # what is missing is asked for by a run
            manager.backend(manager.chosen).create("profile", wants)


def use(used: Config, name: str) -> ProfileDocument:
    """Act for that profile from now on, wherever nothing else is said.

    Raises:
        errors.UsageError: there is none.
    """
    with _changing() as stored:
        stored.active = find(stored, name)
    return one(stored, stored.active, used)


def rename(used: Config, name: str, to: str) -> ProfileDocument:
    """Give a profile another name.

    Raises:
        errors.UsageError: there is none, it is `default`, it has sessions, or the new name cannot be used.
    """
    with _changing() as stored:
        name = find(stored, name)
        if name == profiles.DEFAULT:
            raise errors.UsageError(
                "the profile 'default' is the configuration folder itself, and keeps its name",
                hint="lecoder-cgpu profile create NAME",
            )
        if used.profile.name == name and stored.active != name:
            raise errors.UsageError(
                f"profile {name!r} is the one in use here, and would not be found any more",
                name="ProfileInUse",
                hint="without --profile: unset LECODER_CGPU_PROFILE",
            )
        _check_new(
            StoredProfiles(profiles={item: value for item, value in stored.profiles.items() if item != name}), to
        )
        if stored.profiles[name].shares is UNSET:
            _refuse_held(name, "its folder moves")
            _move(_folders(name), to)
        stored.profiles = {to if item == name else item: value for item, value in stored.profiles.items()}
        for other in stored.profiles.values():
            if other.shares == name:
                other.shares = to
        if stored.active == name:
            stored.active = to
    return one(stored, to, used)


def _folders(name: str) -> list[Path]:
    """The folders of a profile with a login of its own that are there; nobody uses them from now on.

    A folder of state that the user has named is not among them.
    """
    folder, state = profiles.home(config_dir(), name), Config(profile_name=name).state_dir
    if state.exists():
        keeper_process.stop(state)
    return [found for found in dict.fromkeys([folder, *([state] if state.name == name else [])]) if found.exists()]


def _move(folders: list[Path], to: str) -> None:
    for source in folders:
        try:
            source.rename(source.with_name(to))
        except OSError as error:
            raise errors.ConfigError(
                f"{source} cannot be renamed to {to}: {error.strerror}", hint=f"look at it: ls {source.parent}"
            ) from error


def delete(used: Config, name: str, *, login: bool) -> ProfileDocument:
    """Forget a profile, and its folder if it has one.

    Args:
        login: delete its login, too, instead of refusing.

    Raises:
        errors.UsageError: there is none; it is `default` or the one in use; it has sessions or a login; or another
            profile shares its login.
    """
    with _changing() as stored:
        name = find(stored, name)
        if name == profiles.DEFAULT:
            raise errors.UsageError(
                "the profile 'default' cannot be deleted; it is what there is without any",
                hint="its login: lecoder-cgpu --profile default logout; "
                "its runtimes: lecoder-cgpu --profile default sessions close --all",
            )
        if name in (stored.active, used.profile.name):
            raise errors.UsageError(
                f"profile {name!r} is the one in use, and another account is never chosen by itself",
                name="ProfileInUse",
                hint="first: lecoder-cgpu profile use default"
                if stored.active == name
                else "without --profile: unset LECODER_CGPU_PROFILE",
            )
        sharing = [item for item, other in stored.profiles.items() if other.shares == name]
        if sharing:
            raise errors.UsageError(
                f"{', '.join(sharing)} would lose the login of {name!r}",
                name="ProfileInUse",
                hint=f"first: lecoder-cgpu profile delete {sharing[0]}",
            )
        document = one(stored, name, used)
        if stored.profiles[name].shares is UNSET:
            _refuse_held(name, "it is deleted")
            _refuse_login(name, login=login)
            _erase(_folders(name))
        del stored.profiles[name]
    return document


def _refuse_held(name: str, why: str) -> None:
    """Refuse while there are sessions: their runtimes may cost, and records of them would be lost."""
    records = SessionManager(Config(profile_name=name)).store.records()
    if not records:
        return
    costs = [record.name for record in records if _may_cost(record)]
    held = f", and {', '.join(costs)} may cost" if costs else ""
    raise errors.UsageError(
        f"profile {name!r} has sessions ({', '.join(record.name for record in records)}){held}; before {why}, they end",
        name="ProfileInUse",
        hint=f"lecoder-cgpu --profile {name} sessions close --all",
    )


def _refuse_login(name: str, *, login: bool) -> None:
    """Refuse while there is a login of its own; with `login`, forget it, also in a keyring."""
    from ..auth.login_files import Files

    files = Files(Config(profile_name=name).state_dir)
    if not files.session.exists():
        return
    if not login:
        account = files.account()
        whose = f" as {account.id}" if account is not None else ""
        raise errors.UsageError(
            f"profile {name!r} is logged in{whose}",
            name="ProfileInUse",
            hint=f"log out: lecoder-cgpu --profile {name} logout; or delete the login here, which stays valid at "
            f"Google: lecoder-cgpu profile delete {name} --yes",
        )
    with files.lock():
        files.forget()


def _erase(folders: list[Path]) -> None:
    for found in folders:
        try:
            shutil.rmtree(found)
        except OSError as error:
            raise errors.ConfigError(
                f"{found} cannot be deleted: {error.strerror}", hint=f"look at {found}, then repeat the same command"
            ) from error
