"""A runtime's files through the Jupyter contents API alone, for servers where the helper cannot run.

It offers the methods of `FileService`, as far as the API can (protocol J29): no modes, no times, no links, nothing
outside of the server's root. A file that is replaced is deleted a moment before its successor gets the name.
Paths are those below the server's root.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import posixpath
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from .. import errors
from ..guest import packs as packing
from ..guest import trees
from ..guest.trees import Entry
from ..helper.documents import Hello
from ..helper.file_documents import Found, HalfWritten, Packed, Part, Stat, check_entry
from ..helper.file_errors import THERE, error_of
from ..helper.file_service import LINES_MOST
from ..jupyter.server import Server
from . import patterns

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
LARGEST = 24 << 20  # bytes of a file that are written at once
SMALLEST = 64 << 10  # bytes; a proxy that does not let these through lets no files through
LISTING = 32 << 20  # bytes of the longest listing of one folder


def _answers(method: Callable[P, R]) -> Callable[P, R]:
    """Problems with files become errors, as they do where the helper answers."""

    @functools.wraps(method)
    def answer(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except trees.Problem as error:
            raise error_of(error, THERE) from error

    return answer


class _Model(Struct):
    """What the API says about a file or folder."""

    name: str
    path: str
    type: str
    size: int | None = None
    last_modified: str | None = None
    content: msgspec.Raw = msgspec.Raw(b"null")
    format: str | None = None
    hash: str | None = None
    hash_algorithm: str | None = None

    def entry(self, name: str) -> Entry:
        kind = trees.FOLDER if self.type == "directory" else trees.FILE
        mtime = 0
        if self.last_modified:
            with contextlib.suppress(ValueError, OverflowError, OSError):  # an unusual server; 0 stands for unknown
                mtime = round(datetime.fromisoformat(self.last_modified.replace("Z", "+00:00")).timestamp() * 1e9)
        made = Entry(name, kind, self.size or 0, mtime)
        try:
            check_entry(made)
        except ValueError as error:
            raise _unexpected(error) from error
        return made


class ContentsService:
    """The files below a Jupyter server's root, through its contents API. See `FileService` for the methods.

    Args:
        folder: on the server, where relative paths start.
    """

    keeps_times = False
    hello: Hello | None = None

    def __init__(self, server: Server, folder: str) -> None:
        self._server = server
        self._folder = folder
        self._most = LARGEST
        self.verifies = True  # until the server turns out to know no hashes

    def check(self, cause: errors.Error) -> None:
        """Check that the server has this API.

        Args:
            cause: why there is no helper, for the message.

        Raises:
            errors.ConnectionFailed: (`NoFileService`) the server does not have it.
        """
        try:
            self._get(self._path("."))
        except errors.Error as error:
            raise errors.NoFileService(
                f"files cannot be reached there: {cause.message}; and through the server: {error.message}",
                hint="lecoder-cgpu doctor checks each session's server",
            ) from error

    def close(self) -> None:
        """Nothing is held."""

    # --- the API ---

    def _path(self, path: str) -> str:
        """A path below the server's root, without the first slash."""
        start = "/" if path.startswith("/") else f"/{self._folder}"
        joined = posixpath.join(start, path)
        if ".." in joined.split("/") or path.startswith("~"):
            raise trees.Problem("UnsafeName", f"{path}: only what is below the server's root can be reached")
        return posixpath.normpath(joined).lstrip("/")

    def _get(self, path: str, **params: str) -> _Model:
        all_params = {"content": "0", **params}
        path = f"api/contents/{quote(path)}"
        return self._decode(self._server.request("GET", path, params=all_params, most=LISTING), _Model)

    @staticmethod
    def _decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except ValueError as error:
            raise _unexpected(error) from error

    def _save(self, path: str, body: dict[str, Any]) -> _Model:
        return self._decode(self._server.request("PUT", f"api/contents/{quote(path)}", json=body), _Model)

    def _make_folder(self, path: str) -> None:
        if not path:
            return
        try:
            found = self._get(path)
        except errors.NotFoundError:
            self._make_folder(posixpath.dirname(path))
            self._save(path, {"type": "directory"})
            return
        if found.type != "directory":
            raise trees.Problem("NotADirectory", f"{path}: a file is in the way")

    # --- looking ---

    @_answers
    def stat(self, path: str) -> Stat:
        return self._stat(path)

    def _stat(self, path: str) -> Stat:
        wanted = self._path(path)
        shown = f"/{wanted}"
        try:
            found = self._get(wanted)
        except errors.NotFoundError:
            return Stat(shown, shown)
        return Stat(shown, shown, found.entry(posixpath.basename(wanted)))

    @_answers
    def list_folder(self, path: str) -> list[Entry]:
        return self._list(path)

    def _list(self, path: str) -> list[Entry]:
        found = self._get(self._path(path), content="1", type="directory")
        models = self._decode(found.content, list[_Model])
        return sorted((item.entry(item.name) for item in models), key=lambda item: item.name)

    @_answers
    def scan(self, path: str) -> list[Entry]:
        lines: list[Entry] = []

        def walk(folder: str, prefix: str) -> None:
            for item in self._list(folder):
                name = trees.check_name(prefix + item.name)  # which ends a listing that has no end
                if name.endswith(trees.PART_SUFFIX):
                    continue
                lines.append(item._replace(name=name))
                if len(lines) > LINES_MOST:
                    raise trees.Problem("TooMany", f"{path}: it holds more than {LINES_MOST} entries")
                if item.kind == trees.FOLDER:
                    walk(f"/{self._path(folder)}/{item.name}", name + "/")

        walk(path, "")
        return lines

    @_answers
    def glob(self, pattern: str) -> list[Entry]:
        parts = pattern.split("/")
        plain = next(number for number, part in enumerate(parts) if any(sign in part for sign in "*?["))
        base = "/".join(parts[:plain])
        start = base or ("/" if pattern.startswith("/") else ".")
        if self._stat(start).entry is None:
            return []
        prefix = f"{base}/" if base or pattern.startswith("/") else ""

        found = [item._replace(name=prefix + item.name) for item in self.scan(start)]
        return sorted((item for item in found if patterns.answers(pattern, item.name)), key=lambda item: item.name)

    # --- hashes and removals ---

    def start_hash(self, path: str, size: int) -> Callable[[], str | None]:
        return lambda: self._hash(path, size)

    @_answers
    def _hash(self, path: str, size: int) -> str | None:
        found = self._get(self._path(path), hash="1")
        if found.size != size:
            return None
        if not found.hash or found.hash_algorithm not in (None, "sha256"):
            self.verifies = False
            return None
        return found.hash

    @_answers
    def digests(self, root: str, names: list[str]) -> dict[str, str]:
        hashes = {name: self._get(self._path(f"{root.rstrip('/')}/{name}"), hash="1").hash for name in names}
        return {name: digest for name, digest in hashes.items() if digest}

    @_answers
    def remove(self, path: str) -> int:
        lines = self.scan(path)
        self.delete(f"/{self._path(path)}", [item.name for item in reversed(lines)])
        self._delete(self._path(path))
        return len(lines) + 1

    @_answers
    def delete(self, root: str, names: list[str]) -> list[str]:
        deleted = []
        for name in names:
            path = self._path(f"{root.rstrip('/')}/{trees.check_name(name)}")
            try:
                self._delete(path)
            except errors.NotFoundError:
                continue
            deleted.append(name)
        return deleted

    def _delete(self, path: str) -> None:
        self._server.request("DELETE", f"api/contents/{quote(path)}")

    # --- one large file ---

    @_answers
    def begin(self, path: str, size: int, key: str, nonce: str, *, root: str | None = None) -> HalfWritten:
        target = self._path(path if root is None else f"{root.rstrip('/')}/{trees.check_name(path)}")
        if self._stat(f"/{target}").is_folder:
            raise trees.Problem("IsADirectory", f"{path}: it is a folder")
        folder = posixpath.dirname(target)
        self._make_folder(folder)
        part = posixpath.join(folder, f"{key}-{nonce}{trees.PART_SUFFIX}")  # stock servers refuse hidden names
        self._save(part, {"type": "file", "format": "base64", "content": ""})
        return HalfWritten(f"/{part}", f"/{target}", 0)

    @_answers
    def write(self, half: HalfWritten, pieces: Iterable[tuple[int, bytes]], done: Callable[[int], None]) -> None:
        for offset, data in pieces:
            self._append(half, offset, data)
            done(len(data))

    def _append(self, half: HalfWritten, offset: int, data: bytes) -> None:
        """Write a piece, in parts that stay below what proxies let through (protocol J31)."""
        if len(data) > self._most:
            cut = self._most  # which the first part may find to be too much
            self._append(half, offset, data[:cut])
            self._append(half, offset + cut, data[cut:])
            return
        content = base64.b64encode(data).decode()
        body = {"type": "file", "format": "base64", "content": content, "chunk": 2 if offset else 1}
        try:
            saved = self._save(self._path(half.part), body)
        except errors.UnexpectedAnswer as error:
            if error.http_status != 413 or len(data) <= SMALLEST:
                raise
            self._most = max(len(data) // 2, SMALLEST)
            self._append(half, offset, data)
            return
        if saved.size is not None and saved.size != offset + len(data):
            raise trees.Problem("VerifyFailed", f"{half.part}: the server holds {saved.size} bytes of it")

    @_answers
    def commit(
        self, half: HalfWritten, mode: int | None = None, mtime: int | None = None, expect: Found | None = None
    ) -> None:
        found = self._stat(half.path).entry
        if expect is not None and (found is None or Found(found.size, found.mtime) != expect):
            raise trees.Problem("FileChanged", f"{half.path}: it was changed on the runtime meanwhile")
        if found is not None:
            self._delete(self._path(half.path))
        body = {"path": self._path(half.path)}
        self._server.request("PATCH", f"api/contents/{quote(self._path(half.part))}", json=body)

    @_answers
    def abandon(self, half: HalfWritten) -> None:
        self._delete(self._path(half.part))

    def leave(self, half: HalfWritten) -> None:
        """Nothing: the server cannot add to a file, so the next upload begins anew."""

    @_answers
    def read(self, path: str, offset: int, size: int) -> memoryview:
        return memoryview(self._read(path, offset, offset + size))

    def read_parts(self, path: str, parts: Iterable[Part], done: Callable[[Part, memoryview], None]) -> None:
        for part in parts:
            done(part, self.read(path, part.offset, part.size))

    def _read(self, path: str, start: int, end: int) -> bytes:
        content = bytearray()
        if end > start:  # a server has no answer to a range of nothing
            for piece in self._server.read_file(self._path(path), start, end):
                content += piece
        return bytes(content)

    # --- many small files, and folders ---

    @_answers
    def pack(self, root: str, batches: Iterable[list[Entry]], done: Callable[[Packed], None]) -> None:
        for batch in batches:
            packed = []
            for item in batch:
                is_file = item.kind == trees.FILE
                content = self._read(f"{root.rstrip('/')}/{item.name}", 0, item.size) if is_file else b""
                packed.append(packing.record(item.name, item.kind, item.mtime, content))
            done(Packed([], memoryview(b"".join(packed))))

    @_answers
    def unpack(self, root: str, nonce: str, packs: Iterable[bytes], done: Callable[[bytes], None]) -> None:
        top = self._path(root)
        self._make_folder(top)
        made = {top}
        for packed in packs:
            for item in packing.records(packed):
                path = posixpath.join(top, trees.check_name(item.name))
                if item.is_folder:
                    self._make_folder(path)
                    continue
                if item.is_link:
                    raise trees.Problem("LinkNotPossible", f"{item.name}: the contents API cannot make links")
                folder = posixpath.dirname(path)
                if folder not in made:
                    self._make_folder(folder)
                    made.add(folder)
                content = base64.b64encode(item.content).decode()
                self._save(path, {"type": "file", "format": "base64", "content": content})
            done(packed)


def _unexpected(error: Exception) -> errors.ConnectionFailed:
    return errors.ConnectionFailed(
        f"the server's contents API answers something else: {error}",
        name="NotJupyter",
        retryable=False,
        hint="lecoder-cgpu debug tail shows the requests",
    )
