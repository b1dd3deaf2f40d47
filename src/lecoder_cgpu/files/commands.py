"""What users ask of a runtime's files: upload, download, sync, list, remove, read. Relative paths start where processes
start on the runtime; documents come back."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import UNSET

from .. import errors
from ..guest import trees
from ..helper.client import Helper
from ..helper.file_service import FileService, error_of
from ..models.base import ErrorInfo, timestamp_ns
from ..models.files import (
    FileEdited,
    FileEntry,
    FileList,
    FilesRemoved,
    Skipped,
    SyncChange,
    Synced,
    TransferItem,
)
from ..models.files import (
    Transfer as TransferDocument,
)
from ..models.runs import Pulled
from ..net.http import is_loopback
from ..sessions.session import Session
from ..system import logs
from . import plan as files
from .transfer import Progress, Service, Transfer, TransferResult, local_problems, range_reader

READ = 4 << 20
CHECKED = 500  # names in one question for hashes
DELETED = 256  # names in one request to delete

# Why there is no helper, so that files have to go another way.
_NO_HELPER = (
    errors.HelperFailed,
    errors.NoFileService,
    errors.UnexpectedAnswer,
    errors.ServerError,
    errors.HelperDead,
    errors.NotFoundError,
)


class Storage:
    """The files of a session's runtime, to be used in a `with` statement.

    Args:
        progress: told of files and bytes as they are done.
    """

    def __init__(self, session: Session, progress: Progress | None = None) -> None:
        self.session = session
        self._service = self._open()
        hello = self._service.hello
        endpoint = session.endpoint
        reader = None
        if hello is not None:
            reader = range_reader(session.server, hello, endpoint.folder)
        self._mover = Transfer(
            self._service, read_range=reader, parallel=not is_loopback(endpoint.url), progress=progress
        )

    def _open(self) -> Service:
        service = FileService(self._connect)
        try:
            service.open()
        except _NO_HELPER as error:
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
                raise errors.LostError(
                    f"the runtime of session {self.session.record.name!r} is gone",
                    name="RuntimeLost",
                    hint="lecoder-cgpu sessions list",
                ) from cause
        return self.session.connect_helper()

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, *_: object) -> None:
        self._service.close()

    # --- up and down ---

    def upload(self, sources: Sequence[str], target: str | None) -> TransferDocument:
        """Copy local files and folders to the runtime.

        Args:
            sources: paths or patterns; a folder that is written `.` or `x/.` stands for what it holds.
            target: where to; into it when it ends with a slash, is a folder, or there are several sources or a
                pattern. The runtime's working folder when None.

        Raises:
            errors.Error: something was not copied.
        """
        began = time.monotonic()
        chosen = files.expand(sources)
        target = files.clean_remote(target if target is not None else "./")
        several = len(chosen) > 1 or any(files.has_magic(source) and source not in chosen for source in sources)
        into = target.endswith("/") or several or self._is_folder(target)
        moved = []
        for source in chosen:
            name = files.local_name(source)
            where = files.remote_join(target, name) if into and name else target
            if os.path.isdir(source):
                moved.append(self._mover.upload_tree(source, where))
            else:
                moved.append(self._mover.upload_file(source, where))
        return self._document("upload", moved, began)

    def upload_stream(self, stream: BinaryIO, target: str) -> TransferDocument:
        """Copy what a stream gives until its end into a file on the runtime; it is kept on the local disk meanwhile.

        Raises:
            errors.UsageError: the target is a folder. errors.Error: it was not copied.
        """
        began = time.monotonic()
        if target.endswith("/") or self._is_folder(target):
            raise errors.UsageError(
                f"{target} is a folder, and stdin has no name",
                name="IsADirectory",
                hint=f"lecoder-cgpu upload - {target.rstrip('/')}/NAME",
            )
        with tempfile.TemporaryDirectory(prefix="lecoder-cgpu-") as folder:
            spool = os.path.join(folder, "stdin")
            with local_problems(spool), open(spool, "wb", buffering=0) as file:
                while data := stream.read(READ):
                    trees.write_all(file.fileno(), data)
            os.chmod(spool, 0o644)
            moved = self._mover.upload_file(spool, target)
        moved.source = "-"
        return self._document("upload", [moved], began)

    def download(self, sources: Sequence[str], target: str | None) -> TransferDocument:
        """Copy files and folders from the runtime.

        Args:
            sources: paths or patterns there.
            target: as in `upload`; the current folder when None.

        Raises:
            errors.Error: something was not copied.
        """
        began = time.monotonic()
        chosen = [path for source in sources for path in self._expand(files.clean_remote(source))]
        target = os.path.expanduser(target) if target is not None else "./"
        several = (
            len(chosen) > 1 or chosen[0][0] != sources[0]
        )  # a pattern may stand for several, also when it does not
        into = target.endswith(("/", os.sep)) or several or os.path.isdir(target)
        moved = []
        for source, stat in chosen:
            name = files.remote_name(source)
            if name:
                _check_local(name)
            where = os.path.join(target, name) if into and name else target
            if stat["entry"][1] == trees.FOLDER:
                moved.append(self._mover.download_tree(source, where))
            else:
                moved.append(self._mover.download_file(source, where, stat=stat))
        return self._document("download", moved, began)

    def _expand(self, source: str) -> list[tuple[str, dict[str, Any]]]:
        stat, _ = self._service.call("stat", path=source)
        if stat["entry"] is not None:
            _check_kind(source, stat["entry"])
            return [(source, stat)]
        found: list[tuple[str, dict[str, Any]]] = []
        if files.has_magic(source):
            for item in sorted(self._service.pages("glob", pattern=source)):
                path = item[0]
                if item[1] in (trees.FILE, trees.FOLDER):
                    found.append((path, self._service.call("stat", path=path)[0]))
        if not found:
            raise _missing(source)
        return found

    def _is_folder(self, path: str) -> bool:
        entry = self._service.call("stat", path=path)[0]["entry"]
        return entry is not None and entry[1] == trees.FOLDER

    # --- looking, reading, removing ---

    def list(self, path: str) -> FileList:
        """What there is at a path: the lines of a folder, one for a file, those of a pattern.

        Raises:
            errors.NotFoundError: nothing.
        """
        path = files.clean_remote(path)
        stat, _ = self._service.call("stat", path=path)
        if stat["entry"] is None:
            lines = sorted(self._service.pages("glob", pattern=path)) if files.has_magic(path) else []
            if not lines:
                raise _missing(path)
            shown = path
        elif stat["entry"][1] == trees.FOLDER:
            lines, shown = self._service.call("list", path=path)[0]["entries"], stat["path"]
        else:
            lines, shown = [[path, *stat["entry"][1:]]], stat["path"]
        return FileList(
            path=trees.shown(shown), entries=[_described(line) for line in lines], session=self.session.record.ref
        )

    def read(self, path: str, write: Callable[[bytes], None]) -> int:
        """Pass a file's content on as it comes; returns its size.

        Raises:
            errors.NotFoundError: there is none. errors.UsageError: it is a folder.
        """
        stat = self._file(path)
        size = stat["entry"][2]
        from ..helper.file_service import Request

        # What a device or a file of /proc holds is known only at its end.
        offset = 0
        if size:

            def requests() -> Iterator[Request]:
                for start in range(0, size, READ):
                    yield Request("get", None, start, path=stat["real"], offset=start, size=min(READ, size - start))

            def done(request: Request, answer: tuple[dict[str, Any], memoryview]) -> None:
                nonlocal offset
                if request.tag != offset:
                    raise error_of(trees.Problem("FileChanged", f"{path}: it was cut while it was read"), "there")
                write(bytes(answer[1]))
                offset += len(answer[1])

            self._service.stream(requests(), done)
            return offset
        while True:
            _, data = self._service.call("get", path=stat["real"], offset=offset, size=READ)
            if not data:
                return offset
            write(bytes(data))
            offset += len(data)

    def _file(self, path: str) -> dict[str, Any]:
        stat, _ = self._service.call("stat", path=files.clean_remote(path))
        if stat["entry"] is None:
            raise _missing(path)
        if stat["entry"][1] == trees.FOLDER:
            raise errors.UsageError(
                f"{path} is a folder on the runtime", name="IsADirectory", hint=f"lecoder-cgpu ls {path}"
            )
        return stat

    def remove(self, paths: Sequence[str], *, recursive: bool = False, missing_ok: bool = False) -> FilesRemoved:
        """Delete files, and folders with `recursive`. Everything is looked at before anything is deleted.

        Raises:
            errors.NotFoundError: one is not there. errors.UsageError: one is a folder, or the root of something.
        """
        targets: list[tuple[str, str, bool]] = []
        for given in paths:
            path = files.clean_remote(given).rstrip("/") or "/"
            found = self._looked_up(path)
            if not found and not missing_ok:
                raise _missing(path)
            for item, full, is_folder in found:
                if is_folder and not recursive:
                    raise errors.UsageError(
                        f"{item} is a folder",
                        name="IsADirectory",
                        hint=f"delete it with all it holds: lecoder-cgpu rm -r {item}",
                    )
                hello = self._service.hello
                if full == "/" or (hello is not None and trees.is_inside(hello.cwd, full)):
                    raise errors.UsageError(
                        f"{item} holds the runtime's own working folder; it is not deleted",
                        name="Refused",
                        hint=f"name what is in it: lecoder-cgpu ls {item}",
                    )
                targets.append((item, full, is_folder))
        removed, count = [], 0
        for item, full, is_folder in targets:
            if is_folder:
                count += self._service.task("remove", path=full)
            else:
                parent, _, name = full.rpartition("/")
                count += len(self._service.call("delete", root=parent or "/", names=[name])[0]["deleted"])
            removed.append(trees.shown(item))
        return FilesRemoved(removed=removed, entries=count, session=self.session.record.ref)

    def _looked_up(self, path: str) -> Sequence[tuple[str, str, bool]]:
        """What a path or a pattern stands for, links themselves and not what they lead to: path, full path, folder."""
        folder, _, name = path.rpartition("/")
        stat, _ = self._service.call("stat", path=(folder or "/") if path.startswith("/") else folder or ".")
        if stat["entry"] is None or stat["entry"][1] != trees.FOLDER:
            return []
        if path == "/" or name in ("", ".", ".."):
            full = self._service.call("stat", path=path)[0]["real"]
            return [(path, full, True)]
        lines = {line[0]: line for line in self._service.call("list", path=stat["real"])[0]["entries"]}
        if name in lines:
            return [(path, files.remote_join(stat["real"], name), lines[name][1] == trees.FOLDER)]
        if not files.has_magic(path):
            return []
        found: list[tuple[str, str, bool]] = []
        for line in self._service.pages("glob", pattern=path):
            found += self._looked_up(line[0]) if not files.has_magic(line[0]) else []
        return sorted(found)

    def edit(self, path: str, editor: Callable[[str], None]) -> FileEdited:
        """Fetch a file, have it edited, and save it if it was changed here and not there meanwhile.

        Args:
            editor: changes the local file whose path it gets, and raises when it did not finish.

        Raises:
            errors.NotFoundError: there is no such file; nothing is saved that was never read.
            errors.TransferError: (`FileChanged`) somebody else changed it; the edited text is kept, and said where.
        """
        stat = self._file(path)
        folder = tempfile.mkdtemp(prefix="lecoder-cgpu-edit-")
        local = os.path.join(folder, files.remote_name(path) or "file")
        content = Path(local)
        known, saved = "", False  # hash of what the runtime has

        def edited() -> bool:
            return bool(known) and content.is_file() and sha256(content.read_bytes()).hexdigest() != known

        try:
            known = self._mover.download_file(path, local, stat=stat).digests[""]
            editor(local)
            if not content.exists():
                raise error_of(trees.Problem("FileNotFound", f"{local}: the editor has removed it"), "nothing saved")
            _, _, size, mtime, mode = stat["entry"][:5]
            if os.name == "posix":
                os.chmod(local, mode & 0o777)
            if edited():
                os.utime(local)
                known = self._mover.upload_file(local, stat["real"], expect=[size, mtime]).digests[""]
                saved = True
            return FileEdited(path=path, saved=saved, sha256=known, session=self.session.record.ref)
        except errors.Error as error:
            if edited():
                error.hint = f"what you wrote is in {local}"
            raise
        except KeyboardInterrupt:
            if edited():
                self.session.notify(f"what you wrote is in {local}")
            raise
        finally:
            if not edited():
                shutil.rmtree(folder, ignore_errors=True)

    # --- sync ---

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
            delete: also delete what is only there.
            dry_run: only tell what would be done.

        Raises:
            errors.Error: something could not be done; what was done before is whole.
        """
        began = time.monotonic()
        remote = files.clean_remote(remote)
        files.check_folder(local)
        ignore = files.Ignore(local)
        here = files.scan(local, ignore)
        if delete and not any(item[1] == trees.FILE for item in here):
            raise errors.UsageError(
                f"{local} holds no files; with --delete, everything on the runtime would go",
                name="Refused",
                hint=f"leave out --delete, or delete it there: lecoder-cgpu rm -r {remote}",
            )
        stat, _ = self._service.call("stat", path=remote)
        if stat["entry"] is not None and stat["entry"][1] != trees.FOLDER:
            raise errors.UsageError(
                f"{remote} is a file on the runtime",
                name="NotADirectory",
                hint=f"give another folder, or first: lecoder-cgpu rm {remote}",
            )
        if delete and stat["real"] == "/":
            raise errors.UsageError(
                "--delete with the root of the runtime is refused",
                name="Refused",
                hint=f"name a folder: lecoder-cgpu sync {local} /FOLDER --delete",
            )
        there = [] if stat["entry"] is None else self._service.pages("scan", path=remote)
        covers = (lambda name, is_folder: ignore.covers(name)) if delete else None
        checksum = checksum or not self._service.keeps_times  # times there say nothing then
        plan = files.plan(here, there, checksum=checksum, delete=covers)
        if plan.unsure:
            self._compare(local, remote, plan, {item[0]: item for item in here})
        document = Synced(
            local=local,
            remote=stat["path"],
            sent=0,
            bytes=0,
            deleted=0,
            unchanged=plan.unchanged,
            seconds=0.0,
            session=self.session.record.ref,
            skipped=_skipped(plan.skipped),
            dry_run=dry_run,
        )
        sent = [item for item in plan.send if item[1] != trees.FOLDER]
        document.changes = [SyncChange(action="send", path=trees.shown(item[0]), size=item[2]) for item in sent]
        document.changes += [SyncChange(action="delete", path=trees.shown(name)) for name in plan.delete]
        if dry_run:
            document.sent, document.bytes, document.deleted = len(sent), plan.size, len(plan.delete)
        else:
            for names in files.batches(plan.delete, DELETED):
                answer, _ = self._service.call("delete", root=remote, names=names)
                document.deleted += len(answer["deleted"])
            if plan.send or stat["entry"] is None:
                moved = self._mover.upload_tree(local, remote, entries=plan.send)
                document.sent, document.bytes = len(moved.digests) + moved.links, moved.bytes
        document.seconds = _seconds(began)
        return document

    def _compare(self, local: str, remote: str, plan: files.Plan, here: dict[str, files.Entry]) -> None:
        """Ask the runtime for the hashes of what is unsure, while hashing it here."""
        import hashlib

        for names in files.batches(plan.unsure, CHECKED):
            theirs = self._service.task("digests", root=remote, names=names)
            for name in names:
                with open(trees.join(local, name), "rb") as file:
                    ours = hashlib.file_digest(file, "sha256").hexdigest()
                if theirs.get(name) == ours:
                    plan.unchanged += 1
                else:
                    plan.send.append(here[name])

    # --- results ---

    def pull(self, specs: Sequence[str], folder: str | None) -> Sequence[Pulled]:
        """Fetch results; one that fails does not keep the others.

        Args:
            specs: each `PATH[:LOCAL]`; without LOCAL, under its own name in the current folder.
            folder: on the runtime, where relative paths start.
        """
        pulled = []
        for spec in specs:
            remote, local = files.split_pull(spec)
            entry = Pulled(path=remote, local=local or ".")
            pulled.append(entry)
            try:
                document = self.download([files.under(folder, remote)], local)
            except errors.Error as error:
                entry.error = ErrorInfo.of(error)
                logs.current().error("FILES", f"pull of {remote}: {error.message}")
            else:
                entry.files, entry.bytes = document.files, document.bytes
                entry.local = document.items[0].target if len(document.items) == 1 else entry.local
        return pulled

    # --- documents ---

    def _document(self, action: Any, moved: Sequence[TransferResult], began: float) -> TransferDocument:
        document = TransferDocument(action=action, session=self.session.record.ref, seconds=_seconds(began))
        for item in moved:
            digest = files.tree_digest(item.digests) if item.folder else item.digests[""]
            shown = TransferItem(
                source=trees.shown(item.source),
                target=trees.shown(item.target),
                files=len(item.digests) + item.links,
                bytes=item.bytes,
                sha256=digest,
            )
            if not self._service.verifies:
                document.verified = False
            document.items.append(shown)
            document.files += shown.files
            document.bytes += shown.bytes
            document.skipped += _skipped(item.skipped)
        if len(document.items) == 1:
            document.sha256 = document.items[0].sha256
        return document


