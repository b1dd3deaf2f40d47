"""The documents of the commands for files."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field, structs

from .base import Held, Optional, SessionRef


class Skipped(Struct, kw_only=True):
    """Something that was not copied, and why."""

    path: str
    reason: str


class TransferItem(Struct, kw_only=True):
    """One source of a transfer and where it went. For a folder, `sha256` is the hash of what `sha256sum` prints for its
    files, sorted by name."""

    source: str
    target: str
    files: int
    bytes: int
    sha256: str


class Transfer(Struct, kw_only=True):
    """`upload`, `download` and `copy`. `verified` is false if the runtime could not hash its side."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    action: Literal["upload", "download"]
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    sha256: str | Optional = UNSET
    verified: bool = True
    items: list[TransferItem] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    session: SessionRef
    held: list[Held] | Optional = UNSET
    notice: str | Optional = UNSET


class SyncChange(Struct, kw_only=True):
    """One thing that a sync did, or would do."""

    action: Literal["send", "delete"]
    path: str
    size: int | Optional = UNSET


class Synced(Struct, kw_only=True):
    """`sync`: how many files were sent (and their bytes), deleted, and already up to date. With `--watch`, the numbers
    add up all `rounds`, and `changes` are those of the last round that had any."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    local: str
    remote: str
    sent: int
    bytes: int
    deleted: int
    unchanged: int
    seconds: float
    changes: list[SyncChange] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    dry_run: bool = field(name="dryRun", default=False)
    rounds: int | Optional = UNSET
    session: SessionRef
    held: list[Held] | Optional = UNSET
    notice: str | Optional = UNSET

    def with_more(self, later: Synced) -> Synced:
        """This and a later round of the same command: what was sent and deleted adds up, and `unchanged` is what was
        up to date from the beginning."""
        return structs.replace(
            later,
            sent=self.sent + later.sent,
            bytes=self.bytes + later.bytes,
            deleted=self.deleted + later.deleted,
            unchanged=self.unchanged,
            seconds=self.seconds + later.seconds,
            changes=[*self.changes, *later.changes],
        )


FileKind = Literal["file", "folder", "link", "special"]


class FileEntry(Struct, kw_only=True):
    """One line of `ls`: `kind` is file, folder, link (with its `target`) or special; `mode` in octal digits."""

    name: str
    kind: FileKind
    size: int
    modified: str | Optional = UNSET
    mode: str | Optional = UNSET
    target: str | Optional = UNSET


class FileList(Struct, kw_only=True):
    """`ls`: what is at `path` on the runtime."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str
    entries: list[FileEntry]
    session: SessionRef
    notice: str | Optional = UNSET
    held: list[Held] | Optional = UNSET


class FileContent(Struct, kw_only=True):
    """`cat` of one file: its content as text, and as base64 where it is not UTF-8."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str
    size: int
    text: str
    base64: str | Optional = UNSET
    session: SessionRef
    notice: str | Optional = UNSET
    held: list[Held] | Optional = UNSET


class FilesRemoved(Struct, kw_only=True):
    """`rm`: the paths that were removed, and how many files and folders they held in all."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    removed: list[str]
    entries: int
    session: SessionRef
    notice: str | Optional = UNSET
    held: list[Held] | Optional = UNSET


class FileEdited(Struct, kw_only=True):
    """`edit`: whether the file was changed and saved; `sha256` of what is on the runtime now."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str
    saved: bool
    sha256: str
    session: SessionRef
    notice: str | Optional = UNSET
    held: list[Held] | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "transfer": Transfer,
    "sync": Synced,
    "ls": FileList,
    "cat": FileContent,
    "rm": FilesRemoved,
    "edit": FileEdited,
}
