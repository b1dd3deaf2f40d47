"""Notebooks as data: reading, choosing cells, parameters, outputs, writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.notebooks import cell_outputs, document, inspection, kernels, parameters, scripts, syntax
from tests.support.notebooks import code, text, write


def parsed(tmp_path: Path, *cells: Any, **options: Any) -> Any:
    return document.parse(write(tmp_path / "n.ipynb", *cells, **options).read_bytes(), "n.ipynb")


def wanted(content: Any, **options: Any) -> list[int | None]:
    return [step.index for step in document.plan(content, **options) if step.wanted]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"print(1)",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"nbformat": 4}',
        b'{"nbformat": 9, "cells": []}',
        b'{"cells": [{"cell_type": "code"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}',
    ],
)
def test_what_is_no_notebook_is_refused(content: bytes) -> None:
    """The error says what is wrong, whatever nbformat made of it."""
    with pytest.raises(errors.UsageError) as caught:
        document.parse(content, "x.ipynb")
    assert caught.value.name == "NotANotebook"
    assert caught.value.message.startswith("x.ipynb is no notebook")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({}, "python"),
        ({"kernelspec": {"name": "conda-env", "display_name": "env", "language": "python"}}, "python"),
        ({"language_info": {"name": "python"}}, "python"),
        ({"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}, "r"),
        ({"kernelspec": {"name": "ir", "display_name": "R"}}, "r"),
        ({"kernelspec": {"name": "julia-1.11", "display_name": "Julia"}}, "julia"),
        ({"kernelspec": {"name": "my-env", "display_name": "x"}}, "python"),
        ({"language_info": {"name": "julia"}}, "julia"),
    ],
)
def test_the_language_of_a_notebook(tmp_path: Path, metadata: dict[str, Any], language: str) -> None:
    """Its metadata say it; without a language, the usual name of a kernel does."""
    assert kernels.language(parsed(tmp_path, code("1"), metadata=metadata)) == language


def test_choosing_cells(tmp_path: Path) -> None:
    """Places count all cells from 0; ids work, too; prose, blank cells and those tagged to be skipped never run."""
    cells = [text("# a"), code("1"), code(" \n"), code("2", "skip-execution"), code("3"), text("b"), code("4")]
    content = parsed(tmp_path, *cells)
    assert wanted(content) == [1, 4, 6]
    assert wanted(content, from_cell="2") == [4, 6]
    assert wanted(content, from_cell=content.cells[4].id) == [4, 6]
    assert wanted(content, only=["0-4"]) == [1, 4]
    assert wanted(content, only=["6", content.cells[1].id]) == [1, 6]
    assert wanted(content, from_cell="5", only=["1-6"]) == [6]
    for bad in ("7", "x", "5", "-1", "2-9", "4-1"):
        with pytest.raises(errors.UsageError):
            document.plan(content, only=[bad])


def test_only_what_runs_loses_its_output(tmp_path: Path) -> None:
    """A cell that is not asked for keeps the output of an earlier run."""
    old = [nbformat.v4.new_output("stream", text="old")]
    content = parsed(tmp_path, code("1", outputs=old, execution_count=3), code("2", outputs=old, execution_count=4))
    document.plan(content, from_cell="1")
    assert [len(cell.outputs) for cell in content.cells] == [1, 0]
    assert [cell.execution_count for cell in content.cells] == [3, None]


def test_parameters_go_where_papermill_puts_them(tmp_path: Path) -> None:
    """Behind the tagged cell, in place of an earlier injection, at the top where neither is; always run, once."""
    values = {"a": 1, "b": "x\ny'", "c": [True, None, {"k": 1.5}], "d": float("inf")}
    expected = "# Parameters\na = 1\nb = \"x\\ny'\"\nc = [True, None, {'k': 1.5}]\nd = float('inf')"
    content = parsed(tmp_path, text("t"), code("a = 0", "parameters"), code("a"))
    steps = document.plan(content, parameters=values, from_cell="2")
    assert [step.index for step in steps if step.wanted] == [None, 2]
    assert content.cells[2].source == expected
    assert content.cells[2].metadata.tags == ["injected-parameters"]
    nbformat.validate(content)
    again = document.plan(content, parameters={"a": 2})
    assert [step.index for step in again] == [1, None, 3]
    assert [cell.source for cell in content.cells] == ["t", "a = 0", "# Parameters\na = 2", "a"]
    bare = parsed(tmp_path, code("1"))
    assert [step.index for step in document.plan(bare, parameters={"a": 2})] == [None, 0]
    assert bare.cells[0].source == "# Parameters\na = 2"


def test_misspelt_parameters_are_found(tmp_path: Path) -> None:
    """A parameter that the tagged cell does not set is named; magics there make no fuss."""
    content = parsed(tmp_path, code("rate = 0.1\nx: int = 2", "parameters"))
    assert inspection.unknown(content, {"rate": 1, "x": 1, "rat": 1}) == ["rat"]
    assert inspection.unknown(parsed(tmp_path, code("%time 1", "parameters")), {"a": 1}) == []
    assert inspection.unknown(parsed(tmp_path, code("1")), {"a": 1}) == []


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("1", 1),
        ("1.5", 1.5),
        ("1e-3", 1e-3),
        ("True", True),
        ("false", False),
        ("None", None),
        ("x", "x"),
        ("", ""),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ('"7"', "7"),
        ("[1", "[1"),
        ("a=b", "a=b"),
        ("1 2", "1 2"),
    ],
)
def test_values_as_typed(typed: str, value: object) -> None:
    """Numbers, constants and JSON are what they look like; all else is text."""
    assert parameters.value(typed) == value


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_literals_mean_what_they_say(value: object) -> None:
    """Whatever a parameter holds, the injected source evaluates to it."""
    assert eval(syntax.python(value)) == value


def shown(*events: messages.Event) -> list[dict[str, Any]]:
    cell = code("x")
    outputs = cell_outputs.CellOutputs(cell_outputs.Displays())
    for event in events:
        outputs.add(event)
    outputs.put(cell, 7)
    nbformat.validate(nbformat.v4.new_notebook(cells=[nbformat.from_dict(cell)]))
    return cell.outputs  # type: ignore[no-any-return]


def out(text: str) -> messages.Stream:
    return messages.Stream("stdout", text)


def display(content: Any, display_id: str | None = None, **more: Any) -> messages.Display:
    return messages.Display({"text/plain": content}, {}, display_id, **more)


def test_streams_are_joined_and_collapsed() -> None:
    """Neighbours of one name are one output; carriage returns are carried out."""
    made = shown(out("a"), out("b\n"), messages.Stream("stderr", "e"), out("10%\r"), out("20%\r"), out("99%"))
    assert [(item["name"], item["text"]) for item in made] == [("stdout", "ab\n"), ("stderr", "e"), ("stdout", "99%")]


def test_results_have_the_count() -> None:
    """The value of the last expression is an execute_result with the cell's number; displays are not."""
    made = shown(out("a"), display("d"), out("b"), display("r", result=True))
    assert [item["output_type"] for item in made] == ["stream", "display_data", "stream", "execute_result"]
    assert made[3]["execution_count"] == 7


