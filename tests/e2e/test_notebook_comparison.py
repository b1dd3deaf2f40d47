"""Notebooks of our own, executed by nbclient and by us: the same outputs, metadata and verdict."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from nbformat import v4

from tests.compare.engines import by_nbclient, by_us
from tests.compare.normal import DEFENDED, difference
from tests.support.cli import Cli
from tests.support.notebooks import code, text, write

LIMIT = 60
# Everything that an output can be, in cells that may fail. None of it depends on when a stream is flushed.
KINDS = (
    text("# A title"),
    code("from IPython.display import HTML, JSON, Image, clear_output, display, update_display"),
    code("1 + 1"),
    code("print('out')\nimport sys\nprint('err', file=sys.stderr)"),
    code("display(HTML('<b>x</b>'), metadata={'text/html': {'isolated': True}})\n'result'"),
    code("display(JSON({'a': [1]}))\ndisplay({'application/x-own+json': {'b': 2}, 'text/plain': 'own'}, raw=True)"),
    code("first = display('first', display_id='here')"),
    code("update_display('second', display_id='here')"),
    code("for n in range(3):\n    clear_output(wait=True)\n    print(n)"),
    code("print('gone')\nclear_output()"),
    code(
        "ip = get_ipython()\nfor i in (1, 2):\n    try: raise ValueError(i)\n    except ValueError: ip.showtraceback()"
    ),
    code("1/0", "raises-exception"),
    code("def broken(:", "raises-exception"),
    code("import surely_not_there", "raises-exception"),
    code("print('never')", "skip-execution", execution_count=7, outputs=[v4.new_output("stream", text="kept\n")]),
    code("print(open('data.txt').read())"),
    code("class Own:\n    def _repr_markdown_(self): return '*own*'\n    def __repr__(self): return 'own'\nOwn()"),
    code("print('\\N{SNOWMAN} \\udcff'.encode('utf-8', 'replace').decode())"),
    code("%%bash\necho shell"),
    code(""),
)
STALE = [v4.new_output("stream", text="of an earlier run\n")]
ENDS = {
    "error": (code("print('one')"), code("{}['missing']"), code("print('never')", outputs=STALE, execution_count=3)),
    "exit": (code("print('one')"), code("import sys; sys.exit(0)"), code("print('never')")),
    "exit-3": (code("import sys; sys.exit(3)"),),
    "group": (code("raise ExceptionGroup('many', [KeyError('a'), OSError(2, 'b')])"),),
    "magic": (code("%no_such_magic"), code("print('never')")),
    "pager": (code("len?"), code("print('on')")),
}


def compared(lab: Cli, folder: Path, cells: tuple[Any, ...]) -> tuple[list[str], list[str]]:
    """How our execution differs from nbclient's: what the documents defend, and what not."""
    source = write(folder / "n.ipynb", *cells)
    (folder / "data.txt").write_text("data")
    return difference(by_us(lab, source, LIMIT), by_nbclient(lab, source, LIMIT))


def test_every_kind_of_output_is_the_same(lab: Cli, tmp_path: Path) -> None:
    """Streams, results, displays, updates, clearing, errors, what was skipped: nothing differs."""
    assert compared(lab, tmp_path, KINDS) == ([], [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("error", ["old outputs go from every cell"]),
        ("exit", ["sys.exit(0) ends a notebook well"]),
        ("exit-3", []),
        ("group", ["a cell that failed has an error"]),
        ("magic", ["a cell that failed has an error"]),
        ("pager", ["what a pager shows is an output"]),
    ],
)
def test_the_ends_are_the_same_or_defended(lab: Cli, tmp_path: Path, name: str, expected: list[str]) -> None:
    """What ended a notebook, and what is in its cells then, differs only as docs/papermill.md says."""
    assert compared(lab, tmp_path, ENDS[name]) == (expected, [])


def test_what_differs_is_found(lab: Cli, tmp_path: Path) -> None:
    """The comparison itself: another output, verdict or metadata is told, and no rule for what is defended hides it."""
    source = write(tmp_path / "n.ipynb", code("import os; print('x', os.getpid() and 1)"), code("2"))
    ours = by_us(lab, source, LIMIT)
    for change in (
        lambda other: other.notebook["cells"][0]["outputs"][0].update(text="y"),
        lambda other: other.notebook["cells"][1]["outputs"].clear(),
        lambda other: other.notebook["cells"][1].update(execution_count=5),
        lambda other: other.notebook["metadata"].update(language_info={}),
        lambda other: setattr(other, "verdict", "KeyError"),
    ):
        other = deepcopy(ours)
        change(other)
        assert difference(ours, other)[1], other
    assert difference(ours, deepcopy(ours)) == ([], [])


def test_the_documents_defend_what_the_comparison_allows() -> None:
    """Each rule of the comparison has its sentence in docs/papermill.md."""
    page = (Path(__file__).parents[2] / "docs" / "papermill.md").read_text().replace("`", "").replace("\n", " ").lower()
    assert [rule for rule in DEFENDED if rule.lower() not in " ".join(page.split())] == []
