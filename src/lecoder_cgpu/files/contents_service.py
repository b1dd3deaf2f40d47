"""A runtime's files through the Jupyter contents API alone, for servers where our helper cannot run.

It answers the same requests as the helper does, as far as the API can (protocol J29): no modes, no times, no links,
nothing outside of the server's root, and a file that is replaced is deleted a moment before its successor gets the
name. Paths are those below the server's root.
"""

from __future__ import annotations

import base64
import fnmatch
import posixpath
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from .. import errors
from ..guest import trees
from ..helper.documents import Hello
from ..helper.file_service import Answer, Request, error_of
from ..jupyter.server import Server

PART = 12 << 20  # bytes; as base64 this stays below the 24 MiB that proxies let through (protocol J31)

Entry = list[Any]


class _Model(Struct):
    """What the API says about a file or folder."""

    name: str
    path: str
    type: str
    size: int | None = None
    last_modified: str | None = None
    content: Any = None
    format: str | None = None
    hash: str | None = None
    hash_algorithm: str | None = None

    def entry(self, name: str) -> Entry:
        kind = trees.FOLDER if self.type == "directory" else trees.FILE
        moment = 0
        if self.last_modified:
            moment = round(datetime.fromisoformat(self.last_modified.replace("Z", "+00:00")).timestamp() * 1e9)
        return [name, kind, self.size or 0, moment, None]


