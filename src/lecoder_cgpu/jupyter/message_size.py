"""How large a message to or from a runtime may be (protocol J22, C35): known, or found out by sockets that close."""

from __future__ import annotations

from collections.abc import Callable

MOST = 10 << 20  # bytes of a message to a stock server
LEAST = 16 << 10  # what is not tried to be made smaller
GUESS = 512 << 10  # bytes of a message of theirs that was too large, when nothing tells
TOO_BIG = 1009  # the code with which a socket is closed for a message that is too large


class MessageSize:
    """Shared by all sockets to one runtime.

    Args:
        most: bytes that pass, as far as known.
        on_less: told when less turns out to pass.
    """

    def __init__(self, most: int | None = None, on_less: Callable[[int], None] = lambda most: None) -> None:
        self.most = MOST if most is None else max(min(most, MOST), LEAST)
        self.on_less = on_less

    @property
    def is_small(self) -> bool:
        """Whether it is less than what a stock server takes."""
        return self.most < MOST

    @property
    def content(self) -> int:
        """How many bytes of content fit into a message as base64, beside everything else."""
        return (self.most - (4 << 10)) * 3 // 4

    def take_less(self, size: int = GUESS, *, lasting: bool = True) -> bool:
        """After a message of this many bytes closed a socket: try half of it from now on. False where that is too
        little to be worth it. `lasting`: tell of it, for it is certain that the size was the reason."""
        less = max(min(self.most, size) // 2, LEAST)
        if less >= self.most:
            return False
        self.most = less
        if lasting:
            self.on_less(less)
        return True
