"""The real command line in processes that a warm process forks: hundreds of commands without the time to import.

A command is a process of its own, which executes what `python -m lecoder_cgpu` does and can be killed as that can. Only
what is imported is there from the beginning.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PACKAGES = (
    "auth",
    "backends",
    "cli",
    "files",
    "helper",
    "history",
    "jupyter",
    "net",
    "runs",
    "sessions",
    "store",
    "system",
)


@dataclass
class Command:
    """A command that was started, its process, and the files that its output goes to."""

    words: tuple[str, ...]
    pid: int
    out: Path
    err: Path
    _forks: Forks
    _code: int | None = None

    def wait(self, limit: float) -> int | None:
        """The exit status, negative for a signal; None if the process has not ended within `limit` seconds."""
        if self._code is None:
            handle = os.pidfd_open(self.pid)
            try:
                if select.select([handle], [], [], limit)[0]:
                    self._code = int(self._forks.ask({"reap": self.pid}))
            finally:
                os.close(handle)
        return self._code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self._code is None:
            os.kill(self.pid, number)  # it is not reaped before `wait`, so the number is still its own


class Forks:
    """The warm process. It ends with this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def ask(self, order: dict[str, Any]) -> str:
        """Give an order, and return the answer."""
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return self._process.stdout.readline().decode()

    def start(self, words: tuple[str, ...], environment: Mapping[str, str], folder: Path, name: str) -> Command:
        """Start a command; its output goes to the files NAME.out and NAME.err in the folder."""
        out, err = folder / f"{name}.out", folder / f"{name}.err"
        for path in (out, err):
            path.touch()  # the command may be killed before it opens them
        order = {"words": words, "environment": dict(environment), "out": str(out), "err": str(err)}
        return Command(words, int(self.ask(order)), out, err, self)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def warm() -> None:
    """Import what commands import."""
    for package in PACKAGES:
        name = f"lecoder_cgpu.{package}"
        for found in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            importlib.import_module(found.name)
    from lecoder_cgpu.net.http import Http

    Http("http://127.0.0.1/", {})._client.close()  # imports what the first request would import
    gc.collect()
    gc.freeze()


def main() -> None:
    warm()
    os.write(1, b"ready\n")
    pending = b""
    while True:
        line, found, rest = pending.partition(b"\n")
        if not found:
            data = os.read(0, 1 << 16)
            if not data:
                return
            pending += data
            continue
        pending = rest
        order = json.loads(line)
        if "reap" in order:
            os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(order["reap"], 0)[1]))
            continue
        child = os.fork()
        if child == 0:
            become(order)
            return
        os.write(1, b"%d\n" % child)


def become(order: dict[str, Any]) -> None:
    """Do what the command's process does from its beginning. What differs from process to process is made anew."""
    from lecoder_cgpu.__main__ import run
    from lecoder_cgpu.sessions import interrupted_start

    for number, place in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
        opened = os.open(place, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(order["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()
    interrupted_start.ASKER = os.urandom(8).hex()
    sys.argv = ["lecoder-cgpu", *order["words"]]
    run()


if __name__ == "__main__":
    main()
