"""What commands do with the sessions: list, start, take over, give back and forget them.

What a lender of leased runtimes lists is the truth about its runtimes. Runtimes in that listing that no session here
holds are listed too, with their origin, and are never ended unless the user names them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET, structs

from .. import errors
from ..backends.protocol import HeldRuntime, Leased, Released, RuntimeRequest
from ..models.base import UNKNOWN_ACCOUNT
from ..models.sessions import RuntimeRef, SessionClosed, SessionDocument, SessionsCleaned
from ..models.status import Account
from ..store import former, leases, lifecycle, owners
from ..store.session_store import Record, check_name, check_unheld, insert
from .session import Session

if TYPE_CHECKING:
    from ..models.sessions import KernelInfo, Origin
    from .manager import SessionManager

LOOK_TIMEOUT = 10.0  # seconds for a look at a runtime that may be somebody else's


def lenders(manager: SessionManager, records: list[Record]) -> list[Leased]:
    """The leased backends whose listings are of interest, the chosen one first: those that the user or a record names
    and to which somebody is logged in."""
    found = []
    for name in dict.fromkeys([manager.chosen, *(record.backend for record in records)]):
        backend = manager.leased(name)
        try:
            if backend is not None and backend.has_account():
                found.append(backend)
        except errors.ConfigError as error:  # a damaged file of the login must not hide the rest
            manager.notify(error.message)
    return found


def foreign(lender: Leased, records: list[Record], folder: Path) -> list[HeldRuntime]:
    """The account's runtimes that no session here holds. What was ours is noted in the state folder.

    Raises:
        errors.Error: the lender could not be asked.
    """
    rows = lender.runtimes()
    return not_held(lender, records, rows, folder)


def not_held(lender: Leased, records: list[Record], rows: Sequence[HeldRuntime], folder: Path) -> list[HeldRuntime]:
    """The same of what the lender has listed."""
    account = lender.holder()
    former.seen(folder, lender.name, None if account is None else account.id, [item.endpoint for item in rows])
    ours = {record.runtime.endpoint for record in records if record.backend == lender.name}
    return [item for item in rows if item.endpoint not in ours]


def was_ours(folder: Path, endpoint: str) -> former.Former | None:
    """What is known of a runtime that a session here had, and that no session has now."""
    return next((item for item in former.read(folder) if item.endpoint == endpoint), None)


class Listed(NamedTuple):
    """What `list_sessions` found. `unasked` says why the runtimes of an account are not known."""

    documents: list[SessionDocument]
    unasked: list[errors.Error]


def list_sessions(manager: SessionManager) -> Listed:
    """Every stored session, most recently used first, and behind them the accounts' other runtimes."""
    records = settle(manager, manager.store.records())
    manager.report_damage()
    manager.keep_held(records)
    documents: list[SessionDocument] = manager.each(lambda record: inspect(manager, record), records)
    unasked: list[errors.Error] = []
    for lender in lenders(manager, records):
        try:
            found = foreign(lender, records, manager.state_dir)
        except errors.Error as error:
            unasked.append(error)
            manager.notify(
                f"{lender.label}'s own list of runtimes is not available, so the account may hold others: "
                f"{error.message}"
            )
        else:
            documents += manager.each(lambda item, lender=lender: _foreign(manager, lender, item), found)  # type: ignore[misc]
    return Listed(documents, unasked)


def settle(manager: SessionManager, records: list[Record]) -> list[Record]:
    """Forget the sessions whose end is confirmed now; find out about those whose answer was lost."""
    kept = []
    for record in records:
        lender = manager.leased(record.backend)
        if lender is not None:
            try:
                if lender.state(record) == "asked" and not lender.reconcile(record) and owners.is_unwanted(record):
                    continue  # it came to nothing, and was forgotten
                ended_by_lease = leases.lease_of(record).ended
                if lender.state(record) == "closing" and not ended_by_lease and lender.certainly_gone(record):
                    former.forget(manager.store, record)
                    continue
            except errors.Error as error:
                manager.notify(f"session {record.name!r}: {lender.label} cannot be asked about it: {error.message}")
        kept.append(record)
    return kept


