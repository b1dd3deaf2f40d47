"""Widgets of ipywidgets in documents and notebooks, compared with what nbclient writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from nbclient.exceptions import CellTimeoutError

from lecoder_cgpu.notebooks.runs import LANGUAGE_WAIT
from tests.support.cli import Cli

pytest.importorskip("ipywidgets")

INTERACT = """
from ipywidgets import interact
print("header: accuracy=0.93")
interact(lambda n=3: print("n =", n));
"""
STEPS = """
from ipywidgets import Output
from IPython.display import display
print("header: accuracy=0.93")
out = Output()
display(out)
with out:
    for i in range(3):
        out.clear_output(wait=True)
        print("step", i)
print("final")
"""
STATE = "application/vnd.jupyter.widget-state+json"


def executed(lab: Cli, folder: Path, *cells: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.update(metadata or {})
    nbformat.write(notebook, folder / "n.ipynb")
    done = lab("run", str(folder / "n.ipynb"), "-o", str(folder / "o.ipynb"))
    assert done.code == 0, done
    nbformat.validate(nbformat.read(folder / "o.ipynb", as_version=4))
    found: dict[str, Any] = json.loads((folder / "o.ipynb").read_text())
    return found


def by_nbclient(*cells: str) -> dict[str, Any]:
    """What nbclient makes of cells. It answers Output widgets over the channel on which it waits for the reply, and may
    overlook the reply until its limit is over: so the limit is short, and a fresh kernel is tried once."""
    for last in (False, True):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        try:
            nbclient.NotebookClient(notebook, timeout=20).execute()
            break
        except CellTimeoutError:
            if last:
                raise
    return json.loads(nbformat.writes(notebook))  # type: ignore[no-any-return]


def texts(outputs: list[Any]) -> list[str]:
    """The streams of outputs, the kinds of their displays, and the names of exceptions."""
    return [
        "".join(item["text"]) if "text" in item else item.get("ename") or "+".join(sorted(item["data"]))
        for item in outputs
    ]


def models(notebook: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The widgets that a notebook holds, with what they captured."""
    state = notebook["metadata"]["widgets"][STATE]["state"]
    return sorted((model["model_name"], texts(model["state"].get("outputs", []))) for model in state.values())


def test_an_output_widget_clears_what_is_its_own(lab: Cli) -> None:
    """In a document and in a pipe, what the cell itself has printed stays."""
    document = lab("run", "--json", "-m", "kernel", STEPS).json
    assert document["stdout"] == "header: accuracy=0.93\nstep 2\nfinal\n"
    assert len(document["display_data"]) == 1
    document = lab("run", "--json", "-m", "kernel", INTERACT).json
    assert document["stdout"] == "header: accuracy=0.93\nn = 3\n"


@pytest.mark.parametrize(
    "cells",
    [
        (STEPS,),
        (INTERACT,),
        (STEPS, "with out: print('later')", "out.clear_output()"),
        (STEPS, "with out: raise ValueError('kept by the widget')", "print('goes on')"),
    ],
)
def test_notebooks_are_as_nbclient_writes_them(lab: Cli, tmp_path: Path, cells: tuple[str, ...]) -> None:
    """Cells, the state of widgets, and what Output widgets captured, also in later cells."""
    ours, theirs = executed(lab, tmp_path, *cells), by_nbclient(*cells)
    assert [texts(cell["outputs"]) for cell in ours["cells"]] == [texts(cell["outputs"]) for cell in theirs["cells"]]
    assert models(ours) == models(theirs)


def test_a_detached_notebook_is_the_same(lab: Cli, tmp_path: Path) -> None:
    """What a widget clears there is its own, too."""
    watched = executed(lab, tmp_path, STEPS, INTERACT)
    job = lab("run", str(tmp_path / "n.ipynb"), "--detach").out.strip()
    assert lab("job", "wait", job).code == 0
    assert lab("notebook", "fetch", job, "-o", str(tmp_path / "fetched.ipynb")).code == 0
    fetched = json.loads((tmp_path / "fetched.ipynb").read_text())
    assert texts(fetched["cells"][0]["outputs"])[0].startswith("header")
    assert [texts(cell["outputs"]) for cell in fetched["cells"]] == [
        texts(cell["outputs"]) for cell in watched["cells"]
    ]
    assert models(fetched) == models(watched)


def test_the_state_is_that_of_this_run(lab: Cli, tmp_path: Path) -> None:
    """A widget's value is written, and what an earlier run has left goes."""
    stale = {"widgets": {STATE: {"state": {"old": {"model_name": "X"}}, "version_major": 2, "version_minor": 0}}}
    found = executed(
        lab, tmp_path, "import ipywidgets as w\ns = w.IntSlider(value=3)\ns", "s.value = 5", metadata=stale
    )
    state = found["metadata"]["widgets"][STATE]["state"]
    assert "old" not in state
    view = found["cells"][0]["outputs"][0]["data"]["application/vnd.jupyter.widget-view+json"]
    assert state[view["model_id"]]["state"]["value"] == 5
    assert "widgets" not in executed(lab, tmp_path, "1", metadata=stale)["metadata"]


def test_a_display_id_again_updates_what_it_showed(lab: Cli, tmp_path: Path) -> None:
    """As the messaging specification says: in every cell."""
    found = executed(
        lab, tmp_path, "from IPython.display import display\n_ = display('first', display_id='x')",
        "_ = display('second', display_id='x')",
    )  # fmt: skip
    assert [cell["outputs"][0]["data"]["text/plain"] for cell in found["cells"]] == [["'second'"], ["'second'"]]


def test_the_language_is_written(lab: Cli, tmp_path: Path) -> None:
    """As the kernel tells it, whatever the source said; for a job, too."""
    found = executed(lab, tmp_path, "1", metadata={"language_info": {"name": "python", "version": "old"}})
    theirs = by_nbclient("1")
    assert found["metadata"]["language_info"] == theirs["metadata"]["language_info"]
    job = lab("run", str(tmp_path / "n.ipynb"), "--detach").out.strip()
    lab("job", "wait", job)
    assert lab("notebook", "fetch", job, "-o", str(tmp_path / "f.ipynb")).code == 0
    fetched = json.loads((tmp_path / "f.ipynb").read_text())
    assert fetched["metadata"]["language_info"] == theirs["metadata"]["language_info"]


def test_a_kernel_that_is_busy_tells_its_language_later(lab: Cli, tmp_path: Path) -> None:
    """Other code keeps the kernel busy for longer than its language is waited for; the notebook has it all the same."""
    lab("run", "-m", "kernel", "--detach", f"import time; time.sleep({LANGUAGE_WAIT + 1})")
    assert executed(lab, tmp_path, "1")["metadata"]["language_info"]["name"] == "python"
