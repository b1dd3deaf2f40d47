"""Scripts in the percent format as notebooks: run, converted, and converted back without loss."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import v4

from lecoder_cgpu.notebooks import scripts
from tests.support.cli import Cli
from tests.support.notebooks import code, read, text, write

SCRIPT = """\
# %% [markdown]
# # Title

# %% tags=["parameters"]
n = 2

# %%
# !echo shell
print(n * 21)
"""


def test_a_script_runs_as_a_notebook(lab: Cli, tmp_path: Path) -> None:
    """Cells, tags and magics of the script are those of a notebook; the script itself stays."""
    (tmp_path / "s.py").write_text(SCRIPT)
    result = lab("notebook", "run", str(tmp_path / "s.py"), "-p", "n=3")
    assert (result.code, result.out) == (0, "shell\n63\n")
    assert [cell.cell_type for cell in read(tmp_path / "s.executed.ipynb").cells] == ["markdown"] + 3 * ["code"]
    assert (tmp_path / "s.py").read_text() == SCRIPT


def test_there_and_back(cli: Cli, tmp_path: Path) -> None:
    """A notebook's sources survive the script; --update keeps ids and outputs of what was not changed."""
    source = write(tmp_path / "n.ipynb", text("# hi"), code("a = 1", "parameters"), code("!ls\nprint(a)"), code("b"))
    before = read(source)
    before.cells[1].outputs = [v4.new_output("stream", text="kept")]
    source.write_text(nbformat.writes(before))
    made = cli("notebook", "convert", str(source))
    assert (made.code, made.out) == (0, f"{tmp_path / 'n.py'}\n")
    script = tmp_path / "n.py"
    assert '# %% tags=["parameters"]\na = 1' in script.read_text()
    refused = cli("notebook", "convert", str(script), "--json")
    assert (refused.code, refused.json["error"]["name"]) == (2, "FileExists")
    script.write_text(script.read_text().replace("print(a)", "print(a + 1)"))
    assert cli("notebook", "convert", str(script), "--update").code == 0
    after = read(source)
    assert [cell.source for cell in after.cells] == ["# hi", "a = 1", "!ls\nprint(a + 1)", "b"]
    assert after.cells[1].outputs == before.cells[1].outputs
    assert [cell.id for cell in after.cells][:2] == [cell.id for cell in before.cells][:2]
    assert cli("notebook", "convert", str(script), "-o", str(tmp_path / "fresh.ipynb")).code == 0
    assert [cell.source for cell in read(tmp_path / "fresh.ipynb").cells] == [cell.source for cell in after.cells]


def test_without_the_extra(cli: Cli, tmp_path: Path) -> None:
    """Where jupytext is not installed, the error says how to install it."""
    (tmp_path / "s.py").write_text(SCRIPT)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "jupytext.py").write_text("raise ImportError('not installed')")
    paths = str(tmp_path / "hidden")
    result = cli("notebook", "convert", str(tmp_path / "s.py"), "--json", env={"PYTHONPATH": paths})
    assert (result.code, result.json["error"]["name"]) == (78, "MissingExtra")
    assert "lecoder-cgpu[notebooks]" in result.json["error"]["suggestion"]


def test_broken_headers_stay_text() -> None:
    """A script whose header is no YAML keeps it as a cell, and loses nothing."""
    content = scripts.parse("# ---\n# jupyter: [1\n# ---\n# %%\n1\n", "x.py")
    assert "jupyter: [1" in content.cells[0].source
    assert content.cells[-1].source == "1"
