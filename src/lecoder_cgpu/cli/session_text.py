"""Sessions in words, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UnsetType

from ..models.sessions import KernelInfo
from . import looks, times
from .looks import Cell, Table

if TYPE_CHECKING:
    from ..models.sessions import SessionClosed, SessionDocument

EMPTY = "There are no sessions."
HEADERS = ("", "NAME", "ID", "KIND", "STATUS", "KERNEL", "LAST USED", "WHERE")


def table(documents: Sequence[SessionDocument], empty: str) -> Table:
    """Sessions in rows; `empty` is what is said of none. Where a runtime is stays whole: `sessions adopt` needs it."""
    rows = [
        (
            "*" if item.is_active else "",
            Cell(item.name, "bold"),
            "" if item.id == item.name else item.id[:8],
            item.backend if isinstance(item.origin, UnsetType) else item.label,
            looks.state(item.status),
            item.kernel.state if isinstance(item.kernel, KernelInfo) else "-",
            times.ago(item.last_used_at) if isinstance(item.last_used_at, str) else "",
            _where(item),
        )
        for item in documents
    ]
    return Table(HEADERS, rows, empty=empty, gives_way=("NAME",), spare=("ID", "KERNEL", "LAST USED"))


def _where(item: SessionDocument) -> str:
    if isinstance(item.origin, UnsetType):  # it is not leased
        return item.runtime.url if isinstance(item.runtime.url, str) else item.runtime.endpoint
    if item.origin == "ours":
        return item.runtime.endpoint + (" (ours, in no session)" if item.id == item.runtime.endpoint else "")
    return f"{item.runtime.endpoint} ({item.origin})"


def told(item: SessionClosed, label: str) -> str:
    """What became of a session, for people. `label` is the name of the place that its runtime came from."""
    texts = {
        "runtime": "its runtime was given back",
        "requested": f"{label} was told to end its runtime, and still lists it",
        "server": "its server was ended",
        "kernels": "our kernels were ended",
        "nothing": "nothing was running",
        "unknown": "forgotten; what it held may go on, and cost",
    }
    return f"closed {item.name}: {texts[item.released]}"
