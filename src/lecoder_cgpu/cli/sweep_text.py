"""A sweep as a document, and in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from .. import errors
from ..models.base import ErrorInfo, timestamp
from ..models.sweeps import SweepCounts, SweepDocument, SweepItem, SweepParameter
from ..sweeps import standing as standings_of
from ..sweeps import template
from ..sweeps.places import folder, job_id
from ..sweeps.standing import Standing
from ..system import redaction
from .looks import Table

if TYPE_CHECKING:
    from ..sweeps.grid import Grid
    from ..sweeps.store import Definition, SweepFolder


def document(
    sweep: SweepFolder, definition: Definition, standings: Sequence[Standing], grid: Grid | None = None
) -> SweepDocument:
    """What is known of a sweep. Its status is that of its items alone.

    Args:
        sweep: what is stored of it.
        grid: what was typed; None where the items alone are known.
    """
    counts = standings_of.counts_of(standings)
    found = SweepDocument(
        name=definition.name,
        id=definition.identity.id,
        command=redaction.words(definition.identity.command),
        counts=counts,
        items=[item(sweep, definition, one) for one in standings],
        sessions=list(definition.sessions),
    )
    if grid is not None:
        found.parameters = [
            SweepParameter(name=one.name, count=len(one.values), values=one.shown()) for one in grid.parameters
        ]
    judge(found)
    return found


def judge(found: SweepDocument) -> None:
    """Set the status and the exit status by the items."""
    counts = found.counts
    if counts.failed:
        first = next(one for one in found.items if one.state == "failed")
        there = first.output or f"lecoder-cgpu job logs {first.job_id} --session {first.session}"
        failed = errors.RuntimeFailure(
            f"{counts.failed} of {counts.items} items failed",
            name="ItemsFailed",
            hint=f"what the first one printed: {there}; "
            f"to run them again: lecoder-cgpu sweep resume {found.name} --retry-failed",
        )
        fail(found, failed)
    if counts.done + counts.failed < counts.items:
        found.next = f"lecoder-cgpu sweep {'wait' if counts.running else 'resume'} {found.name}"
        if not counts.failed:
            found.status, found.exit_code = "running", errors.EXIT_STOPPED_WAITING


def fail(found: SweepDocument, error: errors.Error) -> None:
    """Let the document tell an error."""
    found.status, found.error_code, found.exit_code = "error", error.code, error.exit_status
    found.error = ErrorInfo.of(error)


def item(sweep: SweepFolder, definition: Definition, one: Standing) -> SweepItem:
    """One item with what became of it."""
    found = SweepItem(
        key=one.item.key,
        number=one.number,
        values=one.item.values,
        state=one.state,
        command=template.shown(definition.identity.command, one.item),
        attempts=one.attempt + 1,
    )
    if one.attempt >= 0:
        found.session = one.session or UNSET
        found.job_id = job_id(definition, one.item.key, one.attempt)
        found.folder = folder(definition, one.item.key, one.attempt)
        kept = sweep.output(one.item.key, one.attempt)
        found.output = str(kept) if kept.exists() else UNSET
    if one.started is not None:
        found.started = timestamp(datetime.fromtimestamp(one.started, UTC))
    found.exit_code = UNSET if one.exit is None else one.exit
    found.seconds = UNSET if one.seconds is None else one.seconds
    found.signal = one.signal or UNSET
    found.losses = one.losses or UNSET
    found.error = one.error or UNSET
    found.pulled = _pulled(one.pulled)
    return found


def _pulled(stored: list[Any] | None) -> Any:
    if not stored:
        return UNSET
    import msgspec

    from ..models.runs import Pulled

    try:
        return msgspec.convert(stored, list[Pulled])
    except msgspec.ValidationError:  # of another version
        return UNSET


def table(found: SweepDocument) -> Table:
    """The items in rows."""
    rows = [
        (
            one.key,
            " ".join(f"{name}={value}" for name, value in one.values.items()),
            one.state,
            str(one.exit_code) if isinstance(one.exit_code, int) else "",
            f"{one.seconds:.1f} s" if isinstance(one.seconds, float) else "",
            one.session if isinstance(one.session, str) else "",
            one.job_id if isinstance(one.job_id, str) else "",
        )
        for one in found.items
    ]
    return Table(("KEY", "VALUES", "STATE", "EXIT", "TIME", "SESSION", "JOB"), rows)


def commands(found: SweepDocument) -> Table:
    """What would be run."""
    rows = [(one.key, one.command if isinstance(one.command, str) else "") for one in found.items]
    return Table(("KEY", "COMMAND"), rows)


def ended(one: Standing, counts: SweepCounts) -> str:
    """A line about an item that has ended: `[3/10] done   lr=0.1 seed=2   4.2 s on gpu-1`."""
    how = {"done": "done", "failed": "failed", "killed": "ended"}.get(one.state, one.state)
    parts = [f"[{counts.done + counts.failed}/{counts.items}] {how}", one.item.described()]
    if one.seconds is not None:
        parts.append(f"{one.seconds:.1f} s on {one.session}")
    if one.state == "failed":
        parts.append(one.error or f"exit {one.exit}")
    return "   ".join(parts)


def summary(found: SweepDocument) -> str:
    """The whole sweep in a line."""
    counts = found.counts
    said = [
        f"{number} {state}"
        for state in ("done", "failed", "running", "pending", "killed", "unreached")
        if (number := getattr(counts, state))
    ]
    return f"{found.name}: {counts.items} items: {', '.join(said)}"
