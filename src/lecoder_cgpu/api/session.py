"""`Session`: one session in use: its kernel, commands, jobs, notebooks and files."""

from __future__ import annotations

from .arguments import checked
from .session_base import OnBytes, OnOutput
from .session_files import FileMethods
from .session_notebooks import NotebookMethods

__all__ = ["OnBytes", "OnOutput", "Session"]


@checked
class Session(NotebookMethods, FileMethods):
    """One session in use; `Client` makes them. In another process, a pickled one is the same session.

    `with session:` closes connections at its end, and keeps the runtime. Only `release` gives it back.
    """
