"""`run train.py ARGS`: a script of this machine, executed there as `python train.py ARGS` would be here."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..models.base import ErrorInfo
from ..system import redaction
from . import inputs
from .missing_scripts import PYTHONS, near
from .missing_scripts import named as named_script
from .script_files import found, is_script

if TYPE_CHECKING:
    from ..models.runs import Run
    from ..runs.script_header import Header
    from ..sessions.session import Session
    from .output import Printer


@dataclass(frozen=True)
class Script:
    """A script of this machine: `path` as it was typed, what it holds, and its arguments."""

    path: str
    content: bytes
    arguments: list[str]

    @property
    def header(self) -> Header:
        """What it needs (PEP 723). A header is UTF-8, but the script need not be: Python knows its coding.

        Raises:
            errors.UsageError: its header makes no sense.
        """
        return header_of(self.content.decode("utf-8-sig", "replace"), self.path)


def header_of(code: str, origin: str) -> Header:
    """What code says in its header that it needs; `origin` names it in messages.

    Raises:
        errors.UsageError: its header makes no sense.
    """
    from ..runs import script_header

    return script_header.read(code, origin)


def given(words: Sequence[str], sync: str | None) -> Script | None:
    """The script that a command of these words is about; None if it is about none of this machine.

    With `--sync`, it may be named as seen from the folder that is sent, and one that is executable there (`./train.py`)
    is left to its own first line.
    """
    if not words or (path := found(words[0], sync)) is None:
        return None
    if sync is not None and words[0].startswith("./") and os.access(path, os.X_OK):
        return None
    if sync is not None:
        _inside(path, sync)
    return Script(path, inputs.file_content(path), _arguments(words))


def divided(path: str, behind: Sequence[str]) -> str:
    """What is said of options behind a script or program that `run` has as well: they are its own."""
    goes = "go" if len(behind) > 1 else "goes"
    return (
        f"{' and '.join(behind)} {goes} to {path}; options of this tool stand before it: "
        f"lecoder-cgpu run {behind[0]} … {path}"
    )


def _arguments(words: Sequence[str]) -> list[str]:
    """What follows the name of a script, without the `--` that may stand between."""
    return list(words[2:] if list(words[1:2]) == ["--"] else words[1:])


def _inside(path: str, sync: str) -> str:
    """The path of a script below the folder that is sent.

    Raises:
        errors.UsageError: it is not in there.
    """
    local = Path(path).expanduser()
    try:
        return local.resolve().relative_to(Path(sync).expanduser().resolve()).as_posix()
    except ValueError:
        raise errors.UsageError(
            f"{path} is not in {sync}, which --sync sends",
            hint=f"--sync {local.parent}, or leave it out: the script alone is sent then",
        ) from None


def divide(
    words: Sequence[str], options: Mapping[str, Any], *, kernel: bool
) -> tuple[list[str], str | None, Sequence[str]]:
    """The words of the command or lines of code, the file with the code, and its arguments."""
    file: str | None = options["file"]
    if kernel and file is not None and options["separated"]:
        return [], file, tuple(words)
    if kernel and file is None and words and (is_script(words[0]) or (words[0] == "-" and len(words) > 1)):
        return [], words[0], _arguments(words)
    return list(words), file, ()


def named(words: Sequence[str], sync: str | None) -> Script | None:
    """The script of `python train.py`, if it is sent along (`--sync`)."""
    if sync is None or len(words) < 2 or words[0] not in PYTHONS:
        return None
    path = Path(sync).expanduser() / words[1]
    return Script(str(path), inputs.file_content(str(path)), list(words[2:])) if is_script(str(path)) else None


def command(session: Session, script: Script, sync: str | None) -> list[str]:
    """Send the script, if it was not sent with its folder, and return the command that executes it.

    Alone, it is put into the folder of this tool on the runtime, under its own name: what lies in the working folder
    there stays as it is.

    Raises:
        errors.Error: it was not sent.
    """
    if sync is not None:
        return ["python", _inside(script.path, sync), *script.arguments]
    from ..runs import job_sources

    target = job_sources.send_script(session, Path(script.path).expanduser(), script.content)
    return ["python", target, *script.arguments]


def install(printer: Printer, session: Session, header: Header, origin: str) -> None:
    """Install what a header asks for, before its code runs, and tell if that is for another version of Python.

    Args:
        origin: what has the header, for messages.

    Raises:
        errors.Error: the packages could not be installed.
    """
    if header.python is not None:
        helper = session.connect_helper()
        try:
            found = helper.hello().python
        finally:
            helper.close()
        if not header.fits(found):
            printer.notify(
                f"{origin} asks for Python {header.python}, and the runtime has {found}; it is run all the same"
            )
    if header.dependencies:
        from ..runs import auto_install
        from .live import aside

        auto_install.install_all(session, header.dependencies, origin, printer.notify, aside(printer))


def is_code(text: str) -> bool:
    """Whether a command that no shell could execute is Python: it imports or calls something, say."""
    import ast
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.For, ast.With, ast.Try, ast.If, ast.While)
    return any(
        isinstance(item, kinds) or isinstance(getattr(item, "value", None), (ast.Call, ast.ListComp, ast.JoinedStr))
        for item in found
    )


def _sent_along(words: Sequence[str], name: str) -> str:
    """The command that sends the folder of this machine with a script that is not Python, and executes it there."""
    is_program = name.startswith("./") and os.access(name, os.X_OK)
    interpreter = ["bash"] if words[0] == name and not is_program else []
    return f"lecoder-cgpu run --sync . {shlex.join([*interpreter, *redaction.words(words)])}"


def advise(printer: Printer, words: Sequence[str], document: Run, alone: Script | None, command: str) -> None:
    """Say what to do about a command that looked there for a file that lies here, or is Python.

    Args:
        words: as they were typed. command: what was executed, which may have come through a pipe.
        alone: the script that was sent without its folder.
    """
    said = document.stderr if isinstance(document.stderr, str) else ""
    if document.mode != "terminal" or not isinstance(document.error, ErrorInfo):
        return
    typed = " ".join(words)
    words = words[0].split() if len(words) == 1 and alone is None else words
    rest = words[1:] if words and words[0] in PYTHONS else words
    shown = shlex.join(redaction.words(rest))
    if alone is not None:
        lacks = re.search(r"No module named '([A-Za-z_]\w*)", said)
        beside = Path(alone.path).expanduser().parent
        if lacks is None or not any((beside / name).exists() for name in (lacks[1], f"{lacks[1]}.py")):
            return
        advice = f"{lacks[1]} lies beside {alone.path}, which was sent alone: lecoder-cgpu run --sync {beside} {shown}"
    else:
        if ("syntax error" in said or "command not found" in said) and is_code(typed or command):
            shown = shlex.join(redaction.words([typed])) if typed else "-f -"
            document.error.suggestion = f"Python is run with -m kernel: lecoder-cgpu run -m kernel {shown}"
            printer.notify(document.error.suggestion)
            return
        missing = any(part in said for part in ("can't open file", "No such file or directory", "command not found"))
        if not missing or not rest:
            return
        name = named_script(words, kernel=False)
        if is_script(rest[0]):
            advice = (
                f"{rest[0]} is on this machine, not there: lecoder-cgpu run {shown}; with its folder: "
                f"lecoder-cgpu run --sync . {shown}"
            )
        elif name is not None and os.path.isfile(name):
            advice = f"{name} is on this machine, not there; with its folder: {_sent_along(words, name)}"
        elif name is not None and (meant := near(name, ".")) is not None:
            line = f"lecoder-cgpu run {meant}" if is_script(meant) else _sent_along([meant], meant)
            advice = f"there is no {name} here either; did you mean {meant}? {line}"
        else:
            return
    document.error.suggestion = advice
    printer.notify(advice)
