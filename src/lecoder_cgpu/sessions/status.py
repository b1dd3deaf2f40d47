"""`status`, `usage` and `gpus`: what is held, where, with which GPUs, and what it costs; all asked for at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from .. import errors
from ..backends.protocol import Account, HeldRuntime, Leased
from ..models.base import UNKNOWN_ACCOUNT, timestamp
from ..models.status import (
    Accelerator,
    Accelerators,
    ActiveSession,
    Gpu,
    Host,
    Loss,
    Memory,
    RuntimeStatus,
    SessionCounts,
    Status,
    Units,
    Usage,
    Utilization,
)
from ..models.status import Account as AccountDocument
from ..store import leases, lifecycle, owners, rates
from ..store.session_store import Record
from . import operations, running
from .session import Session

if TYPE_CHECKING:
    from ..helper.client import Helper
    from ..helper.documents import GpuReport, Report, RunState
    from .manager import SessionManager

    Seen = Callable[[Session, Helper, Sequence[RunState]], None]

_NO_LOGIN = (errors.LoginExpired, errors.NotLoggedIn, errors.Unauthorized)
GONE = "the runtime is gone"
ENDING = "its end was accepted, and the account still lists it; it may cost until it is gone"
CLOSING = "it is being given back, which is not confirmed: it may still cost; again: lecoder-cgpu sessions close {}"
WITHDRAWN = "its start was interrupted, and not answered; should it still appear, it is given back"
UNLISTED = "the lender does not list the runtime now; it may still be there, and cost"
_FOREIGN = "no session of this tool; take it over with: lecoder-cgpu sessions adopt {} --name NAME"

_FORMER = (
    "session {} had it, and no session has it now; take it over with: lecoder-cgpu sessions adopt {} --name NAME; "
    "or end it: lecoder-cgpu sessions close --orphans"
)


def status(
    manager: SessionManager,
    key: str | None = None,
    seen: Seen = lambda session, helper, states: None,
    *,
    account: bool = True,
) -> Status:
    """The document of `status`: login and units, every stored session, and what else the account holds; with
    `key` only that session. A runtime that does not answer is listed with `connected: false` and the problem; it hides
    nothing else.

    Args:
        seen: told of the runs that a runtime has named, maybe in several threads.
        account: whether lenders are asked: without them, nothing is said of units and of what else is held.

    Raises:
        errors.NotFoundError, errors.UsageError: the session that was named does not exist, or is ambiguous.
    """
    records = [manager.store.find(key)] if key is not None else manager.store.records()
    manager.keep_held(records)
    lenders = operations.lenders(manager, records) if account else []
    with ThreadPoolExecutor(max_workers=8) as pool:
        asked = [
            (lender, pool.submit(_attempt, lender.account), pool.submit(_attempt, lender.runtimes))
            for lender in lenders
        ]
        runtimes = list(pool.map(lambda record: _runtime(manager, record, seen), records))
    document = _document(manager, records, runtimes)
    if not manager.config.profile.alone:
        from .profile_changes import held_elsewhere

        document.held_elsewhere = held_elsewhere(manager.config) or UNSET
    for number, (lender, balance, listing) in enumerate(asked):
        if number == 0:  # the document has room for one account: that of the chosen backend comes first
            _add_account(document, lender, records, balance.result(), listing.result())
        if key is None:
            _add_foreign(document, lender, records, balance.result(), listing.result(), manager.state_dir)
    return document


def _document(manager: SessionManager, records: list[Record], runtimes: list[RuntimeStatus]) -> Status:
    # The one that plain commands use comes first, as scripts look at `runtimes[0]`.
    order = sorted(range(len(records)), key=lambda index: not records[index].is_active)
    active = next((record for record in records if record.is_active), None)
    counts = SessionCounts(
        total=len(records),
        active=sum(
            runtime.problem != GONE for record, runtime in zip(records, runtimes, strict=True) if record.is_active
        ),
        connected=sum(runtime.connected for runtime in runtimes),
        stale=sum(runtime.problem == GONE for runtime in runtimes),
    )
    if active is not None:
        counts.active_session = ActiveSession(
            id=active.id, label=active.label, runtime=active.runtime.label, name=active.name
        )
    authenticated, account = _login(manager)
    return Status(
        authenticated=authenticated,
        account=account or (AccountDocument(id=UNKNOWN_ACCOUNT, label=UNKNOWN_ACCOUNT) if authenticated else UNSET),
        profile=manager.config.profile.name,
        runtimes=[runtimes[index] for index in order],
        sessions=counts,
        backend=manager.chosen,
    )


def _login(manager: SessionManager) -> tuple[bool, AccountDocument | None]:
    """Whether there is a login, and whose; a file of it that is damaged must not hide the rest."""
    try:
        return manager.login.is_logged_in(), manager.login.account()
    except errors.ConfigError as error:
        manager.notify(error.message)
        return False, None


def _add_account(
    document: Status,
    lender: Leased,
    records: list[Record],
    found: Account | errors.Error,
    rows: Sequence[HeldRuntime] | errors.Error,
) -> None:
    """What the lender says of the account. Where it does not answer, the document says that, and nothing is taken for
    zero."""
    for problem in (found, rows):
        if isinstance(problem, errors.Error):
            document.problem = problem.message
            if isinstance(problem, _NO_LOGIN):
                document.authenticated = False
    tier = None
    if not isinstance(found, errors.Error):
        document.units = units(found)
        document.eligible_gpus = found.gpus or []
        document.ineligible_gpus = _said(found.refused_gpus)
        document.eligible_tpus = _said(found.tpus)
        document.ineligible_tpus = _said(found.refused_tpus)
        tier = found.tier
    tier = _granted_tier(lender, records) or tier
    holds = any(record.backend == lender.name for record in records)
    if tier is None and not holds and not isinstance(found, errors.Error):
        tier = lender.tier()
    document.tier = document.sessions.tier = tier or "unknown"


def _add_foreign(
    document: Status,
    lender: Leased,
    records: list[Record],
    found: Account | errors.Error,
    rows: Sequence[HeldRuntime] | errors.Error,
    folder: Path,
) -> None:
    """The account's runtimes that no session here holds. What the only one costs is what the account costs."""
    if isinstance(rows, errors.Error):
        return
    others = operations.not_held(lender, records, rows, folder)
    document.runtimes += [_foreign(lender, item, folder) for item in others]
    alone = len(rows) == 1 and not isinstance(found, errors.Error) and found.assignments in (None, 1)
    if alone and not isinstance(found, errors.Error) and found.rate is not None:
        for runtime in document.runtimes:
            if runtime.backend == lender.name and runtime.endpoint == rows[0].endpoint:
                runtime.units_per_hour = found.rate
        for record in records:
            if record.backend == lender.name and record.runtime.endpoint == rows[0].endpoint:
                rates.learn(folder, record, found.rate)


