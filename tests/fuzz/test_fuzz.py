"""Random answers and files: an error that says who sent it, or success, and nothing outside of where it belongs."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.backends.colab import calls
from lecoder_cgpu.files.commands import Storage
from lecoder_cgpu.files.contents_service import ContentsService
from lecoder_cgpu.files.download import Download
from lecoder_cgpu.files.ignore import Ignore
from lecoder_cgpu.files.upload import Upload
from lecoder_cgpu.guest import packs, trees
from lecoder_cgpu.guest.files import Files
from lecoder_cgpu.guest.unpacker import Unpacker
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from lecoder_cgpu.models.base import SessionRef
from lecoder_cgpu.net import answers
from lecoder_cgpu.net.http import Http
from tests.support.fuzz import Choices, Fuzz
from tests.support.guest_files import guest_files
from tests.support.raw_server import raw_server

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")

NAMES = (
    "a",
    "b",
    "a/b",
    "b/a",
    "a/b/c",
    "L",
    "../x",
    "/x",
    "..",
    "",
    "a/../../x",
    "a\0b",
    "x" * 300,
    ".bashrc",
    "p",
    "q",
)
TARGETS = ("a", "..", "../..", "p/q/../../x", "/x", ".", "a/b", "../a", "", "a/../..", "b")
PACKED = [b"x", b"", b"hello"]


class Here:
    """A folder to work in, with files beside it that nobody may touch."""

    def __init__(self, place: str) -> None:
        self.place = Path(place)
        self.target = self.place / "in" / "target"
        self.target.mkdir(parents=True)
        for path in (self.place / "x", self.place / "in" / "x"):
            path.write_text("mine")
        (self.target / "out").symlink_to("..")
        (self.target / "far").symlink_to(self.place / "x")

    def check(self) -> None:
        """Nothing outside was made, changed or deleted; no new link leads out."""
        assert sorted(item.name for item in self.place.iterdir()) == ["in", "x"]
        assert sorted(item.name for item in (self.place / "in").iterdir()) == ["target", "x"]
        assert {(self.place / "x").read_text(), (self.place / "in" / "x").read_text()} == {"mine"}
        for folder, folders, files in os.walk(self.target):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                assert not os.lstat(path).st_mode & 0o7000
                if os.path.islink(path) and name not in ("out", "far"):
                    with contextlib.suppress(OSError):
                        assert trees.is_inside(os.path.realpath(path, strict=True), os.path.realpath(self.target))


@contextlib.contextmanager
def here() -> Iterator[Here]:
    with tempfile.TemporaryDirectory() as place:
        found = Here(place)
        yield found
        found.check()


# --- the file service --------------------------------------------------------------------------------------------


def line(choices: Choices) -> Any:
    """A line of a listing: mostly a sound one."""
    if choices.below(8) == 0:
        return choices.json(1)
    kind = choices.pick(("file", "file", "link", "folder", "special", "outside", "door"))
    size = choices.pick((1, 0, 5, 1 << 20, (1 << 20) + 1, -1, 2**70))
    made = [choices.pick(NAMES), kind, size, choices.pick((0, 1, -(2**61), 2**63, 10**30))]
    made += [choices.pick((0o644, 0o6777, None, -1, 2**40)), choices.pick((None, *TARGETS))]
    return made[: choices.pick((6, 6, 6, 4, 2))]


def packed(choices: Choices) -> bytes:
    """Records of a pack: mostly sound ones."""
    pieces = []
    for _ in range(choices.below(5)):
        name, kind = choices.pick(NAMES), choices.below(4)
        if kind == 0:
            pieces += packs.link_record(name, 0, choices.pick(TARGETS))
        elif kind == 1:
            pieces += packs.folder_records([trees.Entry(name, trees.FOLDER, 0, 0, choices.pick((0o755, 0o7777, 0)))])
        else:
            pieces.append(packs.record(name, trees.FILE, choices.pick((0, 2**62, -1)), choices.pick(PACKED)))
    content = bytearray(b"".join(pieces))
    if content and choices.below(4) == 0:
        content[choices.below(len(content))] ^= 1 << choices.below(8)
    return bytes(content[: len(content) - choices.pick((0, 0, 0, 1, 20))])


class Hostile(Files):
    """Answers what it likes, over the real wire."""

    choices = Choices(b"")
    answers = 0

    def serve(self, header: Any, data: Any = None) -> list[bytes]:
        Hostile.answers += 1
        request = json.loads(bytes(header))
        return self._answer(request.get("op"), request)

    def _answer(self, op: str, request: Any) -> list[bytes]:
        choices = self.choices
        if choices.below(12) == 0:
            return [choices.raw(30)] if choices.below(2) else []
        if choices.below(10) == 0:
            return [json.dumps(choices.json()).encode(), choices.raw(30)]
        content = b""
        if op == "stat":
            answer: Any = {"path": choices.pick(NAMES), "real": "/r", "entry": choices.pick((line(choices), None))}
        elif op in ("scan", "list", "glob"):
            answer = {"entries": [line(choices) for _ in range(choices.below(5))], "end": choices.below(9) > 0}
        elif op == "pack" and choices.below(2):  # what was asked for, and the listing was free to say anything
            answer, content = {"problems": []}, b"".join(map(self._record, request["entries"]))
        elif op == "pack":
            answer, content = {"problems": choices.pick(([], [["a", "b", "c"]], [[]]))}, packed(choices)
        elif op == "get":
            answer, content = {"size": 1, "mtime": 1}, b"x" * choices.pick((request["size"] % (2 << 20), 1, 0, 100))
        elif op == "begin":
            answer = {"part": "p", "path": "q", "offset": choices.pick((0, 5, 2**40, -1))}
        else:
            answer = {"ended": True, "done": 1, "result": choices.json(1), "deleted": []}
        return [json.dumps(answer).encode(), content]

    def _record(self, item: Any) -> bytes:
        name, kind, target = item[0], item[1], item[5] if len(item) > 5 else None
        if kind == "link":
            return b"".join(packs.link_record(name, 0, target or ""))
        return packs.record(name, trees.FILE, 0, b"evil")


def test_the_file_service(fuzz: Fuzz, tmp_path: Path) -> None:
    """Whatever a helper answers: an error of its own or of the user's names, and nothing outside of the target."""
    Hostile.answers = 0
    with guest_files(tmp_path) as there:
        there.files = hostile = Hostile(str(there.root))
        # What a session is to the storage: its name, and somebody who is told.
        session: Any = types.SimpleNamespace(
            record=types.SimpleNamespace(ref=SessionRef(name="s", id="1", backend="x"), apart=False)
        )
        session.endpoint, session.server, session.backend = Endpoint(url="http://127.0.0.1/"), None, None
        session.notify = lambda text: None

        def check(choices: Choices) -> None:
            hostile.choices = Choices(b"\xff" * 4)
            service = there.open()
            hostile.choices = choices
            storage = Storage(session, service=service)
            with here() as folder:
                own = folder.place / "in" / "x"
                ways: list[Callable[[], object]] = [
                    lambda: storage.download(["data"], f"{folder.target}/"),
                    lambda: storage.download(["*.csv", "**/a"], f"{folder.target}/"),
                    lambda: storage.download(["data"], str(folder.target / "new")),
                    lambda: Download(service).tree("data", str(folder.target)),
                    lambda: Upload(service).file(str(own), "there"),
                    lambda: Upload(service).tree(str(folder.target), "there"),
                    lambda: storage.list("x"),
                    lambda: storage.remove(["a*"], recursive=True),
                    lambda: storage.sync(str(folder.target), "there", delete=True),
                    lambda: storage.read("x", lambda data: None),
                ]
                for _ in range(3):
                    with contextlib.suppress(errors.Error):
                        document = choices.pick(ways)()
                        msgspec.json.encode(document)

        fuzz("file_service", check)
    print(f"file service: {fuzz.runs} courses, {Hostile.answers} answers")


