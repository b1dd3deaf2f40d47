"""`job`: runs that were started with `run --detach`, and every other run that the runtime still keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from ... import errors
from ...files import plan
from ...models.jobs import JobList
from ...models.runs import Stopped
from ...runs import all_jobs, job_output, planned_jobs, process_runs
from ...runs.jobs import GRACE, Jobs
from ...sessions.status import gpu_document
from .. import display_options, durations, hook, inputs, job_text, planned_wait, release, run_display, several_jobs
from ..app import App, Group
from ..live import tell_pulled
from ..looks import Text
from ..output import Answer
from . import job_again, job_logs, job_plot

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...models.jobs import JobDocument, JobDocuments


@click.group(cls=Group, name="job")
def command() -> None:
    """List jobs, read their output, wait for them, end them.

    JOB is an id, a unique beginning of one, or what --name or --key called the job; the newest of that name is meant.

    \b
    lecoder-cgpu run --detach python train.py
    lecoder-cgpu job wait run-0123456789abcdef --timeout 100
    lecoder-cgpu job logs run-0123456789abcdef -f
    """


@command.command("list")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="NUMBER",
    help="The most that are shown.",
)
@click.option("--all-sessions", is_flag=True, help="The jobs on every runtime that is held.")
@click.option("--all", "everything", is_flag=True, help="Runs that somebody watched, too; always so with --json.")
@click.pass_obj
def list_(app: App, limit: int, all_sessions: bool, everything: bool) -> Answer:
    """List the jobs on the runtime, newest first.

    A job was started with --detach; --all shows every other run, too. With --all-sessions, those of every session; what
    could not be asked is named, so that a list without such a line is whole. An id may be cut at a terminal: its
    beginning is enough for all commands.

    \b
    lecoder-cgpu job list
    lecoder-cgpu job list --all
    lecoder-cgpu job list --all-sessions --json
    lecoder-cgpu job list -n 1 --json | jq -r '.jobs[0].id'
    """
    detached = app.printer.mode == "human" and not everything
    if all_sessions:
        document = all_jobs.of_all_sessions(app.client, limit, detached=detached)
        for item in document.unasked or ():
            where = item.session if isinstance(item.session, str) else item.endpoint
            told = f"; {item.error.suggestion}" if isinstance(item.error.suggestion, str) else ""
            app.printer.notify(f"{where} was not asked: {item.error.message}{told}")
        document = planned_jobs.listed(app.client, document, everywhere=True)
    else:
        document = _here(app, limit, detached=detached)
    return Answer(document, lambda: job_text.table(document, detached=detached))


def _here(app: App, limit: int, *, detached: bool) -> JobList:
    """The jobs of the session in use, with those that are between two runtimes."""
    session = app.client.existing(app.session, gone=True)
    try:
        with planned_jobs.jobs(app.client, app.session) as jobs:
            document = all_jobs.of(jobs, limit, detached=detached)
    except errors.Error:
        document = planned_jobs.listed(
            app.client, JobList(jobs=[], session=session.record.ref), everywhere=False, session=session.record.id
        )
        if not document.jobs:
            raise
        return document
    return planned_jobs.listed(app.client, document, everywhere=False, session=session.record.id)


@command.command()
@click.argument("job")
@click.pass_obj
def show(app: App, job: str) -> Answer:
    """Show one job.

    Its state, the processors and the memory that it uses, and the last line that it printed.

    \b
    lecoder-cgpu job show run-0123456789abcdef
    lecoder-cgpu job show run-0123456789abcdef --json | jq .job.state
    """
    plan = planned_jobs.find(app.client, job, app.session)
    if plan is not None:
        document = planned_jobs.show(app.client, plan)
    else:
        with planned_jobs.jobs(app.client, app.session, job) as jobs:
            document = jobs.document(jobs.find(job))
            if document.job.usage:
                document.gpus = [gpu_document(gpu) for gpu in jobs.add_gpus([document.job])] or UNSET
    document.exit_code = 0
    attempts = [(line,) for line in job_text.attempts(document)]
    return Answer(document, lambda: Text([*job_text.lines(document.job), *attempts]))


@command.command()
@click.argument("names", nargs=-1, metavar="JOB...")
@click.option("--all", "everything", is_flag=True, help="Every job that has not ended.")
@click.option("--timeout", type=durations.SECONDS, metavar="TIME", help="Stop waiting after that; exit 124.")
@click.option("--pull", multiple=True, metavar="PATH[:LOCAL]", help="Fetch this when the job has ended.")
@click.option("--on-finish", metavar="COMMAND", help="Execute this here when the job has ended.")
@click.option("--release", "give_back", is_flag=True, help="Release the runtime once all results were fetched.")
@click.option(
    "--from",
    "start",
    metavar="[STREAM=]OFFSET",
    multiple=True,
    help="With --json: the output behind this byte of stdout, or of STREAM (stdout, stderr).",
)
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="With --from: the attempt whose output is meant; that of a later one is shown from its beginning.",
)
@click.option(
    "--max-output",
    type=click.IntRange(min=0),
    default=job_output.BUDGET,
    show_default=True,
    metavar="BYTES",
    help="With --json: bytes of each stream, head and tail; 0 is all.",
)
@click.pass_obj
def wait(
    app: App,
    /,
    names: tuple[str, ...],
    everything: bool,
    timeout: float | None,
    pull: tuple[str, ...],
    **options: Any,
) -> Answer:
    """Wait for jobs and end with their exit status; 124 while one still runs. Ctrl-C ends the waiting only.

    Of several jobs, the exit status is that of the first that failed. Results that were declared with `run --detach
    --pull` are fetched when a job has ended.

    The command of --on-finish is a line for the shell here. It finds LECODER_CGPU_RUN_ID, LECODER_CGPU_STATUS (ok,
    error, abort, unknown), LECODER_CGPU_EXIT_CODE, LECODER_CGPU_ERROR_CODE and LECODER_CGPU_SESSION in its environment;
    what it prints goes to stderr, and its own status changes nothing. It is executed after results were fetched, and
    not while the job still runs. --release comes last: it needs declared results, all of them fetched, and nothing else
    at work there.

    With --json, the answer has the output, too: head and tail, the last line, and nextOffset, where --from goes on.

    \b
    lecoder-cgpu job wait run-0123456789abcdef --timeout 100 --json
    lecoder-cgpu job wait run-0123456789abcdef --pull model.pt --release
    lecoder-cgpu job wait --all
    """
    several_jobs.check(names, everything=everything)
    several = len(names) != 1
    on_finish: str | None = options["on_finish"]
    if several and (pull or on_finish or options["give_back"] or options["start"]):
        raise errors.UsageError(
            "--pull, --from, --on-finish and --release are for one job",
            hint="wait for it alone: job wait JOB --pull PATH",
        )
    offsets = inputs.offsets(options["start"])
    for spec in pull:
        plan.split_pull(spec)
    planned = None if several else planned_jobs.find(app.client, names[0], app.session)
    if planned is not None:
        document = planned_wait.wait(app, planned, timeout, pull, {**options, "offsets": offsets})
        return Answer(document, lambda: _waited(app, document), exit_status=document.exit_code)

    def fill(jobs: Jobs, document: JobDocument) -> None:
        if app.printer.mode != "human":
            reading = jobs.session.reading_command(document.job.id)
            job_output.show_ends(jobs, document, offsets, options["max_output"] or None, reading)

    if several:
        shown = {**options, "offsets": offsets}
        with several_jobs.chosen(app.client, app.session, names, everything=everything) as found:
            together = several_jobs.wait(
                found, timeout, lambda plan, left: planned_wait.wait(app, plan, left, (), shown), fill
            )
        return Answer(together, lambda: _each(together, _ended), exit_status=together.exit_code)
    with planned_jobs.jobs(app.client, app.session, names[0]) as jobs:
        with app.printer.waiting(f"waiting for {names[0]} …"):
            document = jobs.wait(names[0], timeout, app.printer.notify)
        with app.printer.waiting("fetching results …"):
            jobs.fetch(document, pull)
        fill(jobs, document)
    if app.printer.mode == "human":
        tell_pulled(app.printer, document.pulled)
    hook.finish(app.printer, on_finish, document, document.job.id, app.config.profile.name)
    if options["give_back"]:
        release.after_results(app.printer, app.client, jobs.session, document, document.job.id)
    return Answer(
        document,
        lambda: _waited(app, document),
        exit_status=document.exit_code,
    )


def _waited(app: App, document: JobDocument) -> str:
    """What became of a job that was waited for, and how to go on where it runs on."""
    if document.status == "running":
        run = document.job.id
        app.printer.note(f"it goes on; wait again: lecoder-cgpu job wait {run}; end it: lecoder-cgpu job kill {run}")
    return _ended(document)


def _ended(document: JobDocument) -> str:
    line = f"{document.job.id} {document.job.state} {job_text.status(document.job)}".rstrip()
    stopped = document.job.stopped
    return f"{line} (stopped: {stopped.by})" if isinstance(stopped, Stopped) else line


def _each(documents: JobDocuments, line: Callable[[JobDocument], str]) -> str:
    return "\n".join(map(line, documents.jobs)) or "There are no jobs that have not ended."


@command.command()
@click.argument("job")
@display_options.options
@click.pass_obj
def result(app: App, /, job: str, **shown: Any) -> Answer:
    """Print a finished job as `run` would have: its output, and its exit status as ours.

    \b
    lecoder-cgpu job result run-0123456789abcdef --json
    lecoder-cgpu job result run-0123456789abcdef --outputs plots
    """
    plan = planned_jobs.find(app.client, job, app.session)
    if plan is not None and plan.state != "ended":
        going = planned_jobs.show(app.client, plan)
        if going.status == "running":  # between two runtimes, too, when there is none to ask
            return Answer(
                going,
                lambda: f"{going.job.id} has not ended: it is {going.job.state}",
                exit_status=errors.EXIT_STOPPED_WAITING,
            )
    with planned_jobs.jobs(app.client, app.session, job) as jobs:
        session, state = jobs.session, jobs.find(job)
        if not state.ended:
            return Answer(
                jobs.document(state),
                lambda: f"{state.run} is still running",
                exit_status=errors.EXIT_STOPPED_WAITING,
            )
        if state.kind == "notebook" and app.printer.mode == "json":
            from ...notebooks import jobs as notebook_jobs
            from .. import notebooks

            limit = notebooks.cell_budget(shown["max_output"])
            executed, _ = notebook_jobs.collect(session, jobs.helper, state, max_output=limit)
            return Answer(executed, exit_status=executed.exit_code)
    manner = run_display.RenderOptions(**shown)
    document = run_display.earlier(app.printer, session, state.run, manner)
    if app.printer.mode == "human":
        run_display.tell(app.printer, document, manner.outputs)
    return Answer(document, exit_status=document.exit_code, printed=True)


@command.command()
@click.argument("names", nargs=-1, metavar="JOB...")
@click.option("--all", "everything", is_flag=True, help="Every job that has not ended.")
@click.option("--signal", metavar="NAME", help="Which signal, such as SIGINT. Default: SIGTERM.")
@click.option("--escalate", is_flag=True, help="SIGTERM, then SIGKILL, until nothing of it lives.")
@click.option(
    "--grace",
    type=durations.SECONDS,
    default=GRACE,
    show_default=True,
    metavar="TIME",
    help="With --escalate: how long it has to end before the next step.",
)
@click.pass_obj
def kill(
    app: App, names: tuple[str, ...], everything: bool, signal: str | None, escalate: bool, grace: float
) -> Answer:
    """Send a signal to jobs and to everything that they started, what they left in the background included.

    A job has ended when nothing of it lives: a program may take its time to save its work. With --escalate, the
    command waits for that; processes that live on are named, with exit status 124.

    Code in a kernel is interrupted instead, or taken back while it waits for the kernel. SIGKILL (or --escalate, if the
    interrupt does not help) ends the kernel: the server starts another one, and all variables are gone.

    \b
    lecoder-cgpu job kill run-0123456789abcdef
    lecoder-cgpu job kill run-0123456789abcdef --signal SIGINT
    lecoder-cgpu job kill run-0123456789abcdef --escalate --grace 30s
    lecoder-cgpu job kill --all
    """
    name = None if signal is None else _signal(signal)
    several_jobs.check(names, everything=everything)
    plan = planned_jobs.find(app.client, names[0], app.session) if len(names) == 1 else None
    if plan is not None:
        key = plan.job
        document = planned_jobs.kill(
            app.client, plan, lambda jobs: jobs.kill(key, name, escalate=escalate, grace=grace)
        )
        return Answer(document, lambda: _killed(document), exit_status=document.exit_code)
    if len(names) != 1:
        with several_jobs.chosen(app.client, app.session, names, everything=everything) as found:
            together = several_jobs.kill(
                app.client, found, lambda jobs, run: jobs.kill(run, name, escalate=escalate, grace=grace)
            )
        return Answer(together, lambda: _each(together, _killed), exit_status=together.exit_code)
    with planned_jobs.jobs(app.client, app.session, names[0]) as jobs:
        document = jobs.kill(names[0], name, escalate=escalate, grace=grace)
    return Answer(document, lambda: _killed(document), exit_status=document.exit_code)


def _signal(typed: str) -> str:
    """The name of a signal: KILL, sigkill and 9 are SIGKILL, by the numbers of Linux.

    Raises:
        errors.UsageError: the number does not mean the same everywhere.
    """
    if not typed.isdecimal():
        return f"SIG{typed.upper().removeprefix('SIG')}"
    name = process_runs.signal_name(int(typed))
    if name is None:
        raise errors.UsageError(
            f"--signal {typed}: there is no signal of that number", hint="name it: --signal TERM, --signal KILL"
        )
    return name


def _killed(document: JobDocument) -> str:
    job = document.job
    if document.sent is False and isinstance(document.attempts, list) and job.state == "lost":
        return f"{job.id} is not run again"
    if document.sent is not True:
        return f"{job.id} has ended already" if job.state in ("exited", "unknown") else f"{job.id} got no signal"
    steps = ", ".join(document.signals) if isinstance(document.signals, list) else "the signal"
    alive = job_text.remaining(job, "still alive: ")
    if not isinstance(document.signalled, list):
        if job.state == "running":
            alive.append(f"it may be saving its work; to end it now: lecoder-cgpu job kill --escalate {job.id}")
        return "\n".join([f"{steps} sent to {job.id}, which is {job.state} now", *alive])
    exited = f" (exit {job.exit_code})" if isinstance(job.exit_code, int) else ""
    left = [f"  {process.pid} {process.command}" for process in document.signalled]
    first = f"{steps} sent to what {job.id} had left; the job itself had ended before{exited}"
    return "\n".join([f"{first}:" if left else first, *left, *alive])


for _more in (job_logs.logs, job_plot.plot, job_again.rm, job_again.retry, job_again.rehearse):
    command.add_command(_more)
