"""The documents of `keeper`, its state file, and leases."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Held, Optional


class LeaseInfo(Struct, kw_only=True):
    """When a Colab runtime is released: after `idleSeconds` without work (at `idleReleaseAt` if none comes), at
    `endsAt`, or when `maxUnits` compute units are spent. `ended` is the limit that was reached. Absent: no such limit.
    """

    idle_seconds: float | Optional = field(name="idleSeconds", default=UNSET)
    idle_release_at: str | Optional = field(name="idleReleaseAt", default=UNSET)
    ends_at: str | Optional = field(name="endsAt", default=UNSET)
    max_units: float | Optional = field(name="maxUnits", default=UNSET)
    units_spent: float | Optional = field(name="unitsSpent", default=UNSET)
    ended: Literal["idle", "runtime", "units"] | Optional = UNSET


class KeptSession(Struct, kw_only=True):
    """What the keeper last saw of a session. `ping` is the last ping's result; `socket`: it holds a kernel's socket.
    `account` is whose runtime it is, or `unknown`."""

    session: str
    endpoint: str
    account: str | Optional = UNSET
    ping: str
    work: Literal["running", "none", "unknown"]
    socket: bool = False
    problem: str | Optional = UNSET


class KeeperRecord(Struct, kw_only=True):
    """`state/keeper.json`: which process the keeper is, and what it saw at `beat`."""

    pid: int
    identity: str
    version: str
    started: str
    beat: str | Optional = UNSET
    sessions: list[KeptSession] = field(default_factory=list)


class KeeperStatus(Struct, kw_only=True):
    """`keeper status`, of the keeper of the profile in use."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    profile: str = "default"
    running: bool
    pid: int | Optional = UNSET
    started: str | Optional = UNSET
    version: str | Optional = UNSET
    beat: str | Optional = UNSET
    sessions: list[KeptSession] = field(default_factory=list)
    problem: str | Optional = UNSET
    held: list[Held] | Optional = UNSET


class KeeperStopped(Struct, kw_only=True):
    """`keeper stop`: whether a keeper was running."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    stopped: bool
    held: list[Held] | Optional = UNSET


Scheduler = Literal["systemd", "cron", "launchd", "windows"]


class KeeperSchedule(Struct, kw_only=True):
    """`keeper install --print`: what has this system call `keeper tick` every minute, with what to do with it."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    kind: Scheduler
    text: str
    held: list[Held] | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "keeper-status": KeeperStatus,
    "keeper-stop": KeeperStopped,
    "keeper-schedule": KeeperSchedule,
    "keeper-file": KeeperRecord,
}
