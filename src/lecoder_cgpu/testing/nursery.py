"""Starts the VMs' servers quickly: a process that has imported jupyter_server, and forks on request."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from .. import config
from ..diagnostics.field_check.kernel_facts import IMAGE

QUIET = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # a warning about debuggers, which newer versions print
PROGRAM = Path(__file__).parent / "vm" / "server.py"


class Nursery:
    """One such process. It starts on first use and stays until this process ends, because starting takes time.

    Args:
        python: an interpreter with jupyter_server and ipykernel.
    """

    def __init__(self, python: str) -> None:
        self._python = python
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self, arguments: list[str], environment: dict[str, str], folder: Path, log: Path) -> int:
        """Start a server and return its process id; it may not listen yet."""
        order = {"arguments": arguments, "environment": environment, "folder": str(folder), "log": str(log)}
        with self._lock:
            process = self._ready()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if sys.platform == "win32":  # the process itself has become the server
                self._process = None
        return int(answer)

    def warm_up(self) -> None:
        """Prepare for the first order."""
        with self._lock:
            self._ready()

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [self._python, str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=config.child_environment() | {"JUPYTER_PLATFORM_DIRS": "1", **QUIET},
                start_new_session=sys.platform != "win32",  # Ctrl-C is for the fake; this ends with it
            )
            atexit.register(end, self._process)
            assert self._process.stdout is not None
            if self._process.stdout.readline().strip() != b"ready":
                raise RuntimeError(f'{self._python} has no jupyter_server: pip install "lecoder-cgpu[local]"')
        return self._process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a nursery; the servers notice and end too."""
    process.kill()
    process.communicate()


@cache
def of(python: str) -> Nursery:
    """The one nursery for an interpreter."""
    return Nursery(python)


def problem(python: str) -> str | None:
    """Why an interpreter cannot run the servers of VMs; None if it can, as far as its packages tell."""
    try:
        found = _versions(python)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{python} cannot be executed: {error}"
    if {"jupyter_server", "ipykernel"} <= found.keys():
        return None
    return f'{python} has no jupyter_server or ipykernel: pip install "lecoder-cgpu[local]"'


def unlike_colab(python: str) -> str:
    """In which versions an interpreter's runtimes are not as Colab's (protocol C38); empty if in none that matters, as
    Python's own last number does not."""
    found = _versions(python)
    wanted = {**IMAGE, "Python": IMAGE["Python"].rpartition(".")[0]}
    found["Python"] = found["Python"].rpartition(".")[0]
    return ", ".join(
        f"{name} {found.get(name, 'missing')} (Colab: {version})"
        for name, version in wanted.items()
        if found.get(name) != version
    )


def _versions(python: str) -> dict[str, str]:
    """The versions of Python and of the packages of a runtime, without those that are missing."""
    look = (
        "import importlib.metadata, json, platform, sys\n"
        "found = {'Python': platform.python_version()}\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        found[name] = importlib.metadata.version(name)\n"
        "    except importlib.metadata.PackageNotFoundError:\n"
        "        pass\n"
        "print(json.dumps(found))"
    )
    names = [name for name in IMAGE if name != "Python"]
    done = subprocess.run([python, "-c", look, *names], timeout=60, check=True, stdout=subprocess.PIPE)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions
