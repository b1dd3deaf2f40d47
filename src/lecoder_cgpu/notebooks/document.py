"""Notebooks as data: reading them, choosing the cells that run, putting parameters in, writing them.

Pure but for `save`. A notebook is nbformat's own tree, imported late: that costs as much as a whole warm run.

Source: nbformat's schema 4.5; papermill's convention for parameters; nbclient's for the tags of cells.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from .. import errors
from ..jupyter import messages
from ..jupyter.kernelspecs import PYTHON
from ..system import atomic_files, quick_imports
from . import file_form, repair
from .syntax import source

PARAMETERS = "parameters"
INJECTED = "injected-parameters"
SKIP = "skip-execution"
RAISES = "raises-exception"
STOPS = "stop-on-error"


@cache
def library() -> Any:
    """nbformat, imported late and quickly."""
    with quick_imports.without_address_grammar():
        import nbformat.validator
    return nbformat


# --- reading --------------------------------------------------------------------------------------------------------


def parse(content: bytes, origin: str, tell: Callable[[str], None] = lambda text: None) -> Any:
    """The notebook in `content`, in version 4 of the format. What is invalid and clear is repaired (see `repair`).

    Args:
        tell: is told of repairs, in one sentence.

    Raises:
        errors.UsageError: (`NotANotebook`) it is not a notebook, or not a valid one.
    """
    nbformat = library()

    def refused(reason: object) -> errors.UsageError:
        return errors.UsageError(
            f"{origin} is no notebook that can be run: {reason}",
            name="NotANotebook",
            hint="give a notebook as Jupyter or Colab saves it",
        )

    try:
        raw = json.loads(content.decode("utf-8-sig"))
        if not isinstance(raw, dict):
            raise refused("it is not a JSON object")
        with warnings.catch_warnings():  # about ids, which are repaired below
            warnings.simplefilter("ignore")
            told = repair.version(raw)
            if raw.get("nbformat") == 4 and isinstance(raw.get("cells"), list):
                told += repair.cells(raw)  # before nbformat reads it, which stumbles over some of this
            notebook = nbformat.reads(json.dumps(raw), as_version=4, capture_validation_error={})
            if not isinstance(notebook.get("cells"), list):
                raise refused("it has no cells")
            if raw["nbformat"] != 4:  # it was converted
                told += repair.cells(notebook)
            if not nbformat.validator.isvalid(notebook):
                told += repair.invalid_parts(notebook, partial(_problems, notebook))
            nbformat.validate(notebook, relax_add_props=True)
    except errors.Error:
        raise
    except UnicodeDecodeError:
        raise refused("it is not text in UTF-8") from None
    except nbformat.ValidationError as error:
        raise refused(str(error).partition("\n")[0]) from error
    except RecursionError as error:
        raise refused("it is nested too deeply") from error
    except Exception as error:  # for a broken file, nbformat's converters raise all kinds of exceptions
        raise refused(str(error).partition("\n")[0] or type(error).__name__) from error
    if told:
        tell(f"{origin} is not as the format demands, and was repaired: " + "; ".join(told))
    return notebook


def _problems(notebook: Any, node: Any, definition: str) -> Any:
    """What the schema of the notebook's version says about a node; see `repair.invalid_parts`."""
    minor = notebook["nbformat_minor"]
    if definition:
        validate = library().validator.iter_validate
        return validate(node, ref=definition, version=4, version_minor=minor, relax_add_props=True)
    checker = library().validator.get_validator(4, minor, True, "jsonschema")
    return checker.iter_errors({**node, "cells": []})


# --- which cells run ------------------------------------------------------------------------------------------------


@dataclass
class Step:
    """One code cell: its node, its place in the source (None for what was injected), whether it is to run, and the
    names of exceptions that it may raise."""

    cell: Any
    index: int | None
    wanted: bool
    allowed_names: Sequence[str] = ()

    @property
    def allowed(self) -> bool:
        """Whether a tag of the cell allows it to raise any exception."""
        return RAISES in tags(self.cell) and not self.stops

    @property
    def stops(self) -> bool:
        """Whether a tag of the cell says that its failure ends the notebook, whatever else is allowed."""
        return STOPS in tags(self.cell)

    def allows(self, name: str) -> bool:
        """Whether the cell may raise the exception of that name."""
        return self.allowed or (name in self.allowed_names and not self.stops)


def tags(cell: Any) -> list[str]:
    found = cell.metadata.get("tags")
    return [str(tag) for tag in found] if isinstance(found, list) else []


def plan(
    notebook: Any,
    *,
    from_cell: str | None = None,
    only: Sequence[str] = (),
    parameters: dict[str, Any] | None = None,
    language: str = PYTHON,
) -> list[Step]:
    """The code cells in order, with the parameters put in where papermill puts them; a cell that will run loses its
    earlier output.

    Args:
        from_cell: the first cell that runs, by its place (from 0) or its id. only: the same for single cells and ranges
            such as `3-5`; what is not named does not run and keeps the output that it has.
        parameters: set in a cell of their own, behind the one tagged `parameters`; that cell runs in any case.
        language: of the parameters, see `kernelspecs.language_of`.

    Raises:
        errors.UsageError: there is no such cell, or the parameters cannot be written in that language.
    """
    cells = notebook.cells
    first = 0 if from_cell is None else _place(cells, from_cell)
    chosen = None if not only else {place for item in only for place in _places(cells, item)}
    steps = []
    for place, cell in enumerate(cells):
        if cell.cell_type == "code":
            wanted = place >= first and (chosen is None or place in chosen)
            wanted = wanted and bool(cell.source.strip()) and SKIP not in tags(cell)
            steps.append(Step(cell, place, wanted))
    if parameters:
        _inject(notebook, steps, source(parameters, language, _declared(notebook)))
    for step in steps:
        if step.wanted:
            step.cell.outputs = []
            step.cell.execution_count = None
    return steps


