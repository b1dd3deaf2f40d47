"""Names from outside stay one part of an address."""

from __future__ import annotations

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.net.addresses import segment, segments


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a-b.c", "a-b.c"),
        ("../x", "..%2Fx"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("\ud800", "%3F"),
        ("%2e", "%252e"),
        ("é", "%C3%A9"),
    ],
)
def test_a_name_is_one_part(name: str, expected: str) -> None:
    assert segment(name) == expected


@pytest.mark.parametrize("path", ["", ".", "..", "a/../b", "operations//x"])
def test_directions_are_refused(path: str) -> None:
    with pytest.raises(errors.UnexpectedAnswer):
        segments(path)
    assert segments("operations/a b") == "operations/a%20b"
