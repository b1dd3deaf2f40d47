"""The tool's own log: JSON lines in `state/logs/`, one file a day, rotated, redacted, written at once.

Other modules log through `current()`; until a command installs a log, records are dropped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import UNSET

from .. import errors
from ..models.base import now, timestamp
from ..models.debug import LogFile, LogRecord
from . import atomic_files, jsonl
from .redaction import known, redact

LEVELS = ("debug", "info", "warn", "error")
MAX_BYTES = 10 * 2**20  # of one file
MAX_TOTAL = 50 * 2**20  # of all files
KEEP_DAYS = 7
MAX_STRING = 64 * 2**10  # characters of one string in a record
_NAME = re.compile(r"lecoder-cgpu-(\d{4}-\d\d-\d\d)(?:-(\d+))?\.log")


class Log:
    """Writes records into `folder`. If it cannot write, it says so once, and the command goes on.

    Args:
        folder: `state/logs`.
        mirror: given each record as a line of text, for LECODER_CGPU_DEBUG.
        max_bytes: size at which a file is rotated.
        max_total: bytes of log files that are kept.
    """

    def __init__(
        self,
        folder: Path,
        mirror: Callable[[str], None] | None = None,
        max_bytes: int = MAX_BYTES,
        max_total: int = MAX_TOTAL,
    ) -> None:
        self.folder = folder
        self._mirror = mirror
        self._max_bytes = max_bytes
        self._max_total = max_total
        self._ready = False
        self._complained = False

    def debug(
        self, category: str, message: str, data: dict[str, Any] | None = None, error: BaseException | None = None
    ) -> None:
        self._record(0, category, message, data, error)

    def info(
        self, category: str, message: str, data: dict[str, Any] | None = None, error: BaseException | None = None
    ) -> None:
        self._record(1, category, message, data, error)

    def warn(
        self, category: str, message: str, data: dict[str, Any] | None = None, error: BaseException | None = None
    ) -> None:
        self._record(2, category, message, data, error)

    def error(
        self, category: str, message: str, data: dict[str, Any] | None = None, error: BaseException | None = None
    ) -> None:
        """Record a failure, with the stack of `error`."""
        self._record(3, category, message, data, error)

    def _record(
        self, level: int, category: str, message: str, data: dict[str, Any] | None, error: BaseException | None
    ) -> None:
        try:
            record = LogRecord(
                timestamp=now(),
                level=level,
                level_name=LEVELS[level].upper(),
                category=category,
                message=self._clean(message),
            )
            if data:
                record.data = self._clean(data)
            if error is not None:
                record.error = self._clean(_described(error))
            parts = [part for part in (record.data, record.error) if isinstance(part, dict)]
            details = [msgspec.json.encode(part).decode() for part in parts] if self._mirror is not None else []
            self._show(" ".join([record.timestamp, record.level_name, category, record.message, *details]))
            self._write(record)
        except Exception as problem:  # the command that is logged must go on
            self._complain(problem)

    def _clean(self, value: Any) -> Any:
        """`value` without secrets. It is cut to its final length after that: half a secret would not be recognised."""
        return _short(redact(_short(value, 16 * MAX_STRING), known()), MAX_STRING)

    def _show(self, line: str) -> None:
        if self._mirror is not None:
            with contextlib.suppress(Exception):  # stderr may be closed; there is nowhere left to say so
                self._mirror(line)

    def _complain(self, problem: Exception) -> None:
        """Say once, on the mirror, that records are missing."""
        if not self._complained:
            self._complained = True
            self._show(f"the debug log cannot be written: {self._clean(str(problem))}")

    def _write(self, record: LogRecord) -> None:
        guard = self.folder / "logs"
        if not self._ready:
            atomic_files.ensure_dir(self.folder.parent)  # nothing is made in a folder that is somebody else's
            atomic_files.ensure_dir(self.folder)
            self._retire()
            self._ready = True
        path = self.folder / f"lecoder-cgpu-{record.timestamp[:10]}.log"
        jsonl.append(path, msgspec.json.encode(record), guard)
        if jsonl.rotate(path, self._max_bytes, lambda: _rotated(path), guard):
            self._retire()

    def _retire(self) -> None:
        """Delete files older than a week, and the oldest ones beyond the total size."""
        oldest = (datetime.now(UTC) - timedelta(days=KEEP_DAYS)).strftime("%Y-%m-%d")
        paths = _paths(self.folder)
        jsonl.prune((path for path in paths if path.name[13:23] < oldest), 0)
        jsonl.prune((path for path in paths if path.name[13:23] >= oldest), self._max_total)


class _Nowhere(Log):
    """Drops all records."""

    def __init__(self) -> None:
        super().__init__(Path())

    def _record(
        self, level: int, category: str, message: str, data: dict[str, Any] | None, error: BaseException | None
    ) -> None:
        pass


_current: Log = _Nowhere()


def current() -> Log:
    """The log of this process."""
    return _current


def install(log: Log) -> None:
    """Make `log` the log of this process."""
    global _current  # set once for each process
    _current = log


def _described(error: BaseException) -> dict[str, Any]:
    import traceback

    stack = "".join(traceback.format_exception(error))
    return {"name": type(error).__name__, "message": str(error), "stack": stack}


def _short(value: Any, limit: int) -> Any:
    """`value` with its long strings cut after `limit` characters."""
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]}[… {len(value) - limit} characters left out …]"
    if isinstance(value, dict):
        return {key: _short(item, limit) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item, limit) for item in value]
    return value


# --- reading --------------------------------------------------------------------------------------------------------


def _paths(folder: Path) -> list[Path]:
    """The log files, newest first."""

    def age(path: Path) -> tuple[str, bool, int]:
        found = _NAME.fullmatch(path.name)
        date, stamp = (found[1], found[2]) if found else ("", None)
        return date, stamp is None, int(stamp or 0)  # of one day, the file without a stamp is the one being written

    return sorted(jsonl.matching(folder, _NAME), key=age, reverse=True)


def _rotated(path: Path) -> Path:
    """A free name for a full file."""
    stamp = int(time.time() * 1000)
    for other in _paths(path.parent):
        found = _NAME.fullmatch(other.name)
        if found and found[1] == path.name[13:23] and found[2]:
            stamp = max(stamp, int(found[2]) + 1)
    return path.with_name(f"{path.stem}-{stamp}.log")


def _level(name: str) -> int:
    try:
        return LEVELS.index(name.lower())
    except ValueError:
        raise errors.UsageError(f"unknown level {name!r}", hint="--level " + "|".join(LEVELS)) from None


class _Filter:
    """Decodes lines and says which of them are wanted."""

    def __init__(self, level: str, category: str | None, search: str | None) -> None:
        self._level = _level(level)
        self._category = category.lower() if category else None
        self._search = search.lower() if search else None
        self._decoder = msgspec.json.Decoder(LogRecord)

    def __call__(self, line: bytes) -> LogRecord | None:
        try:
            record = self._decoder.decode(line)
        except jsonl.DAMAGED:
            return None
        if record.level < self._level or self._category not in (None, record.category.lower()):
            return None
        if self._search is not None and not any(self._search in text.lower() for text in _texts(record)):
            return None
        return record


def _texts(record: LogRecord) -> Iterator[str]:
    """The searchable parts of a record: its values, and the keys of its data."""
    values: list[Any] = [record.timestamp, record.level_name, record.category, record.message]
    values += [record.data, record.error]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += [*value, *value.values()]
        elif isinstance(value, list):
            values += value
        elif value is not UNSET:
            yield str(value)


def records(
    folder: Path, lines: int = 50, level: str = "info", category: str | None = None, search: str | None = None
) -> list[LogRecord]:
    """The newest `lines` records of that level or above, oldest first. Lines that are not records are skipped.

    Raises:
        errors.UsageError: there is no such level.
        errors.ConfigError: a file exists and cannot be read.
    """
    wanted = _Filter(level, category, search)
    matching = (record for line in jsonl.Backwards(lambda: _paths(folder)) if (record := wanted(line)) is not None)
    return list(itertools.islice(matching, max(lines, 0)))[::-1]


def follow(
    folder: Path, *, level: str = "debug", category: str | None = None, search: str | None = None, interval: float = 0.2
) -> Iterator[LogRecord]:
    """Records that are written after this call, endlessly; survives rotation and midnight.

    Args:
        interval: seconds between two looks.

    Raises:
        errors.UsageError: there is no such level.
    """
    wanted = _Filter(level, category, search)
    tail = _Tail(folder)

    def found() -> Iterator[LogRecord]:
        with contextlib.closing(tail):
            while True:
                for line in tail.lines():
                    if (record := wanted(line)) is not None:
                        yield record
                time.sleep(interval)

    return found()


class _Tail:
    """New lines of the newest log files. Files stay open: a rotated one is recognised by its inode, not by its name."""

    KEPT = 4  # files; nobody writes into older ones

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[tuple[BinaryIO, list[bytes]]] = []  # with the beginning of a line that is not whole yet
        paths = _paths(folder)
        self._passed_over = set(paths[1:])
        if paths and (file := jsonl.opened(paths[0])) is not None:
            size = file.seek(0, os.SEEK_END)
            # A record may be half written at this moment; it is a new one.
            torn = next(jsonl.Backwards(list).lines(file, size), b"") if not _ends_a_line(file, size) else b""
            file.seek(size)
            self._open.append((file, [torn]))

    def lines(self) -> Iterator[bytes]:
        """The whole lines that came since the last call, oldest first."""
        for path in reversed(_paths(self._folder)):
            if path not in self._passed_over and (file := jsonl.opened(path)) is not None:
                known = [os.fstat(other.fileno()) for other, _ in self._open]
                if any(os.path.samestat(os.fstat(file.fileno()), other) for other in known):
                    file.close()
                else:
                    self._open.append((file, [b""]))
        for file, rest in self._open:
            *whole, rest[0] = (rest[0] + file.read()).split(b"\n")
            yield from whole
        while len(self._open) > self.KEPT:
            file, _ = self._open.pop(0)
            # Remember its present name, so that it is not taken for a new file.
            mine = os.fstat(file.fileno())
            self._passed_over |= {path for path in _paths(self._folder) if _is(path, mine)}
            file.close()

    def close(self) -> None:
        for file, _ in self._open:
            file.close()


def _ends_a_line(file: BinaryIO, size: int) -> bool:
    file.seek(max(size - 1, 0))
    return file.read(1) in (b"\n", b"")


def _is(path: Path, identity: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), identity)
    except FileNotFoundError:
        return False


def files(folder: Path) -> list[LogFile]:
    """The log files, newest first."""
    found = []
    for path in _paths(folder):
        with contextlib.suppress(FileNotFoundError):  # retired meanwhile
            status = path.stat()
            modified = timestamp(datetime.fromtimestamp(status.st_mtime, UTC))
            found.append(LogFile(path=str(path), size=status.st_size, modified=modified))
    return found
