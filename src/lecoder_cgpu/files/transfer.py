"""Moves files and folders between here and a runtime: in parts, verified, whole under their final names or not at all.

A large file goes in parts into a half-written file beside its target, is hashed on both sides while it goes, and gets
its name when both hashes agree. Small files go many in one pack. A dropped connection is made again and the transfer
goes on; after a failure, repeating the command goes on with the half-written file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Protocol

from .. import errors
from ..guest import trees
from ..guest.files import Task, hash_file
from ..helper.documents import Hello
from ..helper.file_service import Request, error_of
from ..jupyter import messages
from ..system import logs
from . import plan as files

PART = 4 << 20  # most bytes of a file in one message; stock servers take up to 10 MiB (protocol J22)
LEAST_PART = 128 << 10
FAST, SLOW = 0.25, 1.0  # seconds between answers for which parts grow, and above which they shrink
RANGE = 16 << 20  # bytes of one request to a distant server, several at a time
RANGES_AT_ONCE = 4
BY_HTTP = 8 << 20  # a file of at least this size is fetched from the server itself, where it can be

Progress = Callable[[int, int], None]  # files and bytes that were done since the last call
Answer = tuple[dict[str, Any], memoryview]
Piece = bytes | bytearray | memoryview
ReadRange = Callable[[str, int, int], Iterator[Piece] | None]


class Service(Protocol):
    """What a transfer needs of a runtime: `FileService`, or `ContentsService` where there is no helper."""

    hello: Hello | None
    verifies: bool
    keeps_times: bool

    def call(self, op: str, data: bytes | memoryview | None = None, **arguments: Any) -> Answer: ...
    def stream(self, requests: Iterator[Request], on_answer: Callable[[Request, Answer], None]) -> None: ...
    def pages(self, op: str, **arguments: Any) -> list[files.Entry]: ...
    def task(self, op: str, on_progress: Callable[[int], None] | None = None, **arguments: Any) -> Any: ...
    def close(self) -> None: ...


@dataclass
class TransferResult:
    """What one source became: `digests` of every file by its name below the target ("" for a single file)."""

    source: str
    target: str
    folder: bool = False
    bytes: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    links: int = 0
    skipped: list[files.Entry] = field(default_factory=list)


class Transfer:
    """Transfers over one service.

    Args:
        read_range: gives a piece of a file by its real path on the runtime (path, start, end), None where the server
            has no such thing for that path.
    """

    def __init__(
        self,
        service: Service,
        *,
        read_range: ReadRange | None = None,
        parallel: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.service = service
        self._read_range = read_range
        self._parallel = parallel
        self._progress = progress or (lambda files, size: None)

    # --- up ---

    def upload_file(self, local: str, remote: str, *, expect: list[int] | None = None) -> TransferResult:
        """Copy a file to the runtime.

        Args:
            expect: size and mtime that the file there must still have; it is not replaced otherwise.

        Raises:
            errors.Error: nothing was changed under the target's name.
        """
        moved = TransferResult(local, remote)
        with local_problems(local), open(local, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            size, mtime = found.st_size, found.st_mtime_ns
            key = _key(os.path.abspath(local), remote, size, mtime)
            for attempt in range(2):
                nonce = messages.new_id()[:8]
                begun, _ = self.service.call("begin", path=remote, size=size, key=key, nonce=nonce)
                part, offset = begun["part"], begun["offset"]
                try:
                    ours, theirs = self._send(file, part, offset, size, nonce)
                    after = os.stat(local)
                    if (after.st_size, after.st_mtime_ns) != (size, mtime) or ours is None:
                        raise error_of(
                            trees.Problem("FileChanged", f"{local}: it was changed while it was read"), "here"
                        )
                    if file.read(1):
                        raise _endless(local, "here", f"lecoder-cgpu upload - REMOTE < {local}")
                    if theirs is None or ours == theirs:
                        mode = found.st_mode & 0o777 if os.name == "posix" else None
                        self.service.call(
                            "commit", part=part, path=begun["path"], mode=mode, mtime=mtime, expect=expect
                        )
                        moved.digests[""], moved.bytes = ours, size
                        self._progress(1, 0)
                        return moved
                except errors.ConnectionFailed:
                    raise  # what has arrived is of use to the next attempt
                except errors.Error:
                    with contextlib.suppress(errors.Error):
                        self.service.call("abandon", part=part)
                    raise
                self.service.call("abandon", part=part)
                logs.current().warn("FILES", "hashes differ", {"path": remote, "attempt": attempt})
        raise error_of(trees.Problem("VerifyFailed", f"{remote}: what arrived is not what was sent, twice"), "there")

    def _send(self, file: Any, part: str, offset: int, size: int, nonce: str) -> tuple[str | None, str | None]:
        """The hashes of both sides after sending everything; ours is None when the file was cut meanwhile."""
        task: dict[str, Any] = {"task": f"hash-{nonce}", "path": part, "size": size}
        self.service.call("hash", **task)
        digest = hashlib.sha256()
        whole = True
        pace = _Pace()

        def requests() -> Iterator[Request]:
            nonlocal whole
            position = 0
            while position < size:
                wanted = min(pace.part, size - position)
                if position < offset:
                    wanted = min(wanted, offset - position)
                data = file.read(wanted)
                if not data:
                    whole = False
                    return
                digest.update(data)
                if position >= offset:
                    yield Request("put", data, len(data), part=part, offset=position)
                position += len(data)

        def done(request: Request, answer: Answer) -> None:
            pace.answered()
            self._progress(0, request.tag)

        self._progress(0, offset)
        self.service.stream(requests(), done)
        if not whole:
            return None, None
        return digest.hexdigest(), self.service.task("hash", **task)

    def upload_tree(
        self, local: str, remote: str, *, skip: files.Skip | None = None, entries: list[files.Entry] | None = None
    ) -> TransferResult:
        """Copy a folder to the runtime, into the folder `remote`, which is made when it is missing.

        Args:
            skip: names that are left out.
            entries: what to copy of it; everything when None.

        Raises:
            errors.Error: something could not be copied; what was copied before is whole.
        """
        chosen = files.scan(local, skip) if entries is None else entries
        moved = TransferResult(local, remote, folder=True)
        packs, large, moved.skipped = files.divide(chosen)
        nonce = messages.new_id()[:12]

        def requests(batches: list[list[files.Entry]]) -> Iterator[Request]:
            for batch in batches:
                packed, problems = trees.pack(local, batch)
                for _name, problem, message in problems[:1]:
                    raise error_of(trees.Problem(problem, message), "here")
                yield Request("unpack", packed, packed, root=remote, nonce=nonce)

        def done(request: Request, answer: Answer) -> None:
            self._count(moved, request.tag)

        try:
            self.service.stream(requests(packs or [[]]), done)
            for item in large:
                sent = self.upload_file(trees.join(local, item[0]), files.remote_join(remote, item[0]))
                moved.digests[item[0]] = sent.digests[""]
                moved.bytes += sent.bytes
            self.service.stream(requests(files.folders_of(chosen)), lambda request, answer: None)
        except trees.Problem as error:
            raise error_of(error, "here") from error
        except errors.Error as error:
            raise _told(error, moved, len(chosen)) from error
        return moved

    def _count(self, moved: TransferResult, packed: Any) -> None:
        size = number = 0
        for name, _mode, _mtime, digest, content in trees.records(packed):
            if any(digest):
                moved.digests[name] = digest.hex()
                size += len(content)
                number += 1
            else:
                moved.links += 1
        moved.bytes += size
        self._progress(number, size)

    # --- down ---

    def download_file(self, remote: str, local: str, *, stat: dict[str, Any] | None = None) -> TransferResult:
        """Copy a file from the runtime.

        Args:
            stat: what the runtime has said about it already.

        Raises:
            errors.Error: nothing was changed under the target's name.
        """
        told = stat or self.service.call("stat", path=remote)[0]
        entry, real = told["entry"], told["real"]
        size, mtime, mode = entry[2], entry[3], entry[4]
        moved = TransferResult(remote, local)
        local = os.path.realpath(local)
        folder = os.path.dirname(local)
        with local_problems(local):
            trees.check_replaceable(local)
            trees.make_folder(folder)
        if not size and self.service.call("get", path=real, offset=0, size=1)[1]:
            raise _endless(remote, "on the runtime", f"lecoder-cgpu cat {remote} > LOCAL")
        for _attempt in range(2):
            part = _own_part(folder, _key(real, local, size, mtime))
            with local_problems(part), open(part, "r+b" if os.path.exists(part) else "w+b", buffering=0) as file:
                have = file.seek(0, os.SEEK_END)
                if have > size:
                    have = file.truncate(0)
                if shutil.disk_usage(folder).free < size - have:
                    os.unlink(part)
                    raise trees.Problem("DiskFull", f"{folder}: there is no room for {size} bytes")
                task: dict[str, Any] = {"task": messages.new_id(), "path": real, "size": size}
                self.service.call("hash", **task)
                hashing = Task(partial(hash_file, part, size))  # of what the disk has
                try:
                    self._receive(file, real, have, size)
                    ours, theirs = hashing.wait(), self.service.task("hash", **task)
                finally:
                    hashing.cancelled = True
            now = self.service.call("stat", path=real)[0]["entry"]
            if now is None or (now[2], now[3]) != (size, mtime):
                os.unlink(part)
                raise error_of(
                    trees.Problem("FileChanged", f"{remote}: it was changed while it was read"), "on the runtime"
                )
            if theirs is None or ours == theirs:
                with local_problems(local):
                    if os.name == "posix" and mode is not None:
                        os.chmod(part, mode & 0o777)
                    os.utime(part, ns=(mtime, mtime))
                    os.replace(part, local)
                moved.digests[""], moved.bytes = ours, size
                self._progress(1, 0)
                return moved
            os.unlink(part)
            self._read_range = None  # what is served there may be something else
        raise error_of(trees.Problem("VerifyFailed", f"{remote}: what arrived is not what was sent, twice"), "here")

    def _receive(self, file: Any, real: str, have: int, size: int) -> None:
        """Fill a half-written file up to `size`."""
        file.seek(have)
        self._progress(0, have)
        position = have

        def take(data: Piece) -> None:
            nonlocal position
            trees.write_all(file.fileno(), data)
            position += len(data)
            self._progress(0, len(data))

        if size - have >= BY_HTTP and self._read_range is not None:
            self._by_http(real, lambda: position, size, take)

        pace = _Pace()

        def requests() -> Iterator[Request]:
            start = position
            while start < size:
                wanted = min(pace.part, size - start)
                yield Request("get", None, start, path=real, offset=start, size=wanted)
                start += wanted

        def done(request: Request, answer: Answer) -> None:
            pace.answered()
            if request.tag == position:  # the file was cut when one came short; its stat will tell
                take(answer[1])

        self.service.stream(requests(), done)
        if position != size:
            raise error_of(trees.Problem("FileChanged", f"{real}: it was cut while it was read"), "on the runtime")

    def _by_http(self, real: str, position: Callable[[], int], size: int, take: Callable[[Piece], None]) -> None:
        """As much as the server gives of the file by itself; what is missing is left to the caller."""
        read_range = self._read_range
        assert read_range is not None
        failures = 0
        while position() < size and failures < 3:
            before = position()
            try:
                if self._parallel:
                    _side_by_side(partial(read_range, real), position(), size, take)
                else:
                    for data in read_range(real, position(), size) or ():
                        take(data)
                return
            except errors.Error as error:
                logs.current().info("FILES", "not by HTTP", {"path": real, "error": error.message})
                if not error.retryable:
                    self._read_range = None
                    return
                failures = 0 if position() > before else failures + 1

    def download_tree(self, remote: str, local: str) -> TransferResult:
        """Copy a folder from the runtime, into the folder `local`, which is made when it is missing.

        Raises:
            errors.Error: something could not be copied; what was copied before is whole.
        """
        entries = self.service.pages("scan", path=remote)
        moved = TransferResult(remote, local, folder=True)
        packs, large, moved.skipped = files.divide(entries)
        with local_problems(local):
            unpack = trees.Unpacker(local, messages.new_id()[:12])

        def requests(batches: list[list[files.Entry]]) -> Iterator[Request]:
            for batch in batches:
                yield Request("pack", root=remote, entries=batch)

        def done(request: Request, answer: Answer) -> None:
            for name, problem, message in answer[0]["problems"][:1]:
                del name
                raise error_of(trees.Problem(problem, message), "on the runtime")
            with local_problems(local):
                unpack(answer[1])
            self._count(moved, answer[1])

        try:
            self.service.stream(requests(packs), done)
            for item in large:
                path = os.path.join(local, *trees.check_name(item[0]).split("/"))
                with local_problems(path):
                    unpack.folder(item[0].rpartition("/")[0])
                got = self.download_file(files.remote_join(remote, item[0]), path)
                moved.digests[item[0]] = got.digests[""]
                moved.bytes += got.bytes
            with local_problems(local):
                for batch in files.folders_of(entries):
                    unpack(b"".join(trees.folder_records(batch)))
        except errors.Error as error:
            raise _told(error, moved, len(entries)) from error
        return moved


def _endless(path: str, where: str, hint: str) -> errors.Error:
    """The error for what has content and no size, as the files of /proc do: their end is found by reading only."""
    error = error_of(trees.Problem("NotAFile", f"{path}: its size is not known beforehand"), where)
    error.hint = hint
    return error


def _told(error: errors.Error, moved: TransferResult, total: int) -> errors.Error:
    """The same error, saying how far the transfer of a folder came."""
    error.message = f"{error.message}; {len(moved.digests)} of {total} entries of {moved.source} are complete"
    error.args = (error.message,)
    error.hint = error.hint or "repeat the same command; lecoder-cgpu sync LOCAL REMOTE sends only what is missing"
    return error


def _side_by_side(
    read: Callable[[int, int], Iterator[Piece] | None], start: int, end: int, take: Callable[[Piece], None]
) -> None:
    """Read a range in pieces, several of them at a time, and take them in order. Nobody waits for their threads when
    one fails or the command is interrupted: a line may have gone silent."""

    def fetch(piece: int, task: Task) -> tuple[bytearray, errors.Error | None]:
        content = bytearray()
        try:
            for data in read(piece, min(piece + RANGE, end)) or ():
                content += data
                if task.cancelled:
                    break
        except errors.Error as error:
            return content, error
        return content, None

    def take_next() -> None:
        content, error = coming[0].wait()
        take(content)  # also what came before the error
        if error is not None:
            raise error
        coming.popleft()

    coming: deque[Task] = deque()
    try:
        for piece in range(start, end, RANGE):
            if len(coming) == RANGES_AT_ONCE:
                take_next()
            coming.append(Task(partial(fetch, piece)))
        while coming:
            take_next()
    finally:
        for task in coming:
            task.cancelled = True


class _Pace:
    """How large the next part is to be: a slow line must not be silent for as long as a large one takes, or pings go
    unanswered and the connection is given up."""

    def __init__(self) -> None:
        self.part = PART // 4
        self._last = time.monotonic()

    def answered(self) -> None:
        """Note that an answer has come."""
        now = time.monotonic()
        if now - self._last < FAST:
            self.part = min(self.part * 2, PART)
        elif now - self._last > SLOW:
            self.part = max(self.part // 2, LEAST_PART)
        self._last = now


@contextlib.contextmanager
def local_problems(path: str) -> Iterator[None]:
    """Problems of this side, as our errors."""
    try:
        yield
    except trees.Problem as error:
        raise error_of(error, "here") from error
    except OSError as error:
        raise error_of(trees.problem(error, os.fspath(error.filename or path)), "here") from error


def _key(*words: object) -> str:
    text = "\0".join(str(word) for word in words)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


_numbers = count()


def _own_part(folder: str, key: str) -> str:
    """A half-written file of our own; one of the same file that a dead process has left is taken over."""
    from ..system import process_identity

    own = os.path.join(folder, f".{key}-{os.getpid()}-{next(_numbers)}{trees.PART_SUFFIX}")
    with local_problems(folder):
        for name in os.listdir(folder):
            if name.startswith(f".{key}-") and name.endswith(trees.PART_SUFFIX):
                owner = name.removeprefix(f".{key}-").partition("-")[0]
                if owner.isdigit() and process_identity.of(int(owner)) is None:
                    with contextlib.suppress(OSError):
                        os.rename(os.path.join(folder, name), own)
                        break
    return own


def range_reader(server: Any, hello: Hello, folder: str) -> ReadRange:
    """Reads files below the server's root from the server itself, which streams them.

    The helper's kernel starts in the folder of its path below that root, so the root is known from where it is. Stock
    servers serve nothing hidden (protocol J30).
    """
    root = hello.cwd
    for _ in [part for part in folder.split("/") if part]:
        root = root.rpartition("/")[0]
    prefix = root.rstrip("/") + "/"

    def read(path: str, start: int, end: int) -> Iterator[Piece] | None:
        if not path.startswith(prefix):
            return None
        name = path[len(prefix) :]
        if any(part.startswith(".") for part in name.split("/")):
            return None
        stream: Iterator[Piece] = server.read_file(name, start, end)
        return stream

    return read
