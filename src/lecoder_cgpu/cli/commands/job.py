"""`job`: runs that were started with `run --detach`, and every other run that the runtime still keeps."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import click

from ... import errors, files, models, process_runs
from ...jobs import Jobs, describe
from ..app import App, Group
from ..live import ProcessView, tell_pulled
from ..output import BUDGET, Answer, Table


@click.group(cls=Group, name="job")
def command() -> None:
    """List jobs, read their output, wait for them, end them.

    \b
    lecoder-cgpu run --detach python train.py
    lecoder-cgpu job wait run-0123456789abcdef --timeout 100
    lecoder-cgpu job logs run-0123456789abcdef -f
    """


def _jobs(app: App) -> Jobs:
    return Jobs(app.client.existing(app.session))


@command.command("list")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many.")
@click.pass_obj
def list_(app: App, limit: int) -> Answer:
    """List the jobs on the runtime, newest first."""
    with _jobs(app) as jobs:
        document = jobs.list(limit)
    rows = [
        (job.id, job.state, _status(job), _text(job.created)[:19].replace("T", " "), _command(job))
        for job in document.jobs
    ]
    return Answer(
        document, lambda: Table(("ID", "STATE", "EXIT", "CREATED", "COMMAND"), rows, empty="There are no jobs.")
    )


@command.command()
@click.argument("job")
@click.pass_obj
def show(app: App, job: str) -> Answer:
    """Show one job."""
    with _jobs(app) as jobs:
        document = jobs.document(jobs.find(job))
    document.exit_code = 0
    return Answer(document, lambda: "\n".join(_lines(document.job)))


@command.command()
@click.argument("job")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop waiting after that; exit 124.")
@click.option("--pull", multiple=True, metavar="PATH[:LOCAL]", help="Fetch this when the job has ended.")
@click.pass_obj
def wait(app: App, job: str, timeout: float | None, pull: tuple[str, ...]) -> Answer:
    """Wait for a job and end with its exit status; 124 while it still runs.

    Results that were declared with `run --detach --pull` are fetched when it has ended.
    """
    for spec in pull:
        files.split_pull(spec)
    with _jobs(app) as jobs:
        document = jobs.wait(job, timeout)
        jobs.fetch(document, pull)
    if app.printer.mode == "human":
        tell_pulled(app.printer, document.pulled)
    return Answer(document, lambda: f"{document.job.id} {document.job.state} {_status(document.job)}".rstrip(),
                  exit_status=document.exit_code)  # fmt: skip


@command.command()
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this stream.")
@click.option(
    "--from", "start", type=int, default=0, metavar="OFFSET", help="Begin at this byte; negative: from the end."
)
@click.option(
    "--bytes", "limit", type=click.IntRange(min=1), help="At most so many bytes; with --json, 1 MiB unless said."
)
@click.pass_obj
def logs(app: App, job: str, follow: bool, stream: str | None, start: int, limit: int | None) -> Answer:
    """Print a job's output. With --json, one stream from an offset on, and the offset to go on from."""
    if follow and (app.printer.mode == "json" or limit is not None):
        raise errors.UsageError("--follow prints as output comes; it goes with neither --json nor --bytes",
                                hint="leave out --follow; nextOffset tells where to go on")  # fmt: skip
    with _jobs(app) as jobs:
        if app.printer.mode == "json":
            return _logs_document(jobs, job, stream or "stdout", start, limit or BUDGET)
        view = ProcessView(app.printer)
        offsets = {}
        state = None
        for name in (stream,) if stream else ("stdout", "stderr"):
            state, content = jobs.read(job, name, start, limit)
            size = (state.stdout_size if name == "stdout" else state.stderr_size) or 0
            offsets[name] = (max(size + start, 0) if start < 0 else start) + len(content)
            view.show(name, content)
        if follow:

            def show(name: str, data: bytes) -> None:
                if name in offsets:
                    view.show(name, data)

            state = jobs.follow(job, show, offsets.get("stdout", 0), offsets.get("stderr", 0))
    return Answer(describe(state) if state is not None else None, printed=True)


