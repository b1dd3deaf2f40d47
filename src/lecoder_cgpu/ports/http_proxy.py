"""Ports of the runtime on this machine through the backend's own proxy, which carries HTTP and WebSocket only.

Whether Colab's proxy serves any port but its own is unknown (protocol C32), and whether a path at the Jupyter server's
address leads to a port, too (protocol C59).

A reverse proxy on 127.0.0.1, in an event loop of its own: it changes the heads of a request and of its answer
(`proxy_heads.py`) and passes on everything else as it comes, with one request per connection. The proxy's token is
renewed before it ends, and when it is refused. An application's own 404 looks the same as a refusal, so a refusal leads
to a renewal once a minute at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .. import errors
from ..backends.protocol import Upstream
from ..net import tls
from ..net.failures import unreachable
from ..net.http import CONNECT_TIMEOUT
from ..net.websocket import reset_when_closed
from ..sessions.session import Session
from ..store import lifecycle
from ..system import logs, redaction
from .proxy_heads import Answer, Refused, Request, plain
from .tunnel import listener

T = TypeVar("T")

PIECE = 256 << 10  # bytes that are read at once; a head may be as long
HEAD_WAIT = 60.0  # seconds for a client's request to come; browsers open connections that they may never use
EARLY = 300.0  # seconds before its end at which a token is renewed
REFUSALS = (401, 403, 404)  # how a proxy answers whose token is stale (protocol C30)
PAUSE = 60.0  # seconds between two renewals whose only reason is a refusal
LINGER = 5.0  # seconds that a client may take to close when its answer is over
LOOK_EVERY = 5.0  # seconds between two looks whether the session is still there
END = b"\r\n\r\n"


class PortProxy:
    """HTTP and WebSocket connections from ports of this machine to ports of a session's runtime.

    Args:
        session: its runtime is where the requests lead.
        notify: told what a person should know meanwhile.
        hint: the command that does the same without the backend's proxy, for errors.

    Raises:
        errors.UsageError: the backend has no such proxy. errors.LostError: the runtime is gone.
        errors.AuthError, errors.ConnectionFailed: see `net.http.Http.request`.
    """

    reconnections = 0  # always 0: each request has a connection of its own

    def __init__(self, session: Session, notify: Callable[[str], None], hint: str) -> None:
        self._find = self._finder(session, hint)
        self._session = session
        self._notify = notify
        self._hint = hint
        self._told: set[str] = set()
        self._problem: errors.Error | None = None
        self._over = threading.Event()
        self.connections = 0
        session.endpoint  # noqa: B018 - a runtime that is not there yet is started
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_log)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def _finder(self, session: Session, hint: str) -> Callable[[int], Upstream]:
        find = session.backend.upstream(session.record)
        if find is None:
            raise self._no_proxy(session, hint)
        return find

    @staticmethod
    def _no_proxy(session: Session, hint: str) -> errors.UsageError:
        return errors.UsageError(
            f"the backend of session {session.record.name!r} ({session.record.backend}) has no proxy for ports",
            name="NoPortProxy",
            hint=hint,
        )

    def _admit(self, request: Request) -> Request:
        """The request as it is passed on; `Refused` if it is not."""
        return request

    def _returned(self, answer: Answer) -> Answer:
        """The answer as it is passed back."""
        return answer

    def listen(self, remote: int, local: int | None) -> int:
        """Forward a port, and return the port here; the arguments are those of `Tunnel.listen`.

        Raises:
            errors.NotFoundError: there is no token for that port. errors.UsageError: the port here cannot be used.
            errors.LostError, errors.AuthError, errors.ConnectionFailed: as for the class.
        """
        way = _Way(remote, self.find)
        taken = listener(remote, local)
        self._run(asyncio.start_server(partial(self._serve, way), sock=taken, limit=PIECE))
        port: int = taken.getsockname()[1]
        return port

    def find(self, port: int) -> Upstream:
        """Ask for the address and a fresh token of a port. Raises as `listen` does."""
        try:
            found = self._find(port)
        except errors.Error as error:
            if self._session.is_lost():
                raise self._lost() from error
            refused = isinstance(error, (errors.NotFoundError, errors.Forbidden, errors.NoProxy))
            if refused or error.http_status == 400:
                raise errors.NotFoundError(
                    f"port {port} of the runtime cannot be reached through the proxy: {error.message}",
                    name="NoPortProxy",
                    hint=self._hint,
                ) from error
            raise
        redaction.protect(found.token)
        return found

    def run(self) -> None:
        """Carry requests until `close`.

        Raises:
            errors.LostError: the runtime is gone. errors.AuthError: the login is not accepted any more.
        """
        while not self._over.wait(LOOK_EVERY):
            if self._closed() or (self._in_doubt() and self._session.is_lost()):
                raise self._lost()
        if self._problem is not None:
            raise self._problem

    def _in_doubt(self) -> bool:
        """Whether a listing lacked the runtime, so that only another one can say whether it is gone."""
        return lifecycle.stage(self._session.record) == "unlisted"

    def _closed(self) -> bool:
        """Whether another command has closed the session, or found its runtime gone."""
        try:
            stored = self._session.store.get(self._session.record.id)
        except errors.ConfigError as error:  # a state folder that cannot be read is no reason to end what works
            logs.current().warn("FORWARD", error.message)
            return False
        return stored is None or self._session.backend.known_gone(stored)

    def close(self) -> None:
        """End the forwarding, and all connections."""
        self._over.set()

        async def end() -> None:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        with contextlib.suppress(TimeoutError):
            self._run(end(), LINGER)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LINGER)

    def _run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def _lost(self) -> errors.Error:
        return self._session.loss("its ports were forwarded", "lecoder-cgpu sessions list")

    # --- one connection ---

    async def _serve(self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._carry(way, reader, writer)
        except Refused as refusal:
            await _answer(reader, writer, refusal.status, str(refusal))
        except errors.Error as error:
            if isinstance(error, (errors.LostError, errors.AuthError, errors.BudgetError)):
                self._problem = error
                self._over.set()
            else:
                self._tell(f"port {way.port} of the runtime: {error.message}")
            await _answer(reader, writer, 502, error.message)
        except (OSError, EOFError):  # cut in the middle: a reset tells the client that its content is not complete
            with contextlib.suppress(OSError):
                reset_when_closed(writer.get_extra_info("socket"))
            writer.transport.abort()
        finally:
            writer.close()

    async def _carry(self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader)
        if request is None:
            return
        request = self._admit(request)
        upstream = await way.current()
        again = True
        up: asyncio.Task[None] | None = None
        there: asyncio.StreamWriter | None = None
        try:
            while True:
                try:
                    answers, there = await self._open(upstream)
                except errors.ConnectionFailed as error:
                    fresh = await way.other_than(upstream) if again and error.retryable else None
                    if fresh is None:
                        raise
                    upstream, again = fresh, False
                    continue
                there.write(request.for_upstream(upstream))
                if not request.repeatable:
                    up = asyncio.create_task(self._upload(reader, there))
                answer = await _heads(answers, writer, request, upstream, way.port)
                fresh = await way.other_than(upstream) if answer.status in REFUSALS else None
                if fresh is None or not again or not request.repeatable:
                    break
                there.transport.abort()
                upstream, again = fresh, False
            if answer.status == 404:
                self._not_found(way.port)
            writer.write(self._returned(answer).for_client(request.host, upstream, way.port))
            up = up or asyncio.create_task(self._upload(reader, there, ends=answer.status == 101))
            await self._pump(answers, writer)
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(up, LINGER)
        finally:
            if up is not None:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
            if there is not None:
                there.transport.abort()
        await _farewell(reader)

    async def _open(self, upstream: Upstream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(upstream.url)
        secure = parts.scheme == "https"
        opening = asyncio.open_connection(
            parts.hostname, parts.port or (443 if secure else 80), ssl=self._tls if secure else None, limit=PIECE
        )
        try:
            return await asyncio.wait_for(opening, CONNECT_TIMEOUT)
        except (OSError, TimeoutError) as error:
            raise unreachable(upstream.url, error) from error

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return tls.context()

    async def _upload(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, *, ends: bool = False) -> None:
        """Pass on what comes from the client, and then its end. TLS cannot end one half of a connection: over TLS, the
        end is passed on only if it `ends` everything."""
        try:
            await self._pump(reader, there)
        except OSError:
            there.transport.abort()  # nobody waits for the answer
            raise
        if ends and not there.can_write_eof():
            there.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Pass on everything until its end, and then the end."""
        while data := await source.read(PIECE):
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()

    def _not_found(self, port: int) -> None:
        """Say what a 404 may mean besides that the application has no such page."""

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notify(text)


