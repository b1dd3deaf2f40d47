"""Options that say how a run is shown. They are apart from `run_display`, so that `--help` imports nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

HEARTBEAT = 20.0  # seconds
INCOMPLETE = (
    "warning: some output may be missing: the server left it out, the connection was lost, or the kernel ended before "
    "it had sent everything"
)

max_output_option = click.option(
    "--max-output",
    type=click.IntRange(min=0),
    metavar="BYTES",
    help="Bytes of each stream in the document, head and tail; 0 is all. Default: 1 MiB.",
)


def options(function: Any) -> Any:
    """Add the options that say how a run is shown: the fields of `run_display.RenderOptions`, without the heartbeat."""
    for option in (
        click.option(
            "--outputs",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False),
            help="Write images and other rich outputs into this folder (kernel mode).",
        ),
        click.option("--inline", is_flag=True, help="Keep images and other binary outputs in the answer, as base64."),
        max_output_option,
        click.option("--order", is_flag=True, help="In the document, tell in which order everything was shown."),
        click.option("--raw", is_flag=True, help="Keep carriage returns and escape sequences in text."),
    ):
        function = option(function)
    return function
