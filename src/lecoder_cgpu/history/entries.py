"""What was run and how it ended: `state/history.jsonl`, one JSON object a line, readable from the predecessor's files.

Appending is one write and takes no lock. A run is written down when it begins; its end is a second line with the same
id, which readers show in the place of the first. When the file is large it becomes a segment of its own beside it;
readers go from the newest line backwards and on into the segments, and read no more than they need.
"""

from __future__ import annotations

import heapq
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from .. import errors
from ..models.base import ErrorInfo, SessionRef, Timing, known, timestamp
from ..models.base import now as utc_now
from ..models.history import HistoryEntry, HistoryError, HistoryMode, HistoryStats, HistoryStatus, StoredDisplay
from ..models.runs import StoppedBy
from ..system import atomic_files, jsonl, logs, redaction
from .images import Images, digest, image

if TYPE_CHECKING:
    from ..models.history import HistoryRuntime
    from ..models.runs import DisplayData, Run

MAX_BYTES = 10 * 2**20  # size at which the file is rotated
MAX_TOTAL = 100 * 2**20  # of all segments; the oldest go first
MAX_TEXT = 16 * 2**10  # bytes kept of each stream
MAX_COMMAND = 64 * 2**10
SLACK = 16 * 2**10  # characters; no token that is known by its looks is longer
# Concurrent writers append in the order in which they end, so entries are put into their order in time within a window
# of at least this many entries and bytes. Rotation by the predecessor leaves up to 1000 entries in reverse order:
# once a line is newer than the one after it, the window grows to hold such a block.
WINDOW_ENTRIES = 32
WINDOW_BYTES = 64 * 2**10
WINDOW_DISORDER = 1000

OPEN_BYTES = 2 * 2**20  # how far back `unsettled` looks

