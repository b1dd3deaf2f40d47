"""A long line to a server: everything arrives half a round trip late, and a connection takes one more to be made."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from urllib.parse import urlsplit

ROUND_TRIP = 0.08  # seconds


class Line:
    """Forwards a port of its own to the server at `target`."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                # The system has accepted at once; over a line that long, the client would have waited.
                _forward(client, server, time.monotonic() + 1.5 * ROUND_TRIP)
                _forward(server, client, 0.0)


def _forward(source: socket.socket, target: socket.socket, not_before: float) -> None:
    """Send what comes from one socket to the other, late; in threads."""
    target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            under_way.put((max(time.monotonic() + ROUND_TRIP / 2, not_before), data))

    def write() -> None:
        with contextlib.suppress(OSError):
            while True:
                when, data = under_way.get()
                time.sleep(max(when - time.monotonic(), 0))
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)

    for work in (read, write):
        threading.Thread(target=work, daemon=True).start()
