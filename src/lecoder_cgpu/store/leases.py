"""When a runtime that costs money is given back. Pure; the clock is an argument.

The keeper acts on it, and tells the runtime, which releases itself should this machine sleep or die (see
`guest/lease_guard.py`). A limit on cost is the keeper's alone: the runtime does not know what it costs.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, Struct, UnsetType, structs

from .. import errors
from ..models.base import timestamp
from .session_store import Lease, Record

if TYPE_CHECKING:
    from ..models.keeper import LeaseInfo

Limit = Literal["idle", "runtime", "units"]
Reason = Literal["idle", "runtime", "units", "owner"]  # a limit, or that the command it was started for is gone


AHEAD = 60.0  # seconds by which a moment may be later than now: clocks of machines that share a folder differ


class Limits(Struct, frozen=True, kw_only=True):
    """What a user wants changed of a lease: seconds and compute units, None for no limit, unset for no change."""

    idle: float | UnsetType | None = UNSET
    max_runtime: float | UnsetType | None = UNSET
    max_units: float | UnsetType | None = UNSET

    def __bool__(self) -> bool:
        return self != Limits()


def lease_of(record: Record) -> Lease:
    """The session's lease; one with the default limits if none is stored yet."""
    return record.lease or Lease(began=moment(record.created_at) or 0.0)


def moment(text: str) -> float | None:
    """The Unix time of an ISO 8601 moment in a record; None when the text is not one."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def changed(lease: Lease, limits: Limits) -> Lease:
    """The lease with these limits. A higher one lets a session go on that the lower one had ended."""
    wanted = {name: value for name, value in structs.asdict(limits).items() if value is not UNSET}
    new = structs.replace(lease, **wanted)
    if lease.ended == "runtime" and (new.max_runtime is None or new.max_runtime > (lease.max_runtime or 0.0)):
        new.ended = None
    if lease.ended == "units" and (new.max_units is None or new.max_units > max(lease.units, lease.max_units or 0.0)):
        new.ended = None
    return new


def fresh(lease: Lease, now: float) -> Lease:
    """The same limits for a runtime that was obtained just now."""
    return structs.replace(lease, began=now, last_work=None, units=0.0, ended=None, why=None)


def over(
    lease: Lease, now: float, *, working: bool | None, used: float | None = None, slack: float = 0.0
) -> Limit | None:
    """Which limit is reached, if any.

    Args:
        working: whether something runs on the runtime; None when that is not known, which is no reason to end it.
        used: when a command last used the session.
        slack: by how many seconds `used` and `last_work` may be too old.
    """
    if lease.max_runtime is not None and now - lease.began >= lease.max_runtime:
        return "runtime"
    if lease.max_units is not None and lease.units >= lease.max_units:
        return "units"
    if lease.idle is not None and working is False and now - last_active(lease, used) >= lease.idle + slack:
        return "idle"
    return None


def last_active(lease: Lease, used: float | None) -> float:
    """When the runtime was last at work or in use, as far as it is known."""
    return max(lease.began, lease.last_work or 0.0, used or 0.0)


def is_ahead(lease: Lease, used: float | None, now: float) -> bool:
    """Whether a moment of the lease, or `used`, is later than now: the clock was set back. A lease would last longer by
    as much."""
    return last_active(lease, used) > now + AHEAD


def not_ahead(lease: Lease, now: float) -> Lease:
    """The lease without such moments."""
    last_work = None if lease.last_work is None else min(lease.last_work, now)
    return structs.replace(lease, began=min(lease.began, now), last_work=last_work)


def described(lease: Lease, reason: Reason) -> str:
    """Why the runtime was released, in words."""
    if reason == "owner":
        return "the command that it was started for was gone (--rm)"
    if reason == "idle":
        return f"it had no work for {duration(lease.idle or 0.0)}"
    if reason == "runtime":
        return f"its time of {duration(lease.max_runtime or 0.0)} was over (--max-runtime)"
    return f"it had cost {lease.units:.4g} of {lease.max_units:g} compute units (--max-units)"


def duration(seconds: float) -> str:
    """Seconds for people: 90 s, 60 min, 2 h."""
    if seconds >= 7200 and seconds % 3600 == 0:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds:g} s"


def ended(name: str, lease: Lease) -> errors.Error:
    """The error for the use of a session whose lease has ended."""
    assert lease.ended is not None
    message = f"the runtime of session {name!r} was released, for {lease.why or lease.ended}"
    if lease.ended == "idle":
        return errors.LostError(message, name="LeaseEnded", hint=f"a new one: lecoder-cgpu sessions ensure {name}")
    option = "--max-runtime" if lease.ended == "runtime" else "--max-units"
    return errors.BudgetError(
        message,
        name="LeaseEnded",
        hint=f"allow more with {option} VALUE, or end it: lecoder-cgpu sessions close {name}",
    )


def gone(record: Record) -> errors.Error:
    """The error for the use of a session whose runtime is gone; if its lease has ended, that says so."""
    if record.lease is not None and record.lease.ended is not None:
        return ended(record.name, record.lease)
    if record.owner is not None:  # forgotten with its command
        return errors.RuntimeLost(f"the runtime of session {record.name!r} is gone", hint="repeat the same command")
    return errors.RuntimeLost(
        f"the runtime of session {record.name!r} is gone",
        hint=f"a new one: lecoder-cgpu sessions ensure {record.name} --backend {record.backend}; "
        "or forget it: lecoder-cgpu sessions clean",
    )


def info(record: Record) -> LeaseInfo:
    """What documents say of a session's lease."""
    from ..models.keeper import LeaseInfo

    lease = lease_of(record)
    found = LeaseInfo()
    if lease.ended is not None:
        found.ended = lease.ended
    if lease.idle is not None:
        found.idle_seconds = lease.idle
        found.idle_release_at = _stamp(last_active(lease, moment(record.last_used_at)) + lease.idle)
    if lease.max_runtime is not None:
        found.ends_at = _stamp(lease.began + lease.max_runtime)
    if lease.max_units is not None:
        found.max_units = lease.max_units
        found.units_spent = round(lease.units, 4)
    return found


def _stamp(seconds: float) -> str:
    from datetime import UTC

    return timestamp(datetime.fromtimestamp(seconds, UTC))
