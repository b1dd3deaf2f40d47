"""Which words of a command line name a script of this machine. Apart from `local_script`, because parsing asks it."""

from __future__ import annotations

import os
import re

_FIRST = 1000  # bytes of a file in which its first line is looked for
_MOST = 4 << 20  # bytes of a script in which an option of its own is looked for
_JSON = re.compile(rb"(?<![\w-])--json(?![\w-])")


def is_script(word: str) -> bool:
    """Whether a word names a script of this machine: a Python file, or one whose first line calls this tool."""
    if not word or "\n" in word or len(word) > 4096:
        return False
    try:
        path = os.path.expanduser(word)
        return os.path.isfile(path) and (path.lower().endswith((".py", ".pyw")) or calls_us(path))
    except ValueError:
        return False


def found(word: str, sync: str | None) -> str | None:
    """The path of the script that the first word of a command names: seen from here, or from the folder that is sent.

    None if there is none.
    """
    beside = None if sync is None or os.path.isabs(word) else os.path.join(os.path.expanduser(sync), word)
    return next((path for path in (word, beside) if path is not None and is_script(path)), None)


def calls_us(word: str) -> bool:
    """Whether a file's first line has this tool execute it: `#!/usr/bin/env -S lecoder-cgpu run --gpu L4`.

    Then all that follows its name on the command line is meant for the script.
    """
    try:
        if not os.path.isfile(word):
            return False
        with open(word, "rb") as file:
            first = file.read(_FIRST).partition(b"\n")[0]
    except (OSError, ValueError):
        return False
    return first.startswith(b"#!") and b"cgpu" in first


def speaks_of_json(path: str) -> bool:
    """Whether a script has a `--json` of its own, as far as its source shows."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return _JSON.search(file.read(_MOST)) is not None
    except (OSError, ValueError):
        return False
