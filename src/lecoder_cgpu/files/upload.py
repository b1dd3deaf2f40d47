"""Copies local files and folders to a runtime."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import BinaryIO

from .. import errors
from ..guest import packs as packing
from ..guest import trees
from ..guest.trees import Entry
from ..helper.file_documents import Found, HalfWritten
from ..helper.file_errors import HERE, error_of
from ..jupyter import messages
from ..system import logs
from . import plan
from .transfer import ATTEMPTS, Pace, Transfer, TransferResult, endless, incomplete, local_problems, transfer_key


class Upload(Transfer):
    """Uploads over one service."""

    def file(self, local: str, remote: str, *, root: str | None = None, expect: Found | None = None) -> TransferResult:
        """Copy a file to the runtime.

        Args:
            root: the folder there below which it stays, `remote` being its name in it. None if `remote` is a path.
            expect: what the file there must still be; it is not replaced otherwise.

        Raises:
            errors.Error: nothing was changed under the target's name.
        """
        result = TransferResult(local, remote)
        with local_problems(local), open(local, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            key = transfer_key(
                os.path.abspath(local), plan.remote_join(root or "", remote), found.st_size, found.st_mtime_ns
            )
            for attempt in range(ATTEMPTS):
                half = self.service.begin(remote, found.st_size, key, messages.new_id()[:8], root=root)
                try:
                    digest = self._attempt(file, local, found, half, expect)
                except errors.ConnectionFailed:
                    raise  # the next attempt can use what has arrived
                except KeyboardInterrupt:
                    with contextlib.suppress(errors.Error):
                        self.service.leave(half)
                    raise
                except errors.Error:
                    with contextlib.suppress(errors.Error):
                        self.service.abandon(half)
                    raise
                if digest is not None:
                    result.digests[""], result.bytes = digest, found.st_size
                    self.progress(1, 0)
                    return result
                self.service.abandon(half)
                logs.current().warn("FILES", "hashes differ", {"path": remote, "attempt": attempt})
        raise error_of(trees.Problem("VerifyFailed", f"{remote}: what arrived is not what was sent, twice"), "there")

    def _attempt(
        self, file: BinaryIO, local: str, found: os.stat_result, half: HalfWritten, expect: Found | None
    ) -> str | None:
        """Send a file and give it its name; returns its hash, or None when the hashes differ."""
        file.seek(0)
        ours, theirs = self._send(file, half, found.st_size)
        after = os.stat(local)
        if (after.st_size, after.st_mtime_ns) != (found.st_size, found.st_mtime_ns) or ours is None:
            raise error_of(trees.Problem("FileChanged", f"{local}: it was changed while it was read"), HERE)
        if file.read(1):
            raise endless(local, HERE, f"lecoder-cgpu upload - REMOTE < {local}")
        if theirs is not None and ours != theirs:
            return None
        mode = found.st_mode & 0o777 if os.name == "posix" else None
        self.service.commit(half, mode, found.st_mtime_ns, expect)
        return ours

    def _send(self, file: BinaryIO, half: HalfWritten, size: int) -> tuple[str | None, str | None]:
        """The hashes of both sides after everything was sent. Ours is None when the file was cut meanwhile; theirs is
        None when the runtime cannot tell."""
        hash_there = self.service.start_hash(half.part, size)
        digest = hashlib.sha256()
        whole = True
        pace = Pace()

        def pieces() -> Iterator[tuple[int, bytes]]:
            nonlocal whole
            position = 0
            while position < size:
                wanted = min(pace.part, size - position)
                if position < half.offset:
                    wanted = min(wanted, half.offset - position)
                data = file.read(wanted)
                if not data:
                    whole = False
                    return
                digest.update(data)
                if position >= half.offset:
                    yield position, data
                position += len(data)

        def done(sent: int) -> None:
            pace.answered()
            self.progress(0, sent)

        self.progress(0, half.offset)
        self.service.write(half, pieces(), done)
        return (digest.hexdigest(), hash_there()) if whole else (None, None)

    def tree(
        self, local: str, remote: str, *, skip: plan.Skip | None = None, entries: list[Entry] | None = None
    ) -> TransferResult:
        """Copy a folder to the runtime, into the folder `remote`, which is made when it is missing.

        Args:
            skip: names that are left out.
            entries: what to copy of it; everything when None.

        Raises:
            errors.Error: something could not be copied. What was copied before is whole.
        """
        chosen = plan.scan(local, skip) if entries is None else entries
        result = TransferResult(local, remote, folder=True)
        batches = plan.divide(chosen)
        result.skipped = batches.skipped
        nonce = messages.new_id()[:12]

        def packed(wanted: list[list[Entry]]) -> Iterator[bytes]:
            for batch in wanted:
                content, problems = packing.pack(local, batch)
                for problem in problems[:1]:
                    raise error_of(trees.Problem(problem.name, problem.message), HERE)
                yield content

        try:
            # An empty pack makes the folder, should there be nothing small in it.
            self.service.unpack(remote, nonce, packed(batches.packs or [[]]), lambda sent: self.count(result, sent))
            for item in batches.large:
                result.add(item.name, self.file(trees.join(local, item.name), item.name, root=remote))
            self.service.unpack(remote, nonce, packed(plan.folders_of(chosen)), lambda sent: None)
        except trees.Problem as error:
            raise error_of(error, HERE) from error
        except errors.Error as error:
            raise incomplete(error, result, len(chosen)) from error
        return result
