"""The last line of a command, and `held` in its document: everything that is held and costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import errors

if TYPE_CHECKING:
    from ..models.base import Held
    from ..models.sessions import SessionsClosed
    from .app import App


# Documents of commands that show what is held: for people, a last line would only repeat it.
VIEWS = ("Start", "Status", "Usage", "KeeperStatus", "KeeperStopped")


def now(app: App) -> list[Held]:
    """What is held, as far as it is known here."""
    from ..sessions.holdings import holdings

    try:
        return holdings(app.client)
    except errors.Error:  # an unreadable store is reported by the command itself
        return []


def fill(app: App, document: Any) -> list[Held]:
    """Write into a document that has room for it what is held; returns that."""
    if "held" not in getattr(document, "__struct_fields__", ()) or "closed" in document.__struct_fields__:
        return []
    found = now(app)
    if found:
        document.held = found
    return found


def line(found: list[Held]) -> str:
    """What is held, what it costs together, until when, and the command that ends it; empty when nothing is."""
    if not found:
        return ""
    from ..store.leases import duration

    strays = [item for item in found if isinstance(item.formerly, str)]
    found = [item for item in found if item not in strays]
    certain = [item for item in found if item.certain]
    doubtful = ", ".join(item.session for item in found if not item.certain)
    lines = []
    if certain:
        running = "; ".join(f"{item.session}, {item.label}" for item in certain)
        rates = [item.units_per_hour for item in certain]
        known = [rate for rate in rates if rate is not None]
        if known:
            together = "together " if len(rates) > 1 else ""
            least = "" if len(known) == len(rates) else "at least "
            running += f" ({together}{least}{round(sum(known), 4):g} units an hour)"
        idle = [item.idle_seconds for item in certain]
        if len(idle) == 1 and idle[0] is not None:
            running += f"; stops after {duration(idle[0])} without work"
        which, close = ("it", certain[0].session) if len(certain) == 1 else ("them", "--all")
        lines.append(
            f"still running and using units: {running}; to stop {which} now: lecoder-cgpu sessions close {close}"
        )
    if doubtful:
        lines.append(
            f"{doubtful}: whether a machine is still running and using units is not known: lecoder-cgpu sessions list"
        )
    lines += [_stray(item) for item in strays]
    return "\n".join(lines)


def _stray(item: Held) -> str:
    """The line of a runtime of ours that no session holds."""
    rate = "" if item.units_per_hour is None else f", {item.units_per_hour:g} units an hour"
    running = "running again and using units" if item.certain else "listed again, and may use units"
    adopt = f"lecoder-cgpu sessions adopt {item.session} --name NAME"
    return (
        f"{running}, in no session: {item.session}, {item.label}{rate}, which {item.formerly} had; "
        f"to take it over: {adopt}; to stop it now: lecoder-cgpu sessions close --orphans"
    )


def tell_account(app: App, document: SessionsClosed, names: Sequence[str]) -> None:
    """Say what the accounts hold after a close, by their own listings.

    Raises:
        errors.Error: an account did not say, so that it may hold something that costs.
    """
    from ..sessions import operations

    lenders = operations.lenders(app.client, app.client.store.records())
    asked = dict.fromkeys([*names, *(lender.name for lender in lenders)])
    if not any(app.client.leased(name) is not None for name in asked):
        return
    try:
        still = operations.held(app.client, asked)
    except errors.Error as error:
        error.message = f"whether the account holds anything else is not known: {error.message}"
        raise
    document.held, document.whole_account = still, True
    more = ", ".join(still)
    if any(item.formerly for item in now(app)):
        more += "; what of that this tool started: lecoder-cgpu sessions close --orphans"
    app.printer.notify(f"the account still holds: {more}" if still else "the account holds no runtime any more")
