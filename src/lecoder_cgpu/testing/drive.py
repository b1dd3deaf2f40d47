"""The part of Drive v3 that notebooks need: listing, metadata, content, three kinds of upload, the bin."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

from tornado.web import Finish

from .drive_store import DEFAULT_FIELDS, FIELDS, FOLDER, Drive, File, Invalid, fields, ordered, query, select
from .state import DRIVE, DRIVE_FILE, DRIVE_READONLY, Grant
from .web import ApiHandler, error_info

PAGE_TTL = 3600.0
CHUNK = 256 * 1024  # bytes; a piece of a resumable upload is a multiple of it
SETTABLE = {"name": "name", "mimeType": "mime", "trashed": "trashed", "description": "description"}
NATIVE = "application/vnd.google-apps."


@dataclass
class Upload:
    """A resumable upload that has begun."""

    grant: Grant
    target: File | None  # None for a file that does not exist yet
    metadata: dict[str, Any]
    mime: str
    content: bytearray


class DriveHandler(ApiHandler):
    role = "apis"
    scopes = (DRIVE, DRIVE_FILE)
    read_scopes = (DRIVE_READONLY,)
    service = "drive.googleapis.com"

    @property
    def drive(self) -> Drive:
        return self.world.drive

    @property
    def token(self) -> Grant:
        grant = self.grant()
        assert grant is not None, "checked before"
        return grant

    def enabled(self) -> bool:
        return self.world.switches.drive_api

    def error(self, code: int, status: str, message: str, reason: str | None = None) -> None:
        """Drive's errors have a second list, with reasons of its own."""
        old = {
            "SERVICE_DISABLED": "accessNotConfigured",
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "insufficientPermissions",
            "ACCESS_TOKEN_EXPIRED": "authError",
        }.get(reason or "", reason)
        content: dict[str, Any] = {"code": code, "message": message, "status": status}
        content["errors"] = [{"domain": "global", "reason": old or "notFound", "message": message}]
        if old != reason:
            content["details"] = [error_info(reason or "", self.service)]
        self.document({"error": content}, code)

    def refuse(self, code: int, reason: str, message: str) -> Finish:
        self.error(code, {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}[code], message, reason)
        return Finish()

    def file(self, file_id: str, *, write: bool = False) -> File:
        """The file, if the token permits the operation."""
        found = next((file for file in self.drive.visible(self.token) if file.id == file_id), None)
        if found is not None:
            return found
        hidden = self.drive.files.get(file_id)
        if write and hidden is not None and hidden.account is self.account:
            raise self.refuse(403, "appNotAuthorizedToFile", "The user has not granted the app access to the file.")
        raise self.refuse(404, "notFound", f"File not found: {file_id}.")

    def show(self, file: File) -> None:
        self.document(self.selected(file, fields(self.arg("fields") or ",".join(DEFAULT_FIELDS))))

    def selected(self, file: File, tree: dict[str, Any]) -> dict[str, Any]:
        return select(file.shown(), tree, FIELDS)

    def log_exception(self, *arguments: Any) -> None:
        """Report the client's mistakes to the client."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        problem = kwargs.get("exc_info", (None, None))[1]
        if isinstance(problem, Invalid):
            self.error(400, "INVALID_ARGUMENT", f"Invalid Value: {problem}", "invalid")
        else:
            super().write_error(status_code, **kwargs)

    def metadata(self, text: bytes | None = None) -> dict[str, Any]:
        try:
            content = json.loads((self.request.body if text is None else text) or b"{}")
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise self.refuse(400, "parseError", "Parse Error")
        return content

    def apply(self, file: File, metadata: dict[str, Any]) -> None:
        """Set the writable fields. An existing file changes folders by parameters."""
        for name, attribute in SETTABLE.items():
            if name in metadata:
                setattr(file, attribute, metadata[name])
        add, remove = (set(filter(None, (self.arg(name) or "").split(","))) for name in ("addParents", "removeParents"))
        file.parents = [parent for parent in file.parents if parent not in remove]
        file.parents += sorted(add.difference(file.parents))
        file.modified = self.world.clock.now()

    def store(self, target: File | None, metadata: dict[str, Any], content: bytes | None, mime: str, by: Grant) -> File:
        """Make or change a file."""
        limit = self.world.switches.drive_quota
        if limit is not None and self.drive.used(by.account) + len(content or b"") > limit:
            raise self.refuse(403, "storageQuotaExceeded", "The user's Drive storage quota has been exceeded.")
        if target is None:
            target = self.drive.add(by.account, "Untitled", b"", mime, by.client)
            target.parents = metadata.get("parents", ["root"])
        elif "parents" in metadata:
            raise self.refuse(403, "fieldNotWritable", "The parents field is not directly writable in update requests.")
        self.apply(target, metadata)
        if content is not None:
            self.drive.write(target, content)
        return target


class Files(DriveHandler):
    def get(self) -> None:
        said = self.arg("pageSize") or "100"
        if not said.isdigit() or not 1 <= (size := int(said)) <= 1000:
            raise Invalid("pageSize")
        tree = fields(self.arg("fields") or f"kind,nextPageToken,files({','.join(DEFAULT_FIELDS)})")
        asked, token = f"{self.arg('q')} {self.arg('orderBy')}", self.arg("pageToken")
        if token is None:
            test = query(self.arg("q") or "trashed = true or trashed = false")
            found = [file for file in self.drive.visible(self.token) if test(file)]
            left = [file.id for file in ordered(found, self.arg("orderBy") or "")]
        else:
            left, of, until = self.drive.pages.get(token, ([], "", 0.0))
            if of != asked or until < self.world.clock.now():
                raise Invalid("pageToken")
        page = [self.drive.files[key] for key in left[:size] if key in self.drive.files]
        answer: dict[str, Any] = {
            "kind": "drive#fileList",
            "files": [self.selected(file, tree.get("files") or {"*": {}}) for file in page],
        }
        if left[size:]:
            answer["nextPageToken"] = f"~!!~{secrets.token_urlsafe(16)}"
            self.drive.pages[answer["nextPageToken"]] = (left[size:], asked, self.world.clock.now() + PAGE_TTL)
        self.document(select(answer, tree, {"kind", "files", "nextPageToken", "incompleteSearch"}))

    def post(self) -> None:
        """A file without content, such as a folder."""
        metadata = self.metadata()
        self.show(self.store(None, metadata, None, metadata.get("mimeType", "application/octet-stream"), self.token))


class OneFile(DriveHandler):
    def get(self, file_id: str) -> None:
        file = self.file(file_id)
        if self.arg("alt") != "media":
            self.show(file)
            return
        if file.mime == FOLDER or file.mime.startswith(NATIVE):
            raise self.refuse(403, "fileNotDownloadable", "Only files with binary content can be downloaded.")
        self.set_header("Content-Type", file.mime)
        self.finish(file.content)

    def patch(self, file_id: str) -> None:
        file = self.file(file_id, write=True)
        self.show(self.store(file, self.metadata(), None, file.mime, self.token))

    def delete(self, file_id: str) -> None:
        del self.drive.files[self.file(file_id, write=True).id]
        self.nothing(204)


class Uploads(DriveHandler):
    """Content by `uploadType`: all at once, together with metadata, or piece by piece."""

    def post(self, file_id: str | None = None) -> None:
        target = self.file(file_id, write=True) if file_id else None
        kind, mime = self.arg("uploadType"), self.request.headers.get("Content-Type", "application/octet-stream")
        if kind == "media":
            self.show(self.store(target, {}, self.request.body, mime, self.token))
        elif kind == "multipart":
            metadata, content, mime = self._parts(mime)
            self.show(self.store(target, metadata, content, metadata.get("mimeType", mime), self.token))
        elif kind == "resumable":
            metadata = self.metadata()
            mime = metadata.get("mimeType") or self.request.headers.get("X-Upload-Content-Type") or mime
            key = secrets.token_urlsafe(16)
            self.drive.uploads[key] = Upload(self.token, target, metadata, mime, bytearray())
            place = f"{self.world.urls['apis']}{self.request.path}?uploadType=resumable&upload_id={key}"
            chosen = f"&fields={self.arg('fields')}" if self.arg("fields") else ""
            self.set_header("Location", place + chosen)
            self.nothing()
        else:
            raise Invalid("uploadType")

    patch = post

    def put(self, file_id: str | None = None) -> None:
        """A piece of a resumable upload, or the question how much has arrived."""
        upload = self.drive.uploads.get(self.arg("upload_id") or "")
        if not isinstance(upload, Upload):
            raise self.refuse(404, "notFound", "No such upload.")
        said = self.request.headers.get("Content-Range")
        length = len(self.request.body)
        piece = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", said or f"bytes 0-{length - 1}/{length}")
        if piece is None and not (said is None and length == 0):
            raise Invalid("Content-Range")
        first, _, total = piece.groups() if piece else ("0", "", "0")
        if first is not None:
            last = total != "*" and int(first) + length == int(total)
            if int(first) != len(upload.content) or (length % CHUNK and not last):
                raise Invalid("Content-Range")
            upload.content += self.request.body
        if total != "*" and len(upload.content) == int(total):
            del self.drive.uploads[self.arg("upload_id") or ""]
            self.show(self.store(upload.target, upload.metadata, bytes(upload.content), upload.mime, upload.grant))
            return
        if upload.content:
            self.set_header("Range", f"bytes=0-{len(upload.content) - 1}")
        self.nothing(308)

    def _parts(self, kind: str) -> tuple[dict[str, Any], bytes, str]:
        """The two parts of multipart/related: metadata, and the content with its type."""
        boundary = re.search(r'^multipart/related;.*boundary="?([^";]+)"?', kind)
        pieces = self.request.body.split(b"--" + boundary[1].encode()) if boundary else []
        if len(pieces) != 4 or pieces[3].strip() != b"--":
            raise self.refuse(400, "badContent", "Malformed multipart body.")
        parts = [piece.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n") for piece in pieces[1:3]]
        found = re.search(rb"(?i)content-type:\s*([^\r\n;]+)", parts[1][0])
        return self.metadata(parts[0][2]), parts[1][2], found[1].decode() if found else "application/octet-stream"


ROUTES: list[Any] = [
    (r"/drive/v3/files", Files),
    (r"/drive/v3/files/([^/]+)", OneFile),
    (r"/upload/drive/v3/files", Uploads),
    (r"/upload/drive/v3/files/([^/]+)", Uploads),
]
