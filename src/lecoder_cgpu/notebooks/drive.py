"""Notebooks in Google Drive (Drive v3): finding, reading, making, changing and deleting them; and what Google's
refusals mean.

With the scope that logins ask for (`drive.file`), Drive shows only what this OAuth client has made itself.

Source: Google's reference of Drive v3; usage limits and error reasons from its guide to resolving errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from .. import errors
from ..auth import credentials
from ..auth.tokens import Login, origin
from ..net import answers, http
from ..net.addresses import segment
from ..net.failures import retry_after
from ..net.retry import RETRY_AFTER_MOST, persist

T = TypeVar("T")

NOTEBOOK = "application/x-ipynb+json"
COLAB_NOTEBOOK = "application/vnd.google.colaboratory"
FIELDS = "id,name,mimeType,createdTime,modifiedTime,size,webViewLink,trashed"
ORDERS = {"name": "name", "createdTime": "createdTime desc", "modifiedTime": "modifiedTime desc"}
QUERY = (
    f"trashed=false and (mimeType='{COLAB_NOTEBOOK}' or mimeType='{NOTEBOOK}' or name contains '.ipynb')"
    " and mimeType!='application/vnd.google-apps.folder'"
)
READONLY = "https://www.googleapis.com/auth/drive.readonly"
PAGE = 100  # files a page; Drive allows 1000, and slows down
AT_ONCE = 5 << 20  # bytes that may be sent in one piece
PIECE = 32 * (256 << 10)  # bytes of one piece of more; a multiple of 256 KiB, as Drive demands (protocol C56)
LARGEST = 64 << 20  # bytes of a notebook
TIMEOUT = 60.0  # seconds for one request
ATTEMPTS = 5  # attempts at a request that Google asks to repeat later
EMPTY = 20  # pages of a listing, one behind the other, without a notebook: one without end is not read on
BOUNDARY = "lecoder-cgpu-7bRk2"
_ID = re.compile(r"[A-Za-z0-9_-]{10,}")
_LINK = re.compile(r"https?://(?:colab\.research|drive|docs)\.google\.com/(?:drive/|file/d/|open\?id=)([\w-]+)")
# Reasons of a 403 (protocol C57).
_RATE = {"rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "sharingRateLimitExceeded"}


class File(Struct, rename="camel", kw_only=True):
    """A file as Drive describes it; times as in RFC 3339, the size in bytes as text."""

    id: str
    name: str
    mime_type: str = ""
    created_time: str = ""
    modified_time: str = ""
    size: str | None = None
    web_view_link: str | None = None
    trashed: bool = False

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):  # it becomes part of addresses, and of commands that we advise
            raise ValueError(f"{self.id[:60]!r} is no id of a file")


class _Page(Struct, rename="camel"):
    files: list[File] = []
    next_page_token: str | None = None


def id_of(text: str) -> str:
    """The id in a link to a notebook, or the id itself.

    Raises:
        errors.UsageError: it is neither.
    """
    found = _LINK.match(text)
    identity = found[1] if found else text.removeprefix("drive:")
    if not _ID.fullmatch(identity):
        raise errors.UsageError(
            f"{text!r} is neither the id of a notebook in Drive nor a link to one",
            name="BadNotebookId",
            hint="lecoder-cgpu notebook list",
        )
    return identity


def link(identity: str) -> str:
    """Where Colab shows the notebook."""
    return f"https://colab.research.google.com/drive/{identity}"


class Drive:
    """The notebooks that the login may see (protocol C55).

    Every method raises errors.AuthError (no login, a missing scope, the API not enabled in the client's project),
    errors.QuotaError (too many requests, storage full), errors.ConnectionFailed, and, for a file by its id,
    errors.NotFoundError.
    """

    def __init__(self, login: Login) -> None:
        self._login = login
        self._origin = origin(login.config, "googleApisDomain")

    def list(self, limit: int, order: str = "modifiedTime", *, everything: bool = False) -> list[File]:
        """Notebooks that are not in the bin, page after page.

        Args:
            limit: at most this many. order: one of `ORDERS`.
            everything: not only those that this tool made; needs a scope that logins do not ask for.
        """
        self._login.require(credentials.DRIVE_FILE, "listing notebooks")
        if everything:
            self._require_everything()
        files: list[File] = []
        token = None
        empty = 0
        while empty < EMPTY:
            query = {
                "q": QUERY,
                "orderBy": ORDERS[order],
                "pageSize": str(min(PAGE, limit - len(files))),
                "fields": f"nextPageToken,files({FIELDS})",
                "supportsAllDrives": "true",
                "includeItemsFromAllDrives": "true",
            }
            if token is not None:
                query["pageToken"] = token
            page = self._decode(self._call("GET", "/drive/v3/files", query), _Page)
            files += page.files
            empty = 0 if page.files else empty + 1
            token = page.next_page_token
            if token is None or len(files) >= limit:
                return files[:limit]
        raise errors.UnexpectedAnswer(
            f"Drive's listing has no end: behind {len(files)} notebooks come {EMPTY} empty pages",
            retryable=False,
            hint=f"ask for fewer: lecoder-cgpu notebook list -n {max(len(files), 1)}",
        )

    def _require_everything(self) -> None:
        granted = self._login.scopes()
        if granted is not None and not granted & {credentials.DRIVE, READONLY}:
            raise errors.ScopeMissing(
                f"--all-notebooks reads the whole Drive, for which Google wants the scope {READONLY}; this login was "
                "given only what the tool itself has made (drive.file)",
                hint=f"{credentials.ADC_COMMAND},{READONLY} and then: lecoder-cgpu auth login --adc --force",
            )

    def get(self, identity: str) -> File:
        """What Drive says about a file."""
        return self._decode(self._call("GET", self._path(identity), {"fields": FIELDS}, identity=identity), File)

    def download(self, identity: str, most: int = LARGEST) -> bytes:
        """A file's content, of at most this many bytes."""
        return self._call("GET", self._path(identity), {"alt": "media"}, identity=identity, most=most).data

    def create(self, name: str, content: bytes) -> File:
        """A new notebook in the root folder."""
        self._login.require(credentials.DRIVE_FILE, "making a notebook in Drive")
        return self._store("POST", "/upload/drive/v3/files", {"name": name, "mimeType": NOTEBOOK}, content)

    def replace(self, identity: str, content: bytes) -> File:
        """Put other content into a notebook; Drive keeps the old one among its revisions."""
        return self._store("PATCH", f"/upload{self._path(identity)}", {}, content, identity=identity)

    def rename(self, identity: str, name: str) -> File:
        """Give a notebook another name."""
        return self._change(identity, {"name": name})

    def trash(self, identity: str) -> File:
        """Move a notebook to the bin, where its owner finds it for thirty days."""
        return self._change(identity, {"trashed": True})

    def delete(self, identity: str) -> None:
        """Delete a notebook for good."""
        self._call("DELETE", self._path(identity), {}, identity=identity)

    # --- requests ---

    @staticmethod
    def _path(identity: str) -> str:
        return f"/drive/v3/files/{segment(identity)}"

    def _change(self, identity: str, fields: dict[str, Any]) -> File:
        reply = self._call(
            "PATCH",
            self._path(identity),
            {"fields": FIELDS},
            msgspec.json.encode(fields),
            {"Content-Type": "application/json; charset=UTF-8"},
            identity=identity,
        )
        return self._decode(reply, File)

    def _store(
        self, method: str, path: str, metadata: dict[str, Any], content: bytes, *, identity: str | None = None
    ) -> File:
        if len(content) > AT_ONCE:
            return self._store_in_pieces(method, path, metadata, content, identity)
        part = f"--{BOUNDARY}\r\nContent-Type: %s\r\n\r\n"
        body = (part % "application/json; charset=UTF-8").encode() + msgspec.json.encode(metadata)
        body += ("\r\n" + part % NOTEBOOK).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        reply = self._call(
            method,
            path,
            {"uploadType": "multipart", "fields": FIELDS},
            body,
            {"Content-Type": f"multipart/related; boundary={BOUNDARY}"},
            identity=identity,
        )
        return self._decode(reply, File)

    def _store_in_pieces(
        self, method: str, path: str, metadata: dict[str, Any], content: bytes, identity: str | None
    ) -> File:
        """A resumable upload: after a dropped connection, Drive says how much has arrived, and the rest is sent."""
        headers = {"Content-Type": "application/json; charset=UTF-8", "X-Upload-Content-Type": NOTEBOOK}
        begun = self._call(
            method,
            path,
            {"uploadType": "resumable", "fields": FIELDS},
            msgspec.json.encode(metadata),
            headers,
            identity=identity,
        )
        place = begun.headers.get("location") or ""
        if not place.startswith(f"{self._origin}/"):  # the login goes with each piece
            raise errors.UnexpectedAnswer(
                f"Drive wants the content at another server ({place[:100]!r}), which gets neither it nor the login",
                retryable=False,
                hint="lecoder-cgpu debug tail shows the requests",
            )
        offset, failures = 0, 0
        while True:
            # After a failure, an empty request asks how much has arrived.
            piece = content[offset : offset + PIECE] if offset >= 0 else b""
            stands = f"bytes {offset}-{offset + len(piece) - 1}" if piece else "bytes *"
            try:
                reply = self._call("PUT", place, {}, piece, {"Content-Range": f"{stands}/{len(content)}"})
            except errors.ConnectionFailed:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                offset = -1
                continue
            if reply.status != 308:
                return self._decode(reply, File)
            arrived = re.fullmatch(r"bytes=0-([0-9]{1,15})", reply.headers.get("range") or "")
            before, offset = offset, int(arrived[1]) + 1 if arrived else 0
            failures += offset <= before or offset >= len(content)
            if failures >= ATTEMPTS:
                break
        raise errors.DriveFailed(
            f"Drive takes no more than {max(offset, 0)} of {len(content)} bytes", hint="repeat the same command"
        )

    def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        identity: str | None = None,
        most: int = answers.MOST,
    ) -> http.Reply:
        """One request. Repeated with a fresh token if Google refuses the old one, and later if Google asks for it."""
        url = path if path.startswith("http") else self._origin + path
        if query:
            url += "?" + urlencode(query)
        rejected: str | None = None

        def once() -> http.Reply:
            nonlocal rejected
            while True:
                token = self._login.access_token(rejected=rejected)
                sent = {"Authorization": f"Bearer {token}", **(headers or {})}
                reply = http.exchange(
                    method, url, content=content, headers=sent, timeout=TIMEOUT, most=most, is_file="alt" in query
                )
                if reply.status == 401 and rejected is None:
                    rejected = token
                    continue
                if reply.status >= 400:
                    raise refusal(reply, identity)
                return reply

        return persist(once, again=lambda error: _pause(error, method), attempts=5, pause=1.0)

    @staticmethod
    def _decode(reply: http.Reply, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(reply.data, type=kind)
        except msgspec.DecodeError as error:
            raise errors.UnexpectedAnswer(
                f"Drive's answer was not understood: {error}",
                hint="lecoder-cgpu debug tail shows the requests",
            ) from error


def _pause(error: Exception, method: str) -> bool | float:
    """Whether to repeat a request after this failure, and after how many seconds if Google said so. A longer pause than
    `RETRY_AFTER_MOST` is left to the user."""
    if isinstance(error, errors.QuotaError) and error.retryable:
        return (error.retry_after or 0.0) <= RETRY_AFTER_MOST and (error.retry_after or True)
    if not isinstance(error, errors.ConnectionFailed):
        return False
    if isinstance(error, (errors.ConnectionRefused, errors.NameResolution)):
        return False
    # A request that may have had its effect is repeated only if that does no harm.
    return isinstance(error, errors.DriveFailed) or (error.retryable and method in ("GET", "DELETE"))


def _reasons(data: bytes) -> Iterator[str]:
    """The reasons that an error of Google names, in the old form and in the new one."""
    try:
        error = msgspec.json.decode(data)["error"]
        for entry in error.get("errors") or []:
            yield str(entry.get("reason"))
        for entry in error.get("details") or []:
            yield str(entry.get("reason"))
        yield str(error.get("status"))
    except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
        return


def _message(data: bytes) -> str:
    try:
        text = str(msgspec.json.decode(data)["error"]["message"])
    except (msgspec.DecodeError, TypeError, KeyError):
        return ""
    return " ".join(text.split())[:300]


def refusal(reply: http.Reply, identity: str | None = None) -> errors.Error:
    """The error for an answer of Drive that is not a success, with what to do about it."""
    reasons = set(_reasons(reply.data))
    said = _message(reply.data) or f"HTTP {reply.status}"
    if reply.status == 401:
        return errors.TokenRefused(f"Google refuses the login: {said}", hint="lecoder-cgpu auth login --force")
    if reasons & _RATE or reply.status == 429:
        wait = retry_after(reply.headers.get("retry-after"))
        return errors.QuotaError(
            f"Google wants fewer requests to Drive: {said}",
            name="RateLimited",
            retryable=True,
            hint="repeat the same command in " + ("a minute" if wait is None else f"{wait:.0f} s"),
            retry_after=wait,
        )
    if reply.status == 403:
        return _forbidden(reasons, said, identity)
    if reply.status == 404:
        named = f"a notebook {identity!r}" if identity else "it"
        return errors.NotFoundError(
            f"Drive does not have {named}, or does not show it: with the scope drive.file, only notebooks that this "
            "tool has made are visible",
            name="NotebookNotFound",
            hint="lecoder-cgpu notebook list",
        )
    if reply.status >= 500:
        return errors.DriveFailed(f"Drive failed: {said}", hint="repeat the same command in a minute")
    return errors.ConnectionFailed(
        f"Drive refuses the request: {said}",
        name="DriveRefused",
        retryable=False,
        hint="lecoder-cgpu debug tail shows the requests",
    )


def _forbidden(reasons: set[str], said: str, identity: str | None) -> errors.Error:
    if reasons & {"accessNotConfigured", "SERVICE_DISABLED"}:
        return errors.AuthError(
            "the Drive API is not enabled in the project of your OAuth client",
            name="DriveNotEnabled",
            hint="enable it, and wait a minute: https://console.cloud.google.com/apis/library/drive.googleapis.com",
        )
    if reasons & {"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientScopes"}:
        return errors.ScopeMissing(
            f"this needs the permission {credentials.DRIVE_FILE}, which this login was not given",
            hint="log in again and leave its box ticked: lecoder-cgpu auth login --force",
        )
    if "storageQuotaExceeded" in reasons:
        return errors.QuotaError(
            "your Drive is full", name="DriveFull", hint="free space, or empty the bin, at https://drive.google.com"
        )
    if "appNotAuthorizedToFile" in reasons:
        return errors.AuthError(
            f"the notebook {identity!r} was not made by this tool, and its login (drive.file) may not touch others",
            name="NotAuthorizedToFile",
            hint="download it in the browser, and bring it with: lecoder-cgpu notebook push FILE",
        )
    return errors.Forbidden(f"Google forbids this: {said}", hint="lecoder-cgpu auth check")
