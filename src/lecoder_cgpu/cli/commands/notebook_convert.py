"""`notebook convert`: notebooks as scripts in the percent format, and back."""

from __future__ import annotations

from pathlib import Path

import click

from ... import errors
from ...models.notebooks import NotebookConverted
from ..app import App, Command
from ..output import Answer


@click.command(cls=Command, name="convert")
@click.argument("source")
@click.option(
    "-o", "--output", metavar="FILE", help="Where to put it. Default: the same name, ending in .py or .ipynb."
)
@click.option("--update", is_flag=True, help="To a notebook that is there: keep ids and outputs of unchanged cells.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_obj
def convert(app: App, source: str, output: str | None, update: bool, force: bool) -> Answer:
    """Turn a notebook into a script whose cells begin with `# %%`, or such a script into a notebook.

    \b
    lecoder-cgpu notebook convert train.ipynb         train.py, to edit and to compare
    lecoder-cgpu notebook convert train.py --update   the changes back; other cells keep outputs
    """
    from ...notebooks import document as notebook
    from ...notebooks import scripts
    from .. import notebooks

    suffix = Path(source).suffix.lower()
    if suffix not in (".py", ".ipynb"):
        raise errors.UsageError(
            f"{source} is neither a notebook nor a Python script",
            hint="give a file that ends in .ipynb or .py: lecoder-cgpu notebook convert train.ipynb",
        )
    to_script = suffix == ".ipynb"
    content = notebooks.read(source).content
    default = Path(source).expanduser().with_suffix(".py" if to_script else ".ipynb")
    path = notebooks.writable(Path(output).expanduser() if output else notebook.chosen(default))
    if update and (to_script or not path.exists()):
        raise errors.UsageError(
            "--update needs a notebook that exists",
            name="NothingToUpdate",
            hint=f"leave out --update, which writes {path}",
        )
    if path.exists() and not (update or force):
        raise errors.UsageError(
            f"{path} exists",
            name="FileExists",
            hint="--force replaces it, -o FILE gives another name"
            + ("" if to_script else ", --update keeps the outputs of unchanged cells"),
        )
    if to_script:
        notebook.write([scripts.write(content).encode()], path)
    else:
        if update:
            content = scripts.with_outputs(content, notebooks.read(str(path)).content)
        notebook.save(content, path)
    document = NotebookConverted(notebook=source, output=str(path), cells=len(content.cells))
    return Answer(document, lambda: document.output)
