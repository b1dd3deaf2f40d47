"""`status`: login, runtimes, GPUs and sessions, in one document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...models.base import UNKNOWN_ACCOUNT
from ...models.keeper import LeaseInfo
from ...models.sessions import KernelInfo
from ...models.status import Account, Host, Loss, Memory, Units
from ...sessions import status
from ..app import App, Command
from ..output import Answer
from . import usage

if TYPE_CHECKING:
    from ...models.status import Status


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Show login, runtimes with their GPUs and memory, and sessions.

    \b
    lecoder-cgpu status
    lecoder-cgpu status --json | jq '.runtimes[0].gpu.memory.free'
    """
    document = status.status(app.client, app.session)
    lender = app.client.leased(document.backend)
    lends = lender is not None and document.authenticated
    profile = app.config.profile

    def text() -> str:
        shares = f" (with the login of {profile.login})" if profile.login != profile.name else ""
        first = [] if profile.alone else [f"profile      {profile.name}{shares}"]
        return app.printer.ours("\n".join([*first, *_lines(document, lends=lends)]))

    return Answer(document, text)


def _lines(document: Status, *, lends: bool) -> list[str]:
    known = isinstance(document.account, Account) and document.account.id != UNKNOWN_ACCOUNT
    who = f"logged in as {document.account.id}" if known else "logged in, as whom is unknown"  # type: ignore[union-attr]
    lines = [f"google       {who if document.authenticated else 'not logged in'}"]
    if isinstance(document.problem, str):
        lines.append(f"problem      {document.problem}")
    if isinstance(document.tier, str):
        lines.append(f"plan         {document.tier}")
    if isinstance(document.units, Units):
        lines += usage.lines(document.units)
    if document.eligible_gpus:
        lines.append(f"gpus         {', '.join(document.eligible_gpus)}")
    lines.append(f"sessions     {document.sessions.total} ({document.sessions.connected} reachable)")
    for runtime in document.runtimes:
        lines.append("")
        state = "not ours" if not runtime.session else "reachable" if runtime.connected else "not reachable"
        lines.append(f"{runtime.session or runtime.endpoint}: {runtime.label}, {state}")
        if isinstance(runtime.units_per_hour, float):
            lines.append(f"  costs      {runtime.units_per_hour:g} units an hour")
        if isinstance(runtime.problem, str):
            lines.append(f"  problem    {runtime.problem}")
        gone = runtime.problem == status.GONE
        if isinstance(runtime.lost, Loss):
            cause = f" ({runtime.lost.cause})" if isinstance(runtime.lost.cause, str) else ""
            lines.append(f"  lost       {runtime.lost.at or 'at an unknown time'}{cause}")
        ended = runtime.lease.ended if isinstance(runtime.lease, LeaseInfo) else None
        leased = isinstance(runtime.lease, LeaseInfo)
        if gone and leased and ended not in ("runtime", "units"):  # those limits stay in force
            lines.append(f"  next       lecoder-cgpu sessions ensure {runtime.session}")
        if isinstance(runtime.lease, LeaseInfo) and not gone:
            lines += [f"  lease      {text}" for text in _lease(runtime.lease)]
        if isinstance(runtime.kernel, KernelInfo):
            lines.append(f"  kernel     {runtime.kernel.state}")
        for process in runtime.remaining if isinstance(runtime.remaining, list) else ():
            lines.append(f"  left       {process.pid} {process.command} (by {process.run})")
        for gpu in runtime.gpus or ():
            memory = f"{gpu.memory.free} free of {gpu.memory.total}, " if isinstance(gpu.memory, Memory) else ""
            lines.append(f"  gpu {gpu.index}      {gpu.name}: {memory}{gpu.utilization.gpu} busy")
        if isinstance(runtime.host, Host):
            host = runtime.host
            if isinstance(host.cpus, float):
                lines.append(f"  host       {host.hostname}, {host.cpus:g} CPUs, Python {host.python}")
            for name, size in (("memory", host.memory), ("disk", host.disk)):
                if isinstance(size, Memory):
                    lines.append(f"  {name:<10} {size.free} free of {size.total}")
    for other in document.held_elsewhere if isinstance(document.held_elsewhere, list) else ():
        lines.append("")
        lines.append(
            f"profile {other.profile} holds {', '.join(other.sessions)}, which may cost: "
            f"lecoder-cgpu --profile {other.profile} status"
        )
    if not document.runtimes:
        lines.append("")
        if isinstance(document.problem, str):
            lines.append("whether the account holds a runtime is not known; what is wrong: lecoder-cgpu doctor")
        else:
            lines.append(f"no runtime is held; start with: {_first_step(document, lends=lends)}")
    return lines


def _first_step(document: Status, *, lends: bool) -> str:
    """A command that gets a runtime: where somebody is logged in, with an accelerator that is allowed.

    Args:
        lends: whether the chosen backend lends accelerators to somebody.
    """
    if not lends:
        return 'lecoder-cgpu --backend local run -m kernel "print(6*7)"'
    gpu = f"--gpu {document.eligible_gpus[0]} " if document.eligible_gpus else ""
    return f'lecoder-cgpu run {gpu}"nvidia-smi"'


def _lease(lease: LeaseInfo) -> list[str]:
    """When the runtime will be given back by itself."""
    found = []
    if isinstance(lease.idle_release_at, str):
        found.append(f"until {lease.idle_release_at} if no work comes")
    if isinstance(lease.ends_at, str):
        found.append(f"until {lease.ends_at}, work or not")
    if isinstance(lease.max_units, float):
        found.append(f"until {lease.max_units:g} units are spent ({lease.units_spent:g} so far)")
    return found
