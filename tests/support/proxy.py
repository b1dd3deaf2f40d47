"""A TCP proxy between the client and a real server: counts requests, and lets go wrong what can on a network."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lecoder_cgpu.testing.front import stop_accepting
from tests.support.faults import Direction, Fault

CHUNK = 1 << 16
CLOSING_ROUNDS = 5  # of the event loop, enough to close everything
REFUSAL = (
    "HTTP/1.1 {} Trouble\r\nContent-Type: text/html\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<h1>Sorry</h1>"
)


@dataclass(eq=False)
class _Pair:
    """One connection of a client, and ours to the server for it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    swallowing: bool = False
    stalled: bool = False
    is_socket: bool = False

    def end(self, *, reset: bool = False) -> None:
        for writer in (self.client, self.server):
            if reset:
                with contextlib.suppress(OSError):
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


class Proxy:
    """Forwards to the server at `target`, from a port of its own and in a thread of its own.

    `requests` holds the first line of every request that passed. `expect` says what is to go wrong, and `happened`
    tells what did.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self._path = parts.path
        self.requests: list[str] = []
        self.lose_next_frame = False  # what a client sends first over its next socket
        self.happened: list[Fault] = []
        self._faults: list[Fault] = []
        self._passed: dict[Direction, int] = {"up": 0, "down": 0}
        self._pairs: set[_Pair] = set()
        self._refusals = 0
        self._hole_until = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listener = self._do(self._listen())

    @property
    def url(self) -> str:
        """The address that clients are to use now."""
        return f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}{self._path}"

    # --- what tests ask for ---

    def expect(self, faults: Iterable[Fault]) -> None:
        """From now on, count bytes anew and let these things go wrong, one after the other."""

        def change() -> None:
            self._faults = list(faults)
            self.happened = []
            self._passed = {"up": 0, "down": 0}
            self._refusals = 0
            self._hole_until = 0.0

        self._call(change)

    def cut(self) -> None:
        """Drop every connection in the middle of whatever it carries."""
        self._call(self._end_all)

    def swallow(self, seconds: float) -> None:
        """Swallow what passes over the present connections, for ever, and new ones for so long; close nothing."""
        self._call(lambda: self._black_hole(seconds))

    def stall(self) -> None:
        """Read nothing more from the present connections, so that whoever sends has to wait; close nothing."""

        def change() -> None:
            for pair in self._pairs:
                pair.stalled = True

        self._call(change)

    def close(self) -> None:
        """End every connection and forward nothing more."""

        async def end() -> None:
            stop_accepting(self._listener)
            # A connection that was accepted at the last moment makes tasks. Let them begin: asyncio does not close the
            # socket of a connection whose task is cancelled before that. Then end them, and let their transports close.
            for _ in range(CLOSING_ROUNDS):
                await asyncio.sleep(0)
            for _ in range(CLOSING_ROUNDS):
                self._end_all()
                tasks = asyncio.all_tasks() - {asyncio.current_task()}
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.sleep(0)

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- in the loop's thread ---

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _call(self, action: Callable[[], None]) -> None:
        async def work() -> None:
            action()

        self._do(work())

    def _end_all(self) -> None:
        while self._pairs:
            self._pairs.pop().end()

    def _black_hole(self, seconds: float) -> None:
        self._hole_until = self._loop.time() + seconds
        for pair in self._pairs:
            pair.swallowing = True

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            if self._refusals:
                await self._refuse(reader, client)
                return
            try:
                from_server, server = await asyncio.open_connection(*self._target, limit=CHUNK)
            except OSError:
                client.transport.abort()
                return
            pair = _Pair(client, server, swallowing=self._loop.time() < self._hole_until)
            self._pairs.add(pair)
            await asyncio.gather(self._pump("up", pair, reader, server), self._pump("down", pair, from_server, client))
            self._pairs.discard(pair)
            pair.end()
        except (OSError, asyncio.IncompleteReadError):
            client.transport.abort()
        except asyncio.CancelledError:
            client.transport.abort()  # the proxy is being closed

    async def _refuse(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._refusals -= 1
        await reader.readuntil(b"\r\n\r\n")
        client.write(REFUSAL.format(502 + self._refusals % 2).encode())
        await client.drain()
        client.close()

    async def _pump(
        self, direction: Direction, pair: _Pair, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        open_ = True
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                while pair.stalled:
                    await asyncio.sleep(0.1)
                if direction == "up" and not self._note(data, pair):
                    break
                if not pair.swallowing and (fault := self._due(direction, data)) is not None:
                    data, open_ = await self._apply(fault, direction, pair, data, sink)
                if open_ and data and not pair.swallowing:
                    sink.write(data)
                    await sink.drain()
        if not pair.swallowing:
            # What the other side has on its way still comes through.
            with contextlib.suppress(OSError, RuntimeError):
                sink.write_eof()
            if direction == "up":
                await asyncio.sleep(0.2)
                pair.end()

    def _note(self, data: bytes, pair: _Pair) -> bool:
        """Note a request; False when this is a frame that is to be lost, and its connection with it."""
        if _is_request(data):
            self.requests.append(data.split(b"\r\n", 1)[0].decode().partition("?")[0])
            pair.is_socket = self.requests[-1].endswith("/channels")
        elif pair.is_socket and self.lose_next_frame:
            self.lose_next_frame = False
            pair.end()
            return False
        return True

    # --- faults ---

    def _due(self, direction: Direction, data: bytes) -> Fault | None:
        """Count bytes, and return the next fault if its place is among them."""
        self._passed[direction] += len(data)
        fault = self._faults[0] if self._faults else None
        if fault is None or fault.direction != direction or self._passed[direction] <= fault.after:
            return None
        if (fault.kind, direction) == ("garble", "up") and _is_request(data):
            return None  # frames are meant
        self.happened.append(fault)
        return self._faults.pop(0)

    async def _apply(
        self, fault: Fault, direction: Direction, pair: _Pair, data: bytes, sink: asyncio.StreamWriter
    ) -> tuple[bytes, bool]:
        """Let it happen; returns what is left of the bytes to be passed on, and whether more may follow them."""
        at = len(data) - (self._passed[direction] - fault.after)
        at = min(max(at, 0), len(data))
        self._passed = {"up": 0, "down": 0}
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.seconds)
                return data, True
            case "garble":
                if direction == "up":
                    return b"\xff" * 8 + data, True
                return data[:at] + b"\xff" * min(24, len(data) - at) + data[at + 24 :], True
            case "black_hole":
                self._black_hole(fault.seconds)
                return b"", False
            case "half_close":
                sink.write(data[:at])
                sink.write_eof()
                return b"", False
            case "refuse":
                self._refusals = fault.count
        sink.write(data[:at])
        with contextlib.suppress(OSError):
            await sink.drain()
        pair.end(reset=fault.kind == "reset")
        return b"", False


def _is_request(data: bytes) -> bool:
    return data.split(b"\r\n", 1)[0].endswith(b"HTTP/1.1")
