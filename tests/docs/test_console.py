"""Every console block of every document does what the document says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.colab import logged_in
from tests.support.console import blocks, execute, matches

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.md")]
    if list(blocks(path.read_text()))
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small project, with the files that the documents speak of."""
    project = tmp_path / "project"
    (project / "out").mkdir(parents=True)
    (project / "train.py").write_text(
        "import os\nos.makedirs('out', exist_ok=True)\nopen('out/model.txt', 'w').write('m')\n"
    )
    (project / "data.csv").write_text("a,b\n1,2\n")
    (project / "requirements.txt").write_text("")
    (project / "analysis.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "id": "a", "execution_count": null, "metadata": {}, "outputs": [], '
        '"source": "print(1)"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    return project


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Logged in to a fake Colab, with our command on the PATH."""
    with FakeColab(tmp_path / "colab") as colab:
        cli = logged_in(Cli(tmp_path / "home"), colab)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        yield {**cli.environment(), "PATH": path}
        cli("sessions", "close", "--all")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of(document: str, folder: Path, environment: dict[str, str]) -> None:
    """They succeed, or print what the document shows."""
    problems = execute((ROOT / document).read_text(), folder, environment)
    assert not problems, "\n\n".join(problems)


def test_what_counts_as_the_same() -> None:
    """Three dots stand for anything, and nothing else does."""
    assert matches("a\nb\nc\n", "a\n...\nc")
    assert not matches("a\nb\n", "a\nc")
    assert not matches("", "a")
