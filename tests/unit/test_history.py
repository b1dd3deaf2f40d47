"""The history: appending under concurrency and violence, reading from the end, filters, and what is kept of a run."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu import errors
from lecoder_cgpu.history.entries import MAX_COMMAND, MAX_TEXT, History, bounded, entry_from_run, parse_since
from lecoder_cgpu.models.base import ErrorInfo, Timing, timestamp
from lecoder_cgpu.models.history import HistoryEntry, HistoryError, HistoryRuntime
from lecoder_cgpu.models.runs import DisplayData, Run
from lecoder_cgpu.system import atomic_files, redaction

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
RUNTIME = HistoryRuntime(label="Colab GPU T4", accelerator="T4")

PREDECESSOR = """{"status":"error","execution_count":12,"stdout":"","stderr":"","traceback":["line"],
"display_data":[{"data":{"text/plain":"x"},"metadata":{},"transient":{}}],
"error":{"ename":"KeyError","evalue":"'lr'","traceback":["line"]},
"timing":{"started":"2026-01-01T00:00:00.000Z","completed":"2026-01-01T00:00:00.051Z","duration_ms":51},
"id":"5f0d0f0e-0000-4000-8000-000000000001","timestamp":"2026-01-01T00:00:00.051Z","command":"cfg['lr']",
"mode":"kernel","runtime":{"label":"Colab GPU T4","accelerator":"T4"},"errorCategory":"runtime"}""".replace("\n", "")

# Appends COUNT entries named after the process; the arguments: folder, name, count, size of output, max_bytes.
WRITER = """
import sys
from pathlib import Path
from lecoder_cgpu.history.entries import History
from lecoder_cgpu.models.base import now
from lecoder_cgpu.models.history import HistoryEntry, HistoryRuntime
folder, name, count, size, max_bytes = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
history = History(folder, max_bytes=max_bytes)
for number in range(count):
    history.append(HistoryEntry(
        id=f"{name}-{number}", status="ok", timestamp=now(), command="1", mode="kernel", stdout="x" * size,
        runtime=HistoryRuntime(label="l", accelerator="a"),
    ))
