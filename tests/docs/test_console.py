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
FROM_NOTHING = "README.md"  # the files that it speaks of are made by its own commands
OWN_FAKE = "python -m lecoder_cgpu.testing.colab"


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
    """That of a new user, with our command on the PATH."""
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    cli = Cli(tmp_path / "home")
    found = cli.environment()
    for ours in ("LECODER_CGPU_CONFIG_DIR", "LECODER_CGPU_KEEPER", "NO_COLOR"):
        del found[ours]
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    yield {**found, "TMPDIR": str(tmp_path / "tmp")}
    for record in tmp_path.rglob("keeper.json"):  # of a document that failed before its end
        cli("keeper", "stop", env={"LECODER_CGPU_CONFIG_DIR": str(record.parents[1])})


@pytest.fixture
def logged_in_environment(tmp_path: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The same for somebody who is logged in to a fake Colab."""
    with FakeColab(tmp_path / "colab") as colab:
        cli = logged_in(Cli(tmp_path / "home"), colab)
        yield {**cli.environment(), "PATH": environment["PATH"]}
        cli("sessions", "close", "--all")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of(document: str, folder: Path, request: pytest.FixtureRequest) -> None:
    """They succeed, or print what the document shows. What starts a fake Colab of its own finds nothing set."""
    text = (ROOT / document).read_text()
    starts_one = any(OWN_FAKE in step.command for block in blocks(text) for step in block)
    environment = request.getfixturevalue("environment" if starts_one else "logged_in_environment")
    if document == FROM_NOTHING:
        folder = folder.parent / "empty"
        folder.mkdir()
    problems = execute(text, folder, environment)
    assert not problems, "\n\n".join(problems)


def test_a_command_without_output_has_to_succeed(folder: Path, environment: dict[str, str]) -> None:
    """Its exit status counts; where output is shown, the output counts. Jobs that are left over are ended."""
    text = "```console\n$ sleep 1000 &\n$ false\n$ true\n$ echo seen; false\nseen\n```\n"
    (problem,) = execute(text, folder, environment)
    assert problem.startswith("$ false")


def test_what_counts_as_the_same() -> None:
    """Three dots stand for anything, and nothing else does."""
    assert matches("a\nb\nc\n", "a\n...\nc")
    assert not matches("a\nb\n", "a\nc")
    assert not matches("", "a")
