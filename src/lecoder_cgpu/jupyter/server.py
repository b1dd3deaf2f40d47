"""The REST API of a Jupyter server, typed. Code is not run here: that needs a socket (`kernel_channels`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from .. import config, errors
from ..net.addresses import segment
from ..net.failures import sockets_refused
from ..net.http import CONNECT_TIMEOUT, Http
from ..net.websocket import PING_INTERVAL, Cut, Cutter, WebSocket
from .breaks import Breaks
from .endpoint import Endpoint
from .frame_form import FrameForm
from .kernelspecs import PYTHON_NAME, KernelSpecs, Listing
from .message_size import MessageSize
from .messages import V1_SUBPROTOCOL

if TYPE_CHECKING:
    from ..net.kept_sockets import Address, KeptSocket

T = TypeVar("T")
Renew = Callable[[errors.Error], Endpoint | None]

START_LIMIT = 300.0  # seconds that a gateway may take for a kernel: it may have to find a machine first
SWITCH = "LECODER_CGPU_WARM"  # whether anything is kept between commands
RENEWALS = 2  # after a failure: another process's token may be as old as ours was


def _cutter(binary: bool, subprotocol: str | None) -> Cutter:
    from .large_messages import Cutter

    return Cutter(binary=binary, v1=subprotocol == V1_SUBPROTOCOL)


class Kernel(Struct, kw_only=True):
    """A kernel as the server describes it; `execution_state` may be missing on a server that has not looked yet."""

    id: str
    name: str = ""
    execution_state: str = "unknown"
    connections: int | None = None
    last_activity: str | None = None


class NotebookSession(Struct, kw_only=True):
    """Jupyter's own "session": a path that owns a kernel. By the path, a kernel is found again."""

    id: str
    path: str = ""
    name: str = ""
    kernel: Kernel | None = None

    def is_of(self, owner: str) -> bool:
        """Whether it was opened for this owner (see `Server.open_session`)."""
        return bool(owner) and self.name.endswith(f"({owner})")


class TerminalModel(Struct, kw_only=True):
    """A terminal as the server describes it."""

    name: str


class Version(Struct, kw_only=True):
    """What the server says about itself."""

    version: str


