"""`notebook list|create|delete|pull|push|rename|open`: notebooks in Google Drive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

from ... import errors
from ...models.base import UNKNOWN_ACCOUNT
from ...models.notebooks import Notebook, NotebookDeleted, NotebookPulled, NotebookStored
from ...notebooks.document import chosen
from ...notebooks.drive import ORDERS, Drive, File, id_of, link
from ..app import App, Command
from ..looks import Table
from ..output import Answer

NAMED = 8 << 20  # bytes of a notebook that is read for its name; four at once are in memory


@click.command(cls=Command, name="list")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="NUMBER",
    help="The most that are shown.",
)
@click.option(
    "--order-by",
    type=click.Choice(list(ORDERS)),
    default="modifiedTime",
    show_default=True,
    help="What comes first: by name, or the newest.",
)
@click.option("--enrich", is_flag=True, help="Read each notebook for the name that Colab shows.")
@click.option("--all-notebooks", is_flag=True, help="Not only those that this tool made; needs a further permission.")
@click.pass_obj
def list_(app: App, limit: int, order_by: str, enrich: bool, all_notebooks: bool) -> Answer:
    """List the notebooks in Google Drive.

    \b
    lecoder-cgpu notebook list -n 10
    lecoder-cgpu notebook list --order-by name --json | jq -r '.[].id'
    """
    drive = Drive(app.client.login)
    files = drive.list(limit, order_by, everything=all_notebooks)
    documents = [_describe(app, file) for file in files]
    if enrich:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=4) as pool:
            for document, name in zip(documents, pool.map(lambda file: _colab_name(drive, file), files), strict=True):
                document.colab_name = name or UNSET
    rows = [(document.id, document.name, document.modified_time[:16].replace("T", " ")) for document in documents]
    empty = "There are no notebooks" + ("." if all_notebooks else " that this tool made.")
    return Answer(documents, lambda: Table(("ID", "NAME", "MODIFIED"), rows, empty=empty))


def _account(app: App) -> str:
    """Whose Drive it is."""
    account = app.client.login.account()
    return UNKNOWN_ACCOUNT if account is None else account.id


def _describe(app: App, file: File) -> Notebook:
    document = Notebook(id=file.id, name=file.name, created_time=file.created_time, modified_time=file.modified_time)
    document.account = _account(app)
    document.web_view_link = file.web_view_link or UNSET
    return document


def _colab_name(drive: Drive, file: File) -> str | None:
    """The name in the notebook's own metadata; None when it cannot be read."""
    try:
        name = json.loads(drive.download(file.id, most=NAMED))["metadata"]["colab"]["name"]
        if isinstance(name, str):
            name.encode()  # fails for half a character
    except (errors.NotFoundError, errors.ConnectionFailed, ValueError, KeyError, TypeError, RecursionError):
        return None
    return name if isinstance(name, str) else None


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "-t",
    "--template",
    default="default",
    show_default=True,
    metavar="default|gpu|tpu|FILE",
    help="What it begins with: one of these, or a notebook or script of yours.",
)
@click.pass_obj
def create(app: App, name: str, template: str) -> Answer:
    """Make a notebook in Google Drive.

    \b
    lecoder-cgpu notebook create training --template gpu
    """
    from ...notebooks import document as notebook
    from ...notebooks import templates
    from .. import notebooks

    if not name.strip():
        raise errors.UsageError("a notebook needs a name", hint="lecoder-cgpu notebook create NAME")
    title = name.removesuffix(".ipynb")
    if template in templates.NAMES:
        content = json.dumps(templates.notebook(template, title)).encode()
    elif Path(template).suffix.lower() in (".ipynb", ".py"):
        content = notebook.encode(notebooks.read(template).content)
    else:
        raise errors.UsageError(
            f"unknown template {template!r}", hint="--template default, gpu, tpu, or a file ending in .ipynb or .py"
        )
    document = _describe(app, Drive(app.client.login).create(f"{title}.ipynb", content))
    document.colab_name = title
    return _stored(document)


def _stored(document: Notebook) -> Answer:
    stored = NotebookStored(
        id=document.id,
        name=document.name,
        created_time=document.created_time,
        modified_time=document.modified_time,
        web_view_link=document.web_view_link,
        colab_name=document.colab_name,
        account=document.account,
        link=link(document.id),
    )
    return Answer(stored, lambda: f"{stored.id}\t{stored.name}")


