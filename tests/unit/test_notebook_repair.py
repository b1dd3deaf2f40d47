"""Notebooks that are not as the format demands, and that others run: repaired, and told."""

from __future__ import annotations

import copy
import json
from typing import Any

import nbformat
import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.notebooks import document

CODE: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": "1"}
PROSE: dict[str, Any] = {"cell_type": "markdown", "metadata": {}, "source": "# t"}


def raw(*cells: Any, minor: int = 5, **more: Any) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": minor, **more}


def read(content: Any) -> tuple[Any, list[str]]:
    """The notebook, valid in the end, and what was told of repairs."""
    told: list[str] = []
    notebook = document.parse(json.dumps(content).encode(), "x.ipynb", told.append)
    nbformat.validate(notebook)
    return notebook, told


def without(cell: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in cell.items() if name not in names}


@pytest.mark.parametrize("minor", [0, 4, 5])
def test_valid_notebooks_are_as_they_were(minor: int) -> None:
    """Nothing is told, and only ids are added, where the version demands them and there were none."""
    notebook, told = read(raw(CODE, PROSE, minor=minor))
    assert told == []
    assert [without(cell, "id") for cell in notebook.cells] == [CODE, PROSE]
    assert ["id" in cell for cell in notebook.cells] == [minor == 5] * 2
    assert notebook.nbformat_minor == minor


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (raw(without(CODE, "outputs")), "1 code cells lacked `outputs`"),
        (raw(without(CODE, "execution_count", "outputs"), without(CODE, "outputs")), "2 code cells lacked"),
        (raw({**CODE, "outputs": None}), "1 code cells lacked"),
        (raw(without(CODE, "metadata")), "1 cells lacked `metadata`"),
        (raw({**PROSE, "outputs": [], "execution_count": None}), "1 cells of prose had outputs"),
        (without(raw(CODE), "nbformat", "nbformat_minor", "metadata"), "does not name a version"),
        (raw({**CODE, "id": "a"}, {**CODE, "id": "a"}), "the ids of one cell were not valid"),
        (raw({**CODE, "id": "not an id!"}), "the ids of one cell were not valid"),
        (raw({**CODE, "id": 7}), "the ids of one cell were not valid"),
        (
            raw({**CODE, "outputs": [{"output_type": "stream"}, {"output_type": "stream", "name": 1}]}),
            "2 stored outputs",
        ),
        (raw({**CODE, "outputs": [{"output_type": "pyout"}, 5]}), "2 stored outputs were of no known kind"),
        (raw({**CODE, "metadata": {"tags": ["a", "a"], "kept": 1}}), "left out: tags"),
        (raw(CODE, metadata={"language_info": {"version": "3"}, "kept": 1}), "left out: language_info"),
    ],
)
def test_what_is_clear_is_repaired(content: Any, what: str) -> None:
    """The notebook is valid afterwards, its code is what it was, and one sentence says what was done."""
    before = [cell["source"] for cell in copy.deepcopy(content["cells"])]
    notebook, told = read(content)
    assert [cell.source for cell in notebook.cells] == before
    assert len(told) == 1
    assert what in told[0]
    assert told[0].startswith("x.ipynb is not as the format demands, and was repaired: ")
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    again, nothing = read(json.loads(document.encode(notebook)))
    assert (again, nothing) == (notebook, [])
    if "kept" in json.dumps(content):
        assert '"kept"' in json.dumps(notebook)


def test_ids_in_an_old_version_stay() -> None:
    """Format 4.4 knows no ids: the notebook becomes one of 4.5 rather than losing them."""
    notebook, told = read(raw({**CODE, "id": "mine"}, PROSE, minor=4))
    assert (notebook.nbformat_minor, notebook.cells[0].id) == (5, "mine")
    assert "ids, which format 4.4 does not know" in told[0]


def test_half_a_kernelspec_is_completed() -> None:
    """Tools that strip notebooks leave incomplete metadata."""
    notebook, _ = read(raw(CODE, metadata={"kernelspec": {"language": "python"}}))
    assert notebook.metadata.kernelspec.name == "python3"


def test_a_lone_surrogate_is_replaced_and_its_cell_named() -> None:
    """No message to a kernel can hold it. A pair of surrogates is one character, and stays."""
    content = json.dumps(raw(PROSE, {**CODE, "source": "print('#')"}))
    told: list[str] = []
    notebook = document.parse(content.replace("#'", r"\ud800'").encode(), "x", told.append)
    assert notebook.cells[1].source == "print('\ufffd')"
    assert "cell 1 held half of a character" in told[0]
    pair = document.parse(content.replace("#'", r"\ud83d\ude00'").encode(), "x", told.append)
    assert (pair.cells[1].source, len(told)) == ("print('\U0001f600')", 1)


def test_parameters_keep_their_id_when_injected_again() -> None:
    """A notebook that was run with other parameters before does not change more than it must."""
    notebook, _ = read(raw(CODE))
    document.plan(notebook, parameters={"a": 1})
    document.plan(notebook, parameters={"a": 2})
    assert [cell.id for cell in notebook.cells if cell.source != "1"] == ["injected-parameters"]


def test_deep_nesting_is_refused_as_such() -> None:
    """A file made to break parsers is the user's mistake, and no bug."""
    with pytest.raises(errors.UsageError, match="nested too deeply"):
        document.parse(b"[" * 200_000, "x")