class Server:
    """REST calls to one Jupyter server. The HTTP client is made by the first call; a warm run never needs it.

    Args:
        renew: asked for another address or token of the same server when it refuses us or cannot be reached.

    Every method raises `errors.AuthError`, `errors.NotFoundError` or `errors.ConnectionFailed`; see
    `net.http.Http.request`.
    """

    def __init__(self, endpoint: Endpoint, renew: Renew | None = None) -> None:
        self.endpoint = endpoint
        self.message_size = MessageSize()
        self.frame_form = FrameForm()
        self.breaks = Breaks(lambda: self.message_size)
        self._renew = renew
        self._http: Http | None = None

    @property
    def http(self) -> Http:
        if self._http is None:
            self._http = Http(self.endpoint.url, self.endpoint.headers, ca=self.endpoint.ca)
        return self._http

    def version(self) -> str:
        """The server's version; also the cheapest proof that the address is a Jupyter server's."""
        return self._get("api", Version).version

    def kernels(self) -> list[Kernel]:
        """Every kernel of the server. The server checks the token, which it does not for `version`."""
        return self._get("api/kernels", list[Kernel])

    def check_access(self) -> bool:
        """Check that the server accepts the token, and return whether it lists its kernels: gateways refuse that.

        Raises:
            errors.AuthError: it refuses the token.
        """
        if not self.endpoint.lists:
            self.kernel_specs()
            return False
        try:
            self.kernels()
        except errors.AuthError as error:
            try:
                self.kernel_specs()
            except errors.Error:
                raise error from None
            return False
        return True

    def check_websockets(self) -> None:
        """Check that whatever stands before the server passes WebSockets on, where that can be tried without a kernel.

        Raises:
            errors.UnexpectedAnswer: a proxy does not.
        """
        try:
            self.open_socket("api/events/subscribe").close()
        except (errors.NotFoundError, errors.AuthError, errors.ServerError):
            return  # an older server, or a gateway: the first run will show it

    def kernel(self, kernel_id: str) -> Kernel:
        return self._get(f"api/kernels/{segment(kernel_id)}", Kernel)

    def sessions(self) -> list[NotebookSession]:
        return self._get("api/sessions", list[NotebookSession])

    def kernel_specs(self) -> KernelSpecs:
        """The kinds of kernels that the server can start, and its default (protocol J27)."""
        return KernelSpecs.of(self._get("api/kernelspecs", Listing))

    def open_session(self, path: str, kernel_name: str = PYTHON_NAME, owner: str = "") -> tuple[NotebookSession, bool]:
        """Return the session at `path` with its kernel, and whether that kernel was started for `owner`.

        An existing session counts whatever kernel it has; one whose kernel is gone is replaced (protocol J26). The
        server starts a kernel for each of two requests that come at once; the first session in its listing counts then,
        and the other is ended.

        Args:
            kernel_name: the kernel to start, by the name of its spec.
            owner: stands in the session's name on the server, so that what was started by a request whose answer
                nobody has seen is known all the same (see `sessions_of`).
        """
        if not self.endpoint.lists:
            return NotebookSession(id="", path=path, kernel=self._start_kernel(kernel_name)), True
        existing = self._session_at(path)
        if existing is not None and existing.kernel is not None:
            try:
                self.kernel(existing.kernel.id)
            except errors.NotFoundError:
                self._delete(f"api/sessions/{segment(existing.id)}")
            else:
                return existing, existing.is_of(owner)
        started = self._start_session(path, kernel_name, owner)
        first = self._session_at(path)
        if first is None or first.id == started.id or first.kernel is None or started.kernel is None:
            return started, True
        if first.kernel.id != started.kernel.id:
            self._delete(f"api/sessions/{segment(started.id)}")
        return first, first.is_of(owner)

    def sessions_of(self, owner: str) -> list[NotebookSession]:
        """What was opened for this owner, and is there. A gateway does not tell."""
        return [item for item in self.sessions() if item.is_of(owner)] if self.endpoint.lists else []

    def move_session(self, path: str, target: str) -> None:
        """Give the session at `path` another path, by which its kernel is found from then on."""
        if self.endpoint.lists and (found := self._session_at(path)) is not None:
            self.request("PATCH", f"api/sessions/{segment(found.id)}", json={"path": target})

    def _session_at(self, path: str) -> NotebookSession | None:
        return next((item for item in self.sessions() if item.path == path), None)

    def interrupt(self, kernel_id: str) -> None:
        """Interrupt what the kernel executes now (SIGINT)."""
        self.request("POST", f"api/kernels/{segment(kernel_id)}/interrupt")

    def restart(self, kernel_id: str) -> None:
        """Restart the kernel: its variables are gone, its id stays."""
        self._forget_kept_channels(kernel_id)
        self.request("POST", f"api/kernels/{segment(kernel_id)}/restart")

    def delete_kernel(self, kernel_id: str) -> bool:
        """End a kernel; False if it was gone already."""
        self._forget_kept_channels(kernel_id)
        try:
            self._delete(f"api/kernels/{segment(kernel_id)}")
        except errors.NotFoundError:
            return False
        return True

    def read_file(self, path: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        """Yield a piece of a file below the server's root as its bytes arrive (see `net.http.Http.read`)."""

        def begin() -> tuple[bytes | memoryview, Iterator[bytes | memoryview]]:
            pieces = self.http.read(f"files/{quote(path)}", start, end)
            return next(pieces, b""), pieces

        first, rest = self._renewing(begin)
        yield first
        yield from rest

    def open_channels(self, kernel_id: str, session_id: str) -> WebSocket:
        """A socket to the kernel. Under the same `session_id` the server sends what it has kept (protocol J19)."""

        def connect(offers_v1: bool) -> WebSocket:
            # With the v1 subprotocol the server passes messages through as they are, instead of parsing all of them
            # (protocol J21).
            return self.open_socket(
                f"api/kernels/{segment(kernel_id)}/channels",
                query=f"session_id={session_id}",
                subprotocols=[V1_SUBPROTOCOL] if offers_v1 and self.endpoint.v1 else (),
                cut=_cutter,
            )

        try:
            return self.frame_form.open(connect, session_id)
        except errors.AuthError as error:
            if not self._accepts(kernel_id):
                raise
            raise sockets_refused(error, urlsplit(self.endpoint.url).netloc) from error

    def kept_channels(self, kernel_id: str) -> KeptSocket | None:
        """A socket to the kernel that was kept open (see `net.kept_sockets`), None where there is none."""
        if (address := self._kept_address(kernel_id)) is None:
            return None
        from ..net import kept_sockets

        return kept_sockets.take(address, _cutter)

    def want_kept_channels(self, kernel_id: str) -> None:
        """Let the next command find such a socket."""
        if (address := self._kept_address(kernel_id)) is not None:
            from ..net import kept_sockets

            kept_sockets.want(address)

    def _kept_address(self, kernel_id: str) -> Address | None:
        """Where such a socket leads; None where none may be kept."""
        if config.environment(SWITCH) is None:
            return None
        from ..net import kept_sockets

        url = self._socket_address(f"api/kernels/{segment(kernel_id)}/channels", "")
        if self.frame_form.known != "agreed" or not kept_sockets.can_keep(url):
            return None
        subprotocols = (V1_SUBPROTOCOL,) if self.endpoint.v1 else ()
        return kept_sockets.Address(url, self.endpoint.headers, subprotocols, self.endpoint.ca)

    def _forget_kept_channels(self, kernel_id: str) -> None:
        if (address := self._kept_address(kernel_id)) is not None:
            from ..net import kept_sockets

            kept_sockets.forget(address.url)

    def _accepts(self, kernel_id: str) -> bool:
        """Whether the server takes our token where no WebSocket is needed.

        Raises:
            errors.NotFoundError: there is no such kernel.
        """
        try:
            self.kernel(kernel_id)
        except errors.NotFoundError:
            raise
        except errors.Error:
            return False
        return True

    def open_socket(
        self,
        path: str,
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        timeout: float = CONNECT_TIMEOUT,
        ping_interval: float | None = PING_INTERVAL,
        cut: Cut | None = None,
    ) -> WebSocket:
        """Open a socket to any path of the server. `headers` are sent in addition to those of the endpoint; the rest is
        as in `WebSocket.connect`."""
        options: dict[str, Any] = {
            "subprotocols": subprotocols,
            "timeout": timeout,
            "ping_interval": ping_interval,
            "cut": cut,
        }
        return self._renewing(lambda: self._open_socket(path, query, headers or {}, **options))

    def _open_socket(self, path: str, query: str, headers: dict[str, str], **options: Any) -> WebSocket:
        all_headers = {**self.endpoint.headers, **headers}
        address = self._socket_address(path, query)
        self.breaks.pause()
        socket = WebSocket.connect(address, all_headers, ca=self.endpoint.ca, **options)
        self.breaks.opened(socket)
        return socket

    def _socket_address(self, path: str, query: str) -> str:
        parts = urlsplit(self.endpoint.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        return urlunsplit((scheme, parts.netloc, parts.path + path, query, ""))

    def start_terminal(self, options: dict[str, Any]) -> str:
        """Start a shell behind a pseudo-terminal, and return the terminal's name.

        Args:
            options: for the server's terminal manager (`shell_command`, `cwd`).
        """
        answer = self.request("POST", "api/terminals", json=options)
        return self._decode("api/terminals", answer, TerminalModel).name

    def request(self, method: str, path: str, **options: Any) -> bytes:
        """Any request to the server; see `net.http.Http.request`."""
        return self._renewing(lambda: self.http.request(method, path, **options), repeat=method != "POST")

    def has_page(self, path: str) -> bool:
        """Whether the server has a page for a browser at `path`."""
        return self.http.has_page(path)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _renewing(self, action: Callable[[], T], *, repeat: bool = True) -> T:
        """Do something, and do it again over another endpoint if there is one.

        Args:
            repeat: whether doing it again does no harm if the first attempt had an effect.
        """
        for _ in range(RENEWALS if self._renew is not None else 0):
            try:
                return action()
            except (errors.AuthError, errors.NotFoundError, errors.ConnectionFailed) as error:
                assert self._renew is not None
                fresh = self._renew(error)
                if fresh is None or (isinstance(error, errors.ConnectionFailed) and not repeat):
                    raise
                silent = isinstance(error, (errors.ReadTimeout, errors.ConnectionTimeout))
                same = fresh.url == self.endpoint.url
                self._http = None  # not closed: other threads may be reading through it
                self.endpoint = fresh
                if silent and same:
                    raise  # a token cures no silence, and nobody waits for it twice
        return action()

    def _start_session(self, path: str, kernel_name: str, owner: str) -> NotebookSession:
        name = path.rpartition("/")[2] + (f" ({owner})" if owner else "")
        body = {"path": path, "name": name, "type": "notebook", "kernel": {"name": kernel_name}}
        try:
            answer = self.request("POST", "api/sessions", json=body)
        except errors.AuthError as error:
            if error.http_status != 403:
                raise
            raise errors.KernelRefused(  # and not the token, with which the sessions were listed just now
                "the server starts no kernel: HTTP 403, though it accepts the token for other requests",
                http_status=403,
                hint="end what runs there (lecoder-cgpu sessions list), or take another runtime; files go without",
            ) from error
        return self._decode("api/sessions", answer, NotebookSession)

    def _start_kernel(self, name: str) -> Kernel:
        """Start a kernel that belongs to no session: all that a gateway offers (protocol J37)."""
        body = {"name": name, "env": self.endpoint.kernel_env}
        answer = self.request("POST", "api/kernels", json=body, timeout=START_LIMIT)
        return self._decode("api/kernels", answer, Kernel)

    def _get(self, path: str, kind: type[T]) -> T:
        return self._decode(path, self.request("GET", path), kind)

    def _delete(self, path: str) -> None:
        self.request("DELETE", path)

    def _decode(self, path: str, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except ValueError as error:
            raise errors.ConnectionFailed(
                f"{self.endpoint.url}{path}: the answer is not what a Jupyter server sends: {error}",
                name="NotJupyter",
                retryable=False,
                hint="give the base address of a Jupyter server: lecoder-cgpu sessions add NAME --url URL",
            ) from error
