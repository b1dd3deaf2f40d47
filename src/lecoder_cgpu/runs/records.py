"""What the history says of runs: written when they begin, and completed when their end is known.

Who watches a run completes its entry. If its client has left it, or was killed, whoever learns its end does so (a wait,
a list, a look, the keeper, a close). A run whose runtime is gone before that is `lost`. The history is on this machine,
so nobody is asked for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, structs

from .. import errors
from ..backends.protocol import Leased
from ..history.entries import MAX_TEXT, UNSETTLED, History, entry_from_run, shown_by
from ..models.base import ErrorInfo, Timing, timestamp
from ..models.base import now as utc_now
from ..models.history import HistoryRuntime, Watcher
from ..models.runs import Run, Stopped
from ..store import leases, owners
from ..system import logs
from ..system.interrupts import Unwatched

if TYPE_CHECKING:
    from ..helper.documents import RunState
    from ..models.base import Optional
    from ..models.history import HistoryEntry
    from ..models.jobs import JobDocument, JobStarted
    from ..models.runs import DisplayData
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session
    from ..store.session_store import Record
    from .jobs import Jobs

LONG_BYTES = 20 * 2**20  # how much of the history is searched for a run that somebody asks for


def begin(
    session: Session,
    run_id: str | None,
    command: str,
    mode: Literal["kernel", "terminal"],
    *,
    secrets: Sequence[str] = (),
) -> HistoryEntry | None:
    """Write down that this process is about to start a run and to watch it, so that it is known whatever happens here.

    Args:
        run_id: its id; None for what has none, as a notebook whose cells are sent one by one.
        secrets: values that must not be written.

    Returns:
        The entry, for `remember`; None if it could not be written, which `remember` reports.
    """
    run = Run(status="running", error_code=0, exit_code=0, mode=mode, session=session.record.ref)
    if run_id is not None:
        run.run_id = run_id
    entry = _unended(entry_from_run(run, command, _runtime(session), secrets))
    entry.watcher = Watcher(**structs.asdict(owners.this_process()))
    if secrets:
        entry.output_kept = False
    try:
        History(session.store.folder).append(entry)
    except errors.ConfigError:
        return None
    return entry


def remember(
    session: Session,
    run: Run,
    command: str,
    *,
    secrets: Sequence[str] = (),
    displays: Sequence[DisplayData] | None = None,
    begun: HistoryEntry | None = None,
) -> None:
    """Write a run down.

    Args:
        secrets: values that must not be written. displays: the rich outputs, where the document does not hold them all.
        begun: its entry, if its beginning was written down.

    Raises:
        errors.ConfigError: the history cannot be written.
    """
    run.session = session.record.ref
    entry = entry_from_run(run, command, _runtime(session), secrets, displays)
    if run.status == "unknown" and isinstance(run.error, ErrorInfo) and isinstance(session.backend, Leased):
        # Where machines are not rented, the work may live on when the server of one has died.
        entry.status = "lost" if run.error.stands_for(errors.RuntimeLost) else entry.status
    if begun is not None:
        entry.id, entry.timestamp, entry.learned = begun.id, begun.timestamp, utc_now()
    History(session.store.folder).append(entry, shown_by(run) if displays is None else displays)


def remember_job(
    session: Session, job: JobStarted, command: str, mode: Literal["kernel", "terminal"], *, secrets: Sequence[str] = ()
) -> None:
    """Write down that a job was started. The same job, started again under its key, is one entry.

    Raises:
        errors.ConfigError: the history cannot be written.
    """
    history = History(session.store.folder)
    known = history.find(job.job_id)
    if known is not None and is_of(known, session) and (known.status == "running" or job.job.state == "exited"):
        return
    run = Run(status="running", error_code=0, exit_code=0, mode=mode, run_id=job.job_id, session=session.record.ref)
    entry = _unended(entry_from_run(run, command, _runtime(session), secrets))
    entry.job_name = job.job.name
    if secrets:
        entry.output_kept = False
    history.append(entry)


def _unended(entry: HistoryEntry) -> HistoryEntry:
    """An entry without what is not known of a run that goes on; an exit status would be a lie."""
    entry.exit_code = entry.error_code = entry.output_bytes = UNSET
    return entry


def remember_attempt(session: Session, run: str, command: str, name: str | Optional, *, kept: bool) -> None:
    """Write down that another attempt of a job was started. That this fails spoils no job.

    Args:
        kept: whether its output may be written down when it has ended.
    """
    document = Run(status="running", error_code=0, exit_code=0, mode="terminal", run_id=run, session=session.record.ref)
    entry = _unended(entry_from_run(document, command, _runtime(session)))
    entry.job_name = name
    if not kept:
        entry.output_kept = False
    with _harmless():
        if History(session.store.folder).find(run) is None:
            History(session.store.folder).append(entry)


def remember_restart(session: Session) -> None:
    """Write down that the kernel was restarted, and its variables are gone. That this fails spoils no restart."""
    with _harmless():
        remember(session, Run(status="ok", error_code=0, exit_code=0, mode="kernel"), "kernel restart")


def interrupted_run(mode: Literal["kernel", "terminal"], interrupt: KeyboardInterrupt) -> Run:
    """The document of a run that was interrupted before it was started, or while nobody took care of it."""
    status = errors.interrupted_status(interrupt)
    run = Run(status="abort", error_code=0, exit_code=0, mode=mode)
    if isinstance(interrupt, Unwatched):
        run.run_id, run.output_complete = interrupt.run, False
        run.next = f"lecoder-cgpu run --attach {interrupt.run}"
        error = errors.RuntimeFailure(
            "interrupted; how the work ends is not known here", name="Interrupted", hint=run.next, exit_status=status
        )
        run.fail(error, "unknown")
    else:
        error = errors.RuntimeFailure(
            "interrupted before it was started", name="Interrupted", hint="repeat the same command", exit_status=status
        )
        run.fail(error, "abort")
    run.interrupted = True
    return run


def remember_interrupted(session: Session, command: str, run: Run, begun: HistoryEntry | None = None) -> None:
    """Write down a run that was interrupted before it was started, as while a runtime was asked for."""
    with _harmless():
        remember(session, run, command, begun=begun)


def _runtime(session: Session) -> HistoryRuntime:
    return HistoryRuntime(label=session.record.runtime.label, accelerator=session.record.runtime.accelerator)


# --- runs whose end is learned later ---------------------------------------------------------------------------------


def note_ends(jobs: Jobs, states: Sequence[RunState]) -> None:
    """Complete the entries of runs that have ended. That the history cannot be used spoils no command."""
    ended = {state.run: state for state in states if state.ended}
    if not ended:
        return
    most = LONG_BYTES if len(ended) == 1 else None
    with _harmless():
        for entry in _open_entries(jobs.session, list(ended), most):
            document = jobs.document(ended[entry.run_id])  # type: ignore[index]
            _complete(jobs.session, entry, _run_of(document, entry, jobs))


def note_run(session: Session, run: Run) -> None:
    """Complete the entry of a run that was shown to its end."""
    if run.status == "running" or not isinstance(run.run_id, str):
        return
    with _harmless():
        for entry in _open_entries(session, [run.run_id], LONG_BYTES):
            _complete(session, entry, run)


def note_outputs(session: Session, run: Run, displays: Sequence[DisplayData]) -> None:
    """Complete the entry of a notebook that ran as a job with what its notebook shows, also when its end was written
    down before."""
    if run.status == "running" or not isinstance(run.run_id, str):
        return
    with _harmless():
        history = History(session.store.folder)
        entry = history.find(run.run_id)
        if entry is None or not is_of(entry, session) or entry.output_kept is False or entry.display_data:
            return
        if entry.status in UNSETTLED or displays:
            history.append(structs.replace(_in_place_of(entry, run, displays), output_kept=entry.output_kept), displays)


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except errors.Error as error:
        logs.current().warn("HISTORY", f"the end of a run was not written down: {error.message}")


def _open_entries(session: Session, runs: Sequence[str], most: int | None) -> list[HistoryEntry]:
    history = History(session.store.folder)
    found = history.unsettled() if most is None else history.unsettled(most)
    wanted = set(runs)
    entries: dict[str, HistoryEntry] = {}
    for entry in found:
        if entry.run_id in wanted and is_of(entry, session):
            entries.setdefault(str(entry.run_id), entry)
            if len(entries) == len(wanted):
                break
    return list(entries.values())


def is_of(entry: HistoryEntry, session: Session) -> bool:
    """Whether a run of that id is this session's. A key gives the same id everywhere, and again on another runtime."""
    record = session.record
    named = entry.session_id == record.id if isinstance(entry.session_id, str) else entry.session == record.name
    return named and entry.timestamp >= timestamp(datetime.fromtimestamp(record.began, UTC))


