"""What commands do with the sessions: listing, starting, taking over, giving back, forgetting.

Colab's listing is the truth about Colab's runtimes. What it shows and no session here holds is listed too, with its
origin, and is never ended unless the user names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, structs

from .. import errors
from ..backends.protocol import RuntimeRequest
from ..models.sessions import RuntimeRef, SessionClosed, SessionDocument, SessionsCleaned
from ..store import leases
from ..store.session_store import Record, check_name, insert
from .session import Session

if TYPE_CHECKING:
    from ..backends.colab.model import Assignment
    from ..models.sessions import KernelInfo
    from .manager import SessionManager


def concerns_colab(client: SessionManager, records: list[Record]) -> bool:
    """Whether Colab's listing is of interest: somebody is logged in, and has not chosen another backend."""
    chosen = client.config.backend
    if chosen.source != "default" and chosen.value != "colab" and all(item.backend != "colab" for item in records):
        return False
    try:
        return client.login.is_logged_in()
    except errors.ConfigError as error:  # a damaged file of the login must not hide the rest
        client.notify(error.message)
        return False


def list_sessions(client: SessionManager) -> list[SessionDocument]:
    """Every stored session, most recently used first, and behind them the account's other runtimes."""
    records = settle(client, client.store.records())
    client.report_damage()
    documents: list[SessionDocument] = client.each(lambda record: inspect(client, record), records)
    if concerns_colab(client, records):
        try:
            foreign = client.colab.foreign(records)
        except errors.Error as error:
            client.notify(f"Colab's own list of runtimes is not to be had: {error.message}")
        else:
            documents += client.each(lambda found: _foreign(client, found), foreign)
    return documents


def settle(client: SessionManager, records: list[Record]) -> list[Record]:
    """Forget the sessions that were closing and have left the listing; find out about those whose answer was lost."""
    kept = []
    for record in records:
        allocation = record.allocation
        try:
            closing = allocation is not None and allocation.state == "closing"
            if closing and not leases.lease_of(record).ended and client.colab.certainly_gone(record):
                client.store.remove(record.id)
                continue
            if allocation is not None and allocation.state == "asked":
                client.colab.reconcile(record)
        except errors.Error as error:
            client.notify(f"session {record.name!r}: Colab cannot be asked about it: {error.message}")
        kept.append(record)
    return kept


def inspect(client: SessionManager, record: Record) -> SessionDocument:
    """A stored session with what its runtime says now; starts nothing."""
    session = client.hold_or_none(record)
    status: Any = "unreachable"
    kernel: KernelInfo | Any = UNSET
    try:
        if session is None:
            pass  # of a backend that this version does not have
        elif record.allocation is not None and record.allocation.state == "closing":
            status = "closing"
        elif session.is_lost():
            status = "stale"
        elif session.backend.find(record) is None:
            status = "starting"
        else:
            kernel = session.kernel_info(session.kernel())
            if record.kernel is None:
                session.server.kernels()
            status = "active" if record.is_active else "idle"
    except errors.LostError:
        status = "stale"
    except errors.Error:
        status = "unreachable"
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
    )
    if record.backend == "colab":
        document.origin = "ours"
        document.high_ram = record.allocation.high_memory if record.allocation is not None else UNSET
        document.lease = leases.info(record)
    return document


def _foreign(client: SessionManager, found: Assignment) -> SessionDocument:
    runtime = RuntimeRef(label=found.label, accelerator=found.accelerator, endpoint=found.endpoint)
    if found.proxy is not None:
        runtime.url = found.proxy.url
    origin = client.colab.origin(found)
    return SessionDocument(
        id=found.endpoint,
        name=found.endpoint,
        label=found.label,
        backend="colab",
        runtime=runtime,
        variant=found.variant,
        is_active=False,
        status="unreachable" if origin == "elsewhere" else "idle",
        origin=origin,
        high_ram=found.high_memory,
    )