class PathProxy(PortProxy):
    """The same through the path of a port at the Jupyter server's own address, whose token is enough for it."""

    def _finder(self, session: Session, hint: str) -> Callable[[int], Upstream]:
        find = session.backend.port_path(session.record)
        if find is None:
            raise self._no_proxy(session, hint)
        return find

    def _not_found(self, port: int) -> None:
        self._tell(
            f"port {port} answers 404: if that is not the application's own answer, this runtime has no paths for "
            f"ports; {self._hint} needs none"
        )


class _Way:
    """The address and token of one port, and when to ask for new ones. `find` may take seconds.

    Raises:
        errors.Error: as `find`.
    """

    def __init__(self, port: int, find: Callable[[int], Upstream]) -> None:
        self.port = port
        self._find = find
        self._known = find(port)
        self._lock = asyncio.Lock()
        self._next = 0.0  # from this monotonic moment on, a refusal leads to a renewal

    async def current(self) -> Upstream:
        """The address and token to use now. Raises what `find` raises, if the known token is over."""
        async with self._lock:
            left = self._known.expires - time.time()
            if left <= 0 or (left < EARLY and time.monotonic() >= self._next):
                try:
                    await self._renew()
                except errors.ConnectionFailed as error:
                    logs.current().warn("FORWARD", f"no fresh token: {error.message}", {"port": self.port})
                    if left <= 0:
                        raise
            return self._known

    async def other_than(self, refused: Upstream) -> Upstream | None:
        """Another address or token than the refused one; None if there is none, or if we asked a moment ago.

        Raises:
            errors.LostError: the runtime is gone. errors.AuthError: the login is not accepted any more.
        """
        async with self._lock:
            if self._known == refused and time.monotonic() >= self._next:
                try:
                    await self._renew()
                except (errors.ConnectionFailed, errors.NotFoundError) as error:
                    logs.current().warn("FORWARD", f"no other token: {error.message}", {"port": self.port})
            return self._known if self._known != refused else None

    async def _renew(self) -> None:
        self._next = time.monotonic() + PAUSE
        self._known = await asyncio.to_thread(self._find, self.port)


