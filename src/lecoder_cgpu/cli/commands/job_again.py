"""`job rm`, `job retry` and `job rehearse`: jobs deleted, run again, or deprived of their runtime."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ... import errors
from ...models.base import Done
from ...runs import job_views, planned_jobs
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


@click.command(cls=Command)
@click.argument("job")
@click.option("--yes", is_flag=True, help="Take its runtime away without asking.")
@click.pass_obj
def rehearse(app: App, job: str, yes: bool) -> Answer:
    """Take a job's runtime away, to see it go on elsewhere with the results that were fetched last.

    A runtime of Colab is really given back, and the job asks for another one: rehearse on the fake Colab first
    (docs/fake-colab.md). On this machine (--backend local), its processes are killed, and its results are moved aside.

    \b
    lecoder-cgpu run --backend local --detach --restarts 1 --pull out:results --every 2s python train.py
    lecoder-cgpu job rehearse run-0123456789abcdef --yes
    lecoder-cgpu job wait run-0123456789abcdef
    """
    from ...runs import rehearsal

    plan = rehearsal.check(app.client, planned_jobs.find(app.client, job, app.session), job)
    asked = rehearsal.question(app.client, plan)
    if not yes and not app.printer.agrees(f"{asked}. Go on? [y/N] "):
        raise errors.UsageError(f"{asked}; nothing was done", name="NotAgreed", hint=f"job rehearse {plan.job} --yes")
    if plan.pulling is None:
        app.printer.notify("nothing of it is fetched (--pull, --every), so it begins again from its start")
    with app.printer.waiting("taking its runtime away …"):
        done = rehearsal.take_away(app.client, plan)
    app.printer.notify(done)
    if app.config.get("keeper").value != "off":
        app.client.keep()
    document = job_views.document(planned_jobs.find(app.client, plan.job) or plan, app.client.store)
    document.exit_code, document.next = 0, f"lecoder-cgpu job wait {plan.job}"
    if app.printer.mode == "human":
        app.printer.note(f"see it go on: {document.next}")
    return Answer(document, lambda: plan.job)
