"""Twelve tasks of an agent that has read the page, as a transcript: each right, in few calls, with little to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli, Result
from tests.support.colab import logged_in

CALLS = 12  # for the first ten tasks
BYTES = 12_000  # of stdout, for the first ten tasks
TRAIN = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
epochs = parser.parse_args().epochs
for epoch in range(epochs):
    print(f"epoch {epoch + 1}/{epochs}")
os.makedirs("out", exist_ok=True)
open("out/model.bin", "wb").write(bytes(range(256)))
"""


class Transcript:
    """Runs commands, and counts them and what an agent has to read."""

    def __init__(self, cli: Cli) -> None:
        self.cli, self.calls, self.bytes = cli, 0, 0

    def __call__(self, *words: str, code: int = 0) -> Result:
        result = self.cli(*words)
        assert result.code == code, (words, result)
        self.calls, self.bytes = self.calls + 1, self.bytes + len(result.out)
        return result

    def ask(self, *words: str, code: int = 0) -> Any:
        return self("--json", *words, code=code).json


@pytest.fixture
def agent(colab: FakeColab, colab_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transcript]:
    folder = colab_cli.home / "project"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    cells: list[dict[str, object]] = [
        {"cell_type": kind, "id": f"c{number}", "metadata": {}, "source": source}
        | ({"outputs": [], "execution_count": None} if kind == "code" else {})
        for number, (kind, source) in enumerate(
            [("markdown", "# t"), ("code", "print('loaded 3 rows')"), ("code", "1/0"), ("code", "print('never')")]
        )
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "analysis.ipynb").write_text(json.dumps(notebook))
    monkeypatch.chdir(folder)
    yield Transcript(colab_cli)
    colab_cli("sessions", "close", "--all")


def test_twelve_tasks(agent: Transcript, colab: FakeColab, tmp_path: Path) -> None:
    """Ten of them in at most twelve calls and 12 kB."""
    # 1. A GPU: which one, and does Python run there?
    assert agent("run", "--gpu", "Tesla T4", "-m", "kernel", "x = 6; print(x)").out == "6\n"
    # 2. Go on with the variables.
    assert agent("run", "-m", "kernel", "print(x * 7)").out == "42\n"
    # 3. A script of mine, with its arguments.
    assert "epoch 2/2" in agent("run", "train.py", "--epochs", "2").out
    # 4. Why does this fail, and what kind of failure is it?
    failed = agent.ask("run", "-m", "kernel", "import surely_not_there", code=1)
    assert (failed["errorCode"], failed["error"]["suggestion"]) == (1005, "pip install surely-not-there")
    # 5. Train in the background with my files, and bring the result.
    agent("run", "--sync", ".", "--pull", "out", "--detach", "--name", "train", "python", "train.py", "--epochs", "3")
    ended = agent.ask("job", "wait", "train", "--timeout", "100")
    assert (ended["exitCode"], ended["lastLine"], ended["pulled"][0]["path"]) == (0, "epoch 3/3", "out")
    assert Path("out/model.bin").read_bytes() == bytes(range(256))
    # 6. Exactly these bytes.
    assert agent("run", "printf 'a\\tb\\r\\nc'").out == "a\tb\r\nc"
    # 7. A notebook: which cell failed, and what came before?
    notebook = agent.ask("run", "analysis.ipynb", code=1)
    assert (notebook["failedCell"], notebook["failedCodeCell"], notebook["failedCellId"]) == (2, 1, "c2")
    assert (notebook["lastOutput"], notebook["error"]["name"]) == ("loaded 3 rows", "ZeroDivisionError")
    # 8. End what runs too long.
    agent("run", "--detach", "--key", "slow", "sleep 600")
    assert agent.ask("job", "kill", "--all")["jobs"][0]["job"]["name"] == "slow"
    # 9. What failed here lately?
    (entry,) = agent.ask("logs", "--status", "error", "-n", "1")
    assert entry["error"]["ename"] in ("ZeroDivisionError", "CommandFailed", "Terminated", "Stopped")
    # 10. What does an error code mean?
    assert agent.ask("reference", "error", "2003")["retryable"] is True
    assert agent.calls <= CALLS
    assert agent.bytes <= BYTES
    # 11. Another machine takes it over: what runs there?
    other = Transcript(logged_in(Cli(tmp_path / "other"), colab))
    adopted = other.ask("sessions", "adopt", colab.vm.endpoint, "--name", "mine")
    assert {"train", "slow"} <= {job.get("name") for job in adopted["jobs"]}
    # 12. Stop paying, and prove it.
    proof = agent.ask("sessions", "close", "--all")
    assert (proof["held"], proof["wholeAccount"], colab.vms) == ([], True, {})
