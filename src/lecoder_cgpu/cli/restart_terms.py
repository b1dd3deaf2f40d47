"""What is told and asked before work begins that may ask for one runtime after the other (`--restarts`)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from .. import errors
from ..sessions import free_tier, starts
from ..store import leases, rates
from .free_tier import OPTION

if TYPE_CHECKING:
    from ..backends.protocol import Leased, RuntimeRequest
    from .app import App


def agree(app: App, options: dict[str, Any], wants: RuntimeRequest) -> None:
    """Tell what all attempts may cost together, and have the user agree to restarts on a free account.

    Args:
        wants: the kind of runtime, and the limits over all attempts.

    Raises:
        errors.UsageError: (`FreeTier`) nobody has agreed.
    """
    if options["restarts"] == "0":
        return
    backend = _lender(app, wants)
    if backend is None:
        return
    app.printer.notify(estimate(options["restarts"], wants, _rate(app, backend, wants)))
    if options["understood"] or not free_tier.needs_agreement(backend):
        return
    if app.printer.agrees(f"{free_tier.ONE_AFTER_THE_OTHER}. Restart all the same? [y/N] "):
        options["understood"] = True
        return
    raise errors.UsageError(
        f"{free_tier.ONE_AFTER_THE_OTHER}; nothing was started",
        name="FreeTier",
        hint=f"add {OPTION} if you know that you may; or leave out --restarts, or buy units",
    )


def _lender(app: App, wants: RuntimeRequest) -> Leased | None:
    client = app.client
    if starts.starts(client, app.session, wants) and app.session is None:
        return client.leased(client.chosen)
    with contextlib.suppress(errors.NotFoundError, errors.LostError):
        return client.leased(client.existing(app.session).record.backend)
    return client.leased(client.chosen)


def _rate(app: App, backend: Leased, wants: RuntimeRequest) -> float | None:
    """Units an hour of the most expensive machine that may come, as far as that was seen."""
    known = rates.read(app.client.state_dir)
    names = [*wants.gpu, *(wants.tpu or ())] or ["NONE"]
    kinds = [rates.kind_of(backend.name, name.upper()) + (" high-ram" if wants.high_ram else "") for name in names]
    found = [known[kind] for kind in kinds if kind in known]
    return max(found) if len(found) == len(kinds) else None


def estimate(restarts: str, wants: RuntimeRequest, rate: float | None) -> str:
    """What all attempts together may cost, in words.

    Args:
        restarts: as typed. rate: units an hour, None if that is not known.
    """
    how = f"{rate:g} units an hour" if rate is not None else "at a rate that is not known before a runtime was seen"
    limits = wants.limits
    most = []
    if isinstance(limits.max_units, float):
        most.append(f"at most {limits.max_units:g} units (--max-units)")
    if isinstance(limits.max_runtime, float):
        cost = "" if rate is None else f", about {rate * limits.max_runtime / 3600:.3g} units"
        most.append(f"at most {leases.duration(limits.max_runtime)}{cost} (--max-runtime)")
    together = " and ".join(most) or "no limit on cost (--max-units sets one)"
    return f"--restarts {restarts}: {how}; all attempts together: {together}"
