"""The runtime proxy of one VM: a door with an address of its own that asks for the token and passes bytes through.

Behind it are the Jupyter server and whatever else listens on the VM, which is this machine: each port has an address
and tokens of its own. One request a connection, as seen from the client; bodies and WebSockets are passed on as they
come, of any size, so that framing, subprotocols and back-pressure are the real server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from . import answers, frames
from .answers import PIECE
from .faults import Fault, Request
from .state import PORT

if TYPE_CHECKING:
    from .vms import VM

PARAMETER = "colab-runtime-proxy-token"
OURS = ("/api/colab/", "/colab/")  # not served by the Jupyter server
FILES = ("/api/contents", "/files")  # served by a server of their own (protocol C40)
STATES = ("/api/kernels", "/api/sessions")
_PASSED_ON = re.compile(r"/(api|files)(/|$)|/colab/(tty|lsp|ssh)$")  # all else is a 404 without a body
_PORT_PATH = re.compile(r"/_proxy/(\d{1,5})(/.*)")


@dataclass
class Head:
    """The first part of a request, up to the empty line."""

    method: str
    path: str
    query: dict[str, str]
    raw_query: str = field(repr=False)
    headers: list[tuple[str, str]] = field(repr=False)

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def websocket(self) -> bool:
        return self.get("upgrade").lower() == "websocket"


@dataclass(frozen=True)
class Exchange:
    """One request at the front door: its connection, its head and path, its line in the log, what is to go wrong."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: Head
    path: str
    log: Request
    fault: Fault


