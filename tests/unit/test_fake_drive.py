"""The fake Drive: what the notebook commands may rely on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import CLIENT, FakeColab
from lecoder_cgpu.testing.drive_store import NOTEBOOK
from lecoder_cgpu.testing.state import COLAB, DRIVE, DRIVE_READONLY, EMAIL
from tests.support.google import Answer, User, call

FILES = "/drive/v3/files"
UPLOAD = "/upload/drive/v3/files"
QUERY = (
    "trashed=false and (mimeType='application/vnd.google.colaboratory' or "
    "mimeType='application/x-ipynb+json' or name contains '.ipynb')"
)


@pytest.fixture
def user(colab: FakeColab) -> User:
    """Somebody who may do everything in Drive."""
    return User(colab, (EMAIL, COLAB, DRIVE))


def reason(answer: Answer) -> str:
    found: str = answer.json["error"]["errors"][0]["reason"]
    return found


def multipart(metadata: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Body and header of a multipart upload."""
    head = b"--b\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" + json.dumps(metadata).encode()
    body = head + b"\r\n--b\r\nContent-Type: application/x-ipynb+json\r\n\r\n" + content + b"\r\n--b--"
    return {"data": body, "headers": {"Content-Type": "multipart/related; boundary=b"}, "uploadType": "multipart"}


def test_listing(colab: FakeColab, user: User) -> None:
    """Queries, order, chosen fields, and pages whose tokens end."""
    for name, mime in [("b", NOTEBOOK), ("a.ipynb", "text/plain"), ("c.txt", "text/plain"), ("it's", NOTEBOOK)]:
        colab.drive_file(name, b"{}", mime)
    chosen = "nextPageToken,files(id,name)"
    first = user("GET", FILES, "apis", q=QUERY, orderBy="name", pageSize=2, fields=chosen).json
    assert [file["name"] for file in first["files"]] == ["a.ipynb", "b"]
    assert set(first["files"][0]) == {"id", "name"}
    more = {"q": QUERY, "orderBy": "name", "pageSize": 2, "pageToken": first["nextPageToken"]}
    second = user("GET", FILES, "apis", **more).json
    assert [file["name"] for file in second["files"]] == ["it's"]
    assert set(second["files"][0]) == {"kind", "id", "name", "mimeType"}
    assert "nextPageToken" not in second
    assert user("GET", FILES, "apis", q=r"name = 'it\'s'").json["files"][0]["name"] == "it's"
    assert len(user("GET", FILES, "apis", q="not 'root' in parents").json["files"]) == 0
    assert reason(user("GET", FILES, "apis", q="colour = 'red'")) == "invalid"
    assert reason(user("GET", FILES, "apis", fields="files(colour)")) == "invalid"
    colab.switches.access_ttl = 1e6
    later = User(colab, (DRIVE,))
    colab.advance(3601)
    assert reason(later("GET", FILES, "apis", **more)) == "invalid"


def test_a_files_life(colab: FakeColab, user: User) -> None:
    """Create, read, rename, replace, put into the bin, delete."""
    made = user("POST", UPLOAD, "apis", **multipart({"name": "x.ipynb", "mimeType": NOTEBOOK}, b"{}"), fields="*").json
    path = f"{FILES}/{made['id']}"
    assert (made["size"], made["mimeType"], made["parents"]) == ("2", NOTEBOOK, ["root"])
    assert user("GET", path, "apis", alt="media").body == b"{}"
    renamed = user("PATCH", path, "apis", b'{"name": "y.ipynb"}', addParents="there", removeParents="root", fields="*")
    assert (renamed.json["name"], renamed.json["parents"]) == ("y.ipynb", ["there"])
    replaced = user("PATCH", f"{UPLOAD}/{made['id']}", "apis", b"[1]", uploadType="media", fields="headRevisionId,size")
    assert replaced.json["size"] == "3"
    assert replaced.json["headRevisionId"] != made["headRevisionId"]
    assert user("PATCH", path, "apis", b'{"trashed": true}', fields="trashed").json == {"trashed": True}
    assert user("GET", FILES, "apis", q="trashed = false").json["files"] == []
    assert user("DELETE", path, "apis").status == 204
    assert reason(user("DELETE", path, "apis")) == "notFound"
    folder = json.dumps({"name": "Colab Notebooks", "mimeType": "application/vnd.google-apps.folder"}).encode()
    made = user("POST", FILES, "apis", folder).json
    assert reason(user("GET", f"{FILES}/{made['id']}", "apis", alt="media")) == "fileNotDownloadable"


def test_resumable_upload(colab: FakeColab, user: User) -> None:
    """Pieces in multiples of 256 KiB; what was lost on the way is asked for."""
    content = b"x" * (600 * 1024)
    begun = user("POST", UPLOAD, "apis", b'{"name": "big"}', uploadType="resumable", fields="size")
    where = begun.headers["Location"]
    bearer = {"Authorization": f"Bearer {user.token}"}

    def put(first: int, last: int) -> Answer:
        piece = {"Content-Range": f"bytes {first}-{last - 1}/{len(content)}"}
        return call("PUT", where, bearer | piece, content[first:last])

    assert put(0, 1000).status == 400
    assert put(0, 512 * 1024).status == 308
    colab.fail("PUT " + UPLOAD, drop=True)
    with pytest.raises(OSError):
        put(512 * 1024, len(content))
    asked = call("PUT", where, bearer | {"Content-Range": f"bytes */{len(content)}"}, b"")
    assert (asked.status, asked.headers["Range"]) == (308, f"bytes=0-{512 * 1024 - 1}")
    assert put(512 * 1024, len(content)).json == {"size": str(len(content))}
    assert colab.drive_files[0].content == content


def test_scopes_limit_what_is_seen(colab: FakeColab) -> None:
    """drive.file shows what the same client made; reading does not allow writing; without a scope nothing goes."""
    theirs = colab.drive_file("theirs.ipynb", b"{}")
    ours = colab.drive_file("ours.ipynb", b"{}", client=CLIENT[0])
    narrow = User(colab)
    assert [file["id"] for file in narrow("GET", FILES, "apis").json["files"]] == [ours.id]
    assert reason(narrow("GET", f"{FILES}/{theirs.id}", "apis")) == "notFound"
    assert reason(narrow("PATCH", f"{FILES}/{theirs.id}", "apis", b"{}")) == "appNotAuthorizedToFile"
    reader = User(colab, (DRIVE_READONLY,))
    assert len(reader("GET", FILES, "apis").json["files"]) == 2
    assert reason(reader("DELETE", f"{FILES}/{ours.id}", "apis")) == "insufficientPermissions"
    assert reason(User(colab, (EMAIL, COLAB))("GET", FILES, "apis")) == "insufficientPermissions"


def test_drive_refuses(colab: FakeColab, user: User) -> None:
    """An API that is off, a Drive that is full, and limits by fault."""
    colab.switches.drive_quota = 1
    assert reason(user("POST", UPLOAD, "apis", **multipart({"name": "x"}, b"{}"))) == "storageQuotaExceeded"
    colab.switches.drive_api = False
    refused = user("GET", FILES, "apis")
    assert (refused.status, reason(refused)) == (403, "accessNotConfigured")
    colab.switches.drive_api = True
    body = json.dumps({"error": {"code": 403, "errors": [{"reason": "userRateLimitExceeded"}]}}).encode()
    colab.fail("apis:GET /drive/v3/*", status=403, body=body)
    assert reason(user("GET", FILES, "apis")) == "userRateLimitExceeded"
    assert user("GET", FILES, "apis").status == 200
    assert call("GET", colab.urls["apis"] + FILES).status == 401
