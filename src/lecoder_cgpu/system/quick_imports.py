"""Imports of large libraries without the parts of them that cost most and are not used here."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_ADDRESS_GRAMMAR = "rfc3987_syntax"


@contextlib.contextmanager
def without_address_grammar() -> Iterator[None]:
    """Let `jsonschema`, and what imports it, be imported without its check of international addresses.

    jupyter_server asks for that check to be installed. Importing it compiles a grammar, which takes most of the time
    that `import nbformat` (0.7 s of 0.9) and `import jupyter_server` (0.8 s of 1.1) take. Nothing here needs it, and
    jsonschema leaves it out where it is not installed, which is how it looks within the block.
    """
    hidden = _ADDRESS_GRAMMAR not in sys.modules
    if hidden:
        sys.modules[_ADDRESS_GRAMMAR] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_ADDRESS_GRAMMAR]
