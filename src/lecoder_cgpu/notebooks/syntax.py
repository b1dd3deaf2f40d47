"""Parameters in the syntax of each language: which names they may have, and how their values are written. Pure.

Every literal means what the value is. A value that a language cannot hold is refused, and not changed.
"""

from __future__ import annotations

import json
import keyword
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import errors
from ..jupyter.kernelspecs import PYTHON

_SAFE_INTEGER = 2**53  # from here on, a floating-point number does not hold every integer
_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_R_WORDS = "if else repeat while function for next break TRUE FALSE NULL Inf NaN NA in"
_JULIA_WORDS = (
    "baremodule begin break catch const continue do else elseif end export false finally for function global if import "
    "let local macro module quote return struct true try using while"
)
_SCRIPT_WORDS = (
    "await break case catch class const continue debugger default delete do else enum export extends false finally for "
    "function if import in instanceof let new null return static super switch this throw true try typeof var void "
    "while with yield"
)


def python(item: Any) -> str:
    """A value as Python source."""
    if isinstance(item, float) and not _finite(item):
        return f"float({str(item)!r})"
    if isinstance(item, dict):
        return "{" + ", ".join(f"{python(key)}: {python(entry)}" for key, entry in item.items()) + "}"
    if isinstance(item, list):
        return "[" + ", ".join(map(python, item)) + "]"
    return repr(item) if item is None or isinstance(item, (bool, int, float, str)) else repr(str(item))


def r(item: Any) -> str:
    """A value as R source: lists and mappings are lists, which may hold anything."""
    if item is None:
        return "NULL"
    if isinstance(item, bool):
        return "TRUE" if item else "FALSE"
    if isinstance(item, int):
        if abs(item) > _SAFE_INTEGER:
            raise ValueError("R has no integers that large; give it as text: -r NAME=VALUE")
        return repr(item)
    if isinstance(item, float):
        return repr(item) if _finite(item) else {"inf": "Inf", "-inf": "-Inf"}.get(str(item), "NaN")
    if isinstance(item, list):
        return "list(" + ", ".join(map(r, item)) + ")"
    if isinstance(item, dict):
        if any(not str(key) for key in item):
            raise ValueError("R has no empty names in lists")
        return "list(" + ", ".join(f"{_quoted(str(key))} = {r(entry)}" for key, entry in item.items()) + ")"
    if "\0" in str(item):
        raise ValueError("R has no character of code 0 in text")
    return _quoted(str(item))


def julia(item: Any) -> str:
    """A value as Julia source."""
    if item is None:
        return "nothing"
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float):
        return repr(item) if _finite(item) else {"inf": "Inf", "-inf": "-Inf"}.get(str(item), "NaN")
    if isinstance(item, int):
        return repr(item)
    if isinstance(item, list):
        return "Any[" + ", ".join(map(julia, item)) + "]"
    if isinstance(item, dict):
        return "Dict{String, Any}(" + ", ".join(f"{julia(str(k))} => {julia(entry)}" for k, entry in item.items()) + ")"
    return _quoted(str(item)).replace("$", r"\$")


def script(item: Any) -> str:
    """A value as JavaScript, which is TypeScript, too."""
    if isinstance(item, bool) or item is None:
        return json.dumps(item)
    if isinstance(item, int):
        return f"{item}n" if abs(item) >= _SAFE_INTEGER else repr(item)
    if isinstance(item, float):
        return repr(item) if _finite(item) else {"inf": "Infinity", "-inf": "-Infinity"}.get(str(item), "NaN")
    if isinstance(item, list):
        return "[" + ", ".join(map(script, item)) + "]"
    if isinstance(item, dict):  # in brackets, a key has no meaning of its own
        return "{" + ", ".join(f"[{json.dumps(str(key))}]: {script(entry)}" for key, entry in item.items()) + "}"
    return json.dumps(str(item))


