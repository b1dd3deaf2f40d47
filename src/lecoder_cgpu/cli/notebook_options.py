"""The options of `notebook run`, apart from what they mean, so that `--help` imports nothing else."""

from __future__ import annotations

from typing import Any

import click

from . import display_options, durations, own_runtime, runtime_options, work_files

SAVE_EVERY = 30.0  # seconds
_SECONDS = durations.POSITIVE_SECONDS

max_output_option = click.option(
    "--max-output",
    type=click.IntRange(min=0),
    metavar="BYTES",
    help="Bytes of each stream of a cell in the document; 0 is all. Default: 4 KiB. The notebook has "
    "16 MiB of each, or as much.",
)

_OPTIONS = (
    click.option(
        "-o", "--output", metavar="FILE",
        help="The executed notebook: a file, s3://… or gs://…; `-` is stdout, {NAME} a parameter. Default: "
        "NAME.executed.ipynb beside it.",
    ),
    click.option("--in-place", is_flag=True, help="Write the outputs into the source itself, in Drive, too."),
    click.option(
        "-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="Set a parameter (number, text, JSON)."
    ),
    click.option("-r", "--raw-parameter", multiple=True, metavar="NAME=TEXT", help="The same, always as text."),
    click.option("-P", "--parameters", multiple=True, metavar="FILE", help="Parameters from a YAML or JSON file."),
    click.option("-y", "--parameters-yaml", multiple=True, metavar="YAML", help="Parameters as YAML or JSON."),
    click.option("-b", "--parameters-base64", multiple=True, metavar="BASE64", help="The same, encoded in base64."),
    click.option(
        "--inject-paths", is_flag=True, help="Set PAPERMILL_INPUT_PATH and PAPERMILL_OUTPUT_PATH as parameters."
    ),
    click.option("--prepare-only", is_flag=True, help="Write the notebook with its parameters, and run nothing."),
    click.option("--report-mode", is_flag=True, help="Hide the source of all cells in the executed notebook."),
    click.option("--from-cell", metavar="CELL", help="Begin with this cell: its place (from 0) or its id."),
    click.option(
        "--only", multiple=True, metavar="CELLS", help="Run only these: a place, a range such as 3-5, or an id."
    ),
    click.option("--keep-going", is_flag=True, help="Run the remaining cells after one has failed."),
    click.option("--allow-error", multiple=True, metavar="NAME", help="An exception of this name is no failure."),
    click.option("--restart", is_flag=True, help="Begin with a fresh kernel: variables of earlier runs are gone."),
    click.option("--timeout", type=_SECONDS, metavar="TIME", help="End the work after that."),
    click.option("--cell-timeout", type=_SECONDS, metavar="TIME", help="End the work when a cell takes that long."),
    click.option(
        "--idle-timeout", type=_SECONDS, metavar="TIME", help="End work that has printed nothing for that long."
    ),
    click.option(
        "--wait", type=durations.SECONDS, metavar="TIME", help="Stop watching after that; exit 124, the work goes on."
    ),
    click.option(
        "--save-every", type=durations.TIME, default=SAVE_EVERY, show_default=True, metavar="TIME",
        help="Save what a running cell has shown at this interval; 0 is only at its end.",
    ),
    click.option("--stdin", "forward_stdin", is_flag=True, help="Forward our stdin to input()."),
    click.option("--cwd", metavar="DIR", help="The folder in which the cells run."),
    click.option("--sync", metavar="DIR", help="First send what is new in this local folder, and run in it there."),
    click.option(
        "--pull", multiple=True, metavar="PATH[:LOCAL]", help="Fetch this at the end (a job: at `job wait`)."
    ),
    work_files.every_option,
    click.option(
        "-e", "--env", multiple=True, metavar="NAME[=VALUE]",
        help="Set a variable while the notebook runs; NAME alone takes its value from here.",
    ),
    click.option(
        "--secret", multiple=True, metavar="NAME",
        help="The same, and the value appears nowhere. NAME: its value here; NAME=-: from stdin.",
    ),
    click.option("--env-file", multiple=True, metavar="FILE", help="Variables from a file of this machine (dotenv)."),
    click.option(
        "--secrets-file", multiple=True, metavar="FILE", help="The same for --secret: values that appear nowhere."
    ),
    click.option("--auto-install", is_flag=True, help="Install a package that is missing, and run the cell again."),
    click.option(
        "--detach", "--background", is_flag=True, help="Start the work and leave it running; prints its job id."
    ),
    click.option(
        "--key", metavar="KEY", help="With --detach: the same key and notebook are one job, also when repeated."
    ),
    click.option(
        "--name", metavar="NAME", help="What `job …` may call it: names need not be unique, the newest is meant."
    ),
    click.option(
        "--on-finish", metavar="COMMAND", help="Execute this here when the run has ended (see `job wait --help`)."
    ),
    click.option(
        "--events", "events_mode", is_flag=True, expose_value=False, help="Print NDJSON events as they happen."
    ),
    click.option(
        "--heartbeat", type=durations.TIME, default=display_options.HEARTBEAT, show_default=True,
        metavar="TIME", help="With --events: an event at this interval while the run goes on; 0 for none.",
    ),
    max_output_option,
    own_runtime.option,
    click.option(
        "--release", is_flag=True, help="With --pull: release the runtime once all results were fetched."
    ),
    runtime_options.runtime_options(new=True),
    click.option("--kernel-name", metavar="NAME", help="The kernel to run it in, whatever the notebook says itself."),
    click.option("-v", "--verbose", is_flag=True, help="Tell on stderr which session is used."),
)  # fmt: skip


def options(function: Any) -> Any:
    """Add the options of `notebook run`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
