"""The Tab key in real shells: files as without us, and what is stored here."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from lecoder_cgpu.cli import completing
from tests.support.cli import Cli
from tests.support.tmux import Tmux, needs_tmux


@pytest.fixture
def stored(cli: Cli) -> Cli:
    """Somebody with two sessions, a run, a profile and a notebook."""
    cli.state.mkdir(parents=True)
    (cli.state / "sessions.json").write_text(json.dumps([{"name": "train"}, {"name": "try it"}]))
    lines = [
        {"runId": "run-0123456789abcdef", "jobName": "night", "status": "ok"},
        {"runId": "run-fedc", "status": "ok"},
    ]
    (cli.state / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "torn")
    (cli.state.parent / "profiles.json").write_text(json.dumps({"profiles": {"work": {}}, "active": "default"}))
    cell = {"metadata": {"tags": ["parameters"]}, "source": ["rate: float = 0.1\n", "seed = 1  # of all\n"]}
    (cli.home / "nb.ipynb").write_text(json.dumps({"cells": [{"metadata": {}, "source": ""}, cell]}))
    return cli


def words(cli: Cli, *typed: str) -> list[str]:
    return [value for value, _ in completing.found(list(typed), str(cli.state.parent))]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["sta"], ["status"]),
        (["job", "w"], ["wait"]),
        (["sessions", "close", ""], ["train", "try it"]),
        (["-s", "t"], ["train", "try it"]),
        (["run", "--session=tra"], ["train"]),
        (["run", "--session", "=", "tra"], ["train"]),
        (["job", "logs", ""], ["run-fedc", "run-0123456789abcdef"]),
        (["run", "--gpu", "A"], ["A100"]),
        (["run", "--gpu", "L4,T"], ["L4,T4"]),
        (["--profile", ""], ["default", "work"]),
        (["--json", "run", "--kernel-name", "p"], ["python3"]),
        (["run", "--mo"], ["--mode"]),
        (["run", "-m", "k"], ["kernel"]),
        (["run", "train.py", "--ep"], []),
        (["run", "--", "s"], []),
        (["upload", "da"], []),
        (["copy"], []),
        (["run", "-f", ""], []),
        (["nonsense", ""], list(json.loads(Path(completing.TABLE).read_text())[""]["c"])),
    ],
)
def test_what_a_word_becomes(stored: Cli, typed: list[str], wanted: list[str]) -> None:
    assert words(stored, *typed) == wanted


def test_parameters_of_a_notebook(stored: Cli) -> None:
    """Those of the notebook that is named, with their defaults as explanation."""
    notebook = str(stored.home / "nb.ipynb")
    found = completing.found(["run", notebook, "-p", ""], str(stored.state.parent))
    assert found == [("rate=", "0.1"), ("seed=", "1  # of all")]


def test_nothing_stored_and_nothing_readable(cli: Cli, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong is no answer: a key that was pressed prints no error."""
    for line in ([], ["bash"], ["bash", str(cli.home), "job", "logs", ""], ["fish", "/dev/null", "-s", ""]):
        completing.answer(line)
    assert capfd.readouterr() == ("", "")


def test_the_accelerators_are_those_of_colab() -> None:
    from lecoder_cgpu.backends.colab import model

    assert completing.GPUS == model.GPUS
    assert tuple(map(model.typed_accelerator, completing.TPUS)) == ("V5E1", "V6E1", "V28")


@needs_tmux
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_tab_key(stored: Cli, shell: str, tmp_path: Path) -> None:
    """Installed, pressed, and taken away again, in the shell itself."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "lecoder-cgpu").write_text(f'#!/bin/sh\nexec {sys.executable} -m lecoder_cgpu "$@"\n')
    (tools / "lecoder-cgpu").chmod(0o755)
    (stored.home / "storm.csv").write_text("")
    (stored.home / f".{shell}rc").write_text("# mine\n")
    changed = stored("completion", "install", shell, "--json").json["changed"]
    environment = {**stored.environment(), "PATH": f"{tools}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TERM": "xterm"}
    terminal = Tmux(tmp_path / "socket", environment, 100, 24, f"cd {stored.home} && exec {shell}")
    try:
        for typed, shown in (("upload sto", "upload storm.csv"), ("sessions close tra", "sessions close train")):
            terminal.type(f"lecoder-cgpu {typed}")
            terminal.key("Tab")
            terminal.wait(f"lecoder-cgpu {shown}")
            terminal.key("C-u")
    finally:
        terminal.close()
    stored("completion", "uninstall", shell)
    assert [path for path in changed if Path(path).exists()] == [path for path in changed if path.endswith("rc")]
    assert (stored.home / f".{shell}rc").read_text() == "# mine\n"