def pull(session: Session, specs: Sequence[str], folder: str | None) -> list[Pulled]:
    """Fetch results of a run (see `Storage.pull`); where the runtime cannot be reached, every one has that error."""
    try:
        with Storage(session) as storage:
            return list(storage.pull(specs, folder))
    except errors.Error as error:
        told = ErrorInfo.of(error)
        return [Pulled(path=files.split_pull(spec)[0], local=".", error=told) for spec in specs]


def pull_problem(pulled: Sequence[Pulled], folder: str | None) -> errors.Error | None:
    """The error that results which did not arrive are, None when all did; `folder` as `pull` has it."""
    failed = [item for item in pulled if item.error is not UNSET]
    if not failed:
        return None
    names = ", ".join(item.path for item in failed)
    first = failed[0].error
    assert isinstance(first, ErrorInfo)
    return errors.TransferError(
        f"results were not fetched: {names} ({first.message})",
        name="PullFailed",
        hint=f"lecoder-cgpu download {files.under(folder, failed[0].path)}",
    )


def _seconds(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _missing(path: str) -> errors.NotFoundError:
    folder = path.rstrip("/").rpartition("/")[0] or ("/" if path.startswith("/") else ".")
    return errors.NotFoundError(
        f"{path}: no such file or folder on the runtime", name="FileNotFound", hint=f"lecoder-cgpu ls {folder}"
    )


def _check_local(name: str) -> None:
    try:
        trees.check_name(name)
    except trees.Problem as error:
        raise error_of(error, "here") from error


def _check_kind(source: str, entry: files.Entry) -> None:
    if entry[1] not in (trees.FILE, trees.FOLDER):
        raise errors.UsageError(
            f"{source} is neither a file nor a folder", name="NotAFile", hint=f"lecoder-cgpu cat {source}"
        )


def _described(line: files.Entry) -> FileEntry:
    entry = FileEntry(
        name=trees.shown(line[0]),
        kind=line[1] if line[1] != trees.OUTSIDE else trees.LINK,
        size=line[2],
        modified=timestamp_ns(line[3]) if line[3] else UNSET,
    )
    if line[4] is not None:
        entry.mode = f"{line[4]:04o}"
    if len(line) > 5:
        entry.target = trees.shown(line[5])
    return entry


def _skipped(entries: Sequence[files.Entry]) -> list[Skipped]:
    reasons = {trees.OUTSIDE: "a link that leads out of the folder", trees.SPECIAL: "not a regular file"}
    return [Skipped(path=trees.shown(item[0]), reason=reasons[item[1]]) for item in entries]