def inspect(manager: SessionManager, record: Record, *, answered: bool = False) -> SessionDocument:
    """A stored session with what its runtime says now; starts nothing.

    Args:
        answered: whether its runtime was started a moment ago, and has answered; it need not be asked again.
    """
    session = manager.hold_or_none(record)
    status: Any = "unreachable"
    kernel: KernelInfo | Any = UNSET
    try:
        if session is None:
            pass  # of a backend that this version does not have
        elif lifecycle.stage(record) == "closing" or owners.is_unwanted(record):
            status = "closing"
        elif not answered and session.is_lost():
            status = "stale"
        elif lifecycle.stage(record) == "unlisted":
            status = "unreachable"
        elif session.backend.find(record) is None:
            status = "starting"
        else:
            found = session.kernel_info(session.kernel())
            if not isinstance(found.name, str) and record.kernel_name is not None:
                found.name = record.kernel_name
            if found.id is None and not answered:  # a server that answers 404 to everything has no kernel either
                session.server.check_access()
            kernel = found
            status = "active" if record.is_active else "idle"
    except errors.LostError:
        status = "stale"
    except errors.Error:
        status = "unreachable"
    finally:
        if session is not None:
            session.close()
    runtime = RuntimeRef(
        label=record.runtime.label, accelerator=record.runtime.accelerator, endpoint=record.runtime.endpoint
    )
    if record.runtime.proxy is not None:
        runtime.url = record.runtime.proxy.url
    document = SessionDocument(
        id=record.id,
        name=record.name,
        label=record.label,
        backend=record.backend,
        runtime=runtime,
        variant=record.variant,
        created_at=record.created_at,
        last_used_at=record.last_used_at,
        is_active=record.is_active,
        status=status,
        kernel=kernel,
        account=record.account,
    )
    if manager.leased(record.backend) is not None:
        document.origin = "ours"
        document.high_ram = record.allocation.high_memory if record.allocation is not None else UNSET
        document.lease = leases.info(record)
    return document


def holder(lender: Leased) -> Account:
    """Whose account it is; `unknown` where that is not known here."""
    return lender.holder() or Account(id=UNKNOWN_ACCOUNT, label=UNKNOWN_ACCOUNT)


def _foreign(manager: SessionManager, lender: Leased, found: HeldRuntime) -> SessionDocument:
    runtime = RuntimeRef(label=found.label, accelerator=found.accelerator, endpoint=found.endpoint)
    if found.url is not None:
        runtime.url = found.url
    whose: Origin = "ours" if was_ours(manager.state_dir, found.endpoint) is not None else origin(found)
    return SessionDocument(
        id=found.endpoint,
        name=found.endpoint,
        label=found.label,
        backend=lender.name,
        account=holder(lender).id,
        runtime=runtime,
        variant=found.variant,
        is_active=False,
        status="unreachable" if whose == "elsewhere" else "idle",
        origin=whose,
        high_ram=found.high_memory,
    )


