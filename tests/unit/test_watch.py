"""Changes below a local folder are noticed, by the system's reports and without them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from lecoder_cgpu.files.watch import Watcher


def test_a_change_is_noticed(tmp_path: Path) -> None:
    """Something new, something written, something gone, also in a new folder; silence is silence."""
    (tmp_path / "old").write_text("x")
    told: list[str] = []
    with Watcher(str(tmp_path), told.append) as watcher:
        assert not watcher.wait(0.3)
        (tmp_path / "new").write_text("x")
        assert watcher.wait(20)
        (tmp_path / "old").write_text("y")
        assert watcher.wait(20)
        (tmp_path / "folder").mkdir()
        assert watcher.wait(20)
        (tmp_path / "folder" / "inside").write_text("z")
        assert watcher.wait(20)
        (tmp_path / "old").unlink()
        assert watcher.wait(20)
        assert not watcher.wait(0.3)
    assert told == []


def test_a_change_before_the_first_wait_counts(tmp_path: Path) -> None:
    """Watching begins with the watcher, not with the first question."""
    with Watcher(str(tmp_path), print) as watcher:
        (tmp_path / "new").write_text("x")
        time.sleep(0.2)
        assert watcher.wait(20)


def test_what_is_ignored_is_no_change(tmp_path: Path) -> None:
    """Ignored files change all the time; a change of the ignore files counts at once."""
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / ".git").mkdir()
    with Watcher(str(tmp_path), print) as watcher:
        (tmp_path / "a.log").write_text("x")
        (tmp_path / ".git" / "index").write_text("x")
        assert not watcher.wait(0.5)
        (tmp_path / ".gitignore").write_text("")
        assert watcher.wait(20)
        (tmp_path / "a.log").write_text("y")
        assert watcher.wait(20)


def test_without_reports_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no room for another watch, the user is told, and the files are looked at."""
    reporting = watchfiles.watch

    def exhausted(*paths: str, force_polling: bool | None = None, **options: Any) -> Iterator[set[Any]]:
        if not force_polling:
            raise OSError(28, "OS file watch limit reached")
        return reporting(*paths, force_polling=force_polling, **options)

    monkeypatch.setattr(watchfiles, "watch", exhausted)
    told: list[str] = []
    with Watcher(str(tmp_path), told.append) as watcher:
        (tmp_path / "new").write_text("x")
        assert watcher.wait(20)
    assert len(told) == 1
    assert "OS file watch limit reached" in told[0]


def test_the_library_comes_late() -> None:
    """Only a watched folder costs its import."""
    code = "import sys, lecoder_cgpu.files.watch, lecoder_cgpu.cli.commands.files\nprint('watchfiles' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
