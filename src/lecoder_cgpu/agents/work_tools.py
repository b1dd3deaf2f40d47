"""Tools that run something: code, commands, jobs, installers, notebooks."""

from __future__ import annotations

import codecs
import contextlib
import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors, results
from ..api.job import Job as RunningJob
from ..api.session import Session
from ..jupyter import messages, outputs
from ..jupyter.watch_limits import WatchLimits
from ..models.jobs import JobLogs, JobProgress
from ..models.runs import Run
from ..runs import job_output, job_views, kept_output, kernel_runs, planned_jobs
from ..runs.installs import KIND as INSTALLER
from ..runs.jobs import describe
from ..runs.run_record import RunRecord
from . import arguments as given
from .desk import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..runs.job_plans import JobPlan

CELL_BUDGET = 2048  # bytes of each stream of a notebook's cell


def run(call: Call, arguments: given.RunArguments) -> Run | results.Run:
    if (arguments.code is None) == (arguments.command is None):
        raise errors.UsageError(
            "give either code or command",
            hint="leave out code, which is for the kernel, or command, which is for the shell",
        )
    if arguments.code is not None:
        if arguments.cwd is not None or arguments.environment is not None:
            raise errors.UsageError(
                "cwd and environment are for commands",
                hint="leave out cwd and environment; in Python: os.chdir, os.environ",
            )
        return _run_code(call, call.session(arguments.session), arguments)
    assert arguments.command is not None
    if arguments.kernel_name is not None:
        raise errors.UsageError("kernel_name is for code", hint="leave out kernel_name, or give code")
    session = call.session(arguments.session)
    started = session.start(
        arguments.command, cwd=arguments.cwd, environment=arguments.environment, timeout=arguments.timeout
    )
    call.begun()
    job = RunningJob(session, started.job_id)
    call.stoppable(job.kill)
    return job.result(on_output=call.see_bytes, wait=arguments.wait, max_output=arguments.max_output)


def _run_code(call: Call, session: Session, arguments: given.RunArguments) -> Run:
    def see(event: messages.Event) -> None:
        if isinstance(event, messages.Stream):
            call.see(event.text)
        elif isinstance(event, messages.Display):
            call.images += _images(event.data)

    assert arguments.code is not None
    with session._hold() as held:
        held.wish = arguments.kernel_name or held.wish
        connection = held.connect_kernel()
        connection.on_start = call.begun  # only then: a busy kernel takes up the code of several clients in any order
        call.stoppable(lambda: held.server.interrupt(connection.kernel_id))
        record = RunRecord(held.notify, "kernel")
        try:
            with record.beginning(held, arguments.code):
                document = kernel_runs.kernel_run(
                    held,
                    arguments.code,
                    see,
                    limits=WatchLimits(timeout=arguments.timeout, wait=arguments.wait),
                    output=outputs.OutputOptions(max_output=arguments.max_output, inline=False),
                    connection=connection,
                )
        finally:
            connection.close()
        record.end(held, document, arguments.code)
    return document


def _images(data: dict[str, Any]) -> list[tuple[str, bytes]]:
    """The image of a rich output in the first format that a conversation can show; empty if there is none."""
    kinds = [kind for kind in ("image/png", "image/jpeg") if isinstance(data.get(kind), str)]
    return [(kind, outputs.content(kind, data[kind])) for kind in kinds[:1]]


def job_start(call: Call, arguments: given.StartArguments) -> results.JobStarted:
    session = call.session(arguments.session)
    return session.start(
        arguments.command,
        key=arguments.key,
        cwd=arguments.cwd,
        environment=arguments.environment,
        timeout=arguments.timeout,
        restarts=arguments.restarts,
    )


def job_wait(call: Call, arguments: given.WaitArguments) -> JobProgress:
    session = call.session(arguments.session)
    plan = planned_jobs.find(session._client, arguments.job, session.id)
    if plan is not None:
        plan = planned_jobs.Waiting(session._client, plan, session._client.notify).wait(arguments.wait)
    with _written(session, plan) as known:
        if plan is None:
            document = known.wait(arguments.job, arguments.wait)
        else:
            document, _ = planned_jobs.ended(session._client, plan, ())
        progress = JobProgress(
            status=document.status,
            error_code=document.error_code,
            exit_code=document.exit_code,
            job=document.job,
            session=document.session,
            error=document.error,
        )
        anew = plan is not None and arguments.attempt not in (None, document.job.attempt)
        for name, offset in (("stdout", arguments.stdout_offset), ("stderr", arguments.stderr_offset)):
            _read_on(known, progress, name, 0 if anew else offset, arguments.max_output)
    return progress


