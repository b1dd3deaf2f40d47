"""The command's side: hand it over to a prepared process, or do nothing.

Until `go` is sent, everything that is odd means that the command is done as without a prepared process. After it,
nothing is tried again: what was started is waited for. Signals that come here are passed on, and the command's end,
also by a signal, is ours.
"""

from __future__ import annotations

import os
import sys

from . import likeness, messages

PATIENCE = 0.5  # seconds for the answer to hello; a busy machine needs more than the millisecond of a quiet one
LOST = 137  # exit status where the command's end is not known: as of a process that was killed


class _Missing:
    """A process like us that no command has found. `umask` as it was, before the command changed its own."""

    name = ""
    process = b""
    umask = 0o022


def answer(arguments: list[str]) -> int | None:
    """Have a prepared process do this command line; its exit status, or None when nothing was done."""
    if likeness.reason_against(arguments) is not None:
        return None
    process = likeness.of_process()
    name = likeness.digest(process)
    _Missing.umask = os.umask(0o077)
    os.umask(_Missing.umask)
    _Missing.name, _Missing.process = name, process
    run = f"run-{os.urandom(8).hex()}"
    try:
        connection = _Connection(name)
        if not connection.offered(messages.hello(run, sys.argv, dict(os.environ))):
            return None
    except OSError:
        return None
    return connection.finish(run)


class _Connection:
    """One command's connection with a prepared process.

    Raises:
        OSError: nobody listens, or somebody else does.
    """

    def __init__(self, name: str) -> None:
        import _socket  # `socket` itself takes longer than all of the rest

        self._here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        folder = messages.folder()
        try:
            self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            self._socket.settimeout(PATIENCE)
            self._socket.connect(messages.address(folder, name))
        finally:
            os.close(folder)
        if messages.peer(self._socket)[1] != os.geteuid():
            raise PermissionError("another user's process answers")
        self._rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        self._rest = b""

    def offered(self, hello: bytes) -> bool:
        """Say hello; whether the other side takes the command. Nothing has happened when it does not."""
        self._socket.sendall(hello)
        return self._line() == b"take"

    def finish(self, run: str) -> int | None:
        """Let it be done, wait for its end and end in the same way; None when it was not begun after all."""
        self._pass_signals_on()
        self._socket.settimeout(None)
        try:
            files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2, self._here))
            self._socket.sendmsg([b"go\n"], [(*self._rights, files)])
            word, _, value = self._line().partition(b" ")
            if word == b"declined":
                self._keep_signals()
                return None
            while word not in (b"exit", b"signal"):
                word, _, value = self._line().partition(b" ")
        except OSError:
            _told(f"the process that did this was killed; how far it came: lecoder-cgpu logs {run}\n")
            return LOST
        return int(value) if word == b"exit" else _die(int(value))

    def _line(self) -> bytes:
        while b"\n" not in self._rest:
            more = self._socket.recv(4096)
            if not more:
                raise ConnectionResetError("the other side is gone")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _pass_signals_on(self) -> None:
        import _signal  # type: ignore[import-not-found]  # what `signal` wraps, without its enumerations

        def forward(number: int, _: object) -> None:
            try:  # noqa: SIM105  # contextlib is not there yet
                self._socket.sendall(b"s%d\n" % number)
            except OSError:  # it has ended meanwhile
                pass
            if number == _signal.SIGTSTP:
                os.kill(os.getpid(), _signal.SIGSTOP)

        self._previous = {}
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTSTP", "SIGCONT"):
            number = getattr(_signal, name)
            if _signal.getsignal(number) != _signal.SIG_IGN:
                self._previous[number] = _signal.signal(number, forward)

    def _keep_signals(self) -> None:
        import _signal

        for number, previous in self._previous.items():
            _signal.signal(number, previous)


def _told(text: str) -> None:
    try:  # noqa: SIM105
        os.write(2, text.encode())
    except OSError:  # nobody reads it
        pass


def _die(number: int) -> int:
    """End by the signal that has ended the command."""
    import _signal

    if number != _signal.SIGKILL:
        _signal.signal(number, _signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def prepare() -> None:
    """Start the process that this command has missed, for the next ones. It knows what this one had to import."""
    if not _Missing.name:
        return
    from . import launch

    handed = b"\0".join(map(os.fsencode, [_Missing.name, *sys.modules]))[:32000]  # a pipe holds 64 KiB unread
    count = len(sys.orig_argv) - len(sys.argv) + 1
    words = [sys.executable, *sys.orig_argv[1:count], "__prepared"]
    try:
        folder = messages.folder(make=True)
        with messages.owning(folder, _Missing.name) as nobody:
            pass
        os.close(folder)
        if not nobody:
            return  # one is being started
        os.umask(_Missing.umask)
        size = len(_Missing.process).to_bytes(4, sys.byteorder)
        launch.start(words, size + _Missing.process + handed)
    except OSError:
        pass  # the next command is as slow as this one
