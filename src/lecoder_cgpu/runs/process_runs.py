"""Process runs: commands on the runtime, and the `run` document that says what happened."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from msgspec import UNSET

from .. import errors
from ..helper.launch import DEFAULT, Launch
from ..jupyter import outputs, shown_order, stream_buffers
from ..jupyter.shown_order import ShownOrder
from ..models.base import ErrorInfo, Timing
from ..models.jobs import JobDocument
from ..models.runs import ProcessRef, Run, Stopped
from ..sessions.session import Session
from ..system import redaction
from ..system.interrupts import naming
from . import classify, pushed
from .process_watch import ProcessRun

if TYPE_CHECKING:
    from ..helper.documents import RunState


def process_run(
    session: Session,
    command: str | list[str],
    on_output: Callable[[str, bytes], None],
    launch: Launch = DEFAULT,
    *,
    output: outputs.OutputOptions = outputs.DEFAULT,
    stdin: BinaryIO | None = None,
    wait: float | None = None,
    detach: bool = False,
) -> Run:
    """Run a command as a process of its own on the runtime; it works while the kernel is busy.

    Args:
        command: a string for the shell, or a program with its arguments.
        on_output: told of each piece of output (stream name, bytes) as it comes.
        launch: where and with what the command starts, and the time limits that the runtime keeps for it.
        output: how much output the document holds, and whether as it came.
        stdin: forwarded to the command; nothing when None.
        wait: seconds after which to stop watching; the command goes on.
        detach: let the command go on also when the user interrupts the client.

    Raises:
        errors.Error: nothing was started. What happens after that is in the document.
    """
    kept = _Output(on_output, output)
    run = ProcessRun(session, command, kept.take, run_id=launch.run_id, stdin=stdin, wait=wait, detach=detach)
    run.start(launch)
    with naming(run.id):
        run.until_finished()
        return _process_document(session, run, kept)


def attached_run(
    session: Session,
    run_id: str,
    on_output: Callable[[str, bytes], None],
    *,
    output: outputs.OutputOptions = outputs.DEFAULT,
    wait: float | None = None,
    offsets: tuple[int, int] = (0, 0),
    detach: bool = True,
) -> Run:
    """Watch a process run that is there already, from its first byte to its end.

    Args:
        offsets: bytes of stdout and stderr to pass over.
        detach: Ctrl-C ends only the watching, not the run. For the others see `process_run`.

    Raises:
        errors.NotFoundError: the runtime does not know it. errors.Error: it cannot be reached.
    """
    kept = _Output(on_output, output)
    run = ProcessRun(session, "", kept.take, run_id=run_id, wait=wait, detach=detach, offsets=offsets)
    run.attach()
    if run.state is not None:
        run.command = run.state.shell or run.state.argv or ""
    run.until_finished()
    document = _process_document(session, run, kept)
    result = run.state.result if run.state is not None else None
    if result is not None:
        document.timing = Timing(result.started, result.ended, round(1000 * result.seconds))
    return document


def _process_document(session: Session, run: ProcessRun, output: _Output) -> Run:
    document = Run(
        status="ok",
        error_code=0,
        exit_code=0,
        mode="terminal",
        session=session.record.ref,
        run_id=run.id,
        timing=run.timing,
    )
    for name, kept in output.kept.items():
        _put_output(document, name, kept)
        document.output_bytes += kept.total
    if truncated := stream_buffers.cut([output.kept]):
        truncated.get = session.reading_command(run.id)
        document.truncated = truncated
    if output.order is not None:
        shown_order.fill(document, [(output.order, 0, 0)])
    command = run.command if isinstance(run.command, str) else run.command[0]
    tail = output.kept["stderr"].last(8192).decode("utf-8", "replace")
    _process_outcome(document, run, tail, command)
    if run.state is not None and run.state.result is not None:
        pushed.note(document, run.state.result.pushes)
    return document


class _Output:
    """Passes output on as it comes, and keeps what the document needs of it."""

    def __init__(self, on_output: Callable[[str, bytes], None], options: outputs.OutputOptions) -> None:
        self._on_output = on_output
        self.order = ShownOrder() if options.order else None
        self.kept = {
            name: stream_buffers.StreamBuffer(options.max_output, raw=options.raw) for name in ("stdout", "stderr")
        }

    def take(self, stream: str, data: bytes) -> None:
        self.kept[stream].add(data)
        if self.order is not None:
            self.order.add("stderr" if stream == "stderr" else "stdout", len(data))
        self._on_output(stream, data)


def _put_output(document: Run, name: str, kept: stream_buffers.StreamBuffer) -> None:
    """Put a stream into the document: as text, and where it is not UTF-8 and whole also as the exact bytes."""
    if (content := kept.content) is not None:
        try:
            content.decode()
        except UnicodeDecodeError:
            setattr(document, f"{name}_base64", b64encode(content).decode())
    text = kept.text()
    if text or name == "stdout":
        setattr(document, name, text)


def _process_outcome(document: Run, run: ProcessRun, stderr: str, command: str) -> None:
    """Set status, exit status and error of a process run."""
    result = run.state.result if run.state is not None else None
    if run.left:
        document.leave(run.interrupted)
        return
    if run.interrupted is not None:
        document.interrupted = True
    if result is None:
        document.output_complete = False
        document.memory_share = UNSET if run.memory is None else run.memory
        document.fail(run.unknown_error(), status="unknown")
        if run.interrupted is not None:
            document.exit_code = run.interrupted
        return
    if run.delivered_less_than(result.stdout_bytes, result.stderr_bytes):
        document.output_complete = False
    if result.bytes_dropped:
        document.output_complete = False
        document.bytes_dropped = result.bytes_dropped
    if result.max_rss_bytes is not None:
        document.max_rss_bytes = result.max_rss_bytes
    if result.signal is not None:
        document.signal = result.signal
    if result.timed_out:
        document.timed_out = True
    if (stopped := stopped_by(run.state)) is not None:
        document.stopped = stopped
    if run.state is not None and run.state.remaining:
        document.remaining = remaining(run.state)
    if stopped is not None and stopped.by == "lease" and (ended := run.session.ended_by_lease()) is not None:
        document.fail(ended)  # however the command took it
        return
    if result.exit == 0 and not result.timed_out:
        return
    by = stopped.by if stopped is not None else None
    failure, info = classify.process(
        result.exit,
        result.signal,
        stderr,
        command,
        timed_out=result.timed_out,
        stopped_by=by,
        out_of_memory=result.out_of_memory,
    )
    document.status = "error"
    document.error_code = failure.code
    document.error = info
    if run.interrupted is not None:
        document.exit_code = run.interrupted
    elif result.timed_out:
        document.exit_code = errors.TimeLimit.exit_status
    elif result.exit is not None:
        document.exit_code = result.exit
    else:
        document.exit_code = 128 + signal_number(result.signal or "")


def stopped_by(state: RunState | None) -> Stopped | None:
    """What was done to end a run, by its own limits or from outside; None when nothing was done."""
    result = state.result if state is not None else None
    if result is not None and result.stopped_by is not None:
        return Stopped.of(result.stopped_by, result.killed_by)
    sent = [signal for signal in (state.signals if state is not None else []) if signal.signal in _ENDING]
    if result is not None and state is not None and state.kind != "kernel":
        sent = [signal for signal in sent if signal.at <= result.ended]  # later ones ended what it had left
    return Stopped.of(sent[-1].by, [signal.signal for signal in sent]) if sent else None


def remaining(state: RunState) -> list[ProcessRef]:
    """The processes of a run that live on after its command has ended, as documents show them."""
    return [ProcessRef(pid=process.pid, command=redaction.hide(process.command)) for process in state.remaining]


def told(document: JobDocument) -> JobDocument:
    """The document of a job, whose failure tells no secret that this process knows."""
    if isinstance(document.error, ErrorInfo):
        document.error.message = redaction.mask(document.error.message, redaction.known())
    return document


_ENDING = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGKILL")

# Linux numbers: runtimes run Linux, while the system of the client may have other numbers.
_SIGNALS = {
    "SIGHUP": 1,
    "SIGINT": 2,
    "SIGQUIT": 3,
    "SIGILL": 4,
    "SIGTRAP": 5,
    "SIGABRT": 6,
    "SIGBUS": 7,
    "SIGFPE": 8,
    "SIGKILL": 9,
    "SIGUSR1": 10,
    "SIGSEGV": 11,
    "SIGUSR2": 12,
    "SIGPIPE": 13,
    "SIGALRM": 14,
    "SIGTERM": 15,
    "SIGXCPU": 24,
    "SIGXFSZ": 25,
    "SIGSYS": 31,
}


def signal_name(number: int) -> str | None:
    """The name of a signal by its number on the runtime."""
    return next((name for name, known in _SIGNALS.items() if known == number), None)


def signal_number(name: str) -> int:
    """The number of a signal by its name on the runtime; 0 for an unknown name."""
    if name in _SIGNALS:
        return _SIGNALS[name]
    digits = name.removeprefix("SIG")
    return int(digits) if digits.isdecimal() and len(digits) < 4 else 0
