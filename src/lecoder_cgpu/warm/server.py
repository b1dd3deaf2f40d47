"""The prepared process: it has imported what commands need, and forks a child for each that comes.

It is started by a command that has missed one, imports what that command has imported, and what its children had to
import after all. It does nothing else: it has read no file of ours, holds no lock of ours, has one thread. So a child
begins as a new interpreter does that has imported the same, with the streams, the folder, the arguments and the
environment of the command that it stands for. What cannot be handed over is the same on both sides (`likeness`).

*Nothing runs twice.* A child is forked when `go` has been read, and once. Who has been told `declined` was not and will
not be served; who is told nothing any more does not try again.

*Nothing stays.* A client that is gone takes its child along. The process ends when nobody came for ten minutes, when a
file that it has imported has changed, and when `keeper stop` tells it to. Its streams lead nowhere, so nobody who waits
for the end of a pipe waits for it.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import io
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NoReturn

from . import control, likeness, messages

IDLE = 600.0  # seconds without a command after which it ends
PATIENCE = 2.0  # seconds for the rest of a message, and for `go`
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what `cli.main` answers with a document


class _Client:
    """A command that is connected: its hello has been answered, or its child (`pid`) is running."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.since = time.monotonic()
        self.pid = 0
        self.hello = b""
        self.files: list[int] = []
        self.signals: list[int] = []  # that have come before its child was there
        self.rest = b""

    def close(self) -> None:
        self.connection.close()
        for number in self.files:
            os.close(number)
        self.files = []


class Server:
    """Serves the commands that are like the process that has started it, one child each.

    `command` does what `sys.argv` says, with that id for its run, and returns the exit status.
    """

    def __init__(self, folder: int, name: str, command: Callable[[str], int]) -> None:
        self._folder, self._name, self._command = folder, name, command
        self._clients: dict[int, _Client] = {}
        self._files = dict(_imported_files())
        self._counts: Counter[str] = Counter()
        self._learnt, self._teach = os.pipe()
        os.set_blocking(self._learnt, False)
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._over = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve(self) -> None:
        """Until nobody comes any more. Returns in this process only; a child ends by itself."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        address = messages.address(self._folder, self._name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)  # its owner is gone, for the lock is ours
        self._listener.bind(address)
        self._listener.listen(64)
        last = time.monotonic()
        while not self._over or any(client.pid for client in self._clients.values()):
            waiting = [self._woken, *self._clients, *([] if self._over else [self._listener.fileno()])]
            ready, _, _ = select.select(waiting, [], [], 5.0)
            now = time.monotonic()
            if self._clients:
                last = now
            self._over = self._over or now - last > IDLE or not self._is_wanted()
            if self._over:
                self._close_listener()
            for number in ready:
                self._attend(number)
            self._bury()
            self._forget_silent(now)
        self._close_listener()

    def _is_wanted(self) -> bool:
        """Whether we can be found, and are installed."""
        return os.path.exists(__file__) and os.access(self._name, os.F_OK, dir_fd=self._folder)

    def _close_listener(self) -> None:
        if self._listener.fileno() >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
            self._listener.close()

    def _stop(self, *_: object) -> None:
        self._over = True

    def _attend(self, number: int) -> None:
        if number == self._woken:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        elif number == self._listener.fileno():
            with contextlib.suppress(OSError):
                self._greet(self._listener.accept()[0])
        elif (client := self._clients.get(number)) is not None:
            try:
                self._hear(client)
            except OSError:
                self._drop(client)

    # --- before a command begins ---

    def _greet(self, connection: socket.socket) -> None:
        """Read a hello whole, and take the command or decline it."""
        client = _Client(connection)
        try:
            connection.settimeout(PATIENCE)
            if messages.peer(connection)[1] != os.geteuid():
                raise PermissionError("another user")
            self._read_hello(client)
            if client.hello in (b"stop", b"counts"):
                self._control(client)
            elif dict(_imported_files()) != self._files:
                self._over = True
                self._decline(client, "the installation has changed")
            else:
                connection.sendall(b"take\n")
                self._clients[connection.fileno()] = client
        except OSError:
            client.close()

    def _read_hello(self, client: _Client) -> None:
        text = b""
        while len(text) < 4 or len(text) < 4 + int.from_bytes(text[:4], sys.byteorder):
            more = client.connection.recv(1 << 20)
            if not more:
                raise ConnectionResetError("half a hello")
            text += more
        client.hello = text[4:]

    def _decline(self, client: _Client, why: str) -> None:
        self._counts[f"declined, {why}"] += 1
        client.connection.sendall(os.fsencode(f"declined {why}\n"))
        client.close()

    def _control(self, client: _Client) -> None:
        """What `control` asks: the counts, or to end; commands that are running are not disturbed."""
        said = ", ".join(f"{what}: {count}" for what, count in sorted(self._counts.items(), reverse=True))
        client.connection.sendall(os.fsencode(f"{os.getpid()} {said or 'has done nothing yet'}\n"))
        self._over = self._over or client.hello == b"stop"
        client.close()

    # --- while it runs ---

    def _hear(self, client: _Client) -> None:
        """Lines of a client; nothing more, when it is gone."""
        more, ancillary, _, _ = client.connection.recvmsg(4096, socket.CMSG_SPACE(4 * messages.FILES))
        for _, _, data in ancillary:  # nothing but files
            numbers = array.array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            client.files += numbers
        if not more:
            self._drop(client)
            return
        client.rest += more
        while b"\n" in client.rest:
            line, _, client.rest = client.rest.partition(b"\n")
            if line == b"go" and not client.pid and len(client.files) == messages.FILES:
                self._begin(client)
            elif line[:1] == b"s" and line[1:].isdigit():
                self._pass_on(client, int(line[1:]))

    def _begin(self, client: _Client) -> None:
        client.connection.settimeout(None)
        client.connection.sendall(b"started\n")
        self._counts["served"] += 1
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # they wait until the command can answer them
        client.pid = os.fork()
        if client.pid == 0:
            self._be(client)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        for number in client.files:
            os.close(number)
        client.files, client.hello = [], b""
        for number in client.signals:
            self._pass_on(client, number)

    def _pass_on(self, client: _Client, number: int) -> None:
        """Send a signal that the command has got to its child."""
        if not client.pid:
            client.signals.append(number)
            return
        with contextlib.suppress(OSError):
            os.kill(client.pid, signal.SIGSTOP if number == signal.SIGTSTP else number)

    def _drop(self, client: _Client) -> None:
        """A client is gone: so is what it has started, as if that had been itself."""
        self._clients.pop(client.connection.fileno(), None)
        if client.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(client.pid, signal.SIGKILL)
        client.close()

    def _forget_silent(self, now: float) -> None:
        for client in list(self._clients.values()):
            if not client.pid and now - client.since > PATIENCE:
                del self._clients[client.connection.fileno()]
                with contextlib.suppress(OSError):
                    self._decline(client, "no go in time")
                client.close()

    def _bury(self) -> None:
        """Tell of children that a signal has ended; those that ended by themselves have told."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            for client in [item for item in self._clients.values() if item.pid == pid]:
                del self._clients[client.connection.fileno()]
                with contextlib.suppress(OSError):
                    if os.WIFSIGNALED(status):
                        client.connection.sendall(b"signal %d\n" % os.WTERMSIG(status))
                client.close()
        with contextlib.suppress(BlockingIOError):
            _learn(os.read(self._learnt, 65536))
            self._files = {**dict(_imported_files()), **self._files}
            self._over = self._over or threading.active_count() > 1  # what a child of a thread's owner is, nobody knows

    # --- the child ---

    def _be(self, client: _Client) -> NoReturn:
        """Become the command, do it, and end."""
        status = 70
        try:
            self._leave_server(client)
            run = _take_over(client)
            before = set(sys.modules)
            status = self._command(run)
            for thread in threading.enumerate():
                if thread is not threading.main_thread() and not thread.daemon:
                    thread.join()
            import atexit

            atexit._run_exitfuncs()
            names = "\n".join(["", *(set(sys.modules) - before), ""])
            os.write(self._teach, os.fsencode(names)[: select.PIPE_BUF])
        except Exception:
            sys.excepthook(*sys.exc_info())
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            with contextlib.suppress(OSError):
                client.connection.sendall(b"exit %d\n" % (status & 0xFF))
            os._exit(status & 0xFF)

    def _leave_server(self, client: _Client) -> None:
        signal.set_wakeup_fd(-1)
        os.setpgid(0, 0)
        for name in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (self._woken, self._wake, self._learnt, self._folder):
            os.close(number)
        self._listener.close()
        for other in self._clients.values():
            if other is not client:
                other.close()


