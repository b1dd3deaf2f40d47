"""What a shell completes a word to, while a key is pressed: from `completions.json` and from what is stored here.

Nothing is asked of any runtime, and nothing but the standard library is imported: all takes less than 50 ms. No answer
means that the shell completes files, as it would without us. Whatever goes wrong is no answer.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

WORD = "__complete"  # of the command line that the shells' scripts call
TABLE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "completions.json")
GPUS = ("T4", "L4", "G4", "A100", "H100")  # as `backends/colab/model.py` has them, which takes long to import
TPUS = ("v5e-1", "v6e-1", "v2-8")
TAIL = 256 << 10  # bytes of the history in which jobs are looked for
MOST = 40  # jobs


def answer(arguments: list[str]) -> None:
    """Print the answer for a command line: a line for each word, with what it means behind a tab, but not for bash.

    Args:
        arguments: the shell, the configuration folder, and the words behind our name; the last one is completed.
    """
    try:
        shell, folder, *words = arguments
        lines = [value if shell == "bash" else f"{value}\t{text}" for value, text in found(words or [""], folder)]
        sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        sys.stdout.flush()
    except Exception:
        return


def found(words: list[str], folder: str) -> list[tuple[str, str]]:
    """The words that fit, with what they mean; none where files are to be completed."""
    with open(TABLE, encoding="utf-8") as file:
        table: dict[str, Any] = json.load(file)
    *before, begun = _joined(words)
    path, place, last, profile = "", 0, None, ""
    takes: dict[str, Any] = {}
    position = 0
    while position < len(before):
        word = before[position]
        takes = {**table[""]["o"], **table[path]["o"]}
        if word == "--":
            return []
        if word.startswith("-"):
            name, separator, value = word.partition("=")
            last = name if not separator and takes.get(name) is not None else None
            if last is not None and position + 1 < len(before):
                position += 1
                value, last = before[position], None
            profile = value if name == "--profile" else profile
        elif word in table[path].get("c", {}):
            path = f"{path} {word}".strip()
        elif path == "run" and word.endswith(".ipynb"):
            path, place = "notebook run", 1
        elif path == "run":
            return []  # all further words are the command's own
        else:
            place += 1
        position += 1
    takes = {**table[""]["o"], **table[path]["o"]}
    state = _state(folder, profile)
    if last is not None:
        return _values(takes[last], begun, state, folder, before)
    if begun.startswith("-"):
        name, separator, value = begun.partition("=")
        if separator and takes.get(name) is not None:
            return _values(takes[name], value, state, folder, before)
        texts = {**table[""]["h"], **table[path]["h"]}
        return [
            (name, texts.get(name, "")) for name in sorted(takes) if name.startswith(begun) and name.startswith("--")
        ]
    if "c" in table[path]:
        return [(name, text) for name, text in table[path]["c"].items() if name.startswith(begun)]
    kinds = table[path]["a"]
    return _values(kinds[min(place, len(kinds) - 1)], begun, state, folder, before) if kinds else []


def _joined(words: list[str]) -> list[str]:
    """The words with what bash cuts at `=` put together again."""
    joined: list[str] = []
    for word in words:
        if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _values(kind: Any, begun: str, state: str, folder: str, before: list[str]) -> list[tuple[str, str]]:
    """The values of a kind that begin so."""
    if isinstance(kind, list):
        values = [(value, "") for value in kind]
    elif kind in ("gpu", "tpu"):
        done, comma, _ = begun.rpartition(",")
        values = [(done + comma + name, "") for name in (GPUS if kind == "gpu" else TPUS)]
        begun = begun.upper() if kind == "gpu" else begun
    elif kind in _STORED:
        values = _STORED[kind](state, folder, before)
    else:
        return []
    return [(value, text) for value, text in values if value.startswith(begun)]


def _state(folder: str, profile: str) -> str:
    """Where the profile in use keeps its state."""
    stored = _json(os.path.join(folder, "profiles.json")) or {}
    own = os.path.join(folder, "profiles", os.path.basename(profile or str(stored.get("active") or "default")))
    return os.path.join(own if os.path.isdir(own) else folder, "state")


def _json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def _sessions(state: str, folder: str, before: list[str]) -> list[tuple[str, str]]:
    records = _json(os.path.join(state, "sessions.json")) or []
    return [(record["name"], str(record.get("label") or "")) for record in records]


def _kernels(state: str, folder: str, before: list[str]) -> list[tuple[str, str]]:
    """The kernels that the sessions here have, and the usual ones."""
    kernels = [record.get("kernel") or {} for record in _json(os.path.join(state, "sessions.json")) or []]
    used = {kernel["name"]: str(kernel.get("language") or "") for kernel in kernels if kernel.get("name")}
    return list({"python3": "python", "ir": "R", "julia": "julia", **used}.items())


def _profiles(state: str, folder: str, before: list[str]) -> list[tuple[str, str]]:
    stored = _json(os.path.join(folder, "profiles.json")) or {}
    return [(name, "") for name in sorted({"default", *(stored.get("profiles") or {})})]


def _jobs(state: str, folder: str, before: list[str]) -> list[tuple[str, str]]:
    """The newest runs that this machine has started, the newest first, by their names where they have one."""
    with open(os.path.join(state, "history.jsonl"), "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
        lines = file.read().decode("utf-8", "replace").splitlines()
    jobs: dict[str, str] = {}
    for line in reversed(lines):
        try:
            entry = json.loads(line)
            run, name = entry.get("runId"), entry.get("jobName")
        except (ValueError, AttributeError):
            continue
        if run and run not in jobs and len(jobs) < MOST:
            jobs[run] = " ".join(f"{entry.get('status')} {name or entry.get('command') or ''}".split())[:60]
    return list(jobs.items())


def _parameters(state: str, folder: str, before: list[str]) -> list[tuple[str, str]]:
    """The parameters of the notebook that the command line names."""
    for word in before:
        notebook = _json(word) if word.endswith(".ipynb") else None
        for cell in notebook.get("cells", ()) if isinstance(notebook, dict) else ():
            if "parameters" in (cell.get("metadata") or {}).get("tags", ()):
                source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
                names = re.findall(r"^([A-Za-z_]\w*)[^\n=]*=\s*([^\n]*)", source, re.MULTILINE)
                return [(f"{name}=", value) for name, value in names]
    return []


_STORED = {
    "session": _sessions,
    "kernel": _kernels,
    "profile": _profiles,
    "job": _jobs,
    "parameter": _parameters,
}
