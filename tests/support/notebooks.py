"""Notebooks for tests: small ones made here, and those that other projects test themselves with."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

# The last releases whose wheels hold the notebooks that their own tests run.
OTHERS = ("nbclient==0.6.8", "nbformat==5.1.3")


def code(source: str, *tags: str, **fields: Any) -> Any:
    """A code cell."""
    return v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {}, **fields)


def text(source: str) -> Any:
    """A cell of prose."""
    return v4.new_markdown_cell(source)


def write(path: Path, *cells: Any, metadata: dict[str, Any] | None = None) -> Path:
    """A notebook of these cells in a file."""
    notebook = v4.new_notebook(cells=list(cells), metadata=metadata or {})
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    return path


def read(path: Path) -> Any:
    """A notebook from a file, which must be valid."""
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    nbformat.validate(notebook)
    return notebook


def fetch_others(folder: Path) -> dict[str, Path]:
    """The notebooks of other projects, by name, from their packages."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", folder, *OTHERS],
        check=True,
        capture_output=True,
    )
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".ipynb")])
    return {path.stem: path for path in folder.rglob("*.ipynb")}
