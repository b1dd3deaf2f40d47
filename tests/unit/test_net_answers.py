"""Answers of servers are bounded: in size, packed or not, in time, in depth. Each violation names the server."""

from __future__ import annotations

import itertools
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator

import httpx2  # noqa: F401 - before memory is measured
import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from lecoder_cgpu.net import answers, failures
from lecoder_cgpu.net.http import Http, exchange
from tests.support.raw_server import RawServer, head, raw_server


@pytest.fixture
def server() -> Iterator[RawServer]:
    with raw_server() as found:
        yield found


def packed(pieces: Iterable[bytes], wbits: int = 31) -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=wbits)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def slowly(content: bytes) -> Iterator[bytes]:
    for number in itertools.count():
        yield content[number : number + 1] or b"x"
        time.sleep(0.02)


JSON = head(content_type="application/json")
BLANK = b" " * (1 << 20)
CASES = {
    "deep": ([JSON, b'{"a":' * 200_000], "nested deeper"),
    "deep lists": ([JSON, b"[" * 200_000], "nested deeper"),
    "deep behind a guard": ([JSON, b")]}'\n" + b"[" * 200_000], "nested deeper"),
    "no UTF-8": ([JSON, b'{"a": "\xff"}'], "no UTF-8"),
    "endless": ([JSON, *[BLANK] * 40], "larger than 4 MiB"),
    "a bomb": ([head(content_encoding="gzip"), *packed([BLANK] * 250)], "larger than 4 MiB"),
    "a bomb of zlib": ([head(content_encoding="deflate"), *packed([BLANK] * 20, 15)], "larger than 4 MiB"),
    "packed otherwise": ([head(content_encoding="br"), b"x"], "packed in a way"),
    "packed twice": ([head(content_encoding="gzip, gzip"), b"x"], "packed in a way"),
    "not packed": ([head(content_encoding="gzip"), b"plain"], "cannot be unpacked"),
    "cut": ([head(content_encoding="gzip"), next(packed([b"x"]))], "cannot be unpacked"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["client", "exchange"])
def test_answers_without_end(server: RawServer, case: str, way: str) -> None:
    """Each is an error of the server, which the message names, and costs little memory."""
    said, told = CASES[case]
    server.say = lambda: said
    ask: dict[str, Callable[[], object]] = {
        "client": lambda: Http(server.url, {}).request("GET", "api", repeat=False),
        "exchange": lambda: exchange("GET", server.url + "api", timeout=20),
    }
    tracemalloc.start()
    try:
        with pytest.raises(errors.ConnectionFailed, match=told) as caught:
            ask[way]()
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert (caught.value.code, f"GET {server.url}api" in caught.value.message) == (1006, True)
    assert caught.value.hint


CHUNKED = head(content_type="application/json", transfer_encoding="chunked")


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (JSON, b"[" + b"1," * 100_000),
        (CHUNKED, b"1;" + b"x" * 100_000),
        (b"", head(x_long="x" * 100_000)),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 9999),
    ],
)
def test_one_byte_after_the_other(server: RawServer, begin: bytes, rest: bytes) -> None:
    """Whatever drips, the head or the body or what stands between chunks: the total time is limited."""
    server.say = lambda: itertools.chain([begin], slowly(rest))
    began = time.monotonic()
    with pytest.raises(errors.ReadTimeout):
        Http(server.url, {}).request("GET", "api", timeout=0.5, repeat=False)
    with pytest.raises(errors.ReadTimeout):
        exchange("GET", server.url, timeout=0.5)
    assert time.monotonic() - began < 15


PIECE = head("206 Part", content_range="bytes 0-99999/100000")


@pytest.mark.parametrize(("begin", "rest"), [(b"", b"HTTP/1.1 206 Part"), (b"", PIECE), (PIECE, b"x")])
def test_a_file_that_drips(monkeypatch: pytest.MonkeyPatch, server: RawServer, begin: bytes, rest: bytes) -> None:
    """A piece of a file is limited as a whole, too, from this machine as well: its head, and its body."""
    monkeypatch.setattr("lecoder_cgpu.net.http.ANSWER", 0.5)
    server.say = lambda: itertools.chain([begin], slowly(rest))
    began = time.monotonic()
    with pytest.raises(errors.ReadTimeout, match="not answered in time"):
        list(Http(server.url, {}).read("files/x", 0, 100_000))
    assert time.monotonic() - began < 10


def test_a_long_answer_that_comes_fast_enough(monkeypatch: pytest.MonkeyPatch, server: RawServer) -> None:
    """The limit is for answers that do not come, not for slow lines."""
    monkeypatch.setattr(answers, "SLOWEST", 1)

    def say() -> Iterator[bytes]:
        yield JSON
        for _ in range(10):
            yield b" " * 1000
            time.sleep(0.1)
        yield b"{}"

    server.say = say
    assert Http(server.url, {}).request("GET", "api", timeout=0.5).strip() == b"{}"


