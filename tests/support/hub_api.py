"""The part of the Hugging Face Hub's API that a commit needs, as a real HTTP server with one token."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = 1 << 10  # bytes from which on a file goes to the store for large ones


class HubApi(ThreadingHTTPServer):
    """Repositories by name, each a dictionary of names and contents. `damaged`: files whose content is lost on the way;
    `ignored`: names that a commit silently leaves out, as a `.gitignore` there does."""

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.token = token
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.commits: list[list[str]] = []
        self.damaged: set[str] = set()
        self.ignored: set[str] = set()
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def hub_api(token: str) -> Iterator[HubApi]:
    """A Hub, while the body runs."""
    server = HubApi(token)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers one client."""

    server: HubApi
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _answer(self, status: int, document: Any, **headers: str) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _refused(self) -> bool:
        """Whether the token is wrong, which is answered then."""
        if self.headers.get("Authorization") == f"Bearer {self.server.token}":
            return False
        self._answer(401, {"error": "Invalid credentials in Authorization header"})
        return True

    def do_GET(self) -> None:
        if self._refused():
            return
        name = self.path.partition("?")[0].removeprefix("/api/models/").partition("/revision/")[0]
        if name not in self.server.repositories:
            self._answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        else:
            self._answer(200, {"id": name, "private": True, "tags": [], "siblings": [], "sha": "0" * 40})

    def do_PUT(self) -> None:
        self.server.large[self.path.rpartition("/")[2]] = self._body()
        self._answer(200, {})

    def do_POST(self) -> None:
        body = self._body()
        path = self.path.partition("?")[0]
        if self._refused():
            return
        if path == "/api/repos/create":
            asked = json.loads(body)
            assert asked.get("private") or asked.get("visibility") == "private"
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.server.repositories[name] = {}
            self._answer(200, {"url": f"{self.server.address}/{name}", "name": name, "id": name})
        elif path.endswith("/info/lfs/objects/batch"):
            found = [
                {**item, "actions": {"upload": {"href": f"{self.server.address}/store/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": found})
        else:
            name, _, what = path.removeprefix("/api/models/").rpartition("/")[0].rpartition("/")
            getattr(self, "_" + what.replace("-", "_"))(self.server.repositories[name], body)

    def _preupload(self, files: dict[str, bytes], body: bytes) -> None:
        def mode(size: int) -> str:
            return "lfs" if size >= LARGE else "regular"

        asked = json.loads(body)["files"]
        found = [{"path": item["path"], "uploadMode": mode(item["size"]), "shouldIgnore": False} for item in asked]
        self._answer(200, {"files": found})

    def _commit(self, files: dict[str, bytes], body: bytes) -> None:
        done = []
        for line in body.splitlines():
            item = json.loads(line)
            kind, value = item["key"], item["value"]
            if kind == "header" or value["path"] in self.server.ignored:
                continue
            done.append(value["path"])
            if kind == "deletedFile":
                del files[value["path"]]
            else:
                content = base64.b64decode(value["content"]) if kind == "file" else self.server.large[value["oid"]]
                files[value["path"]] = content[:-1] if value["path"] in self.server.damaged else content
        self.server.commits.append(sorted(done))
        number = f"{len(self.server.commits):040x}"
        self._answer(
            200, {"success": True, "commitOid": number, "commitUrl": f"{self.server.address}/me/model/commit/{number}"}
        )

    def _paths_info(self, files: dict[str, bytes], body: bytes) -> None:
        found = []
        for name in urllib.parse.parse_qs(body.decode()).get("paths", ()):
            if name not in files:
                continue
            content = files[name]
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": blob}
            if len(content) >= LARGE:
                oid = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 100}
            found.append(entry)
        self._answer(200, found)
