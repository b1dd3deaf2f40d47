"""An agent that knows only docs/agents.md does its work with the commands that are printed there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.e2e.test_install import MODULE, wheel
from tests.support.cli import Cli

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text("utf-8")
KNOWN = set(re.findall(r"(?<![\w-])-[\w-]+", PAGE))


class Agent:
    """Runs commands of the page only, reads JSON only, and counts what it has to read."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.bytes = 0

    def __call__(self, line: str, code: int = 0) -> Any:
        words = shlex.split(line)
        verb = " ".join(words[: 2 if words[0] in ("sessions", "job", "logs", "debug", "kernel") else 1])
        assert f"lecoder-cgpu {verb.removesuffix(' -n')}" in PAGE, f"the page does not print {verb}"
        assert {word for word in words if re.fullmatch(r"--?[a-z][\w-]*", word)} <= KNOWN, line
        result = self.cli("--json", *words)
        assert result.code == code, result
        self.bytes += len(result.out)
        return result.json


@pytest.fixture(params=["colab", "local"])
def agent(request: pytest.FixtureRequest, colab: FakeColab, colab_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Any:
    """On a fake Colab, and on the local backend."""
    if request.param == "local":
        colab_cli.variables["LECODER_CGPU_BACKEND"] = "local"
    folder = colab_cli.home / "project"
    folder.mkdir()
    (folder / "train.py").write_text(
        "import os\nos.makedirs('out', exist_ok=True)\nopen('out/model.txt', 'w').write('m')\n"
    )
    monkeypatch.chdir(folder)
    yield Agent(colab_cli)
    colab_cli("sessions", "close", "--all")


def test_a_day_of_an_agent(agent: Agent, colab: FakeColab, tmp_path: Path) -> None:
    """Install and retry, train in the background, recover from a loss, look back, stop everything."""
    on_colab = "LECODER_CGPU_BACKEND" not in agent.cli.variables
    spent: dict[str, int] = {}

    def done(task: str) -> None:
        spent[task], agent.bytes = agent.bytes, 0

    # A missing package: the suggestion is a command, and then it works.
    missing = agent(f"run -m kernel 'import {MODULE}'", code=1)
    assert (missing["errorCode"], missing["error"]["category"]) == (1005, "import")
    assert missing["error"]["suggestion"].startswith("pip install ")
    assert missing["error"]["billing"] == ("running" if on_colab else "none")
    agent(f"run 'pip install -q --no-deps {wheel(tmp_path, '1.0')}'")
    assert agent(f"run -m kernel 'import {MODULE}; print({MODULE}.version)'")["stdout"] == "1.0\n"
    agent("run 'pip uninstall -q -y lecoder-cgpu-probe'")
    done("install and retry")

    # Training in the background.
    agent("upload train.py")
    job = agent("run --detach --key train-1 python train.py")["jobId"]
    assert agent("run --detach --key train-1 python train.py")["jobId"] == job
    assert agent(f"job wait {job} --timeout 100")["job"]["exitCode"] == 0
    agent("download out/model.txt")
    assert Path("model.txt").read_text() == "m"
    done("train in the background")

    # The runtime is lost. A plain run gets another one and says so.
    if on_colab:
        agent("run -m kernel 'x = 1'")
        colab.kill()
        again = agent("run -m kernel 'print(1)'")
        assert "is gone" in again["notice"]
        done("recover from a loss")

    # Why did it fail?
    agent("run -m kernel '1/0'", code=1)
    entry = agent("logs --status error")[0]
    assert (entry["error"]["ename"], entry["command"]) == ("ZeroDivisionError", "1/0")
    assert any("1/0" in line for line in entry["error"]["traceback"])
    done("why it failed")

    # Stop everything, and see that nothing costs any more.
    assert agent("sessions close --all")["deleted"] is True
    assert agent("sessions list") == []
    status = agent("status")
    assert (status["runtimes"], status["sessions"]["total"]) == ([], 0)
    if on_colab:
        assert status["units"]["perHour"] == 0
        assert not colab.vms
    done("stop and prove it")

    assert sum(spent.values()) < 40_000, spent  # what an agent has to read for all of it