def origin(found: HeldRuntime) -> Origin:
    """Who started a runtime, as far as the sessions of its Jupyter server tell."""
    import msgspec

    from ..net.http import Http

    if found.server is None:
        return "elsewhere"
    http = Http(found.server.url, found.server.headers)
    try:
        rows = msgspec.json.decode(http.request("GET", "api/sessions", timeout=LOOK_TIMEOUT, repeat=False))
    except (errors.Error, msgspec.DecodeError):
        return "elsewhere"
    finally:
        http.close()
    paths = [str(row.get("path", "")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if any(path.rpartition("/")[2].startswith("lecoder-") for path in paths):
        return "another-machine"
    return "browser" if paths else "elsewhere"


def ensure(manager: SessionManager, name: str, wants: RuntimeRequest) -> tuple[Session, bool]:
    """The session of that name with its runtime, started if it is not there, and whether it was.

    Doing it twice, at once or after a lost answer, is doing it once.

    Raises:
        errors.UsageError: the name is malformed, or belongs to a session of another kind.
        errors.Error: see `Backend.obtain`.
    """
    check_name(name)
    if all(item.name != name for item in manager.store.records()):
        wants = manager.completed(wants)
    manager.check_kind(manager.chosen, wants)
    backend = manager.backend(manager.chosen)
    with manager.store.transaction() as records:
        record = next((item for item in records if item.name == name), None)
        if record is None:
            record = backend.create(name, wants)
            insert(records, record)
        else:
            if record.backend != manager.chosen or not backend.serves(record, wants):
                raise errors.UsageError(
                    f"session {name!r} is {record.label}, which is not what you ask for",
                    name="SessionExists",
                    hint=f"choose another name, or give it back first: lecoder-cgpu sessions close {name}",
                )
            for item in records:
                item.is_active = item is record
    manager.limit(record, wants.limits)
    session = manager.hold(record)
    leased = isinstance(backend, Leased)
    if isinstance(backend, Leased) and backend.find(record) is not None:
        backend.is_gone(record)  # looks, and notes what the listing says
    begun = isinstance(backend, Leased) and backend.state(record) not in ("asked", "booting")
    known = record.runtime.endpoint if begun or backend.find(record) is not None else ""
    session.terms = structs.replace(session.terms, patience=wants.patience or 0.0, replace=True)
    try:
        session.endpoint  # noqa: B018 - starts it
    except errors.Error:
        if not leased and not known:  # a lender knows by itself whether a refused runtime may be there after all
            manager.store.remove(record.id)
        raise
    fresh = record.runtime.endpoint != known
    if wants.kernel_name is not None:
        session.use_kernel(wants.kernel_name, keep=True)
    return session, fresh


def adopt(manager: SessionManager, endpoint: str, name: str) -> Session:
    """Take over a runtime of the account that no session here holds, and make it the active one.

    Raises:
        errors.NotFoundError: the account holds no such runtime. errors.UsageError: it has a session, or a bad name.
    """
    check_name(name)
    check_unheld(manager.store.records(), endpoint)
    record = manager.lender().adopt(endpoint, name)
    manager.store.add(record, sole=True)
    return manager.hold(record)


def activate(manager: SessionManager, record: Record) -> None:
    """Make a session the active one.

    Raises:
        errors.UsageError: it is being given back.
    """
    if lifecycle.is_accepted(record):
        raise errors.UsageError(
            f"session {record.name!r} is being given back, and cannot be used any more",
            name="SessionClosing",
            hint="lecoder-cgpu sessions list",
        )
    manager.store.activate(record.id)


def close(manager: SessionManager, record: Record) -> SessionClosed:
    """Release a session's runtime as far as it is ours, then forget the session.

    Raises:
        errors.Error: the runtime could not be told; the session is kept then.
    """
    session = manager.hold(record)
    kernels: list[str] = []
    released: Any = "nothing"
    if session.backend.owns(record):
        try:
            with manager.waiting(f"giving back the runtime of {record.name} …"):
                released = session.backend.release(record)
        except errors.Error:
            manager.keep_held(manager.store.records())  # the keeper goes on trying
            raise
    else:
        with session:
            kernels = session.close_kernels()  # of the record as it is stored now
        released = "kernels" if kernels else "nothing"
    if released == "requested":  # it stays until the listing agrees, and is used by nothing
        manager.store.retire(record.id)
        manager.keep()
    elif manager.leased(record.backend) is not None:
        former.forget(manager.store, record)  # another command may have begun to use the session again
    else:
        manager.store.remove(record.id)
    return SessionClosed(
        session_id=record.id, name=record.name, released=released, kernels=kernels, account=record.account
    )


def abandon(manager: SessionManager, record: Record) -> None:
    """Forget a session whose runtime may go on."""
    stored = manager.store.get(record.id) or record
    manager.store.remove(record.id)
    if manager.leased(record.backend) is not None:
        former.note(manager.state_dir, stored, time.time(), ended=False)


def end_runtime(manager: SessionManager, lender: Leased, endpoint: str) -> Released:
    """End a runtime for which there is no session here.

    Raises:
        errors.Error: the lender could not be told.
    """
    released = lender.release_endpoint(endpoint)
    former.ended(manager.state_dir, endpoint)
    return released


def holder_of(manager: SessionManager, endpoint: str) -> tuple[Leased, str] | None:
    """The lender of a runtime of that name for which there is no session here, and the name as the lender spells it;
    None when no account holds one.

    Raises:
        errors.Error: a lender could not be asked.
    """
    records = manager.store.records()
    for lender in lenders(manager, records):
        for item in foreign(lender, records, manager.state_dir):
            if item.endpoint.casefold() == endpoint.casefold():
                return lender, item.endpoint
    return None


def orphans(manager: SessionManager) -> list[tuple[Leased, str]]:
    """The runtimes of the accounts that this tool started and no session here holds: lender and endpoint.

    Raises:
        errors.Error: a lender could not be asked.
    """
    records = manager.store.records()
    return [
        (lender, item.endpoint)
        for lender in lenders(manager, records)
        for item in foreign(lender, records, manager.state_dir)
        if was_ours(manager.state_dir, item.endpoint) is not None or origin(item) == "another-machine"
    ]


def unwanted(manager: SessionManager) -> list[Record]:
    """The sessions that are to be given back: their close is not confirmed, or their start was interrupted."""
    return [
        record
        for record in manager.store.records()
        if manager.leased(record.backend) is not None
        and (owners.is_unwanted(record) or lifecycle.stage(record) == "closing")
    ]


def rate(lender: Leased) -> float | None:
    """What the account spends, in compute units an hour; None when that is not known."""
    try:
        return lender.account().rate
    except errors.Error:
        return None


def held(manager: SessionManager, backends: Iterable[str]) -> list[str]:
    """The runtimes that the accounts of these backends hold, or may hold, by endpoint: those that the lenders list, and
    those of sessions here that no lender has accepted to end.

    Raises:
        errors.Error: a lender does not say.
    """
    found: list[str] = []
    records = manager.store.records()
    for name in backends:
        lender = manager.leased(name)
        if lender is None:
            continue
        found += [item.endpoint for item in lender.runtimes()]
        ours = [record for record in records if record.backend == name]
        found += [
            record.runtime.endpoint for record in ours if lifecycle.is_held(record) and not lifecycle.is_gone(record)
        ]
    return [endpoint for endpoint in dict.fromkeys(found) if endpoint]


def clean(manager: SessionManager, *, dry_run: bool = False) -> SessionsCleaned:
    """Forget the sessions whose runtime is certainly gone; those that merely do not answer are kept.

    What is certain about a leased runtime, its lender says. No runtime is ended.
    """
    records = {record.id: record for record in settle(manager, manager.store.records())}
    manager.report_damage()
    documents = manager.each(lambda record: inspect(manager, record), list(records.values()))
    removed, kept = [], []
    for item in documents:
        lender = manager.leased(item.backend)
        gone = item.status == "stale"
        if lender is not None and gone:
            gone = lender.certainly_gone(records[item.id])
        elif lender is not None and item.status == "starting":
            gone = not lender.reconcile(records[item.id])
        if gone:
            removed.append(item.id)
        elif item.status in ("stale", "unreachable", "closing"):
            kept.append(item.id)
    if not dry_run:
        for session_id in removed:
            former.forget(manager.store, records[session_id])
    return SessionsCleaned(removed=removed, kept=kept, dry_run=dry_run)
