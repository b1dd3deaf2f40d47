"""Copies files and folders of a runtime to this machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import BinaryIO

from .. import errors
from ..guest import packs as packing
from ..guest import trees
from ..guest.beneath import Beneath, Folder, permissions, umask
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
    Expected,
    Pace,
    Progress,
    Transfer,
    TransferResult,
    endless,
    incomplete,
    local_problems,
    transfer_key,
)

BY_HTTP = 8 << 20  # a file with at least this many bytes is read from the server itself, if the server has it
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
        expect: Expected | None = None,
        *,
        read_range: ReadRange | None = None,
        parallel: bool = False,
    ) -> None:
        super().__init__(service, progress, expect)
        self._read_range = read_range
        self._parallel = parallel

    def file(self, remote: str, local: str, *, stat: Stat | None = None) -> TransferResult:
        """Copy a file from the runtime.

        Args:
            local: its name here; a link of that name is refused. Links in its folder's path are followed.
            stat: what the runtime has said about the file already.

        Raises:
            errors.Error: nothing was changed under the target's name.
        """
        with local_problems(local):
            folder, name = Beneath(os.path.dirname(local) or ".").place(os.path.basename(local))
            folder.check_replaceable(name, links=False)
        return self._file(remote, local, (folder, name), stat or self.service.stat(remote))

    def _file(self, remote: str, local: str, place: tuple[Folder, str], stat: Stat) -> TransferResult:
        """Copy a file into an open folder, under the name `place` has with it."""
        folder, name = place
        if stat.entry is None:
            raise error_of(trees.Problem("FileNotFound", f"{remote}: no such file or folder"), THERE)
        result = TransferResult(remote, local)
        with local_problems(local):
            folder.check_replaceable(name)
        if not stat.entry.size and self.service.read(stat.real, 0, 1):
            raise endless(remote, THERE, f"lecoder-cgpu cat {remote} > LOCAL")
        key = transfer_key(stat.real, os.path.join(folder.path, name), stat.entry.size, stat.entry.mtime)
        for attempt in range(ATTEMPTS):
            with local_problems(local):
                part = _own_part(folder, key)
            digest = self._attempt(folder, part, stat.real, remote, stat.entry)
            if digest is not None:
                with local_problems(local):
                    mode = None if stat.entry.mode is None else permissions(stat.entry.mode, umask())
                    folder.finish(part, None, mode if os.name == "posix" else None, stat.entry.mtime)
                    folder.rename(part, folder, name)
                result.digests[""], result.bytes = digest, stat.entry.size
                self.progress(1, 0)
                return result
            folder.unlink(part)
            self._read_range = None  # the server may serve something else under that name
            logs.current().warn("FILES", "hashes differ", {"path": remote, "attempt": attempt})
        raise error_of(trees.Problem("VerifyFailed", f"{remote}: what arrived is not what was sent, twice"), HERE)

    def _attempt(self, folder: Folder, part: str, real: str, remote: str, entry: Entry) -> str | None:
        """Fill a half-written file; returns its hash, or None when the hashes differ."""
        size = entry.size

        def again(path: str, flags: int) -> int:
            return folder.open(part, flags)

        path = os.path.join(folder.path, part)
        with local_problems(path), os.fdopen(folder.open(part, os.O_RDWR | os.O_CREAT), "r+b", buffering=0) as file:
            have = file.seek(0, os.SEEK_END)
            if have > size:
                have = file.truncate(0)
            if shutil.disk_usage(folder.path).free < size - have:
                folder.unlink(part)
                raise trees.Problem("DiskFull", f"{folder.path}: there is no room for {size} bytes")
            hash_there = self.service.start_hash(real, size)
            hashing = Task(partial(hash_file, path, size, opener=again))  # of what the disk has
            try:
                self._receive(file, real, have, size)
                ours, theirs = hashing.wait(), hash_there()
            finally:
                hashing.cancelled = True
        now = self.service.stat(real).entry
        if now is None or Found(now.size, now.mtime) != Found(size, entry.mtime):
            folder.unlink(part)
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
                if not error.retryable or isinstance(error, errors.ReadTimeout):  # nobody waits twice for silence
                    self._read_range = None
                    return
                failures = 0 if sink.position > before else failures + 1

    def beginning(self, remote: str, local: str, entry: Entry) -> str:
        """Copy as much of a file as a listing says it has; the file may have grown since. Returns the SHA-256 in hex.

        Args:
            remote: its path there. local: its name here; what has that name is replaced.

        Raises:
            errors.TransferError: (`FileChanged`) it was written anew while it was read. errors.Error: not copied.
        """
        size = entry.size
        with local_problems(local):
            folder, name = Beneath(os.path.dirname(local)).place(os.path.basename(local))
            part = _own_part(folder, transfer_key(remote, local))
            if shutil.disk_usage(folder.path).free < size:
                raise trees.Problem("DiskFull", f"{folder.path}: there is no room for {size} bytes")
            try:
                with os.fdopen(folder.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC), "r+b", buffering=0) as file:
                    self._receive(file, remote, 0, size)
                    file.seek(0)
                    ours = hashlib.file_digest(file, "sha256").hexdigest()
                theirs = self.service.start_hash(remote, size)()
                if ours != (theirs or ours):
                    raise error_of(trees.Problem("FileChanged", f"{remote}: it was changed while it was read"), THERE)
                mode = None if entry.mode is None else permissions(entry.mode, umask())
                folder.finish(part, None, mode if os.name == "posix" else None, entry.mtime)
                folder.rename(part, folder, name)
            except BaseException:
                with contextlib.suppress(OSError):
                    folder.unlink(part)
                raise
        return ours

    def tree(self, remote: str, local: str, *, below: str | None = None, alone: bool = False) -> TransferResult:
        """Copy a folder from the runtime, into the folder `local`, which is made when it is missing.

        Args:
            below: the folder that `local` has to lie in, links followed. None if `local` may be a link to anywhere.
            alone: whether nothing else is to be copied.

        Raises:
            errors.Error: something could not be copied. What was copied before is whole.
        """
        entries = self.service.scan(remote)
        if alone:
            self.expect_all(entries)
        result = TransferResult(remote, local, folder=True)
        batches = plan.divide(entries)
        result.skipped = batches.skipped
        with local_problems(local):
            inside = None if below is None else os.path.relpath(local, below).replace(os.sep, "/")
            root = local if inside is None else Beneath(str(below)).folder(trees.check_name(inside), make=True).path
            unpack = Unpacker(root, messages.new_id()[:12])
        asked = iter(batches.packs)

        def done(packed: Packed) -> None:
            for problem in packed.problems[:1]:
                raise error_of(trees.Problem(problem.name, problem.message), THERE)
            _check_pack(packed, next(asked), remote)
            with local_problems(local):
                unpack(packed.content)
            self.count(result, packed.content)

        try:
            self.service.pack(remote, batches.packs, done)
            for item in batches.large:
                with local_problems(local):
                    path = trees.join(local, item.name)
                    place = unpack.place(item.name)
                source = plan.remote_join(remote, item.name)
                result.add(item.name, self._file(source, path, place, self.service.stat(source)))
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


def _check_pack(packed: Packed, asked: list[Entry], remote: str) -> None:
    """Refuse a pack that holds anything but what was asked for."""
    with local_problems(remote):
        kinds = {item.name: "file" if item.is_file else "link" for item in packing.records(packed.content)}
    if kinds != {item.name: item.kind for item in asked}:
        raise errors.UnexpectedAnswer(
            f"{remote}: the runtime sent other files than those that were asked for",
            retryable=False,
            hint="nothing of it was written; repeat the same command",
        )


def _own_part(folder: Folder, key: str) -> str:
    """The name of a half-written file of this process. One that a dead process has left of the same file is taken
    over."""
    from ..system import process_identity

    own = f".{key}-{os.getpid()}-{next(_numbers)}{trees.PART_SUFFIX}"
    for name in folder.names():
        if name.startswith(f".{key}-") and name.endswith(trees.PART_SUFFIX):
            owner = name.removeprefix(f".{key}-").partition("-")[0]
            if owner.isascii() and owner.isdigit() and len(owner) < 10 and process_identity.of(int(owner)) is None:
                with contextlib.suppress(OSError):
                    folder.rename(name, folder, own)
                    break
    return own