"""


def entry(number: int, moment: datetime = NOW, **changes: object) -> HistoryEntry:
    values: dict[str, object] = {
        "id": f"id-{number}",
        "status": "ok",
        "timestamp": timestamp(moment + timedelta(seconds=number)),
        "command": f"print({number})",
        "mode": "kernel",
        "runtime": RUNTIME,
    }
    return HistoryEntry(**{**values, **changes})  # type: ignore[arg-type]


def run(**changes: object) -> Run:
    values: dict[str, object] = {"status": "ok", "error_code": 0, "exit_code": 0, "mode": "kernel"}
    return Run(**{**values, **changes})  # type: ignore[arg-type]


def writer(folder: Path, name: str, count: int, size: int = 10, max_bytes: int = 2**30) -> subprocess.Popen[bytes]:
    arguments = [str(folder), name, str(count), str(size), str(max_bytes)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stderr=subprocess.PIPE)


def finish(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "state")


# --- appending ---


def test_entries_come_back_newest_first_from_private_files(history: History) -> None:
    """What is appended is read back, newest first; the file and its folder are for their owner only."""
    for number in range(5):
        history.append(entry(number))
    assert [item.id for item in history.entries(3)] == ["id-4", "id-3", "id-2"]
    assert history.entries(None) == [entry(number) for number in reversed(range(5))]
    assert history.entries(0) == []
    if os.name == "posix":
        assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(history.folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_a_file_that_everybody_could_read_becomes_private(history: History) -> None:
    """The predecessor's history is 0644; the first append makes it 0600."""
    history.folder.mkdir(mode=0o700)
    history.path.write_text(PREDECESSOR + "\n")
    history.path.chmod(0o644)
    history.append(entry(1))
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
    assert len(history.entries()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes", [2**30, 20_000])
def test_fifty_processes_append_at_once(history: History, max_bytes: int) -> None:
    """Fifty real processes lose and tear nothing, also while the file is rotated under them."""
    finish([writer(history.folder, f"w{number}", 20, 300, max_bytes) for number in range(50)])
    found = [item.id for item in history.entries(None)]
    assert len(found) == 1000
    assert set(found) == {f"w{name}-{number}" for name in range(50) for number in range(20)}
    assert history.damaged == 0
    rotated = list(history.folder.glob("history-*.jsonl"))
    assert bool(rotated) == (max_bytes < 2**30)


@pytest.mark.slow
def test_readers_see_everything_while_files_are_rotated(history: History) -> None:
    """An entry that was there before the reading began is in the result, once, however often the file is rotated."""
    atomic_files.ensure_dir(history.folder)
    for number in range(50):
        history.append(entry(number))
    busy = [writer(history.folder, f"w{number}", 300, 300, 5_000) for number in range(2)]
    rounds = 0
    while rounds < 3 or any(process.poll() is None for process in busy):
        found = [item.id for item in history.entries(None)]
        assert {f"id-{number}" for number in range(50)} <= set(found)
        assert len(set(found)) == len(found)
        rounds += 1
    finish(busy)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_writers_leave_a_readable_file(history: History) -> None:
    """Writers that are killed at random moments cost at most the line that each was writing."""
    dice = random.Random(1)
    atomic_files.ensure_dir(history.folder)
    for turn in range(8):
        doomed = [writer(history.folder, f"t{turn}w{number}", 10**6, 60_000, 3_000_000) for number in range(2)]
        deadline = time.monotonic() + 60
        while not history.entries(1) or not history.entries(1)[0].id.startswith(f"t{turn}"):
            assert time.monotonic() < deadline
        for process in doomed:
            time.sleep(dice.random() / 50)
            process.send_signal(signal.SIGKILL)
            process.communicate()
    history.append(entry(1, datetime.now(UTC) + timedelta(hours=1)))
    assert history.entries(1)[0].id == "id-1"
    found = [item.id for item in history.entries(None)]
    assert history.damaged <= 16
    for name in {identifier.partition("-")[0] for identifier in found if identifier.startswith("t")}:
        kept = sorted(int(item.partition("-")[2]) for item in found if item.startswith(name + "-"))
        assert kept == list(range(kept[0], kept[-1] + 1))  # none in the middle is missing


@pytest.mark.parametrize("torn", [b'{"status":"ok","id":"to', b'{"status":"ok"}', b"\xff\xfe", b"x"])
def test_a_torn_last_line_damages_no_other(history: History, torn: bytes) -> None:
    """After a piece without a newline the next entry stands on a line of its own."""
    history.append(entry(1))
    with history.path.open("ab") as file:
        file.write(torn)
    history.append(entry(2))
    history.append(entry(3))
    assert [item.id for item in history.entries()] == ["id-3", "id-2", "id-1"]
    assert history.damaged == 1


@pytest.mark.skipif(os.name != "posix", reason="needs a second writer inside the call")
def test_a_line_torn_between_look_and_write_damages_no_other(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is killed after we looked at the end and before we write does not take our entry with it."""
    history.append(entry(1))
    write = os.write
    pieces = [b'{"status":"ok","id":"to']

    def other_writer_first(descriptor: int, content: bytes) -> int:
        if pieces:
            with history.path.open("ab") as file:
                file.write(pieces.pop())
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", other_writer_first)
    history.append(entry(2))
    assert [item.id for item in history.entries()] == ["id-2", "id-1"]
    assert history.damaged == 1


def test_old_segments_go_when_there_are_too_many(tmp_path: Path) -> None:
    """Whole segments are deleted, the oldest first, and nothing that is not a segment."""
    history = History(tmp_path / "state", max_bytes=2_000, max_total=8_000)
    atomic_files.ensure_dir(history.folder)
    mine = history.folder / "history-backup.jsonl"
    mine.write_text("mine")
    for number in range(200):
        history.append(entry(number))
    sizes = [path.stat().st_size for path in history.folder.glob("history-2*.jsonl")]
    assert 4_000 < sum(sizes) <= 8_000
    found = [item.id for item in history.entries(None)]
    assert found == [f"id-{number}" for number in range(199, 199 - len(found), -1)]
    assert len(found) > 20
    history.clear()
    assert history.entries() == []
    assert mine.read_text() == "mine"


def test_segments_keep_their_order_when_the_clock_goes_back(tmp_path: Path) -> None:
    """A new segment sorts after those there are, so that the newest is never taken for the oldest."""
    history = History(tmp_path / "state", max_bytes=100)
    atomic_files.ensure_dir(history.folder)
    (history.folder / "history-29990101T000000Z-007.jsonl").write_bytes(msgspec.json.encode(entry(0)) + b"\n")
    for number in range(1, 4):
        history.append(entry(number))
    names = sorted(path.name for path in history.folder.glob("history-*.jsonl"))
    assert names == [f"history-29990101T000000Z-{number:03d}.jsonl" for number in range(7, 11)]
    assert [item.id for item in history.entries()] == ["id-3", "id-2", "id-1", "id-0"]


# --- a disk that refuses ---


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_config_error(history: History) -> None:
    """The error names the file and says what to do; the caller still has the run's result."""
    atomic_files.ensure_dir(history.folder)
    history.path.symlink_to("/dev/full")
    with pytest.raises(errors.ConfigError, match=r"history\.jsonl.*[Nn]o space") as caught:
        history.append(entry(1))
    assert caught.value.hint


def test_files_that_cannot_be_used_are_config_errors(tmp_path: Path) -> None:
    """A file where the folder should be, and a folder where the file should be, are errors and not empty."""
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.ConfigError):
        History(tmp_path / "file").append(entry(1))
    with pytest.raises(errors.ConfigError):
        History(tmp_path / "file").entries()
    (tmp_path / "state" / "history.jsonl").mkdir(parents=True)
    with pytest.raises(errors.ConfigError):
        History(tmp_path / "state").append(entry(1))
    with pytest.raises(errors.ConfigError):
        History(tmp_path / "state").entries()


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_a_read_only_folder_is_a_config_error() -> None:
    """Who may not write gets an error to act on, and what is there can still be read."""
    code = """
import os, sys
from pathlib import Path
from lecoder_cgpu import errors
from lecoder_cgpu.history.entries import History
if os.getuid() == 0:  # root may write everywhere
    os.setuid(65534)
history = History(Path(sys.argv[1]))
[entry] = history.entries()
try:
    history.append(entry)
except errors.ConfigError as error:
    print(error.message, "|", error.hint)
"""
    folder = Path(tempfile.mkdtemp())  # unlike the folder above tmp_path, it can be opened to the other user
    try:
        history = History(folder / "state")
        history.append(entry(1))
        if os.getuid() == 0:
            for path in (folder, history.folder, history.path):
                os.chown(path, 65534, 65534)
        history.folder.chmod(0o500)
        command = [sys.executable, "-B", "-c", code, str(history.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "cannot be written | chmod u+rwx" in done.stdout, done.stderr
    finally:
        (folder / "state").chmod(0o700)
        shutil.rmtree(folder)


def test_a_rotation_that_fails_does_not_fail_the_append(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is on disk by then, so the append is a success; the next one rotates."""

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, "a reader has it open")

    small = History(history.folder, max_bytes=10)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        small.append(entry(1))
    assert [item.id for item in small.entries()] == ["id-1"]
    small.append(entry(2))
    assert len(list(history.folder.glob("history-*.jsonl"))) == 1
    assert len(small.entries()) == 2


# --- reading ---


@pytest.mark.slow
def test_the_last_ten_of_many_touch_only_the_end(history: History) -> None:
    """Reading ten of 200,000 entries reads as much as reading ten of 2,000, and never the older segment."""
    atomic_files.ensure_dir(history.folder)
    lines = [msgspec.json.encode(entry(number)) for number in range(200_000)]
    history.path.write_bytes(b"\n".join(lines[-2_000:]) + b"\n")
    few = history.entries(10)
    few_bytes = history.bytes_read
    history.path.write_bytes(b"\n".join(lines) + b"\n")
    (history.folder / "history-20260101T000000Z-000.jsonl").write_bytes(b"damaged\n")
    many = history.entries(10)
    assert many == few
    assert [item.id for item in many] == [f"id-{number}" for number in range(199_999, 199_989, -1)]
    assert 0 < history.bytes_read <= few_bytes + 64 * 1024 < 400_000 < history.path.stat().st_size / 100
    assert history.damaged == 0


def test_damaged_lines_hide_no_others(history: History) -> None:
    """Lines that are no JSON, no UTF-8, the wrong JSON or nested too deeply are counted and passed over."""
    good = msgspec.json.encode(entry(1))
    bad = [b"{", b"[]", b"null", good.replace(b"print", b"\xff\xfe"), b"[" * 100_000, b'{"id":1}', good[:-1]]
    deep = good[:-1] + b',"display_data":[{"data":{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}}]}"
    atomic_files.ensure_dir(history.folder)
    history.path.write_bytes(b"\n\r\n".join([good, *bad, deep, good]))
    assert len(history.entries()) == 2
    assert history.damaged >= len(bad) + 1


def test_the_predecessors_lines_decode(history: History) -> None:
    """A line as the predecessor stores it, with fields that we do not know, comes back whole."""
    atomic_files.ensure_dir(history.folder)
    terminal = '{"status":"ok","stdout":"","stderr":"","id":"a","timestamp":"2026-01-02T00:00:00.000Z","command":"ls",'
    terminal += '"mode":"terminal","runtime":{"label":"Colab CPU","accelerator":"NONE"},"errorCode":0}'
    history.path.write_text(f"{PREDECESSOR}\n{terminal}\n")
    second, first = history.entries()
    assert (second.command, second.mode, second.error_code) == ("ls", "terminal", 0)
    assert isinstance(first.error, HistoryError)
    assert (first.error.ename, first.error.evalue) == ("KeyError", "'lr'")
    assert (first.error_category, first.execution_count) == ("runtime", 12)
    assert isinstance(first.timing, Timing)
    assert first.timing.duration_ms == 51
    assert json.loads(msgspec.json.encode(first))["errorCategory"] == "runtime"


@pytest.mark.parametrize("padding", [0, 5_000])
@pytest.mark.parametrize("appended", [0, 3, 400])
def test_the_predecessors_reversed_block_is_put_in_order(history: History, appended: int, padding: int) -> None:
    """Its rotation leaves the newest 1000 entries newest first, later ones behind them; we show all in their order."""
    atomic_files.ensure_dir(history.folder)
    numbers = [*range(999, -1, -1), *range(1000, 1000 + appended)]
    pad = "x" * padding
    history.path.write_bytes(b"".join(msgspec.json.encode(entry(number, stdout=pad)) + b"\n" for number in numbers))
    expected = [f"id-{number}" for number in range(999 + appended, -1, -1)]
    assert [item.id for item in history.entries(10)] == expected[:10]
    assert [item.id for item in history.entries(None)] == expected


def test_filters_combine(history: History) -> None:
    """Status, mode, category and time narrow the result together; case and the usual synonyms do not matter."""
    history.append(entry(1, status="error", error_category="import"))
    history.append(entry(2, mode="terminal"))
    history.append(entry(3, status="error", error_category="runtime", mode="terminal"))
    history.append(entry(4, status="unknown", error_category="io"))

    def found(**filters: object) -> list[str]:
        return [item.id for item in history.entries(**filters)]  # type: ignore[arg-type]

    assert found(status="error") == found(status="FAILED") == ["id-3", "id-1"]
    assert found(status="success") == found(status="ok") == ["id-2"]
    assert found(mode="terminal", status="error") == ["id-3"]
    assert found(category="Import") == ["id-1"]
    assert found(status="unknown") == ["id-4"]
    assert found(since=NOW + timedelta(seconds=3)) == ["id-4", "id-3"]
    assert found(since=datetime(900, 1, 1, tzinfo=UTC)) == ["id-4", "id-3", "id-2", "id-1"]


@pytest.mark.parametrize(
    ("filters", "allowed"),
    [
        ({"status": "fine"}, ["ok", "error", "abort", "unknown"]),
        ({"mode": "shell"}, ["kernel", "terminal"]),
        ({"category": "nope"}, ["syntax", "memory", "unknown", "auth", "quota", "lost", "internal"]),
    ],
)
def test_unknown_filter_values_are_refused(history: History, filters: dict[str, str], allowed: list[str]) -> None:
    """A value that cannot match is a usage error that names those that can, not an empty list."""
    with pytest.raises(errors.UsageError) as caught:
        history.entries(**filters)  # type: ignore[arg-type]
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in allowed)


def test_since_reads_no_further_than_it_must(history: History) -> None:
    """`since` ends the reading soon behind the first entry that is too old."""
    atomic_files.ensure_dir(history.folder)
    history.path.write_bytes(b"".join(msgspec.json.encode(entry(number)) + b"\n" for number in range(50_000)))
    assert len(history.entries(None, since=NOW + timedelta(seconds=49_990))) == 10
    assert history.bytes_read < history.path.stat().st_size / 10


def test_entries_are_found_by_their_ids(history: History) -> None:
    """The beginning of an id or of a run id is enough; nothing matches nothing."""
    history.append(entry(1, id="abcd"))
    history.append(entry(2, id="bcde", run_id="r-77"))
    for prefix, expected in (("ab", "abcd"), ("r-7", "bcde")):
        found = history.find(prefix)
        assert found is not None
        assert found.id == expected
    assert history.find("zz") is None
    assert history.find("") is None


def test_statistics_cover_all_segments(tmp_path: Path) -> None:
    """Counts, rate and dates are those of everything that is kept; both modes are always there."""
    history = History(tmp_path / "state", max_bytes=1_000)
    empty = history.stats()
    assert (empty.total_executions, empty.success_rate, empty.oldest_entry) == (0, 0, msgspec.UNSET)
    assert empty.executions_by_mode == {"kernel": 0, "terminal": 0}
    for number in range(40):
        status = "ok" if number < 30 else "error" if number < 39 else "abort"
        history.append(entry(number, status=status, error_category="import" if status == "error" else msgspec.UNSET))
    stats = history.stats()
    assert (stats.total_executions, stats.successful_executions, stats.failed_executions) == (40, 30, 9)
    assert (stats.aborted_executions, stats.success_rate) == (1, 75)
    assert stats.errors_by_category == {"import": 9}
    assert stats.executions_by_mode == {"kernel": 40, "terminal": 0}
    assert (stats.oldest_entry, stats.newest_entry) == (entry(0).timestamp, entry(39).timestamp)
    history.clear()
    assert history.stats() == empty


# --- points in time ---


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30s", NOW - timedelta(seconds=30)),
        ("15m", NOW - timedelta(minutes=15)),
        ("2h", NOW - timedelta(hours=2)),
        ("1d", NOW - timedelta(days=1)),
        ("2w", NOW - timedelta(weeks=2)),
        (" 1H30M ", NOW - timedelta(minutes=90)),
        ("today", datetime(2026, 3, 4, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 3, 3, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T10:20", datetime(2026, 3, 1, 10, 20, tzinfo=UTC)),
        ("2026-03-01T10:20:00+02:00", datetime(2026, 3, 1, 8, 20, tzinfo=UTC)),
        ("2026-03-01T10:20:00.000Z", datetime(2026, 3, 1, 10, 20, tzinfo=UTC)),
        ("999999999w", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_points_in_time(text: str, moment: datetime) -> None:
    """Ages, sums of ages, days and ISO dates are understood."""
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2",
        "",
        "2024",
        "March 5",
        "1x",
        "-1d",
        "1.5h",
        "h",
        "2026-13-01",
        "2026-03",
        "9999-12-31T23:00-05:00",
        "9" * 5000,
    ],
)
def test_other_points_in_time_are_refused(text: str) -> None:
    """What could mean several things or nothing is a usage error that lists the forms."""
    with pytest.raises(errors.UsageError) as caught:
        parse_since(text, NOW)
    assert caught.value.hint is not None
    assert all(form in caught.value.hint for form in ("30s", "2w", "1h30m", "2026-03-04", "yesterday"))


# --- what is kept of a run ---


@given(st.text(max_size=200), st.integers(0, 60))
def test_bounded_text_is_small_and_says_what_is_gone(text: str, limit: int) -> None:
    """Short text is untouched; of long text the two ends stay, and the number of bytes between them is exact."""
    whole = text.encode()
    result = bounded(text, limit)
    if len(whole) <= limit:
        assert result == text
        return
    left_out = [part for part in result.split("\n") if part.startswith("[… ") and part.endswith(" bytes left out …]")]
    assert any(
        whole.startswith(head.encode())
        and whole.endswith(tail.encode())
        and len(head.encode()) + len(tail.encode()) == len(whole) - int(mark.split()[1])
        and len(head.encode()) + len(tail.encode()) <= limit
        for mark in left_out
        for head, _, tail in [result.partition(f"\n{mark}\n")]
        if mark.split()[1].isdigit()
    )


@given(st.text(st.characters()), st.integers(0, 50))
def test_bounded_text_can_be_encoded(text: str, limit: int) -> None:
    """Also halves of surrogate pairs, as arguments that are no UTF-8 have, can be written down."""
    bounded(text + "\udcff", limit).encode()


def test_an_entry_of_a_large_run_is_small() -> None:
    """Output, command, traceback and displays are bounded; images are references; the size of the output is kept."""
    big = "é" * 1_000_000
    image = DisplayData(data={"image/png": "A" * 500_000, "text/plain": "<Figure>"})
    failure = ErrorInfo(name="ValueError", message=big, category="runtime", description="", traceback=[big] * 10)
    texts = [DisplayData(data={"text/plain": "y" * 9_000})] * 500
    made = entry_from_run(
        run(status="error", error_code=1002, stdout=big, stderr="x" * 10, display_data=[image, *texts], error=failure),
        big,
        RUNTIME,
    )
    assert len(msgspec.json.encode(made)) < MAX_COMMAND + 8 * MAX_TEXT
    assert made.output_bytes == 2_000_010
    sha256 = hashlib.sha256(base64.b64decode("A" * 500_000)).hexdigest()
    assert made.display_data[0].data == {
        "image/png": {"bytes": 500_000, "sha256": sha256},
        "text/plain": "<Figure>",
    }
    assert made.display_data[-1].data == {"text/plain": {"bytes": 9_000}}
    assert made.stdout.startswith("é")
    assert made.stdout.endswith("é")
    assert "bytes left out" in made.stdout


def test_an_entry_says_how_the_run_ended() -> None:
    """Code, category, and the error under the predecessor's names; every entry has an id of its own."""
    failure = ErrorInfo(name="KeyError", message="'lr'", category="runtime", description="", traceback=["a\nb", "c"])
    made = entry_from_run(run(status="error", error_code=1002, exit_code=1, error=failure), "cfg['lr']", RUNTIME)
    assert (made.status, made.error_code, made.error_category, made.exit_code) == ("error", 1002, "runtime", 1)
    assert made.error == HistoryError(ename="KeyError", evalue="'lr'", traceback=["a\nb", "c"])
    assert made.id != entry_from_run(run(), "", RUNTIME).id
    assert entry_from_run(run(status="unknown", error_code=1006), "", RUNTIME).status == "unknown"


@pytest.mark.parametrize("size", [0, 100, 16_370, 100_000, 1_000_000])
def test_secrets_are_blotted_out_everywhere(size: int) -> None:
    """No secret and no piece at a cut survives in any field, plain or encoded, also where one contains another."""
    secrets = ["", "s3cr/et+", "s3cr/et+longer", 'quo"ted']
    text = "x" * size + ' s3cr/et+longer s3cr/et+ s3cr%2Fet%2B quo"ted quo\\"ted hf_abcdefghijkl ' + "y" * size
    failure = ErrorInfo(name="E", message=text, category="runtime", description="", traceback=[text])
    made = entry_from_run(
        run(stdout=text, stderr=text, error=failure, display_data=[DisplayData(data={"text/plain": text})]),
        text,
        RUNTIME,
        secrets,
    )
    written = msgspec.json.encode(made).decode()
    for piece in ("s3cr", "longer", "ted", "abcdefghijkl"):
        assert piece not in written.replace("executed", "")
    if size <= 100:
        assert made.stdout == redaction.mask(text, redaction.spellings(secrets))
        assert made.stdout.strip("xy") == " *** *** *** *** *** *** "


@given(st.integers(1, 40), st.integers(0, 120_000), st.integers(0, 120_000))
def test_no_cut_leaves_half_a_secret(length: int, before: int, after: int) -> None:
    """Wherever the cuts of a long text fall, a secret that spans one is gone whole."""
    secret = ("Z" + "Q" * length)[:length] if length > 1 else "Z"
    text = "x" * before + secret * 3 + "y" * after
    assert "Z" not in entry_from_run(run(stdout=text), "", RUNTIME, [secret]).stdout


def test_an_entry_that_is_no_unicode_is_kept(history: History) -> None:
    """A command of undecodable bytes does not cost the entry."""
    history.append(entry_from_run(run(stdout="\ud800"), "echo \udcff", RUNTIME))
    assert history.entries()[0].command == "echo \\udcff"
