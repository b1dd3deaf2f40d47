"""`example`: a small project to try everything with."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path

import click

from ... import errors
from ...models.reference import ExampleWritten
from ..app import App, Command
from ..looks import Cell, Text, good
from ..output import Answer

# The examples: where each file of one goes -> its name in our folder `example`. A script there is no module of ours.
EXAMPLES = {
    "train": {
        "train.py": "train.py.txt",
        "requirements.txt": "requirements.txt",
        "data/flowers.csv": "flowers.csv",
        "analysis.ipynb": "analysis.ipynb",
    },
}


@click.command(cls=Command)
@click.argument("name", type=click.Choice(list(EXAMPLES)))
@click.argument("folder", required=False, metavar="[FOLDER]")
@click.pass_obj
def command(app: App, name: str, folder: str | None) -> Answer:
    """Write a small project into a folder: a script that trains, its data and requirements, and a notebook.

    The folder is called as the example unless another one is given. Files that are there are left alone.

    \b
    lecoder-cgpu example train
    lecoder-cgpu example train ~/first-steps
    """
    place = Path(folder or name).expanduser()
    ours = {place / target: _content(source) for target, source in EXAMPLES[name].items()}
    try:
        for path, content in ours.items():
            if path.exists() and path.read_bytes() != content:
                raise errors.UsageError(
                    f"{path} is there already; nothing was written",
                    name="TargetExists",
                    hint=f"give another folder: lecoder-cgpu example {name} FOLDER",
                )
        for path, content in ours.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise errors.UsageError(
            f"{error.filename} cannot be written: {error.strerror}",
            name="FileNotWritable",
            hint=f"give another folder: lecoder-cgpu example {name} FOLDER",
        ) from error
    step = f"cd {shlex.quote(str(place))} && lecoder-cgpu run --sync . python train.py"
    document = ExampleWritten(folder=str(place), files=list(EXAMPLES[name]), next=step)

    def told() -> Text:
        written = good("\n".join(map(str, ours)))
        return Text([*written.lines, (Cell(f"next: {step}", "dim"),)] if app.printer.out_is_terminal else written.lines)

    return Answer(document, told)


def _content(source: str) -> bytes:
    return resources.files("lecoder_cgpu").joinpath("example", source).read_bytes()
