"""What became of the runtime of work whose end was not seen, and what the limits over all attempts leave for another.

Shared by whoever runs work again: the command that watches it (`cli/restarts.py`), and for jobs `job_steps`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, Struct, UnsetType, structs

from ..backends.protocol import Leased
from ..store import leases, lifecycle
from ..store.leases import Limits
from . import attempts

if TYPE_CHECKING:
    from ..models.runs import Stopped
    from ..sessions.session import Session
    from ..store.session_store import Record, Store

# On whose behalf work is ended that has reached a limit; all others are people and their commands.
LIMITS = ("timeout", "idle-timeout", "lease")
VERDICT = 90.0  # seconds in which a lender becomes certain whether a silent runtime is gone


def ended_by(stopped: Stopped) -> Literal["limit", "killed"]:
    """Whether a limit has ended the work, or somebody."""
    return "limit" if stopped.by in LIMITS else "killed"


def fate(session: Session) -> Literal["lost", "limit", "killed"] | None:
    """What became of a session's runtime, by one look; None while nothing is certain, or it is there.

    `lost` is certain, and earlier than a limit of the lease could have ended it. Runtimes that are not rented are never
    lost: the program may live on when the server of a machine that stays has died.
    """
    stored = session.store.get(session.record.id)
    if stored is None:
        return "killed"
    if lifecycle.stage(stored) in ("closing", "released"):
        return "limit" if leases.lease_of(stored).ended is not None else "killed"
    if not isinstance(session.backend, Leased):
        return None
    if could_have_ended(stored):
        return "limit"
    return "lost" if session.is_lost() else None


def is_full(memory: float | UnsetType | None) -> bool:
    """Whether so much of a machine's memory (from 0 to 1) was in use that it has died of that, if it is gone."""
    return isinstance(memory, float) and memory > attempts.FULL


def could_have_ended(record: Record) -> bool:
    """Whether a limit of the lease has ended the runtime, or could have."""
    lease = leases.lease_of(record)
    return lease.ended is not None or leases.over(lease, time.time(), working=None) is not None


class Spent(Struct, frozen=True):
    """What the runtimes of earlier attempts have used of the limits: seconds, and compute units."""

    seconds: float = 0.0
    units: float = 0.0

    def and_of(self, record: Record) -> Spent:
        """The same with the runtime that a session had last."""
        lease = leases.lease_of(record)
        return Spent(self.seconds + max(time.time() - lease.began, 0.0), self.units + lease.units)


def left_of(limits: Limits, spent: Spent) -> Limits | None:
    """What limits over all attempts leave for the next runtime; None if that is nothing."""
    seconds = limits.max_runtime - spent.seconds if isinstance(limits.max_runtime, float) else None
    units = limits.max_units - spent.units if isinstance(limits.max_units, float) else None
    if any(left is not None and left <= 0 for left in (seconds, units)):
        return None
    return structs.replace(
        limits,
        max_runtime=limits.max_runtime if seconds is None else seconds,
        max_units=limits.max_units if units is None else units,
    )


def allow(store: Store, session_id: str, limits: Limits) -> None:
    """Let the next runtime of a session have these limits.

    Raises:
        errors.ConfigError: the store cannot be written.
    """

    def change(record: Record) -> None:
        record.lease = leases.changed(leases.lease_of(record), limits)

    if limits.max_runtime is not UNSET or limits.max_units is not UNSET:
        store.change(session_id, change)