def _run_of(document: JobDocument, entry: HistoryEntry, jobs: Jobs) -> Run:
    job = document.job
    run = Run(
        status=document.status,
        error_code=document.error_code,
        exit_code=document.exit_code,
        mode="kernel" if job.kind == "kernel" else "terminal",
        run_id=job.id,
        error=document.error,
        output_bytes=job.stdout_bytes + job.stderr_bytes,
        stopped=job.stopped,
    )
    started = job.started if isinstance(job.started, str) else job.created
    if isinstance(started, str) and isinstance(job.ended, str) and isinstance(job.seconds, float):
        run.timing = Timing(started, job.ended, round(job.seconds * 1000))
    if entry.output_kept is not False:
        run.stdout = _ends(jobs, job.id, "stdout", job.stdout_bytes)
        run.stderr = _ends(jobs, job.id, "stderr", job.stderr_bytes) or UNSET
    return run


def _ends(jobs: Jobs, run_id: str, stream: str, size: int) -> str:
    """As much of a stream's end as the history keeps."""
    if not size:
        return ""
    content = jobs.helper.read(run_id, stream, max(size - MAX_TEXT, 0)).data
    return content.decode("utf-8", "replace")


def _complete(session: Session, entry: HistoryEntry, run: Run) -> None:
    """Write the line that takes the place of the entry's."""
    if entry.output_kept is False:
        run = structs.replace(run, stdout="", stderr=UNSET, display_data=UNSET)
    completed = structs.replace(_in_place_of(entry, run), output_kept=entry.output_kept)
    if (completed.status, completed.exit_code, completed.error) != (entry.status, entry.exit_code, entry.error):
        History(session.store.folder).append(completed, () if entry.output_kept is False else shown_by(run))