def test_clearing() -> None:
    """At once, or with the next output; never with an update."""
    assert shown(out("a"), messages.Clear(False)) == []
    assert [item["text"] for item in shown(out("a"), messages.Clear(True), out("b"))] == ["b"]
    assert len(shown(out("a"), messages.Clear(True))) == 1


def test_updates_reach_displays_of_earlier_cells() -> None:
    """A display is updated wherever it stands; an update of what was never shown is nothing."""
    displays = cell_outputs.Displays()
    first, second = code("1"), code("2")
    one, two = cell_outputs.CellOutputs(displays), cell_outputs.CellOutputs(displays)
    one.add(display("old", "id"))
    one.put(first, 1)
    two.add(display("new", "id", update=True))
    two.add(display("x", "unknown", update=True))
    two.put(second, 2)
    assert first.outputs[0]["data"] == {"text/plain": "new"}
    assert second.outputs == []


def test_odd_bundles_are_made_valid() -> None:
    """What a library sends against the rules becomes text; JSON stays as it is."""
    event = messages.Display({"text/plain": 5, "text/html": ["a", "b"], "application/json": {"a": [1]}}, {})
    assert shown(event)[0]["data"] == {"text/plain": "5", "text/html": "ab", "application/json": {"a": [1]}}


def test_writing_keeps_what_was_there(tmp_path: Path) -> None:
    """Permissions and links stay, lone surrogates can be written, and nothing but the file is left."""
    content = parsed(tmp_path, code("1"))
    content.cells[0].source = "'\udc80'"
    real, link = tmp_path / "real.ipynb", tmp_path / "link.ipynb"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    document.save(content, link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert json.loads(real.read_text())["cells"][0]["source"] == ["'\udc80'"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.ipynb", "n.ipynb", "real.ipynb"]
    with pytest.raises(errors.ConfigError):
        document.save(content, tmp_path / "no" / "folder.ipynb")


@pytest.mark.parametrize(("name", "language"), [("a.R", "R"), ("a.jl", "julia"), ("a.sh", "bash"), ("a.py", "python")])
def test_scripts_tell_their_language(name: str, language: str) -> None:
    """Their marks make cells, and the ending says what runs them."""
    content = scripts.parse("# %%\nx\n\n# %%\ny\n", name)
    assert [cell.source for cell in content.cells] == ["x", "y"]
    assert content.metadata.language_info.name == language
