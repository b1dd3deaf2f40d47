"""What is said about files in documents: entries of a listing, and what was copied."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from ..guest import trees
from ..guest.trees import Entry
from ..models.base import known, timestamp_ns
from ..models.files import FileEntry, FileKind, Transfer, TransferItem
from . import plan
from .sync import skipped_documents
from .transfer import TransferResult


def fill(document: Transfer, results: Sequence[TransferResult]) -> None:
    """Write into the document of a transfer what became of each source."""
    for result in results:
        item = TransferItem(
            source=trees.shown(result.source),
            target=trees.shown(result.target),
            files=result.files,
            bytes=result.bytes,
            sha256=plan.tree_digest(result.digests) if result.folder else result.digests[""],
        )
        document.items.append(item)
        document.files += item.files
        document.bytes += item.bytes
        document.skipped += skipped_documents(result.skipped)
    if len(document.items) == 1:
        document.sha256 = document.items[0].sha256


def entry(item: Entry) -> FileEntry:
    """An entry of a listing."""
    found = FileEntry(
        name=trees.shown(item.name),
        kind="link" if item.kind == trees.OUTSIDE else known(item.kind, FileKind, "special"),
        size=item.size,
        modified=timestamp_ns(item.mtime) if item.mtime else UNSET,
    )
    if item.mode is not None:
        found.mode = f"{item.mode:04o}"
    if item.target is not None:
        found.target = trees.shown(item.target)
    return found
