"""What `lecoder-cgpu` without a command prints: the state and the next steps, in ten lines, from the disk alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import __version__, errors
from ..history.entries import History
from ..models.status import NextStep, Start
from ..store import former, lifecycle, owners
from ..store.session_store import Record, Store
from . import looks
from .output import Answer

if TYPE_CHECKING:
    from ..models.history import HistoryEntry
    from .app import App


def answer(app: App) -> Answer:
    """The answer to a command line without a command."""
    problem = None
    records: list[Record] = []
    runs: list[HistoryEntry] = []  # newest first
    try:
        records = Store(app.config.state_dir).records()
        runs = History(app.config.state_dir).entries(10)
    except errors.ConfigError as error:
        problem = error.message
    active = next((record for record in records if record.is_active), None)
    leased = active is not None and app.client.leased(active.backend) is not None
    document = Start(
        version=__version__,
        profile=app.config.profile.name,
        backend=app.config.get("backend").value or "",
        sessions=len(records),
        next=[NextStep(command=command, what=what) for command, what in _next(app, active, runs)],
    )
    if active is not None:
        document.session = active.ref
    lines = [f"lecoder-cgpu {__version__}: {_standing(document, active, leased=leased)}"]
    for item in former.returned(app.config.state_dir, records):
        end = app.printer.ours("lecoder-cgpu sessions close --orphans")
        lines[0] = lines[0].replace("no runtime is held", "no session holds a runtime")
        lines.append(f"{item.endpoint} is {'listed' if item.ended else 'running'}, in no session: {item.label}; {end}")
    if runs:
        shown = " ".join(runs[0].command.split())
        # The history does not hear of the end of a detached run.
        status: str = "detached" if runs[0].status == "running" else runs[0].status
        if status == "detached" and runs[0].watcher and not owners.is_gone(runs[0].watcher):
            status = "running"
        lines.append(f"last run: {status}, {shown[:50]}{'…' if len(shown) > 50 else ''}")
    if problem is not None:
        lines.append(f"problem: {problem}")
    for step in document.next:
        step.command = app.printer.ours(step.command)
    lines += ["", *_steps(document.next, narrow=app.printer.out_is_terminal)]
    return Answer(
        document, lambda: looks.Text([[line if line.startswith(" ") else looks.Prose(line)] for line in lines])
    )


def _steps(steps: list[NextStep], *, narrow: bool) -> list[str]:
    """What may be typed next, and what for: beside it, or below it on a terminal that has no room."""
    width = max(len(step.command) for step in steps)
    beside = [f"  {step.command:<{width}}   {step.what}" for step in steps]
    if not narrow:
        return beside
    import shutil

    if max(map(len, beside)) > shutil.get_terminal_size().columns:
        return [line for step in steps for line in (f"  {step.command}", f"      {step.what}")]
    return beside


def _standing(document: Start, active: Record | None, *, leased: bool) -> str:
    if active is None:
        return f"no runtime is held; the next one comes from {document.backend}"
    more = f", and {document.sessions - 1} more" if document.sessions > 1 else ""
    name = f"session {active.name} ({active.label if leased else active.backend})"
    if lifecycle.stage(active) == "closing":
        return f"{name} is being given back, which is not confirmed: it may still cost{more}"
    if not lifecycle.is_gone(active):
        return f"{name} is the active one{more}"
    why = f", for {active.lease.why}" if active.lease is not None and active.lease.why else ""
    return f"the runtime of {name} is gone{why}{more}"


def _is_logged_in(app: App) -> bool:
    """Whether somebody is logged in to the account that runtimes of the usual kind belong to."""
    try:
        return app.client.lender().has_account()
    except errors.ConfigError:  # `auth status` will say
        return False


def _next(app: App, active: Record | None, runs: list[HistoryEntry]) -> list[tuple[str, str]]:
    chosen = app.client.leased(app.config.get("backend").value or "")
    steps: list[tuple[str, str]]
    if active is not None and lifecycle.stage(active) == "closing":
        steps = [
            (f"lecoder-cgpu sessions close {active.name}", "give it back now"),
            ("lecoder-cgpu sessions list", "what is held"),
        ]
    elif active is not None and lifecycle.is_gone(active):
        steps = [
            (f"lecoder-cgpu sessions ensure {active.name}", "a new runtime under that name"),
            ("lecoder-cgpu sessions clean", "forget what is gone"),
            ("lecoder-cgpu sessions list", "what else is held"),
        ]
    elif active is not None:
        steps = [
            (
                'lecoder-cgpu run "nvidia-smi"' if app.client.leased(active.backend) else 'lecoder-cgpu run "ls"',
                "a shell command",
            ),
            ('lecoder-cgpu run -m kernel "print(6*7)"', "Python that keeps its state"),
            ("lecoder-cgpu connect", "a shell of your own"),
            ("lecoder-cgpu status", "GPUs, memory, what is held"),
            (f"lecoder-cgpu sessions close {active.name}", "give it back"),
        ]
        if any(run.status == "running" and run.session == active.name for run in runs):
            steps.insert(0, ("lecoder-cgpu job list", "what became of detached runs"))
    elif chosen is not None and _is_logged_in(app):
        steps = [
            ('lecoder-cgpu run "nvidia-smi"', f"a shell command on a new {chosen.label} runtime"),
            ("lecoder-cgpu gpus", "which GPUs the account may ask for"),
            ("lecoder-cgpu status", "what the account holds and has left"),
        ]
    else:
        steps = [('lecoder-cgpu --backend local run -m kernel "print(6*7)"', "try it here, without an account")]
        if not _is_logged_in(app):
            if app.config.get("clientId").value is None:
                steps.append(("lecoder-cgpu auth setup", "once, for Colab: an OAuth client of your own"))
            steps.append(("lecoder-cgpu auth login", "log in to Google, for Colab"))
        steps.append(("lecoder-cgpu sessions add NAME --url URL --token-stdin", "use a Jupyter server"))
    return [*steps, ("lecoder-cgpu --help", "all commands")]
