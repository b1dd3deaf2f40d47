"""`notebook`: notebooks that run, and notebooks in Google Drive."""

from __future__ import annotations

import click

from ..app import Group
from .notebook_convert import convert
from .notebook_drive import COMMANDS
from .notebook_parameters import parameters
from .notebook_run import fetch, run


@click.group(cls=Group, name="notebook")
def command() -> None:
    """Run notebooks on a runtime, and keep them in Google Drive.

    An ID may be a link to the notebook in Drive or Colab. `notebook run` and `run` take such a link, too.

    \b
    lecoder-cgpu notebook parameters train.ipynb
    lecoder-cgpu notebook run train.ipynb -p lr=0.01 -o trained.ipynb
    lecoder-cgpu notebook run train.ipynb --detach
    lecoder-cgpu notebook fetch run-0123456789abcdef -o trained.ipynb
    lecoder-cgpu notebook convert train.ipynb
    lecoder-cgpu notebook push trained.ipynb
    """


for _command in (run, fetch, parameters, convert, *COMMANDS):
    command.add_command(_command)
