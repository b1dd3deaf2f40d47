"""What failures of code in other languages than Python mean. Pure.

Kernels of other languages tell no hierarchy of classes, so their names and messages decide.
"""

from __future__ import annotations

import re

from .. import errors
from ..jupyter.kernelspecs import PYTHON

INTERRUPTED = "the code was interrupted; repeat the same command if that was not intended"
_MEMORY = "use less memory at once, free what is not needed (lecoder-cgpu kernel restart), or use a bigger machine"
_NAMES = "define it first; names live in the kernel only until it is restarted"
_MODULE = "check the module's name and version in the import"

# For each language, rows of: a pattern for `NAME: MESSAGE`, what it means, and advice, in which {0} is what matched.
_ROWS: dict[str, tuple[tuple[str, type[errors.Error], str], ...]] = {
    "r": (
        (r"there is no package called .(\w[\w.]*)", errors.ImportFailure, 'in R: install.packages("{0}")'),
        (r"could not find function", errors.RuntimeFailure, "define it, or load its package first: library(PACKAGE)"),
        (r"object '.*' not found", errors.RuntimeFailure, _NAMES),
        (r"cannot allocate (?:vector|memory)|std::bad_alloc", errors.MemoryFailure, _MEMORY),
        (r"cannot open (?:the connection|file|URL)|No such file", errors.FileFailure, ""),
        (r"[Tt]imeout was reached|reached elapsed time limit", errors.TimeoutFailure, ""),
        (r"<text>:\d+:\d+:|unexpected (?:symbol|end of input|string|numeric)", errors.SyntaxFailure, ""),
    ),
    "julia": (
        (r"Package (\w+) not found", errors.ImportFailure, 'in Julia: import Pkg; Pkg.add("{0}")'),
        (r"^OutOfMemoryError", errors.MemoryFailure, _MEMORY),
        (r"^(?:LoadError: )?(?:Base\.Meta\.)?ParseError|syntax:", errors.SyntaxFailure, ""),
        (r"^(?:SystemError|Base\.IOError|IOError)", errors.FileFailure, ""),
        (r"^UndefVarError", errors.RuntimeFailure, _NAMES),
    ),
    "typescript": (
        (r"Module not found|Cannot find module|not a dependency|Unable to load", errors.ImportFailure, _MODULE),
        (r"^SyntaxError|^parse error", errors.SyntaxFailure, ""),
        (r"^(?:NotFound|PermissionDenied|AlreadyExists|NotADirectory|ConnectionRefused)", errors.FileFailure, ""),
        (r"^TimedOut|^TimeoutError", errors.TimeoutFailure, ""),
        (r"allocation failed|out of memory", errors.MemoryFailure, _MEMORY),
        (r"^ReferenceError", errors.RuntimeFailure, _NAMES),
    ),
}
_ROWS["javascript"] = _ROWS["typescript"]
_ADVICE: dict[type[errors.Error], str] = {
    errors.SyntaxFailure: "correct the line that the message names",
    errors.FileFailure: "check the path or address in the message, then repeat the same command",
    errors.TimeoutFailure: "repeat the same command, or give that call more time",
}


def meaning(language: str, name: str, message: str) -> tuple[type[errors.Error], str | None]:
    """The row of the table of errors for a failure, and advice."""
    text = f"{name}: {message}" if name else message
    for pattern, failure, advice in _ROWS.get(language, ()):
        if found := re.search(pattern, text):
            return failure, advice.format(*found.groups()) or _ADVICE.get(failure)
    if name == "KeyboardInterrupt":
        return errors.RuntimeFailure, INTERRUPTED
    return errors.RuntimeFailure, "read the message and the traceback: they say where it failed"


def told(language: str, name: str, message: str) -> tuple[str, str]:
    """Name and message of a failure as people and documents get them. A kernel of a shell tells only the exit status of
    the last command, and others end messages with an empty line."""
    if language != PYTHON and not name and re.fullmatch(r"\d+", message.strip()):
        return "CommandFailed", f"the last command ended with exit status {message.strip()}"
    return name or ("" if language == PYTHON else "Error"), message if language == PYTHON else message.rstrip()
