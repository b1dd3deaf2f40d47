"""Notebooks as text, by jupytext (extra `notebooks`): scripts whose cells begin with `# %%`, light scripts (of other
languages than Python, too), Markdown, R Markdown and Quarto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import errors
from . import document

FORMAT = "py:percent"
# Quarto's own documents are R Markdown for what is run: fenced code with `{python}`. So its program is not needed.
FORMATS = {".py": "py", ".md": "md", ".rmd": "Rmd", ".qmd": "Rmd", ".r": "R", ".jl": "jl", ".sh": "sh", ".ts": "ts"}


def is_text(name: str) -> bool:
    """Whether a file of that name is read by jupytext."""
    return Path(name).suffix.lower() in FORMATS


def _jupytext() -> Any:
    document.library()  # first: it knows how to import nbformat fast
    try:
        import jupytext
    except ImportError:
        raise errors.MissingExtra(
            "scripts and Markdown are read and written as notebooks by jupytext, which is not installed",
            hint="pip install 'lecoder-cgpu[notebooks]'",
        ) from None
    return jupytext


def parse(text: str, origin: str) -> Any:
    """The notebook that a text stands for. Its header or its marks tell jupytext the format: a script without any is
    a light one, whose cells are its paragraphs.

    Args:
        origin: its name; the ending says which kind of text it is.

    Raises:
        errors.UsageError: it cannot be read. errors.MissingExtra: jupytext is not installed.
    """
    jupytext = _jupytext()
    try:
        content = jupytext.reads(text, fmt=FORMATS.get(Path(origin).suffix.lower(), "py"))
    except Exception as error:  # its header may be broken YAML, or name an unknown format
        raise errors.UsageError(
            f"{origin} cannot be read as a text of cells: {error}",
            name="NotANotebook",
            hint="begin cells with `# %%`, or fence them with ```python; check the header between `---` lines",
        ) from error
    if "kernelspec" not in content.metadata:  # it has a language, whatever the session runs
        language = content.metadata.get("jupytext", {}).get("main_language", "python")
        content.metadata.setdefault("language_info", {"name": language})
    return document.parse(document.encode(content), origin)


def write(content: Any) -> str:
    """A notebook as a script in the percent format; its outputs are left out."""
    text: str = _jupytext().writes(content, fmt=FORMAT)
    return text


def with_outputs(content: Any, executed: Any) -> Any:
    """A notebook made from a script, with ids and outputs of `executed` for those cells that are the same there."""
    from jupytext.combine import combine_inputs_with_outputs

    return combine_inputs_with_outputs(content, executed, fmt=FORMAT)
