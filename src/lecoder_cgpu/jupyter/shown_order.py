"""In which order the outputs of a run were shown, for documents that were asked for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..models.runs import OrderedOutput, Run, Truncated

MOST = 1000  # pieces; neighbours of one stream are one piece

Kind = Literal["stdout", "stderr", "display", "error"]


class ShownOrder:
    """The pieces of a run, or of a part of one."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Kind, int]] = []  # the bytes of a stream; of the others which one it is
        self.left_out = 0

    def add(self, of: Kind, number: int) -> None:
        """Note bytes of a stream, or the number of a rich output or exception."""
        if self.pieces and self.pieces[-1][0] == of and of in ("stdout", "stderr"):
            self.pieces[-1] = (of, self.pieces[-1][1] + number)
        elif len(self.pieces) < MOST:
            self.pieces.append((of, number))
        else:
            self.left_out += 1


def fill(document: Run, parts: Iterable[tuple[ShownOrder, int, int]]) -> None:
    """Put the order into a run's document whose outputs are there already.

    Args:
        parts: each with the numbers of rich outputs and of exceptions in those before it.
    """
    whole = ShownOrder()
    for part, displays, failures in parts:
        for of, number in part.pieces:
            whole.add(of, number + {"display": displays, "error": failures}.get(of, 0))
        whole.left_out += part.left_out
    errors = len(document.shown_errors) if isinstance(document.shown_errors, list) else 0
    document.order = []
    for of, number in whole.pieces:
        piece = OrderedOutput(of=of)
        if of in ("stdout", "stderr"):
            piece.bytes = number
        elif of == "display" or number < errors:  # another exception is the one that ended the code, or was left out
            piece.index = number
        document.order.append(piece)
    if whole.left_out:
        truncated = document.truncated if isinstance(document.truncated, Truncated) else Truncated()
        truncated.order = whole.left_out
        document.truncated = truncated
