"""What is held and costs, as it is known here. Nobody is asked: a warm command must not wait for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backends.protocol import Leased
from ..models.base import Held
from ..store import former, leases, lifecycle, rates
from ..store.session_store import Record

if TYPE_CHECKING:
    from .manager import SessionManager
    from .runtime import SessionRuntime


def holdings(manager: SessionManager) -> list[Held]:
    """Every session whose runtime costs, or may cost, the one in use first.

    Raises:
        errors.ConfigError: the stored sessions cannot be read.
    """
    known = rates.read(manager.state_dir)
    found = []
    records = manager.store.records()
    for record in sorted(records, key=lambda record: not record.is_active):
        lender = manager.leased(record.backend)
        if lender is None or (billing := lifecycle.billing(record)) == "none":
            continue
        held = Held(session=record.name, label=record.runtime.label, certain=billing == "running")
        held.units_per_hour = known.get(rates.kind(record)) if record.runtime.endpoint else None
        held.idle_seconds = leases.lease_of(record).idle
        found.append(held)
    for item in former.returned(manager.state_dir, records):
        rate = known.get(item.kind)
        found.append(
            Held(
                session=item.endpoint,
                label=item.label,
                certain=not item.ended,
                units_per_hour=rate,
                formerly=item.session,
            )
        )
    return found


def announce(session: SessionRuntime) -> None:
    """Tell a person what is about to be started, what it costs, and when it stops, before a lender is asked for it."""
    record, backend = session.record, session.backend
    if session.announce is None or record.allocation is None or not isinstance(backend, Leased):
        return
    waits = record.allocation.state == "asked" and not record.allocation.sent
    if waits or (record.allocation.state == "lost" and session.terms.replace):
        session.announce(announcement(record, backend, rates.read(session.store.folder)))


def _unknown_cost(backend: Leased) -> str:
    """What can be said of a rate that was not seen yet; the account is asked, as it is for the names anyway."""
    from .. import errors

    parts: list[str] = []
    try:
        account = backend.account()
    except errors.Error:
        account = None
    if account is not None:
        if account.balance is not None and (account.balance or not account.free_units):
            parts.append(f"{account.balance:g}")
        if account.free_units is not None:
            parts.append(f"{account.free_units:g} free ones")
    left = f" (the account has {' and '.join(parts)})" if parts else ""
    return f"which uses compute units{left}; how many an hour, when it runs: lecoder-cgpu usage"


def announcement(record: Record, backend: Leased, known: rates.Rates) -> str:
    """What is about to be started, what it costs, and when it stops."""
    kinds = rates.wanted(record)
    names = [] if record.allocation is None else record.allocation.accelerators
    what = f"{backend.label} {' or '.join(names)}" if names else record.label
    prices = [f"{known[item]:g}" for item in kinds if item in known]
    cost = f"{' or '.join(prices)} units an hour" if prices else _unknown_cost(backend)
    lease = leases.lease_of(record)
    ends = [] if lease.idle is None else [f"stops after {leases.duration(lease.idle)} without work"]
    ends += [] if lease.max_runtime is None else [f"stops after {leases.duration(lease.max_runtime)} in any case"]
    return f"starting {what}, {cost}; {'; '.join(ends) or 'it does not stop by itself'}; Ctrl-C gives it back"