def test_packs(fuzz: Fuzz) -> None:
    """Packs of any records and damage, at both ends, with descriptors of folders and without."""

    def check(choices: Choices) -> None:
        with here() as folder:
            for _ in range(4):
                unpack = Unpacker(str(folder.target), "n", descriptors=choices.below(4) > 0)
                content = packed(choices) if choices.below(8) else choices.raw(200)
                with contextlib.suppress(trees.Problem):
                    unpack(content)

    fuzz("packs", check)
    print(f"packs: {fuzz.runs} courses")


# --- servers -----------------------------------------------------------------------------------------------------


def text(choices: Choices) -> bytes:
    """The body of an answer."""
    kind = choices.below(6)
    if kind == 0:
        return choices.raw(60)
    if kind == 1:
        return b'{"a":' * choices.pick((10, 90, 200, 5000)) + b"1"
    encoded = json.dumps(choices.json(4)).encode()
    if kind == 2:
        encoded = encoded.replace(b"a", b"\xff")
    return choices.pick((b"", b")]}'\n", b"\xef\xbb\xbf")) + encoded


HEADS = (
    b"Content-Type: application/json", b"Content-Type: text/html", b"Content-Type: ;;=\xff", b"Content-Encoding: gzip",
    b"Content-Encoding: br", b"Retry-After: \xb2", b"Retry-After: 0", b"Location: http://[::bad", b"Location: \xff//",
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 5, 6", b"Transfer-Encoding: chunked", b": x", b"X",
    b"Set-Cookie: a=b; Expires=Wed, 99 Foo 99999 99:99:99 GMT; Domain=\xff; Path=", b"Content-Range: bytes 0-9/\xb2",
    b"Date: never", b"X: " + b"y" * 200, b"\x00: z", b"Connection: upgrade", b"Upgrade: websocket",
)  # fmt: skip
STATUSES = (
    b"200 OK",
    b"206 Part",
    b"204",
    b"301 M",
    b"401 No",
    b"404",
    b"429 Slow",
    b"503 Down",
    b"999 X",
    b"0 Z",
    b"\xff",
)


