"""The process that a runtime was started for (`--rm`), and whether it is still there."""

from __future__ import annotations

import os
import platform

from ..models.history import Watcher
from ..system import process_identity
from .session_store import Owner


def this_process() -> Owner:
    """The command that runs now, as an owner."""
    return Owner(pid=os.getpid(), identity=process_identity.of(os.getpid()) or "", host=platform.node())


def is_gone(owner: Owner | Watcher | None) -> bool:
    """Whether it is certain that the owner is gone. Another machine's processes cannot be seen from here."""
    if owner is None or owner.host != platform.node():
        return False
    return not process_identity.is_same(owner.pid, owner.identity)
