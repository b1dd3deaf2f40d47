"""A folder with what the twelve kinds of task need: a large file, many small ones, and a notebook with a parameter."""

from __future__ import annotations

import json
from pathlib import Path

LINES = 150_000  # that are to be printed
SIZE = 12_000_000  # bytes of `big.bin`, all below 250
FILES = 300  # in `many`


def prepare(folder: Path) -> None:
    """Make the folder."""
    (folder / "many").mkdir(parents=True)
    for number in range(FILES):
        (folder / "many" / f"{number}.txt").write_text(str(number))
    (folder / "big.bin").write_bytes(bytes(range(250)) * (SIZE // 250))
    cells: list[dict[str, object]] = [
        {"cell_type": "code", "id": name, "metadata": {"tags": tags}, "source": source}
        | {"outputs": [], "execution_count": None}
        for name, tags, source in (("a", ["parameters"], "rate = 1"), ("b", [], "1 / rate"))
    ]
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "train.ipynb").write_text(json.dumps(content))
