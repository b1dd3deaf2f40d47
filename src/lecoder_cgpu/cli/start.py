"""What `lecoder-cgpu` alone says: where you stand, and what to type next, in ten lines. Asks nobody but the disk."""

from __future__ import annotations

from .. import __version__, errors, models
from ..history import History
from ..sessions import Record, Store
from .app import COMMANDS, App
from .output import Answer


def answer(app: App) -> Answer:
    """The answer to a command line without a command."""
    problem = None
    records: list[Record] = []
    try:
        records = Store(app.config.state_dir).records()
        last = next(iter(History(app.config.state_dir).entries(1)), None)
    except errors.ConfigError as error:
        problem, last = error.message, None
    active = next((record for record in records if record.is_active), None)
    document = models.Start(
        version=__version__,
        backend=app.config.get("backend").value or "",
        sessions=len(records),
        next=[models.NextStep(command=command, what=what) for command, what in _next(app, active)],
    )
    if active is not None:
        document.session = active.ref
    lines = [f"lecoder-cgpu {__version__}: {_standing(document, records, active)}"]
    if last is not None:
        shown = " ".join(last.command.split())
        lines.append(f"last run: {last.status}, {shown[:50]}{'…' if len(shown) > 50 else ''}")
    if problem is not None:
        lines.append(f"problem: {problem}")
    width = max(len(step.command) for step in document.next)
    lines += ["", *(f"  {step.command:<{width}}   {step.what}" for step in document.next)]
    return Answer(document, lambda: "\n".join(lines))


def _standing(document: models.Start, records: list[Record], active: Record | None) -> str:
    if active is not None:
        more = f", and {len(records) - 1} more" if len(records) > 1 else ""
        lost = active.colab is not None and active.colab.state == "lost"
        how = "has lost its runtime" if lost else "is in use"
        return f"session {active.name} ({active.backend}) {how}{more}"
    return f"no runtime is held; the next one comes from {document.backend}"


def _next(app: App, active: Record | None) -> list[tuple[str, str]]:
    if active is not None:
        steps = [
            ('lecoder-cgpu run "nvidia-smi"', "a shell command"),
            ('lecoder-cgpu run -m kernel "print(6*7)"', "Python that keeps its state"),
            ("lecoder-cgpu connect", "a shell of your own"),
            ("lecoder-cgpu status", "GPUs, memory, what is held"),
            (f"lecoder-cgpu sessions close {active.name}", "give it back"),
        ]
    else:
        steps = [('lecoder-cgpu --backend local run -m kernel "print(6*7)"', "try it here, without an account")]
        if "auth" in COMMANDS and not (app.config.state_dir / "session.json").exists():
            if app.config.get("clientId").value is None:
                steps.append(("lecoder-cgpu auth setup", "once, for Colab: an OAuth client of your own"))
            steps.append(("lecoder-cgpu auth login", "log in to Google, for Colab"))
        elif "auth" in COMMANDS:
            if app.config.get("backend").value == "colab":
                steps.append(("lecoder-cgpu gpus", "what you may ask Colab for"))
            steps.append(('lecoder-cgpu run "nvidia-smi"', "a shell command on a new runtime"))
            steps.append(("lecoder-cgpu connect", "a shell of your own there"))
        steps.append(("lecoder-cgpu sessions add NAME --url URL --token-stdin", "use a Jupyter server"))
    return [*steps, ("lecoder-cgpu --help", "all commands")]