async def _request(reader: asyncio.StreamReader) -> Request | None:
    """The request that a client has sent; None if it closed, or sent nothing in time.

    Raises:
        Refused: it is not a request that we pass on.
    """
    try:
        return Request.parse(await asyncio.wait_for(reader.readuntil(END), HEAD_WAIT))
    except asyncio.LimitOverrunError:
        raise Refused(431, f"the request's head is longer than {PIECE >> 10} KiB") from None
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Refused(400, "the request ends in the middle of its head") from None
        return None
    except TimeoutError:
        return None


async def _heads(
    answers: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request, upstream: Upstream, port: int
) -> Answer:
    """The head of the answer. Heads with status 1xx before it are passed on.

    Raises:
        errors.ConnectionFailed: no answer came that makes sense.
    """
    while True:
        try:
            answer = Answer.parse(await answers.readuntil(END))
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise errors.UnexpectedAnswer(
                f"the proxy gave no answer that makes sense ({error})",
                hint="leave out --via",
            ) from error
        if answer.final:
            return answer
        writer.write(answer.for_client(request.host, upstream, port))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, said: str) -> None:
    """Answer ourselves, instead of the server."""
    with contextlib.suppress(OSError):
        writer.write(plain(status, HTTPStatus(status).phrase, said))
        writer.write_eof()
        await _farewell(reader)


async def _farewell(reader: asyncio.StreamReader) -> None:
    """Wait until the client closes. Closing while it still sends would reset the connection and lose our answer."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(LINGER):
            while await reader.read(PIECE):
                pass


def _log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logs.current().error("FORWARD", str(context.get("message")), {"error": repr(context.get("exception"))})
