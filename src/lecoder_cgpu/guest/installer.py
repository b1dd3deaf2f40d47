"""Installs packages into a Python of this machine, and tells what that changed.

Executed on the runtime as a process run (Python 3.8 and newer, standard library only). What it is given is a JSON
object: `requirements`, `files` (requirement files by name, their text), `main` (which of them to install), `editable`
(folders here), `options` (of the installer), `installer` (auto, uv or pip), `venv` (a folder, or null) and `folder` (of
the run). The installer's output is ours; what changed goes into `messages` in the folder, and the exit status is the
installer's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from typing import Any, BinaryIO

NOT_FOUND = 66
FILES = "requirements"  # the folder of requirement files in that of the run
LAST_WORDS = 5.0  # seconds for output that comes after the installer's end

# Executed by the Python that is installed into: what is there, or with a look of before, what is different now.
_LOOK = """
import json, os, sys
from importlib import metadata
before = json.loads(sys.stdin.read())
now, kept = {}, {}
for dist in metadata.distributions():
    name = (dist.metadata['Name'] or '').lower().replace('_', '-')
    if name and name not in now:
        path = getattr(dist, '_path', None)
        stamp = os.stat(path).st_mtime_ns if path is not None and os.path.exists(str(path)) else 0
        now[name], kept[name] = [dist.version, stamp], dist
if before is None:
    print(json.dumps(now))
else:
    changes = []
    for name in sorted(set(before) | set(now)):
        old, new = before.get(name), now.get(name)
        if old != new:
            modules = set()
            if name in kept:
                listed = kept[name].read_text('top_level.txt')
                modules.update(listed.split() if listed else ())
                for file in [] if listed else kept[name].files or []:
                    first = file.parts[0]
                    if not first.endswith(('.dist-info', '.pth')) and first not in ('..', '__pycache__'):
                        modules.add(first.partition('.')[0])
            changes.append({'name': name, 'before': old and old[0], 'after': new and new[0],
                            'modules': sorted(modules)})
    print(json.dumps(changes))
"""


def look(python: str, before: dict[str, Any] | None = None) -> Any:
    """The distributions that `python` has; with an earlier look, the changes. None when it cannot tell."""
    done = subprocess.run(
        [python, "-c", _LOOK], input=json.dumps(before), stdout=subprocess.PIPE, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def find_uv() -> list[str] | None:
    """How to call uv, None where it is not installed."""
    found = shutil.which("uv")
    if found:
        return [found]
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    return [beside] if os.access(beside, os.X_OK) else None


def make_venv(folder: str, uv: list[str] | None) -> str:
    """The Python of the environment in that folder, which is created if it is not there."""
    names = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = os.path.join(folder, *names)
    if not os.path.exists(python):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        command = [*uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        subprocess.run([*command, folder], check=True)
    return python


def copy(source: BinaryIO, target: BinaryIO, left_out: bytes) -> None:
    """Pass output on as it comes, but for the bytes that are left out of it."""
    held = b""
    while True:
        data = os.read(source.fileno(), 1 << 16)
        text = (held + data).replace(left_out, b"")
        keep = range(min(len(left_out) - 1, len(text)) if data else 0, 0, -1)
        held = next((text[-size:] for size in keep if left_out.startswith(text[-size:])), b"")
        target.write(text[: len(text) - len(held)])
        target.flush()
        if not data:
            return


def call(command: list[str], left_out: str) -> int:
    """Run a command whose output does not name that folder, and return its exit status."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        streams = ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer))
        copies = [
            threading.Thread(target=copy, args=(source, target, os.fsencode(left_out)), daemon=True)
            for source, target in streams
        ]
        for thread in copies:
            thread.start()
        try:
            status = process.wait()
        except KeyboardInterrupt:
            process.kill()
            status = 130
        for thread in copies:
            thread.join(LAST_WORDS)
        return status


def main(spec: dict[str, Any]) -> int:
    """Install what the spec says and return the exit status."""
    uv = None if spec["installer"] == "pip" else find_uv()
    if spec["installer"] == "uv" and uv is None:
        sys.stderr.write("there is no uv on the runtime\n")
        return NOT_FOUND
    for folder in spec["editable"]:
        if not os.path.isdir(folder):
            sys.stderr.write(f"there is no folder {os.path.abspath(folder)} on the runtime\n")
            return NOT_FOUND
    try:
        python = make_venv(spec["venv"], uv) if spec["venv"] else sys.executable
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"the environment {spec['venv']} could not be created\n")
        return error.returncode
    if uv:
        command = [*uv, "pip", "install", "--python", python]
    else:
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += spec["options"]
    files = os.path.join(spec["folder"], FILES, "")
    os.makedirs(files, exist_ok=True)
    for name, text in spec["files"].items():
        path = os.path.join(files, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    for name in spec["main"]:
        command += ["-r", os.path.join(files, name)]
    for folder in spec["editable"]:
        command += ["-e", folder]
    command += spec["requirements"]
    before = look(python)
    sys.stdout.flush()
    status = call(command, files)
    changes = None if before is None else look(python, before)
    report = {"installer": "uv" if uv else "pip", "python": python, "changes": changes}
    with open(os.path.join(spec["folder"], "messages"), "w", encoding="utf-8") as file:
        json.dump(report, file)
    return status if status >= 0 else 128 - status
