"""The debug log: what reaches the disk, what does not, and reading it from the end."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.models.debug import LogRecord
from lecoder_cgpu.system import atomic_files, jsonl, logs, redaction
from lecoder_cgpu.system.logs import Log

WRITER = """
import sys
from pathlib import Path
from lecoder_cgpu.system.logs import Log
log = Log(Path(sys.argv[1]), max_bytes=int(sys.argv[4]))
for number in range(int(sys.argv[3])):
    log.info("TEST", f"{sys.argv[2]}-{number}", {"pad": "x" * 200})
"""
EVERYTHING = 10**6


def writer(folder: Path, name: str, count: int, max_bytes: int) -> subprocess.Popen[bytes]:
    arguments = [str(folder), name, str(count), str(max_bytes)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stderr=subprocess.PIPE)


def messages(folder: Path, **options: Any) -> list[str]:
    return [record.message for record in logs.records(folder, **options)]


def line(message: str, level: int = 1, moment: str = "2026-01-01T00:00:00.000Z") -> str:
    name = logs.LEVELS[level].upper()
    return json.dumps({"timestamp": moment, "level": level, "levelName": name, "category": "API", "message": message})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "logs"


# --- writing ---


def test_records_are_on_disk_at_once_and_private(folder: Path) -> None:
    """A record is in today's file (UTC) when the call returns; file and folder are for their owner only."""
    log = Log(folder)
    log.debug("HTTP", "GET /api", {"status": 200})
    [path] = folder.glob("*.log")
    record = json.loads(path.read_text())
    assert path.name == f"lecoder-cgpu-{record['timestamp'][:10]}.log"
    assert (record["level"], record["levelName"], record["category"]) == (0, "DEBUG", "HTTP")
    assert (record["message"], record["data"]) == ("GET /api", {"status": 200})
    assert "error" not in record
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_errors_are_kept_with_their_stack(folder: Path) -> None:
    """The failing command's error is in the record: name, message and stack, with its cause, at every level."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as cause:
            raise errors.ConfigError("outer") from cause
    except errors.ConfigError as error:
        Log(folder).error("COMMAND", "failed", error=error)
        Log(folder).warn("COMMAND", "retried", error=error)
    for record in logs.records(folder):
        assert isinstance(record.error, dict)
        assert (record.error["name"], record.error["message"]) == ("ConfigError", "outer")
        assert "KeyError: 'inner'" in record.error["stack"]


def test_nothing_secret_reaches_disk_or_mirror(folder: Path) -> None:
    """Message, data and error are redacted, by what was registered and by what looks like a secret."""
    shown: list[str] = []
    log = Log(folder, shown.append)
    redaction.protect("my s3cret/x", "", called_secret=True)
    data = {"url": "http://h/?token=L34K", "headers": [{"Authorization": "token L34K"}], "object": Path("my s3cret/x")}
    log.info("HTTP", "my s3cret/x and my%20s3cret%2Fx", data)
    log.error("HTTP", "failed", error=ValueError("my s3cret/x Bearer L34KL34K"))
    [path] = folder.glob("*.log")
    for text in (path.read_text(), "\n".join(shown)):
        assert "s3cret" not in text
        assert "L34K" not in text
        assert "***" in text
    assert len(shown) == 2
    assert all("\n" not in item for item in shown)


def test_a_record_that_json_does_not_know_is_written(folder: Path) -> None:
    """Objects, bytes, sets, strange keys, large numbers and broken text are written as text."""
    data: dict[Any, Any] = {
        "path": Path("/x"),
        "bytes": b"\xff",
        "set": {1},
        3: 2**80,
        "nan": float("nan"),
        "t": (1, 2),
    }
    Log(folder).info("TEST", "caf\udcff", data)
    [record] = logs.records(folder)
    assert record.message == "caf\\udcff"
    assert isinstance(record.data, dict)
    assert record.data["path"] == str(Path("/x"))
    assert record.data["t"] == [1, 2]


def test_a_large_record_is_cut(folder: Path) -> None:
    """A server's endless answer does not fill the log, and the cut says how much is gone."""
    Log(folder).info("HTTP", "x" * 10_000_000, {"body": ["y" * 10_000_000]})
    [path] = folder.glob("*.log")
    assert path.stat().st_size < 3 * logs.MAX_STRING
    assert "characters left out" in logs.records(folder)[0].message


