"""Functions on their way to a runtime: as source, for a Python of another version."""

from __future__ import annotations

import io
import math
import os.path
import pickle
import threading
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from lecoder_cgpu import errors, remote
from lecoder_cgpu.guest import remote_call
from lecoder_cgpu.remote_functions import travel

LIMIT = 3


def area(radius: float) -> float:
    return math.pi * radius**2


def name_of(path: str, *, parts: int = LIMIT) -> tuple[str, float]:
    """Uses a module by a dotted name, another function, and a default from this file."""
    return os.path.basename(path), area(parts)


@remote
def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def there(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a runtime makes of the source."""
    source = travel.of(function)
    return remote_call.of_source(source.text, pickle.loads(pickle.dumps(source.values)))


def test_a_function_travels_with_what_it_uses() -> None:
    assert there(name_of)("a/b") == ("b", area(3))
    assert there(name_of)("a/b", parts=1) == ("b", math.pi)


def test_a_remote_function_is_a_plain_one_there() -> None:
    """As source and as byte code: it calls itself there."""
    for made in (there(factorial), pickle.loads(cloudpickle.dumps(factorial.__wrapped__))):
        assert made(5) == 120
        assert made.__class__.__name__ == "function"
    assert factorial.local(1) == 1


def test_what_cannot_travel_as_source_says_why() -> None:
    factor = 2

    def scaled(value: int) -> int:
        return value * factor

    for function, reason in ((scaled, "variables of the function around"), (len, "no function")):
        with pytest.raises(travel.Unfit, match=reason):
            travel.of(function)


def test_what_cannot_be_pickled_says_so() -> None:
    for pack in (travel.pack, travel.pack_data):
        with pytest.raises(errors.UsageError) as refused:
            pack((area, threading.Lock()), io.BytesIO())
        assert refused.value.name == "NotPicklable"


def test_functions_of_this_program_travel_by_value() -> None:
    """The runtime does not have the module that they are in."""
    target = io.BytesIO()
    travel.pack((area, ()), target)
    made = pickle.loads(target.getvalue())[0]
    assert made(1) == math.pi
    assert made is not area


def test_an_exception_of_any_signature_can_be_made_again() -> None:
    class Odd(Exception):
        def __init__(self, first: int, second: int) -> None:
            super().__init__(f"{first}/{second}")

    assert not remote_call.can_travel(Odd(1, 2))
    assert remote_call.can_travel((Odd, Odd(1, 2).args, {}))
    assert remote_call.can_travel(KeyError("k"))