def _place(cells: Sequence[Any], name: str) -> int:
    """The place of a cell that is named by place or by id."""
    for place, cell in enumerate(cells):
        if cell.get("id") == name:
            return place
    if name.isdecimal() and len(name) < 10 and int(name) < len(cells):
        return int(name)
    raise errors.UsageError(
        f"there is no cell {name!r}: the notebook has {len(cells)}, counted from 0",
        name="CellNotFound",
        hint=f"give the place of a cell, 0 to {len(cells) - 1}, or its id",
    )


def _places(cells: Sequence[Any], name: str) -> list[int]:
    """The code cells that an item of `--only` names."""
    found = re.fullmatch(r"(\d+)-(\d+)", name)
    if found and not any(cell.get("id") == name for cell in cells):
        begin, end = _place(cells, found[1]), _place(cells, found[2])
        places = [place for place in range(begin, end + 1) if cells[place].cell_type == "code"]
    else:
        places = [place for place in [_place(cells, name)] if cells[place].cell_type == "code"]
    if not places:
        code = next((place for place, cell in enumerate(cells) if cell.cell_type == "code"), 0)
        raise errors.UsageError(
            f"{name!r}: there is no code to run there", name="CellNotFound", hint=f"name a code cell, such as {code}"
        )
    return places


# --- parameters ---------------------------------------------------------------------------------------------------


def hide_sources(notebook: Any) -> None:
    """Have front ends hide the code, so that the notebook reads as a report (papermill's `--report-mode`)."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            held = cell.metadata.get("jupyter")
            cell.metadata["jupyter"] = {**(held if isinstance(held, dict) else {}), "source_hidden": True}


def write_parameters(notebook: Any, steps: list[Step], values: dict[str, Any], language: str) -> None:
    """Write the parameters that `plan` has put in again, in the language of the kernel that is to run them.

    Raises:
        errors.UsageError: they cannot be written in that language.
    """
    for step in steps:
        if step.index is None:
            step.cell.source = source(values, language, _declared(notebook))


def _declared(notebook: Any) -> str:
    """The source of the notebook's own cell of parameters."""
    return next((str(cell.source) for cell in notebook.cells if PARAMETERS in tags(cell)), "")


def _inject(notebook: Any, steps: list[Step], text: str) -> None:
    """Put the parameters into a cell of their own: in place of that of an earlier run, else behind the defaults, else
    at the top."""
    cell = library().v4.new_code_cell(text, metadata={"tags": [INJECTED]})
    cells = notebook.cells
    if notebook.nbformat_minor < 5:
        del cell["id"]
    earlier = next((place for place, item in enumerate(cells) if INJECTED in tags(item)), None)
    if notebook.nbformat_minor >= 5 and not any(
        item.get("id") == INJECTED for place, item in enumerate(cells) if place != earlier
    ):
        cell["id"] = INJECTED  # the same every time, as the rest of the notebook is
    default = next((place for place, item in enumerate(cells) if PARAMETERS in tags(item)), -1)
    if earlier is not None:
        old = cells[earlier]
        position = next((number for number, step in enumerate(steps) if step.cell is old), 0)
        steps[:] = [step for step in steps if step.cell is not old]
        cells[earlier] = cell
    else:
        position = sum(1 for step in steps if step.index is not None and step.index <= default)
        cells.insert(default + 1, cell)
    steps.insert(position, Step(cell, None, True))


# --- writing --------------------------------------------------------------------------------------------------------


def encode(notebook: Any) -> bytes:
    """The notebook as a file holds it."""
    return b"".join(file_form.pieces(notebook))


def save(notebook: Any, path: Path) -> None:
    """Write the notebook so that readers see either the old file or the new one. Symbolic links are followed.

    Raises:
        errors.ConfigError: (`NotebookNotWritten`) it cannot be written there.
    """
    write(file_form.pieces(notebook), path)


def chosen(path: Path) -> Path:
    """A path that nobody has named: a file there is replaced, but a link is not followed. It may have come with a
    repository, and lead to any file of this machine.

    Raises:
        errors.UsageError: it is a link.
    """
    if path.is_symlink():
        raise errors.UsageError(
            f"{path} is a link, and is only written through if you name it",
            name="IsALink",
            hint="give a file to -o (in the library, output)",
        )
    return path


def write(content: Iterable[bytes], path: Path) -> None:
    """Replace a file of the user by these pieces. Its permissions stay; a new file gets the usual ones.

    Raises:
        errors.ConfigError: (`NotebookNotWritten`) it cannot be written.
    """
    temporary = None
    try:
        target = Path(os.path.realpath(path))
        if not atomic_files.is_replaceable(target):
            raise OSError(errno.EINVAL, "it is no file")
        beside = target.with_name(f".{target.name[:200]}.{messages.new_id()[:8]}.tmp")
        with beside.open("xb") as file:
            temporary = beside
            file.writelines(content)
        if target.exists():
            os.chmod(beside, target.stat().st_mode & 0o7777)
        os.replace(beside, target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise errors.ConfigError(
            f"{path}: the notebook cannot be written: {error.strerror or error}",
            name="NotebookNotWritten",
            hint="give another file to -o; lecoder-cgpu notebook fetch writes a job's again",
        ) from error