class Unprintable(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_log_that_fails_breaks_nothing(tmp_path: Path) -> None:
    """Whatever goes wrong while logging, the command goes on; it is said once, through the mirror."""
    (tmp_path / "file").write_text("")
    shown: list[str] = []
    log = Log(tmp_path / "file" / "logs", shown.append)
    for number in range(3):
        log.info("TEST", f"m{number}")
    assert sum("cannot be written" in item for item in shown) == 1
    assert sum("TEST m" in item for item in shown) == 3
    quiet = Log(tmp_path / "logs", None)
    quiet.error("TEST", "failed", error=Unprintable())
    loop: dict[str, Any] = {}
    loop["again"] = loop
    quiet.info("TEST", "endless", loop)
    quiet.info("TEST", "next")
    assert messages(tmp_path / "logs", level="debug")[-1] == "next"


def test_a_mirror_that_fails_does_not_cost_the_record(folder: Path) -> None:
    """When stderr is closed, the file still gets the record."""

    def closed(text: str) -> None:
        raise BrokenPipeError

    Log(folder, closed).info("TEST", "kept")
    assert messages(folder) == ["kept"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_breaks_nothing(folder: Path) -> None:
    """No space is no reason to fail."""
    atomic_files.ensure_dir(folder)
    for day in range(2):
        today = (datetime.now(UTC) + timedelta(days=day)).strftime("%Y-%m-%d")
        (folder / f"lecoder-cgpu-{today}.log").symlink_to("/dev/full")
    shown: list[str] = []
    Log(folder, shown.append).info("TEST", "m")
    assert any("o space left" in item for item in shown)


def test_without_a_log_records_go_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Low layers log through `current()`, which drops everything until a command installs a log."""
    nowhere = logs.current()
    nowhere.info("TEST", "dropped", {"x": 1}, ValueError())
    assert not folder.exists()
    try:
        logs.install(Log(folder))
        logs.current().info("TEST", "kept")
    finally:
        logs.install(nowhere)
    assert messages(folder) == ["kept"]


# --- many files ---


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes", [2**30, 20_000])
def test_fifty_processes_log_at_once(folder: Path, max_bytes: int) -> None:
    """Fifty real processes lose and tear nothing, also while the file is rotated under them."""
    busy = [writer(folder, f"w{number}", 20, max_bytes) for number in range(50)]
    for process in busy:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
    found = messages(folder, lines=EVERYTHING)
    assert len(found) == 1000
    assert set(found) == {f"w{name}-{number}" for name in range(50) for number in range(20)}
    assert (len(list(folder.glob("*.log"))) > 1) == (max_bytes < 2**30)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_writers_lose_nothing_they_had_written(folder: Path) -> None:
    """A process that is killed leaves all of its records but the one it was writing."""
    dice = random.Random(2)
    for turn in range(5):
        process = writer(folder, f"t{turn}", 10**6, 2**30)
        deadline = time.monotonic() + 60
        while not any(message.startswith(f"t{turn}-") for message in messages(folder, lines=1)):
            assert time.monotonic() < deadline
        time.sleep(dice.random() / 50)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        numbers = [
            int(item.partition("-")[2]) for item in messages(folder, lines=EVERYTHING) if item.startswith(f"t{turn}-")
        ]
        assert numbers == list(range(len(numbers)))


def test_rotated_files_keep_their_order_and_none_is_overwritten(folder: Path) -> None:
    """However fast a file fills, each rotated one gets a name of its own, and reading goes on from one to the next."""
    log = Log(folder, max_bytes=10)
    for number in range(30):
        log.info("TEST", f"m{number}")
    assert len(logs.files(folder)) == 30
    assert messages(folder, lines=7) == [f"m{number}" for number in range(23, 30)]
    assert messages(folder) == [f"m{number}" for number in range(30)]


def test_old_and_excess_files_are_deleted(folder: Path) -> None:
    """Files older than a week go, also rotated ones; then the oldest beyond the total; nothing else is touched."""
    atomic_files.ensure_dir(folder)

    def day(age: int) -> str:
        return (datetime.now(UTC) - timedelta(days=age)).strftime("%Y-%m-%d")

    def make(name: str, size: int = 1) -> Path:
        path = folder / name
        path.write_text("x" * size)
        return path

    gone = [make(f"lecoder-cgpu-{day(9)}.log"), make(f"lecoder-cgpu-{day(8)}-1700000000000.log")]
    gone += [make(f"lecoder-cgpu-{day(6)}.log", 5_000)]
    stays = [make(f"lecoder-cgpu-{day(5)}.log", 5_000), make("notes.log"), make(f"lecoder-cgpu-{day(9)}.log.bak")]
    Log(folder, max_total=8_000).info("TEST", "m")
    assert [path.exists() for path in gone] == [False] * 3
    assert [path.exists() for path in stays] == [True] * 3


def test_files_are_listed_newest_first(folder: Path) -> None:
    """`debug list` gets path, size and time of each log file, and no others."""
    atomic_files.ensure_dir(folder)
    names = ["lecoder-cgpu-2026-01-02.log", "lecoder-cgpu-2026-01-02-1767312000000.log", "lecoder-cgpu-2026-01-01.log"]
    for name in [*names, "logs.lock", "lecoder-cgpu-x.log"]:
        (folder / name).write_text("abc")
    found = logs.files(folder)
    assert [Path(item.path).name for item in found] == names
    assert all(item.size == 3 and item.modified.endswith("Z") for item in found)
    assert logs.files(folder / "none") == []


# --- reading ---


def test_records_are_the_newest_in_their_order(folder: Path) -> None:
    """The newest N matching records come, oldest of them first; level is a minimum."""
    log = Log(folder)
    for number in range(10):
        log.debug("HTTP", f"d{number}")
        log.warn("KERNEL", f"w{number}")
    assert messages(folder, lines=3) == ["w7", "w8", "w9"]
    assert messages(folder, lines=3, level="DEBUG") == ["w8", "d9", "w9"]
    assert messages(folder, level="error") == []
    assert messages(folder, lines=2, level="debug", category="http") == ["d8", "d9"]
    assert messages(folder, level="debug", search="W3") == ["w3"]
    assert messages(folder, lines=0) == []
    assert messages(folder / "none") == []


def test_search_finds_what_people_read(folder: Path) -> None:
    """Quotes, umlauts and lines are searched as they are, not as JSON escapes them; field names are not searched."""
    log = Log(folder)
    log.info("TEST", 'say "HÉLLO"\nthere')
    log.info("TEST", "m", {"key": [{"deep": "value"}]})
    assert messages(folder, search='"héllo"\nth') == ['say "HÉLLO"\nthere']
    assert messages(folder, search="VALUE") == messages(folder, search="deep") == ["m"]
    assert messages(folder, search="levelName") == []


def test_unknown_levels_are_refused(folder: Path) -> None:
    """An unknown level is a usage error that names the known ones, at the call itself."""
    for read in (logs.records, logs.follow):
        with pytest.raises(errors.UsageError) as caught:
            read(folder, level="loud")
        assert caught.value.hint is not None
        assert "warn" in caught.value.hint


def test_the_predecessors_lines_and_bad_ones(folder: Path) -> None:
    """The predecessor's records are read; a malformed, torn, deep or undecodable line hides no other."""
    atomic_files.ensure_dir(folder)
    theirs = '{"timestamp":"2026-01-01T00:00:00.000Z","level":0,"levelName":"DEBUG","category":"API",'
    theirs += '"message":"GET /tun/m/ccu-info","data":{"statusCode":200,"durationMs":83}}'
    failed = '{"timestamp":"2026-01-01T00:00:01.000Z","level":3,"levelName":"ERROR","category":"API","message":"m",'
    failed += '"error":{"name":"E","message":"x","stack":"s"}}'
    bad = ["{", "[]", "[" * 100_000, failed[:-1] + ',"data":{"x":' + "[" * 50_000 + "]" * 50_000 + "}}", ""]
    content = "\n".join([theirs, *bad, failed]).encode() + b"\n" + theirs.replace("GET", "\0").encode("utf-16") + b"\n{"
    (folder / "lecoder-cgpu-2026-01-01.log").write_bytes(content)
    first, second = logs.records(folder, level="debug")
    assert (first.message, first.data) == ("GET /tun/m/ccu-info", {"statusCode": 200, "durationMs": 83})
    assert second.error == {"name": "E", "message": "x", "stack": "s"}


@pytest.mark.slow
def test_the_last_lines_of_many_touch_only_the_end(folder: Path) -> None:
    """Reading a few lines from the end of a large file reads one block of it."""
    atomic_files.ensure_dir(folder)
    path = folder / "lecoder-cgpu-2026-01-01.log"
    path.write_text("".join(line(f"m{number}") + "\n" for number in range(200_000)))
    backwards = jsonl.Backwards(lambda: [path])
    lines = iter(backwards)
    assert [json.loads(next(lines))["message"] for _ in range(10)] == [
        f"m{number}" for number in range(199_999, 199_989, -1)
    ]
    assert backwards.bytes_read == jsonl.BLOCK
    assert messages(folder, lines=2) == ["m199998", "m199999"]


def test_lines_longer_than_a_block_are_whole(tmp_path: Path) -> None:
    """Whatever the lengths of lines, and wherever blocks end, the lines backwards are those of the file."""
    dice = random.Random(3)
    for last in (b"", b"\n"):
        lines = [b"%d" % number * dice.choice([1, 10, 50_000, jsonl.BLOCK]) for number in range(40)]
        (tmp_path / "file").write_bytes(b"\n".join(lines) + last)
        assert list(jsonl.Backwards(lambda: [tmp_path / "none", tmp_path / "file"])) == lines[::-1]


def test_a_rotation_while_reading_hides_nothing(tmp_path: Path) -> None:
    """A file that is renamed after it was opened, and listed again under its new name, is read once."""
    current, old = tmp_path / "current", tmp_path / "old"
    current.write_text("a\nb\n")
    lists = iter([[current], [current, old]])

    def listed() -> list[Path]:
        found = next(lists)
        if old in found:
            current.rename(old)
            current.write_text("c\n")
        return found

    assert list(jsonl.Backwards(listed)) == [b"b", b"a", b"c"]


# --- following ---


class Follower:
    """Collects what `follow` yields, in a thread."""

    def __init__(self, records: Iterator[LogRecord]) -> None:
        self.found: list[str] = []
        self._thread = threading.Thread(target=self._collect, args=(records,), daemon=True)
        self._thread.start()

    def _collect(self, records: Iterator[LogRecord]) -> None:
        for record in records:
            if record.message == "end":
                records.close()  # type: ignore[attr-defined]
                return
            self.found.append(record.message)

    def finish(self) -> list[str]:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.found


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be renamed there")
def test_following_survives_rotation(folder: Path) -> None:
    """Every record after the call comes, once and in order, while the file is rotated; older ones do not."""
    log = Log(folder, max_bytes=3_000)
    for number in range(50):
        log.info("TEST", f"old{number}")
    follower = Follower(logs.follow(folder, interval=0.001))
    for number in range(300):
        log.info("TEST", f"m{number}")
        time.sleep(0.001)
    log.info("TEST", "end")
    assert follower.finish() == [f"m{number}" for number in range(300)]


def test_following_survives_midnight_and_torn_lines(folder: Path) -> None:
    """A line that is half written comes when it is whole, and the next day's file is followed too."""
    atomic_files.ensure_dir(folder)
    first, second = folder / "lecoder-cgpu-2026-01-01.log", folder / "lecoder-cgpu-2026-01-02.log"
    half = line("half")
    first.write_text(line("old") + "\n" + half[:30])
    follower = Follower(logs.follow(folder, level="info", interval=0.001))
    with first.open("a") as file:
        file.write(half[30:] + "\n" + line("debug", level=0) + "\n")
    second.write_text(line("next") + "\n" + line("end") + "\n")
    assert follower.finish() == ["half", "next"]


def test_following_begins_before_there_is_a_log(folder: Path) -> None:
    """Without any file yet, the first record that is written comes."""
    follower = Follower(logs.follow(folder, interval=0.001))
    log = Log(folder)
    log.info("TEST", "first")
    log.info("TEST", "end")
    assert follower.finish() == ["first"]
