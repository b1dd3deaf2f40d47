"""Where the browser brings Google's answer: a server on 127.0.0.1 that waits for one request.

Any program here, and any web page, can send requests there, as many and as slowly as it likes. Only one that names this
address as its host, comes from no other page, and has the state of this login is an answer; all others are refused, and
the waiting goes on. So it also has to go on being able to answer: connections that say nothing make room for new ones.
"""

from __future__ import annotations

import contextlib
import http.server
import queue
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..system import logs

CONNECTIONS = 32  # at once; browsers open some that they never use
SILENCE = 10.0  # seconds without a byte after which a connection ends
ANSWER = b"""<!doctype html><meta charset="utf-8"><title>lecoder-cgpu</title>
<p>Google's answer has arrived. You can close this page; the terminal tells how it went.</p>"""


class _Server(http.server.ThreadingHTTPServer):
    """Keeps the newest connections: who is to bring the answer sends it at once."""

    daemon_threads = True
    request_queue_size = 4 * CONNECTIONS

    def __init__(self, *arguments: Any) -> None:
        self._open: deque[socket.socket] = deque()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        if len(self._open) > CONNECTIONS:
            with contextlib.suppress(OSError, IndexError):  # the oldest may have ended meanwhile
                self._open.popleft().shutdown(socket.SHUT_RDWR)  # its thread then closes it
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Not on the terminal: the other side has sent something odd, or has left."""
        logs.current().info("AUTH", "a connection to the login's address failed", {"error": repr(sys.exception())})


class Listener:
    """Listens for the browser that Google sends back to us.

    Attributes:
        state: of the login; nothing is an answer before it is known.
        answers: the addresses that the browser asked for, with their codes.
        passed_over: whether an answer came that has another state.
    """

    def __init__(self) -> None:
        self.state: str | None = None
        self.answers: queue.Queue[str] = queue.Queue()
        self.passed_over = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[str]:
        """Listen inside the block; yields our address."""
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = SILENCE

            def do_GET(self) -> None:
                status = listener.judge(self.path, self.headers.get_all("Host", []), self.headers.get("Origin"))
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "text/html")
                    self.end_headers()
                    self.wfile.write(ANSWER if status == 200 else b"")
                finally:  # also for a browser that does not wait for the page
                    if status == 200:
                        listener.answers.put(f"http://127.0.0.1{self.path}")

            def log_message(self, *arguments: Any) -> None:
                """Say nothing: the address holds the code."""

        server = _Server(("127.0.0.1", 0), Handler)
        self._hosts = [f"{name}:{server.server_port}" for name in ("127.0.0.1", "localhost")]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/callback"
        finally:
            server.shutdown()
            server.server_close()

    def judge(self, path: str, hosts: list[str], origin: str | None) -> int:
        """The status for a request: 200 for the answer that is waited for."""
        try:
            parts = urlsplit(path)
            state = parse_qs(parts.query, max_num_fields=100).get("state")
        except ValueError:
            return 400
        if parts.netloc or parts.path not in ("/", "/callback") or not parts.query:
            return 404
        if [host.lower() for host in hosts] not in ([known] for known in self._hosts):
            return 403  # a page whose name its owner lets point to this machine
        if origin is not None and origin.removeprefix("http://").lower() not in self._hosts:
            return 403
        if self.state is None or state != [self.state]:
            self.passed_over = True
            return 403
        return 200
