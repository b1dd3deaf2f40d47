"""`upload`, `download`, `copy`, `sync`, `ls`, `cat`, `edit`, `rm`: the runtime's files."""

from __future__ import annotations

import contextlib
import os
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET

from ... import errors
from ...backends.protocol import RuntimeRequest
from ...files import commands
from ...files.plan import check_folder, check_no_address, expand, source_name
from ...models.files import FileContent
from ...sessions.activity import in_use
from .. import progress, times
from ..app import App, Command
from ..looks import Cell, Table
from ..output import Answer, counted
from ..plain_text import in_a_line
from ..sizes import size

if TYPE_CHECKING:
    from ...files.watch import Watcher
    from ...models.files import FileEntry, Synced, Transfer

RETRY_PAUSE = 1.0  # seconds until what failed in a watched folder is tried again
TEXT_LIMIT = 1 << 20  # bytes of `cat --json`, unless said


@contextlib.contextmanager
def _storage(app: App, *, create: bool = False, title: str = "") -> Iterator[commands.Storage]:
    """The files of the session's runtime; with `create`, of a new one if no session is active."""
    session = app.client.session(app.session, RuntimeRequest()) if create else app.client.existing(app.session)
    told = progress.telling(app.printer, title) if title else contextlib.nullcontext(progress.Told())
    with session, told as hears:
        with commands.Storage(session, hears.advance, expect=hears.expect) as opened:
            yield opened
        session.used()


def _finish(app: App, document: Any) -> None:
    document.notice = app.printer.notice or UNSET


# --- up and down ---


@click.command(cls=Command, name="upload")
@click.argument("paths", nargs=-1, required=True, metavar="LOCAL... [REMOTE]")
@click.option("--to", "target", metavar="REMOTE", help="Where to; then every argument is a source.")
@click.pass_obj
def upload(app: App, paths: Sequence[str], target: str | None) -> Answer:
    """Copy files and folders to the runtime.

    With several arguments, the last one is the target. A target that ends with a slash is a folder to copy into.
    Relative targets start in the runtime's working folder. `-` is stdin.

    \b
    lecoder-cgpu upload train.py
    lecoder-cgpu upload data/ models/base.pt inputs/
    tar c src | lecoder-cgpu upload - src.tar
    """
    sources, target = _sources(paths, target)
    stdin = "-" in sources
    if stdin and (len(sources) > 1 or target is None):
        raise errors.UsageError("stdin goes alone, to a file with a name", hint="lecoder-cgpu upload - NAME")
    check_no_address([*sources, target])
    expand(sources)  # what is not here must not start a runtime
    with _storage(app, create=True, title="uploading") as files:
        if stdin:
            assert target is not None
            document = files.upload_stream(sys.stdin.buffer, target)
        else:
            document = files.upload(sources, target)
    _finish(app, document)
    return Answer(document, lambda: _summary(app, document))


@click.command(cls=Command, name="download")
@click.argument("paths", nargs=-1, required=True, metavar="REMOTE... [LOCAL]")
@click.option("--to", "target", metavar="LOCAL", help="Where to; then every argument is a source.")
@click.pass_obj
def download(app: App, paths: Sequence[str], target: str | None) -> Answer:
    """Copy files and folders from the runtime.

    With several arguments, the last one is the target. A target that ends with a slash is a folder to copy into; `-` is
    stdout. Quote patterns, so that the runtime expands them.

    \b
    lecoder-cgpu download model.pt
    lecoder-cgpu download 'out/*.png' plots/
    lecoder-cgpu download metrics.json - | jq .loss
    """
    sources, target = _sources(paths, target)
    check_no_address([*sources, target])
    if target == "-":
        if len(sources) != 1 or app.printer.mode != "human":
            raise errors.UsageError(
                "only one file can go to stdout, and not with --json", hint=f"lecoder-cgpu cat {sources[0]} --json"
            )
        with _storage(app) as files:
            files.read(sources[0], app.printer.write)
        return Answer(None, printed=True)
    with _storage(app, title="downloading") as files:
        document = files.download(sources, target)
    _finish(app, document)
    return Answer(document, lambda: _summary(app, document))


copy = upload


def _sources(paths: Sequence[str], target: str | None) -> tuple[list[str], str | None]:
    """Sources and target among the arguments."""
    if target is not None or len(paths) == 1:
        return list(paths), target
    return list(paths[:-1]), paths[-1]


