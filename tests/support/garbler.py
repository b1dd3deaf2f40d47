"""A server in front of a real one: what it says is the truth, but for one value of one answer, which is odd."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

GUARD = b")]}'\n"
Change = Callable[[Any], Any]


class Garbler:
    """Passes requests on to `upstream`, and WebSockets as they are.

    Attributes:
        change: what becomes of the JSON of the next answers; called once for each, in the order in which they come.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.change: Change = lambda document: document
        self.answers = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        ignored = contextlib.suppress(OSError, http.client.HTTPException, ValueError)
        with client, ignored, client.makefile("rb") as reader:
            line = reader.readline().decode("latin-1").split(" ")
            if len(line) < 3:
                return
            headers = http.client.parse_headers(reader)
            if "websocket" in headers.get("Upgrade", "").lower():
                self._splice(client, line, headers)
                return
            body = reader.read(int(headers.get("Content-Length") or 0))
            asking = http.client.HTTPConnection(self._host, self._port, timeout=60)
            with contextlib.closing(asking):
                asking.putrequest(line[0], line[1], skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    if name.lower() not in ("connection", "accept-encoding"):
                        asking.putheader(name, value)
                asking.endheaders(body)
                answer = asking.getresponse()
                content = self._said(answer.read())
            head = [f"HTTP/1.1 {answer.status} {answer.reason}", "Connection: close", f"Content-Length: {len(content)}"]
            gone = ("connection", "content-length", "transfer-encoding")
            head += [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() not in gone]
            client.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + content)

    def _said(self, content: bytes) -> bytes:
        guarded = content.startswith(GUARD)
        try:
            document = json.loads(content[len(GUARD) :] if guarded else content)
        except ValueError:
            return content
        self.answers += 1
        changed = self.change(document)
        encoded = encode(changed)
        return GUARD + encoded if guarded else encoded

    def _splice(self, client: socket.socket, line: list[str], headers: http.client.HTTPMessage) -> None:
        server = socket.create_connection((self._host, self._port))
        with server:
            self._copy_both(client, server, line, headers)

    @staticmethod
    def _copy_both(
        client: socket.socket, server: socket.socket, line: list[str], headers: http.client.HTTPMessage
    ) -> None:
        asked = [" ".join(line).strip(), *(f"{name}: {value}" for name, value in headers.items())]
        server.sendall("\r\n".join([*asked, "", ""]).encode("latin-1"))

        def copy(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        back = threading.Thread(target=copy, args=(server, client), daemon=True)
        back.start()
        copy(client, server)
        back.join()


@contextlib.contextmanager
def garbler(upstream: str) -> Iterator[Garbler]:
    made = Garbler(upstream)
    try:
        yield made
    finally:
        made.close()


def encode(document: Any) -> bytes:
    """JSON, in which bytes stand as they are."""
    raw: list[bytes] = []

    def mark(item: Any) -> str:
        raw.append(item)
        return f"raw {len(raw) - 1} bytes"

    encoded = json.dumps(document, default=mark).encode()
    for number, item in enumerate(raw):
        encoded = encoded.replace(b'"raw %d bytes"' % number, item)
    return encoded


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to every value in a document, itself first."""
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with another value there."""
    if not path:
        return value
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document