def ensure(client: SessionManager, name: str, wants: RuntimeRequest) -> tuple[Session, bool]:
    """The session of that name with its runtime, started if it is not there, and whether it was.

    Doing it twice, at once or after a lost answer, is doing it once.

    Raises:
        errors.UsageError: the name is no good, or belongs to a session of another kind.
        errors.Error: as `backends.colab.Backend.obtain` has it.
    """
    check_name(name)
    backend_name = client.config.backend.value or "colab"
    client.check_kind(backend_name, wants)
    backend = client.backend(backend_name)
    with client.store.transaction() as records:
        record = next((item for item in records if item.name == name), None)
        if record is None:
            record = backend.create(name, wants)
            insert(records, record)
        else:
            if record.backend != backend_name or not backend.serves(record, wants):
                raise errors.UsageError(
                    f"session {name!r} is {record.label}, which is not what you ask for",
                    name="SessionExists",
                    hint=f"choose another name, or give it back first: lecoder-cgpu sessions close {name}",
                )
            for item in records:
                item.is_active = item is record
    client.limit(record, wants.limits)
    session = client.hold(record)
    if record.backend == "colab" and client.colab.find(record) is not None and client.colab.is_gone(record):
        client.colab.give_up(record)
    known = record.runtime.endpoint if client.backend(record.backend).find(record) is not None else ""
    session.terms = structs.replace(session.terms, patience=wants.patience, replace=True)
    try:
        session.endpoint  # noqa: B018 - starts it
    except errors.Error:
        if record.backend == "local" and not known:
            client.store.remove(record.id)
        raise
    return session, record.runtime.endpoint != known


def adopt(client: SessionManager, endpoint: str, name: str) -> Session:
    """Take over a runtime of the account that no session here holds, and make it the active one.

    Raises:
        errors.NotFoundError: the account holds no such runtime. errors.UsageError: it has a session, or a bad name.
    """
    check_name(name)
    held = next((item for item in client.store.records() if item.runtime.endpoint == endpoint), None)
    if held is not None:
        raise errors.UsageError(
            f"session {held.name!r} holds that runtime already",
            name="SessionExists",
            hint=f"lecoder-cgpu sessions switch {held.name}",
        )
    record = client.colab.adopt(endpoint, name)
    client.store.add(record)
    return client.hold(record)


def close(client: SessionManager, record: Record) -> SessionClosed:
    """Release a session's runtime as far as it is ours, then forget the session.

    Raises:
        errors.Error: the runtime could not be told; the session is kept then.
    """
    session = client.hold(record)
    kernels: list[str] = []
    released: Any = "nothing"
    if record.backend == "jupyter":
        kernels = session.close_kernels()
        released = "kernels" if kernels else "nothing"
    else:
        released = session.backend.release(record)
    if released == "requested":  # it stays until the listing agrees, and is used by nothing
        client.store.retire(record.id)
    else:
        client.store.remove(record.id)
    return SessionClosed(session_id=record.id, name=record.name, released=released, kernels=kernels)


def is_foreign(client: SessionManager, endpoint: str) -> bool:
    """Whether the account holds a runtime of that name for which there is no session here."""
    records = client.store.records()
    return concerns_colab(client, records) and any(item.endpoint == endpoint for item in client.colab.foreign(records))


def held(client: SessionManager) -> list[str] | None:
    """The runtimes that the account holds on Colab; None when Colab does not say."""
    try:
        return [item.endpoint for item in client.colab.listing()]
    except errors.Error:
        return None


def clean(client: SessionManager, *, dry_run: bool = False) -> SessionsCleaned:
    """Forget the sessions whose runtime is certainly gone; those that merely do not answer are kept.

    On Colab, "certainly" takes two listings. No runtime is ended.
    """
    records = {record.id: record for record in settle(client, client.store.records())}
    client.report_damage()
    documents = client.each(lambda record: inspect(client, record), list(records.values()))
    removed, kept = [], []
    for item in documents:
        gone = item.status == "stale"
        if item.backend == "colab" and gone:
            gone = client.colab.certainly_gone(records[item.id])
        elif item.status == "starting" and records[item.id].allocation is not None:
            gone = not client.colab.reconcile(records[item.id])
        if gone:
            removed.append(item.id)
        elif item.status in ("stale", "unreachable", "closing"):
            kept.append(item.id)
    if not dry_run:
        for session_id in removed:
            client.store.remove(session_id)
    return SessionsCleaned(removed=removed, kept=kept, dry_run=dry_run)