# --- runs whose runtime is gone --------------------------------------------------------------------------------------


def left_alone(manager: SessionManager) -> list[HistoryEntry]:
    """The runs of which nobody here knows whether they have ended, newest first."""
    return [entry for entry in History(manager.state_dir).unsettled() if entry.status == "running"]


def settle(manager: SessionManager) -> None:
    """Say of every run that was left alone on a runtime that is known to be gone that it is lost, and of what nothing
    but a process here could finish, and that is gone, that its end is unknown. Asks nobody."""
    history = History(manager.state_dir)
    with _harmless():
        left = left_alone(manager)
        if not left:
            return
        stored = manager.store.records()
        for entry in left:
            why = _loss(manager, entry, stored)
            unknown = None if why is None else _unknown_to_its_job(manager, entry)
            if unknown is not None:
                history.append(_unwatched(entry, unknown))
            elif why is not None:
                history.append(lost(entry, why))
            elif not isinstance(entry.run_id, str) and owners.is_gone(entry.watcher or None):
                history.append(_unwatched(entry, "the command that executed it was killed"))


def _unknown_to_its_job(manager: SessionManager, entry: HistoryEntry) -> str | None:
    """Why nobody knows how a run ended that is an attempt of a job; None if it is not an attempt, or was lost."""
    from . import job_plans

    plan = job_plans.find(manager.state_dir, str(entry.run_id))
    tried = [] if plan is None else [item for item in plan.tries if item.run == entry.run_id]
    if plan is None or not tried or tried[0].cause != "unknown":
        return None
    return plan.why or "nobody saw it when its runtime went: it may have ended before"