def _summary(app: App, document: Transfer) -> str:
    for item in document.skipped:
        app.printer.note(f"skipped: {in_a_line(item.path)}: {item.reason}")
    lines = [f"{in_a_line(item.source)} -> {in_a_line(item.target)}" for item in document.items]
    return "\n".join([*lines, f"{counted(document.files, 'file')}, {size(document.bytes)}, {document.seconds:.1f} s"])


# --- sync ---


@click.command(cls=Command, name="sync")
@click.argument("local", metavar="LOCAL")
@click.argument("remote", required=False, metavar="[REMOTE]")
@click.option("--checksum", is_flag=True, help="Compare hashes where sizes agree, instead of times.")
@click.option("--delete", is_flag=True, help="Delete on the runtime what is not here (and not ignored).")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--watch", is_flag=True, help="Go on whenever something changes here, until interrupted.")
@click.pass_obj
def sync(app: App, /, local: str, remote: str | None, watch: bool, **options: bool) -> Answer:
    """Make a folder on the runtime hold what a local one does.

    Only files whose size or time differs are sent. What .gitignore and .lecoderignore name is left alone on both sides.

    \b
    lecoder-cgpu sync . project
    lecoder-cgpu sync src project/src --delete --dry-run
    """
    if watch and options["dry_run"]:
        raise errors.UsageError(
            "--watch does things, --dry-run does not", name="ConflictingOptions", hint="leave out --watch or --dry-run"
        )
    check_no_address([local, remote])
    local = os.path.expanduser(local)
    check_folder(local)
    with _storage(app, create=True, title="" if watch else "syncing") as files, contextlib.ExitStack() as stack:
        watcher = stack.enter_context(_watcher(app, local)) if watch else None  # what changes meanwhile counts, too
        document = files.sync(local, remote or source_name(local), **options)
        if watcher is not None:
            with in_use(files.session):
                _watch(app, files, watcher, local, document, options)
    _finish(app, document)
    return Answer(document, lambda: _sync_summary(app, document))


def _watcher(app: App, local: str) -> Watcher:
    from ...files.watch import Watcher

    return Watcher(local, app.printer.note)


def _watch(
    app: App, files: commands.Storage, watcher: Watcher, local: str, document: Synced, options: dict[str, bool]
) -> None:
    """Sync again whenever something has changed, adding up in `document`; an interrupt is the normal end."""
    app.printer.note(f"watching {local}; {counted(document.sent, 'file')} sent")
    from ...files.watch import LOOK_EVERY

    document.rounds = 1
    pause = LOOK_EVERY
    try:
        while True:
            watcher.wait(pause)
            pause = LOOK_EVERY
            try:
                again = files.sync(local, document.remote, **options)
            except errors.TransferError as error:  # a file that is being written; the next round will have it
                app.printer.note(f"not yet: {error.message}")
                pause = RETRY_PAUSE
                continue
            if again.changes:
                document.rounds += 1
                document.sent += again.sent
                document.bytes += again.bytes
                document.deleted += again.deleted
                document.unchanged, document.changes = again.unchanged, again.changes
                app.printer.note("; ".join(f"{item.action} {in_a_line(item.path)}" for item in again.changes[:5]))
    except KeyboardInterrupt:
        app.printer.note("stopped watching")


def _sync_summary(app: App, document: Synced) -> str:
    for item in document.skipped:
        app.printer.note(f"skipped: {in_a_line(item.path)}: {item.reason}")
    lines = [f"{change.action} {in_a_line(change.path)}" for change in document.changes] if document.dry_run else []
    told = "would be " if document.dry_run else ""
    return "\n".join(
        [
            *lines,
            f"{document.local} -> {document.remote}: {document.sent} {told}sent ({size(document.bytes)}), "
            f"{document.deleted} {told}deleted, {document.unchanged} unchanged, {document.seconds:.1f} s",
        ]
    )


# --- looking, reading, removing ---


@click.command(cls=Command, name="ls")
@click.argument("path", required=False, default=".", metavar="[PATH]")
@click.option("-l", "-a", "is_long", is_flag=True, expose_value=False, hidden=True, help="As it is listed anyway.")
@click.pass_obj
def ls(app: App, path: str) -> Answer:
    """List a folder on the runtime, or what a pattern stands for.

    Quote patterns, so that the runtime expands them.

    \b
    lecoder-cgpu ls
    lecoder-cgpu ls data
    lecoder-cgpu ls 'out/*.png' --json
    """
    check_no_address([path])
    with _storage(app) as files:
        document = files.list(path)
    _finish(app, document)
    rows = [
        (
            str(entry.mode or "-") if isinstance(entry.mode, str) else "-",
            Cell(str(entry.size), drawn="" if entry.kind == "folder" else size(entry.size)),
            Cell(times.utc(entry.modified), drawn=times.local(entry.modified))
            if isinstance(entry.modified, str)
            else "-",
            Cell(_shown_name(entry), "bold" if entry.kind == "folder" else ""),
        )
        for entry in document.entries
    ]
    return Answer(document, lambda: _listing(rows))


