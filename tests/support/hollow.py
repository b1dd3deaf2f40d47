"""A stand-in for the servers behind the fake Colab's runtimes: it has no kernels, and can start none.

A server takes half a second to start, a kernel one.

`python` is what `FakeColab` takes for an interpreter. It is told to start servers as `testing/vm/server.py` is.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


def python(folder: Path) -> str:
    """A program that starts such servers."""
    path = folder / "hollow"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from tests.support.hollow import main\nmain()\n"
    )
    path.chmod(0o755)
    return str(path)


class Answers(BaseHTTPRequestHandler):
    """There are no kernels and no sessions; everything else is refused."""

    def do_GET(self) -> None:
        nothing = self.path.partition("?")[0] in ("/api/kernels", "/api/sessions")
        self.answer(200 if nothing else 404, b"[]" if nothing else b"{}")

    def do_POST(self) -> None:
        self.answer(500, b'{"message": "no kernel can be started here"}')

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(1, b"ready\n")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            serve(order)
            return
        os.write(1, b"%d\n" % child)


def serve(order: dict[str, Any]) -> None:
    """Serve until killed, or until the program that started this has ended."""
    parent = os.getppid()
    os.setsid()
    port = next(int(item.partition("=")[2]) for item in order["arguments"] if item.startswith("--ServerApp.port="))
    server = HTTPServer(("127.0.0.1", port), Answers)
    server.timeout = 1.0
    (Path(order["environment"]["JUPYTER_RUNTIME_DIR"]) / f"jpserver-{os.getpid()}.json").write_text("{}")
    while os.getppid() == parent:
        server.handle_request()