def _logs_document(jobs: Jobs, job: str, stream: str, start: int, limit: int) -> Answer:
    state, content = jobs.read(job, stream, start, limit)
    size = (state.stdout_size if stream == "stdout" else state.stderr_size) or 0
    offset = max(size + start, 0) if start < 0 else start
    document = models.JobLogs(
        job=describe(state), session=jobs.session.record.ref, stream=stream, offset=offset,  # type: ignore[arg-type]
        next_offset=offset + len(content), text=content.decode("utf-8", "replace"),
    )  # fmt: skip
    if document.text.encode("utf-8", "replace") != content:
        document.base64 = b64encode(content).decode()
    return Answer(document)


@command.command()
@click.argument("job")
@click.option("--raw", is_flag=True, help="Keep carriage returns and escape sequences in text.")
@click.option("--max-output", type=click.IntRange(min=0), metavar="BYTES", help="As `run --max-output`.")
@click.pass_obj
def result(app: App, job: str, raw: bool, max_output: int | None) -> Answer:
    """Print a finished job as `run` would have: its output, and its exit status as ours."""
    session = app.client.existing(app.session)
    with Jobs(session) as jobs:
        state = jobs.find(job)
        if state.kind == "kernel":
            raise errors.UsageError(
                "that is code in the session's kernel", hint=f"lecoder-cgpu run --attach {state.run}"
            )
        if not state.ended:
            return Answer(
                jobs.document(state), lambda: f"{state.run} is still running",
                exit_status=errors.EXIT_STOPPED_WAITING,
            )  # fmt: skip
    view = ProcessView(app.printer)
    document = process_runs.attached_run(
        session, state.run, view.show, raw=raw, max_output=app.printer.budget(max_output, streamed=True)
    )
    view.finish()
    return Answer(document, exit_status=document.exit_code, printed=True)


@command.command()
@click.argument("job")
@click.option("--signal", default="SIGTERM", show_default=True, metavar="NAME", help="Which signal, such as SIGINT.")
@click.pass_obj
def kill(app: App, job: str, signal: str) -> Answer:
    """Send a signal to a job and to everything that it started."""
    name = signal.upper() if signal.upper().startswith("SIG") else f"SIG{signal.upper()}"
    with _jobs(app) as jobs:
        document = jobs.kill(job, name)
    sent = document.sent is True
    return Answer(
        document, lambda: f"{name} sent to {document.job.id}" if sent else f"{document.job.id} has ended already"
    )


@command.command()
@click.argument("names", nargs=-1, required=True, metavar="JOB...")
@click.pass_obj
def rm(app: App, names: tuple[str, ...]) -> Answer:
    """Delete finished jobs with their output."""
    with _jobs(app) as jobs:
        removed = [jobs.remove(name) for name in names]
    return Answer(models.Done(message="removed " + ", ".join(removed)), lambda: "\n".join(removed))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _status(job: models.Job) -> str:
    return str(job.exit_code) if isinstance(job.exit_code, int) else ""


def _command(job: models.Job) -> str:
    if job.kind == "kernel":
        return "(kernel)"
    text = " ".join(job.command) if isinstance(job.command, list) else _text(job.command)
    first = text.strip().partition("\n")[0]
    return first if len(first) <= 60 else first[:59] + "…"


def _lines(job: models.Job) -> list[str]:
    lines = [
        f"{job.id}: {job.state}",
        f"  command   {_command(job)}",
        f"  output    {job.stdout_bytes} + {job.stderr_bytes} bytes",
    ]
    for label, value in (("exit", _status(job)), ("signal", _text(job.signal)), ("started", _text(job.started)),
                         ("ended", _text(job.ended)), ("reason", _text(job.reason))):  # fmt: skip
        if value:
            lines.append(f"  {label:<9} {value}")
    return lines
