"""A notebook as a file holds it, piece by piece: what `nbformat` writes, without a second copy of long outputs. Pure.

The form is the one that every other tool writes, so that files that differ in one line differ in one line for git, too:
keys in order, one space for each level, and text as a list of its lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PIECE = 1 << 20  # characters that are encoded at once
_OF_THE_FILE = ("orig_nbformat", "orig_nbformat_minor", "signature")  # what readers made up for themselves
_IN_LINES = ("application/javascript", "image/svg+xml")  # besides text/…


class _Lines(str):
    """Text that is written as a list of its lines."""

    __slots__ = ()


def pieces(notebook: Mapping[str, Any]) -> Iterator[bytes]:
    """The content of its file. A lone surrogate becomes an escape, which JSON allows and UTF-8 needs."""
    gathered: list[str] = []
    size = 0
    for text in _written(_shaped(notebook), "\n"):
        gathered.append(text)
        size += len(text)
        if size >= PIECE:
            yield _encoded("".join(gathered))
            gathered.clear()
            size = 0
    yield _encoded("".join(gathered) + "\n")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _shaped(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook with its texts marked that go in lines. Nothing of it is changed, and no text copied."""
    metadata = {name: value for name, value in notebook["metadata"].items() if name not in _OF_THE_FILE}
    return {**notebook, "metadata": metadata, "cells": [_cell(cell) for cell in notebook["cells"]]}


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    shaped = dict(cell)
    shaped["metadata"] = {name: value for name, value in cell["metadata"].items() if name != "trusted"}
    if isinstance(cell.get("source"), str):
        shaped["source"] = _Lines(cell["source"])
    if "attachments" in cell:
        shaped["attachments"] = {name: _bundle(item) for name, item in cell["attachments"].items()}
    if cell.get("cell_type") == "code":
        shaped["outputs"] = [_output(item) for item in cell["outputs"]]
    return shaped


def _output(output: Mapping[str, Any]) -> dict[str, Any]:
    kind = output["output_type"]
    if kind == "stream" and isinstance(output["text"], str):
        return {**output, "text": _Lines(output["text"])}
    if kind in ("execute_result", "display_data"):
        return {**output, "data": _bundle(output.get("data", {}))}
    return dict(output)


def _bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    return {mime: _Lines(value) if _goes_in_lines(mime, value) else value for mime, value in data.items()}


def _goes_in_lines(mime: str, value: Any) -> bool:
    return isinstance(value, str) and (mime.startswith("text/") or mime in _IN_LINES)


def _written(value: Any, margin: str) -> Iterator[str]:
    """JSON of a value; `margin` is the line end with the indentation of where it stands."""
    if isinstance(value, _Lines):
        start = "["
        for line in _lines(value):
            yield f"{start}{margin} {_dumped(line)}"
            start = ","
        yield margin + "]" if value else "[]"
    elif isinstance(value, Mapping) and value:
        yield "{"
        for number, name in enumerate(sorted(value)):
            yield f"{',' if number else ''}{margin} {_dumped(name)}: "
            yield from _written(value[name], margin + " ")
        yield margin + "}"
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and value:
        yield "["
        for number, item in enumerate(value):
            yield f"{',' if number else ''}{margin} "
            yield from _written(item, margin + " ")
        yield margin + "]"
    else:
        yield _dumped(value.decode("ascii") if isinstance(value, bytes) else value)


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends. Of long text, only a part is in memory once more."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE) + 1 or len(text)
        yield from text[start:end].splitlines(keepends=True)
        start = end


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ": "))
