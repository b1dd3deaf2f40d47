"""Code of a file in a Python kernel: it finds `sys.argv` and `__file__` as `python FILE` sets them, and errors name it.

A kernel outlives the file, so both are put back afterwards. The kernel does what it is asked in order, so nobody waits
for an answer, and other kernels than Python's fail to understand it without a word.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..jupyter.screen import strip_ansi

if TYPE_CHECKING:
    from ..jupyter.kernel_channels import KernelConnection

_KEPT = "_lecoder_cgpu_script"  # an attribute of the module `sys`, as long as the file runs
# Runs on the runtime, in Python 3.8 and newer. A run that was killed has put nothing back: the next one does.
_LEAVE = f"""
import sys
kept = sys.__dict__.pop({_KEPT!r}, None)
if kept is not None:
    sys.argv = kept[0]
    names.pop("__file__", None)
    names.update(kept[1])
"""
_ENTER = f"""
setattr(sys, {_KEPT!r}, (sys.argv, {{name: names[name] for name in ("__file__",) if name in names}}))
sys.argv = [file, *arguments]
names["__file__"] = file
"""
# How a SyntaxError names the file that IPython makes of a cell.
_CELL_FILE = re.compile(r"\((?:\d+\.py|<ipython-input-[^>]*>), line (\d+)\)")


@contextlib.contextmanager
def as_script(connection: KernelConnection, filename: str | None, arguments: Sequence[str] = ()) -> Iterator[None]:
    """Let the code that the body runs be that file's, called with these arguments; None is no file."""
    if filename is None:
        yield
        return
    before, after = around(filename, arguments)
    connection.post(before)
    try:
        yield
    finally:
        with contextlib.suppress(errors.Error):
            connection.post(after)


def around(filename: str, arguments: Sequence[str] = ()) -> tuple[str, str]:
    """What the kernel has to execute before and after the code of a file that is called with these arguments."""
    return _expression(_LEAVE + _ENTER, filename, arguments), _expression(_LEAVE, filename)


def _expression(program: str, file: str, arguments: Sequence[str] = ()) -> str:
    return f"exec({program!r}, {{'file': {file!r}, 'arguments': {list(arguments)!r}, 'names': globals()}})"


def name_files(lines: list[str], filename: str | None, count: int | None) -> list[str]:
    """Lines of an error that name the file from which the code came, or the cell, in place of IPython's files.

    Args:
        lines: the error's message and its traceback.
        count: the number of the cell.
    """
    if count is None:
        return lines
    place = _escaped(filename or f"Cell In[{count}]")
    lines = [_CELL_FILE.sub(rf"({place}, line \1)", line) for line in lines]
    return lines if filename is None else [lines[0], *(name_file(line, filename, count) for line in lines[1:])]


def name_file(line: str, filename: str, count: int) -> str:
    """A traceback line that names the file from which the code came, in place of IPython's name of the cell."""
    plain = strip_ansi(line)
    named = re.sub(rf"(?:Cell )?In\s?\[{count}\], line (\d+)", rf'File "{_escaped(filename)}", line \1', plain)
    named = re.sub(rf"<ipython-input-{count}-[0-9a-f]+>", _escaped(filename), named)
    return re.sub(r'(?:File )?"?/\S*ipykernel_\d+/\d+\.py"?', _escaped(filename), named)


def _escaped(filename: str) -> str:
    return filename.replace("\\", "\\\\")
