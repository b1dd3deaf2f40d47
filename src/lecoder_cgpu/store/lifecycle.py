"""The states of a rented runtime, from the request until it is given back. Pure: no clock, no file, no network.

This module alone decides what a session's record means: whether its runtime is held, may cost, can be used or is gone.

The states, and the events between them::

    asked ──granted──> booting ──answered──> ready
                          │                    │
                          └─────missing────────┤
                                               v
    booting or ready <──listed, answered── unlisted ──silent──> lost ──listed──> booting
                                           (stays unlisted until LOSS_PAUSE is over)

    asked ──closed──> asked, unwanted ──granted──> closing   (asked, unwanted ──wanted──> asked)
    booting, ready, unlisted, lost ──closed──> closing ──ended──> released
    closing ──wanted──> booting                (unless the lender has accepted the end)
    closing ──accepted──> closing              (the lender has taken the order, and may still list the runtime)
    lost, released ──renewed──> asked          (another runtime under the same name)

========  =========================================================================================================
event     what has happened
========  =========================================================================================================
granted   the lender has given a runtime
answered  the runtime's server answers
listed    the lender's listing has the runtime
missing   the lender's listing lacks the runtime
silent    the same, and the runtime's server does not answer
closed    the user or the lease wants the runtime to end; this is written before the lender is told
accepted  the lender has accepted the order to end it
ended     the lender was told, and its listing lacks the runtime
wanted    the user wants to use the runtime that was to be closed
renewed   the user wants another runtime in the place of the one that is gone
========  =========================================================================================================

An event that a state does not name changes nothing. A listing may leave out a living runtime for some seconds
(protocol C15): so a missing row makes a runtime `unlisted`, and only silence `LOSS_PAUSE` seconds later makes it
`lost`. The lender may list a runtime that was released (protocol C16): so a released one does not come back.

On disk, `unlisted` is the moment in `Allocation.unlisted` beside the earlier state, and `released` is `lost` with the
end of a lease, as versions that know neither read and write them.
"""

from __future__ import annotations

from typing import Literal

from msgspec import structs

from .session_store import Allocation, Record, State

Stage = Literal["asked", "booting", "ready", "unlisted", "closing", "lost", "released"]
Event = Literal[
    "granted", "answered", "listed", "missing", "silent", "closed", "accepted", "ended", "wanted", "renewed"
]
Billing = Literal["running", "none", "unknown"]

LOSS_PAUSE = 60.0  # seconds between the first listing that lacks a runtime and the one that makes it lost


def stage(record: Record) -> Stage:
    """The state of a session's runtime. The predecessor's records have no allocation; their runtime is there."""
    if record.allocation is None:
        return "ready"
    ended = record.lease is not None and record.lease.ended is not None
    return stage_of(record.allocation, ended=ended)


def stage_of(allocation: Allocation, *, ended: bool = False) -> Stage:
    """The state of an allocation. `ended`: a limit of the lease has ended it."""
    if allocation.state == "lost":
        return "released" if ended else "lost"
    if allocation.state in ("booting", "ready") and allocation.unlisted is not None:
        return "unlisted"
    return allocation.state


def after(
    allocation: Allocation, event: Event, now: float, *, ended: bool = False, pause: float = LOSS_PAUSE
) -> Allocation:
    """The allocation after an event.

    Args:
        now: the Unix time. ended: whether a limit of the lease has ended the runtime. pause: see `LOSS_PAUSE`.
    """
    change = structs.replace
    match stage_of(allocation, ended=ended), event:
        case "asked", "granted":
            state: State = "closing" if allocation.unwanted else "booting"
            return change(allocation, state=state, unwanted=False, unlisted=None, told=False)
        case "asked", ("closed" | "wanted"):
            return change(allocation, unwanted=event == "closed")
        case "booting", "answered":
            return change(allocation, state="ready")
        case (("booting" | "ready"), ("missing" | "silent")):
            return change(allocation, unlisted=now)
        case "unlisted", "answered":
            return change(allocation, state="ready", unlisted=None)
        case "unlisted", "listed":
            return change(allocation, unlisted=None)
        case "unlisted", ("missing" | "silent"):
            assert allocation.unlisted is not None
            waited = now - allocation.unlisted
            if waited < 0:  # the clock was set back: begin to wait anew
                return change(allocation, unlisted=now)
            return (
                change(allocation, state="lost", unlisted=None) if event == "silent" and waited >= pause else allocation
            )
        case "lost", "listed":
            return change(allocation, state="booting", unlisted=None)
        case (("booting" | "ready" | "unlisted" | "lost"), "closed"):
            return change(allocation, state="closing", unlisted=None, told=False)
        case "closing", "accepted":
            return change(allocation, told=True)
        case "closing", "wanted":
            return allocation if allocation.told else change(allocation, state="booting")
        case "closing", "ended":
            return change(allocation, state="lost")
        case (("lost" | "released"), "renewed"):
            return change(allocation, state="asked", unwanted=False, unlisted=None, told=False)
    return allocation


def waits(allocation: Allocation, now: float, pause: float = LOSS_PAUSE) -> float:
    """For how many seconds an unlisted runtime is not taken for lost yet."""
    return 0.0 if allocation.unlisted is None else min(max(allocation.unlisted + pause - now, 0.0), pause)


def is_gone(record: Record) -> bool:
    """Whether the runtime cannot be used any more: it is lost or released, or the lender has accepted its end."""
    found = stage(record)
    return found in ("lost", "released") or (found == "closing" and is_accepted(record))


def is_held(record: Record) -> bool:
    """Whether the runtime is held, or may be."""
    return stage(record) not in ("lost", "released")


def is_accepted(record: Record) -> bool:
    """Whether the lender has accepted the order to end the runtime."""
    return record.allocation is not None and record.allocation.state == "closing" and record.allocation.told


def billing(record: Record) -> Billing:
    """Whether the runtime costs something, as far as it is known here."""
    match stage(record):
        case "booting" | "ready":
            return "running"
        case "closing":
            return "unknown" if is_accepted(record) else "running"
        case "asked" | "unlisted":
            return "unknown"
        case _:
            return "none"