def _listing(rows: Sequence[tuple[str, ...]]) -> Table:
    headers = ("MODE", "SIZE", "MODIFIED", "NAME")
    return Table(headers, rows, empty="The folder is empty.", spare=("MODE",), right=("SIZE",))


def _shown_name(entry: FileEntry) -> str:
    if isinstance(entry.target, str):
        return f"{entry.name} -> {entry.target}"
    return entry.name + ("/" if entry.kind == "folder" else "")


@click.command(cls=Command, name="cat")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--max-output",
    type=click.IntRange(min=0),
    metavar="BYTES",
    help="Refuse a larger file with --json; 0 is any size. Default: 1 MiB.",
)
@click.pass_obj
def cat(app: App, paths: Sequence[str], max_output: int | None) -> Answer:
    """Print files of the runtime; with --json, one file as a document.

    \b
    lecoder-cgpu cat train.log
    lecoder-cgpu cat metrics.json --json
    """
    check_no_address(paths)
    with _storage(app) as files:
        if app.printer.mode == "human":
            for path in paths:
                files.read(path, app.printer.write)
            return Answer(None, printed=True)
        if len(paths) != 1:
            raise errors.UsageError(
                "--json prints one file", hint=f"once for each file: lecoder-cgpu cat {paths[0]} --json"
            )
        content = bytearray()
        limit = TEXT_LIMIT if max_output is None else max_output

        def take(data: bytes) -> None:
            content.extend(data)
            if limit and len(content) > limit:
                raise errors.UsageError(
                    f"{paths[0]} has more than {limit} bytes",
                    name="TooLarge",
                    hint=f"lecoder-cgpu download {paths[0]}, or add --max-output 0",
                )

        files.read(paths[0], take)
        document = FileContent(
            path=paths[0],
            size=len(content),
            text=content.decode("utf-8", "replace"),
            session=files.session.record.ref,
        )
    if document.text.encode("utf-8", "replace") != content:
        document.base64 = b64encode(content).decode()
    _finish(app, document)
    return Answer(document)


@click.command(cls=Command, name="edit")
@click.argument("path", metavar="PATH")
@click.pass_obj
def edit(app: App, path: str) -> Answer:
    """Edit a file of the runtime with the editor that VISUAL or EDITOR names.

    It is saved only if it was read, was changed here, and was not changed there meanwhile.

    \b
    lecoder-cgpu edit train.py
    """
    check_no_address([path])
    with _storage(app) as files:
        document = files.edit(path, _run_editor)
    _finish(app, document)
    return Answer(document, lambda: f"{path} saved" if document.saved else f"{path} unchanged")


def _run_editor(local: str) -> None:
    import shlex
    import subprocess

    from ... import config

    chosen = config.environment("VISUAL") or config.environment("EDITOR")
    command = shlex.split(chosen, posix=os.name == "posix") if chosen else []
    if not command:
        command = ["notepad"] if os.name == "nt" else ["vi"]
    try:
        # stdout is for our answer: an editor that draws on a terminal finds it on stderr as well.
        done = subprocess.run([*command, local], check=False, stdout=sys.__stderr__)
    except OSError as error:
        raise errors.UsageError(
            f"the editor {command[0]!r} cannot be started: {error.strerror}",
            name="NoEditor",
            hint="export EDITOR=vi, or another one",
        ) from error
    if done.returncode:
        raise errors.UsageError(
            f"the editor ended with status {done.returncode}; nothing was saved", name="EditorFailed"
        )


@click.command(cls=Command, name="rm")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("-r", "--recursive", is_flag=True, help="Delete folders with everything in them.")
@click.option("-f", "--force", is_flag=True, help="A missing file is not an error.")
@click.pass_obj
def rm(app: App, paths: Sequence[str], recursive: bool, force: bool) -> Answer:
    """Delete files on the runtime.

    Quote patterns, so that the runtime expands them.

    \b
    lecoder-cgpu rm old.pt
    lecoder-cgpu rm -r out 'logs/*.txt'
    """
    check_no_address(paths)
    with _storage(app) as files:
        document = files.remove(paths, recursive=recursive, missing_ok=force)
    _finish(app, document)
    return Answer(document, lambda: "\n".join(f"removed {in_a_line(path)}" for path in document.removed))
