"""The WebSocket of our own against real servers: handshakes that are none, pings, closes, a peer that says nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from websockets.sync.server import ServerConnection, serve

from lecoder_cgpu import errors
from lecoder_cgpu.net import direct_socket, websocket
from lecoder_cgpu.net.websocket import WebSocket
from tests.support.proxy import Proxy
from tests.support.raw_server import raw_server
from tests.support.wait import wait_until

Handler = Callable[[ServerConnection], None]
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n"


@contextlib.contextmanager
def serving(handler: Handler) -> Iterator[str]:
    """The address of a server whose connections are the handler's."""
    with serve(handler, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
        (SWITCHED + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "has not answered our WebSocket handshake"),
        (
            SWITCHED + b"Upgrade: WebSocket\r\nConnection: x, upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "has not answered",
        ),
        (SWITCHED + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "other than a WebSocket"),
        (SWITCHED + b"X: " + b"x" * 200_000, "does not speak HTTP"),
    ],
)
def test_answers_that_open_nothing(answer: bytes, said: str) -> None:
    """Each fails with what was wrong, and none is taken for a WebSocket."""
    with raw_server() as server:
        server.say = lambda: [answer]
        with pytest.raises(errors.ConnectionFailed, match=said):
            WebSocket._once(server.url.replace("http", "ws"), {}, (), 5, None)


def test_a_handshake_has_a_limit() -> None:
    """Also when its answer comes byte by byte."""

    def slowly() -> Iterator[bytes]:
        for letter in b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: yes":
            yield bytes([letter])
            time.sleep(0.1)

    with raw_server() as server:
        server.say = slowly
        began = time.monotonic()
        with pytest.raises(errors.ConnectionTimeout):
            WebSocket._once(server.url.replace("http", "ws"), {}, (), 0.5, None)
        assert time.monotonic() - began < 3


def test_a_header_is_no_place_for_another() -> None:
    """A token with a line break in it sends nothing."""
    with serving(lambda connection: None) as url, pytest.raises(errors.UsageError):
        WebSocket.connect(url, {"Authorization": "token x\r\nX-Other: y"})


def test_pings_of_the_peer_are_answered() -> None:
    """Also while nobody waits for a message."""
    answered = threading.Event()

    def ping(connection: ServerConnection) -> None:
        if connection.ping().wait(20):
            answered.set()

    with serving(ping) as url, contextlib.closing(WebSocket.connect(url, {})):
        assert answered.wait(20)


def test_a_peer_that_answers_no_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is cut, and says why."""
    monkeypatch.setattr(websocket, "PING_TIMEOUT", 0.3)

    def wait(connection: ServerConnection) -> None:
        for _ in connection:
            pass

    with serving(wait) as url:
        line = Proxy(url.replace("ws:", "http:"))
        with contextlib.closing(line), contextlib.closing(
            WebSocket.connect(line.url.replace("http:", "ws:"), {}, ping_interval=0.1)
        ) as opened:  # fmt: skip
            assert opened.receive(0.5) is None
            line.stall()
            with pytest.raises(errors.ConnectionFailed, match="no answer to a ping"):
                opened.receive(20)
            assert opened.close_code == 1006


@pytest.mark.parametrize(("size", "count", "held"), [(1 << 20, 60, direct_socket.HELD), (12 << 20, 12, 3)])
def test_who_takes_no_messages_holds_up_the_peer(
    monkeypatch: pytest.MonkeyPatch, size: int, count: int, held: int
) -> None:
    """A few are kept, and none is lost; the connection does not count as dead meanwhile, whether their number or their
    bytes are too many."""
    monkeypatch.setattr(websocket, "PING_TIMEOUT", 0.2)
    sent = 0

    def pour(connection: ServerConnection) -> None:
        nonlocal sent
        for _ in range(count):
            connection.send(b"x" * size)
            sent += 1
        connection.recv()

    with serving(pour) as url, contextlib.closing(WebSocket.connect(url, {}, ping_interval=0.1)) as opened:
        wait_until(lambda: sent >= held)
        time.sleep(1)
        assert sent < count
        assert sum(len(opened.receive(20) or b"") for _ in range(count)) == size * count


def test_the_peer_says_that_a_message_is_too_large() -> None:
    """Its code is known when sending fails, whatever the system said first."""

    def refuse(connection: ServerConnection) -> None:
        connection.close(1009, "too large")

    with serving(refuse) as url, contextlib.closing(WebSocket.connect(url, {})) as opened:
        with pytest.raises(errors.ConnectionFailed):
            fill(opened)
        assert opened.close_code == 1009


def fill(opened: WebSocket) -> None:
    """Send until that fails."""
    for _ in range(1000):
        opened.send(b"x" * (1 << 20))


def send(opened: WebSocket, piece: bytes) -> None:
    for _ in range(50):
        opened.send(piece)


def test_two_threads_send() -> None:
    """Their messages stay whole, and pongs go in between."""
    got: list[str | bytes] = []

    def take(connection: ServerConnection) -> None:
        for number, message in enumerate(connection):
            got.append(message)
            if number % 20 == 0:
                connection.ping()

    with serving(take) as url, contextlib.closing(WebSocket.connect(url, {})) as opened:
        pieces = [bytes([number]) * 50_000 for number in range(4)]
        threads = [threading.Thread(target=send, args=(opened, piece)) for piece in pieces]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(got) == 200)
    assert sorted(map(bytes, got)) == sorted(pieces * 50)  # type: ignore[arg-type]


def test_no_thread_and_no_descriptor_stay() -> None:
    """Who opens many connections one after the other has as many as before."""
    with serving(lambda connection: None) as url:
        WebSocket.connect(url, {}).close()
        before = threading.active_count()
        for _ in range(20):
            opened = WebSocket.connect(url, {}, ping_interval=None)
            opened.close()
            assert opened._socket.fileno() == -1
        wait_until(lambda: threading.active_count() <= before)


def test_names_that_are_no_ascii() -> None:
    """A host's name in another script is looked up as one, and not found."""
    with pytest.raises(errors.NameResolution):
        WebSocket._once("ws://nö.invalid/", {}, (), 5, None)
    with pytest.raises(errors.UsageError):
        WebSocket._once("ws://127.0.0.1:99999/", {}, (), 5, None)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(errors.ConnectionRefused):
        WebSocket._once(f"ws://127.0.0.1:{port}/", {}, (), 5, None)