@dataclass(eq=False)
class Passage:
    """A connection through the door."""

    token: str
    websocket: bool
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    silent: bool = False
    sorted: bool = False  # its frames are looked at
    came: int = 0  # bytes from the runtime, behind the head of the answer
    last: float = 0.0

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Front:
    """The door."""

    def __init__(self, vm: VM) -> None:
        self._vm = vm
        self._world = vm.world
        self._passages: set[Passage] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.generation = 0  # counts how often the server was made to forget its buffers
        self.lost_status = 404  # what it answers when the VM is gone
        self._origin = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=PIECE)
        self._origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def address(self, port: int) -> str:
        """The address of a port of the VM, without a final slash. Google's begins with the port, as does this path."""
        return f"{self._origin}/{'vm/' if port == PORT else f'{port}-'}{self._vm.endpoint}"

    def _place(self, path: str) -> tuple[int, str]:
        """The port that a path here means, and the path there; 0 when it means none."""
        found = re.fullmatch(rf"/(?:vm/|(\d+)-){self._vm.endpoint}(/.*|)", path)
        return (int(found[1] or PORT), found[2]) if found else (0, path)

    def close(self) -> None:
        """Refuse new connections, and end the open ones."""
        if self._server is not None:
            stop_accepting(self._server)
        self.cut(lambda passage: True)
        for task in self._tasks:
            task.cancel()

    async def closed(self) -> None:
        """Wait until all that `close` ended has ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, which: Callable[[Passage], bool], *, silently: bool = False) -> int:
        """End connections; returns how many there were."""
        found = [passage for passage in self._passages if which(passage)]
        for passage in found:
            if silently:
                passage.silent = True
                passage.server.transport.abort()
            else:
                passage.abort()
            self._passages.discard(passage)
        return len(found)

    def forget_idle(self) -> None:
        """Stop serving connections that were silent for too long, without closing them."""
        oldest = asyncio.get_running_loop().time() - self._world.switches.idle_cut
        self.cut(lambda passage: passage.websocket and passage.last < oldest, silently=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # the other side went away, or does not speak HTTP
        except asyncio.CancelledError:
            pass  # we are closing
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = parse(await reader.readuntil(b"\r\n\r\n"))
        port, path = self._place(head.path)
        log = self._world.note(head.method, "proxy", path, head.query, dict(head.headers), self._vm.endpoint)
        fault = self._world.faults.take(log)
        if self._vm.gone and fault.status is not None and fault.status < 400:  # nobody is there to say so
            await answers.answer(reader, writer, log, self.lost_status)
            return
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.drop:
            return
        if fault.hang:
            await answers.discard(reader)
            return
        if fault.status is not None:
            await answers.answer(reader, writer, log, fault.status, fault.body, fault.headers)
            return
        await self._admit(Exchange(reader, writer, head, path, log, fault), port)

    async def _admit(self, exchange: Exchange, port: int) -> None:
        vm, switches = self._vm, self._world.switches
        reader, writer, head = exchange.reader, exchange.writer, exchange.head
        path, log = exchange.path, exchange.log
        token = head.get("x-colab-runtime-proxy-token") or head.query.get(PARAMETER, "")
        if vm.gone or not port:
            await answers.answer(reader, writer, log, self.lost_status if vm.gone else 404)
        elif not vm.admits(token, port):
            await answers.answer(reader, writer, log, switches.stale_status)
        elif vm.booting():
            if switches.boot_mode == "hang":
                await answers.discard(reader)
            elif switches.boot_mode != "refused":
                await answers.answer(reader, writer, log, int(switches.boot_mode))
        elif port != PORT:
            await self._pass(exchange, token, port, None)
        elif switches.port_paths and (found := _PORT_PATH.fullmatch(path)) is not None:
            await self._pass(replace(exchange, path=found[2]), token, int(found[1]), None)
        elif (status := self._refuses(head, path)) is not None:
            await answers.answer(reader, writer, log, status)
        elif await self._too_many_kernels(head, path):
            await answers.answer(reader, writer, log, switches.kernel_refusal)
        else:
            if path.startswith(OURS):
                there, secret = vm.inside.port, ""
            elif path.startswith(FILES):
                await vm.files_ready()
                there, secret = vm.machine.files_port, vm.machine.token
            else:
                await vm.ready()
                there, secret = vm.machine.port, vm.machine.token
            await self._pass(exchange, token, there, secret)

    def _refuses(self, head: Head, path: str) -> int | None:
        """The status with which something is refused that the switches say is not there, or too large."""
        switches = self._world.switches
        if not _PASSED_ON.match(path):
            return 404
        if path.startswith("/api/terminals") and not switches.terminals:
            return 404
        if (path == "/colab/tty" and not switches.tty) or (path.startswith("/api/contents") and not switches.contents):
            return 404
        if path.startswith("/files") and switches.files in ("404", "500"):
            return int(switches.files)
        if switches.body_limit is not None and int(head.get("content-length") or 0) > switches.body_limit:
            return 413
        return None

    async def _too_many_kernels(self, head: Head, path: str) -> bool:
        most = self._world.switches.kernels
        if most is None or head.method != "POST" or path not in STATES:
            return False
        await self._vm.ready()
        machine = self._vm.machine
        reader, writer = await asyncio.open_connection("127.0.0.1", machine.port)
        line = f"GET /api/kernels?token={machine.token} HTTP/1.0"
        writer.write(f"{line}\r\nHost: 127.0.0.1\r\n\r\n".encode())
        body = (await reader.read(-1)).partition(b"\r\n\r\n")[2]
        writer.close()
        return len(json.loads(body)) >= most

    async def _pass(self, exchange: Exchange, token: str, port: int, secret: str | None) -> None:
        """Pass on a request and its answer. `secret` is the server's own token, None for a server of the user's."""
        vm = self._vm
        reader, writer, head = exchange.reader, exchange.writer, exchange.head
        path, log, fault = exchange.path, exchange.log, exchange.fault
        try:
            answer, server = await asyncio.open_connection("127.0.0.1", port, limit=PIECE)
        except OSError:
            await answers.answer(reader, writer, log, 502 if secret is None else 500)
            return
        passage = Passage(token, head.websocket, writer, server, last=asyncio.get_running_loop().time())
        passage.sorted = secret is not None and path.startswith("/api/kernels/")
        self._passages.add(passage)
        buffered = not head.websocket and bool(fault.lose or fault.edit or fault.patch is not None or fault.raw)
        hides = self._world.switches.starting_until_attached and not vm.attached
        hides = hides and secret is not None and not head.websocket and path.startswith(STATES)
        try:
            if secret is None:
                server.write(_as_it_came(head, path))
            else:
                server.write(self._forwarded(head, path, port, secret, plain=buffered or hides))
            up = asyncio.ensure_future(self._pump(reader, server, passage, upwards=True))
            try:
                if buffered or hides:
                    await answers.rewritten(answer, writer, log, fault, starting=hides)
                else:
                    first = await answer.readuntil(b"\r\n\r\n")
                    if fault.lose:
                        return
                    log.status = int(first.split(b" ", 2)[1])
                    passage.sorted &= log.status == 101  # the body of a refusal has no frames
                    vm.attached |= (
                        secret is not None and head.websocket and path.startswith("/api/kernels/") and log.status == 101
                    )
                    if (
                        head.websocket
                        and secret
                        and self._world.switches.v1 == "echoed"
                        and (wanted := head.get("sec-websocket-protocol"))
                    ):
                        agreed = f"Sec-WebSocket-Protocol: {wanted.split(',')[0].strip()}\r\n\r\n"
                        first = first[:-2] + agreed.encode("latin-1")
                    writer.write(first)
                    await self._pump(answer, writer, passage, upwards=False)
            finally:
                up.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await up
        finally:
            self._passages.discard(passage)
            server.transport.abort()
        if passage.silent:
            await answers.discard(reader)
        elif writer.can_write_eof() and not writer.is_closing():
            await writer.drain()
            writer.write_eof()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(-1), 2)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, passage: Passage, *, upwards: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        activity = self._world.switches.activity
        counts = activity == "proxy" or (passage.websocket and activity in ("socket", "either"))
        sorts = frames.Frames() if passage.websocket and passage.sorted else None
        while data := await source.read(PIECE):
            if self._world.switches.latency:
                await asyncio.sleep(self._world.switches.latency)
            passage.last = loop.time()
            if passage.silent:
                continue
            if counts and upwards:
                self._vm.touch()
            if sorts is not None:
                data = self._let_through(sorts.feed(data), passage, upwards=upwards)
                if passage.silent:
                    continue
            if not upwards:
                data = await self._cut(data, passage)
            target.write(data)
            await target.drain()
        if upwards and passage.websocket and not passage.silent:
            target.transport.abort()  # the client has left

    def _let_through(self, found: list[tuple[int, bytes]], passage: Passage, *, upwards: bool) -> bytes:
        """Those frames that the switches let pass; the first that they do not like closes the socket."""
        kept, code = frames.passed(found, self._world.switches, upwards=upwards)
        if code is not None:
            passage.client.write(frames.close_frame(code))
            passage.client.write_eof()
            passage.silent = True
            passage.server.transport.abort()
        return kept

    async def _cut(self, data: bytes, passage: Passage) -> bytes:
        """What still passes of data from the runtime, where connections are cut after a number of bytes."""
        most = self._world.switches.cut_after
        if most is None or (left := max(most - passage.came, 0)) >= len(data):
            passage.came += len(data)
            return data
        passage.came = most
        passage.client.write(data[:left])
        await passage.client.drain()
        if self._world.switches.cut_silently:
            passage.silent = True
            passage.server.transport.abort()
        else:
            passage.abort()
        return b""

    def _forwarded(self, head: Head, path: str, port: int, secret: str, *, plain: bool) -> bytes:
        """The request for the server behind the door: without our token, with the server's."""
        query = {key: value for key, value in head.query.items() if key != PARAMETER}
        if self.generation and "session_id" in query:
            query["session_id"] += f"-{self.generation}"
        lines = [f"{head.method} {path}{'?' + urlencode(query) if query else ''} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        dropped = {"host", "authorization", "x-colab-runtime-proxy-token", "origin"}
        if not head.websocket:
            dropped |= {"connection", "keep-alive"}
            lines.append("Connection: close")
        if plain:
            dropped.add("accept-encoding")
        if self._world.switches.v1 != "spoken":
            dropped.add("sec-websocket-protocol")
        if self._world.switches.files == "whole":
            dropped.add("range")
        if secret:
            lines.append(f"Authorization: token {secret}")
        lines += [f"{name}: {value}" for name, value in head.headers if name.lower() not in dropped]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _as_it_came(head: Head, path: str) -> bytes:
    """A request for a user's own server: without the token, and the last of its connection. It is unknown which
    `Host` and `Origin` Google's proxy passes on; this one leaves them, so that they are the proxy's own."""
    query = "&".join(part for part in head.raw_query.split("&") if not part.startswith(f"{PARAMETER}="))
    dropped = {"x-colab-runtime-proxy-token", *(() if head.websocket else ("connection", "keep-alive"))}
    lines = [f"{head.method} {path or '/'}{'?' + query if query else ''} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in head.headers if name.lower() not in dropped]
    lines += [] if head.websocket else ["Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def stop_accepting(server: asyncio.Server) -> None:
    """Close a listening server, without losing the connections that it accepted a moment ago.

    asyncio takes them up in its next round, and leaves their sockets open when the server is closed by then.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening)
    loop.call_soon(server.close)


def parse(data: bytes) -> Head:
    """The head of a request.

    Raises:
        EOFError: it is not one.
    """
    first, *rest = data.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise EOFError(first)
    path, _, query = words[1].partition("?")
    headers = [(name.strip(), value.strip()) for name, found, value in (line.partition(":") for line in rest) if found]
    return Head(words[0], path, dict(parse_qsl(query, keep_blank_values=True)), query, headers)
