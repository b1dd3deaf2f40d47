"""The form in which two executions of a notebook are compared, and the differences that are meant to be there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lecoder_cgpu.jupyter.screen import render
from lecoder_cgpu.notebooks.repair import FIRST_WITH_IDS

WIDGETS = "application/vnd.jupyter.widget-state+json"
_EMPTY: dict[str, Any] = {"outputs": [], "execution_count": None}
_PAGED = re.compile(r"^\?|\?\s*$|^%(?:history|hist)\b.* -p\b|^%pinfo2?\b|^%page\b", re.MULTILINE)
DIED, LIMIT = "KernelDied", "TimeLimit"
# What is another one in each run. The folder's own path is replaced before.
_VARYING = (
    (re.compile(r"0x[0-9a-fA-F]{6,}"), "ADDRESS"),
    (re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"[\w/.-]*/ipykernel_\d+/\d+\.py"), "CELL"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"), "TIME"),
    (re.compile(r"\b\d+(?:\.\d+)?(?:e-?\d+)? ?(?:s|ms|[µμ]s|us|ns|it/s)\b"), "DURATION"),
)


@dataclass
class Executed:
    """What an execution left: the notebook in its normal form, and the name of what ended it, "" for nothing.

    `refused` says why it was not run at all.
    """

    notebook: dict[str, Any] = field(default_factory=dict)
    verdict: str = ""
    refused: str = ""


def normal(notebook: dict[str, Any], source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """An executed notebook without what differs from run to run.

    Args:
        source: the notebook that was executed; where it has no ids, ids are made up and not compared.
        folder: where its code ran; its path is left out.
    """
    has_ids = all("id" in cell for cell in source.get("cells", [])) and source.get("nbformat_minor") == FIRST_WITH_IDS
    metadata = {name: value for name, value in notebook["metadata"].items() if name not in ("papermill", "widgets")}
    widgets = notebook["metadata"].get("widgets", {}).get(WIDGETS, {}).get("state", {})
    cells = []
    for cell in notebook["cells"]:
        kept = {name: value for name, value in cell.items() if name not in ("id", "metadata", "source")}
        kept["source"] = _joined(cell["source"])
        kept["metadata"] = {
            name: value for name, value in cell["metadata"].items() if name not in ("papermill", "execution")
        }
        if has_ids:
            kept["id"] = cell.get("id")
        kept["outputs"] = [_output(item, folder) for item in cell.get("outputs", [])]
        cells.append(kept)
    models = [_varying(json.loads(json.dumps(model)), folder) for model in widgets.values()]
    models.sort(key=lambda model: json.dumps(model, sort_keys=True))
    return {"cells": cells, "metadata": metadata, "widgets": models}


def _output(item: dict[str, Any], folder: Path) -> Any:
    kept = {name: value for name, value in item.items() if name != "transient"}
    if "text" in kept:
        kept["text"] = _joined(kept["text"])
    if "data" in kept:
        kept["data"] = {
            mime: _joined(value) if isinstance(value, list) and not mime.endswith("json") else value
            for mime, value in kept["data"].items()
        }
    return _varying(kept, folder)


def _joined(text: Any) -> Any:
    return "".join(text) if isinstance(text, list) else text


def _varying(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {_varying(key, folder): _varying(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_varying(item, folder) for item in value]
    if not isinstance(value, str):
        return value
    value = value.replace(str(folder), "FOLDER")
    for pattern, name in _VARYING:
        value = pattern.sub(name, value)
    return value


# --- differences that docs/papermill.md defends ---------------------------------------------------------------------


def _streams(ours: Executed, theirs: Executed) -> None:
    for executed in (ours, theirs):
        for cell in executed.notebook["cells"]:
            outputs: list[Any] = []
            for item in cell["outputs"]:
                same = outputs and item.get("output_type") == "stream" and outputs[-1].get("name") == item["name"]
                if same:
                    outputs[-1]["text"] += item["text"]
                else:
                    outputs.append(item)
            for item in outputs:
                if item.get("output_type") == "stream":
                    item["text"] = render(item["text"], colour=True)
            cell["outputs"] = outputs


def _ending(ours: Executed, theirs: Executed) -> None:
    pairs = zip(ours.notebook["cells"], theirs.notebook["cells"], strict=False)
    for our, their in pairs:
        if our["outputs"] and our["outputs"][-1]["output_type"] == "error" and our["outputs"][:-1] == their["outputs"]:
            del our["outputs"][-1]
        if theirs.verdict in (DIED, LIMIT):
            our["execution_count"] = their.get("execution_count")


def _unreached(ours: Executed, theirs: Executed) -> None:
    code = [place for place, cell in enumerate(ours.notebook["cells"]) if cell["cell_type"] == "code"]
    code = [place for place in code if ours.notebook["cells"][place]["source"].strip()]
    reached = [place for place in code if ours.notebook["cells"][place] != {**ours.notebook["cells"][place], **_EMPTY}]
    for place in code:
        if theirs.verdict and reached and place > reached[-1]:
            theirs.notebook["cells"][place] |= deepcopy(_EMPTY)


def _exit(ours: Executed, theirs: Executed) -> None:
    outputs = [item for cell in theirs.notebook["cells"] for item in cell["outputs"]]
    ends = [item["evalue"] for item in outputs if item.get("ename") == "SystemExit"]
    if theirs.verdict == "SystemExit" and ends and ends[-1] in ("0", "", "None"):
        theirs.verdict = ""


def _pager(ours: Executed, theirs: Executed) -> None:
    for our, their in zip(ours.notebook["cells"], theirs.notebook["cells"], strict=False):
        if not _PAGED.search(our["source"]):
            continue
        shown = [item for item in our["outputs"] if item["output_type"] == "display_data" and len(item["data"]) == 1]
        missing = next((item for item in shown if item not in their["outputs"]), None)
        if missing is not None:
            our["outputs"].remove(missing)


def _repaired(ours: Executed, theirs: Executed) -> None:
    spec = ours.notebook["metadata"].get("kernelspec", {})
    for name in {"name", "display_name"} - {*theirs.notebook["metadata"].get("kernelspec", spec)}:
        spec.pop(name, None)


DEFENDED: dict[str, Callable[[Executed, Executed], None]] = {
    "streams are joined and shown as a terminal would": _streams,
    "old outputs go from every cell": _unreached,
    "a cell that failed has an error": _ending,
    "sys.exit(0) ends a notebook well": _exit,
    "what a pager shows is an output": _pager,
    "a notebook that the schema refuses is repaired": _repaired,
}


def difference(ours: Executed, theirs: Executed) -> tuple[list[str], list[str]]:
    """How two executions differ: what is defended, and what is not (one line for each place)."""
    if ours.refused or theirs.refused:
        if ours.refused and theirs.refused:
            return [], []
        if theirs.refused:
            return ["a notebook that the schema refuses is repaired"], []
        return [], [f"refused: {ours.refused}"]
    ours, theirs = deepcopy(ours), deepcopy(theirs)
    if len(ours.notebook["cells"]) != len(theirs.notebook["cells"]):
        return [], [f"cells: {len(ours.notebook['cells'])} {len(theirs.notebook['cells'])}"]
    defended = []
    found = list(_differences(_whole(ours), _whole(theirs)))
    for name, rule in DEFENDED.items():
        rule(ours, theirs)
        left = list(_differences(_whole(ours), _whole(theirs)))
        if left != found:
            defended.append(name)
        found = left
    return defended, found


def _whole(executed: Executed) -> dict[str, Any]:
    return {"verdict": executed.verdict, **executed.notebook}


def _differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            if name not in ours or name not in theirs:
                which = "ours" if name in ours else "theirs"
                yield f"{place}.{name}: only {which}: {ours.get(name, theirs.get(name))!r:.200}"
            else:
                yield from _differences(ours[name], theirs[name], f"{place}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(our, their, f"{place}[{number}]")
    elif ours != theirs:
        yield f"{place}: {ours!r:.300} | {theirs!r:.300}"