def _granted_tier(lender: Leased, records: list[Record]) -> str | None:
    """The account's tier as the lender told it with a runtime that a session here holds."""
    allocations = [record.allocation for record in records if record.backend == lender.name]
    return next((item.tier for item in allocations if item is not None and item.tier), None)


def _foreign(lender: Leased, item: HeldRuntime, folder: Path) -> RuntimeStatus:
    known = operations.was_ours(folder, item.endpoint)
    rate = None if known is None else rates.read(folder).get(known.kind)
    return RuntimeStatus(
        label=item.label,
        endpoint=item.endpoint,
        accelerator=item.accelerator,
        connected=False,
        backend=lender.name,
        account=operations.holder(lender).id,
        session="",
        origin="elsewhere" if known is None else "ours",
        problem=_FOREIGN.format(item.endpoint) if known is None else _FORMER.format(known.session, item.endpoint),
        units_per_hour=UNSET if rate is None else rate,
    )


def usage(manager: SessionManager) -> Usage:
    """The document of `usage`.

    Raises:
        errors.AuthError: not logged in. errors.ConnectionFailed: the lender does not answer.
    """
    lender = manager.lender()
    account = lender.account()
    tier = _granted_tier(lender, manager.store.records()) or account.tier or lender.tier()
    _learn_rate(manager, lender, account)
    return Usage(account=operations.holder(lender), tier=tier or "unknown", units=units(account))


def _learn_rate(manager: SessionManager, lender: Leased, account: Account) -> None:
    """Note what a runtime costs, if the account's only one is ours."""
    held = [record for record in manager.store.records() if record.backend == lender.name]
    ready = [record for record in held if lender.state(record) == "ready"]
    if account.rate is not None and account.assignments == 1 and len(ready) == 1:
        rates.learn(manager.state_dir, ready[0], account.rate)


def accelerators(manager: SessionManager) -> Accelerators:
    """The document of `gpus`.

    Raises:
        errors.AuthError: not logged in. errors.ConnectionFailed: the lender does not answer.
    """
    lender = manager.lender()
    account = lender.account()
    _learn_rate(manager, lender, account)
    named = (
        (account.gpus, "GPU", True),
        (account.tpus, "TPU", True),
        (account.refused_gpus, "GPU", False),
        (account.refused_tpus, "TPU", False),
    )
    seen = rates.read(manager.state_dir)
    return Accelerators(
        accelerators=[
            Accelerator(
                name=name,
                kind=kind,  # type: ignore[arg-type]
                allowed=allowed,
                memory=_said(lender.memory.get(name)),
                units_per_hour=_said(seen.get(rates.kind_of(lender.name, name))),
            )
            for names, kind, allowed in named
            for name in names or ()
        ],
        balance=_said(account.balance),
        free_units=_said(account.free_units),
        account=operations.holder(lender),
        known=account.names is not None,
        eligible_gpus=account.gpus or [],
        ineligible_gpus=account.refused_gpus or [],
        eligible_tpus=account.tpus or [],
        ineligible_tpus=account.refused_tpus or [],
    )


