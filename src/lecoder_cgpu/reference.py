"""Reference material made from live objects, so that it cannot drift: JSON Schemas, reference pages, the manual page.

`python -m lecoder_cgpu.reference write [PROJECT]` writes it, `check` fails when what is there differs.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from . import __version__
from .models.base import Done, Failure
from .models.connections import Connected, Forwarded, ListeningEvent, SshConfig
from .models.debug import LogFiles, LogPath, LogRecord
from .models.files import FileContent, FileEdited, FileList, FilesRemoved, Synced, Transfer
from .models.history import HistoryCleared, HistoryEntry, HistoryPage, HistoryStats
from .models.jobs import JobDocument, JobList, JobLogs, JobProgress, JobStarted
from .models.keeper import KeeperRecord, KeeperStatus, KeeperStopped
from .models.login import ClientSetup, LoggedOut, LoginExport, LoginInfo, LoginStarted, Policy, StoredLogin
from .models.notebooks import (
    Install,
    Notebook,
    NotebookConverted,
    NotebookDeleted,
    NotebookEvent,
    NotebookPulled,
    NotebookRun,
    NotebookStored,
)
from .models.reference import Doctor, Reference, Upgrade
from .models.runs import Manifest, Run, RunEvent
from .models.sessions import (
    KernelDocument,
    SessionAdded,
    SessionDocument,
    SessionsCleaned,
    SessionsClosed,
    SessionStats,
    SessionSwitched,
)
from .models.status import Accelerators, Consent, Opened, Start, Status, Top, Usage
from .store import session_store

# What each command prints with --json when it succeeds. A failure prints `failure`, and `run` prints `run` for both.
DOCUMENTS: dict[str, Any] = {
    "run": Run,
    "status": Status,
    "start": Start,
    "top": Top,
    "open": Opened,
    "sessions-list": list[SessionDocument],
    "sessions-stats": SessionStats,
    "sessions-add": SessionAdded,
    "sessions-switch": SessionSwitched,
    "sessions-close": SessionsClosed,
    "sessions-clean": SessionsCleaned,
    "usage": Usage,
    "gpus": Accelerators,
    "colab-consent": Consent,
    "kernel": KernelDocument,
    "run-detached": JobStarted,
    "connect": Connected,
    "forward": Forwarded,
    "ssh-config": SshConfig,
    "job-list": JobList,
    "job": JobDocument,
    "job-logs": JobLogs,
    "transfer": Transfer,
    "sync": Synced,
    "ls": FileList,
    "cat": FileContent,
    "rm": FilesRemoved,
    "edit": FileEdited,
    "install": Install,
    "notebook-run": NotebookRun,
    "notebook-convert": NotebookConverted,
    "notebook-list": list[Notebook],
    "notebook-stored": NotebookStored,
    "notebook-delete": NotebookDeleted,
    "notebook-pull": NotebookPulled,
    "logs": list[HistoryEntry],
    "logs-show": HistoryEntry,
    "logs-stats": HistoryStats,
    "logs-html": HistoryPage,
    "logs-clear": HistoryCleared,
    "debug-show": list[LogRecord],
    "debug-list": LogFiles,
    "debug-path": LogPath,
    "auth-status": LoginInfo,
    "auth-start": LoginStarted,
    "auth-export": LoginExport,
    "auth-logout": LoggedOut,
    "auth-setup": ClientSetup,
    "policy": Policy,
    "keeper-status": KeeperStatus,
    "keeper-stop": KeeperStopped,
    "reference": Reference,
    "upgrade": Upgrade,
    "doctor": Doctor,
    "done": Done,
    "failure": Failure,
}

# Other formats that people may want to check: answers of tools that no command prints, lines of --events, and the files
# that we keep or write.
FORMATS: dict[str, Any] = {
    "job-progress": JobProgress,
    "run-event": RunEvent,
    "forward-event": ListeningEvent,
    "notebook-event": NotebookEvent,
    "outputs-manifest": Manifest,
    "history-line": HistoryEntry,
    "debug-log-line": LogRecord,
    "keeper-file": KeeperRecord,
    "session-file": StoredLogin,
    "sessions-file": list[session_store.Record],
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


OWNED = ("schemas", "docs/reference", "man")  # folders that hold nothing else


def files() -> dict[str, bytes]:
    """Path below the project's folder -> content of everything that is made."""
    from .cli.app import root
    from .docgen import error_names, guide, man, pages
    from .docgen.describe import describe

    described = describe(root)
    texts = {f"docs/reference/{name}": text for name, text in pages.pages(described).items()}
    texts["docs/reference/error-names.md"] = pages.error_names(error_names.names())
    texts["man/lecoder-cgpu.1"] = man.page(described)
    texts["docs/agents.md"] = guide.agents(described)
    texts["src/lecoder_cgpu/SKILL.md"] = guide.skill(described)
    made = {f"schemas/{name}": content for name, content in schemas().items()}
    return made | {path: text.encode() for path, text in texts.items()}


def differing(project: Path) -> list[str]:
    """The files below the project's folder that are missing, out of date, or no longer made."""
    wanted = files()
    there = {path.relative_to(project).as_posix() for name in OWNED for path in (project / name).rglob("*.*")}
    return sorted(path for path in wanted.keys() | there if _content(project / path) != wanted.get(path))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def write(project: Path) -> None:
    """Make the project hold exactly what this version makes."""
    made = files()
    for path in differing(project):
        if path in made:
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_bytes(made[path])
        else:
            (project / path).unlink()


if __name__ == "__main__":
    action, *rest = sys.argv[1:] or ["check"]
    target = Path(rest[0] if rest else ".")
    if action == "write":
        write(target)
    elif stale := differing(target):
        sys.exit(f"out of date (version {__version__}): " + ", ".join(stale))
