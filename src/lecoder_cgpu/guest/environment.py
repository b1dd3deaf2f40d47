"""The environment that processes get: the runtime's own, as it was before the kernel put its notebook things into it.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys

# What ipykernel sets for the notebook's own shell commands. Colour codes and pagers are for terminals.
_SET_BY_KERNEL = ("TERM", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "PAGER", "GIT_PAGER")
_OF_THE_KERNEL = ("JPY_", "PYDEVD_", "KERNEL_", "JUPYTER_TOKEN", "LECODER_CGPU_")


def base(home: str) -> dict[str, str]:
    """The environment for a process that runs beside the kernel of this interpreter.

    `python`, `python3`, `pip` and `pip3` are this interpreter's; where the search path would lead elsewhere, small
    wrappers in a folder under `home` come first.
    """
    before = _at_start()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_KERNEL)}
    if before is not None:
        for name in _SET_BY_KERNEL:
            environment.pop(name, None)
            if name in before:
                environment[name] = before[name]
    else:
        _drop_kernel_values(environment)
    backend = environment.get("MPLBACKEND", "")
    if backend.startswith("module://") and "inline" in backend:
        del environment["MPLBACKEND"]
    # Without it, what a killed program had in its buffer is lost, and live output comes in lumps.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    environment["PATH"] = search_path(environment.get("PATH", os.defpath), home)
    return environment


def _at_start() -> dict[str, str] | None:
    """The environment with which this process was started, None when the system does not tell."""
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return None
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs}


def _drop_kernel_values(environment: dict[str, str]) -> None:
    written = {"TERM": "xterm-color", "PAGER": "cat", "GIT_PAGER": "cat"}
    for name in _SET_BY_KERNEL:
        if environment.get(name) == written.get(name, "1"):
            del environment[name]


def search_path(path: str, home: str) -> str:
    """`path` changed so that the commands of this interpreter's environment come first."""
    own = os.path.dirname(sys.executable)
    folders = path.split(os.pathsep)
    # A system folder stays where it is: what the machine's owner put before it (/usr/local/bin) is meant to win.
    if own not in folders or own not in ("/usr/bin", "/bin"):
        folders = [own] + [folder for folder in folders if folder != own]
    path = os.pathsep.join(folders)
    if os.name == "nt":
        return path
    wanted = {
        "python": _is_own(shutil.which("python", path=path)),
        "python3": _is_own(shutil.which("python3", path=path)),
        "pip": _is_own(_interpreter_of(shutil.which("pip", path=path))),
        "pip3": _is_own(_interpreter_of(shutil.which("pip3", path=path))),
    }
    missing = sorted(name for name, right in wanted.items() if not right)
    return os.pathsep.join([_wrappers(home, missing), path]) if missing else path


def _is_own(command: str | None) -> bool:
    """Whether a path leads to this interpreter *and* its packages; a virtual environment is told by its folder."""
    if command is None or not sys.executable:
        return False
    if os.path.realpath(command) != os.path.realpath(sys.executable):
        return False
    here, there = os.path.dirname(os.path.abspath(sys.executable)), os.path.dirname(os.path.abspath(command))
    if here == there:
        return True
    return not any(os.path.exists(os.path.join(os.path.dirname(folder), "pyvenv.cfg")) for folder in (here, there))


def _interpreter_of(script: str | None) -> str | None:
    """The program in a script's first line."""
    if script is None:
        return None
    try:
        with open(script, "rb") as file:
            line = file.readline(512)
    except OSError:
        return None
    words = os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
    return words[0] if len(words) == 1 else None


def _wrappers(home: str, names: list[str]) -> str:
    """A folder with commands of those names that start this interpreter."""
    key = hashlib.sha256(os.fsencode(sys.executable) + " ".join(names).encode()).hexdigest()[:12]
    folder = os.path.join(home, f"bin-{key}")
    os.makedirs(folder, exist_ok=True)
    quoted = "'" + sys.executable.replace("'", "'\\''") + "'"
    for name in names:
        target = os.path.join(folder, name)
        if os.path.exists(target):
            continue
        module = " -m pip" if name.startswith("pip") else ""
        temporary = f"{target}.{os.getpid()}.tmp"
        with open(temporary, "w") as file:
            file.write(f'#!/bin/sh\nexec {quoted}{module} "$@"\n')
        os.chmod(temporary, 0o755)  # noqa: S103 - a command that any child may execute
        os.replace(temporary, target)
    return folder
