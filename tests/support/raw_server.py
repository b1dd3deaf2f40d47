"""A server that says exactly the bytes that it is given, over a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator

Say = Callable[[], Iterable[bytes]]


class RawServer:
    """Answers each connection with the pieces of `say`, once a request has come, and closes it."""

    def __init__(self) -> None:
        self.say: Say = list
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.closed = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            seen = b""
            while b"\r\n\r\n" not in seen:
                got = connection.recv(65536)
                if not got:
                    return
                seen += got
            for piece in self.say():
                if self.closed.is_set():
                    return
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # until the client has closed, so that nothing is reset that it has not read

    def close(self) -> None:
        self.closed.set()
        self._listener.close()


@contextlib.contextmanager
def raw_server() -> Iterator[RawServer]:
    server = RawServer()
    try:
        yield server
    finally:
        server.close()


def head(status: str = "200 OK", **fields: str) -> bytes:
    """The head of an answer; `content_type` becomes Content-Type."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
