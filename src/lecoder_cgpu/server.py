"""What a Jupyter server can do for us over REST, typed. Running code is not here: that needs a socket (`kernel`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
from msgspec import Struct, field

from . import errors
from .backends import Endpoint
from .transport import Http, WebSocket
from .wire import V1_SUBPROTOCOL

KERNEL_NAME = "python3"

T = TypeVar("T")


class Kernel(Struct, kw_only=True):
    """A kernel as the server describes it; `execution_state` may be missing on a server that has not looked yet."""

    id: str
    name: str = ""
    execution_state: str = "unknown"
    connections: int | None = None
    last_activity: str | None = None


class NotebookSession(Struct, kw_only=True):
    """Jupyter's own "session": a path that owns a kernel. The path is what makes a kernel findable again."""

    id: str
    path: str = ""
    kernel: Kernel | None = None


class KernelSpecs(Struct, kw_only=True):
    default: str = KERNEL_NAME
    kernelspecs: dict[str, Any] = field(default_factory=dict)


class Version(Struct, kw_only=True):
    version: str


class Server:
    """REST calls to one Jupyter server. The HTTP client is made on the first call: a warm run never needs it.

    Every method raises `errors.AuthError`, `errors.NotFoundError` or `errors.ConnectionFailed` as transport has it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._http: Http | None = None

    @property
    def http(self) -> Http:
        if self._http is None:
            self._http = Http(self.endpoint.url, self.endpoint.headers)
        return self._http

    def version(self) -> str:
        """The server's version; also the cheapest proof that there is a Jupyter server at that address."""
        return self._get("api", Version).version

    def kernels(self) -> list[Kernel]:
        """Every kernel of the server; asks for the token, which `version` does not."""
        return self._get("api/kernels", list[Kernel])

    def kernel(self, kernel_id: str) -> Kernel:
        return self._get(f"api/kernels/{quote(kernel_id)}", Kernel)

    def sessions(self) -> list[NotebookSession]:
        return self._get("api/sessions", list[NotebookSession])

    def open_session(self, path: str) -> tuple[NotebookSession, bool]:
        """The session at `path` with its kernel, and whether this call started that kernel.

        An existing session whose kernel is gone is replaced.
        """
        existing = next((item for item in self.sessions() if item.path == path), None)
        if existing is not None and existing.kernel is not None:
            try:
                self.kernel(existing.kernel.id)
            except errors.NotFoundError:
                self._delete(f"api/sessions/{quote(existing.id)}")
            else:
                return existing, False
        try:
            return self._start_session(path, KERNEL_NAME), True
        except errors.ConnectionFailed as error:
            # The server may know Python by another name; it tells which kernel is its default.
            default = self._get("api/kernelspecs", KernelSpecs).default
            if default == KERNEL_NAME:
                raise error
            return self._start_session(path, default), True

    def interrupt(self, kernel_id: str) -> None:
        """Interrupt what the kernel executes now (SIGINT)."""
        self.http.request("POST", f"api/kernels/{quote(kernel_id)}/interrupt")

    def restart(self, kernel_id: str) -> None:
        """Restart the kernel: its variables are gone, its id stays."""
        self.http.request("POST", f"api/kernels/{quote(kernel_id)}/restart")

    def delete_kernel(self, kernel_id: str) -> bool:
        """End a kernel; False when it was gone already."""
        try:
            self._delete(f"api/kernels/{quote(kernel_id)}")
        except errors.NotFoundError:
            return False
        return True

    def read_file(self, path: str, start: int, end: int) -> Iterator[bytes | bytearray]:
        """A piece of a file below the server's root, as its bytes come (see `Http.read`)."""
        return self.http.read(f"files/{quote(path)}", start, end)

    def open_channels(self, kernel_id: str, session_id: str) -> WebSocket:
        """A socket to the kernel. Reconnecting with the same `session_id` makes the server replay what it buffered."""
        parts = urlsplit(self.endpoint.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        path = f"{parts.path}api/kernels/{quote(kernel_id)}/channels"
        url = urlunsplit((scheme, parts.netloc, path, f"session_id={session_id}", ""))
        # With the v1 subprotocol the server passes messages through as they are, instead of parsing all of them.
        return WebSocket.connect(url, self.endpoint.headers, subprotocols=[V1_SUBPROTOCOL])

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    def _start_session(self, path: str, kernel_name: str) -> NotebookSession:
        name = path.rpartition("/")[2]
        body = {"path": path, "name": name, "type": "notebook", "kernel": {"name": kernel_name}}
        answer = self.http.request("POST", "api/sessions", json=body)
        return self._decode("api/sessions", answer, NotebookSession)

    def _get(self, path: str, kind: type[T]) -> T:
        return self._decode(path, self.http.request("GET", path), kind)

    def _delete(self, path: str) -> None:
        self.http.request("DELETE", path)

    def _decode(self, path: str, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise errors.ConnectionFailed(
                f"{self.endpoint.url}{path}: the answer is not what a Jupyter server sends: {error}",
                name="NotJupyter",
                retryable=False,
                hint="give the base address of a Jupyter server",
            ) from error
