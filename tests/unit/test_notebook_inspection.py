"""The parameters of a notebook, as its tagged cell tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lecoder_cgpu.notebooks import document, inspection
from lecoder_cgpu.notebooks.inspection import Parameter
from tests.support.notebooks import code, write


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a = 1", [Parameter("a", "1", "int")]),
        ("a = b = 'x'  # two", [Parameter("a", "'x'", "str", "two"), Parameter("b", "'x'", "str", "two")]),
        ("a = [\n  1,  # no\n  2,\n]  # type: list sizes", [Parameter("a", "[\n  1,  # no\n  2,\n]", "list", "sizes")]),
        ("a: 'int' = f(1)  # é", [Parameter("a", "f(1)", "int", "é")]),
        ("a = 1\na = 2.5", [Parameter("a", "2.5", "float")]),
        ("a = None\nx.y = 3\nprint(4)\nb: int", [Parameter("a", "None")]),
        ("%time\na = 1  # type: int n", [Parameter("a", "1", "int", "n")]),
        ("", []),
    ],
)
def test_parameters_are_found(tmp_path: Path, source: str, found: list[Parameter]) -> None:
    """Names in order with the last default; type and help from the annotation or comment; other languages by line."""
    content = document.parse(write(tmp_path / "n.ipynb", code(source or " ", "parameters")).read_bytes(), "n")
    assert inspection.parameters(content) == found


def test_other_languages(tmp_path: Path) -> None:
    """What is `a < -1` in Python sets a variable in R."""
    spec = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
    source = write(tmp_path / "n.ipynb", code("a <- 1  # in R\nb = 'x'", "parameters"), metadata=spec)
    found = inspection.parameters(document.parse(source.read_bytes(), "n"))
    assert found == [Parameter("a", "1", "", "in R"), Parameter("b", "'x'")]


def test_without_a_tagged_cell(tmp_path: Path) -> None:
    """Unknown is not the same as none."""
    content = document.parse(write(tmp_path / "n.ipynb", code("a = 1")).read_bytes(), "n")
    assert inspection.parameters(content) is None