STATUSES = ("ok", "error", "abort", "unknown", "running", "lost")
FAILURES = ("error", "lost")  # what the filter `error` finds
UNSETTLED = ("running", "unknown", "lost")  # statuses that a better answer may replace
MODES = ("kernel", "terminal")
_STATUS_ALIASES = {"success": "ok", "failed": "error", "failure": "error", "aborted": "abort"}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SEGMENT = re.compile(r"history-(\d{8}T\d{6}Z)-(\d+)\.jsonl")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class History:
    """The owner of `history.jsonl` in the folder `folder`.

    Args:
        folder: the state folder.
        max_bytes: size at which the file is rotated.
        max_total: bytes of rotated segments that are kept.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES, max_total: int = MAX_TOTAL) -> None:
        self.folder = folder
        self.path = folder / "history.jsonl"
        self.damaged = 0
        self.bytes_read = 0
        self._max_bytes = max_bytes
        self._max_total = max_total
        self._decoder = msgspec.json.Decoder(HistoryEntry)

    def append(self, entry: HistoryEntry, displays: Sequence[DisplayData] = ()) -> None:
        """Append one entry; images among its run's rich outputs are kept beside the history.

        Raises:
            errors.ConfigError: the folder cannot be written.
        """
        atomic_files.ensure_dir(self.folder)
        self.images.keep(displays)
        jsonl.append(self.path, msgspec.json.encode(entry), self.path)
        try:
            if jsonl.rotate(self.path, self._max_bytes, self._next_segment, self.path):
                jsonl.prune(self._segments(), self._max_total)
        except errors.ConfigError as error:
            # The entry is stored, so nothing failed for the user; the next append tries again.
            logs.current().warn("HISTORY", "the history could not be rotated", error=error)

    @property
    def images(self) -> Images:
        return Images(self.folder)

    def _next_segment(self) -> Path:
        """A name that sorts after those of all segments, whatever the clock says."""
        stamp, number = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), 0
        for newest in self._segments()[:1]:
            if (last := _position(newest)) >= (stamp, number):
                stamp, number = last[0], last[1] + 1
        return self.folder / f"history-{stamp}-{number:03d}.jsonl"

    def _segments(self) -> list[Path]:
        """The rotated files, newest first."""
        return sorted(jsonl.matching(self.folder, _SEGMENT), key=_position, reverse=True)

    # --- reading ---

    def entries(
        self,
        limit: int | None = 50,
        *,
        status: str | None = None,
        category: str | None = None,
        mode: str | None = None,
        since: datetime | None = None,
    ) -> list[HistoryEntry]:
        """The newest entries that match, newest first.

        Raises:
            errors.UsageError: a filter's value does not exist.
            errors.ConfigError: a file exists and cannot be read.
        """
        wanted_status = _choice("status", status, STATUSES, _STATUS_ALIASES)
        wanted_mode = _choice("mode", mode, MODES)
        categories = tuple(dict.fromkeys(kind.category for kind in errors.tree()))
        wanted_category = _choice("category", category, categories)
        start = timestamp(since) if since and since > _EPOCH else ""
        found: list[HistoryEntry] = []
        older = 0
        if limit is not None and limit <= 0:
            return found
        for entry in self._newest_first():
            if entry.timestamp < start:
                # A clock that was wrong for a while leaves old time stamps among new ones: look a little further.
                older += 1
                if older > WINDOW_DISORDER:
                    break
                continue
            older = 0
            if wanted_status is not None and entry.status not in _found_by(wanted_status):
                continue
            if wanted_mode not in (None, entry.mode):
                continue
            if wanted_category not in (None, entry.error_category):
                continue
            found.append(entry)
            if limit is not None and len(found) >= limit:
                break
        return found

    def find(self, prefix: str) -> HistoryEntry | None:
        """The newest entry whose id or run id begins with `prefix`, or whose job is called so."""
        if not prefix:
            return None
        for entry in self._newest_first():
            run_id = entry.run_id if isinstance(entry.run_id, str) else ""
            if entry.id.startswith(prefix) or run_id.startswith(prefix) or entry.job_name == prefix:
                return entry
        return None

    def unsettled(self, most: int = OPEN_BYTES) -> Iterator[HistoryEntry]:
        """The runs whose end is not known here, newest first.

        Args:
            most: bytes of the history that are read, from its end.
        """
        for entry, _ in self._backwards():
            if entry.status in UNSETTLED and (isinstance(entry.run_id, str) or entry.watcher is not UNSET):
                yield entry
            if self.bytes_read > most:
                return

    def _newest_first(self) -> Iterator[HistoryEntry]:
        """Entries, newest first, as far as the window reaches."""
        waiting: list[tuple[_Falling, int, int, HistoryEntry]] = []
        held = 0
        disorder = False
        previous = ""  # time stamp of the line that was read before, to the second
        for number, (entry, size) in enumerate(self._backwards()):
            second = entry.timestamp[:19]
            disorder = disorder or (bool(previous) and second > previous)
            previous = second
            heapq.heappush(waiting, (_Falling(entry.timestamp), number, size, entry))
            held += size
            window = WINDOW_DISORDER if disorder else WINDOW_ENTRIES
            while len(waiting) > window and (disorder or held > WINDOW_BYTES):
                _, _, size, entry = heapq.heappop(waiting)
                held -= size
                yield entry
        while waiting:
            yield heapq.heappop(waiting)[3]

    def _backwards(self) -> Iterator[tuple[HistoryEntry, int]]:
        """Entries from the last line to the first, with the lengths of their lines. A run that was completed later
        comes once, as its last line has it, in the place of its first."""
        self.damaged = 0
        completed: dict[str, HistoryEntry] = {}
        lines = jsonl.Backwards(lambda: [self.path, *self._segments()])
        for line in lines:
            self.bytes_read = lines.bytes_read
            try:
                entry = self._decoded(line)
                if isinstance(entry.timing, Timing) and abs(entry.timing.duration_ms) > 1 << 53:
                    raise msgspec.ValidationError("nobody can count with that number")
            except jsonl.DAMAGED:
                self.damaged += 1
                continue
            if entry.learned is not UNSET:
                completed.setdefault(entry.id, entry)
            else:
                yield completed.pop(entry.id, entry), len(line)
        for entry in completed.values():  # their first lines were in a segment that is deleted by now
            yield entry, 0

    def _decoded(self, line: bytes) -> HistoryEntry:
        """The entry of a line. Words that only a newer version has are `unknown`."""
        try:
            return self._decoder.decode(line)
        except msgspec.ValidationError:
            found = msgspec.json.decode(line, type=dict[str, Any])
            stopped = found.get("stopped")
            for place, name, words in (
                (found, "status", HistoryStatus),
                (found, "mode", HistoryMode),
                (stopped if isinstance(stopped, dict) else {}, "by", StoppedBy),
            ):
                if isinstance(place.get(name), str):
                    place[name] = known(place[name], words, "unknown")
            return msgspec.convert(found, HistoryEntry)

    def stats(self) -> HistoryStats:
        """Counts over all stored entries."""
        statuses: Counter[str] = Counter()
        categories: Counter[str] = Counter()
        modes: Counter[str] = Counter(dict.fromkeys(MODES, 0))
        oldest = newest = None
        for entry, _ in self._backwards():
            statuses[entry.status] += 1
            modes[entry.mode] += 1
            if entry.status in FAILURES and isinstance(entry.error_category, str):
                categories[entry.error_category] += 1
            oldest = entry.timestamp if oldest is None else min(oldest, entry.timestamp)
            newest = entry.timestamp if newest is None else max(newest, entry.timestamp)
        total = sum(statuses.values())
        return HistoryStats(
            total_executions=total,
            successful_executions=statuses["ok"],
            failed_executions=statuses["error"] + statuses["lost"],
            aborted_executions=statuses["abort"],
            success_rate=100 * statuses["ok"] / total if total else 0,
            errors_by_category=dict(categories),
            executions_by_mode=dict(modes),
            oldest_entry=oldest or UNSET,
            newest_entry=newest or UNSET,
        )

    def clear(self) -> None:
        """Delete everything.

        Raises:
            errors.ConfigError: the folder cannot be written.
        """
        self.images.clear()
        if not self._segments() and not os.path.lexists(self.path):
            return
        with atomic_files.lock(self.path):
            for path in (self.path, *self._segments()):
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise atomic_files.unusable(path, error) from error


def _found_by(status: str) -> tuple[str, ...]:
    """The statuses that a filter finds."""
    return FAILURES if status == "error" else (status,)


class _Falling(str):
    """A time stamp that sorts the newest first."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def _position(segment: Path) -> tuple[str, int]:
    """The sort key of a rotated file."""
    found = _SEGMENT.fullmatch(segment.name)
    return (found[1], int(found[2])) if found else ("", 0)


