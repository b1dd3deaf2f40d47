"""The notebooks that `notebook create` begins with."""

from __future__ import annotations

import json

import pytest

from lecoder_cgpu.notebooks import document, kernels, templates


@pytest.mark.parametrize("template", templates.NAMES)
def test_every_template_is_a_notebook(template: str) -> None:
    """It is valid, for Python, and carries its name."""
    made = templates.notebook(template, "Trial 1")
    read = document.parse(json.dumps(made).encode(), "trial.ipynb")
    assert kernels.language(read) == "python"
    assert made["metadata"]["colab"]["name"] == "Trial 1"
    assert read.cells
