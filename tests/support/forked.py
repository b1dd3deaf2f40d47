"""The real command line in processes that a warm process forks: thousands of commands without the time to import.

A command is a process of its own, which executes what `python -m lecoder_cgpu` does, and can be waited for, read and
killed as that can: `ForkedCommand` is a `subprocess.Popen`. Only what is imported is there from the beginning.
With LECODER_CGPU_TEST_FORKS=off in the environment of the tests, every command has an interpreter of its own; with
`warm`, users' own prepared processes (LECODER_CGPU_WARM) do what they can.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
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
LENGTH = struct.Struct("!I")
# What an interpreter reads when it starts: with other values a command needs an interpreter of its own.
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_")
UNDERSTOOD = {"stdin", "stdout", "stderr", "cwd", "bufsize", "start_new_session", "text"}


def can_fork(environment: Mapping[str, str], options: Mapping[str, Any]) -> bool:
    """Whether a command with this environment and these options of `Popen` is the same when it is forked."""
    names = {*environment, *os.environ} - {"PYTHONPATH", "LD_PRELOAD"}
    odd = [name for name in names if name.startswith(READ_AT_START) and environment.get(name) != os.environ.get(name)]
    measured = any(name.startswith("COV") for name in environment)  # the coverage of each command by itself
    wanted = os.environ.get("LECODER_CGPU_TEST_FORKS") not in ("off", "warm") and hasattr(os, "pidfd_open")
    shadowed = any(_has_modules(folder) for folder in _added(environment))
    return wanted and not odd and not measured and not shadowed and options.keys() <= UNDERSTOOD


def _added(environment: Mapping[str, str]) -> list[str]:
    """What PYTHONPATH adds to the folders that modules come from."""
    folders = environment.get("PYTHONPATH", "").split(os.pathsep)
    return [folder for folder in folders if folder and folder not in (*sys.path, str(REPOSITORY))]


def _has_modules(folder: str) -> bool:
    """Whether something in it could stand before what is imported already; a backend's entry point cannot."""
    return any(entry.suffix == ".py" or (entry / "__init__.py").exists() for entry in Path(folder).glob("*"))


class ForkedCommand(subprocess.Popen[bytes]):
    """A command whose process comes from the warm one. The warm process is its parent, and tells how it ended."""

    _handle: int | None = None
    _warm: WarmProcess

    def _execute_child(self, args: Any, *rest: Any) -> None:
        """What `Popen` calls to start the process, with the ends of the pipes at fixed places."""
        # executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell, then the six pipes
        cwd, environment, pipes = rest[4], rest[5], rest[9:15]
        files = [own if number == -1 else number for own, number in enumerate(pipes[::2][:1] + pipes[3::2])]
        order = {"words": args, "environment": environment, "cwd": os.fspath(cwd or Path.cwd()), "session": rest[20]}
        self._warm = warm_process((environment or os.environ).get("LD_PRELOAD", ""))
        self.pid = self._warm.ask(order, files)
        self._handle = os.pidfd_open(self.pid)  # it is not reaped before we ask for it
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """The process' number and how it ended, as `os.waitpid` gives them; (0, 0) while it runs."""
        assert self._handle is not None
        if not select.select([self._handle], [], [], 0 if wait_flags & os.WNOHANG else None)[0]:
            return 0, 0
        os.close(self._handle)
        self._handle = None
        return self.pid, self._warm.ask({"reap": self.pid})

    def _internal_poll(self, _deadstate: int | None = None, **_ignored: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                if self._handle is not None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
            except (OSError, ValueError):
                if _deadstate is not None:  # the interpreter ends, and the warm process has
                    self.returncode = _deadstate
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


class WarmProcess:
    """The process that has everything imported, and a library preloaded if that is named. It ends with this one."""

    def __init__(self, preload: str) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                cwd=REPOSITORY,
                env={**os.environ, "LD_PRELOAD": preload} if preload else None,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._answer()

    def ask(self, order: dict[str, Any], files: list[int] | None = None) -> int:
        """Give an order, and return the answer."""
        data = json.dumps(order).encode("utf-8", "surrogateescape")
        with self._lock:
            socket.send_fds(self._socket, [LENGTH.pack(len(data))], files or [])
            self._socket.sendall(data)
            return self._answer()

    def _answer(self) -> int:
        return LENGTH.unpack(read_exactly(self._socket, LENGTH.size))[0]  # type: ignore[no-any-return]

    def close(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


@cache
def warm_process(preload: str = "") -> WarmProcess:
    process = WarmProcess(preload)
    atexit.register(process.close)
    return process


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Read this many bytes.

    Raises:
        EOFError: the other side is gone.
    """
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


# --- in the warm process ---


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


def main(number: int) -> None:
    orders = socket.socket(fileno=number)
    # A signal that comes before a command is one waits until it is, as `lecoder_cgpu.__main__` has it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    warm()
    orders.sendall(LENGTH.pack(0))
    while True:
        length, files, *_ = socket.recv_fds(orders, LENGTH.size, 3)
        if not length:
            return
        order = json.loads(read_exactly(orders, LENGTH.unpack(length)[0]))
        if "reap" in order:
            orders.sendall(LENGTH.pack(os.waitpid(order["reap"], 0)[1]))
            continue
        child = os.fork()
        if child == 0:
            orders.close()
            become(order, files)
            return
        for file in files:
            os.close(file)
        orders.sendall(LENGTH.pack(child))


def become(order: dict[str, Any], files: list[int]) -> None:
    """Do what the command's process does from its beginning. What differs from process to process is made anew."""
    from lecoder_cgpu.__main__ import run

    if order["session"]:
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path[1:1] = _added(os.environ)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = (stream(number) for number in range(3))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    random.seed()
    sys.argv = [str(Path(run.__code__.co_filename)), *order["words"]]
    try:
        run()
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
    leave(0)


def leave(status: int) -> None:
    """End as an interpreter does, but for freeing all objects, which would copy every page of the warm process."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        try:
            file.flush()
        except (OSError, ValueError):
            status = 120  # as the interpreter has it
    os._exit(status)


def stream(number: int) -> io.TextIOWrapper:
    """A standard stream as a new interpreter makes it."""
    model = (sys.stdin, sys.stdout, sys.stderr)[number]
    terminal = os.isatty(number)
    raw = open(number, "rb" if number == 0 else "wb", closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        raw, encoding=model.encoding, errors=model.errors, line_buffering=terminal or number == 2, write_through=False
    )


if __name__ == "__main__":
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        main(int(sys.argv[1]))
