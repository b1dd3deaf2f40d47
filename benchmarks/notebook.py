"""A notebook of many quick cells, and nbclient on the same one: each in a process of its own, from its start to the
file that it writes, with a kernel that is started for it. Every cell prints and has a result."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat

from .measure import TOOL, Runtime, Table

CELLS = 500
MOST = 1.3
PAIRS = 5  # of 500 cells each; more of them take minutes
NBCLIENT = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=600).execute()
nbformat.write(notebook, sys.argv[2])
print("done")
"""


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    source, ours, theirs = (runtime.folder / f"{name}.ipynb" for name in ("cells", "ours", "theirs"))
    cells = [nbformat.v4.new_code_cell(f"i = {number}\nprint(i); i") for number in range(CELLS)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source)
    command = [*TOOL, "notebook", "run", str(source), "-o", str(ours), "--restart", "--json"]
    floor = [sys.executable, "-c", NBCLIENT, str(source), str(theirs)]
    table.commands(f"{CELLS} cells that print and have a result", command, floor, min(rounds, PAIRS), MOST)
    assert _outputs(ours) == _outputs(theirs)


def _outputs(path: Path) -> list[object]:
    """The cells' outputs, but for the numbers of cells: ours begin behind what prepares the kernel. And but for how
    many pieces the text of a stream came in, which nbclient keeps apart and a busy machine makes more."""
    found: list[object] = []
    for cell in nbformat.read(path, 4).cells:
        outputs: list[dict[str, object]] = []
        for output in cell.outputs:
            if output.output_type == "stream" and outputs and outputs[-1].get("name") == output.name:
                outputs[-1]["text"] = f"{outputs[-1]['text']}{output.text}"
            else:
                outputs.append({**output, "execution_count": None})
        found.append(outputs)
    return found
