"""The rented runtimes that sessions here had and hold no more: `state/former.json`.

They were lost and others took their place, or they were given back. Should a lender list one again, then it lives,
costs, and is ours, although no session knows it. So nothing is taken out of here for `KEPT`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from .. import errors
from ..system import atomic_files
from . import rates
from .session_store import Record, Store

FILE = "former.json"
KEPT = 30 * 86400.0  # seconds: much longer than any runtime lives
MOST = 500  # runtimes


class Former(Struct, kw_only=True):
    """A runtime that session `session` had until `since`, a Unix time.

    `ended`: the lender had accepted its end, so that it may be listed for a moment and not live. `listed`: the last
    listing that was read has it. `kind` is what its rate is kept under.
    """

    backend: str
    endpoint: str
    session: str
    label: str
    kind: str
    since: float
    account: str | None = None
    ended: bool = False
    listed: bool = False


def read(folder: Path) -> list[Former]:
    """All of them; none where the file is missing or damaged."""
    try:
        content = atomic_files.read(folder / FILE)
        return [] if content is None else atomic_files.decode(content, list[Former])
    except (errors.ConfigError, atomic_files.Damaged):
        return []


def note(folder: Path, record: Record, now: float, *, ended: bool) -> None:
    """A session gives up its runtime. That this fails spoils no command."""
    if record.allocation is None or not record.runtime.endpoint:
        return
    fresh = Former(
        backend=record.backend,
        endpoint=record.runtime.endpoint,
        session=record.name,
        label=record.runtime.label,
        kind=rates.kind(record),
        since=now,
        account=record.allocation.account,
        ended=ended,
    )
    with contextlib.suppress(errors.ConfigError), atomic_files.lock(folder / FILE):
        kept = [item for item in read(folder) if item.endpoint != fresh.endpoint and now - item.since < KEPT]
        _write(folder, [*kept, fresh][-MOST:])


def forget(store: Store, known: Record) -> bool:
    """Forget a session as `Store.forget` does, and not its runtime."""
    forgotten = store.forget(known)
    if forgotten:
        given_back = known.allocation is not None and known.allocation.state == "closing"
        note(store.folder, known, time.time(), ended=given_back)
    return forgotten


def seen(folder: Path, backend: str, account: str | None, endpoints: Iterable[str]) -> None:
    """A lender has listed the runtimes of an account."""
    listed = set(endpoints)

    def look(item: Former) -> None:
        if item.backend == backend and (item.account == account or None in (item.account, account)):
            item.listed = item.endpoint in listed

    _change(folder, look)


def ended(folder: Path, endpoint: str) -> None:
    """The lender has accepted the end of a runtime that no session holds."""

    def end(item: Former) -> None:
        item.ended = item.ended or item.endpoint == endpoint

    _change(folder, end)


def returned(folder: Path, records: Iterable[Record]) -> list[Former]:
    """Those that the last listing has and that none of these sessions holds."""
    held = {record.runtime.endpoint for record in records}
    return [item for item in read(folder) if item.listed and item.endpoint not in held]


def _change(folder: Path, change: Callable[[Former], None]) -> None:
    """Change what is known of each. That this fails spoils no command."""

    def changed() -> list[Former] | None:
        known = read(folder)
        before = msgspec.json.encode(known)
        for item in known:
            change(item)
        return known if msgspec.json.encode(known) != before else None

    if changed() is not None:
        with contextlib.suppress(errors.ConfigError), atomic_files.lock(folder / FILE):
            if (known := changed()) is not None:
                _write(folder, known)


def _write(folder: Path, known: list[Former]) -> None:
    atomic_files.write_atomic(folder / FILE, msgspec.json.encode(known))
