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

from . import __version__, models
from .store import session_store

# What each command prints with --json when it succeeds. A failure prints `failure`, and `run` prints `run` for both.
DOCUMENTS: dict[str, Any] = {
    "run": models.Run,
    "status": models.Status,
    "start": models.Start,
    "top": models.Top,
    "open": models.Opened,
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
    "connect": models.Connected,
    "forward": models.Forwarded,
    "ssh-config": models.SshConfig,
    "job-list": models.JobList,
    "job": models.JobDocument,
    "job-logs": models.JobLogs,
    "transfer": models.Transfer,
    "sync": models.Synced,
    "ls": models.FileList,
    "cat": models.FileContent,
    "rm": models.FilesRemoved,
    "edit": models.FileEdited,
    "install": models.Install,
    "notebook-run": models.NotebookRun,
    "notebook-convert": models.NotebookConverted,
    "notebook-list": list[models.Notebook],
    "notebook-stored": models.NotebookStored,
    "notebook-delete": models.NotebookDeleted,
    "notebook-pull": models.NotebookPulled,
    "logs": list[models.HistoryEntry],
    "logs-show": models.HistoryEntry,
    "logs-stats": models.HistoryStats,
    "logs-html": models.HistoryPage,
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
    "keeper-status": models.KeeperStatus,
    "keeper-stop": models.KeeperStopped,
    "reference": models.Reference,
    "upgrade": models.Upgrade,
    "doctor": models.Doctor,
    "done": models.Done,
    "failure": models.Failure,
}

# Other formats that people may want to check: answers of tools that no command prints, lines of --events, and the files
# that we keep or write.
FORMATS: dict[str, Any] = {
    "job-progress": models.JobProgress,
    "run-event": models.RunEvent,
    "forward-event": models.ListeningEvent,
    "notebook-event": models.NotebookEvent,
    "outputs-manifest": models.Manifest,
    "history-line": models.HistoryEntry,
    "debug-log-line": models.LogRecord,
    "keeper-file": models.KeeperRecord,
    "session-file": models.StoredLogin,
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
    from .docgen import guide, man, pages
    from .docgen.describe import describe

    described = describe(root)
    texts = {f"docs/reference/{name}": text for name, text in pages.pages(described).items()}
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
