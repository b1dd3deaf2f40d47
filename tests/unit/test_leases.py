"""When a lease is over, by a clock that is an argument."""

from __future__ import annotations

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.store import leases
from lecoder_cgpu.store.leases import Limits
from lecoder_cgpu.store.session_store import Lease

BEGAN = 1_000_000.0


def test_idle_needs_certainty() -> None:
    """Only a runtime that is known to have no work is idle, and only from its last work on."""
    lease = Lease(began=BEGAN)
    late = BEGAN + 3600
    assert leases.over(lease, late - 1, working=False) is None
    assert leases.over(lease, late, working=False) == "idle"
    assert leases.over(lease, late, working=True) is None
    assert leases.over(lease, late + 86400, working=None) is None
    assert leases.over(lease, late, working=False, used=BEGAN + 10) is None
    assert leases.over(lease, late, working=False, slack=60) is None
    lease.last_work = BEGAN + 600
    assert leases.over(lease, BEGAN + 4199, working=False) is None
    assert leases.over(lease, BEGAN + 4200, working=False) == "idle"


def test_hard_ends() -> None:
    """They come with work and without, and there are none unless asked for."""
    assert leases.over(Lease(began=BEGAN, idle=None), BEGAN + 1e9, working=False) is None
    lease = Lease(began=BEGAN, max_runtime=100)
    assert leases.over(lease, BEGAN + 99, working=True) is None
    assert leases.over(lease, BEGAN + 100, working=True) == "runtime"
    lease = Lease(began=BEGAN, max_units=2, units=1.9)
    assert leases.over(lease, BEGAN, working=True) is None
    lease.units = 2
    assert leases.over(lease, BEGAN, working=None) == "units"


def test_changing_limits() -> None:
    """Only what was given changes; more of what was used up lets a session go on, and a new runtime begins anew."""
    lease = Lease(began=BEGAN, max_runtime=100, ended="runtime", units=3.0)
    now = BEGAN + 150
    assert leases.changed(lease, Limits()) == lease
    assert leases.changed(lease, Limits(idle=60.0)).ended == "runtime"
    assert leases.changed(lease, Limits(max_runtime=100.0)).ended == "runtime"  # what a script says every time
    assert leases.changed(lease, Limits(max_runtime=101.0)).ended is None
    assert leases.changed(lease, Limits(max_runtime=None)).ended is None
    assert leases.changed(lease, Limits(idle=None)).idle is None
    spent = Lease(began=BEGAN, max_units=2, units=2.5, ended="units")
    assert leases.changed(spent, Limits(max_units=2.4)).ended == "units"
    assert leases.changed(spent, Limits(max_units=3.0)).ended is None
    begun = leases.fresh(lease, now)
    assert (begun.began, begun.units, begun.ended, begun.max_runtime) == (now, 0.0, None, 100)


@pytest.mark.parametrize(("reason", "code"), [("idle", 2004), ("runtime", 2008), ("units", 2008)])
def test_what_users_are_told(reason: leases.Limit, code: int) -> None:
    """Which limit it was, with its value, and what to do; a limit of one's own is a matter of budget."""
    lease = Lease(began=BEGAN, idle=7200, max_runtime=1800, max_units=2, units=2.004, ended=reason)
    lease.why = leases.described(lease, reason)
    error = leases.ended("train", lease)
    assert error.code == code
    assert {"idle": "2 h", "runtime": "30 min", "units": "2.004 of 2"}[reason] in error.message
    assert isinstance(error, errors.Error)
    assert error.hint