def head(choices: Choices) -> bytes:
    lines = [choices.pick((b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/9 ", b"")) + choices.pick(STATUSES)]
    lines += [choices.pick(HEADS) for _ in range(choices.below(6))]
    return choices.pick((b"\r\n", b"\r\n", b"\n")).join([*lines, b"", b""])


@contextlib.contextmanager
def asking() -> Iterator[tuple[Server, Http, Callable[[Callable[[], list[bytes]]], None]]]:
    """Clients of a server whose answers are made by the function that is passed to the third."""
    with raw_server() as server:

        def say(made: Callable[[], list[bytes]]) -> None:
            server.say = made

        yield Server(Endpoint(url=server.url, token="token")), Http(server.url, {}, pause=0.001), say


def test_rest_answers(fuzz: Fuzz) -> None:
    """Bodies of any form from a Jupyter server, its contents API and Google: an error that names the server."""
    sound = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    with asking() as (server, _, say):
        contents = ContentsService(server, "")
        ways: list[Callable[[], object]] = [
            server.kernels,
            server.version,
            server.sessions,
            lambda: server.start_terminal({}),
            lambda: contents.stat("x"),
            lambda: contents.list_folder("x"),
            lambda: contents.scan("x"),
            lambda: contents.glob("x/*"),
            lambda: contents.digests("x", ["y"]),
        ]

        def check(choices: Choices) -> None:
            content = text(choices)
            say(lambda: [sound, content])
            with contextlib.suppress(errors.Error):
                choices.pick(ways)()
            with contextlib.suppress(errors.ConnectionFailed):
                answers.check_json(content, "GET x")
                found = calls.decode(content, "GET x")
                assert not isinstance(found, float) or math.isfinite(found)
            calls.google_reason(content.decode("utf-8", "replace")[:2000])

        fuzz("rest_answers", check)
    print(f"REST answers: {fuzz.runs}")


def test_http_heads(fuzz: Fuzz) -> None:
    """Heads of any form, for whole answers and for pieces of files."""
    with asking() as (_, http, say):

        def check(choices: Choices) -> None:
            content = [head(choices), choices.pick((b"", b"{}", b"5\r\nhello\r\n0\r\n\r\n", b"x" * 50))]
            say(lambda: content)
            with contextlib.suppress(errors.Error):
                http.request("GET", "x", repeat=False, timeout=5)
            with contextlib.suppress(errors.Error):
                got = b"".join(map(bytes, http.read("x", 0, 10)))
                assert len(got) <= 10

        fuzz("http_heads", check)
    print(f"HTTP heads: {fuzz.runs}")


# --- repositories ------------------------------------------------------------------------------------------------

SIGNS = (
    b"*", b"**", b"?", b"[", b"]", b"[a-z]", b"[z-a]", b"[!a]", b"[[:alpha:]]", b"[[:x:]]", b"\\", b"/", b"!", b"#",
    b" ", b"a", b"ab", b".", b"\r", b"\n", b"\n", b"\xff", b"\xef\xbb\xbf", b"\0", b"*a*a*a*a*a*a*a*a*b", b"**/**/a/",
    b"\x85",
)  # fmt: skip


def test_ignore_files(fuzz: Fuzz) -> None:
    """Any lines, any bytes: an answer within milliseconds."""

    def check(choices: Choices) -> None:
        with tempfile.TemporaryDirectory() as place:
            lines = b"".join(choices.pick(SIGNS) for _ in range(choices.below(40))) + choices.raw(20)
            Path(place, choices.pick((".gitignore", ".lecoderignore"))).write_bytes(lines)
            told: list[str] = []
            found = Ignore(place, told.append)
            began = time.process_time()
            for name in ("a", "a" * 200, "a/" * 15 + "b", ".git", "ab/a.b", os.fsdecode(b"\xff/a"), "a b"):
                assert found.covers(name) in (True, False)
            assert time.process_time() - began < 1
            assert all(": passed over" in notice for notice in told)

    fuzz("ignore_files", check)
    print(f"ignore files: {fuzz.runs}")
