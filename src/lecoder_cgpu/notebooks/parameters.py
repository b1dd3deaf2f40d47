"""Parameters of notebooks: what is typed or read from a file, and how it becomes Python source. Pure.

Source: papermill's convention (values that look like numbers or constants become these).
"""

from __future__ import annotations

import contextlib
from typing import Any

from .. import errors


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


def check_name(name: str) -> None:
    """Refuse a name that cannot be a variable of Python.

    Raises:
        errors.UsageError: it is not a name of a variable.
    """
    import keyword

    if not name.isidentifier() or keyword.iskeyword(name):
        raise errors.UsageError(
            f"parameter {name!r}: that is no name of a variable",
            hint="-p NAME=VALUE, with a name of letters, digits and _",
        )


def literal(item: Any) -> str:
    """A value as Python source."""
    if isinstance(item, float) and (item != item or item in (float("inf"), float("-inf"))):
        return f"float({str(item)!r})"
    if isinstance(item, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(entry)}" for key, entry in item.items()) + "}"
    if isinstance(item, list):
        return "[" + ", ".join(map(literal, item)) + "]"
    return repr(item) if item is None or isinstance(item, (bool, int, float, str)) else repr(str(item))


def source(values: dict[str, Any]) -> str:
    """The cell that sets the parameters."""
    return "# Parameters\n" + "\n".join(f"{name} = {literal(item)}" for name, item in values.items())