def _read_on(known: job_output.Written, progress: JobProgress, name: str, offset: int, most: int) -> None:
    """Add to an answer what a job wrote to a stream from an offset on."""
    state, content = known.read(progress.job.id, name, offset, most)
    size = (state.stdout_size if name == "stdout" else state.stderr_size) or 0
    content = _whole(content, offset + len(content) < size)
    setattr(progress, name, content.decode("utf-8", "replace"))
    setattr(progress, f"{name}_offset", offset + len(content))
    if offset + len(content) < size:
        setattr(progress, f"{name}_left", size - offset - len(content))


@contextlib.contextmanager
def _written(session: Session, plan: JobPlan | None) -> Iterator[Any]:
    """Where a job's output is read: on its runtime, or what was copied here before that was lost."""
    if plan is None:
        with session._jobs() as known:
            yield known
        return
    with contextlib.ExitStack() as held:
        try:
            opened: job_output.Written = held.enter_context(planned_jobs.on_runtime(session._client, plan))
            opened.read(plan.job, "stdout", 0, 0)
        except errors.Error:
            opened = kept_output.Copy(session._client.state_dir, plan, plan.last)
        yield opened


def _whole(content: bytes, cut: bool) -> bytes:
    """Output that ends with a line where there is more behind it, at least with a character."""
    if not cut:
        return content
    end = content.rfind(b"\n") + 1
    if end > len(content) // 2:
        return content[:end]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(content)
    begun = len(decoder.getstate()[0])  # bytes of a character that goes on
    return content[:-begun] if 0 < begun < len(content) else content


def job_logs(call: Call, arguments: given.LogsArguments) -> JobLogs:
    session = call.session(arguments.session)
    plan = planned_jobs.find(session._client, arguments.job, session.id)
    with _written(session, plan) as known:
        state, content = known.read(arguments.job, arguments.stream, arguments.offset, arguments.limit)
        offset = job_output.begin(state, arguments.stream, arguments.offset)
        size = (state.stdout_size if arguments.stream == "stdout" else state.stderr_size) or 0
        whole = _whole(content, offset + len(content) < size) or content
        document = JobLogs(
            job=describe(state) if plan is None else job_views.job(plan),
            session=session._record.ref if plan is None else job_views.session(plan, session._client.store),
            stream=arguments.stream,
            offset=offset,
            next_offset=offset + len(whole),
            text=whole.decode("utf-8", "replace"),
        )
    if document.text.encode("utf-8", "replace") != whole:
        document.base64, document.text = b64encode(whole).decode(), ""
    return document


def job_kill(call: Call, arguments: given.KillArguments) -> dict[str, Any]:
    job = call.session(arguments.session).find_job(arguments.job)
    sent = job.kill(arguments.signal)
    return {"status": "ok", "errorCode": 0, "sent": sent, "job": job.show()}


def install(call: Call, arguments: given.InstallArguments) -> results.Install:
    option = next((item for item in arguments.packages if re.match(r"\s*-|.*\s--?\w", item, re.DOTALL)), None)
    if option is not None:
        raise errors.UsageError(
            f"{option!r} is an option of pip, which decides where packages come from",
            name="NoOptions",
            hint="name packages; with options, a person can install them: lecoder-cgpu install PACKAGE -- OPTION",
        )
    session = call.session(arguments.session)

    def stop() -> None:
        for job in session.jobs(5):
            if job.kind == INSTALLER and job.state == "running":
                session.find_job(job.id).kill("SIGINT")

    call.stoppable(stop)
    return session.install(
        *arguments.packages, timeout=arguments.timeout, max_output=arguments.max_output, on_output=call.see_bytes
    )


def notebook(call: Call, arguments: given.NotebookArguments) -> results.NotebookRun:
    if (arguments.path is None) == (arguments.job is None):
        raise errors.UsageError(
            "give either path or job", hint="give either path, a notebook here, or job, one that was started"
        )
    session = call.session(arguments.session)
    if arguments.path is not None:
        (path,) = call.places.sources([arguments.path])
        output = arguments.output or str(Path(path).with_name(f"{Path(path).stem}.executed.ipynb"))
        target = call.places.target(output, [])
        job = session.start_notebook(
            path,
            parameters=arguments.parameters,
            timeout=arguments.timeout,
            keep_going=arguments.keep_going,
        )
        call.desk.notebooks[job.id] = target
        call.begun()
        call.stoppable(lambda: job.kill("SIGINT"))
    else:
        job = session.find_job(str(arguments.job))
        found = arguments.output or call.desk.notebooks.get(job.id)
        target = call.places.target(found, []) if found else ""
    job.result(on_output=call.see_bytes, wait=arguments.wait)
    return session.fetch_notebook(job.id, target or None, max_output=CELL_BUDGET)
