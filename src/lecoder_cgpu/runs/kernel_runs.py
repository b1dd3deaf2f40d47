"""Kernel runs: Python in the session's own kernel, and the `run` document that says what happened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from .. import errors
from ..jupyter import messages as wire
from ..jupyter import outputs
from ..jupyter.execution import GONE, Execution, Raised
from ..jupyter.outcome import Outcome, told
from ..jupyter.watch_driver import InputSource
from ..jupyter.watch_limits import UNLIMITED, WatchLimits
from ..models.base import ErrorInfo
from ..models.runs import ProcessRef, Run, Stopped, Truncated
from ..sessions.session import Session
from ..system import logs
from ..system.interrupts import naming
from . import classify
from .opened_recordings import recorder
from .scripts import as_script, name_files

if TYPE_CHECKING:
    from ..helper.documents import RunState
    from ..jupyter.kernel_channels import KernelConnection
    from ..models.runs import DisplayData

ATTACH_PAUSE = 0.2  # seconds between two looks at the recording of a run that goes on
CONCLUDED_ERROR = 8192  # bytes of an error's message, and of its traceback, where only the end of a run is told


def kernel_run(
    session: Session,
    code: str,
    on_event: Callable[[wire.Event], None],
    *,
    limits: WatchLimits = UNLIMITED,
    output: outputs.OutputOptions = outputs.DEFAULT,
    on_input: InputSource | None = None,
    connection: KernelConnection | None = None,
    on_displays: Callable[[list[DisplayData]], None] | None = None,
) -> Run:
    """Run Python in the session's kernel; its variables stay for the next run.

    Args:
        on_event: told of every output as it comes.
        limits: how long the code may take, and how long it is watched.
        output: what of the output the document holds.
        on_input: answers `input()`.
        connection: open channels to use; they stay open. Without them, channels are opened and closed here.
        on_displays: given all rich outputs at the end, also those that the document leaves out.

    Raises:
        errors.Error: nothing was sent. What happens after that is in the document.
    """
    collector = outputs.Collector(output)

    def take(event: wire.Event) -> None:
        collector.add(event)
        on_event(event)

    channels = connection or session.connect_kernel()
    try:
        with as_script(channels, output.filename, output.arguments):
            outcome = watched_run(session, channels, code, take, limits=limits, on_input=on_input)
    finally:
        if connection is None:
            channels.close()
    with naming(outcome.execution.msg_id):
        document = run_document(session, outcome, output.filename)
        _fill(document, collector, session)
        if on_displays is not None:
            on_displays(collector.displays)
        if output.folder is not None:
            document.outputs = outputs.write_files(output.folder, collector.displays)
    return document


def watched_run(
    session: Session,
    connection: KernelConnection,
    code: str,
    on_event: Callable[[wire.Event], None],
    *,
    limits: WatchLimits = UNLIMITED,
    on_input: InputSource | None = None,
) -> Outcome:
    """Run code over open channels, watch it to its end, and learn the classes of its exception; see `kernel_run`."""
    outcome = connection.execute(code, on_event, limits=limits, on_input=on_input, recorder=recorder(session))
    raised = outcome.execution.raised
    outcome.language = session.language_in(connection.kernel_id)
    with naming(outcome.execution.msg_id):
        if raised is not None and outcome.is_python and classify.needs_bases(raised.name):
            outcome.bases = connection.exception_bases()
        if outcome.steps:
            logs.current().warn("RUN", told(outcome.steps), {"run": outcome.execution.msg_id})
        session.note_end(outcome.execution)
        if outcome.stopped_by is not None and not (outcome.left or outcome.unknown):
            outcome.remaining = _left(session, outcome.execution.msg_id)
    return outcome


def _left(session: Session, run: str) -> list[ProcessRef]:
    """End what code that was ended has left; returns what lives on. That it cannot be asked spoils no run."""
    from . import kernel_children

    kernel = session.kernel_record
    if kernel is None or not kernel.recorded:
        return []
    try:
        helper = session.connect_helper()
        try:
            return kernel_children.end(helper, run)
        finally:
            helper.close()
    except errors.Error as error:
        session.notify(f"whether anything lives on that the code started is not known: {error.message}")
        return []


def is_kernel_run(session: Session, run_id: str) -> bool:
    """Whether an earlier run was code in a kernel.

    Raises:
        errors.NotFoundError: the runtime does not know it.
    """
    helper = session.connect_helper()
    try:
        return helper.show(run_id).kind == "kernel"
    except errors.ConnectionFailed as error:
        helper.close()
        helper = session.reconnect_helper(error)
        return helper.show(run_id).kind == "kernel"
    finally:
        helper.close()


def attached_kernel_run(
    session: Session,
    run_id: str,
    on_event: Callable[[wire.Event], None],
    *,
    output: outputs.OutputOptions = outputs.DEFAULT,
    wait: float | None = None,
    offsets: tuple[int, int] = (0, 0),
) -> Run:
    """Read a kernel run from its recording, from the first message to its end. Ctrl-C ends the reading only.

    Args:
        wait: seconds after which to stop. The others are those of `kernel_run`.
        offsets: bytes of stdout and stderr to pass over, with everything that came before the later of the two.

    Raises:
        errors.NotFoundError: nothing was recorded of it. errors.Error: the runtime cannot be reached.
    """
    from .recording import RecordingReader

    collector = outputs.Collector(output)
    resume = _Resume(offsets)
    execution = Execution(run_id)
    outcome = Outcome(execution, datetime.now(UTC))
    helper = session.connect_helper()
    with contextlib.suppress(errors.ConnectionFailed):  # it only helps to explain a failure
        outcome.language = session.language_in(helper.show(run_id).kernel)
    recording = RecordingReader(helper, run_id, reconnect=session.reconnect_helper)
    leave_at = None if wait is None else time.monotonic() + wait

    def show() -> bool:
        messages = recording.pull()
        for message in messages:
            event = resume.rest(execution.receive(message))
            if event is not None and not isinstance(event, wire.InputRequested):
                for piece in wire.pieces(event):
                    collector.add(piece)
                    on_event(piece)
        return bool(messages)

    try:
        while not (recording.ended or outcome.left):
            if show() or recording.ended:
                continue
            state = recording.look()
            if state in ("exited", "unknown"):  # and no end is recorded
                while show():
                    pass
                outcome.unknown = state == "unknown"
                if outcome.unknown:
                    reason = recording.state.reason if recording.state is not None else None
                    outcome.steps.append(reason or "its end was not recorded")
                break
            outcome.left = leave_at is not None and time.monotonic() >= leave_at
            time.sleep(ATTACH_PAUSE)
    except KeyboardInterrupt as interrupt:
        outcome.interrupted = errors.interrupted_status(interrupt)
        outcome.left = True
    finally:
        recording.close()
    execution.unreadable = recording.passed_over
    execution.conclude(whole=not recording.is_incomplete())
    if recording.state is not None:
        _apply(outcome, recording.state)
    _admit(outcome)
    outcome.dropped = recording.is_incomplete()
    document = run_document(session, outcome, None)
    _fill(document, collector, session)
    document.timing = recording.timing or UNSET
    if output.folder is not None:
        document.outputs = outputs.write_files(output.folder, collector.displays)
    return document


class _Resume:
    """Skips the output that a reader has seen already."""

    def __init__(self, offsets: tuple[int, int]) -> None:
        self._left = {"stdout": offsets[0], "stderr": offsets[1]}  # bytes of each stream to pass over

    def rest(self, event: wire.Event | None) -> wire.Event | None:
        """The new part of an event; None when it has no new part."""
        if isinstance(event, wire.Stream):
            left = self._left[event.name]
            if left:
                content = event.text.encode("utf-8", "surrogatepass")
                self._left[event.name] = max(left - len(content), 0)
                text = content[left:].decode("utf-8", "ignore")
                return structs.replace(event, text=text) if text else None
            return event
        return None if any(self._left.values()) else event


def _admit(outcome: Outcome) -> None:
    """Say that nobody knows how a run ended if its reply was not recorded and nothing else decides."""
    decided = outcome.withdrawn or outcome.execution.death is not None or outcome.execution.replied
    if not (decided or outcome.left or outcome.unknown):
        outcome.unknown = True
        outcome.steps.append("the kernel's reply was not recorded, and nothing else tells whether the code failed")


def _apply(outcome: Outcome, state: RunState) -> None:
    """Take over what the runtime says about the end of a run."""
    execution, result = outcome.execution, state.result
    if result is None:
        return
    outcome.bytes_dropped = result.bytes_dropped
    outcome.timed_out = result.timed_out
    outcome.stopped_by, outcome.stops = result.stopped_by, list(result.killed_by)
    if result.stopped_by is None and state.signals:
        outcome.stopped_by, outcome.stops = state.signals[-1].by, [sent.signal for sent in state.signals]
    if result.died is not None:
        execution.death = result.died
    elif result.signal is not None:
        outcome.withdrawn = True
    elif result.aborted:
        execution.status = "aborted"
    elif not execution.replied and (error := result.error) is not None:
        execution.raised = Raised(error.ename or "", error.evalue or "", error.traceback)
        execution.status = "error"
    elif not execution.replied and result.verdict in ("ok", None):  # None: by a helper of version 0.6.0
        execution.status = "ok"
    if result.shell_exit:
        execution.shell_exit = result.shell_exit


def concluded(state: RunState, language: str | None = None) -> Run:
    """The document of a kernel run that has ended, without its output, from the state with its result and the language
    of the kernel."""
    assert state.result is not None
    outcome = Outcome(Execution(state.run), datetime.now(UTC), language=language)
    _apply(outcome, state)
    _admit(outcome)
    outcome.dropped = not state.result.is_complete
    document = Run(status="ok", error_code=0, exit_code=0, mode="kernel", run_id=state.run)
    if outcome.unknown:
        document.fail(_result_lost(outcome, None), status="unknown")
    else:
        _judge(document, outcome, None)
    outputs.bound_error(document.error, CONCLUDED_ERROR)
    return document


def _fill(document: Run, collector: outputs.Collector, session: Session) -> None:
    collector.fill(document)
    if isinstance(document.truncated, Truncated) and session.kernel_record and session.kernel_record.recorded:
        assert isinstance(document.run_id, str)
        document.truncated.get = session.reading_command(document.run_id)


def _may_have_more(outcome: Outcome) -> bool:
    """Whether the kernel may have lost text that it had not sent: it died, or was interrupted and is one of those that
    send what code has printed only when that is done (IRkernel)."""
    execution = outcome.execution
    if execution.died_silently:
        return True
    return not outcome.is_python and (outcome.interrupted is not None or outcome.stopped_by is not None)


def run_document(session: Session, outcome: Outcome, filename: str | None = None) -> Run:
    """The document of how a run ended, without its output."""
    execution = outcome.execution
    document = Run(
        status="ok",
        error_code=0,
        exit_code=0,
        mode="kernel",
        session=session.record.ref,
        timing=outcome.timing,
        execution_count=execution.execution_count,
        output_complete=not (outcome.dropped or outcome.unknown or execution.unaccounted or _may_have_more(outcome)),
        run_id=execution.msg_id,
    )
    if execution.shell_exit is not None:
        document.shell_exit = execution.shell_exit
    document.late_output_of = execution.late or UNSET
    if execution.passed_over:
        document.passed_over = execution.passed_over
    if outcome.bytes_dropped:
        document.bytes_dropped = outcome.bytes_dropped
    if outcome.interrupted is not None:
        document.interrupted = True
    if outcome.timed_out:
        document.timed_out = True
    if outcome.stopped_by is not None:
        document.stopped = Stopped.of(outcome.stopped_by, outcome.stops)
    if outcome.remaining:
        document.remaining = outcome.remaining
    if outcome.left:
        document.leave(outcome.interrupted)
    elif outcome.unknown:
        document.fail(_unknown(session, outcome), status="unknown")
    else:
        _judge(document, outcome, filename)
        raised = outcome.execution.raised is not None and outcome.stopped_by is None
        if raised and (ended := session.ended_by_lease()) is not None:  # which has interrupted it
            document.fail(ended)
    if outcome.interrupted is not None and document.status != "ok":
        document.exit_code = outcome.interrupted
    return document


def _judge(document: Run, outcome: Outcome, filename: str | None) -> None:
    """Set status, exit status and error of a run whose end is known."""
    execution = outcome.execution
    if outcome.never_begun:
        lost = errors.ConnectionFailed(
            "the connection dropped before the kernel got the code, so it was not executed",
            name="RequestLost",
            hint="repeat the same command",
        )
        document.fail(lost)
    elif outcome.withdrawn:
        document.fail(errors.RuntimeFailure("it was ended before the kernel took it up", name="Withdrawn"))
    elif execution.death is not None:
        document.fail(_death(outcome))
    elif execution.status == "aborted":
        aborted = errors.UnknownFailure(
            "the request was dropped by the kernel before it was executed, because code queued before it failed",
            name="Aborted",
            retryable=True,
            hint="repeat the same command",
        )
        document.fail(aborted, status="abort")
    elif execution.raised is not None:
        _python_failure(document, outcome, execution.raised, filename)


def _unknown(session: Session, outcome: Outcome) -> errors.Error:
    history = told(outcome.steps)
    hint = f"lecoder-cgpu kernel status --session {session.record.name}"
    if outcome.problem is not None:
        anew = "repeat the same command: it starts a new runtime; state and files of the old one are lost"
        if (ended := session.end_of_runtime(f"the code ran ({history})", anew)) is not None:
            return ended
        problem = outcome.problem
        return type(problem)(
            f"contact was lost while the code ran, and it may still be running: {problem.message} ({history})",
            name="ContactLost",
            retryable=False,
            hint=hint,
        )
    if outcome.interrupted is not None:
        return errors.RuntimeFailure(history, name="Interrupted", hint=hint)
    if outcome.completed is None:  # another client watched it
        return _result_lost(outcome, hint)
    return errors.ConnectionFailed(history, name="ResultLost", retryable=False, hint=hint)


def _result_lost(outcome: Outcome, hint: str | None) -> errors.Error:
    return errors.LostError(f"how it ended cannot be known: {told(outcome.steps)}", name="ResultLost", hint=hint)


def _death(outcome: Outcome) -> errors.Error:
    death = outcome.execution.death or ""
    if outcome.timed_out:
        limit, option = _limit(outcome)
        return errors.TimeLimit(f"{limit}; {death}", name="TimeLimit", hint=f"allow more with {option} TIME (20m, 2h)")
    if outcome.stopped_by is not None:
        steps = ", ".join(outcome.stops)
        return errors.RuntimeFailure(f"{death} ({outcome.stopped_by}: {steps}); its variables are lost", name="Stopped")
    if death == GONE:  # no fault of the code
        return errors.LostError(
            "the kernel is gone: its server was restarted, or ended it, while the code ran; its variables are lost",
            name="KernelLost",
            hint="repeat the same command: it starts a new kernel",
        )
    return errors.RuntimeFailure(
        f"{death}{' while the code ran' if outcome.execution.started else ''}; its variables are lost",
        name="KernelDied",
        hint="a crash of native code, os._exit, or too little memory does this; lecoder-cgpu status shows the memory",
    )


def _limit(outcome: Outcome) -> tuple[str, str]:
    """Which limit was reached, and the option that sets it."""
    if outcome.stopped_by == "idle-timeout":
        return "there was no output for as long as was allowed", "--idle-timeout"
    return "time limit reached", "--timeout"


def _python_failure(document: Run, outcome: Outcome, raised: Raised, filename: str | None) -> None:
    status = classify.exit_status(raised.name, raised.message) if outcome.is_python else None
    if status is not None:
        if status:
            told = f"the code ended itself with sys.exit({status})"
            document.fail(errors.RuntimeFailure(told, name="SystemExit"))
            document.exit_code = (status & 0xFF) or 1
        return
    message, *traceback = name_files([raised.message, *raised.traceback], filename, outcome.execution.execution_count)
    if outcome.is_python:
        failure = classify.classify(raised.name, raised.message, outcome.bases)
        info = classify.exception(raised.name, message, traceback, outcome.bases)
    else:
        failure, info = classify.foreign(outcome.language or "", raised.name, message, traceback)
    document.status = "error"
    document.error = info
    document.error_code = failure.code
    document.exit_code = 1
    if outcome.timed_out:
        limit, option = _limit(outcome)
        document.fail(errors.TimeLimit(f"{limit}; the code was interrupted ({raised.name})", name="TimeLimit"))
        assert isinstance(document.error, ErrorInfo)
        document.error.traceback = info.traceback
        document.error.suggestion = f"allow more with {option} TIME (20m, 2h), or let it work in parts"
