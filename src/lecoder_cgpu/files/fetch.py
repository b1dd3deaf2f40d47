"""Fetches generations: whole copies of a path of the runtime, each as it was at one moment, while work goes on there.

`moments` decides, `generations` keeps them on the disk, and this moves the content: what is new since the generation
before, small files in packs and large ones each by itself. Content is hashed from what was sent, on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from .. import errors
from ..guest import packs as packing
from ..guest import trees
from ..guest.trees import Entry
from ..guest.unpacker import Unpacker
from ..helper.file_documents import Packed, Stat
from ..helper.file_errors import THERE, error_of
from ..jupyter import messages
from . import moments, plan
from .commands import Storage
from .generations import Generations, Line, Manifest
from .moments import Held
from .transfer import local_problems

Tell = Callable[[str], None]

# Of one file, these say that it has changed or gone; the next listing tells which.
_MOVED = (errors.FileChanged, errors.NotFoundError, errors.OtherKindOfFile)


class Fetch:
    """One fetch of one path.

    Args:
        owner: the work that it is for. A generation of other work is replaced as a whole.
        tell: told what cannot be copied, and what was not settled.
        pause: waits between rounds.
    """

    def __init__(
        self,
        storage: Storage,
        store: Generations,
        remote: str,
        owner: str,
        tell: Tell,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._service = storage.service
        self._downloads = storage.downloads
        self._store = store
        self._remote = plan.clean_remote(remote)
        self._owner = owner
        self._tell = tell
        self._pause = pause
        self._held: dict[str, Held] = {}
        self._refused: dict[str, str] = {}
        self._odd: list[tuple[str, str]] = []
        self._real = self._remote
        self._folder = True

    def run(self) -> Manifest:
        """Fetch; returns the newest generation, which is an earlier one when nothing has changed since.

        Raises:
            errors.NotFoundError: nothing is there yet. errors.TransferError: (`NeverSettled`) it changed all the time.
            errors.Error: it could not be fetched. In each case, the newest generation stays what it was.
        """
        stat = self._service.stat(self._remote)
        if stat.entry is None:
            raise error_of(trees.Problem("FileNotFound", f"{self._remote}: no such file or folder"), THERE)
        if not (stat.is_file or stat.is_folder):
            raise error_of(trees.Problem("NotAFile", f"{self._remote}: it is neither a file nor a folder"), THERE)
        self._folder, self._real = stat.is_folder, stat.real
        self._store.recover()
        newest = self._store.current()
        earlier = newest if newest is not None and self._continues(newest) else None
        before = {} if earlier is None else earlier.holding()
        listing = self._list(stat)
        self._tell_untakeable(listing)
        found = self._store.begin(earlier)
        self._held = {
            name: item for name, item in found.items() if name in listing and moments.is_same(listing[name], item)
        }
        return self._rounds(listing, before, earlier)

    def _continues(self, newest: Manifest) -> bool:
        return (newest.owner, newest.path, newest.folder) == (self._owner, self._remote, self._folder)

    def _rounds(self, listing: dict[str, Entry], before: dict[str, Held], earlier: Manifest | None) -> Manifest:
        beginnings: set[str] = set()
        listings = [listing]
        for number in range(1, moments.ROUNDS + 1):
            wanted = moments.missing(listings[-1], self._held, self._refused)
            self._take([entry for entry in wanted if not (entry.name in beginnings and entry.name in before)])
            listings = [*listings[-2:], after := self._list()]
            beginnings = self._beginnings(after)
            verdict = moments.judge(
                number, listings, self._held, beginnings=beginnings, known=before, refused=self._refused
            )
            if verdict.outcome in ("whole", "partly"):
                return self._commit(before, earlier, verdict.restless)
            if verdict.outcome == "never":
                break
            self._pause(moments.PAUSES[min(number, len(moments.PAUSES)) - 1])
            self._held = {name: item for name, item in self._held.items() if name in after}
        raise errors.TransferError(
            f"{self._remote} changes all the time ({', '.join(verdict.restless[:5])}), so no moment of it was caught",
            name="NeverSettled",
            hint="write to another name, and rename what is complete: mv NAME.tmp NAME; the one before is kept",
        )

    def _list(self, stat: Stat | None = None) -> dict[str, Entry]:
        if self._folder:
            return {entry.name: entry for entry in self._service.scan(self._real)}
        found = stat or self._service.stat(self._real)
        return {} if found.entry is None or not found.is_file else {"": found.entry._replace(name="")}

    def _tell_untakeable(self, listing: dict[str, Entry]) -> None:
        odd = [trees.shown(entry.name) for entry in listing.values() if not moments.takeable(entry)]
        self._odd = [(name, "it is no regular file") for name in odd]
        if odd:
            more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
            self._tell(f"not fetched from {self._remote}, as no regular files: {', '.join(odd[:5])}{more}")

    # --- content ---

    def _take(self, entries: list[Entry]) -> None:
        """Copy these; what has changed meanwhile is not held then."""
        for entry in entries:
            self._held.pop(entry.name, None)
        self._store.make_room(entries)
        if not self._folder:
            for entry in entries:
                self._take_alone(entry)
            return
        with local_problems(self._store.staging):
            unpack = Unpacker(self._store.staging, messages.new_id()[:12])
            for batch in plan.folders_of(entries):
                unpack(b"".join(packing.folder_records(batch)))
        self._held.update({entry.name: Held(entry) for entry in entries if entry.kind == trees.FOLDER})
        batches = plan.divide(entries)
        asked = iter(batches.packs)
        changed: list[Entry] = []

        def done(packed: Packed) -> None:
            changed.extend(self._unpack(packed, next(asked), unpack))

        self._service.pack(self._real, batches.packs, done)
        for entry in (*changed, *batches.large):
            self._take_alone(entry)

    def _unpack(self, packed: Packed, asked: Iterable[Entry], unpack: Unpacker) -> list[Entry]:
        """Write a pack; returns the files that were not in it because they had changed."""
        by_name = {entry.name: entry for entry in asked}
        with local_problems(self._store.staging):
            records = list(packing.records(packed.content))
        if any(
            item.name not in by_name or by_name[item.name].kind != (trees.FILE if item.is_file else trees.LINK)
            for item in records
        ):
            raise errors.UnexpectedAnswer(
                f"{self._remote}: the runtime sent other files than those that were asked for",
                retryable=False,
                hint="nothing of it was kept; repeat the same command",
            )
        with local_problems(self._store.staging):
            unpack(packed.content)
        for item in records:
            self._held[item.name] = Held(by_name[item.name], item.digest.hex() if item.is_file else "")
        changed = []
        for problem in packed.problems:
            error = error_of(trees.Problem(problem.name, problem.message), THERE)
            if problem.entry in by_name and isinstance(error, errors.FileChanged):
                changed.append(by_name[problem.entry])
            elif problem.entry in by_name and not isinstance(error, _MOVED):
                self._refuse(problem.entry, problem.message)
        return changed

    def _take_alone(self, entry: Entry) -> None:
        remote = plan.remote_join(self._real, entry.name) if entry.name else self._real
        with local_problems(self._store.staging):
            local = trees.join(self._store.staging, entry.name) if entry.name else self._store.staging
        try:
            self._held[entry.name] = Held(entry, self._downloads.beginning(remote, local, entry))
        except _MOVED:
            pass
        except errors.PermissionDenied as error:
            self._refuse(entry.name, error.message)

    def _refuse(self, name: str, why: str) -> None:
        if name not in self._refused:
            self._refused[name] = why
            self._tell(f"not fetched: {trees.shown(name)} ({why})")

    def _beginnings(self, after: dict[str, Entry]) -> set[str]:
        """The files that have only grown since they were copied."""
        found = set()
        for name in moments.grown(after, self._held):
            remote = plan.remote_join(self._real, name) if name else self._real
            try:
                digest = self._service.start_hash(remote, self._held[name].entry.size)()
            except (errors.TransferError, errors.NotFoundError, errors.UsageError):
                continue  # it has changed once more
            if digest == self._held[name].sha256:
                found.add(name)
        return found

    def _commit(self, before: dict[str, Held], earlier: Manifest | None, restless: list[str]) -> Manifest:
        """Make what is held the newest generation, unless it is that already."""
        made = moments.settled(self._held, before, restless)
        if restless:
            self._tell(
                f"{', '.join(restless[:5])} in {self._remote} changed all the time, and was left as it was before"
            )
        self._pause(0)  # the work may have ended, and its runtime may be another one by now
        left_out = sorted(self._odd + [(trees.shown(name), why) for name, why in self._refused.items()])
        if earlier is not None and made == before and left_out == earlier.left_out:
            return earlier
        if not self._folder and not made:
            raise error_of(trees.Problem("FileNotFound", f"{self._remote}: no such file"), THERE)
        manifest = Manifest(
            owner=self._owner,
            number=1 if earlier is None else earlier.number + 1,
            at="",
            path=self._remote,
            folder=self._folder,
            lines=[_line(item) for _, item in sorted(made.items())],
            restless=restless,
            left_out=left_out,
        )
        self._store.commit(manifest, [name for name in made if made[name] != self._held.get(name)])
        return manifest


def _line(item: Held) -> Line:
    entry = item.entry
    return Line(entry.name, entry.kind, entry.size, str(entry.mtime), entry.mode, entry.target, item.sha256)


def put_back(storage: Storage, store: Generations, remote: str) -> Manifest | None:
    """Copy the newest generation to a runtime; returns it, or None when there is none.

    Raises:
        errors.TransferError: (`GenerationChanged`) it was changed here. errors.Error: it was not copied.
    """
    store.recover()
    manifest = store.current()
    if manifest is None:
        return None
    held = manifest.holding()
    with local_problems(str(store.target)):
        for name, item in held.items():
            path = trees.join(str(store.target), name) if name else str(store.target)
            if item.entry.kind == trees.FILE and _digest(path) != item.sha256:
                raise errors.TransferError(
                    f"{path} is not what was fetched: it was changed here",
                    name="GenerationChanged",
                    hint=f"the generation before it: ls {store.previous}",
                )
    if manifest.folder:
        entries = [entry for entry in plan.scan(str(store.target)) if entry.name in held]
        storage.uploads.tree(str(store.target), remote, entries=entries)
    else:
        parent = remote.rpartition("/")[0]
        if parent:
            storage.service.unpack(parent, messages.new_id()[:12], [b""], lambda sent: None)
        storage.uploads.file(str(store.target), remote)
    return manifest


def _digest(path: str) -> str:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