def _choice(what: str, value: str | None, allowed: Sequence[str], aliases: dict[str, str] | None = None) -> str | None:
    if value is None:
        return None
    chosen = value.lower()
    chosen = (aliases or {}).get(chosen, chosen)
    if chosen not in allowed:
        raise errors.UsageError(f"unknown {what} {value!r}", hint=f"--{what} " + "|".join(allowed))
    return chosen


def parse_since(text: str, now: datetime) -> datetime:
    """The time that `--since` names: an age, a date, `today` or `yesterday` (in the time zone of `now`).

    Raises:
        errors.UsageError: it is not one of these.
    """
    wanted = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if wanted in ("today", "yesterday"):
        return midnight - timedelta(days=wanted == "yesterday")
    if re.fullmatch(r"(?:[0-9]{1,9}[smhdw])+", wanted):
        age = dict.fromkeys(_UNITS.values(), 0)
        for amount, unit in re.findall(r"([0-9]+)([smhdw])", wanted):
            age[_UNITS[unit]] += int(amount)
        try:
            return max(now - timedelta(**age), _EPOCH)
        except OverflowError:  # older than anything
            return _EPOCH
    if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", wanted):
        try:
            moment = datetime.fromisoformat(text.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo or UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # it is not a date after all
    raise errors.UsageError(
        f"{text[:100]!r} is no point in time",
        hint="--since takes an age (30s, 15m, 2h, 1d, 2w, 1h30m), a date or date-time (2026-03-04, 2026-03-04T15:30), "
        "today or yesterday",
    )


# --- what is kept of a run ------------------------------------------------------------------------------------------


def bounded(text: str, limit: int = MAX_TEXT) -> str:
    """At most `limit` bytes of `text` (as UTF-8): head and usually tail, with a mark that tells what is missing.

    The result can always be encoded: halves of surrogate pairs, as undecodable arguments have, become escapes.
    """
    size = _size(text)
    if size <= limit:
        return text if text.isascii() else _encode(text).decode()
    return _ends(text[:limit], text[-limit:], size, limit)  # a character has at least one byte


def _ends(head: str, tail: str, size: int, limit: int) -> str:
    """The beginning of `head` and the end of `tail`, `limit` bytes together, of a text of `size` bytes."""
    room = limit // 4
    first = _encode(head)[:room].decode("utf-8", "ignore")
    last = _encode(tail)[max(len(_encode(tail)) - (limit - room), 0) :].decode("utf-8", "ignore")
    return f"{first}\n[… {size - len(first.encode()) - len(last.encode())} bytes left out …]\n{last}"


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(_encode(text))


def shown_by(run: Run) -> list[DisplayData]:
    """The rich outputs in a run's document."""
    return run.display_data if isinstance(run.display_data, list) else []


def entry_from_run(
    run: Run,
    command: str,
    runtime: HistoryRuntime,
    secrets: Sequence[str] = (),
    displays: Sequence[DisplayData] | None = None,
) -> HistoryEntry:
    """The entry that remembers `run`: bounded, with rich outputs as references, and `secrets` and known tokens masked.

    Args:
        displays: the run's rich outputs, where they are more than its document shows.
    """
    import uuid

    hidden = redaction.spellings([*secrets, *redaction.known(), *redaction.betrayed(command[:MAX_COMMAND])])

    def kept(text: str, limit: int = MAX_TEXT) -> str:
        # Secrets are masked before cutting, because half a secret is not recognised. Of long output only the ends are
        # read, less the length that a secret cut at their inner edges can have.
        edge, cut = limit + 2 * SLACK, SLACK + max(map(len, hidden), default=0)
        if len(text) <= 2 * edge:
            return bounded(redaction.mask(text, hidden), limit)
        head, tail = redaction.mask(text[:edge], hidden)[:-cut], redaction.mask(text[-edge:], hidden)[cut:]
        return _ends(head, tail, _size(text), limit)

    shown = 0

    def reference(display: DisplayData) -> StoredDisplay:
        nonlocal shown
        data: dict[str, Any] = {}
        for mime, value in display.data.items():
            if mime == "text/plain" and isinstance(value, str) and shown < MAX_TEXT:  # a loop may display thousands
                data[mime] = kept(value)
                shown += len(data[mime])
            else:
                data[mime] = {"bytes": _size(value) if isinstance(value, str) else len(msgspec.json.encode(value))}
                if (content := image(mime, value)) is not None:
                    data[mime]["sha256"] = digest(content)
        for mime, size in (display.omitted or {}).items():
            data.setdefault(mime, {"bytes": size})
        return StoredDisplay(data=data)

    stderr = run.stderr if isinstance(run.stderr, str) else ""
    shown_displays = shown_by(run) if displays is None else displays
    entry = HistoryEntry(
        id=str(uuid.uuid4()),
        timestamp=utc_now(),
        timing=run.timing,
        run_id=run.run_id,
        command=bounded(redaction.hide(command[: MAX_COMMAND + 2 * SLACK], hidden), MAX_COMMAND),
        mode=run.mode,
        runtime=runtime,
        status=run.status,
        error_code=run.error_code,
        exit_code=run.exit_code,
        execution_count=run.execution_count,
        stdout=kept(run.stdout),
        stderr=kept(stderr),
        output_bytes=run.output_bytes or _size(run.stdout) + _size(stderr),
        display_data=[reference(display) for display in shown_displays],
        stopped=run.stopped,
    )
    if isinstance(run.session, SessionRef):
        entry.session, entry.session_id = run.session.name, run.session.id
        entry.account, entry.backend = run.session.account, run.session.backend
    if isinstance(run.error, ErrorInfo):
        lines = run.error.traceback if isinstance(run.error.traceback, list) else []
        bounded_lines = kept("\0".join(lines)).split("\0") if lines else []  # bounded as one text
        entry.traceback = [redaction.hide(line) for line in bounded_lines]  # it quotes code, as the command does
        message = redaction.hide(kept(run.error.message))
        entry.error = HistoryError(ename=kept(run.error.name), evalue=message, traceback=entry.traceback)
        entry.error_category = run.error.category
    return entry
