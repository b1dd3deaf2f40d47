"""A TCP forwarder between the client and a real server: counts requests, and cuts connections when told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Proxy:
    """Forwards to the server at `target`. `requests` holds the first line of every request that passed."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.requests: list[str] = []
        self.lose_next_frame = False  # what a client sends first over its next socket
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                self._pairs.append((client, server))
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            back = threading.Thread(target=self._back, args=(client, server), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                self._forth(client, server)
            _end(client, server)
            back.join()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        is_socket = False
        while data := client.recv(65536):
            first = data.split(b"\r\n", 1)[0]
            if first.endswith(b"HTTP/1.1"):
                self.requests.append(first.decode().partition("?")[0])
                is_socket = b"/channels" in first
            elif is_socket and self.lose_next_frame:
                self.lose_next_frame = False
                return
            server.sendall(data)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _end(client, server)

    def cut(self) -> None:
        """Drop every connection in the middle of whatever it carries."""
        while self._pairs:
            _end(*self._pairs.pop())

    def close(self) -> None:
        self._listener.close()
        self.cut()


def _end(*sockets: socket.socket) -> None:
    """End connections for all threads: who waits in `recv` does not notice a close."""
    for item in sockets:
        with contextlib.suppress(OSError):
            item.shutdown(socket.SHUT_RDWR)
