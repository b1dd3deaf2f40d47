"""The history as a notebook, as Markdown and as lines: whole, valid, and with nothing of a run that acts as markup."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import msgspec
import nbformat
import pytest

from lecoder_cgpu.history import exports
from lecoder_cgpu.models.history import HistoryEntry, HistoryError, HistoryRuntime, StoredDisplay

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def entry(command: str, **fields: object) -> HistoryEntry:
    given = {
        "status": "ok",
        "mode": "kernel",
        "runtime": HistoryRuntime(label="Colab GPU T4", accelerator="T4"),
        **fields,
    }
    return HistoryEntry(id=command, timestamp="2026-01-01T10:00:00.000Z", command=command, **given)  # type: ignore[arg-type]


PLOT = StoredDisplay(data={"text/plain": "<Figure>", "image/png": {"bytes": 3, "sha256": "kept"}, "x/y": {"bytes": 9}})
ENTRIES = [  # the newest first
    entry("exit 3", mode="terminal", status="error", exit_code=3, stderr="oh\udc80no\n"),
    entry(
        "1/0", status="error", error=HistoryError(ename="ZeroDivisionError", evalue="by\nzero", traceback=["a", "b"])
    ),
    entry("plot()", stdout="````\n", display_data=[PLOT], execution_count=4),
]


def document(form: str) -> str:
    return exports.content(form, ENTRIES, {"kept": b"png"}.get, NOW).decode()


def test_a_notebook() -> None:
    """It is valid, runs stand in their order, and an image is there as far as it was kept."""
    notebook = nbformat.reads(document("ipynb"), as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code] == ["plot()", "1/0", "%%bash\nexit 3"]
    stream, display = code[0].outputs
    assert (stream.text, code[0].execution_count) == ("````\n", 4)
    assert display.data == {"text/plain": "<Figure>", "image/png": base64.b64encode(b"png").decode()}
    assert (code[1].outputs[0].ename, code[1].outputs[0].traceback) == ("ZeroDivisionError", ["a", "b"])
    assert "**error (3)**" in notebook.cells[-2].source


def test_lines_of_json() -> None:
    """Each line is an entry of the history again."""
    lines = document("jsonl").splitlines()
    assert [msgspec.json.decode(line, type=HistoryEntry).command for line in lines] == ["plot()", "1/0", "exit 3"]
    assert json.loads(lines[2])["stderr"] == "oh\\x80no\n"


def test_markdown() -> None:
    """What a run printed cannot end its block."""
    text = document("md")
    assert "`````text\n````\n`````" in text
    assert "`ZeroDivisionError`: by zero" in text
    assert text.index("plot()") < text.index("exit 3")


@pytest.mark.parametrize("form", exports.FORMS)
def test_of_nothing(form: str) -> None:
    """An empty history is a valid document, too."""
    assert exports.content(form, [], lambda name: None, NOW) == b"" or form in ("html", "ipynb")
