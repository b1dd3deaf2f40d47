"""`forward` running beside a test, and the servers whose ports it forwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.cli import Cli


@dataclass
class Forward:
    """Where the ports are, and after the end what the command said."""

    ports: list[int]
    document: Any = None
    err: str = ""
    status: int | None = None


@contextlib.contextmanager
def forwarded(cli: Cli, *words: str) -> Iterator[Forward]:
    """Forward ports until the block ends."""
    process = cli.start("forward", *words, "--events")
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        assert first, process.communicate()
        event = json.loads(first)
        assert event["type"] == "listening", event
        running = Forward([port["local"] for port in event["ports"]])
        yield running
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert out, (process.returncode, err)
        running.document, running.err, running.status = json.loads(out), err.decode(), process.returncode
    finally:
        process.kill()
        process.communicate()


class Hasher:
    """A TCP server: sends `size` known bytes, takes all there is until end of file, answers with the hash, and ends."""

    def __init__(self, size: int) -> None:
        self.blob = hashlib.shake_128(b"blob").digest(size)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            sender = threading.Thread(target=self._send, args=(accepted,))
            sender.start()
            digest = hashlib.sha256()
            while data := accepted.recv(1 << 16):
                digest.update(data)
            sender.join()
            accepted.sendall(digest.digest())

    def _send(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError):
            accepted.sendall(self.blob)

    def close(self) -> None:
        self._listener.close()


def exchange(port: int, sent: bytes) -> bytes:
    """Send everything while receiving everything; what came."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as client:

        def send() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
        sender.join()
        return received
