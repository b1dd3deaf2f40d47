"""`status`, `usage` and `gpus`: what is held, where, with which GPUs, and what it costs; all asked for at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from .. import errors
from ..models.base import timestamp
from ..models.status import (
    Accelerators,
    ActiveSession,
    Gpu,
    Host,
    Memory,
    RuntimeStatus,
    SessionCounts,
    Status,
    Units,
    Usage,
    Utilization,
)
from ..store import leases
from ..store.session_store import Record
from . import operations
from .session import Session

if TYPE_CHECKING:
    from ..backends.colab.model import Account, Assignment
    from ..helper.client import Helper
    from ..helper.documents import GpuReport, Report
    from ..models.status import Account as AccountDocument
    from .manager import SessionManager

_NO_LOGIN = ("LoginExpired", "NotLoggedIn", "Unauthorized")
GONE = "the runtime is gone"
_FOREIGN = "no session of this tool; take it over with: lecoder-cgpu sessions adopt {} --name NAME"


def status(client: SessionManager, key: str | None = None) -> Status:
    """The document of `status`: login and units, every stored session, and what else the account holds on Colab; with
    `key` only that session.

    A runtime that does not answer is listed with `connected: false` and the problem; it hides nothing else.

    Raises:
        errors.NotFoundError, errors.UsageError: the session that was named does not exist, or is ambiguous.
    """
    records = [client.store.find(key)] if key is not None else client.store.records()
    asks_colab = operations.concerns_colab(client, records)
    with ThreadPoolExecutor(max_workers=8) as pool:
        account = pool.submit(_attempt, client.colab.account) if asks_colab else None
        listing = pool.submit(_attempt, client.colab.listing) if asks_colab else None
        runtimes = list(pool.map(lambda record: _runtime(client, record), records))
    document = _document(client, records, runtimes)
    if account is not None and listing is not None:
        _add_colab(client, document, records, account, listing, whole=key is None)
    return document


def _document(client: SessionManager, records: list[Record], runtimes: list[RuntimeStatus]) -> Status:
    # The one that plain commands use comes first, as scripts look at `runtimes[0]`.
    order = sorted(range(len(records)), key=lambda index: not records[index].is_active)
    active = next((record for record in records if record.is_active), None)
    counts = SessionCounts(
        total=len(records),
        active=int(active is not None),
        connected=sum(runtime.connected for runtime in runtimes),
        stale=sum(runtime.problem == GONE for runtime in runtimes),
    )
    if active is not None:
        counts.active_session = ActiveSession(
            id=active.id, label=active.label, runtime=active.runtime.label, name=active.name
        )
    authenticated, account = _login(client)
    return Status(
        authenticated=authenticated,
        account=account or UNSET,
        runtimes=[runtimes[index] for index in order],
        sessions=counts,
        backend=client.config.backend.value or "",
    )


def _login(client: SessionManager) -> tuple[bool, AccountDocument | None]:
    """Whether there is a login, and whose; a file of it that is damaged must not hide the rest."""
    try:
        return client.login.is_logged_in(), client.login.account()
    except errors.ConfigError as error:
        client.notify(error.message)
        return False, None


def _add_colab(
    client: SessionManager,
    document: Status,
    records: list[Record],
    account: Future[Account | errors.Error],
    listing: Future[list[Assignment] | errors.Error],
    *,
    whole: bool,
) -> None:
    """What Colab says. Where it does not answer, the document says that, and nothing is taken for zero."""
    found, rows = account.result(), listing.result()
    for problem in (found, rows):
        if isinstance(problem, errors.Error):
            document.problem = problem.message
            if isinstance(problem, errors.AuthError) and problem.name in _NO_LOGIN:
                document.authenticated = False
    tier = None
    if not isinstance(found, errors.Error):
        document.units = units(found)
        document.eligible_gpus = found.gpus or []
        document.ineligible_gpus = _said(found.refused_gpus)
        document.eligible_tpus = _said(found.tpus)
        document.ineligible_tpus = _said(found.refused_tpus)
        tier = found.tier
    tier = _granted_tier(records) or tier
    if tier is None and not isinstance(found, errors.Error) and not any(item.backend == "colab" for item in records):
        tier = client.colab.control.tier()
    document.tier = document.sessions.tier = tier or "unknown"
    if isinstance(rows, errors.Error) or not whole:
        return
    ours = {record.runtime.endpoint for record in records if record.backend == "colab"}
    document.runtimes += [_foreign(item) for item in rows if item.endpoint not in ours]
    if len(rows) == 1 and not isinstance(found, errors.Error) and found.rate is not None:
        for runtime in document.runtimes:
            if runtime.endpoint == rows[0].endpoint:
                runtime.units_per_hour = found.rate


def _granted_tier(records: list[Record]) -> str | None:
    """The account's tier as Colab told it with a runtime that a session here holds."""
    return next(
        (record.allocation.tier for record in records if record.allocation is not None and record.allocation.tier), None
    )


