"""The documents of `kernel` and `sessions`."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Held, Optional, SessionRef, known
from .keeper import LeaseInfo
from .runs import Released

KernelState = Literal[
    "none", "starting", "idle", "busy", "restarting", "autorestarting", "terminating", "dead", "unknown"
]


def kernel_state(word: str) -> KernelState:
    """The state of a kernel as a server tells it."""
    return known(word, KernelState, "unknown")


class KernelInfo(Struct, kw_only=True):
    """The session's kernel. `state` is Jupyter's execution state, or `none` if no kernel was started yet. `name` is
    that of its kernelspec, `language` what it runs, in small letters."""

    id: str | None = None
    state: KernelState = "none"
    execution_count: int | None = field(name="executionCount", default=None)
    connections: int | Optional = UNSET
    last_activity: str | Optional = field(name="lastActivity", default=UNSET)
    name: str | Optional = UNSET
    language: str | Optional = UNSET


class KernelDocument(Struct, kw_only=True):
    """The document of `kernel status`, `kernel interrupt` and `kernel restart`."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    kernel: KernelInfo
    action: Literal["interrupted", "restarted"] | Optional = UNSET
    held: list[Held] | Optional = UNSET


class KernelChoice(Struct, kw_only=True):
    """A kernel that the server can start. `name` is what --kernel-name takes; `language` is in small letters, and empty
    if the server does not tell. `isChosen`: the session's own; `isDefault`: the server's default. `state` and `id` are
    of the kernel of that kind that the session has started, if it runs."""

    name: str
    language: str
    display_name: str = field(name="displayName")
    is_chosen: bool = field(name="isChosen", default=False)
    is_default: bool = field(name="isDefault", default=False)
    id: str | Optional = UNSET
    state: KernelState | Optional = UNSET


class KernelList(Struct, kw_only=True):
    """The document of `kernel list`."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionRef
    kernels: list[KernelChoice]
    held: list[Held] | Optional = UNSET


class RuntimeRef(Struct, kw_only=True):
    """The runtime of a session: its label, and the model of its accelerator."""

    label: str
    accelerator: str
    endpoint: str
    url: str | Optional = UNSET


Origin = Literal["ours", "another-machine", "browser", "elsewhere"]


class SessionDocument(Struct, kw_only=True):
    """One entry of `sessions list`.

    `status`: `active` (the one that plain commands use), `idle` (reachable), `stale` (gone), `unreachable`, `starting`
    (being allocated), `closing` (Colab was told to end it, and still lists it; or its start was interrupted, and what
    may still come of it is given back).

    `origin` is for Colab's runtimes: `ours`, or a runtime without a session here (`id` and `name` are its endpoint):
    also `ours` if a session had it that has it no more (it was lost, or given back, and is listed again), started by
    this tool on `another-machine`, by a `browser` or another program, or `elsewhere` if it does not tell. `account` is
    whose runtime it is, or `unknown`, where runtimes belong to an account.
    """

    id: str
    name: str
    label: str
    backend: str
    account: str | Optional = UNSET
    runtime: RuntimeRef
    variant: str
    created_at: str | Optional = field(name="createdAt", default=UNSET)
    last_used_at: str | Optional = field(name="lastUsedAt", default=UNSET)
    is_active: bool = field(name="isActive")
    status: Literal["active", "idle", "stale", "unreachable", "starting", "closing"]
    kernel: KernelInfo | Optional = UNSET
    lease: LeaseInfo | Optional = UNSET
    origin: Origin | Optional = UNSET
    high_ram: bool | Optional = field(name="highRam", default=UNSET)


class SessionStats(Struct, kw_only=True):
    """`sessions list --stats`. `account` is the one whose runtimes are counted with the sessions, or `unknown`."""

    total_sessions: int = field(name="totalSessions")
    active_sessions: int = field(name="activeSessions")
    connected_sessions: int = field(name="connectedSessions")
    stale_sessions: int = field(name="staleSessions")
    max_sessions: int | None = field(name="maxSessions", default=None)
    tier: str | None = None
    account: str | Optional = UNSET


class SessionAdded(Struct, kw_only=True):
    """`sessions add`, `create`, `ensure`, `adopt` and `rename`. `fresh`: its runtime was started just now."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    session: SessionDocument
    fresh: bool | Optional = UNSET
    held: list[Held] | Optional = UNSET


class SessionSwitched(Struct, kw_only=True):
    """`sessions switch`: the session that commands use from now on."""

    switched: Literal[True] = True
    session_id: str = field(name="sessionId")
    label: str
    account: str | Optional = UNSET
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    held: list[Held] | Optional = UNSET


class SessionClosed(Struct, kw_only=True):
    """`released` says what ended: `runtime` (Colab's; its listing confirms it), `requested` (Colab was told, and still
    lists it), `server` (local), `kernels` (jupyter), `nothing` (already gone) or `unknown` (the session was forgotten
    with --force, and what it held may go on). `ended` are the runs that were under way on it, as far as it could be
    asked."""

    deleted: Literal[True] = True
    session_id: str = field(name="sessionId")
    name: str
    account: str | Optional = UNSET
    released: Released
    kernels: list[str] = field(default_factory=list)
    ended: list[str] | Optional = UNSET


class SessionsClosed(Struct, kw_only=True):
    """`sessions close`: the first session closed in the predecessor's fields, all of them in `closed`.

    `held` are the Colab runtimes that the account holds after that, or may hold, by endpoint, if Colab was asked.
    `wholeAccount` is true if these are all of them, those of browsers and other machines included, by Colab's own
    listing: with an empty `held`, that proves that nothing costs any more. It is absent if nobody could be asked.
    """

    deleted: bool
    session_id: str | Optional = field(name="sessionId", default=UNSET)
    closed: list[SessionClosed]
    held: list[str] | Optional = UNSET
    whole_account: bool | Optional = field(name="wholeAccount", default=UNSET)
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)


class SessionsCleaned(Struct, kw_only=True):
    """`sessions clean`: the ids of the records that were removed, and those kept because we could not tell. `account`
    is the one that was asked, or `unknown`."""

    removed: list[str]
    kept: list[str] = field(default_factory=list)
    dry_run: bool = field(name="dryRun", default=False)
    account: str | Optional = UNSET
    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    held: list[Held] | Optional = UNSET


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "sessions-list": list[SessionDocument],
    "sessions-stats": SessionStats,
    "sessions-add": SessionAdded,
    "sessions-switch": SessionSwitched,
    "sessions-close": SessionsClosed,
    "sessions-clean": SessionsCleaned,
    "kernel": KernelDocument,
    "kernel-list": KernelList,
}
