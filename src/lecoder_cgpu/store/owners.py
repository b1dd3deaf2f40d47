"""The process that a runtime was started for (`--rm`), or that asks for one, and whether it is still there."""

from __future__ import annotations

import os
import platform

from ..models.history import Watcher
from ..system import process_identity
from .session_store import Owner, Record


def this_process() -> Owner:
    """The command that runs now, as an owner."""
    return Owner(pid=os.getpid(), identity=process_identity.of(os.getpid()) or "", host=platform.node())


def is_gone(owner: Owner | Watcher | None) -> bool:
    """Whether it is certain that the owner is gone. Another machine's processes cannot be seen from here."""
    if owner is None or owner.host != platform.node():
        return False
    return not process_identity.is_same(owner.pid, owner.identity)


def is_unwanted(record: Record) -> bool:
    """Whether nobody wants what comes of a request for a runtime: it was taken back, or who asked is gone before there
    was an answer."""
    allocation = record.allocation
    if allocation is None or allocation.state != "asked":
        return False
    return allocation.unwanted or (allocation.sent and is_gone(allocation.asked_by))
