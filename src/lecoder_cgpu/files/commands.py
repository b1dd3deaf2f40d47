"""What users ask of a runtime's files: upload, download, sync, list, remove, read, edit.

Relative paths start where processes start on the runtime. The methods return the documents that commands print.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from .. import errors
from ..guest import trees
from ..guest.trees import Entry
from ..helper.client import Helper
from ..helper.file_documents import Part, Stat
from ..helper.file_errors import HERE, error_of
from ..helper.file_service import FileService
from ..models.files import FileEdited, FileList, FilesRemoved, Synced
from ..models.files import Transfer as TransferDocument
from ..net.http import is_loopback
from ..sessions.activity import counts_as_use, in_use
from ..sessions.session import Session
from ..store import leases
from ..system import logs
from . import documents, patterns, plan
from .download import Download
from .edit import Edit
from .server_files import range_reader
from .service import Service
from .sync import Sync
from .transfer import Expected, Progress, TransferResult, local_problems
from .upload import Upload

if TYPE_CHECKING:
    from ..helper.gentle_channel import Pace

READ = 4 << 20  # bytes read at once

# Errors that mean that there is no helper, so that files have to go through the server.
_NO_HELPER = (
    errors.HelperFailed,
    errors.KernelRefused,
    errors.MessageTooLarge,
    errors.NoFileService,
    errors.UnexpectedAnswer,
    errors.ServerError,
    errors.HelperDead,
    errors.NotFoundError,
)


class _Source(NamedTuple):
    """Something to download."""

    source: str
    stat: Stat


class _Target(NamedTuple):
    """Something to delete: the path as it is shown, and the full path."""

    shown: str
    full: str
    is_folder: bool


class Storage:
    """The files of a session's runtime, to be used in a `with` statement.

    Args:
        progress: told of files and bytes as they are done. service: the runtime's files; found when None.
        expect: told how many that will be in all, once it is known. pace: how fast to go, so that work is not slowed.
    """

    def __init__(
        self,
        session: Session,
        progress: Progress | None = None,
        service: Service | None = None,
        *,
        expect: Expected | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.session = session
        self.service = self._open(pace) if service is None else service
        hello = self.service.hello
        endpoint = session.endpoint
        self.uploads = Upload(self.service, progress, expect)
        self.downloads = Download(
            self.service,
            progress,
            expect,
            read_range=None
            if hello is None or session.record.apart or pace is not None
            else range_reader(session.server, hello, endpoint.folder),
            parallel=not is_loopback(endpoint.url),
        )

    def _open(self, pace: Pace | None) -> Service:
        service = FileService(self._connect, pace=pace)
        try:
            service.open()
        except _NO_HELPER as error:
            if self.session.record.apart:
                raise  # the server's files are on another machine
            from .contents_service import ContentsService

            fallback = ContentsService(self.session.server, self.session.endpoint.folder)
            fallback.check(error)
            logs.current().warn("FILES", f"no helper: {error.message}")
            self.session.notify("the helper does not run there: files go through the server, slower and without modes")
            return fallback
        return service

    def _connect(self, cause: errors.ConnectionFailed | None) -> Helper:
        if cause is not None:
            if isinstance(cause, errors.HelperDead):
                self.session.replace_helper()
            if self.session.known_gone():
                raise leases.gone(self.session.record) from cause
        return self.session.connect_helper()

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, *_: object) -> None:
        self.service.close()

    # --- up and down ---

    @counts_as_use
    def upload(self, sources: Sequence[str], target: str | None) -> TransferDocument:
        """Copy local files and folders to the runtime.

        Args:
            sources: paths or patterns; `.` and `x/.` stand for the contents of a folder.
            target: where to; into it when it ends with a slash, is a folder, or there are several sources or a
                pattern. The runtime's working folder when None.

        Raises:
            errors.Error: something was not copied.
        """
        began = time.monotonic()
        plan.check_no_address(sources)
        chosen = plan.expand(sources)
        target = plan.clean_remote(target if target is not None else "./")
        several = len(chosen) > 1 or any(plan.has_magic(source) and source not in chosen for source in sources)
        into = target.endswith("/") or several or self._is_folder(target)
        results = []
        folders = {source: plan.scan(source) for source in chosen if os.path.isdir(source)}
        with local_problems(chosen[0]):
            alone = [
                Entry(source, trees.FILE, os.stat(source).st_size, 0) for source in chosen if source not in folders
            ]
        self.uploads.expect_all([*alone, *(item for entries in folders.values() for item in entries)])
        for source in chosen:
            name = plan.local_name(source)
            where = plan.remote_join(target, name) if into and name else target
            if source in folders:
                results.append(self.uploads.tree(source, where, entries=folders[source]))
            else:
                results.append(self.uploads.file(source, where))
        return self._document("upload", results, began)

    def upload_stream(self, stream: BinaryIO, target: str) -> TransferDocument:
        """Copy a stream, until its end, into a file on the runtime. The content is kept on the local disk meanwhile.

        Raises:
            errors.UsageError: the target is a folder. errors.Error: it was not copied.
        """
        began = time.monotonic()
        target = plan.clean_remote(target)
        if target.endswith("/") or self._is_folder(target):
            raise errors.UsageError(
                f"{target} is a folder, and stdin has no name",
                name="IsADirectory",
                hint=f"lecoder-cgpu upload - {target.rstrip('/')}/NAME",
            )
        with tempfile.TemporaryDirectory(prefix="lecoder-cgpu-") as folder:
            spool = os.path.join(folder, "stdin")
            with local_problems(spool), in_use(self.session, traffic_only=True), open(spool, "wb", buffering=0) as file:
                # As it comes: a slow writer is at work, too.
                while data := getattr(stream, "read1", stream.read)(READ):
                    self.session.used()
                    trees.write_all(file.fileno(), data)
            os.chmod(spool, 0o644)
            with in_use(self.session):
                result = self.uploads.file(spool, target)
        result.source = "-"
        return self._document("upload", [result], began)

    @counts_as_use
    def download(self, sources: Sequence[str], target: str | None) -> TransferDocument:
        """Copy files and folders from the runtime.

        Args:
            sources: paths or patterns there.
            target: as in `upload`; the current folder when None.

        Raises:
            errors.Error: something was not copied.
        """
        began = time.monotonic()
        plan.check_no_address([target])
        chosen = [path for source in sources for path in self._expand(plan.clean_remote(source))]
        target = os.path.expanduser(target) if target is not None else "./"
        # A pattern counts as several sources, even if it matches only one.
        several = len(chosen) > 1 or chosen[0].source != sources[0]
        into = target.endswith(("/", os.sep)) or several or os.path.isdir(target)
        results = []
        if all(stat.entry is not None and not stat.is_folder for _, stat in chosen):
            self.downloads.expect_all([stat.entry for _, stat in chosen if stat.entry is not None])
        for source, stat in chosen:
            name = plan.remote_name(source)
            if name:
                _check_local(name)
            where = os.path.join(target, name) if into and name else target
            if stat.is_folder:
                below = target if into and name else None
                results.append(self.downloads.tree(source, where, below=below, alone=len(chosen) == 1))
            else:
                results.append(self.downloads.file(source, where, stat=stat))
        return self._document("download", results, began)

    def _expand(self, source: str) -> list[_Source]:
        """What a path or a pattern on the runtime stands for."""
        stat = self.service.stat(source)
        if stat.entry is not None:
            if not (stat.is_file or stat.is_folder):
                raise errors.UsageError(
                    f"{source} is neither a file nor a folder", name="NotAFile", hint=f"lecoder-cgpu cat {source}"
                )
            return [_Source(source, stat)]
        found: list[_Source] = []
        if plan.has_magic(source):
            for item in self._glob(source):
                if item.kind in (trees.FILE, trees.FOLDER):
                    found.append(_Source(item.name, self.service.stat(item.name)))
        if not found:
            raise _missing(source)
        return found

    def _glob(self, pattern: str) -> list[Entry]:
        """What matches a pattern on the runtime."""
        found = self.service.glob(pattern)
        patterns.check_answers(pattern, [item.name for item in found])
        return found

    def _is_folder(self, path: str) -> bool:
        return self.service.stat(path).is_folder

    # --- looking, reading, removing ---

    def list(self, path: str) -> FileList:
        """What is at a path: the lines of a folder, one line for a file, or the matches of a pattern.

        Raises:
            errors.NotFoundError: nothing is there.
        """
        path = plan.clean_remote(path)
        stat = self.service.stat(path)
        if stat.entry is None:
            lines = self._glob(path) if plan.has_magic(path) else []
            if not lines:
                raise _missing(path)
            shown = path
        elif stat.is_folder:
            lines, shown = self.service.list_folder(path), stat.path
        else:
            lines, shown = [stat.entry._replace(name=path)], stat.path
        return FileList(
            path=trees.shown(shown), entries=[documents.entry(line) for line in lines], session=self.session.record.ref
        )

    def read(self, path: str, write: Callable[[bytes], None]) -> int:
        """Read a file.

        Args:
            write: gets the content piece by piece.

        Returns:
            the file's size in bytes.

        Raises:
            errors.NotFoundError: it does not exist. errors.UsageError: it is a folder.
        """
        entry, real = self._file(path)
        offset = 0
        if entry.size:

            def done(part: Part, content: memoryview) -> None:
                nonlocal offset
                if part.offset != offset:
                    raise error_of(trees.Problem("FileChanged", f"{path}: it was cut while it was read"), "there")
                write(bytes(content))
                offset += len(content)

            starts = range(0, entry.size, READ)
            parts = (Part(start, min(READ, entry.size - start)) for start in starts)
            self.service.read_parts(real, parts, done)
            return offset
        # The size of a device or a file of /proc is known only at its end.
        while data := self.service.read(real, offset, READ):
            write(bytes(data))
            offset += len(data)
        return offset

    def _file(self, path: str) -> tuple[Entry, str]:
        """The entry and the real path of something that is no folder."""
        stat = self.service.stat(plan.clean_remote(path))
        if stat.entry is None:
            raise _missing(path)
        if stat.is_folder:
            raise errors.UsageError(
                f"{path} is a folder on the runtime", name="IsADirectory", hint=f"lecoder-cgpu ls {path}"
            )
        return stat.entry, stat.real

    @counts_as_use
    def remove(self, paths: Sequence[str], *, recursive: bool = False, missing_ok: bool = False) -> FilesRemoved:
        """Delete files, and folders with `recursive`. All paths are checked before anything is deleted.

        Raises:
            errors.NotFoundError: a path does not exist; not with `missing_ok`.
            errors.UsageError: a path is a folder, or holds the runtime's working folder.
        """
        targets: list[_Target] = []
        for given in paths:
            path = plan.clean_remote(given).rstrip("/") or "/"
            found = self._targets(path)
            if not found and not missing_ok:
                raise _missing(path)
            for target in found:
                self._check_removable(target, recursive)
            targets += found
        removed, count = [], 0
        for target in targets:
            if target.is_folder:
                count += self.service.remove(target.full)
            else:
                parent, _, name = target.full.rpartition("/")
                count += len(self.service.delete(parent or "/", [name]))
            removed.append(trees.shown(target.shown))
        return FilesRemoved(removed=removed, entries=count, session=self.session.record.ref)

    def _check_removable(self, target: _Target, recursive: bool) -> None:
        if target.is_folder and not recursive:
            raise errors.UsageError(
                f"{target.shown} is a folder",
                name="IsADirectory",
                hint=f"delete it with all it holds: lecoder-cgpu rm -r {target.shown}",
            )
        hello = self.service.hello
        if target.full == "/" or (hello is not None and trees.is_inside(hello.cwd, target.full)):
            raise errors.UsageError(
                f"{target.shown} holds the runtime's own working folder; it is not deleted",
                name="Refused",
                hint=f"name what is in it: lecoder-cgpu ls {target.shown}",
            )

    def _targets(self, path: str) -> Sequence[_Target]:
        """What a path or a pattern stands for. Links are not followed."""
        folder, _, name = path.rpartition("/")
        stat = self.service.stat((folder or "/") if path.startswith("/") else folder or ".")
        if not stat.is_folder:
            return []
        if path == "/" or name in ("", ".", ".."):
            return [_Target(path, self.service.stat(path).real, True)]
        for item in self.service.list_folder(stat.real):
            if item.name == name:
                return [_Target(path, plan.remote_join(stat.real, name), item.kind == trees.FOLDER)]
        if not plan.has_magic(path):
            return []
        found: list[_Target] = []
        for item in self._glob(path):
            found += self._targets(item.name) if not plan.has_magic(item.name) else []
        return sorted(found)

    def edit(self, path: str, editor: Callable[[str], None]) -> FileEdited:
        """Fetch a file, have it edited, and save it if it was changed here and not there meanwhile.

        Args:
            editor: changes the local file whose path it gets; raises when it did not finish.

        Raises:
            errors.NotFoundError: the file does not exist.
            errors.TransferError: (`FileChanged`) somebody else changed it. The edited text is kept, and
                the hint says where.
        """
        entry, real = self._file(path)
        edit = Edit(self.uploads, self.downloads, self.session.notify)
        saved, digest = edit.run(Stat(path, real, entry), editor)
        return FileEdited(path=path, saved=saved, sha256=digest, session=self.session.record.ref)

    # --- sync ---

    @counts_as_use
    def sync(
        self,
        local: str,
        remote: str,
        *,
        checksum: bool = False,
        delete: bool = False,
        dry_run: bool = False,
    ) -> Synced:
        """Make a folder on the runtime hold what a local one does: only what differs is sent.

        Names that `.gitignore` and `.lecoderignore` leave out are neither sent nor deleted.

        Args:
            checksum: compare hashes where sizes agree, instead of times.
            delete: also delete what exists only on the runtime.
            dry_run: only tell what would be done.

        Raises:
            errors.Error: something could not be done; what was done before is whole.
        """
        sync = Sync(self.service, self.uploads, self.session.record.ref, self.session.notify)
        return sync.run(local, plan.clean_remote(remote), checksum=checksum, delete=delete, dry_run=dry_run)

    def _document(
        self, action: Literal["upload", "download"], results: Sequence[TransferResult], began: float
    ) -> TransferDocument:
        document = TransferDocument(action=action, session=self.session.record.ref)
        document.seconds = round(time.monotonic() - began, 3)
        document.verified = self.service.verifies
        documents.fill(document, results)
        return document


def _missing(path: str) -> errors.NotFoundError:
    folder = path.rstrip("/").rpartition("/")[0] or ("/" if path.startswith("/") else ".")
    return errors.FileNotFound(f"{path}: no such file or folder on the runtime", hint=f"lecoder-cgpu ls {folder}")


def _check_local(name: str) -> None:
    try:
        trees.check_name(name)
    except trees.Problem as error:
        raise error_of(error, HERE) from error
