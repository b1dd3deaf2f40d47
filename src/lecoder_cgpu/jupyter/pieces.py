"""Text that is too long for one message: as expressions that are small enough, and what stands for the whole then.

The expressions are evaluated by a Python kernel, in order (`guest/pieces.py` is what keeps them there).
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from functools import cache
from typing import NamedTuple

from ..guest import pieces as there
from ..guest.pieces import STANDS_FOR

ROOM = 4 << 10  # bytes of a message besides a piece, whatever else is in it


class Pieces(NamedTuple):
    """A text in pieces: `expressions` to be evaluated before `whole` is, which then is the text. `line` stands for it
    as code that is to be executed."""

    expressions: list[str]
    whole: str
    line: str


@cache
def _source() -> str:
    with open(there.__file__, encoding="utf-8") as file:
        return file.read()


@cache
def _name() -> str:
    return f"lecoder_pieces_{hashlib.sha256(_source().encode()).hexdigest()[:16]}"


def cut(text: str, key: str, most: int) -> Pieces:
    """Cut a text for messages of at most this many bytes.

    Args:
        key: letters and digits that stand for this text and this attempt.
    """
    packed = base64.b64encode(zlib.compress(text.encode("utf-8", "surrogatepass"))).decode()
    size = max(most - ROOM, ROOM)
    parts = [packed[at : at + size] for at in range(0, len(packed), size)]
    module = f"__import__('sys').modules[{_name()!r}]"
    loader = f"import sys, types\nif {_name()!r} not in sys.modules:\n    made = types.ModuleType({_name()!r})\n"
    loader += f"    exec({_packed_source()}, made.__dict__)\n    sys.modules[{_name()!r}] = made\n"
    loader += f"sys.modules[{_name()!r}].serve(names)\n"
    expressions = [f"exec({loader!r}, {{'names': globals()}})"]
    expressions += [f"{module}.keep({key!r}, {number}, {part!r})" for number, part in enumerate(parts)]
    return Pieces(expressions, f"{module}.whole({key!r}, {len(parts)})", f"{STANDS_FOR}({key!r}, {len(parts)})")


@cache
def _packed_source() -> str:
    packed = base64.b64encode(zlib.compress(_source().encode(), 9)).decode()
    return f"__import__('zlib').decompress(__import__('base64').b64decode('{packed}')).decode()"
