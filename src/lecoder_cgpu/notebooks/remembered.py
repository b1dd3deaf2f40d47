"""What the history keeps of a notebook: one run, with the text and the rich outputs that its cells show. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from ..models.notebooks import NotebookRun
from ..models.runs import DisplayData, Run


def run_of(document: NotebookRun, content: Any) -> tuple[Run, list[DisplayData]]:
    """The run that the history remembers of a notebook, and its rich outputs in order.

    Args:
        content: the executed notebook. Its code cells are those of the document, one by one.
    """
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    pairs = zip(code, document.cells, strict=False)
    shown = [item for cell, result in pairs if result.status in ("ok", "error") for item in cell.outputs]
    text = {name: _text(shown, name) for name in ("stdout", "stderr")}
    run = Run(
        status=document.status,
        error_code=document.error_code,
        exit_code=document.exit_code,
        mode="kernel",
        error=document.error,
        timing=document.timing,
        run_id=document.run_id,
        stdout=text["stdout"],
        stderr=text["stderr"] or UNSET,
        output_bytes=sum(cell.output_bytes for cell in document.cells),
    )
    displays = [
        DisplayData(data=dict(item["data"]), metadata=dict(item["metadata"])) for item in shown if "data" in item
    ]
    return run, displays


def _text(outputs: list[Any], name: str) -> str:
    return "".join(item["text"] for item in outputs if item["output_type"] == "stream" and item["name"] == name)
