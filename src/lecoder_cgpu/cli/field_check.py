"""`doctor --field`: what it costs is said and agreed to, one runtime is looked at, and what was seen is shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from .. import errors
from ..backends.protocol import Leased
from ..models.field_check import FieldCheck, FieldFact
from ..sessions import free_tier as terms
from ..sessions import holdings
from ..sessions.session import Session
from ..store import rates
from ..store.leases import Limits
from . import free_tier, own_runtime, runtime_options
from .looks import Table
from .output import Answer

if TYPE_CHECKING:
    from ..diagnostics.field_check.subject import Plan
    from .app import App

MOST, LONG_MOST = 900.0, 2400.0  # seconds after which the runtime of a check ends in any case


def answer(app: App, options: dict[str, Any]) -> Answer:
    """Look at a runtime.

    Raises:
        errors.UsageError: options contradict each other; nobody agreed to the cost. errors.Error: there is no runtime.
    """
    from ..diagnostics.field_check import check

    only = check.chosen([word.strip() for word in (options["facts"] or "").split(",") if word.strip()])
    if options["report"]:
        _check_place(Path(options["report"]))
    look = _own if app.session is None else _held
    document = look(app, options, only)
    if options["report"]:
        document.report = options["report"]
        _write(Path(options["report"]), report(document))
    return Answer(document, lambda: table(document))


def _held(app: App, options: dict[str, Any], only: frozenset[str]) -> FieldCheck:
    """Look at the runtime of a session, which stays."""
    if options["gpu"]:
        raise errors.UsageError(
            "--session names a runtime, so --gpu cannot choose one",
            name="ConflictingOptions",
            hint="leave out --session or --gpu",
        )
    session = app.client.existing(app.session)
    _leased(session)
    with session:
        app.printer.note(f"looking at the runtime of session {session.record.name!r}, which stays held")
        return _examined(app, session, options, only, own=False)


def _own(app: App, options: dict[str, Any], only: frozenset[str]) -> FieldCheck:
    """Look at a runtime that is started for it, once somebody has agreed, and given back whatever happens."""
    if not options["yes"] and not app.printer.may_ask:
        raise errors.UsageError(
            "the field check starts a runtime, which may cost compute units, and nobody is here to agree",
            name="NotConfirmed",
            hint=_again(options),
        )
    limits = Limits(idle=LONG_MOST, max_runtime=LONG_MOST) if options["long"] else Limits(max_runtime=MOST)
    wants = structs.replace(runtime_options.gpus(options["gpu"]), limits=limits)
    if app.client.leased(app.client.chosen) is None:
        raise _not_leased(app.client.chosen)
    with own_runtime.scope(app, wants, wanted=True) as own:
        assert own is not None
        session = own.session()
        backend = _leased(session)
        cost = holdings.announcement(session.record, backend, rates.read(app.client.state_dir))
        app.printer.note(
            f"{cost}; it is held for {'less than 25 minutes' if options['long'] else 'less than five minutes'}"
        )
        if not options["yes"] and not app.printer.agrees("Start it, and look? [y/N] "):
            raise errors.UsageError("the field check was not agreed to", name="NotConfirmed", hint=_again(options))
        session.announce = None  # that was it
        with session:
            session.endpoint  # noqa: B018 - starts it
            document = _examined(app, session, options, only, own=True)
        document.release = own.end()
    return document


def _examined(app: App, session: Session, options: dict[str, Any], only: frozenset[str], *, own: bool) -> FieldCheck:
    from ..diagnostics.field_check import check

    plan = _plan(app, session, options)
    at = ""

    def progress(name: str) -> None:
        nonlocal at
        at = name

    def partly(document: FieldCheck) -> None:
        if options["report"]:
            _write(Path(options["report"]), report(document))
            app.printer.notify(f"{options['report']} has what was seen until then")

    with app.printer.reporting(lambda: f"looking at: {at} …"):
        return check.examine(session, plan, own=own, only=only, progress=progress, partly=partly)


def _plan(app: App, session: Session, options: dict[str, Any]) -> Plan:
    """What may be tried: ports only where no terms restrict that (`free_tier`)."""
    from ..diagnostics.field_check.subject import Plan

    return Plan(long=options["long"], ports=options["understood"] or _paid(_leased(session)))


def _paid(backend: Leased) -> bool:
    if backend.restrictions is None:
        return True
    try:
        return terms.is_free(backend.account()) is False
    except errors.Error:
        return False


def _leased(session: Session) -> Leased:
    if not isinstance(session.backend, Leased):
        raise _not_leased(session.backend.name)
    return session.backend


def _not_leased(backend: str) -> errors.UsageError:
    return errors.UsageError(
        f"the field check looks at runtimes that are rented, and those of the {backend} backend are not",
        hint="lecoder-cgpu doctor --field --backend colab",
    )


def _again(options: dict[str, Any]) -> str:
    words = ["lecoder-cgpu doctor --field --yes"]
    words += [f"--gpu {options['gpu']}"] if options["gpu"] else []
    words += ["--long"] if options["long"] else []
    words += [f"--facts {options['facts']}"] if options["facts"] else []
    words += [f"--report {options['report']}"] if options["report"] else []
    words += [free_tier.OPTION] if options["understood"] else []
    return " ".join(words)


# --- what people read ---


def table(document: FieldCheck) -> Table:
    """The facts for people."""
    rows = [[item.number, item.fact, item.expected, _seen(item), item.will] for item in document.facts]
    return Table(["NO.", "FACT", "EXPECTED", "SEEN", "WHAT THE TOOL DOES"], rows, empty="Nothing was looked at.")


def _seen(item: FieldFact) -> str:
    if isinstance(item.seen, str):
        return item.seen if item.state == "expected" else f"{item.seen} (!)"
    return f"not seen: {item.why}"


def report(document: FieldCheck) -> str:
    """The facts as Markdown that can be posted: only words of ours, numbers and versions stand in it."""
    kind = "a CPU runtime" if document.accelerator == "none" else document.accelerator
    lines = [
        "# Field check of lecoder-cgpu",
        "",
        f"Version {document.version}, {document.date}, on {kind}, {document.seconds:.0f} s. The numbers are those of "
        "docs/protocol.md; (!) marks what is not as expected.",
        *(["", "It was interrupted; these facts were looked at until then."] if document.interrupted is True else []),
        "",
        "| no. | fact | expected | seen | what the tool does |",
        "|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in table(document).rows]
    return "\n".join(lines) + "\n"


def _check_place(path: Path) -> None:
    """Refuse a place where no report can be written, before anything is started.

    Raises:
        errors.UsageError
    """
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise errors.UsageError(f"no report can be written to {path}", hint="give a file: --report FIELD.md")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise errors.TransferError(f"{path}: {error.strerror or error}", hint="--report FILE") from error
