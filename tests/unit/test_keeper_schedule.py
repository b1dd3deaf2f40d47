"""`keeper install --print`: what each scheduler is given is what it can read, whatever the paths are called."""

from __future__ import annotations

import plistlib
import shlex
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lecoder_cgpu.cli import keeper_schedule
from lecoder_cgpu.models.keeper import Scheduler

COMMAND = ["/opt/my tools/python", "-m", "lecoder_cgpu", "--profile", "100% mine", "keeper", "tick"]
VARIABLES = {"LECODER_CGPU_CONFIG_DIR": "/home/ada/a b$c"}


def printed(kind: Scheduler) -> str:
    return keeper_schedule.text(kind, COMMAND, VARIABLES, "/home/ada")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd reads its own files")
def test_a_unit_that_systemd_takes(tmp_path: Path) -> None:
    """systemd finds nothing wrong with both files; its words and variables are ours."""
    text = printed("systemd").replace(COMMAND[0], shutil.which("env") or "")
    files = text.split("# /home/ada/.config/systemd/user/")[1:]
    paths = []
    for part in files:
        name, _, content = part.partition("\n")
        paths.append(tmp_path / name)
        paths[-1].write_text(content)
    assert [path.suffix for path in paths] == [".service", ".timer"]
    checked = subprocess.run(["systemd-analyze", "--user", "verify", *paths], capture_output=True, text=True)
    problems = [line for line in checked.stderr.splitlines() if keeper_schedule.NAME in line]
    assert problems == []
    assert '"100%% mine"' in text
    assert 'Environment="LECODER_CGPU_CONFIG_DIR=/home/ada/a b$c"' in text


def test_a_line_for_cron() -> None:
    """A percent sign would end the command in a crontab."""
    line = printed("cron").splitlines()[1]
    assert line.startswith("* * * * * ")
    words = shlex.split(line.removeprefix("* * * * * ").replace("\\%", "%"))
    assert words == ["LECODER_CGPU_CONFIG_DIR=/home/ada/a b$c", *COMMAND, ">/dev/null", "2>&1"]
    assert line.count("%") == line.count("\\%")


def test_an_agent_for_launchd() -> None:
    """The property list has the words and variables as they are."""
    agent = plistlib.loads(printed("launchd").partition("<!--")[0].encode())
    assert (agent["ProgramArguments"], agent["EnvironmentVariables"]) == (COMMAND, VARIABLES)


def test_a_task_for_windows() -> None:
    """XML that can be read, with one command line."""
    root = ElementTree.fromstring(printed("windows"))
    call = root.findtext(".//{*}Arguments")
    assert call is not None
    assert call.startswith('/d /c "set "LECODER_CGPU_CONFIG_DIR=/home/ada/a b$c" && "/opt/my tools/python" -m')
    assert '"100% mine" keeper tick"' in call


@pytest.mark.parametrize(
    ("platform", "systemd", "kind"),
    [("linux", True, "systemd"), ("linux", False, "cron"), ("darwin", False, "launchd"), ("win32", False, "windows")],
)
def test_each_system_has_its_own(platform: str, systemd: bool, kind: str) -> None:
    assert keeper_schedule.kind_of(platform, systemd=systemd) == kind