def _take_over(client: _Client) -> str:
    """Take what the command has handed over; returns the id of its run."""
    run, arguments, environment = messages.read_hello(client.hello)
    for number, given in enumerate(client.files[:3]):
        os.dup2(given, number)
    os.fchdir(client.files[3])
    for given in client.files:
        os.close(given)
    client.files = []
    os.environb.clear()
    os.environb.update(environment)
    sys.argv[:] = arguments
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        mode, newline = ("r", None) if number == 0 else ("w", "\n")
        binary = open(number, f"{mode}b", closefd=False)  # noqa: SIM115  # it stays
        stream = io.TextIOWrapper(binary, old.encoding, old.errors, newline, number == 2, old.write_through)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    return run


def _learn(names: bytes) -> None:
    """Import what a child has imported, for the next ones."""
    for name in os.fsdecode(names).split("\n"):
        if name and name not in sys.modules and not name.startswith("_"):
            with contextlib.suppress(Exception):  # what it is good for, its user finds out
                importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _imported_files() -> Iterator[tuple[str, tuple[int, int]]]:
    """The files that the modules here came from, as they are now: when they were written, and their size."""
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path:
            try:
                status = os.stat(path)
                yield path, (status.st_mtime_ns, status.st_size)
            except OSError:
                yield path, (0, 0)


def serve(command: Callable[[str], int]) -> None:
    """Be the prepared process that a command has started, if there is none yet. stdin says what for."""
    with open(0, "rb", closefd=False) as given:
        size = int.from_bytes(given.read(4), sys.byteorder)
        process = given.read(size)
        name, *modules = given.read().split(b"\0")
    if likeness.of_process() != process:
        return  # something that is compared has not passed to us
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    folder = messages.folder(make=True)
    with messages.owning(folder, os.fsdecode(name)) as owned:
        if owned and control.has_room(folder):
            _learn(b"\n".join(modules))
            if threading.active_count() == 1:
                Server(folder, os.fsdecode(name), command).serve()