def _unwatched(entry: HistoryEntry, why: str) -> HistoryEntry:
    """The entry of a run whose end nobody can know, because the process was killed that executed or watched it."""
    run = Run(status="unknown", error_code=0, exit_code=0, mode="terminal", run_id=entry.run_id)
    run.fail(errors.LostError(why, name="Unwatched", hint="repeat the same command"), "unknown")
    return structs.replace(_in_place_of(entry, run), exit_code=UNSET, output_bytes=UNSET)


def note_missing(session: Session, states: Sequence[RunState] | None) -> None:
    """Complete the entries of runs that the session's runtime, which knows only these, does not know: their client was
    killed before it had started them. None where it may know more."""
    if states is None:
        return
    history, known = History(session.store.folder), {state.run for state in states}
    with _harmless():
        for entry in history.unsettled():
            ours = entry.status == "running" and isinstance(entry.run_id, str) and is_of(entry, session)
            if ours and entry.run_id not in known and owners.is_gone(entry.watcher or None):
                why = "the runtime knows nothing of it, and the command that was to start and to watch it was killed"
                history.append(_unwatched(entry, why))


def note_closed(session: Session, runs: Container[str]) -> None:
    """Complete the entries of these runs, which went on when the user closed their session."""
    history = History(session.store.folder)
    with _harmless():
        for entry in history.unsettled():
            if entry.status != "running" or entry.run_id not in runs or not is_of(entry, session):
                continue
            why = f"it was ended when session {session.record.name!r} was closed"
            run = Run(status="error", error_code=0, exit_code=0, mode="terminal", run_id=entry.run_id)
            run.fail(errors.RuntimeFailure(why, name="Stopped"))
            run.stopped = Stopped(by="close", steps=[])
            history.append(structs.replace(_in_place_of(entry, run), exit_code=UNSET, output_bytes=UNSET))


def lost(entry: HistoryEntry, why: str) -> HistoryEntry:
    """The entry of a run that was lost with its runtime."""
    error = errors.LostError(why, name="RunLost", hint="repeat the same command")
    run = Run(status="unknown", error_code=0, exit_code=0, mode="terminal", run_id=entry.run_id)
    run.fail(error, "unknown")
    assert isinstance(run.error, ErrorInfo)
    return structs.replace(_in_place_of(entry, run), status="lost", output_bytes=UNSET)


def _in_place_of(entry: HistoryEntry, run: Run, displays: Sequence[DisplayData] | None = None) -> HistoryEntry:
    """What is known of a run now, as the line that readers show in place of the earlier one."""
    return structs.replace(
        entry_from_run(run, "", entry.runtime, displays=displays),
        id=entry.id,
        timestamp=entry.timestamp,
        command=entry.command,
        mode=entry.mode,
        session=entry.session,
        session_id=entry.session_id,
        job_name=entry.job_name,
        learned=utc_now(),
    )


def _loss(manager: SessionManager, entry: HistoryEntry, stored: Sequence[Record]) -> str | None:
    """Why the end of a run cannot be learned any more; None while it can."""
    same: Callable[[Record], bool] = lambda record: (  # noqa: E731
        record.id == entry.session_id if isinstance(entry.session_id, str) else record.name == entry.session
    )
    record = next(filter(same, stored), None)
    if record is None:
        return f"session {entry.session!r} was closed, which ended the run if it had not ended before"
    lease = leases.lease_of(record)
    if entry.timestamp < timestamp(datetime.fromtimestamp(record.began, UTC)):
        where = "runtime" if record.machine_since is None else "machine of the kernel"
        return f"the run was on an earlier {where} of session {record.name!r}, which is gone"
    lender = manager.leased(record.backend)
    if lender is None or lender.state(record) not in ("lost", "released"):
        return None
    when = f" since {record.allocation.lost_at}" if record.allocation and record.allocation.lost_at else ""
    why = f", which was released, for {lease.why}" if lease.why else ""
    return f"the runtime of session {record.name!r}{why} is gone{when}"