@click.command(cls=Command)
@click.argument("notebook", metavar="ID")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--permanent", is_flag=True, help="For good, instead of into the bin.")
@click.pass_obj
def delete(app: App, notebook: str, force: bool, permanent: bool) -> Answer:
    """Move a notebook to Drive's bin, or delete it for good.

    \b
    lecoder-cgpu notebook delete 1AbCdEf --force
    """
    drive = Drive(app.client.login)
    file = drive.get(id_of(notebook))
    if not force:
        if not app.printer.may_ask:
            raise errors.UsageError(
                f"deleting {file.name!r} needs a confirmation, and this command cannot ask for one",
                name="NotConfirmed",
                hint=f"lecoder-cgpu notebook delete {file.id} --force" + (" --permanent" if permanent else ""),
            )
        if not app.printer.agrees(f"{'Delete for good' if permanent else 'Move to the bin'}: {file.name}? [y/N] "):
            raise errors.UsageError("nothing was deleted", name="NotConfirmed", hint="answer y, or add --force")
    if permanent:
        drive.delete(file.id)
    else:
        drive.trash(file.id)
    document = NotebookDeleted(id=file.id, name=file.name, permanent=permanent, account=_account(app))
    return Answer(document, lambda: f"{file.name}: " + ("deleted for good" if permanent else "moved to the bin"))


@click.command(cls=Command)
@click.argument("notebook", metavar="ID")
@click.option("-o", "--output", metavar="FILE", help="Where to put it. Default: its name, here.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_obj
def pull(app: App, notebook: str, output: str | None, force: bool) -> Answer:
    """Download a notebook from Drive.

    \b
    lecoder-cgpu notebook pull 1AbCdEf -o train.ipynb
    lecoder-cgpu notebook pull https://colab.research.google.com/drive/1AbCdEf
    """
    from ...notebooks import document as notebook_module
    from .. import notebooks

    drive = Drive(app.client.login)
    file = drive.get(id_of(notebook))
    path = notebooks.writable(Path(output).expanduser() if output else chosen(Path(notebooks.file_name(file.name))))
    if path.exists() and not force:
        raise errors.UsageError(
            f"{path} exists", name="FileExists", hint="--force replaces it, -o FILE gives another name"
        )
    content = drive.download(file.id)
    notebook_module.write([content], path)
    document = NotebookPulled(id=file.id, name=file.name, output=str(path), bytes=len(content), account=_account(app))
    return Answer(document, lambda: document.output)


@click.command(cls=Command)
@click.argument("source", metavar="FILE")
@click.option("--to", "target", metavar="ID", help="Into this notebook, instead of a new one.")
@click.option("--name", metavar="NAME", help="What the new one is called. Default: as the file.")
@click.pass_obj
def push(app: App, source: str, target: str | None, name: str | None) -> Answer:
    """Upload a notebook to Drive: as a new one, or with --to in place of one that is there.

    \b
    lecoder-cgpu notebook push train.ipynb --name training
    lecoder-cgpu notebook push train.ipynb --to 1AbCdEf
    """
    from ...notebooks import document as notebook
    from .. import notebooks

    if target is not None and name is not None:
        raise errors.UsageError("--name is for new notebooks", hint=f"lecoder-cgpu notebook rename {target} {name!r}")
    content = notebook.encode(notebooks.read(source).content)
    drive = Drive(app.client.login)
    if target is not None:
        file = drive.replace(id_of(target), content)
    else:
        file = drive.create(_named(name or Path(source).stem), content)
    return _stored(_describe(app, file))


def _named(name: str) -> str:
    return name if name.endswith(".ipynb") else f"{name}.ipynb"


@click.command(cls=Command)
@click.argument("notebook", metavar="ID")
@click.argument("name")
@click.pass_obj
def rename(app: App, notebook: str, name: str) -> Answer:
    """Give a notebook in Drive another name.

    \b
    lecoder-cgpu notebook rename 1AbCdEf "second try"
    """
    if not name.strip():
        raise errors.UsageError("a notebook needs a name", hint=f"lecoder-cgpu notebook rename {notebook} NAME")
    return _stored(_describe(app, Drive(app.client.login).rename(id_of(notebook), _named(name))))


@click.command(cls=Command, name="open")
@click.argument("notebook", metavar="ID")
@click.option("--print", "only_print", is_flag=True, help="Print the address, and open nothing.")
@click.pass_obj
def open_(app: App, notebook: str, only_print: bool) -> Answer:
    """Open a notebook of Drive in Colab: in the browser at a terminal, else its address is printed.

    \b
    lecoder-cgpu notebook open 1AbCdEf --print
    """
    file = Drive(app.client.login).get(id_of(notebook))
    stored = _stored(_describe(app, file)).document
    if app.printer.mode == "human" and app.printer.out_is_terminal and not only_print:
        import webbrowser

        webbrowser.open(stored.link)
    return Answer(stored, lambda: stored.link)


COMMANDS: tuple[Any, ...] = (list_, create, delete, pull, push, rename, open_)
