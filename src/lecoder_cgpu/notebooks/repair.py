"""Repairs notebooks that are not as the format demands, where what was meant is clear. Pure.

Editors, converters and programs write notebooks that Jupyter opens and nbclient runs, and that nbformat's schema calls
invalid. Each repair returns what it did, in words for the user.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

FIRST_WITH_IDS = 5  # the minor version of format 4 whose cells have ids
LATEST_MINOR = 5
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SURROGATES = re.compile("[\ud800-\udfff]")


def version(raw: dict[str, Any]) -> list[str]:
    """Give a notebook its version when it has cells and does not name one.

    Args:
        raw: the notebook as JSON; changed in place.
    """
    if "nbformat" in raw or not isinstance(raw.get("cells"), list):
        return []
    raw.setdefault("metadata", {})
    raw["nbformat"], raw["nbformat_minor"] = 4, LATEST_MINOR
    return ["it does not name a version of the format; read as 4.5"]


def cells(notebook: Any) -> list[str]:
    """Repair the cells and the version of a notebook in format 4.

    Args:
        notebook: a notebook whose `cells` are a list; changed in place.
    """
    found = [cell for cell in notebook["cells"] if isinstance(cell, dict)]
    told = [
        *_counted("cells lacked `metadata`", _has_no_metadata(notebook, found)),
        *_counted("code cells lacked `outputs` or `execution_count`", map(_completed, found)),
        *_counted("stored outputs were of no known kind and were left out", map(_known_outputs, found)),
        *_counted("cells of prose had outputs, which were left out", map(_without_outputs, found)),
        *_sources(found),
        *_identifiers(notebook, found),
    ]
    spec = notebook["metadata"].get("kernelspec")
    if isinstance(spec, dict):  # tools that strip notebooks leave incomplete metadata
        spec.setdefault("name", "python3")
        spec.setdefault("display_name", spec["name"])
    return told


def invalid_parts(notebook: Any, problems: Callable[[Any, str], Iterable[Any]]) -> list[str]:
    """Leave out outputs and metadata that the format does not allow. What else is invalid stays.

    Args:
        notebook: changed in place.
        problems: what the schema says is wrong with a node, as `jsonschema` errors; given the name of its definition,
            "" for the notebook.
    """
    outputs = 0
    names: set[str] = set()
    found = [cell for cell in notebook["cells"] if isinstance(cell, dict)]
    for cell in found:
        if isinstance(held := cell.get("outputs"), list):
            kept = [item for item in held if not any(problems(item, item["output_type"]))]
            outputs += len(held) - len(kept)
            cell["outputs"] = kept
    nodes = [(cell, f"{kind}_cell") for cell in found if (kind := cell.get("cell_type")) in ("code", "markdown", "raw")]
    for node, definition in [*nodes, (notebook, "")]:
        for problem in list(problems(node, definition)):
            match list(problem.path):
                case ["metadata", str(name), *_] if name in node["metadata"]:
                    del node["metadata"][name]
                    names.add(name)
    return [
        *([f"{outputs} stored outputs were not valid and were left out"] if outputs else []),
        *([f"metadata was not valid and was left out: {', '.join(sorted(names))}"] if names else []),
    ]


def _is_output(item: Any) -> bool:
    kinds = ("stream", "display_data", "execute_result", "error")
    return isinstance(item, dict) and item.get("output_type") in kinds


def _counted(what: str, changed: Iterable[int]) -> list[str]:
    number = sum(changed)
    return [f"{number} {what}"] if number else []


def _has_no_metadata(notebook: Any, found: list[Any]) -> list[bool]:
    changed = []
    for node in (notebook, *found):
        changed.append(not isinstance(node.get("metadata"), dict))
        if changed[-1]:
            node["metadata"] = {}
    return changed


def _completed(cell: Any) -> bool:
    if cell.get("cell_type") != "code":
        return False
    lacks = not isinstance(cell.get("outputs"), list) or "execution_count" not in cell
    if not isinstance(cell.get("outputs"), list):
        cell["outputs"] = []
    cell.setdefault("execution_count", None)
    return lacks


def _known_outputs(cell: Any) -> int:
    if cell.get("cell_type") != "code":
        return 0
    held = cell["outputs"]
    cell["outputs"] = [item for item in held if _is_output(item)]
    return len(held) - len(cell["outputs"])


def _without_outputs(cell: Any) -> bool:
    if cell.get("cell_type") not in ("markdown", "raw"):
        return False
    held = [name for name in ("outputs", "execution_count") if name in cell]
    for name in held:
        del cell[name]
    return bool(held)


def _sources(found: list[Any]) -> list[str]:
    """Replace what no message to a kernel and no file in UTF-8 can hold."""
    told = []
    for place, cell in enumerate(found):
        source = cell.get("source")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if isinstance(source, str) and _SURROGATES.search(source):
            cell["source"] = _SURROGATES.sub("\ufffd", source)
            told.append(f"cell {place} held half of a character (a lone surrogate), which was replaced by \ufffd")
    return told


def _identifiers(notebook: Any, found: list[Any]) -> list[str]:
    """Cells have ids from 4.5 on, and each its own."""
    minor = notebook.get("nbformat_minor")
    if not isinstance(minor, int) or isinstance(minor, bool) or minor < 0:
        minor = notebook["nbformat_minor"] = FIRST_WITH_IDS
    told = []
    if minor < FIRST_WITH_IDS and any("id" in cell for cell in found):
        told.append(f"cells have ids, which format 4.{minor} does not know; it is now 4.5")
        minor = notebook["nbformat_minor"] = FIRST_WITH_IDS
    if minor < FIRST_WITH_IDS:
        return told
    seen: set[str] = set()
    renamed = 0
    for place, cell in enumerate(found):
        name = cell.get("id")
        if not isinstance(name, str) or not _ID.fullmatch(name) or name in seen:
            renamed += "id" in cell
            name = _free(f"cell-{place}", seen, found)
            cell["id"] = name
        seen.add(name)
    if renamed:
        cells = "one cell" if renamed == 1 else f"{renamed} cells"
        told.append(f"the ids of {cells} were not valid, or were used twice, and are new")
    return told


def _free(wanted: str, seen: set[str], found: list[Any]) -> str:
    taken = seen | {cell["id"] for cell in found if isinstance(cell.get("id"), str)}
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