def test_an_answer_that_never_ends(monkeypatch: pytest.MonkeyPatch, server: RawServer) -> None:
    """A total limit holds for what always comes fast enough, chunk by chunk; a file may take as long as it is large."""
    monkeypatch.setattr(answers, "TOTAL", 0.8)
    monkeypatch.setattr(answers, "SLOWEST", 1)

    def say(number: int) -> Iterator[bytes]:
        yield CHUNKED
        for _ in range(number):
            yield b"1\r\n \r\n"
            time.sleep(0.1)
        yield b"2\r\n{}\r\n0\r\n\r\n"

    server.say = lambda: say(1000)
    ask: tuple[Callable[[], object], ...] = (
        lambda: Http(server.url, {}).request("GET", "api", timeout=0.5),
        lambda: exchange("GET", server.url, timeout=0.5),
        lambda: list(Http(server.url, {}).events("progress", 0.5)),
    )
    for way in ask:
        began = time.monotonic()
        with pytest.raises(errors.ReadTimeout, match="not answered in time") as caught:
            way()
        assert (caught.value.code, time.monotonic() - began < 10) == (1006, True)
    server.say = lambda: say(14)
    assert exchange("GET", server.url, timeout=0.5, is_file=True).data.strip() == b"{}"


def test_many_small_chunks(server: RawServer) -> None:
    """Each costs the same time, however much has come before: in a document, and in an event."""

    def processor_time(before: int) -> float:
        start = b"%x\r\n%s\r\n" % (before, b" " * before)
        server.say = lambda: [CHUNKED, start, b"1\r\n \r\n" * 20_000, b"2\r\n{}\r\n0\r\n\r\n"]
        began = time.process_time()
        assert Http(server.url, {}).request("GET", "api").strip() == b"{}"
        server.say = lambda: [CHUNKED, b"5\r\ndata:\r\n", start, b"1\r\nx\r\n" * 20_000, b"1\r\n\n\r\n0\r\n\r\n"]
        assert list(Http(server.url, {}).events("progress", 60)) == [b"x" * 20_000]
        return time.process_time() - began

    processor_time(1)
    assert processor_time(3 << 20) < 5 * processor_time(1)


def test_what_is_packed_well(server: RawServer) -> None:
    """gzip is what we ask for, and it arrives unpacked."""
    server.say = lambda: itertools.chain(
        [head(content_encoding="gzip")], packed([b'{"a": ', b"[" * 50, b"]" * 50, b"}"])
    )
    assert Http(server.url, {}).request("GET", "") == b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (r'["\ud800", "\uDC00x"]', ["\ufffd", "\ufffdx"]),
        (r'["\ud83d\ude00"]', ["\U0001f600"]),
        (r'["\\ud800"]', [r"\ud800"]),
        (r'["\\\ud800"]', ["\\\ufffd"]),
    ],
)
def test_half_characters(said: str, meant: list[str]) -> None:
    """Escapes that no file could hold become the sign for that; all others stay."""
    assert json.loads(answers.whole_characters(said)) == meant


def test_brackets_in_text_are_no_depth() -> None:
    """Only structure counts."""
    answers.check_json(b'{"a": "' + b"[{" * 1000 + rb"\"[[[[" + b'"}', "GET x")
    answers.check_json(b"[" + b"{}," * 1000 + b"{}]", "GET x")
    answers.check_json(b"\xff\xfe no json", "GET x")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("²", None),
        ("٣", None),
        ("9" * 400, None),
        ("-1", None),
        ("nan", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("", None),
        (", ,", None),
    ],
)
def test_a_pause_that_makes_no_sense(header: str, seconds: float | None) -> None:
    """Odd digits, numbers without end and impossible dates are no pause, and no failure of ours."""
    assert failures.retry_after(header) == seconds


def test_a_server_with_an_odd_pause(server: RawServer) -> None:
    """As it came through the wire: the error is that of the status."""
    server.say = lambda: [head("503 No", **{"Retry-After": "²"}), b"{}"]
    with pytest.raises(errors.ServerError):
        Http(server.url, {}).request("GET", "", repeat=False)


@pytest.mark.parametrize("length", ["²", "99999999999", "-5", "3"])
def test_a_piece_of_a_file_of_another_length(server: RawServer, length: str) -> None:
    """More bytes than were asked for never reach the file."""
    said = f"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-9/100\r\nContent-Length: {length}\r\n\r\n".encode()
    server.say = lambda: [said, b"x" * 1000]
    with pytest.raises(errors.ConnectionFailed):
        list(Http(server.url, {}).read("file", 0, 10))


def test_typed_answers_of_a_jupyter_server(server: RawServer) -> None:
    """Kernels that are none, numbers without end: what the server sent is said, whatever it is."""
    jupyter = Server(Endpoint(url=server.url, token="token"))
    for body in (b"[1]", b'[{"id": 5}]', b'{"version": null}', b"9" * 5000, b'"', b"", b"[{}" + b",{}" * 1000, b"NaN"):
        said = [JSON, body]
        server.say = lambda said=said: said  # type: ignore[misc]
        with pytest.raises(errors.ConnectionFailed):
            jupyter.kernels()
    with pytest.raises(errors.ConnectionFailed):
        jupyter.version()
