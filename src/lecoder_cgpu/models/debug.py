"""The documents of `debug`, and the lines of the debug log."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, field

from .base import Optional


class LogRecord(Struct, kw_only=True):
    """One line of the debug log. `level`: 0 DEBUG, 1 INFO, 2 WARN, 3 ERROR."""

    timestamp: str
    level: int
    level_name: str = field(name="levelName")
    category: str
    message: str
    data: dict[str, Any] | Optional = UNSET
    error: dict[str, Any] | Optional = UNSET


class LogFile(Struct, kw_only=True):
    """One file of the debug log; `size` in bytes, `modified` as a time in ISO 8601."""

    path: str
    size: int
    modified: str


class LogFiles(Struct, kw_only=True):
    """`debug list`: the files of the debug log, and their sizes."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    files: list[LogFile]


class LogPath(Struct, kw_only=True):
    """`debug path`: the file that the debug log is written to."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    path: str


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "debug-show": list[LogRecord],
    "debug-list": LogFiles,
    "debug-path": LogPath,
    "debug-log-line": LogRecord,
}
