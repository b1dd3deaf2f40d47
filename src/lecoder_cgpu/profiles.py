"""Which profile a command acts for: a name for a login with its sessions, or for another profile's with defaults.

`profiles.json` in the configuration folder lists the profiles. One with a login of its own has a folder
(`profiles/NAME/`: config.json, state/), where nothing of another profile is looked for; one that `shares` another's
login has none, only settings and saved options for runtimes. The profile `default` is the configuration folder itself.
Reading is here, changing in `sessions/profile_changes.py`. Nothing but a person's command ever changes which is used.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from . import errors

DEFAULT = "default"
FILE = "profiles.json"
FOLDER = "profiles"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
LARGEST = 64 << 20  # bytes of a file that is read whole
LIST = "lecoder-cgpu profile list"


def opened_file(path: Path) -> BinaryIO:
    """A file of ours for reading. What is put in its place must not hold anybody up: a pipe, a device.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def file_content(path: Path) -> bytes:
    """What is in a file of ours.

    Raises:
        OSError: as of `opened_file`, or it is too large.
    """
    with opened_file(path) as file:
        found = file.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise OSError(errno.EFBIG, f"it has more than {LARGEST >> 20} MiB", str(path))
    return found


class Profile(NamedTuple):
    """The profile in use.

    `source` tells why it is: `option`, `environment`, `stored` (by `profile use`) or `default`. `login` is the name of
    the profile whose folder has login, sessions and history: its own, or that which it shares. `settings` come before
    those of config.json, `request` is what runtimes are asked for with (see `models/profiles.py`). `alone`: there is no
    other profile.
    """

    name: str = DEFAULT
    source: str = "default"
    login: str = DEFAULT
    settings: dict[str, str] = {}  # noqa: RUF012 - never changed
    request: dict[str, Any] = {}  # noqa: RUF012
    alone: bool = True


def chosen(folder: Path, option: str | None, variable: str | None) -> Profile:
    """The profile to act for: the one of the option, of the environment, the one stored by `profile use`, `default`.

    Args:
        folder: the configuration folder.

    Raises:
        errors.UsageError: there is no such profile. errors.ConfigError: the same for the stored one; or the file cannot
            be used.
    """
    stored = read(folder / FILE)
    known = stored["profiles"]
    active = stored["active"]
    if option is not None:
        asked, source = option, "option"
    elif variable:
        asked, source = variable, "environment"
    else:
        asked, source = active, "default" if active == DEFAULT else "stored"
    name = spelled(known, asked)
    if name is None:
        raise unknown(known, asked, source)
    own = known.get(name, {})
    return Profile(
        name=name,
        source=source,
        login=own.get("shares") or name,
        settings=own.get("settings") or {},
        request=own.get("request") or {},
        alone=not known.keys() - {DEFAULT},
    )


def home(folder: Path, login: str) -> Path:
    """The folder of the profile that has a login: of its config.json, and of state/."""
    return folder if login == DEFAULT else folder / FOLDER / login


def spelled(known: dict[str, Any], name: str) -> str | None:
    """The name of a profile as it was given to it; None if there is none. Small and capital letters are alike."""
    if name in known or name == DEFAULT:
        return name
    return next((item for item in (DEFAULT, *known) if item.casefold() == name.casefold()), None)


def unknown(known: dict[str, Any], name: str, source: str = "option") -> errors.Error:
    """The error for a name that no profile has."""
    there = ", ".join(sorted({DEFAULT, *known}))
    where = {"environment": " (from LECODER_CGPU_PROFILE)", "stored": " (the one in use)"}.get(source, "")
    hint = f"{LIST} shows them; make one: lecoder-cgpu profile create {name if NAME.fullmatch(name) else 'NAME'}"
    if source == "stored":
        hint = f"choose another: lecoder-cgpu profile use {DEFAULT}"
    kind = errors.ConfigError if source == "stored" else errors.UsageError
    return kind(f"there is no profile {name!r}{where}; there are: {there}", name="ProfileNotFound", hint=hint)


def read(path: Path) -> dict[str, Any]:
    """What is stored: `active` and `profiles`, checked so far that a name can be trusted as the name of a folder.

    Raises:
        errors.ConfigError: it cannot be read, or is something else. It is never taken for absent, because a command
            would then act for another account.
    """
    import json

    try:
        content = json.loads(file_content(path))
    except FileNotFoundError:
        return {"active": DEFAULT, "profiles": {}}
    except OSError as error:
        raise errors.ConfigError(f"{path} cannot be read: {error.strerror}", hint=f"chmod u+r {path}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise _damaged(path, "it must hold a JSON object")
    active, known = content.get("active", DEFAULT), content.get("profiles", {})
    if not (isinstance(active, str) and isinstance(known, dict)):
        raise _damaged(path, '"active" must be a name, and "profiles" an object')
    for name, own in known.items():
        if not (NAME.fullmatch(name) and isinstance(own, dict)):
            raise _damaged(path, f"{name!r} is no profile")
        shared = own.get("shares")
        if shared is not None and (name == DEFAULT or not _is_owner(known, shared)):
            raise _damaged(path, f"profile {name!r} shares the login of {shared!r}, which has none of its own")
        settings = own.get("settings", {})
        if not (isinstance(settings, dict) and all(isinstance(item, str) for item in settings.values())):
            raise _damaged(path, f"the settings of profile {name!r} must be texts")
        if not isinstance(own.get("request", {}), dict):
            raise _damaged(path, f"the saved options of profile {name!r} must be an object")
    return {"active": active, "profiles": known}


def _is_owner(known: dict[str, Any], name: object) -> bool:
    """Whether that is a profile with a login of its own."""
    if name == DEFAULT:
        return True
    own = known.get(name) if isinstance(name, str) else None
    return isinstance(own, dict) and own.get("shares") is None


def _damaged(path: Path, problem: str) -> errors.ConfigError:
    import shlex

    return errors.ConfigError(
        f"{path} cannot be used: {problem}",
        hint="repair it; or move it away, and every command acts for the default profile: "
        f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.bad')}",
    )
