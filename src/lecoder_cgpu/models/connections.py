"""The documents of `connect`, `forward`, `serve` and `ssh`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from ..errors import Error
from .base import ErrorInfo, Held, Optional, SessionRef


class SshConfig(Struct, kw_only=True):
    """`ssh-config`: a block for OpenSSH's configuration, and the key that it names."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    host: str
    identity_file: str = field(name="identityFile")
    config: str


Via = Literal["tunnel", "proxy", "path"]


class ForwardedPort(Struct, kw_only=True):
    """One port of `forward`: `remote` on the runtime, `local` and its `address` on this machine."""

    remote: int
    local: int
    address: str


class ListeningEvent(Struct, kw_only=True, tag_field="type", tag="listening"):
    """`forward --events`: connections are accepted from now on; `via` says how they travel."""

    session: SessionRef
    via: Via = "tunnel"
    ports: list[ForwardedPort]


class Forwarded(Struct, kw_only=True):
    """`forward`, after it ended. Ctrl-C is the normal end and not a failure."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    via: Via = "tunnel"
    ports: list[ForwardedPort]
    connections: int
    reconnections: int | Optional = UNSET
    seconds: float


class ServingEvent(Struct, kw_only=True, tag_field="type", tag="serving"):
    """`serve --events`: the server is there from now on, for those who show the token."""

    session: SessionRef
    address: str
    token: str


class Served(Struct, kw_only=True):
    """`serve`, after it ended. Ctrl-C is the normal end and not a failure."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    address: str
    connections: int
    seconds: float


class McpConfig(Struct, kw_only=True):
    """`mcp --config CLIENT`: the `content` to paste into the `file` where that client looks for servers."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    client: str
    file: str
    content: str


class ServerCard(Struct, kw_only=True):
    """`mcp --card`, and `/.well-known/mcp/server-card.json` of `mcp --http`: what the server is, before one connects.

    `url` and `authentication` are null where it is not reached over HTTP. `tools` are their descriptions by name.
    """

    name: str
    version: str
    description: str
    transports: list[Literal["stdio", "streamable-http"]]
    url: str | None = None
    authentication: Literal["bearer"] | None = None
    tools: dict[str, str]


class McpEvent(Struct, kw_only=True, tag_field="type", tag="serving"):
    """`mcp --http --events`: the server is there from now on, for those who show the token."""

    address: str
    token: str


class Connected(Struct, kw_only=True):
    """`connect` and `ssh`, after they ended.

    `remoteExitCode` is the shell's exit status; it is absent if we do not know it or the shell still runs (`detached`;
    `next` is the command that attaches again). `cells` counts the cells that were run in kernel mode.
    """

    status: Literal["ok", "error"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    exit_code: int = field(name="exitCode", default=0)
    session: SessionRef
    mode: Literal["terminal", "kernel", "ssh"]
    seconds: float
    terminal: str | Optional = UNSET
    remote_exit_code: int | Optional = field(name="remoteExitCode", default=UNSET)
    detached: bool | Optional = UNSET
    next: str | Optional = UNSET
    reconnections: int | Optional = UNSET
    cells: int | Optional = UNSET
    failed_cells: int | Optional = field(name="failedCells", default=UNSET)
    error: ErrorInfo | Optional = UNSET
    held: list[Held] | Optional = UNSET
    notice: str | Optional = UNSET

    def fail(self, error: Error) -> None:
        """Report that it ended with `error`."""
        self.status = "error"
        self.error_code = error.code
        self.exit_code = error.exit_status
        self.error = ErrorInfo.of(error)


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "connect": Connected,
    "forward": Forwarded,
    "ssh-config": SshConfig,
    "forward-event": ListeningEvent,
    "serve": Served,
    "serve-event": ServingEvent,
    "mcp-config": McpConfig,
    "mcp-card": ServerCard,
    "mcp-event": McpEvent,
}
