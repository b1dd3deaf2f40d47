"""The prepared processes of this user: what they have done, and their end."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Literal

from . import messages

PATIENCE = 1.0  # seconds for an answer
MOST = 3  # processes of a kind for one user: each has some 50 MB


def ask(word: Literal["counts", "stop"], *, kept: bool = False) -> list[str]:
    """What each process says: its number, and how many commands it has `served` or `declined`. `stop` lets it end, when
    the commands that it does have ended.

    Args:
        kept: ask those that keep connections open instead.
    """
    try:
        folder = messages.folder()
    except OSError:
        return []
    found = []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".lock") and name.endswith(messages.KEPT) == kept:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(messages.address(folder, name))
                connection.sendall(messages.framed(os.fsencode(word)))
                with connection.makefile("r", encoding="utf-8", errors="replace") as lines:
                    found.append(lines.readline().strip())
    os.close(folder)
    return [item for item in found if item]


def has_room(folder: int, kind: str = "") -> bool:
    """Whether there are few processes whose names end so. What killed ones have left is removed."""

    def locked() -> list[str]:
        names = [item.removesuffix(".lock") for item in os.listdir(folder) if item.endswith(".lock")]
        return [item for item in names if item.endswith(messages.KEPT) == bool(kind)]

    if len(locked()) > MOST:
        for name in locked():
            with messages.owning(folder, name) as owned, contextlib.suppress(FileNotFoundError):
                if owned:
                    os.unlink(name, dir_fd=folder)
    return len(locked()) <= MOST