def _foreign(item: Assignment) -> RuntimeStatus:
    return RuntimeStatus(
        label=item.label,
        endpoint=item.endpoint,
        accelerator=item.accelerator,
        connected=False,
        backend="colab",
        session="",
        origin="elsewhere",
        problem=_FOREIGN.format(item.endpoint),
    )


def usage(client: SessionManager) -> Usage:
    """The document of `usage`.

    Raises:
        errors.AuthError: not logged in. errors.ConnectionFailed: Colab does not answer.
    """
    account = client.colab.account()
    tier = _granted_tier(client.store.records()) or account.tier or client.colab.control.tier()
    return Usage(account=client.login.account() or UNSET, tier=tier or "unknown", units=units(account))


def accelerators(client: SessionManager) -> Accelerators:
    """The document of `gpus`.

    Raises:
        errors.AuthError: not logged in. errors.ConnectionFailed: Colab does not answer.
    """
    account = client.colab.account()
    return Accelerators(
        known=account.names is not None,
        eligible_gpus=account.gpus or [],
        ineligible_gpus=account.refused_gpus or [],
        eligible_tpus=account.tpus or [],
        ineligible_tpus=account.refused_tpus or [],
    )


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


def _runtime(client: SessionManager, record: Record) -> RuntimeStatus:
    document = RuntimeStatus(
        label=record.runtime.label,
        endpoint=record.runtime.endpoint,
        accelerator=record.runtime.accelerator,
        connected=False,
        backend=record.backend,
        session=record.name,
    )
    if record.backend == "colab":
        document.lease = leases.info(record)
    session = client.hold_or_none(record)
    if session is None:
        document.problem = f"this version cannot use the {record.backend} backend"
        return document
    if record.backend == "colab":
        document.origin = "ours"
    try:
        if session.is_lost():
            document.problem = GONE
            return document
        if session.backend.find(record) is None:
            document.problem = "the runtime is being started"
            return document
        document.kernel = session.kernel_info(session.kernel())
        if record.backend == "colab" and record.helper is None:
            _fill_from_resources(document, client.colab.resources(session.server.endpoint))
        else:
            _with_helper(session, lambda helper: _fill(document, helper))
        document.connected = True
    except errors.LostError:
        document.problem = GONE
    except errors.Error as error:
        document.problem = error.message
    return document


def _with_helper(session: Session, action: Callable[[Helper], None]) -> None:
    helper = session.connect_helper()
    try:
        action(helper)
    finally:
        helper.close()


def _fill(document: RuntimeStatus, helper: Helper) -> None:
    report = helper.report()
    document.gpus = [gpu_document(item) for item in report.gpus]
    if document.gpus:
        document.gpu = document.gpus[0]
        document.accelerator = document.gpus[0].name
    elif report.gpu_problem:
        document.problem = f"the GPUs could not be asked: {report.gpu_problem}"
    document.host = _host(report)
    document.runs = sum(not state.ended for state in helper.runs())


def _fill_from_resources(document: RuntimeStatus, answer: dict[str, Any]) -> None:
    """The same from Colab's own route, where no helper of ours runs yet. Whatever it leaves out stays out."""
    for number, item in enumerate(_dicts(answer.get("gpus"))):
        gpu = Gpu(
            index=number,
            name=str(item.get("name") or "unknown"),
            utilization=Utilization(gpu=_percent(_times_100(item.get("gpuUtilization"))), memory="unknown"),
        )
        total, used = _whole(item.get("memoryTotalBytes")), _whole(item.get("memoryUsedBytes"))
        if total:
            gpu.memory = Memory.of(total, used)
            gpu.utilization.memory = _percent(100 * used / total)
        document.gpus.append(gpu)
    host = Host(kind="gpu" if document.gpus else "cpu")
    memory = answer.get("memory")
    if isinstance(memory, dict) and _whole(memory.get("totalBytes")):
        total = _whole(memory.get("totalBytes"))
        host.memory = Memory.of(total, total - _whole(memory.get("freeBytes")))
    for disk in _dicts(answer.get("disks"))[:1]:
        system = disk.get("filesystem") or {}
        if _whole(system.get("totalBytes")):
            host.disk = Memory.of(_whole(system.get("totalBytes")), _whole(system.get("usedBytes")))
    document.host = host
    if document.gpus:
        document.gpu = document.gpus[0]
        document.accelerator = document.gpus[0].name


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) else 0


def _times_100(value: Any) -> float | None:
    return 100.0 * value if isinstance(value, (int, float)) else None


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
