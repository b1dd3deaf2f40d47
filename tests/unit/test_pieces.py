"""Text that is too long for one message: cut, kept, put together, and executed for the line that stands for it."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from lecoder_cgpu.jupyter import pieces
from lecoder_cgpu.jupyter.message_size import LEAST, MOST, MessageSize

TEXT = f"answer = {os.urandom(20_000).hex()!r}\nodd = 'ü€\\udc80'\n"


def evaluated(text: str, expressions: list[str], names: dict[str, Any]) -> Any:
    for expression in expressions:
        eval(expression, names)
    return eval(text, names)


def test_pieces_are_small_and_make_the_whole() -> None:
    cut = pieces.cut(TEXT, "k1", 16_000)
    assert len(cut.expressions) > 2
    assert max(map(len, cut.expressions)) <= 16_000
    again = [cut.expressions[0], *reversed(cut.expressions[1:]), cut.expressions[1]]  # in any order, and twice
    assert evaluated(cut.whole, again, {}) == TEXT


def test_the_line_that_stands_for_code() -> None:
    """Where IPython is not there to read it, it executes the code itself."""
    cut = pieces.cut(TEXT, "k2", 16_000)
    names: dict[str, Any] = {}
    evaluated(cut.line, cut.expressions, names)
    assert names["odd"] == "ü€\udc80"
    assert f"answer = {names['answer']!r}" in TEXT


def test_a_piece_that_is_missing() -> None:
    """Nothing is executed then."""
    cut = pieces.cut(TEXT, "k3", 16_000)
    with pytest.raises(RuntimeError, match="not arrived as a whole"):
        evaluated(cut.line, cut.expressions[:-1], {})


def test_ipython_reads_the_whole_for_the_line() -> None:
    cut = pieces.cut("%%magic\n1 / 0\n", "k4", MOST)
    evaluated("None", cut.expressions, {})
    (there,) = [module for name, module in sys.modules.items() if name.startswith("lecoder_pieces_")]
    assert there.swap([cut.line]) == ["%%magic\n", "1 / 0\n"]
    assert there.swap(["other\n"]) == ["other\n"]
    assert there.swap([]) == []


def test_what_is_kept_is_bounded() -> None:
    cuts = [pieces.cut("x", f"n{number}", MOST) for number in range(9)]
    for cut in cuts:
        evaluated("None", cut.expressions, {})
    assert evaluated(cuts[-1].whole, [], {}) == "x"
    with pytest.raises(RuntimeError):
        evaluated(cuts[0].whole, [], {})


def test_sizes_are_halved_to_an_end() -> None:
    told: list[int] = []
    size = MessageSize(on_less=told.append)
    assert size.take_less(300_000)  # that of the message which was too large
    assert size.most == 150_000
    while size.take_less():
        pass
    assert told == [150_000, 75_000, 37_500, 18_750, LEAST]
    assert not size.take_less(5)
    assert 0 < size.content < size.most * 3 // 4
    assert MessageSize(50 << 20).most == MOST
