"""When two sweeps are the same: one command, one state of the code, one request. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from msgspec import Struct, field

from .. import errors
from ..system import redaction

NAMED = 3  # files that a difference names


class Identity(Struct, kw_only=True):
    """What a sweep is, whatever its items are.

    `command` are the words with `{name}` in them. `code` are the files of the folder that is sent, each with a digest;
    None when nothing is sent. `request` is what kind of runtime it runs on: the backend and the options, by name.
    """

    command: list[str]
    code: dict[str, str] | None = None
    request: dict[str, Any] = field(default_factory=dict)

    @property
    def snapshot(self) -> str | None:
        """The hash of the code."""
        return None if self.code is None else _digest(sorted(self.code.items()))

    @property
    def id(self) -> str:
        return _digest([self.command, self.snapshot, sorted(self.request.items())])[:12]


def _digest(described: Any) -> str:
    return hashlib.sha256(json.dumps(described, separators=(",", ":")).encode()).hexdigest()


def differences(before: Identity, now: Identity) -> list[str]:
    """What tells two sweeps apart, as sentences; nothing when they are the same."""
    said = []
    if before.command != now.command:
        was, is_now = (" ".join(redaction.words(one.command)) for one in (before, now))
        said.append(f"its command is {was!r}, not {is_now!r}")
    if (before.code is None) != (now.code is None):
        said.append("it sends a folder (--sync)" if before.code is not None else "it sends no folder (--sync)")
    elif before.code != now.code and before.code is not None and now.code is not None:
        said.append(f"its code was another one: {changed(before.code, now.code)}")
    if before.request != now.request:
        said.append(f"it asks for {_asked(before.request)}, not {_asked(now.request)}")
    return said


def changed(before: dict[str, str], now: dict[str, str]) -> str:
    """The names that differ between two snapshots."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _asked(request: dict[str, Any]) -> str:
    return " ".join(f"{name} {value}".strip() for name, value in request.items()) or "sessions by name"


def check_same(name: str, before: Identity, now: Identity) -> None:
    """Refuse to run something else under a name that is taken.

    Raises:
        errors.UsageError: (`AnotherSweep`)
    """
    if said := differences(before, now):
        raise errors.UsageError(
            f"there is another sweep {name!r}: {'; '.join(said)}",
            name="AnotherSweep",
            hint=f"give this one another name: --name {name}-2",
        )
