"""The notebooks that `notebook create` begins with."""

from __future__ import annotations

from typing import Any

NAMES = ("default", "gpu", "tpu")

_CELLS = {
    "default": [("markdown", "# {name}")],
    "gpu": [
        ("markdown", "# {name}\n\nFor a runtime with a GPU."),
        ("code", "!nvidia-smi"),
        ("code", "import torch\n\nprint(torch.cuda.is_available(), torch.cuda.device_count())"),
    ],
    "tpu": [
        ("markdown", "# {name}\n\nFor a runtime with a TPU."),
        ("code", "import os\n\nprint({{name: text for name, text in os.environ.items() if 'TPU' in name}})"),
        ("code", "import jax\n\nprint(jax.devices())"),
    ],
}
_METADATA: dict[str, dict[str, Any]] = {
    "default": {},
    "gpu": {"accelerator": "GPU", "colab": {"gpuType": "T4"}},
    "tpu": {"accelerator": "TPU"},
}


def notebook(template: str, name: str) -> dict[str, Any]:
    """A notebook of that name as JSON, made from the template `template` (one of `NAMES`)."""
    cells = []
    for kind, text in _CELLS[template]:
        cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text.format(name=name)}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    metadata = _METADATA[template]
    return {
        "nbformat": 4,
        "nbformat_minor": 0,
        "metadata": {
            **metadata,
            "colab": {"name": name, "provenance": [], **metadata.get("colab", {})},
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
        },
        "cells": cells,
    }
