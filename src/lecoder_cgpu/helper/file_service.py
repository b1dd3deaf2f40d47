"""The files of a runtime, through its helper: one method for each operation, with typed answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import errors
from ..guest.trees import Entry
from ..jupyter import messages
from ..net.retry import persist
from .documents import Hello
from .file_channel import PATIENCE, Answer, Connect, FileChannel, Request, typed, unexpected
from .file_documents import (
    Claimed,
    Deleted,
    DigestsState,
    Found,
    HalfWritten,
    HashState,
    Listing,
    Nothing,
    Packed,
    PackProblems,
    Part,
    RemovalState,
    Stat,
)

if TYPE_CHECKING:
    from .gentle_channel import Pace

POLL_FIRST, POLL_MOST = 0.002, 0.25  # seconds between two questions about work in the background
LEAVE_PATIENCE = 2.0  # seconds for which somebody who has pressed Ctrl-C waits for a lost connection
STALLED = 600.0  # seconds without progress after which such work is given up
LINES_MOST = 500_000  # of one listing
NAMES_MOST = 64 << 20  # characters of the names in one listing
LISTING_ATTEMPTS = 3  # a restarted helper has forgotten the listing, which then starts anew


class _State(Protocol):
    @property
    def ended(self) -> bool: ...
    @property
    def done(self) -> int: ...


S = TypeVar("S", bound=_State)


class FileService:
    """The files of a runtime, through its helper.

    Paths are the runtime's; relative ones start where processes start there. Every method raises errors.Error when
    the runtime refuses the request, or the connection is lost for good.

    Args:
        connect, patience: see `FileChannel`. pace: see `GentleChannel`; None to be as fast as can be.
    """

    verifies = keeps_times = True

    def __init__(self, connect: Connect, *, patience: float = PATIENCE, pace: Pace | None = None) -> None:
        self._connect = connect
        self._channel = FileChannel(connect, patience=patience)
        if pace is not None:
            from .gentle_channel import GentleChannel

            self._channel = GentleChannel(connect, patience=patience, pace=pace)

    @property
    def hello(self) -> Hello | None:
        """The helper that answers; None before `open`."""
        return self._channel.hello

    @property
    def reconnected(self) -> int:
        """How often the connection was made again."""
        return self._channel.reconnected

    def open(self) -> None:
        """Connect.

        Raises:
            errors.ConnectionFailed: (`NoFileService`) the helper's kernel cannot pass on files; or no connection.
        """
        self._channel.open()

    def close(self) -> None:
        self._channel.close()

    def claim(self, path: str, by: str) -> str:
        """Have a file say who takes something, unless it says that already; returns who has. Asking again does no
        harm."""
        return self._channel.ask(Claimed, "claim", path=path, by=by).holder

    # --- looking ---

    def stat(self, path: str) -> Stat:
        """What is at a path, links followed."""
        return self._channel.ask(Stat, "stat", path=path)

    def list_folder(self, path: str) -> list[Entry]:
        """The entries of a folder, by name. Links are not followed."""
        return self._channel.ask(Listing, "list", path=path).entries

    def scan(self, path: str) -> list[Entry]:
        """Everything below a folder, each folder before its entries."""
        return self._pages("scan", path=path)

    def glob(self, pattern: str) -> list[Entry]:
        """What matches a pattern, by name; the names are paths, written as the pattern is."""
        return sorted(self._pages("glob", pattern=pattern), key=lambda item: item.name)

    def _pages(self, op: str, **arguments: Any) -> list[Entry]:
        def listing() -> list[Entry]:
            token = messages.new_id()
            lines: list[Entry] = []
            number = letters = 0
            while True:
                page = self._channel.ask(Listing, op, token=token, number=number, **arguments)
                lines += page.entries
                letters += sum(len(item.name) for item in page.entries)
                if len(lines) > LINES_MOST or letters > NAMES_MOST:
                    raise errors.TransferError(
                        f"{arguments.get('path', arguments.get('pattern'))}: it holds more than {LINES_MOST} entries",
                        name="TooMany",
                        hint="take a folder below it; or make one file of it: lecoder-cgpu run tar czf x.tar.gz FOLDER",
                    )
                if page.end:
                    return lines
                if not page.entries:
                    raise unexpected("a page of a listing is empty, and not the last one")
                number += 1

        return persist(listing, again=lambda error: isinstance(error, errors.PageLost), attempts=LISTING_ATTEMPTS)

    # --- hashes, and other work in the background ---

    def start_hash(self, path: str, size: int) -> Callable[[], str | None]:
        """Hash the first `size` bytes of a file, which may still be growing up to that.

        Returns a function that waits for the SHA-256 in hex. It returns None where the runtime cannot tell.
        """
        task = messages.new_id()

        def state() -> HashState:
            return self._channel.ask(HashState, "hash", task=task, path=path, size=size)

        state()
        return lambda: _ended(state).result

    def digests(self, root: str, names: list[str]) -> dict[str, str]:
        """The SHA-256 in hex of files below a folder, by name; missing files are left out."""
        task = messages.new_id()
        return (
            _ended(lambda: self._channel.ask(DigestsState, "digests", task=task, root=root, names=names)).result or {}
        )

    def remove(self, path: str) -> int:
        """Delete a folder with everything below it; returns how many files and folders were deleted."""
        task = messages.new_id()
        return _ended(lambda: self._channel.ask(RemovalState, "remove", task=task, path=path)).result or 0

    def delete(self, root: str, names: list[str]) -> list[str]:
        """Delete files, links and empty folders below a folder; returns the names that were there."""
        return self._channel.ask(Deleted, "delete", root=root, names=names).deleted

    # --- one large file ---

    def begin(self, path: str, size: int, key: str, nonce: str, *, root: str | None = None) -> HalfWritten:
        """Make room for a file of `size` bytes, or find what an earlier attempt left.

        Args:
            key: stands for source and target. nonce: stands for this attempt.
            root: the folder below which the file stays, `path` being a name in it.
        """
        return self._channel.ask(HalfWritten, "begin", path=path, size=size, key=key, nonce=nonce, root=root)

    def write(self, half: HalfWritten, pieces: Iterable[tuple[int, bytes]], done: Callable[[int], None]) -> None:
        """Write pieces (offset and content) into a half-written file, in order; `done` gets the size of each."""

        def request(offset: int, content: bytes) -> Request:
            arguments = {"part": half.part, "offset": offset}
            return Request("put", arguments, content, lambda answer: done(len(content)))

        self._channel.exchange(request(offset, content) for offset, content in pieces)

    def commit(
        self, half: HalfWritten, mode: int | None = None, mtime: int | None = None, expect: Found | None = None
    ) -> None:
        """Give a complete file its name; with `expect`, only if the file of that name is still that."""
        self._channel.ask(Nothing, "commit", part=half.part, path=half.path, mode=mode, mtime=mtime, expect=expect)

    def abandon(self, half: HalfWritten) -> None:
        """Delete a half-written file."""
        self._channel.ask(Nothing, "abandon", part=half.part)

    def leave(self, half: HalfWritten) -> None:
        """Leave a half-written file to the next upload of the same. Over another connection: the first one may be in
        the middle of a message."""
        channel = FileChannel(self._connect, patience=LEAVE_PATIENCE)
        try:
            channel.ask(Nothing, "leave", part=half.part)
        finally:
            channel.close()

    def read(self, path: str, offset: int, size: int) -> memoryview:
        """A piece of a file; shorter at the file's end."""
        return _piece(self._channel.ask_content("get", path=path, offset=offset, size=size), size)

    def read_parts(self, path: str, parts: Iterable[Part], done: Callable[[Part, memoryview], None]) -> None:
        """Read pieces of a file, in order; `done` gets each with its content."""

        def request(part: Part) -> Request:
            arguments = {"path": path, "offset": part.offset, "size": part.size}
            return Request("get", arguments, None, lambda answer: done(part, _piece(answer, part.size)))

        self._channel.exchange(request(part) for part in parts)

    # --- many small files, and folders ---

    def pack(self, root: str, batches: Iterable[list[Entry]], done: Callable[[Packed], None]) -> None:
        """Read files below a folder, one pack for each batch of entries."""

        def take(answer: Answer) -> None:
            done(Packed(typed(answer, PackProblems).problems, answer.content))

        self._channel.exchange(Request("pack", {"root": root, "entries": batch}, None, take) for batch in batches)

    def unpack(self, root: str, nonce: str, packs: Iterable[bytes], done: Callable[[bytes], None]) -> None:
        """Write packs below a folder, which is made when it is missing; `done` gets each that was written.

        Args:
            nonce: stands for this transfer.
        """

        def request(packed: bytes) -> Request:
            return Request("unpack", {"root": root, "nonce": nonce}, packed, lambda answer: done(packed))

        self._channel.exchange(request(packed) for packed in packs)


def _piece(answer: Answer, size: int) -> memoryview:
    """The content of an answer, of at most this many bytes."""
    if len(answer.content) > size:
        raise unexpected(f"{len(answer.content)} bytes where {size} were asked for")
    return answer.content


def _ended(ask: Callable[[], S]) -> S:
    """Ask until the work in the background has ended."""
    pause = POLL_FIRST
    reached, moved = -1, time.monotonic()
    while not (state := ask()).ended:
        if state.done > reached:
            reached, moved = state.done, time.monotonic()
        elif time.monotonic() - moved > STALLED:
            raise errors.HelperSilent(
                "the helper on the runtime makes no progress with a file", hint="repeat the same command"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_MOST)
    return state
