"""What the notebook commands share: where notebooks come from and go to, and how their progress is shown."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..guest.trees import possible_on_windows
from ..jupyter import messages
from ..models.base import ErrorInfo
from ..models.notebooks import CellEvent, CellStartEvent
from ..models.runs import Truncated
from ..notebooks import document as notebook
from ..notebooks import remote, scripts
from ..system import atomic_files
from .app import App
from .display_options import INCOMPLETE
from .inputs import file_content
from .live import KernelView, Offsets, failure_text
from .output import Printer, counted
from .parse import IN_DRIVE
from .plain_text import in_a_line, printable

if TYPE_CHECKING:
    from ..models.notebooks import CellResult, NotebookRun


STANDARD = "-"  # stdin, or stdout
LONGEST_NAME = 200  # bytes; systems allow 255, and what is written lies beside it for a while, under a longer name
SHOWN = 50  # characters of a cell's first line that tell people which one runs


@dataclass
class Source:
    """A notebook that was read: its content, how to call it, and the file it came from, or would have come from if it
    were not in Drive (`drive_id`) or at another address (`is_remote`)."""

    content: Any
    name: str
    path: Path
    drive_id: str | None = None
    is_remote: bool = False


def read(name: str, app: App | None = None) -> Source:
    """The notebook, or text of cells, of that name or address; `-` is stdin. With `app`, also a notebook in Drive by
    its link or id.

    Raises:
        errors.NotFoundError: there is no such file. errors.UsageError: it is no notebook.
        errors.Error: see `drive` and `remote`.
    """
    if app is not None and _is_in_drive(name):
        return _from_drive(name, app)
    tell = _teller(app)
    if remote.is_address(name):
        return _from_address(name, tell)
    if name == STANDARD:
        content = notebook.parse(sys.stdin.buffer.read(), "stdin", tell)
        return Source(content, "stdin", Path("stdin.ipynb"))
    content = _parsed(file_content(name), name, tell)
    return Source(content, name, Path(name).expanduser())


def _parsed(content: bytes, name: str, tell: Callable[[str], None]) -> Any:
    return scripts.parse(_text(content, name), name) if scripts.is_text(name) else notebook.parse(content, name, tell)


def _from_address(address: str, tell: Callable[[str], None]) -> Source:
    name = remote.shown(address)
    content = _parsed(remote.read(address), name, tell)
    return Source(content, name, Path(file_name(Path(remote.file_name(address)).stem)), is_remote=True)


def _teller(app: App | None) -> Callable[[str], None]:
    return app.printer.notify if app is not None else lambda text: None


def _is_in_drive(name: str) -> bool:
    """A link and `drive:ID` are; a bare id is, if nothing here has that name."""
    if name.startswith((*IN_DRIVE, "https://docs.google.com/")):
        return True
    return re.fullmatch(r"[\w-]{20,}", name) is not None and not Path(name).exists()


def _from_drive(name: str, app: App) -> Source:
    from ..notebooks.drive import Drive, id_of

    drive = Drive(app.client.login)
    file = drive.get(id_of(name))
    content = notebook.parse(drive.download(file.id), file.name, _teller(app))
    return Source(content, file.name, Path(file_name(file.name)), file.id)


def file_name(name: str) -> str:
    """A name from Drive, or from a runtime, as one that a file here may have."""
    cleaned = "".join("_" if character in '/\\:*?"<>|' else character for character in in_a_line(printable(name)))
    stem = cleaned.removesuffix(".ipynb").strip(" .")
    while len(stem.encode()) > LONGEST_NAME:
        stem = stem[:-1]
    found = f"{stem or 'notebook'}.ipynb"
    return found if possible_on_windows(found) else f"_{found}"


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise errors.UsageError(f"{name} is not text in UTF-8", name="NotText", hint="save it as UTF-8") from None


def target(source: Source, output: str | None, *, in_place: bool) -> Path:
    """The file for the executed notebook: never the source, unless that was asked for.

    Raises:
        errors.UsageError: the options contradict each other, or there is no such folder.
    """
    if in_place and output is not None:
        raise errors.UsageError(
            "-o and --in-place contradict each other", name="ConflictingOptions", hint="leave out -o or --in-place"
        )
    if in_place and source.is_remote:
        raise errors.UsageError(
            f"{source.name} cannot be changed in place", name="NotWritable", hint="leave out --in-place, or add -o FILE"
        )
    if in_place and source.drive_id is None:
        path = source.path
    elif output is None:
        path = notebook.chosen(source.path.with_name(f"{source.path.stem}.executed.ipynb"))
    else:
        path = Path(output).expanduser()
    if output is not None and source.drive_id is None and not source.is_remote:
        with contextlib.suppress(OSError):
            if path.samefile(source.path):
                raise errors.UsageError(
                    f"{output} is the source itself",
                    name="SourceIsOutput",
                    hint="give another file to -o, or use --in-place instead if that is intended",
                )
    return writable(path)


def writable(path: Path) -> Path:
    """The path, if a file can be written there.

    Raises:
        errors.UsageError: it is a folder, or in none, or one that cannot be written.
    """
    if path.is_dir():
        raise errors.UsageError(
            f"{path} is a folder", name="IsADirectory", hint=f"give a file to -o: -o {path / 'out.ipynb'}"
        )
    if not path.parent.is_dir():
        raise errors.UsageError(
            f"there is no folder {path.parent}",
            name="NoSuchFolder",
            hint=f"mkdir -p {path.parent}, or give another file to -o",
        )
    if not atomic_files.is_replaceable(path):
        raise errors.UsageError(
            f"{path} is a device or a pipe", name="NotAFile", hint="give a file to -o; to stdout: -o -"
        )
    if not os.access(path.parent, os.W_OK):
        raise errors.UsageError(f"{path.parent} cannot be written", name="NotWritable", hint="give another file to -o")
    return path


def shown(target: Path | str | None) -> str | None:
    """Where an executed notebook goes, as it may be printed; None for stdout."""
    return remote.shown(target) if isinstance(target, str) else str(target) if target is not None else None


class NotebookView:
    """Shows a notebook while it runs: its cells' output as `run` shows it, or as events. `offsets` are those of the
    present cell."""

    def __init__(self, printer: Printer) -> None:
        self.offsets = Offsets()
        self._printer = printer
        self._pictures = None
        if printer.mode == "human" and printer.out_is_terminal:
            from .pictures import at_terminal

            self._pictures = at_terminal(printer, saves=False)  # the executed notebook has them
        self._view = KernelView(printer, pictures=self._pictures)

    def started(self, step: notebook.Step, position: int, total: int) -> None:
        self._view = KernelView(self._printer, pictures=self._pictures)
        self.offsets.begin()
        self._view.offsets = self.offsets  # a heartbeat looks at these from its own thread
        if self._printer.mode == "events":
            event = CellStartEvent(position=position, total=total)
            if step.index is not None:
                event.index = step.index
            if name := step.cell.get("id"):
                event.id = name
            self._printer.event(event)
        elif self._printer.mode == "human":
            label = "parameters" if step.index is None else f"cell {step.index}"
            begins = next((line.strip() for line in str(step.cell.get("source", "")).splitlines() if line.strip()), "")
            shown = (
                f": {begins[:SHOWN]}{'…' if len(begins) > SHOWN else ''}" if begins and step.index is not None else ""
            )
            self._printer.note(f"[{position}/{total}] {label}{shown}")

    def event(self, event: messages.Event) -> None:
        self._view.show(event)

    def ended(self, result: CellResult) -> None:
        self._view.finish(result.error)
        if self._printer.mode == "events":
            self._printer.event(CellEvent(cell=result))
        elif self._printer.mode == "human" and isinstance(result.error, ErrorInfo):
            text = failure_text(result.error) or f"error: {result.error.message}"
            self._printer.note(
                text + ("\n(allowed by the cell's tag or --allow-error)" if result.allowed is True else "")
            )


def cell_budget(chosen: int | None) -> int | None:
    """How many bytes of each stream of a cell the document may hold; None is all."""
    from ..notebooks.runs import CELL_OUTPUT

    return CELL_OUTPUT if chosen is None else chosen or None


def summary(document: NotebookRun) -> str:
    """How a notebook ended, and where it is, in a line for people."""
    counts = {status: sum(cell.status == status for cell in document.cells) for status in ("ok", "error", "not_run")}
    parts = [f"{counts['ok']} ok"]
    parts += [f"{counts['error']} failed"] if counts["error"] else []
    parts += [f"{counts['not_run']} not run"] if counts["not_run"] else []
    where = f"; {document.output}" if isinstance(document.output, str) else ""
    images = sum(
        any(mime.startswith("image/") for mime in display)
        for cell in document.cells
        for display in (cell.displays if isinstance(cell.displays, list) else ())
    )
    where += f", with {counted(images, 'image')}" if where and images else ""
    return f"{document.notebook}: {document.status} ({', '.join(parts)} of {len(document.cells)} code cells){where}"


def tell(printer: Printer, document: NotebookRun) -> None:
    """What a person should know at the end beyond the cells' own output, on stderr."""
    if not document.output_complete:
        printer.note(INCOMPLETE)
    for number, cell in enumerate(document.cells):
        if isinstance(cell.left_out, int) and isinstance(cell.truncated, Truncated):
            place = cell.index if isinstance(cell.index, int) else number
            left_out = f"cell {place} (counted from 0): the notebook lacks {cell.left_out:,} characters of its output"
            printer.note(f"{left_out}; all of it: {cell.truncated.get}")
    if isinstance(document.error, ErrorInfo):
        where = f"cell {document.failed_cell} (counted from 0): " if isinstance(document.failed_cell, int) else ""
        printer.note(f"error: {where}{document.error.name}: {document.error.message}")
        if isinstance(document.error.suggestion, str):
            printer.note(f"hint: {document.error.suggestion}")
    printer.note(summary(document))
