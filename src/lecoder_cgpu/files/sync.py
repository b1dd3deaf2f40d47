"""Makes a folder on the runtime hold what a local folder holds: compares both, and sends what differs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable

from .. import errors
from ..guest import trees
from ..guest.trees import Entry
from ..helper.file_documents import Stat
from ..models.base import SessionRef
from ..models.files import Skipped, SyncChange, Synced
from . import git_excludes, plan
from .ignore import Ignore
from .service import Service
from .transfer import local_problems
from .upload import Upload

CHECKED = 500  # names in one question for hashes
DELETED = 256  # names in one request to delete

_REASONS = {trees.OUTSIDE: "a link that leads out of the folder", trees.SPECIAL: "not a regular file"}


class Sync:
    """Syncs folders of one session. See `Storage.sync`.

    Args:
        session: named in the documents.
        tell: told what is passed over in ignore files.
    """

    def __init__(
        self,
        service: Service,
        upload: Upload,
        session: SessionRef,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._tell = tell
        self._service = service
        self._upload = upload
        self._session = session

    def run(self, local: str, remote: str, *, checksum: bool, delete: bool, dry_run: bool) -> Synced:
        """Compare, then delete and send what differs."""
        began = time.monotonic()
        plan.check_folder(local)
        ignore = Ignore(local, self._tell, git_excludes.of(local))
        here = plan.scan(local, ignore)
        stat = self._service.stat(remote)
        _check(local, remote, here, stat, delete)
        there = [] if stat.entry is None else self._service.scan(remote)
        made = plan.plan(
            here,
            there,
            checksum=checksum or not self._service.keeps_times,
            delete=(lambda name, is_folder: ignore.covers(name)) if delete else None,
        )
        if made.unsure:
            self._compare(local, remote, made, {item.name: item for item in here})
        sent = [item for item in made.send if item.kind != trees.FOLDER]
        document = Synced(
            local=local,
            remote=stat.path,
            sent=len(sent),
            bytes=made.size,
            deleted=len(made.delete),
            unchanged=made.unchanged,
            seconds=0.0,
            session=self._session,
            skipped=skipped_documents(made.skipped),
            dry_run=dry_run,
        )
        document.changes = [SyncChange(action="send", path=trees.shown(item.name), size=item.size) for item in sent]
        document.changes += [SyncChange(action="delete", path=trees.shown(name)) for name in made.delete]
        if not dry_run:
            deleted = [self._service.delete(remote, names) for names in plan.batches(made.delete, DELETED)]
            document.deleted = sum(map(len, deleted))
            document.sent = document.bytes = 0
            if made.send or stat.entry is None:
                self._upload.expect_all(made.send)
                result = self._upload.tree(local, remote, entries=made.send)
                document.sent, document.bytes = result.files, result.bytes
        document.seconds = round(time.monotonic() - began, 3)
        return document

    def _compare(self, local: str, remote: str, made: plan.Plan, here: dict[str, Entry]) -> None:
        """Decide by hashes about the files whose sizes agree."""
        for names in plan.batches(made.unsure, CHECKED):
            theirs = self._service.digests(remote, names)
            for name in names:
                with local_problems(local), open(trees.join(local, name), "rb") as file:
                    ours = hashlib.file_digest(file, "sha256").hexdigest()
                if theirs.get(name) == ours:
                    made.unchanged += 1
                else:
                    made.send.append(here[name])


def _check(local: str, remote: str, here: Iterable[Entry], stat: Stat, delete: bool) -> None:
    """Refuse what would destroy something that the user cannot mean."""
    if delete and not any(item.kind == trees.FILE for item in here):
        raise errors.UsageError(
            f"{local} holds no files; with --delete, everything on the runtime would go",
            name="Refused",
            hint=f"leave out --delete, or delete it there: lecoder-cgpu rm -r {remote}",
        )
    if stat.entry is not None and not stat.is_folder:
        raise errors.UsageError(
            f"{remote} is a file on the runtime",
            name="NotADirectory",
            hint=f"give another folder, or first: lecoder-cgpu rm {remote}",
        )
    if delete and stat.real == "/":
        raise errors.UsageError(
            "--delete with the root of the runtime is refused",
            name="Refused",
            hint=f"name a folder: lecoder-cgpu sync {local} /FOLDER --delete",
        )


def skipped_documents(entries: Iterable[Entry]) -> list[Skipped]:
    """What is said about entries that were not copied."""
    return [Skipped(path=trees.shown(item.name), reason=_REASONS[item.kind]) for item in entries]
