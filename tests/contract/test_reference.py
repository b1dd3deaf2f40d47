"""What the program says about itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lecoder_cgpu import errors
from tests.contract.test_documents import validate
from tests.support.cli import Cli


def test_the_reference_covers_what_there_is(cli: Cli) -> None:
    """Every command that --help names, every code of the tree, and options with their values."""
    document = cli("reference", "--json").json
    names = {command["name"] for command in document["commands"]}
    assert {"run", "job wait", "sessions add", "reference"} <= names
    run = next(command for command in document["commands"] if command["name"] == "run")
    assert run["usage"] == "lecoder-cgpu run [OPTIONS] COMMAND..."
    assert 'lecoder-cgpu run "nvidia-smi | head -3"' in run["examples"]
    mode = next(option for option in run["options"] if "--mode" in option["names"])
    assert mode["value"] == "kernel|terminal"
    assert {item["code"] for item in document["errors"]} == {kind.code for kind in errors.tree()}
    assert {str(kind.exit_status) for kind in errors.tree()} <= set(document["exitCodes"])
    assert document["extras"]["local"] is True


@pytest.mark.parametrize("words", ["lecoder-cgpu jo", "lecoder-cgpu job wait --ti", "lecoder-cgpu run --ti"])
def test_completion(cli: Cli, words: str) -> None:
    """A shell is told what may follow."""
    last = words.split()[-1]
    done = subprocess.run(
        [sys.executable, "-m", "lecoder_cgpu"],
        capture_output=True,
        text=True,
        check=True,
        env=cli.environment(
            {"_LECODER_CGPU_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        ),
    )
    assert {"jo": "plain,job", "--ti": "plain,--timeout"}[last] in done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli: Cli, shell: str) -> None:
    """Each shell gets a script of its own on stdout."""
    script = cli("completion", shell)
    assert (script.code, script.err) == (0, "")
    assert f" __complete {shell} " in script.out


@pytest.mark.slow
def test_upgrade_only_looks(cli: Cli) -> None:
    """It tells how this copy was installed; an index without us is no error, and one that cannot be asked is."""
    found = cli("upgrade", "--check", "--json", env={"PIP_NO_INDEX": "1"})
    validate(found.json, "upgrade")
    assert (found.code, found.json["installed"], found.json["newer"]) == (0, "source", False)
    assert found.json["origin"].startswith("file://")
    assert "latest" not in found.json


def test_no_command_is_shown_twice(cli: Cli) -> None:
    """The reference is one document, and its commands have names of their own."""
    names = [command["name"] for command in json.loads(cli("reference", "--json").out)["commands"]]
    assert len(names) == len(set(names))
