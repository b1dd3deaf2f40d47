"""The small JSON documents that describe runs on the disk. They are written whole or not at all.

Runs on the runtime (Python 3.8 and newer, standard library only), in the helper and in the programs it starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any


def timestamp(moment: float) -> str:
    """A time in seconds since 1970 as ISO 8601 in UTC, with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"


def write_json(path: str, document: dict[str, Any]) -> None:
    """Write a document so that a reader sees all of it or nothing."""
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(document).encode())  # at once: `json.dump` takes four times as long
    os.replace(temporary, path)


def read_json(path: str) -> dict[str, Any] | None:
    """A document; None when it does not exist, or is not complete."""
    try:
        with open(path, "rb") as file:
            found: dict[str, Any] = json.loads(file.read())
            return found
    except (OSError, ValueError):
        return None


def note_signal(folder: str, name: str, by: str) -> None:
    """Note a signal that was sent to a run, and on whose behalf (see `Signal` in `helper/documents.py`)."""
    line = json.dumps({"signal": name, "by": by, "at": timestamp(time.time())}) + "\n"
    with contextlib.suppress(OSError), open(os.path.join(folder, "signals"), "a") as file:
        file.write(line)


def read_signals(folder: str) -> list[dict[str, Any]]:
    """What `note_signal` has noted, in its order."""
    try:
        with open(os.path.join(folder, "signals"), encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except (OSError, ValueError):
        return []
