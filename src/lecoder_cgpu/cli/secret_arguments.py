"""Values of secrets among the words of a command line, found before it is parsed: the debug log begins before that.

Only the log asks here, so that too much may be taken for an option of ours: words of the user's command, too.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence

from .. import config, errors
from ..system import redaction

_OPTION = re.compile(r"(--secret|--secrets-file)(?:=(.*))?", re.S)
_NAME = re.compile(r"--?[a-z][a-z-]{0,40}")  # of an option, as ours are


def values(arguments: Sequence[str]) -> list[str] | None:
    """What `--secret` and `--secrets-file` give there; None if a value can be known only later, as one from stdin."""
    from . import inputs

    found: list[str] = []
    for word, follows in zip(arguments, [*arguments[1:], ""], strict=True):
        option = _OPTION.fullmatch(word)
        if option is None:
            continue
        given = follows if option[2] is None else option[2]
        if option[1] == "--secret":
            name, _, origin = given.partition("=")
            if origin == "-":
                return None
            found += [config.environment(name) or "", origin]
            continue
        if not os.path.isfile(os.path.expanduser(given)):  # a pipe can be read once
            return None
        try:
            found += inputs.of_file(given, option[1]).values()
        except errors.Error:
            return None
    return [value for value in found if value]


def hidden(words: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """The words of a command line as the log may keep them.

    Args:
        words: without what is hidden in any case. arguments: as they were typed.
    """
    if not any(_OPTION.fullmatch(word) for word in arguments):
        return list(words)
    known = values(arguments)
    if known is None:
        return [words[0], *(word if _NAME.fullmatch(word) else redaction.MASK for word in words[1:])]
    forms = redaction.spellings(known)
    return [redaction.mask(word, forms) for word in words]


def protect(arguments: Sequence[str]) -> None:
    """Let no message of a command that has failed hold them: it may have failed before it has read its secrets."""
    with contextlib.suppress(OSError, ValueError):
        redaction.protect(*(values(arguments) or ()))
