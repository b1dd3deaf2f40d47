"""Text that was too long for one message, put together from its pieces.

Runs on the runtime (Python 3.8 and newer, standard library only), in whatever kernel is sent such text. The code of a
run travels like this, too: what the kernel is asked to execute is then a line that only stands for it, and which
IPython is told to read as the whole.
"""

from __future__ import annotations

import base64
import re
import sys
import zlib
from typing import Any

KEPT = 4  # texts; of older ones, nobody will send the rest
STANDS_FOR = "_lecoder_whole"  # begins the line that stands for code; in error messages people may see it

_texts: dict[str, dict[int, str]] = {}


def keep(key: str, number: int, piece: str) -> None:
    """Take a piece of the text of that key; taking it again does no harm."""
    _texts.setdefault(key, {})[number] = piece
    for old in list(_texts)[:-KEPT]:
        del _texts[old]


def whole(key: str, count: int) -> str:
    """The text of that key, which came in this many pieces."""
    found = _texts.get(key, {})
    if len(found) != count:
        raise RuntimeError("the code has not arrived as a whole, so nothing of it was executed")
    packed = base64.b64decode("".join(found[number] for number in sorted(found)))
    return zlib.decompress(packed).decode("utf-8", "surrogatepass")


def swap(lines: list[str]) -> list[str]:
    """Read the code for the line that stands for it: what IPython does with a cell before all else."""
    found = re.match(STANDS_FOR + r"\('(\w+)', (\d+)\)", lines[0]) if lines else None
    return lines if found is None else whole(found.group(1), int(found.group(2))).splitlines(True)


def serve(names: dict[str, Any]) -> None:
    """Let the kernel know the line; where it is not IPython's, the line itself executes the code."""

    def execute(key: str, count: int) -> None:
        exec(compile(whole(key, count), "<code>", "exec"), names)  # noqa: S102

    try:
        transforms = sys.modules["IPython"].get_ipython().input_transformers_cleanup
    except (KeyError, AttributeError):
        names[STANDS_FOR] = execute
    else:
        if swap not in transforms:
            transforms.insert(0, swap)