def seen_rates(manager: SessionManager) -> dict[str, float]:
    """What each kind of machine of the usual lender was seen to cost, by its name for people."""
    lender = manager.leased(manager.chosen)
    if lender is None:
        return {}
    start = rates.kind_of(lender.name, "")
    known = {
        kind.removeprefix(start): rate for kind, rate in rates.read(manager.state_dir).items() if kind.startswith(start)
    }
    return {"CPU" if name == "NONE" else name: rate for name, rate in known.items()}


def units(account: Account) -> Units:
    """The account's units as documents have them."""
    refills = account.refills_at
    return Units(
        balance=_said(account.balance),
        per_hour=_said(account.rate),
        hours_left=_said(account.hours_left),
        runtimes=_said(account.assignments),
        free_units=_said(account.free_units),
        refills_at=UNSET if refills is None else timestamp(datetime.fromtimestamp(refills, UTC)),
    )


def _said(value: Any) -> Any:
    return UNSET if value is None else value


def _attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except errors.Error as error:
        return error


# --- one runtime ----------------------------------------------------------------------------------------------------


def _runtime(manager: SessionManager, record: Record, seen: Seen) -> RuntimeStatus:
    document = RuntimeStatus(
        label=record.runtime.label,
        endpoint=record.runtime.endpoint,
        accelerator=record.runtime.accelerator,
        connected=False,
        backend=record.backend,
        session=record.name,
        account=record.account,
    )
    leased = manager.leased(record.backend) is not None
    if leased:
        document.lease = leases.info(record)
    session = manager.hold_or_none(record)
    if session is None:
        document.problem = f"this version cannot use the {record.backend} backend"
        return document
    if leased:
        document.origin = "ours"
    try:
        lost = session.is_lost()  # asks, and notes what is found
        stored = manager.store.get(record.id) or record
        if lifecycle.stage(stored) == "closing":
            document.problem = ENDING if lifecycle.is_accepted(stored) else CLOSING.format(record.name)
            return document
        if lost:
            _lose(document, manager, record)
            return document
        if lifecycle.stage(record) == "unlisted":
            document.problem = UNLISTED
            return document
        if session.backend.find(record) is None:
            document.problem = WITHDRAWN if owners.is_unwanted(stored) else "the runtime is being started"
            return document
        document.kernel = session.kernel_info(session.kernel())
        machine = session.backend.machine(record, session.server.endpoint)
        if machine is not None:
            _fill_hardware(document, machine.gpus, machine.host)
        else:
            _with_helper(session, lambda helper: seen(session, helper, _fill(document, helper)))
        document.connected = True
    except errors.LostError:
        _lose(document, manager, record)
    except (errors.UsageError, errors.HelperFailed) as error:  # the server answers, and cannot have a helper
        document.problem, document.connected = error.message, True
    except errors.Error as error:
        document.problem = error.message
    finally:
        session.close()
    return document


def _lose(document: RuntimeStatus, manager: SessionManager, record: Record) -> None:
    """Say that the runtime is gone, since when, and why."""
    document.problem = GONE
    stored = manager.store.get(record.id) or record  # what was found out a moment ago is stored
    document.lost = Loss(at=stored.allocation.lost_at if stored.allocation is not None else None)
    if (why := leases.lease_of(stored).why) is not None:
        document.lost.cause = f"released, for {why}"


def _with_helper(session: Session, action: Callable[[Helper], None]) -> None:
    helper = session.connect_helper()
    try:
        action(helper)
    finally:
        helper.close()


def _fill(document: RuntimeStatus, helper: Helper) -> list[RunState]:
    """Fill in what the helper tells; returns the runs that it has named."""
    report = helper.report()
    _fill_hardware(document, [gpu_document(item) for item in report.gpus], _host(report))
    if not document.gpus and report.gpu_problem:
        document.gpus = None
        document.problem = f"the GPUs could not be asked: {report.gpu_problem}"
    states = helper.runs()
    running.fill(document, states, report)
    return states


def _fill_hardware(document: RuntimeStatus, gpus: list[Gpu], host: Host) -> None:
    document.gpus, document.host = gpus, host
    if gpus:
        document.gpu = gpus[0]
        document.accelerator = gpus[0].name


def gpu_document(report: GpuReport) -> Gpu:
    """A GPU as documents show it."""
    gpu = Gpu(
        index=report.index,
        name=report.name,
        uuid=report.uuid or UNSET,
        driver=report.driver or UNSET,
        utilization=Utilization(gpu=_percent(report.utilization), memory="unknown"),
    )
    total, used = report.memory_total_bytes, report.memory_used_bytes
    if total is not None and used is not None:
        gpu.memory = Memory.of(total, used)
        gpu.utilization.memory = _percent(100 * used / total if total else 0)
    return gpu


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}%"


def _host(report: Report) -> Host:
    host = Host(
        kind="gpu" if report.gpus else "cpu",
        hostname=report.hostname,
        system=report.system,
        python=report.python,
        cpus=report.cpus,
    )
    if report.memory is not None:
        host.memory = Memory.of(report.memory.total_bytes, report.memory.total_bytes - report.memory.available_bytes)
    if report.disk is not None:
        host.disk = Memory.of(report.disk.total_bytes, report.disk.total_bytes - report.disk.free_bytes)
    return host