class ContentsService:
    """Requests about files, served by a Jupyter server's contents API.

    Args:
        folder: on the server, where relative paths start.
    """

    keeps_times = False
    hello: Hello | None = None

    def __init__(self, server: Server, folder: str) -> None:
        self._server = server
        self._folder = folder
        self.verifies = True  # until the server turns out to know no hashes

    def check(self, cause: errors.Error) -> None:
        """See that the server has this API at all.

        Raises:
            errors.ConnectionFailed: it has not; `cause` tells why there is no helper either.
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

    def call(self, op: str, data: bytes | memoryview | None = None, **arguments: Any) -> Answer:
        """Serve one request."""
        if data is not None:
            arguments["data"] = data
        try:
            answer = getattr(self, f"_{op}_")(**arguments)
        except trees.Problem as error:
            raise error_of(error, "on the runtime") from error
        if isinstance(answer, dict):
            return answer, memoryview(b"")
        header, content = answer
        return header, memoryview(content)

    def stream(self, requests: Iterator[Request], on_answer: Callable[[Request, Answer], None]) -> None:
        for request in requests:
            on_answer(request, self.call(request.op, request.data, **request.arguments))

    def pages(self, op: str, **arguments: Any) -> list[Entry]:
        found: list[Entry] = self.call(op, **arguments)[0]["entries"]
        return found

    def task(self, op: str, on_progress: Callable[[int], None] | None = None, **arguments: Any) -> Any:
        arguments.pop("task", None)
        return self.call(op, **arguments)[0]["result"]

    # --- the API ---

    def _path(self, path: str) -> str:
        """A path below the server's root, without the first slash."""
        start = "/" if path.startswith("/") else f"/{self._folder}"
        joined = posixpath.join(start, path)
        if ".." in joined.split("/") or path.startswith("~"):
            raise trees.Problem("UnsafeName", f"{path}: only what is below the server's root can be reached")
        return posixpath.normpath(joined).lstrip("/")

    def _get(self, path: str, **params: str) -> _Model:
        return self._decode(
            self._server.request("GET", f"api/contents/{quote(path)}", params={"content": "0", **params})
        )

    @staticmethod
    def _decode(body: bytes) -> _Model:
        try:
            return msgspec.json.decode(body, type=_Model)
        except msgspec.DecodeError as error:
            raise errors.ConnectionFailed(
                f"the server's contents API answers something else: {error}",
                name="NotJupyter",
                retryable=False,
                hint="lecoder-cgpu debug tail shows the requests",
            ) from error

    def _save(self, path: str, body: dict[str, Any]) -> _Model:
        return self._decode(self._server.request("PUT", f"api/contents/{quote(path)}", json=body))

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

    # --- requests, as `helper/files.py` has them ---

    def _stat_(self, path: str) -> dict[str, Any]:
        wanted = self._path(path)
        shown = f"/{wanted}"
        try:
            found = self._get(wanted)
        except errors.NotFoundError:
            return {"path": shown, "real": shown, "entry": None}
        return {"path": shown, "real": shown, "entry": found.entry(posixpath.basename(wanted))}

    def _list_(self, path: str) -> dict[str, Any]:
        found = self._get(self._path(path), content="1", type="directory")
        return {"entries": sorted(item.entry(item.name) for item in msgspec.convert(found.content, list[_Model]))}

    def _scan_(self, path: str) -> dict[str, Any]:
        lines: list[Entry] = []

        def walk(folder: str, prefix: str) -> None:
            for line in self._list_(folder)["entries"]:
                name = prefix + line[0]
                if name.endswith(trees.PART_SUFFIX):
                    continue
                lines.append([name, *line[1:]])
                if line[1] == trees.FOLDER:
                    walk(f"/{self._path(folder)}/{line[0]}", name + "/")

        walk(path, "")
        return {"entries": lines}

    def _glob_(self, pattern: str) -> dict[str, Any]:
        parts = pattern.split("/")
        plain = next(number for number, part in enumerate(parts) if any(sign in part for sign in "*?["))
        base = "/".join(parts[:plain])
        start = base or ("/" if pattern.startswith("/") else ".")
        if self._stat_(start)["entry"] is None:
            return {"entries": []}
        rest = parts[plain:]
        prefix = f"{base}/" if base or pattern.startswith("/") else ""
        return {
            "entries": [
                [prefix + line[0], *line[1:]]
                for line in self._scan_(start)["entries"]
                if len(line[0].split("/")) == len(rest)
                and all(fnmatch.fnmatchcase(have, want) for have, want in zip(line[0].split("/"), rest, strict=True))
            ]
        }

    def _begin_(self, path: str, size: int, key: str, nonce: str) -> dict[str, Any]:
        target = self._path(path)
        found = self._stat_(f"/{target}")["entry"]
        if found is not None and found[1] == trees.FOLDER:
            raise trees.Problem("IsADirectory", f"{path}: it is a folder")
        folder = posixpath.dirname(target)
        self._make_folder(folder)
        part = posixpath.join(folder, f"{key}-{nonce}{trees.PART_SUFFIX}")  # stock servers refuse hidden names
        self._save(part, {"type": "file", "format": "base64", "content": ""})
        return {"part": f"/{part}", "path": f"/{target}", "offset": 0}

    def _put_(self, part: str, offset: int, data: bytes | memoryview) -> dict[str, Any]:
        content = base64.b64encode(data).decode()
        body = {"type": "file", "format": "base64", "content": content, "chunk": 2 if offset else 1}
        saved = self._save(self._path(part), body)
        if saved.size is not None and saved.size != offset + len(data):
            raise trees.Problem("VerifyFailed", f"{part}: the server holds {saved.size} bytes of it")
        return {}

    def _hash_(self, path: str, size: int, task: str = "") -> dict[str, Any]:
        found = self._get(self._path(path), hash="1")
        if found.size != size:
            return {"ended": True, "result": None if task else ""}
        if not found.hash or found.hash_algorithm not in (None, "sha256"):
            self.verifies = False
            return {"ended": True, "result": None}
        return {"ended": True, "result": found.hash}

    def _digests_(self, root: str, names: list[str]) -> dict[str, Any]:
        found = {name: self._get(self._path(f"{root.rstrip('/')}/{name}"), hash="1").hash for name in names}
        return {"result": found}

    def _commit_(
        self, part: str, path: str, mode: int | None = None, mtime: int | None = None, expect: Any = None
    ) -> dict[str, Any]:
        found = self._stat_(path)["entry"]
        if expect is not None and (found is None or [found[2], found[3]] != expect):
            raise trees.Problem("FileChanged", f"{path}: it was changed on the runtime meanwhile")
        if found is not None:
            self._server.request("DELETE", f"api/contents/{quote(self._path(path))}")
        self._server.request("PATCH", f"api/contents/{quote(self._path(part))}", json={"path": self._path(path)})
        return {}

    def _abandon_(self, part: str) -> dict[str, Any]:
        self._server.request("DELETE", f"api/contents/{quote(self._path(part))}")
        return {}

    def _get_(self, path: str, offset: int, size: int) -> tuple[dict[str, Any], bytes]:
        return {}, self._read(path, offset, offset + size)

    def _read(self, path: str, start: int, end: int) -> bytes:
        content = bytearray()
        if end > start:  # a server has no answer to a range of nothing
            for piece in self._server.read_file(self._path(path), start, end):
                content += piece
        return bytes(content)

    def _pack_(self, root: str, entries: list[Entry]) -> tuple[dict[str, Any], bytes]:
        packed = []
        for name, kind, size, mtime, _mode in entries:
            content = self._read(f"{root.rstrip('/')}/{name}", 0, size) if kind == trees.FILE else b""
            packed.append(trees.record(name, kind, mtime, content))
        return {"problems": []}, b"".join(packed)

    def _unpack_(self, root: str, nonce: str, data: bytes = b"") -> dict[str, Any]:
        top = self._path(root)
        self._make_folder(top)
        made = {top}
        number = size = 0
        for name, mode, _mtime, _digest, content in trees.records(data):
            path = posixpath.join(top, trees.check_name(name))
            if mode & 0o170000 == 0o040000:
                self._make_folder(path)
                continue
            if mode & 0o170000 == 0o120000:
                raise trees.Problem("LinkNotPossible", f"{name}: the contents API cannot make links")
            folder = posixpath.dirname(path)
            if folder not in made:
                self._make_folder(folder)
                made.add(folder)
            self._save(path, {"type": "file", "format": "base64", "content": base64.b64encode(content).decode()})
            number, size = number + 1, size + len(content)
        return {"files": number, "bytes": size}

    def _remove_(self, path: str) -> dict[str, Any]:
        lines = self._scan_(path)["entries"]
        top = f"/{self._path(path)}"
        self._delete_(top, [line[0] for line in reversed(lines)])
        self._server.request("DELETE", f"api/contents/{quote(self._path(path))}")
        return {"result": len(lines) + 1}

    def _delete_(self, root: str, names: list[str]) -> dict[str, Any]:
        deleted = []
        for name in names:
            path = self._path(f"{root.rstrip('/')}/{trees.check_name(name)}")
            try:
                self._server.request("DELETE", f"api/contents/{quote(path)}")
            except errors.NotFoundError:
                continue
            deleted.append(name)
        return {"deleted": deleted}
