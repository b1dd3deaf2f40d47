"""Reference material made from live objects, so that it cannot drift: the JSON Schema of every document.

`python -m lecoder_cgpu.reference write [FOLDER]` writes it, `check` fails when what is there differs.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from . import __version__, models, sessions

# What each command prints with --json when it succeeds. A failure prints `failure`, and `run` prints `run` for both.
DOCUMENTS: dict[str, Any] = {
    "run": models.Run,
    "status": models.Status,
    "sessions-list": list[models.SessionDocument],
    "sessions-stats": models.SessionStats,
    "sessions-add": models.SessionAdded,
    "sessions-switch": models.SessionSwitched,
    "sessions-close": models.SessionsClosed,
    "sessions-clean": models.SessionsCleaned,
    "usage": models.Usage,
    "gpus": models.Accelerators,
    "colab-consent": models.Consent,
    "kernel": models.KernelDocument,
    "run-detached": models.JobStarted,
    "job-list": models.JobList,
    "job": models.JobDocument,
    "job-logs": models.JobLogs,
    "logs": list[models.HistoryEntry],
    "logs-stats": models.HistoryStats,
    "logs-clear": models.HistoryCleared,
    "debug-show": list[models.LogRecord],
    "debug-list": models.LogFiles,
    "debug-path": models.LogPath,
    "auth-status": models.LoginInfo,
    "auth-start": models.LoginStarted,
    "auth-export": models.LoginExport,
    "auth-logout": models.LoggedOut,
    "auth-setup": models.ClientSetup,
    "policy": models.Policy,
    "done": models.Done,
    "failure": models.Failure,
}

# Other formats that people may want to check: lines of --events, and the files that we keep or write.
FORMATS: dict[str, Any] = {
    "run-event": models.RunEvent,
    "outputs-manifest": models.Manifest,
    "history-line": models.HistoryEntry,
    "debug-log-line": models.LogRecord,
    "session-file": models.StoredLogin,
    "sessions-file": list[sessions.Record],
}


def schemas() -> dict[str, bytes]:
    """File name -> content of every schema."""
    files = {}
    for name, kind in {**DOCUMENTS, **FORMATS}.items():
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": name,
            **_tidy(msgspec.json.schema(kind)),
        }
        files[f"{name}.json"] = (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()
    return files


def _tidy(schema: Any) -> Any:
    """The schema with docstrings dedented, as Python does by itself only from 3.13 on."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _tidy(value)
        for key, value in schema.items()
    }


def differing(folder: Path) -> list[str]:
    """The schema files in `folder` that are missing, out of date, or no longer made."""
    wanted = schemas()
    found = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(folder: Path) -> None:
    """Make `folder` hold exactly the schemas of this version."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in differing(folder):
        content = schemas().get(name)
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    action, *rest = sys.argv[1:] or ["check"]
    target = Path(rest[0] if rest else "schemas")
    if action == "write":
        write(target)
    elif stale := differing(target):
        sys.exit(f"out of date in {target} (version {__version__}): " + ", ".join(stale))
