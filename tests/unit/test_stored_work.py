"""Secrets among the words of a command: left out of plans and of the log, and put in again to run a job again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lecoder_cgpu.cli import secret_arguments
from lecoder_cgpu.cli.app import shown
from lecoder_cgpu.files import withheld
from lecoder_cgpu.files.ignore import Ignore
from lecoder_cgpu.guest.store import RunStore
from lecoder_cgpu.runs import stored_work
from lecoder_cgpu.runs.job_plans import Work

SECRETS = {"A": "zq9secret", "LONG": "zq9secretvalue", "NONE": "", "NAMED": "LONG"}


def test_values_are_left_out_and_put_in_again() -> None:
    """The longest one first; a name that is another's value stays a name; the rest of the work stays as it is."""
    words = ["echo", "zq9secretvalue:zq9secret", "LONG *** caf\udce9"]
    work = Work(command=words, typed=" ".join(words), environment={"X": "=zq9secret"}, cwd="w")
    kept = stored_work.without_values(work, SECRETS)
    assert "zq9" not in repr(kept)
    assert stored_work.without_values(kept, SECRETS) == kept
    assert stored_work.with_values(kept, SECRETS) == work
    assert stored_work.shown(kept.command) == ["echo", "***:***", "*** *** caf\udce9"]
    rotated = stored_work.with_values(kept, SECRETS | {"LONG": "new"})
    assert rotated.command == ["echo", "new:zq9secret", "LONG *** caf\udce9"]
    assert stored_work.without_values(work, {}) is work


def test_what_the_helper_writes_down_of_a_command() -> None:
    """Also percent-encoded; what is executed goes another way."""
    note = RunStore._note({"shell": "echo a%2Fbcdefg a/bcdefg", "argv": None, "label": "a/bcdefg"}, {"a/bcdefg"})
    assert (note["shell"], note["argv"], note["label"]) == ("echo *** ***", None, "***")
    assert RunStore._note({"argv": ["echo", "a/bcdefg"]}, {"a/bcdefg"})["argv"] == ["echo", "***"]


@pytest.mark.parametrize("options", [["--secret", "TOKX"], ["--secret=TOKX"], ["--secrets-file", "my.env"]])
def test_the_log_of_a_command_line(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins before options are understood, and knows their values nevertheless, however short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKX", "zq9")
    (tmp_path / "my.env").write_text("TOKX='zq9'\n")
    kept = shown(["run", *options, "echo zq9; sleep 2"])
    assert (kept[0], kept[-1]) == ("run", "echo ***; sleep 2")


def test_the_log_where_a_value_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From stdin, a pipe or a file that cannot be understood: then nothing but options is written down."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.env").write_text("= zq9\n")
    for given in ("--secret=X=-", "--secrets-file=nowhere.env", "--secrets-file=bad.env"):
        words = ["run", "--cpu", given, "echo zq9"]
        assert secret_arguments.hidden(words, words) == ["run", "--cpu", "***", "***"]


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_files_of_secrets_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ignore files say, and by whichever way to the folder and to the file they were named."""
    monkeypatch.setattr(withheld, "_paths", set())
    folder = tmp_path / "code"
    (folder / "conf").mkdir(parents=True)
    for name in ("conf/my.env", "other.env", "real.env"):
        (folder / name).write_text("A=1\n")
    (folder / ".gitignore").write_text("!my.env\n")
    (folder / "link.env").symlink_to("real.env")
    (tmp_path / "way").symlink_to(folder)
    assert withheld.told(str(folder)) is None
    for name in ("way/conf/my.env", "code/link.env", "code", "nowhere"):
        withheld.add(str(tmp_path / name))
    for way in ("code", "way"):
        assert withheld.below(str(tmp_path / way)) == {"conf/my.env", "link.env", "real.env"}
    ignore = Ignore(str(folder))
    assert [ignore(name, False) for name in ("conf/my.env", "real.env", "other.env")] == [True, True, False]
    assert withheld.below(str(tmp_path / "conf")) == set()
