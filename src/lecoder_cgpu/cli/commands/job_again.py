"""`job rm` and `job retry`: jobs that have ended, deleted or run again."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ...models.base import Done
from ...runs import planned_jobs
from ...runs.jobs import Jobs
from .. import inputs, several_jobs
from ..app import App, Command
from ..output import Answer


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="JOB...")
@click.option("--all", "everything", is_flag=True, help="Every job on the session's runtime that has ended.")
@click.pass_obj
def rm(app: App, names: tuple[str, ...], everything: bool) -> Answer:
    """Delete finished jobs with their output.

    \b
    lecoder-cgpu job rm run-0123456789abcdef
    lecoder-cgpu job rm --all
    """
    several_jobs.check(names, everything=everything)
    chosen: Sequence[str] = names
    if everything:
        with Jobs(app.client.existing(app.session)) as jobs:
            chosen = jobs.ids(ended=True)
    removed = []
    for name in chosen:
        plan = planned_jobs.find(app.client, name, app.session)
        if plan is not None:
            removed.append(planned_jobs.remove(app.client, plan))
            continue
        with Jobs(app.client.existing(app.session)) as jobs:
            removed.append(jobs.remove(name))
    told = "removed " + ", ".join(removed) if removed else "There are no jobs that have ended."
    return Answer(Done(message=told), lambda: "\n".join(removed) or told)


@click.command(cls=Command)
@click.argument("job")
@click.option(
    "--sync", is_flag=True, help="Send the folder of --sync as it is now, not as it was for the first attempt."
)
@click.option("--secret", multiple=True, metavar="NAME", help="A variable that is stored nowhere: see `run --secret`.")
@click.pass_obj
def retry(app: App, job: str, sync: bool, secret: tuple[str, ...]) -> Answer:
    """Run a job again that has failed, was lost or ended, or of which nobody knows how it ended.

    It keeps its id; this is its next attempt, with the files of the first one and the results that were fetched last.
    It runs on its session, which gets another runtime if its own is gone. Only the machine that started it can do this.

    \b
    lecoder-cgpu job retry run-0123456789abcdef
    lecoder-cgpu job retry run-0123456789abcdef --sync --secret HF_TOKEN
    """
    with app.printer.waiting("starting it again …"):
        document = planned_jobs.retried(app.client, job, app.session, sync=sync, secrets=inputs.secrets((), secret))
    if app.printer.mode == "human":
        app.printer.note(f"attempt {document.job.attempt} of {document.job.id}; to wait for it: {document.next}")
    return Answer(document, lambda: document.job.id)
