"""Text as a terminal shows it: progress bars of real libraries in documents, pipes and notebooks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from tests.support.cli import Cli

NESTED = """
import sys
from tqdm import tqdm
for i in tqdm(range(3), desc="outer", file=sys.stdout, mininterval=0):
    for j in tqdm(range(50), desc="inner", colour="green", leave=False, position=1, file=sys.stdout, mininterval=0):
        pass
print("the end")
"""
RICH = """
from rich.console import Console
from rich.progress import Progress
with Progress(console=Console(force_terminal=True, force_jupyter=False, width=60)) as progress:
    tasks = [progress.add_task(name, total=20) for name in ("one", "two")]
    for _ in range(20):
        for task in tasks:
            progress.advance(task)
        progress.refresh()
print("the end")
"""
PLAIN = """
print("downloading 100%\\r\\x1b[Kdone")
print("\\x1b[31mabc\\x1b[0m\\rxy")
"""


def check_nested(text: str) -> None:
    outer, end = text.strip("\n").split("\n")
    assert re.fullmatch(r"outer: 100%\|█+\| 3/3 \[.*it/s\]", outer.rstrip())  # a longer bar is overwritten with blanks
    assert end.strip() == "the end"


def check_rich(text: str) -> None:
    one, two, end = text.strip("\n").split("\n")
    assert re.fullmatch(r"one ━+ 100% \S+", one.rstrip())
    assert re.fullmatch(r"two ━+ 100% \S+", two.rstrip())
    assert end == "the end"


def check_plain(text: str) -> None:
    assert text == "done\nxyc\n"


CASES = [
    pytest.param(NESTED, check_nested, id="tqdm"),
    pytest.param(RICH, check_rich, id="rich"),
    pytest.param(PLAIN, check_plain, id="plain"),
]


@pytest.mark.parametrize(("code", "check"), CASES)
def test_everywhere_the_same(lab: Cli, tmp_path: Path, code: str, check: object) -> None:
    """A document, a pipe, a process's document and an executed notebook show what a terminal would show."""
    assert callable(check)
    check(lab("run", "--json", "-m", "kernel", code).json["stdout"])
    check(lab("run", "-m", "kernel", code).out)
    check(lab("run", "--json", "--", "python", "-c", code).json["stdout"])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, tmp_path / "n.ipynb")
    lab("run", str(tmp_path / "n.ipynb"), "-o", str(tmp_path / "o.ipynb"))
    written = json.loads((tmp_path / "o.ipynb").read_text())["cells"][0]["outputs"]
    text = "".join("".join(part["text"]) for part in written)
    check(re.sub(r"\x1b\[[0-9;]*m", "", text))


def test_a_long_bar_is_a_small_file(lab: Cli, tmp_path: Path) -> None:
    """Megabytes of redrawing neither fill a document nor a notebook, and nothing is called left out."""
    code = "for i in range(100_000): print(f'\\r\\x1b[32m{i:6d}\\x1b[0m ' + '#' * 40, end='')\nprint()"
    document = lab("run", "--json", "--max-output", "2000", "-m", "kernel", code).json
    assert document["stdout"] == " 99999 " + "#" * 40 + "\n"
    assert document["outputBytes"] == 100_000 * 57 + 1
    assert "truncated" not in document
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), tmp_path / "n.ipynb")
    lab("run", str(tmp_path / "n.ipynb"), "-o", str(tmp_path / "o.ipynb"))
    assert (tmp_path / "o.ipynb").stat().st_size < 2000
    raw = lab("run", "--json", "--raw", "-m", "kernel", "print('a\\rb\\x1b[K')").json
    assert raw["stdout"] == "a\rb\x1b[K\n"


def test_displays_in_pipes_are_plain(lab: Cli) -> None:
    """A display's text has no escape sequences in a pipe, an empty one is empty, and a wrong type is shown."""
    code = """
from IPython.display import display
display({"text/plain": "\\x1b[1mbold\\x1b[0m"}, raw=True)
display({"text/plain": "", "text/html": "<b>x</b>"}, raw=True)
display({"text/plain": 5}, raw=True)
display({"image/png": "iVBORw0KGgo="}, raw=True)
"""
    shown = lab("run", "-m", "kernel", code)
    assert shown.code == 0
    assert shown.out == "bold\n5\n[image/png]\n"
