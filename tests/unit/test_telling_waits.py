"""Waits that nothing else tells of: for locks, answers, processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.cli import output
from lecoder_cgpu.cli.output import Printer
from lecoder_cgpu.system import atomic_files, waits


@pytest.fixture
def printer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Printer]:
    monkeypatch.setattr(output, "WAIT_LOOK", 0.02)
    printer = Printer("json")
    end = printer.watch_waits()
    yield printer
    end()


def test_the_longest_wait_is_told_now_and_then(printer: Printer, capfd: pytest.CaptureFixture[str]) -> None:
    with waits.on("an answer of example.com"):
        time.sleep(0.2)
        with waits.on("something within it"):
            time.sleep(0.02)
    told = capfd.readouterr().err.splitlines()
    assert 1 <= len(told) <= 4
    assert set(told) == {"waiting for an answer of example.com; 0 s so far"}
    assert waits.longest() is None


def test_short_waits_are_no_long_one(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(output, "WAIT_LOOK", 0.4)  # a busy machine takes longer for each than it was asked to
    end = Printer("json").watch_waits()
    for _ in range(60):
        with waits.on("an answer"):
            time.sleep(0.02)
    end()
    assert capfd.readouterr().err == ""


def test_what_is_told_already_is_not_told_twice(printer: Printer, capfd: pytest.CaptureFixture[str]) -> None:
    with printer.reporting(lambda: "starting a machine …"), waits.on("an answer"):
        time.sleep(0.2)
    assert {line.partition(" …")[0] for line in capfd.readouterr().err.splitlines()} == {"starting a machine"}


def test_who_waits_for_a_lock_says_so(printer: Printer, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    holder = (
        "import time; from pathlib import Path; from lecoder_cgpu.system.atomic_files import lock\n"
        f"with lock(Path({str(tmp_path / 'file')!r})): print('held', flush=True); time.sleep(0.3)"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with atomic_files.lock(tmp_path / "file", wait=20):
            pass
    assert f"waiting for another process, which holds {tmp_path / 'file.lock'}" in capfd.readouterr().err
