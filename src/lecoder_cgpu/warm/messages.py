"""What the two sides send each other, and the folder in which they meet.

A command says hello, with its arguments and its environment, and hands its standard streams and its working folder over
when it is sure that they are taken: what waits in a socket unread keeps a pipe open.

    command                           prepared process
    hello                    ->
                             <-       take                     or: declined WHY
    go + 4 files             ->
                             <-       started                  or: declined WHY
    s2                       ->                                SIGINT came; any number of these
                             <-       exit 0                   or: signal 9

Each line ends with a newline; hello is its length in four bytes, and fields divided by NUL.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` would double what a client imports
if TYPE_CHECKING:
    from _socket import socket
    from types import TracebackType

FILES = 4  # stdin, stdout, stderr, the working folder
KEPT = ".open"  # how the socket's name ends of the process that keeps connections open (`net.socket_holder`)


def hello(run: str, arguments: list[str], environment: dict[str, str]) -> bytes:
    """The first message. `run`: the id of the run that the command makes."""
    fields = [run, str(len(arguments)), *arguments, *(f"{name}={value}" for name, value in environment.items())]
    return framed(b"\0".join(map(os.fsencode, fields)))


def framed(text: bytes) -> bytes:
    """A first message with its length before it. Those of `control` are one word."""
    return len(text).to_bytes(4, sys.byteorder) + text


def read_hello(text: bytes) -> tuple[str, list[str], dict[bytes, bytes]]:
    """The run's id, the arguments and the environment of a first message, without its length."""
    run, count, *rest = text.split(b"\0")
    arguments, variables = rest[: int(count)], rest[int(count) :]
    pairs = (item.partition(b"=") for item in variables)
    return os.fsdecode(run), list(map(os.fsdecode, arguments)), {name: value for name, _, value in pairs}


def folder(*, make: bool = False) -> int:
    """The open folder of the sockets, which belongs to this user alone; `make` it where it is missing.

    A name below it, as `/proc/self/fd/N/NAME`, is short enough for a socket, and cannot be turned elsewhere.

    Raises:
        OSError: there is none, or others could write into it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    shared = "/tmp"  # noqa: S108  # what is below it is looked at
    path = f"{base if os.path.isabs(base) and os.path.isdir(base) else shared}/lecoder-cgpu-{os.geteuid()}"
    if make and not os.path.lexists(path):
        os.mkdir(path, 0o700)
    found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(found)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(found)
        raise PermissionError(f"{path} is open to others")
    return found


def address(folder: int, name: str) -> str:
    """Where the socket of that name is, for `bind` and `connect`."""
    return f"/proc/self/fd/{folder}/{name}"


def peer(connection: socket) -> tuple[int, int]:
    """The number of the process at the other end of a connection, and its user."""
    import _socket

    found = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(found[:4], sys.byteorder), int.from_bytes(found[4:8], sys.byteorder)


class owning:
    """Be the only process with the socket of that name in the folder, while the block is executed: `as` is whether we
    are. The file that says so goes at its end."""

    def __init__(self, folder: int, name: str) -> None:
        self._folder, self._file, self._lock = folder, f"{name}.lock", -1

    def __enter__(self) -> bool:
        import fcntl

        self._lock = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed the file after we opened it.
            own = os.path.samestat(os.fstat(self._lock), os.stat(self._file, dir_fd=self._folder))
        except OSError:
            own = False
        if not own:
            os.close(self._lock)
            self._lock = -1
        return own

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock >= 0:
            os.unlink(self._file, dir_fd=self._folder)
            os.close(self._lock)
