"""What a job has written, stdout and stderr in the order in which it wrote to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from ..guest import output_order
from ..jupyter.screen import render
from ..models.runs import Truncated

if TYPE_CHECKING:
    from ..helper.documents import RunState
    from ..models.jobs import JobDocument


STREAMS = ("stdout", "stderr")
BUDGET = 8192  # bytes of each stream that a document shows, unless asked otherwise
AT_ONCE = 4 << 20  # bytes of a stream that are held
LAST = 1 << 16  # bytes that are looked through first for the last lines


class Written(Protocol):
    """Who has what jobs wrote: their runtime (`jobs.Jobs`), or this machine (`kept_output.Copy`)."""

    def read(self, key: str, stream: str, offset: int, limit: int | None) -> tuple[RunState, bytes]:
        """A job, and a stream's bytes from `offset` on (from the end when negative), at most `limit`."""

    def order(self, run: str) -> bytes:
        """In which order a run wrote to its streams, see `guest/output_order.py`."""


def read_both(
    written: Written,
    key: str,
    on_output: Callable[[str, bytes], None],
    offset: int | Mapping[str, int],
    limit: int | None,
) -> tuple[RunState, int, int]:
    """Deliver both streams of a job.

    Args:
        on_output: gets "stdout" or "stderr", and bytes.
        offset: where to begin in each stream (or in which stream where), in bytes; from its end when negative.
        limit: the most bytes of each stream.

    Returns:
        The job, and the offsets in stdout and stderr behind what was delivered.
    """
    offsets = dict.fromkeys(STREAMS, offset) if isinstance(offset, int) else offset
    state, _ = written.read(key, "stdout", 0, 0)
    streams = {name: _Stream(written, state, name, offsets[name], limit) for name in STREAMS}
    noted = dict.fromkeys(STREAMS, 0)
    for name, size in output_order.pieces(written.order(state.run)):
        noted[name] += size
        streams[name].deliver(on_output, noted[name])
    for stream in streams.values():  # an earlier version wrote down no order
        stream.deliver(on_output, stream.end)
    return state, streams["stdout"].at, streams["stderr"].at


class _Stream:
    """A stream of a job that is delivered, of which a part is held."""

    def __init__(self, written: Written, state: RunState, name: str, offset: int, limit: int | None) -> None:
        size = (state.stdout_size if name == "stdout" else state.stderr_size) or 0
        self._written, self._run, self._name = written, state.run, name
        self.at = begin(state, name, offset)
        self.end = size if limit is None else min(size, self.at + limit)
        self._held = memoryview(b"")

    def deliver(self, on_output: Callable[[str, bytes], None], end: int) -> None:
        """Deliver what is before that offset and was not delivered."""
        while self.at < min(end, self.end):
            if not self._held:
                content = self._written.read(self._run, self._name, self.at, min(self.end - self.at, AT_ONCE))[1]
                self._held = memoryview(content)
                self.end = self.end if content else self.at  # it was cut meanwhile
            piece = self._held[: max(min(end, self.end) - self.at, 0)]
            if piece:
                on_output(self._name, bytes(piece))
            self.at += len(piece)
            self._held = self._held[len(piece) :]


def show_ends(
    written: Written, document: JobDocument, offsets: tuple[int, int], most: int | None, reading: str
) -> None:
    """Write into a document what its job has printed from these offsets of stdout and stderr on: beginning and end, as
    a terminal would show them.

    Args:
        offsets: in bytes; from the end when negative.
        most: bytes of each stream; None for all. reading: the command that prints what is left out.
    """
    truncated = Truncated()
    for stream, offset in zip(STREAMS, offsets, strict=True):
        state, text, end, whole = _ends(written, document.job.id, stream, offset, most)
        if whole is not None:
            setattr(truncated, f"{stream}_bytes", whole)
        if stream == "stdout":
            document.stdout, document.next_offset = text, end
        elif text or end:
            document.stderr, document.stderr_next_offset = text, end
        document.job.stdout_bytes, document.job.stderr_bytes = state.stdout_size or 0, state.stderr_size or 0
        if state.progress is not None:
            document.last_line = state.progress.line
    if document.status == "running":
        document.next = f"lecoder-cgpu job wait {document.job.id} --from {document.next_offset}"
    if truncated:
        truncated.get = reading
        document.truncated = truncated


def _ends(
    written: Written, run: str, stream: str, offset: int, most: int | None
) -> tuple[RunState, str, int, int | None]:
    """The job, a stream's text from an offset on, where that ends, and the size of the stream if some is left out."""
    state, _ = written.read(run, stream, 0, 0)
    size = (state.stdout_size if stream == "stdout" else state.stderr_size) or 0
    start = min(begin(state, stream, offset), size)
    if most is None or size - start <= most:
        _, content = written.read(run, stream, start, None)
        return state, render(content.decode("utf-8", "replace")), start + len(content), None
    room = most // 4
    _, head = written.read(run, stream, start, room)
    _, tail = written.read(run, stream, size - (most - room), None)
    end = size - (most - room) + len(tail)
    left_out = f"\n[… {size - start - most:,} of {size - start:,} bytes left out …]\n"
    while tail and tail[0] & 0xC0 == 0x80:  # the rest of a character that was cut
        tail = tail[1:]
    shown = render(head.decode("utf-8", "ignore")) + left_out + render(tail.decode("utf-8", "replace"))
    return state, shown, end, size


def begin(state: RunState, stream: str, offset: int) -> int:
    """Where in a stream an offset is that may count from its end."""
    size = (state.stdout_size if stream == "stdout" else state.stderr_size) or 0
    return max(size + offset, 0) if offset < 0 else offset


def last_lines(written: Written, key: str, stream: str, lines: int) -> int:
    """The offset at which the last lines of a stream begin. What follows its last newline is a line, too."""
    size = LAST
    while True:
        state, content = written.read(key, stream, -size, None)
        first = begin(state, stream, -size)
        at = len(content)
        for _ in range(lines):
            at = content.rfind(b"\n", 0, max(at - 1, 0)) + 1
            if not at:
                break
        if at or not first:
            return first + at
        size *= 4


def show_last_lines(
    written: Written, key: str, on_output: Callable[[str, bytes], None], lines: int
) -> tuple[RunState, int, int]:
    """Deliver the last lines that a job wrote to either stream; returns what `read_both` returns."""
    pieces: list[tuple[str, bytes]] = []
    begins = {stream: last_lines(written, key, stream, lines) for stream in STREAMS}
    found = read_both(written, key, lambda name, data: pieces.append((name, data)), begins, None)
    ends = [data.count(b"\n") for _, data in pieces]
    unfinished = bool(pieces) and not pieces[-1][1].endswith(b"\n")
    over = sum(ends) + unfinished - lines
    for (name, data), count in zip(pieces, ends, strict=True):
        if over <= 0:
            on_output(name, data)
        elif over < count or (over == count and not data.endswith(b"\n")):
            on_output(name, data.split(b"\n", over)[over])
        over -= count
    return found
