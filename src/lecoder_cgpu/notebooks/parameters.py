"""Parameters of notebooks as they are typed. `syntax` writes them in each language. Pure.

Source: papermill's convention (values that look like numbers or constants become these).
"""

from __future__ import annotations

import contextlib
from typing import Any


def value(text: str) -> Any:
    """A parameter's value as it was typed: a number, True, False or None, a list or mapping in JSON, else the text."""
    import json

    constants = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
    if text in constants:
        return constants[text]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    if text[:1] in ("[", "{", '"'):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return text
