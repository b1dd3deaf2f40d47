"""`notebook run` (and `run NOTEBOOK.ipynb`) and `notebook fetch`: notebooks executed on a runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import durations, notebook_options, runtime_options
from ..app import App, Command
from ..output import Answer


@click.command(cls=runtime_options.RuntimeCommand, name="run")
@click.argument("notebook")
@notebook_options.options
@click.pass_obj
def run(app: App, /, notebook: str, **options: Any) -> Answer:
    """Run a notebook's cells in the session's kernel, one after the other, until one fails.

    Outputs are saved as cells end, and the exit status is that of the first failure. Parameters are set in a cell
    of their own behind the one tagged `parameters`. Cells tagged `skip-execution` are left out; those tagged
    `raises-exception` may fail; one tagged `stop-on-error` ends the run even with --keep-going. Variables stay in the
    kernel, so --from-cell goes on where an earlier run stopped. NOTEBOOK may be `-`, which is stdin, a script or
    Markdown (.py, .R, .jl, .sh, .ts, .md, .Rmd, .qmd; extra `notebooks`), or an address: https://…, a page of GitHub,
    or s3://… and gs://… (extra `remote-files`, with the credentials of your environment).

    \b
    lecoder-cgpu run train.ipynb -p lr=0.01 -p layers='[64, 32]' -o trained.ipynb
    lecoder-cgpu run train.ipynb --from-cell 4 --json
    lecoder-cgpu run train.ipynb --sync . --secret HF_TOKEN --pull model.bin
    lecoder-cgpu run https://colab.research.google.com/drive/1AbCdEf --in-place
    """
    from ..notebook_command import Invocation

    return Invocation(app, notebook, options).answer()


@click.command(cls=Command, name="fetch")
@click.argument("job")
@click.option("-o", "--output", metavar="FILE", help="Where to put it. Default: NAME.executed.ipynb here.")
@click.option("--wait", type=durations.SECONDS, metavar="TIME", help="First wait for its end, at most this long.")
@notebook_options.max_output_option
@click.pass_obj
def fetch(app: App, job: str, output: str | None, wait: float | None, max_output: int | None) -> Answer:
    """Write the notebook of a detached run, with the outputs that there are; exit 124 while it still runs.

    \b
    lecoder-cgpu notebook fetch run-0123456789abcdef -o trained.ipynb
    lecoder-cgpu notebook fetch run-0123456789abcdef --wait 100 --json
    """
    from ...notebooks import document as notebook
    from ...notebooks import jobs as notebook_jobs
    from ...notebooks import remembered
    from ...runs import jobs, records
    from .. import notebooks

    session = app.client.existing(app.session)
    with jobs.Jobs(session) as held:
        state = held.find(job)
        waited = held.wait(state.run, wait) if wait else None
        state = held.find(state.run) if wait else state
        document, content = notebook_jobs.collect(
            session, held.helper, state, max_output=notebooks.cell_budget(max_output)
        )
    name = notebooks.file_name(f"{Path(document.notebook).stem}.executed")
    target = notebooks.writable(Path(output).expanduser() if output else notebook.chosen(Path(name)))
    notebook.save(content, target)
    document.output = str(target)
    records.note_outputs(session, *remembered.run_of(document, content))
    if waited is not None and waited.interrupted is True:
        document.interrupted, document.exit_code = True, waited.exit_code
    return Answer(document, lambda: notebooks.summary(document), exit_status=document.exit_code)
