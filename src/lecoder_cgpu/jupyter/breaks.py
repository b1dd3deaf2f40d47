"""Sockets to one server that break off soon after they were opened: how long to wait before the next one, and an end.

A line may take the handshake and break at each large frame, or after some kilobytes. Whoever reads over it connects
again, asks the same again, and would open hundreds of sockets a minute, for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .. import errors
from ..net import retry
from ..net.websocket import WebSocket
from .message_size import TOO_BIG, MessageSize

SOON = 10.0  # seconds; what lives longer has not broken off soon
ENOUGH = 1 << 20  # bytes; what has brought so many has not either
PAUSES = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0)  # seconds before the next socket, by how many have broken off
MOST = 20  # of them in a row, with nearly three minutes of pauses between them
SMALLER_AFTER = 3  # of them, from which on smaller messages are tried
TOLD = 8.0  # seconds of a pause that is told


class Breaks:
    """Shared by all sockets to one server.

    Args:
        size: of its messages; made smaller, for this process alone, where that may be the reason.
    """

    def __init__(self, size: Callable[[], MessageSize], sleep: Callable[[float], None] = time.sleep) -> None:
        self._size = size
        self._sleep = sleep
        self._open: list[tuple[WebSocket, float]] = []
        self._count = 0

    def opened(self, socket: WebSocket) -> None:
        """Take notice of a socket that was opened now."""
        self._open.append((socket, time.monotonic()))

    def pause(self) -> None:
        """Wait before another socket is opened, as long as those before it demand.

        Raises:
            errors.ConnectionFailed: (`ContactLost`) too many of them broke off.
        """
        self._look()
        if self._count >= MOST:
            self._count = len(PAUSES)
            raise errors.ConnectionFailed(
                f"the connection to the runtime breaks off again and again: {MOST} times now, soon after it is made",
                name="ContactLost",
                retryable=False,
                hint="repeat the same command later; lecoder-cgpu doctor --field --session NAME shows what passes",
            )
        seconds = PAUSES[min(self._count, len(PAUSES) - 1)]
        if seconds >= TOLD and retry.tell is not None:
            retry.tell(f"the connection breaks off soon after it is made: the next attempt comes in {seconds:.0f} s")
        if seconds:
            self._sleep(seconds)

    def _look(self) -> None:
        """Count the sockets that have ended since the last look, by how they did."""
        now = time.monotonic()
        for item in list(self._open):
            socket, since = item
            if now - since > SOON or socket.came > ENOUGH:
                self._count = 0
                self._open.remove(item)
            elif socket.close_code is not None:
                self._open.remove(item)
                if socket.ours or socket.close_code == TOO_BIG:  # which is answered with smaller messages anyway
                    continue
                self._count += 1
                if self._count >= SMALLER_AFTER:
                    self._size().take_less(lasting=False)
