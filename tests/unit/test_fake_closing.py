"""Servers of the tests' own process close every socket, also of a client that connects while they close."""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.proxy import Proxy


def connect_until(stopped: threading.Event, port: int) -> None:
    """Open connections as fast as possible."""
    held: list[socket.socket] = []
    while not stopped.is_set():
        with contextlib.suppress(OSError):
            held.append(socket.create_connection(("127.0.0.1", port), 0.2))
        if len(held) > 20:
            held.pop(0).close()
    for client in held:
        client.close()


def close_while_connecting(url: str, close: Callable[[], None]) -> None:
    port = urlsplit(url).port or 0
    stopped = threading.Event()
    clients = [threading.Thread(target=connect_until, args=(stopped, port)) for _ in range(3)]
    for client in clients:
        client.start()
    time.sleep(0.05)
    try:
        close()
    finally:
        stopped.set()
        for client in clients:
            client.join()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["proxy", "runtime"])
def test_no_socket_is_left(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is left open would be a warning in whichever test runs when it is collected."""
    left: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: left.append(found.exc_value))
    with socket.create_server(("127.0.0.1", 0)) as target:
        for number in range(5):
            if kind == "proxy":
                proxy = Proxy(f"http://127.0.0.1:{target.getsockname()[1]}/")
                close_while_connecting(proxy.url, proxy.close)
                del proxy
            else:
                fake = FakeColab(tmp_path / str(number)).start()
                close_while_connecting(fake.start_vm().url, fake.stop)
                del fake
            gc.collect()
    assert left == []
