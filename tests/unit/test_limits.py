"""What needs no runtime: limits in virtual time, bounds of recordings, progress."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.guest import progress
from lecoder_cgpu.guest.limits import RunLimits
from lecoder_cgpu.guest.recording import LIMIT_VARIABLE, Recording
from lecoder_cgpu.guest.runs import Run

HOUR = 3600.0


def lived(limits: RunLimits, output_at: list[float], until: float) -> tuple[float, str] | None:
    """When, and by which limit, work is ended that prints at these moments and would take `until`; in virtual time."""
    now, active = 0.0, 0.0
    while now < until:
        upcoming = min((moment for moment in output_at if moment > now), default=until)
        alarm = limits.next(active)
        if alarm is not None and alarm <= upcoming:
            now = alarm
            if (reached := limits.reached(now, active)) is not None:
                return now, reached
            continue
        now = active = upcoming
    return None


@pytest.mark.parametrize(
    ("timeout", "idle", "output_at", "expected"),
    [
        (None, None, [], None),
        (2 * HOUR, None, [], (2 * HOUR, "timeout")),
        (2 * HOUR + 1, None, [], None),
        (2 * HOUR, 600, [60.0 * minute for minute in range(120)], (2 * HOUR, "timeout")),
        (None, 600, [60.0 * minute for minute in range(120)], None),
        (None, 600, [60.0 * minute for minute in range(61)], (HOUR + 600, "idle-timeout")),
        (None, 600, [], (600, "idle-timeout")),
        (600, 600, [], (600, "timeout")),
    ],
)
def test_two_hours_of_work(
    timeout: float | None, idle: float | None, output_at: list[float], expected: tuple[float, str] | None
) -> None:
    """Each limit ends a job at its very moment, and not before; output puts off silence only."""
    assert lived(RunLimits(timeout, idle, 0.0), output_at, 2 * HOUR + 0.5) == expected


def add(recording: Recording, kind: str, **content: Any) -> None:
    recording.add(kind, json.dumps({"msg_type": kind}).encode(), b"{}", b"{}", json.dumps(content).encode())


def test_a_recording_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound, output is counted and not kept; how the run ended is kept in any case."""
    monkeypatch.setenv(LIMIT_VARIABLE, "20000")
    folder = tmp_path / "run-0123456789abcdef"
    folder.mkdir()
    recording = Recording(str(folder), "kernel", None)
    add(recording, "status", execution_state="busy")
    add(recording, "execute_input", code="loop()")
    for _ in range(1000):
        add(recording, "stream", name="stdout", text="x" * 100)
    failure = {"ename": "ValueError", "evalue": "at the end", "traceback": ["line"] * 100_000}
    add(recording, "error", **failure)
    recording.take_reply({"status": "error", **failure})
    add(recording, "status", execution_state="idle")
    recording.finish()
    result = json.loads((folder / "result.json").read_text())
    assert (result["exit"], result["error"]["ename"]) == (1, "ValueError")
    assert len(json.dumps(result)) < 1 << 20
    assert result["bytesDropped"] > 80_000
    stdout = (folder / "stdout").read_bytes()
    assert stdout == b"x" * result["stdoutBytes"]
    lines = (folder / "messages").read_bytes().splitlines(keepends=True)
    kept = [json.loads(line) for line in lines]
    assert sum(len(item["content"].get("text", "")) for item in kept) == len(stdout)
    assert len(stdout) + sum(map(len, lines[:-2])) < 20_000
    assert kept[-1]["content"] == {"execution_state": "idle"}


@pytest.mark.parametrize(
    ("text", "line", "percent"),
    [
        ("epoch 1\nepoch 2 loss 0.5\n", "epoch 2 loss 0.5", None),
        ("  0%|  |\r 50%|##|\r\x1b[32m100%|####|\x1b[0m", "100%|####|", 100.0),
        ("12.5 % done\nsaving\n", "saving", 12.5),
        ("usage 250% of a core\n", "usage 250% of a core", None),
        ("\n\n", None, None),
    ],
)
def test_progress_is_what_was_printed(tmp_path: Path, text: str, line: str | None, percent: float | None) -> None:
    """The last line as a terminal would show it, and the last percentage near it; nothing is made up."""
    (tmp_path / "stdout").write_text(text, newline="")
    found = progress.of(Run("run-0123456789abcdef", str(tmp_path)))
    if line is None:
        assert found is None
        return
    assert found is not None
    assert (found["line"], found.get("percent")) == (line, percent)
