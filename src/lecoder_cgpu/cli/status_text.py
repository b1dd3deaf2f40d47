"""A runtime in words, for people: how it is, what it does, what it costs, and when it ends."""

from __future__ import annotations

import time

from ..models.keeper import LeaseInfo
from ..models.sessions import KernelInfo
from ..models.status import Host, Loss, Memory, RuntimeStatus, UnderWay
from ..sessions.status import GONE
from . import times
from .job_text import SHORT
from .looks import Cell

Line = tuple[str, ...]
SHOWN = 8  # runs that are shown of a runtime


def runtime(found: RuntimeStatus) -> list[Line]:
    """The lines about one runtime."""
    state, style = ("reachable", "green") if found.connected else ("not reachable", "yellow")
    if not found.session:
        state, style = "not ours" if found.origin != "ours" else "ours, in no session", "yellow"
    lines: list[Line] = [(Cell(found.session or found.endpoint, "bold"), f": {found.label}, ", Cell(state, style))]
    if isinstance(found.units_per_hour, float):
        lines.append((Cell(f"  costs      {found.units_per_hour:g} units an hour", "yellow"),))
    if isinstance(found.problem, str):
        lines.append(("  problem    ", Cell(found.problem, "red")))
    lines += end(found)
    if isinstance(found.kernel, KernelInfo):
        lines.append((f"  kernel     {found.kernel.state}",))
    lines += _runs(found.running if isinstance(found.running, list) else [])
    for process in found.remaining if isinstance(found.remaining, list) else ():
        lines.append((f"  left       {process.pid} {process.command} (by {process.run})",))
    for gpu in found.gpus or ():
        memory = f"{gpu.memory.free} free of {gpu.memory.total}, " if isinstance(gpu.memory, Memory) else ""
        lines.append((f"  gpu {gpu.index}      {gpu.name}: {memory}{gpu.utilization.gpu} busy",))
    return lines + (_host(found.host) if isinstance(found.host, Host) else [])


def end(found: RuntimeStatus) -> list[Line]:
    """How it was lost, or when it will be given back by itself."""
    lines: list[Line] = []
    gone = found.problem == GONE
    if isinstance(found.lost, Loss):
        cause = f" ({found.lost.cause})" if isinstance(found.lost.cause, str) else ""
        at = times.ago(found.lost.at) if found.lost.at else "at an unknown time"
        lines.append(("  lost       ", at, cause))
    if not isinstance(found.lease, LeaseInfo):
        return lines
    if not gone:
        return [*lines, *(("  stops      ", *line) for line in _lease(found.lease))]
    if found.lease.ended not in ("runtime", "units"):  # those limits stay in force
        lines.append((f"  next       lecoder-cgpu sessions ensure {found.session}",))
    return lines


def _lease(lease: LeaseInfo) -> list[Line]:
    """When the runtime will be given back by itself."""
    found: list[Line] = []
    if isinstance(lease.idle_release_at, str):
        found.append((times.ahead(lease.idle_release_at), " if idle"))
    if isinstance(lease.ends_at, str):
        found.append((times.ahead(lease.ends_at), ", also while work runs"))
    if isinstance(lease.max_units, float):
        found.append((f"when {lease.max_units:g} units are spent ({lease.units_spent:g} so far)",))
    return found


def _runs(running: list[UnderWay]) -> list[Line]:
    """What runs there now, with its age and progress."""
    lines: list[Line] = []
    for run in running[:SHOWN]:
        began = times.moment(run.started) if isinstance(run.started, str) else None
        parts = [f"for {times.span(max(time.time() - began, 0.0))}"] if began is not None else []
        parts += [f"{run.percent:g}%"] if isinstance(run.percent, float) else []
        called = run.name if isinstance(run.name, str) else run.command.strip().partition("\n")[0]
        shown = called if len(called) <= 40 else called[:39] + "…"
        identity = Cell(run.run, "bold", drawn=run.run[:SHORT])
        lines.append(("  runs       ", identity, " ", shown, f" ({', '.join(parts)})" if parts else ""))
    if len(running) > SHOWN:
        lines.append((f"  runs       {len(running) - SHOWN} more: lecoder-cgpu job list --all",))
    return lines


def _host(host: Host) -> list[Line]:
    lines: list[Line] = []
    if isinstance(host.cpus, float):
        lines.append((f"  host       {host.hostname}, {host.cpus:g} CPUs, Python {host.python}",))
    for name, size in (("memory", host.memory), ("disk", host.disk)):
        if isinstance(size, Memory):
            lines.append((f"  {name:<10} {size.free} free of {size.total}",))
    return lines
