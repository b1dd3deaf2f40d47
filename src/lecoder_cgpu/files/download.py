"""Copies files and folders of a runtime to this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import BinaryIO

from .. import errors
from ..guest import packs as packing
from ..guest import trees
from ..guest.files import Task, hash_file
from ..guest.trees import Entry
from ..guest.unpacker import Unpacker
from ..helper.file_documents import Found, Packed, Part, Stat
from ..helper.file_errors import HERE, THERE, error_of
from ..jupyter import messages
from ..system import logs
from . import plan
from .server_files import Piece, ReadRange, side_by_side
from .service import Service
from .transfer import (
    ATTEMPTS,
    Pace,
    Progress,
    Transfer,
    TransferResult,
    endless,
    incomplete,
    local_problems,
    transfer_key,
)

BY_HTTP = 8 << 20  # a file with at least so many bytes is read from the server itself, if the server has it
HTTP_FAILURES = 3  # in a row, without a byte between them

_numbers = count()


class Download(Transfer):
    """Downloads over one service.

    Args:
        read_range: reads a range of a file from the server itself; None where that cannot be done.
        parallel: read several ranges at once, which pays where the server is not on this machine.
    """

    def __init__(
        self,
        service: Service,
        progress: Progress | None = None,
        *,
        read_range: ReadRange | None = None,
        parallel: bool = False,
    ) -> None:
        super().__init__(service, progress)
        self._read_range = read_range
        self._parallel = parallel

    def file(self, remote: str, local: str, *, stat: Stat | None = None) -> TransferResult:
        """Copy a file from the runtime.

        Args:
            stat: what the runtime has said about the file already.

        Raises:
            errors.Error: nothing was changed under the target's name.
        """
        stat = stat or self.service.stat(remote)
        if stat.entry is None:
            raise error_of(trees.Problem("FileNotFound", f"{remote}: no such file or folder"), THERE)
        result = TransferResult(remote, local)
        local = os.path.realpath(local)
        folder = os.path.dirname(local)
        with local_problems(local):
            trees.check_replaceable(local)
            trees.make_folder(folder)
        if not stat.entry.size and self.service.read(stat.real, 0, 1):
            raise endless(remote, THERE, f"lecoder-cgpu cat {remote} > LOCAL")
        for attempt in range(ATTEMPTS):
            part = _own_part(folder, transfer_key(stat.real, local, stat.entry.size, stat.entry.mtime))
            digest = self._attempt(part, stat.real, remote, stat.entry)
            if digest is not None:
                _commit(part, local, stat.entry)
                result.digests[""], result.bytes = digest, stat.entry.size
                self.progress(1, 0)
                return result
            os.unlink(part)
            self._read_range = None  # the server may serve something else under that name
            logs.current().warn("FILES", "hashes differ", {"path": remote, "attempt": attempt})
        raise error_of(trees.Problem("VerifyFailed", f"{remote}: what arrived is not what was sent, twice"), HERE)

    def _attempt(self, part: str, real: str, remote: str, entry: Entry) -> str | None:
        """Fill a half-written file; returns its hash, or None when the hashes differ."""
        size, folder = entry.size, os.path.dirname(part)
        with local_problems(part), open(part, "r+b" if os.path.exists(part) else "w+b", buffering=0) as file:
            have = file.seek(0, os.SEEK_END)
            if have > size:
                have = file.truncate(0)
            if shutil.disk_usage(folder).free < size - have:
                os.unlink(part)
                raise trees.Problem("DiskFull", f"{folder}: there is no room for {size} bytes")
            hash_there = self.service.start_hash(real, size)
            hashing = Task(partial(hash_file, part, size))  # of what the disk has
            try:
                self._receive(file, real, have, size)
                ours, theirs = hashing.wait(), hash_there()
            finally:
                hashing.cancelled = True
        now = self.service.stat(real).entry
        if now is None or Found(now.size, now.mtime) != Found(size, entry.mtime):
            os.unlink(part)
            raise error_of(trees.Problem("FileChanged", f"{remote}: it was changed while it was read"), THERE)
        return str(ours) if theirs is None or ours == theirs else None

    def _receive(self, file: BinaryIO, real: str, have: int, size: int) -> None:
        """Fill a half-written file, which holds `have` bytes, up to `size`."""
        file.seek(have)
        self.progress(0, have)
        sink = _Sink(file, have, self.progress)
        if size - have >= BY_HTTP and self._read_range is not None:
            self._by_http(self._read_range, real, size, sink)
        pace = Pace()

        def parts() -> Iterator[Part]:
            start = sink.position
            while start < size:
                part = Part(start, min(pace.part, size - start))
                yield part
                start += part.size

        def done(part: Part, content: memoryview) -> None:
            pace.answered()
            if part.offset == sink.position:  # otherwise an earlier part came short: the file was cut
                sink(content)

        self.service.read_parts(real, parts(), done)
        if sink.position != size:
            raise error_of(trees.Problem("FileChanged", f"{real}: it was cut while it was read"), THERE)

    def _by_http(self, read_range: ReadRange, real: str, size: int, sink: _Sink) -> None:
        """Read as much of the file as the server itself serves; the caller reads the rest."""
        failures = 0
        while sink.position < size and failures < HTTP_FAILURES:
            before = sink.position
            try:
                if self._parallel:
                    side_by_side(partial(read_range, real), sink.position, size, sink)
                else:
                    for data in read_range(real, sink.position, size) or ():
                        sink(data)
                return
            except errors.Error as error:
                logs.current().info("FILES", "not by HTTP", {"path": real, "error": error.message})
                if not error.retryable:
                    self._read_range = None
                    return
                failures = 0 if sink.position > before else failures + 1

    def tree(self, remote: str, local: str) -> TransferResult:
        """Copy a folder from the runtime, into the folder `local`, which is made when it is missing.

        Raises:
            errors.Error: something could not be copied. What was copied before is whole.
        """
        entries = self.service.scan(remote)
        result = TransferResult(remote, local, folder=True)
        batches = plan.divide(entries)
        result.skipped = batches.skipped
        with local_problems(local):
            unpack = Unpacker(local, messages.new_id()[:12])

        def done(packed: Packed) -> None:
            for problem in packed.problems[:1]:
                raise error_of(trees.Problem(problem.name, problem.message), THERE)
            with local_problems(local):
                unpack(packed.content)
            self.count(result, packed.content)

        try:
            self.service.pack(remote, batches.packs, done)
            for item in batches.large:
                with local_problems(local):
                    path = trees.join(local, item.name)
                    unpack.folder(item.name.rpartition("/")[0])
                result.add(item.name, self.file(plan.remote_join(remote, item.name), path))
            with local_problems(local):
                for batch in plan.folders_of(entries):
                    unpack(b"".join(packing.folder_records(batch)))
        except errors.Error as error:
            raise incomplete(error, result, len(entries)) from error
        return result


class _Sink:
    """Takes a file's content in order; `position` is how many bytes of the file are there."""

    def __init__(self, file: BinaryIO, position: int, progress: Progress) -> None:
        self._file = file
        self._progress = progress
        self.position = position

    def __call__(self, data: Piece) -> None:
        trees.write_all(self._file.fileno(), data)
        self.position += len(data)
        self._progress(0, len(data))


def _commit(part: str, local: str, entry: Entry) -> None:
    """Give a complete file its mode, its time and its name."""
    with local_problems(local):
        if os.name == "posix" and entry.mode is not None:
            os.chmod(part, entry.mode & 0o777)
        os.utime(part, ns=(entry.mtime, entry.mtime))
        os.replace(part, local)


def _own_part(folder: str, key: str) -> str:
    """The path of a half-written file of this process. One that a dead process has left of the same file is taken
    over."""
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
