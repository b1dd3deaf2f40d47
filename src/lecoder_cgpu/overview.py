"""`status`: what is held, where, and with which GPUs, gathered from all runtimes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import UNSET

from . import errors, models
from .runtime import Session
from .sessions import Record

if TYPE_CHECKING:
    from .client import Client
    from .resident import GpuReport, Report, Resident


def status(client: Client, key: str | None = None) -> models.Status:
    """The document of `status`: every stored session, or only the one named.

    A runtime that does not answer is listed with `connected: false` and the problem; it hides nothing else.

    Raises:
        errors.NotFoundError, errors.UsageError: the session that was named does not exist, or is ambiguous.
    """
    records = [client.store.find(key)] if key is not None else client.store.records()
    runtimes = client.each(lambda record: _runtime(client, record), records)
    # The one that plain commands use comes first, as scripts look at `runtimes[0]`.
    order = sorted(range(len(records)), key=lambda index: not records[index].is_active)
    active = next((record for record in records if record.is_active), None)
    connected = sum(runtime.connected for runtime in runtimes)
    counts = models.SessionCounts(
        total=len(records),
        active=int(active is not None),
        connected=connected,
        stale=sum(runtime.problem == _GONE for runtime in runtimes),
    )
    if active is not None:
        counts.active_session = models.ActiveSession(
            id=active.id, label=active.label, runtime=active.runtime.label, name=active.name
        )
    authenticated, account = _login(client)
    return models.Status(
        authenticated=authenticated,
        account=account or UNSET,
        runtimes=[runtimes[index] for index in order],
        sessions=counts,
        backend=client.config.backend.value or "",
    )


def _login(client: Client) -> tuple[bool, models.Account | None]:
    """Whether there is a login, and whose; a file of it that is damaged must not hide the rest."""
    try:
        return client.login.is_logged_in(), client.login.account()
    except errors.ConfigError as error:
        client.notify(error.message)
        return False, None


_GONE = "the runtime is gone"


def _runtime(client: Client, record: Record) -> models.RuntimeStatus:
    document = models.RuntimeStatus(
        label=record.runtime.label, endpoint=record.runtime.endpoint, accelerator=record.runtime.accelerator,
        connected=False, backend=record.backend, session=record.name,
    )  # fmt: skip
    session = client.hold_or_none(record)
    if session is None:
        document.problem = f"this version cannot use the {record.backend} backend"
        return document
    try:
        if session.is_lost():
            document.problem = _GONE
            return document
        document.kernel = session.kernel_info(session.kernel())
        _with_resident(session, lambda resident: _fill(document, resident))
        document.connected = True
    except errors.Error as error:
        document.problem = error.message
    return document


def _with_resident(session: Session, action: Callable[[Resident], None]) -> None:
    resident = session.connect_resident()
    try:
        action(resident)
    finally:
        resident.close()


def _fill(document: models.RuntimeStatus, resident: Resident) -> None:
    report = resident.report()
    document.gpus = [gpu_document(item) for item in report.gpus]
    if document.gpus:
        document.gpu = document.gpus[0]
        document.accelerator = document.gpus[0].name
    elif report.gpu_problem:
        document.problem = f"the GPUs could not be asked: {report.gpu_problem}"
    document.host = _host(report)
    document.runs = sum(not state.ended for state in resident.runs())


def gpu_document(report: GpuReport) -> models.Gpu:
    """A GPU as documents show it."""
    gpu = models.Gpu(
        index=report.index,
        name=report.name,
        uuid=report.uuid or UNSET,
        driver=report.driver or UNSET,
        utilization=models.Utilization(gpu=_percent(report.utilization), memory="unknown"),
    )
    total, used = report.memory_total_bytes, report.memory_used_bytes
    if total is not None and used is not None:
        gpu.memory = models.Memory.of(total, used)
        gpu.utilization.memory = _percent(100 * used / total if total else 0)
    return gpu


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}%"


def _host(report: Report) -> models.Host:
    host = models.Host(
        kind="gpu" if report.gpus else "cpu",
        hostname=report.hostname,
        system=report.system,
        python=report.python,
        cpus=report.cpus,
    )
    if report.memory is not None:
        host.memory = models.Memory.of(
            report.memory.total_bytes, report.memory.total_bytes - report.memory.available_bytes
        )
    if report.disk is not None:
        host.disk = models.Memory.of(report.disk.total_bytes, report.disk.total_bytes - report.disk.free_bytes)
    return host
