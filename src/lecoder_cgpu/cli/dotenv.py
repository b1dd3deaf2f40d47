"""Variables from files in the syntax of dotenv, for --env-file and --secrets-file. Pure, but for reading the file.

A line is `NAME=VALUE`, `export NAME=VALUE`, `# a comment`, or NAME alone, which takes its value from here. A value in
single quotes is literal; in double quotes, `\\n` and the like are escapes; both may go over several lines. A value
without quotes ends at ` #` or with the line. `${NAME}` and `${NAME:-default}` stand for earlier lines or variables
here, but not in single quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .. import errors

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*(?:(=)[ \t]*)?")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r"[^\r\n]*")
_AFTER = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r?\n|\r|\Z)")
_BLANK = re.compile(r"[ \t\r\n]*(?:#[^\r\n]*)?(?:\r?\n|\r|\Z)")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$", "'": "'", "\n": ""}


def parse(text: str, origin: str, here: Callable[[str], str | None]) -> dict[str, str]:
    """The variables in a text.

    Args:
        origin: the name of the file, for messages; they never show a value, which may be a secret.
        here: the value of a variable of this machine.

    Raises:
        errors.UsageError: a line is not understood, or a variable is not set here.
    """
    found: dict[str, str] = {}
    position = 0

    def refuse(what: str) -> errors.UsageError:
        line = text.count("\n", 0, position) + 1
        return errors.UsageError(
            f"{origin}, line {line}: {what}",
            name="BadVariables",
            hint="a line is NAME=VALUE, NAME='a value', or a comment behind #",
        )

    def resolved(value: str) -> str:
        def of(match: re.Match[str]) -> str:
            known = found.get(match[1], here(match[1]))
            return known if known else match[2] if match[2] is not None else known or ""

        return _REFERENCE.sub(of, value)

    while position < len(text):
        if (blank := _BLANK.match(text, position)) is not None and blank.end() > position:
            position = blank.end()
            continue
        head = _NAME.match(text, position)
        line = _PLAIN.match(text, position)
        assert line is not None
        if head is None or (head[2] is None and "=" in line[0]):
            before = "what stands before = is no name of a variable, which has letters, digits and _"
            raise refuse(before if "=" in line[0] else "this line has no =")
        name, rest = head[1], head.end()
        if head[2] is None:
            if _AFTER.match(text, rest) is None:
                raise refuse("this line has no =")
            value = here(name)
            if value is None:  # a name like no other may be a secret that stands there alone
                called = name if name.isupper() else "this line"
                raise refuse(f"{called} has no =, and is no variable that is set here")
        elif (quoted := _SINGLE.match(text, rest)) is not None:
            value, rest = quoted[1], quoted.end()
        elif (quoted := _DOUBLE.match(text, rest)) is not None:
            value, rest = _unescaped(quoted[1], resolved), quoted.end()
        elif text[rest : rest + 1] in ("'", '"'):
            raise refuse(f"the quotes around the value of {name} are not closed")
        else:
            plain = _PLAIN.match(text, rest)
            assert plain is not None
            value = resolved(re.split(r"(?:^|[ \t])#", plain[0], maxsplit=1)[0].rstrip())
            rest = plain.end()
        end = _AFTER.match(text, rest)
        if end is None:
            raise refuse(f"there is more behind the value of {name}")
        if "\0" in value:
            raise refuse(f"the value of {name} holds a NUL character")
        found[name], position = value, max(end.end(), position + 1)
    return found


def _unescaped(text: str, resolved: Callable[[str], str]) -> str:
    """Double-quoted text: escapes are carried out, and references, but not those that are escaped (`\\$`)."""
    parts = re.split(r"(\\.)", text, flags=re.DOTALL)
    return "".join(
        _ESCAPES.get(part[1], part) if part[:1] == "\\" and len(part) == 2 else resolved(part) for part in parts
    )
