"""One connection of a tunnel: offsets, window, acknowledgements and the end, over real sockets."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lecoder_cgpu.ports.link import ACK_EVERY, WINDOW, Link
from tests.support.wait import wait_until


class Carrier:
    """Keeps what a link sends, as (operation, data, content)."""

    def __init__(self) -> None:
        self.sent: queue.Queue[tuple[str, bytes | None, dict[str, Any]]] = queue.Queue()
        self.forgotten: list[Link] = []

    @contextlib.contextmanager
    def sending(self) -> Iterator[Callable[..., None]]:
        yield self.send

    def send(self, operation: str, link: int, data: bytes | None = None, **content: Any) -> None:
        self.sent.put((operation, data, content))

    def forget(self, link: Link) -> None:
        self.forgotten.append(link)

    def next(self) -> tuple[str, bytes | None, dict[str, Any]]:
        return self.sent.get(timeout=20)


@pytest.fixture
def linked() -> Iterator[tuple[Carrier, Link, socket.socket]]:
    """A link, and the application's end of its connection."""
    application, ours = socket.socketpair()
    carrier = Carrier()
    link = Link(carrier, 1, ours, 8000)
    link.open()
    assert carrier.next() == ("open", None, {"p": 8000})
    application.settimeout(20)
    yield carrier, link, application
    application.close()
    link.end()


def read(application: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = application.recv(size - len(found))
        assert piece, "ended early"
        found += piece
    return found


def test_bytes_have_offsets(linked: tuple[Carrier, Link, socket.socket]) -> None:
    """Each message tells where its bytes belong, and so does the end."""
    carrier, _, application = linked
    application.sendall(b"one")
    assert carrier.next() == ("data", b"one", {"f": 0})
    application.sendall(b"two")
    assert carrier.next() == ("data", b"two", {"f": 3})
    application.shutdown(socket.SHUT_WR)
    assert carrier.next() == ("eof", None, {"f": 6})


def test_what_was_not_received_is_sent_again(linked: tuple[Carrier, Link, socket.socket]) -> None:
    """After a drop: from the other end's offset on, with the end; what was acknowledged is not kept."""
    carrier, link, application = linked
    for piece in (b"one", b"two", b"six"):
        application.sendall(piece)
        assert carrier.next()[1] == piece
    application.shutdown(socket.SHUT_WR)
    assert carrier.next()[0] == "eof"
    link.acknowledge(3)
    link.send_again(carrier.send, 6)
    assert [carrier.next() for _ in range(3)] == [
        ("ack", None, {"f": 0}),
        ("data", b"six", {"f": 6}),
        ("eof", None, {"f": 9}),
    ]
    link.send_again(carrier.send, 0, opening=True)  # the other end knew nothing of it
    assert [carrier.next()[:2] for _ in range(5)] == [
        ("open", None),
        ("ack", None),
        ("data", b"two"),
        ("data", b"six"),
        ("eof", None),
    ]


def test_bytes_that_came_before_are_passed_over(linked: tuple[Carrier, Link, socket.socket]) -> None:
    """A repetition is cut, a gap is not jumped, and the application sees each byte once."""
    carrier, link, application = linked
    link.take(0, memoryview(b"abc"))
    assert read(application, 3) == b"abc"
    assert carrier.next() == ("ack", None, {"f": 3})
    link.take(5, memoryview(b"fg"))  # behind a gap
    link.take(0, memoryview(b"abc"))
    link.take(1, memoryview(b"bcde"))
    assert read(application, 2) == b"de"
    link.take(5, memoryview(b"fg"))
    assert read(application, 2) == b"fg"
    assert link.received == 7


def test_a_full_window_stops_the_reading(linked: tuple[Carrier, Link, socket.socket]) -> None:
    """Without acknowledgements the application cannot send for ever; with one, it goes on."""
    _, link, application = linked
    application.settimeout(0.5)
    piece = bytes(1 << 20)
    taken = 0
    with contextlib.suppress(TimeoutError):
        while taken < 4 * WINDOW:
            taken += application.send(piece)
    assert WINDOW <= taken < 2 * WINDOW
    link.acknowledge(WINDOW)
    application.settimeout(20)
    assert application.send(piece) > 0


def test_an_other_end_that_keeps_to_no_window(linked: tuple[Carrier, Link, socket.socket]) -> None:
    """What nobody reads here is not kept without end, and bytes that were not sent cannot be acknowledged."""
    carrier, link, application = linked
    link.acknowledge(1 << 40)
    application.sendall(b"x")
    assert carrier.next()[:2] == ("data", b"x")
    link.send_again(carrier.send, 0)
    assert [carrier.next()[:2] for _ in range(2)] == [("ack", None), ("data", b"x")]
    piece = memoryview(bytes(WINDOW))
    for number in range(4):
        link.take(number * WINDOW, piece)
    wait_until(lambda: link in carrier.forgotten)
    assert link.received < 4 * WINDOW


def test_acknowledgements_come_in_time(linked: tuple[Carrier, Link, socket.socket]) -> None:
    """Of what was written, not of what was received, and at the latest when there is nothing left to write."""
    carrier, link, application = linked
    total = 3 * ACK_EVERY
    link.take(0, memoryview(bytes(total)))
    assert len(read(application, total)) == total
    told = 0
    while told < total:
        operation, _, content = carrier.next()
        assert operation == "ack"
        told = content["f"]
    assert told == total


def test_a_link_ends_when_both_directions_have(linked: tuple[Carrier, Link, socket.socket]) -> None:
    """And when everything was acknowledged, not before."""
    carrier, link, application = linked
    application.sendall(b"x")
    application.shutdown(socket.SHUT_WR)
    assert [carrier.next()[0] for _ in range(2)] == ["data", "eof"]
    link.take_end(0)
    assert application.recv(1) == b""
    assert carrier.forgotten == []
    link.acknowledge(1)
    assert carrier.next()[0] == "close"
    wait_until(lambda: link in carrier.forgotten)  # by the thread that has just sent this


def test_a_connection_that_ends_early_is_reset() -> None:
    """Who reads until the end of the stream does not take a part for the whole."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as here:
        accepted, _ = listener.accept()
        carrier = Carrier()
        link = Link(carrier, 1, accepted, 8000)
        link.open()
        link.take(0, memoryview(b"a part"))
        here.settimeout(20)
        assert read(here, 6) == b"a part"
        link.end()
        with pytest.raises(ConnectionResetError):
            here.recv(1)
        assert carrier.forgotten == [link]
