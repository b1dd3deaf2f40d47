"""Starts a process that stays: detached, with nothing of ours but what it is handed on its stdin."""

from __future__ import annotations

import os
import sys

from . import likeness


def start(words: list[str], handed: bytes) -> None:
    """Start this interpreter with these words. `handed` is what its stdin holds, at most what a pipe holds unread.

    Raises:
        OSError: it cannot be started.
    """
    reader, writer = os.pipe()
    try:
        os.write(writer, handed)
    finally:
        os.close(writer)
    try:
        null = ("/dev/null", os.O_RDWR, 0)
        actions = [(os.POSIX_SPAWN_DUP2, reader, 0), *((os.POSIX_SPAWN_OPEN, number, *null) for number in (1, 2))]
        kept = {name: value for name, value in os.environ.items() if likeness.is_kept(name)}
        os.posix_spawn(sys.executable, words, kept, file_actions=actions + _inherited(reader), setsid=True)
    finally:
        os.close(reader)


def _inherited(reader: int) -> list[tuple[int, int]]:
    """Close what our parent has left open for us: somebody may wait until all copies of it are closed."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        try:
            if number > 2 and number != reader and os.get_inheritable(number):
                found.append((os.POSIX_SPAWN_CLOSE, number))
        except OSError:
            continue
    return found