def bash(item: Any) -> str:
    """A value as bash source: all is text there. A list is an array of texts, and nothing is an empty text."""
    if isinstance(item, dict) or (isinstance(item, list) and any(isinstance(entry, (list, dict)) for entry in item)):
        return shlex.quote(json.dumps(item))
    if isinstance(item, list):
        return "(" + " ".join(map(bash, item)) + ")"
    if isinstance(item, bool):
        return "true" if item else "false"
    text = "" if item is None else str(item)
    if "\0" in text:
        raise ValueError("bash has no character of code 0 in text")
    return shlex.quote(text)


def _finite(item: float) -> bool:
    return item == item and abs(item) != float("inf")


def _quoted(text: str) -> str:
    """Text in double quotes, with escapes that R and Julia share; what is printable stands for itself.

    Raises:
        ValueError: neither language has such text.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("half of a surrogate pair is no text there")
    known = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}

    def one(character: str) -> str:
        if character in known:
            return known[character]
        return character if character.isprintable() else rf"\U{ord(character):08x}"

    return '"' + "".join(map(one, text)) + '"'


@dataclass(frozen=True)
class Syntax:
    """How one language sets a variable: its name, the pattern of names, words that are not names, how a value is
    written, and the line that assigns. `{keyword}` there is what declares the variable in the notebook's own cell."""

    language: str
    literal: Callable[[Any], str]
    name: str = _WORD
    reserved: frozenset[str] = frozenset()
    line: str = "{name} = {value}"
    comment: str = "#"

    def allows(self, name: str) -> bool:
        """Whether a variable may have that name."""
        shaped = name.isidentifier() if self.language == PYTHON else re.fullmatch(self.name, name) is not None
        return shaped and name not in self.reserved


SYNTAX = {
    item.language: item
    for item in (
        Syntax(PYTHON, python, reserved=frozenset(keyword.kwlist)),
        Syntax("r", r, r"(?:[^\W\d_]|\.(?!\d))[\w.]*", frozenset(_R_WORDS.split())),
        Syntax("julia", julia, r"[^\W\d]\w*!*", frozenset(_JULIA_WORDS.split())),
        Syntax("bash", bash, line="{name}={value}"),
        *(
            Syntax(language, script, r"[^\W\d]\w*|\$\w*", frozenset(_SCRIPT_WORDS.split()), line, "//")
            for language in ("javascript", "typescript")
            for line in ("{keyword} {name} = {value};",)
        ),
    )
}


def of(language: str) -> Syntax:
    """The syntax of a language.

    Raises:
        errors.UsageError: (`NoParameters`) parameters cannot be written in it.
    """
    if language not in SYNTAX:
        raise errors.UsageError(
            f"parameters cannot be written in {language or 'a language that the notebook does not name'}",
            name="NoParameters",
            hint=f"leave out the parameters; they can be set in {', '.join(SYNTAX)}",
        )
    return SYNTAX[language]


def check_name(name: str, language: str = PYTHON) -> None:
    """Refuse a name that cannot be a variable of the language.

    Raises:
        errors.UsageError: it is not a name of a variable, or the language is not known here.
    """
    if not of(language).allows(name):
        raise errors.UsageError(
            f"parameter {name!r}: that is no name of a variable",
            hint="-p NAME=VALUE, with a name of letters, digits and _",
        )


def source(values: dict[str, Any], language: str = PYTHON, declared: str = "") -> str:
    """The cell that sets the parameters.

    Args:
        declared: the source of the notebook's own cell of parameters. What it declares as a constant is declared so
            again, because these languages allow no other way to set it anew.

    Raises:
        errors.UsageError: a name or a value cannot be written in that language.
    """
    syntax = of(language)
    lines = [f"{syntax.comment} Parameters"]
    for name, value in values.items():
        check_name(name, language)
        try:
            literal = syntax.literal(value)
        except ValueError as error:
            raise errors.UsageError(
                f"parameter {name!r}: {error}", name="BadParameters", hint="-p NAME=VALUE sets a number, text or JSON"
            ) from error
        found = re.search(rf"\b(let|const|var)\s+{re.escape(name)}\b", declared)
        lines.append(syntax.line.format(name=name, value=literal, keyword=found[1] if found else "let"))
    return "\n".join(lines)
