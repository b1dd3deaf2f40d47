"""Watches, in a local server that one command has for itself (`--rm`), whether that command is still there. There is no
keeper for what costs nothing, so the server itself has its session closed when the command was killed."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from .. import errors
from ..store import owners
from ..store.session_store import Record, Store

PACE = 2.0  # seconds between two looks
# Starts a command and leaves it, so that it is no descendant of the server, which it ends with all of these.
_APART = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
_PASSED_ON = ("LECODER_CGPU_CONFIG_DIR",)


def order(record: Record, state_dir: Path, environment: dict[str, str], profile: str) -> bytes:
    """What the server reads before it begins: one line, empty if its session is no command's own.

    Args:
        environment: of the command. profile: that the command acts for.
    """
    if record.owner is None:
        return b"\n"
    import json

    passed = {name: value for name, value in environment.items() if name in _PASSED_ON}
    passed["LECODER_CGPU_PROFILE"] = profile
    return json.dumps({"state": str(state_dir), "session": record.id, "environment": passed}).encode() + b"\n"


def begin(line: bytes, environment: dict[str, str]) -> None:
    """Do as the line of `order` says, in the environment of this process."""
    if line.strip():
        import json

        threading.Thread(target=_watch, args=(json.loads(line), environment), daemon=True).start()


def _watch(wanted: dict[str, Any], environment: dict[str, str]) -> None:
    import subprocess

    store = Store(Path(wanted["state"]))
    while True:
        time.sleep(PACE)
        try:
            record = store.get(wanted["session"])
        except errors.Error:
            continue
        if record is None or record.owner is None:  # it was closed, or is kept
            return
        if owners.is_gone(record.owner):
            command = [sys.executable, "-m", "lecoder_cgpu", "sessions", "close", record.id, "--no-input"]
            subprocess.run(
                [sys.executable, "-c", _APART, *command],
                env=environment | wanted["environment"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return
