"""Notebooks as scripts in the percent format (`# %%` begins a cell), to and fro, by jupytext (extra `notebooks`)."""

from __future__ import annotations

from typing import Any

from .. import errors
from . import document

FORMAT = "py:percent"


def _jupytext() -> Any:
    document.library()  # first: it knows how to import nbformat fast
    try:
        import jupytext
    except ImportError:
        raise errors.MissingExtra(
            "scripts are read and written as notebooks by jupytext, which is not installed",
            hint="pip install 'lecoder-cgpu[notebooks]'",
        ) from None
    return jupytext


def parse(text: str, origin: str) -> Any:
    """The notebook that a script in the percent format stands for; one cell when nothing is marked.

    Raises:
        errors.UsageError: it is not such a script. errors.MissingExtra: jupytext is not installed.
    """
    jupytext = _jupytext()
    try:
        content = jupytext.reads(text, fmt=FORMAT)
    except Exception as error:  # its header may be broken YAML, or name an unknown format
        raise errors.UsageError(
            f"{origin} cannot be read as a script of cells: {error}",
            name="NotANotebook",
            hint="begin cells with `# %%`, and check the header between `# ---` lines",
        ) from error
    return document.parse(document.encode(content), origin)


def write(content: Any) -> str:
    """A notebook as a script in the percent format; its outputs are left out."""
    text: str = _jupytext().writes(content, fmt=FORMAT)
    return text


def with_outputs(content: Any, executed: Any) -> Any:
    """A notebook made from a script, with ids and outputs of `executed` for those cells that are the same there."""
    from jupytext.combine import combine_inputs_with_outputs

    return combine_inputs_with_outputs(content, executed, fmt=FORMAT)
