"""`job logs`: what a job has printed, from its runtime, or from the copy that was made here while it ran."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from ... import errors
from ...models.jobs import JobLogs
from ...runs import job_output, job_views, kept_output, planned_jobs
from ...runs.jobs import describe
from ..app import App, Command
from ..live import ProcessView
from ..output import BUDGET, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...helper.documents import RunState
    from ...models.base import SessionRef
    from ...models.jobs import Job
    from ...runs.job_output import Written


@click.command(cls=Command)
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this stream.")
@click.option(
    "--from", "start", type=int, default=0, metavar="OFFSET", help="Begin at this byte; negative: from the end."
)
@click.option(
    "--bytes",
    "limit",
    type=click.IntRange(min=1),
    metavar="BYTES",
    help="The most that are printed. Default with --json: 1 MiB.",
)
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="NUMBER", help="Begin at the last lines.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="NUMBER", help="Of which attempt; the last by default.")
@click.pass_obj
def logs(
    app: App,
    job: str,
    follow: bool,
    stream: Literal["stdout", "stderr"] | None,
    start: int,
    limit: int | None,
    tail: int | None,
    attempt: int | None,
) -> Answer:
    """Print a job's output, stdout and stderr in the order in which it wrote to them. With --json, one stream from an
    offset on, and the offset to go on from. What was copied here while a job ran (with --restarts, or --pull and
    --every) is printed when its runtime is gone.

    \b
    lecoder-cgpu job logs run-0123456789abcdef -f
    lecoder-cgpu job logs run-0123456789abcdef --tail 20
    lecoder-cgpu job logs run-0123456789abcdef --stream stderr --from -2000
    lecoder-cgpu job logs run-0123456789abcdef --json --from 4096
    """
    if follow and (app.printer.mode == "json" or limit is not None):
        raise errors.UsageError(
            "--follow prints as output comes; it goes with neither --json nor --bytes",
            hint="leave out --follow; nextOffset tells where to go on",
        )
    if tail is not None and (start or limit is not None):
        raise errors.UsageError(
            "--tail says where to begin; it goes with neither --from nor --bytes", hint="leave out --tail"
        )
    wanted = Part(stream, start, limit, tail)
    try:
        with planned_jobs.jobs(app.client, app.session, job, attempt) as jobs:
            state, shown, ends = wanted.show(app, jobs, job)
            if app.printer.mode == "json":
                return Answer(_document(describe(state), jobs.session.record.ref, wanted, shown, ends))
            if follow:
                followed = jobs.follow(job, wanted.shown_by(app), *ends)
                return Answer(describe(followed) if followed is not None else None, printed=True)
            return Answer(describe(state), printed=True)
    except (errors.LostError, errors.NotFoundError):
        copy = kept_output.of(app.client.state_dir, job, attempt)
        if copy is None:
            raise
        return _copied(app, copy, wanted)


@dataclass
class Part:
    """What of a job's output is asked for.

    Attributes:
        stream: only this one. start: the first byte, from the end when negative. limit: the most bytes. tail: the last
            lines instead.
    """

    stream: Literal["stdout", "stderr"] | None
    start: int
    limit: int | None
    tail: int | None

    def show(self, app: App, written: Written, job: str) -> tuple[RunState, bytes, tuple[int, int]]:
        """Print it; with --json, only read it: one stream, from `start` on, which counts from the beginning then.

        Returns:
            The job, what is not printed, and the offsets in stdout and stderr behind it.
        """
        as_document, name = app.printer.mode == "json", self.stream or "stdout"
        if self.stream is None and not as_document:
            view = self.shown_by(app)
            if self.tail is not None:
                state, *ends = job_output.show_last_lines(written, job, view, self.tail)
            else:
                state, *ends = job_output.read_both(written, job, view, self.start, self.limit)
            return state, b"", (ends[0], ends[1])
        if self.tail is not None:
            self.start = job_output.last_lines(written, job, name, self.tail)
        state, content = written.read(job, name, self.start, self.limit or (BUDGET if as_document else None))
        self.start = job_output.begin(state, name, self.start)
        end = self.start + len(content)
        if not as_document:
            self.shown_by(app)(name, content)
        return state, content, (end, end)

    def shown_by(self, app: App) -> Callable[[str, bytes], None]:
        """What prints pieces of the streams that are asked for."""
        view = ProcessView(app.printer)
        return lambda name, data: view.show(name, data) if self.stream in (None, name) else None


def _copied(app: App, copy: kept_output.Copy, wanted: Part) -> Answer:
    """What was copied of a job whose runtime is gone."""
    job = job_views.job(copy.plan)
    _, content, ends = wanted.show(app, copy, copy.plan.job)
    app.printer.notify(copy.said())
    if app.printer.mode != "json":
        return Answer(job, printed=True)
    document = _document(job, job_views.session(copy.plan, app.client.store), wanted, content, ends)
    document.copied, document.output_complete = True, copy.is_complete
    return Answer(document)


def _document(job: Job, session: SessionRef, wanted: Part, content: bytes, ends: tuple[int, int]) -> JobLogs:
    document = JobLogs(
        job=job,
        session=session,
        stream=wanted.stream or "stdout",
        offset=wanted.start,
        next_offset=ends[0],
        text=content.decode("utf-8", "replace"),
    )
    if document.text.encode("utf-8", "replace") != content:
        document.base64 = b64encode(content).decode()
    return document
