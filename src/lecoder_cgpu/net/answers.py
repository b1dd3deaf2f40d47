"""Reads the answers of servers within limits: their size, also unpacked, the time that they take, and their depth.

A server that is broken or hostile costs a bounded amount of memory and time, and its answer is an error that names it.
Code that decodes an answer is safe from what only damaged JSON has: bytes that are not UTF-8, or endless depth.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import errors
from . import proxies

if TYPE_CHECKING:
    import httpx2

MOST = 4 << 20  # bytes of an answer, unpacked, unless its reader expects more
SLOWEST = 4 << 10  # bytes per second that an answer, or a request, has to make beyond its time limit
TOTAL = 60.0  # seconds for an answer that is no file, however fast its bytes come, unless its reader waits longer
PACE = 0.01  # seconds that a deadline is looked at after it may have passed
DEEPEST = 100  # objects and lists in one another
ENCODING = "gzip"  # the one that we ask for: it is unpacked here, piece by piece

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_HALVES = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_BRACKET = re.compile(rb"[\[\]{}]")


def unreadable(what: str, problem: str) -> errors.ConnectionFailed:
    """The error for an answer that breaks a limit; `what` names the request."""
    return errors.UnexpectedAnswer(
        f"{what}: the server's answer {problem}",
        retryable=False,
        hint="is that the right address? lecoder-cgpu debug tail shows the requests",
    )


def too_slow(what: str) -> errors.ConnectionFailed:
    """The error for an answer that does not end in its time."""
    return errors.ReadTimeout(
        f"{what}: it was taken, and not answered in time", hint="lecoder-cgpu status shows what came of it"
    )


class Clock:
    """The total time of one request: a limit for the answer, and longer as long as bytes come fast enough.

    Args:
        limit: seconds. sent: bytes that the request has.
        total: seconds beyond which no bytes prolong the limit; None for a file, which may take as long as it is large.
    """

    def __init__(self, limit: float, sent: int = 0, total: float | None = None) -> None:
        self._end = time.monotonic() + limit + sent / SLOWEST
        self._longest = math.inf if total is None else max(total - limit, 0.0)

    def left(self, received: int = 0) -> float:
        """Seconds that are left after this many bytes of the answer."""
        return self._end + min(received / SLOWEST, self._longest) - time.monotonic()


class Deadline:
    """Ends a connection whose answer does not keep up with its clock. The head, what separates chunks, or a read of the
    standard library may come byte by byte for ever: each byte is in time there."""

    def __init__(self, clock: Clock, connection: socket.socket | None = None) -> None:
        self._clock = clock
        self.connection = connection
        self._closed = threading.Event()
        self.received = 0  # bytes of the body
        self.passed = False
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._closed.wait(max(self._clock.left(self.received), 0.0) + PACE):
            if self._clock.left(self.received) < 0:
                self.passed = True
                if self.connection is not None:
                    with contextlib.suppress(OSError):
                        # Not the method of a TLS socket, which would drop its keys under the thread that reads.
                        socket.socket.shutdown(self.connection, socket.SHUT_RDWR)
                return

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()


def begun(client: httpx2.Client, request: httpx2.Request, clock: Clock, what: str) -> httpx2.Response:
    """Send a request, and return the answer when its head has come; the body is read by `body` or `pieces`.

    The head is waited for in a thread: the library limits the time between two bytes, and not the time of all.

    Raises:
        errors.ReadTimeout: the head did not end in time. httpx2.HTTPError: there is no answer.
    """
    outcome: list[Any] = []
    late = threading.Event()

    def send() -> None:
        try:
            with proxies.speaking():
                answer = client.send(request, stream=True)
            outcome.append(answer)
            if late.is_set():
                answer.close()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(max(clock.left(), 0.0))
    if not outcome:
        late.set()
        raise proxies.silent(request) or too_slow(what)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    answer: httpx2.Response = outcome[0]
    return answer


def body(answer: httpx2.Response, clock: Clock, what: str, most: int = MOST) -> bytes:
    """The whole body, unpacked, and checked if it looks like JSON. The answer is closed.

    Raises:
        errors.ConnectionFailed: it is too large, too slow, packed in another way, or no sound JSON.
        httpx2.HTTPError: the connection failed.
    """
    try:
        content = bytearray()
        for piece in pieces(answer, clock, what):
            content += piece
            if len(content) > most:
                raise unreadable(what, f"is larger than {most >> 20} MiB")
    finally:
        answer.close()
    check_json(bytes(content), what)
    return bytes(content)


def pieces(answer: httpx2.Response, clock: Clock, what: str) -> Iterator[bytes]:
    """The body as it comes, unpacked in pieces of bounded size."""
    packing = answer.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise unreadable(what, f"is packed in a way that was not asked for ({packing[:20]!r})")
    unpack = None if packing in ("identity", "") else zlib.decompressobj(wbits=47)  # the heads of gzip and of zlib
    received = 0
    for piece in _in_time(answer, clock, what):
        received += len(piece)
        if unpack is None:
            yield piece
            continue
        rest, more = piece, True
        while more:
            try:
                unpacked = unpack.decompress(rest, MOST)
            except zlib.error as error:
                raise unreadable(what, f"cannot be unpacked: {error}") from error
            yield unpacked
            rest = unpack.unconsumed_tail
            more = bool(rest) or len(unpacked) == MOST
    if unpack is not None and received and not unpack.eof:
        raise unreadable(what, "cannot be unpacked: its end is missing")


def _in_time(answer: httpx2.Response, clock: Clock, what: str) -> Iterator[bytes]:
    """The body as it comes, as long as it keeps up with its clock."""
    deadline = Deadline(clock, answer.extensions["network_stream"].get_extra_info("socket"))
    try:
        for piece in answer.iter_raw():
            deadline.received += len(piece)
            if clock.left(deadline.received) < 0:
                raise too_slow(what)
            yield piece
    except Exception as error:
        if deadline.passed:  # and that is why the connection failed
            raise too_slow(what) from error
        raise
    finally:
        deadline.close()
    if deadline.passed:  # an answer that ends with its connection looks whole
        raise too_slow(what)


def whole_characters(text: str) -> str:
    """JSON without escapes of half a character (`\\ud800`): no file, header or document can hold what they mean."""
    return _HALVES.sub(lambda found: r"\ufffd" if found["half"] else found[0], text) if "\\ud" in text.lower() else text


def check_json(content: bytes, what: str) -> None:
    """Check what looks like JSON, before anybody decodes it.

    Raises:
        errors.UnexpectedAnswer: it is no UTF-8, or too deep.
    """
    if content[:64].lstrip(b")]}',\r\n\t \xef\xbb\xbf")[:1] not in (b"{", b"["):
        return
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise unreadable(what, f"is no UTF-8: {error.reason} at byte {error.start}") from error
    if content.count(b"{") + content.count(b"[") <= DEEPEST:
        return
    depth = 0
    for sign in _BRACKET.finditer(_STRING.sub(b"", content)):
        depth += 1 if sign[0] in b"[{" else -1
        if depth > DEEPEST:
            raise unreadable(what, f"is nested deeper than {DEEPEST} levels")
