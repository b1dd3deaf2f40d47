"""`status`: login, runtimes, GPUs and sessions, in one document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...models.base import UNKNOWN_ACCOUNT
from ...models.status import Account, Units
from ...sessions import status
from .. import status_text
from ..app import App, Command
from ..looks import Cell, Text
from ..output import Answer
from . import usage

if TYPE_CHECKING:
    from ...models.status import Status
    from ..status_text import Line


@click.command(cls=Command)
@click.pass_obj
def command(app: App) -> Answer:
    """Show login, runtimes with their GPUs and memory, and sessions.

    \b
    lecoder-cgpu status
    lecoder-cgpu status --json | jq '.runtimes[0].gpu.memory.free'
    """
    from ...runs import learning

    document = learning.status(app.client, app.session)
    lender = app.client.leased(document.backend)
    lends = lender is not None and document.authenticated
    profile = app.config.profile

    def text() -> Text:
        shares = f" (with the login of {profile.login})" if profile.login != profile.name else ""
        first = [] if profile.alone else [(f"profile      {profile.name}{shares}",)]
        lines = [*first, *_account(document, status.seen_rates(app.client))]
        for runtime in document.runtimes:
            lines += [(), *status_text.runtime(runtime)]
        return Text([tuple(map(app.printer.ours, line)) for line in [*lines, *_rest(document, lends=lends)]])

    return Answer(document, text)


def _account(document: Status, seen: dict[str, float]) -> list[Line]:
    """What is known of the account, and how many sessions there are."""
    known = isinstance(document.account, Account) and document.account.id != UNKNOWN_ACCOUNT
    who = f"logged in as {document.account.id}" if known else "logged in; the account is not known"  # type: ignore[union-attr]
    lines: list[Line] = [(f"google       {who if document.authenticated else 'not logged in'}",)]
    if isinstance(document.problem, str):
        lines.append(("problem      ", Cell(document.problem, "red")))
    if isinstance(document.tier, str):
        lines.append((f"plan         {document.tier}",))
    if isinstance(document.units, Units):
        lines += usage.lines(document.units, seen)
    if document.eligible_gpus:
        lines.append((f"gpus         {', '.join(document.eligible_gpus)}",))
    return [*lines, (f"sessions     {document.sessions.total} ({document.sessions.connected} reachable)",)]


def _rest(document: Status, *, lends: bool) -> list[Line]:
    """What other profiles hold, and how to begin where nothing is held."""
    lines: list[Line] = []
    for other in document.held_elsewhere if isinstance(document.held_elsewhere, list) else ():
        held = f"profile {other.profile} holds {', '.join(other.sessions)}, which may cost: "
        lines += [(), (Cell(f"{held}lecoder-cgpu --profile {other.profile} status", "yellow"),)]
    for job in document.without_runtime if isinstance(document.without_runtime, list) else ():
        due = f", at {job.restarts_at}" if isinstance(job.restarts_at, str) else ""
        why = f": {job.reason}" if isinstance(job.reason, str) else ""
        lines += [(), (f"job {job.id} has no runtime: it is ", Cell(job.state, "yellow"), f"{due}{why}")]
    if not document.runtimes and isinstance(document.problem, str):
        lines += [(), ("whether the account holds a runtime is not known; what is wrong: lecoder-cgpu doctor",)]
    elif not document.runtimes:
        lines += [(), (f"no runtime is held; start with: {_first_step(document, lends=lends)}",)]
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
