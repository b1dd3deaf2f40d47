"""A terminal on the runtime: a shell behind a pseudo-terminal, over Jupyter's terminals or Colab's own socket.

Jupyter's terminals (`/api/terminals`) are separate shells that outlive a connection; their server sends the recent
output again to every new connection (protocol J28). Colab's `/colab/tty` is one shell inside tmux, which redraws its
screen for each new connection and lets go of the one before it (protocol C41). Both look the same from here.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from .. import errors
from ..net.addresses import segment
from ..net.retry import reconnect
from ..net.websocket import WebSocket
from .server import Server

KEPT = 256 << 10  # characters of output that are kept, to find out what a replay repeats
PENDING = 64 << 10  # characters typed while there is no connection
OVERLAP = 16  # characters that a replay must share with what was shown, to be taken for its continuation
ATTEMPT_LIMIT = 10.0  # seconds for one handshake
LEFT_IN_ORDER = (1000, 1005)  # close codes of a peer that has ended, not of a connection that broke

# A line of sh starts the shell and reports its exit status in an escape sequence that no terminal shows. Jupyter's
# server takes the command from the request. A server that does not starts its own shell.
_START = r"""
unset JUPYTER_TOKEN
infocmp "$1" >/dev/null 2>&1 || set -- xterm-256color
export TERM="$1" COLORTERM=truecolor
"${SHELL:-/bin/sh}" -l
printf '\033]7717;exit=%d\007' "$?"
"""
_DETACHED = "[detached (from session"  # the last words of tmux when another connection has taken the terminal
_EXIT = re.compile(r"\x1b\]7717;exit=(\d+)\x07")


class Terminal:
    """A connection to a shell on the runtime.

    `ended` is true when the shell is over; `exit_status` is its status where that is known. `taken` is true when
    another connection has the shell now, which goes on. One thread calls `receive` and `reconnect`; another may call
    `send` and `resize`.

    Args:
        server: the runtime's.
        term: what kind of terminal this is, as in `TERM`.
        attach: the name of a terminal that is there already; None starts a shell.

    Raises:
        errors.NotFoundError: the runtime has no terminals, or none of that name.
        errors.AuthError, errors.ConnectionFailed: see `net.http.Http.request`.
    """

    def __init__(self, server: Server, term: str, attach: str | None = None) -> None:
        self._server = server
        self.name = attach
        self.ended = self.taken = False
        self.exit_status: int | None = None
        self._chunks: list[str] = []
        self._kept = 0
        self._whole = attach is None  # whether the chunks are all that the shell has ever written
        self._replay_due = False
        self._lock = threading.Lock()
        self._pending = ""
        self._size: tuple[int, int] | None = None
        if attach is None:
            self.name = self._start(term)
        self.shared = self.name is None
        self._socket: WebSocket | None = self._connect()

    # --- opening ---

    def _start(self, term: str) -> str | None:
        """Start a shell; None where there is only Colab's own terminal (protocol C42)."""
        command = ["/bin/sh", "-c", _START, "lecoder-cgpu", term]
        try:
            return self._server.start_terminal({"shell_command": command})
        except errors.NotFoundError:
            return None
        except errors.ServerError:  # there is no /bin/sh, or the server does not let us choose the shell
            return self._server.start_terminal({})

    def _connect(self) -> WebSocket:
        path = "colab/tty" if self.name is None else f"terminals/websocket/{segment(self.name)}"
        try:
            return self._server.open_socket(path, timeout=ATTEMPT_LIMIT)
        except errors.NotFoundError as error:
            if self.name is not None:
                raise errors.NotFoundError(
                    f"there is no terminal {self.name!r} on the runtime",
                    name="TerminalNotFound",
                    hint="a new one: lecoder-cgpu connect",
                ) from error
            raise errors.NotFoundError(
                "the runtime's server has no terminals",
                name="NoTerminals",
                hint="lecoder-cgpu connect -m kernel",
            ) from error

    # --- what comes ---

    def receive(self, timeout: float | None) -> str | None:
        """The next piece of output; None if none came within `timeout` seconds, or the shell has ended.

        Raises:
            errors.ConnectionFailed: the connection dropped; call `reconnect`.
        """
        socket = self._socket
        assert socket is not None
        try:
            frame = socket.receive(timeout)
        except errors.ConnectionFailed:
            if self.shared and socket.close_code in LEFT_IN_ORDER:
                self.taken = _DETACHED in "".join(self._chunks[-8:])[-200:]
                self.ended = not self.taken
                return None
            raise
        return None if frame is None else self._take(frame)

    def _take(self, frame: str | bytes) -> str | None:
        try:
            message: Any = msgspec.json.decode(frame)
        except msgspec.DecodeError:
            return None
        text = None
        if isinstance(message, dict):
            text = message.get("data")
        elif isinstance(message, list) and message:
            if message[0] == "disconnect":
                self._end()
            elif message[0] in ("stdout", "stderr") and len(message) > 1:
                text = message[1]
        if not isinstance(text, str):
            return None
        if self._replay_due:
            self._replay_due = False
            text = self._news(text)
        self._keep(text)
        return _EXIT.sub("", text)

    def _end(self) -> None:
        self.ended = True
        found = _EXIT.search("".join(self._chunks[-8:]))
        if found:
            self.exit_status = int(found[1])

    def _keep(self, text: str) -> None:
        self._chunks.append(text)
        self._kept += len(text)
        if self._kept > 2 * KEPT:
            rest = "".join(self._chunks)[-KEPT:]
            self._chunks, self._kept, self._whole = [rest], len(rest), False

    def _news(self, replay: str) -> str:
        """The part of a replay that was not shown yet."""
        shown = "".join(self._chunks)
        if not shown:
            return replay
        if self._whole and replay.startswith(shown):
            return replay[len(shown) :]
        if len(replay) > len(shown):
            at = replay.find(shown)
            if at >= 0:
                return replay[at + len(shown) :]
        common = overlap(shown, replay)
        return replay[common:] if common >= OVERLAP else "\r\n" + replay

    # --- what goes ---

    def send(self, text: str) -> None:
        """Type text. Without a connection, it is kept until there is one again."""
        with self._lock:
            if self._socket is not None and not self._pending:
                try:
                    self._socket.send(self._typed(text))
                except errors.ConnectionFailed:
                    pass
                else:
                    return
            self._pending = (self._pending + text)[-PENDING:]

    def resize(self, rows: int, columns: int) -> None:
        """Tell the runtime the size of our window."""
        with self._lock:
            self._size = rows, columns
            if self._socket is not None:
                self._send_size(self._socket, rows, columns)

    def _typed(self, text: str) -> str:
        return _json({"data": text} if self.shared else ["stdin", text])

    def _send_size(self, socket: WebSocket, rows: int, columns: int) -> None:
        frame = {"cols": columns, "rows": rows} if self.shared else ["set_size", rows, columns, 0, 0]
        with contextlib.suppress(errors.ConnectionFailed):  # `receive` fails, too, and its caller reconnects
            socket.send(_json(frame))

    # --- the connection ---

    def reconnect(self, given_up: Callable[[], bool], on_failure: Callable[[], None]) -> None:
        """Make a dropped connection again, however long that takes. Also returns when `given_up` says so.

        Args:
            on_failure: called once, when the first attempt has failed.

        Raises:
            errors.AuthError: the server is back and refuses our token.
        """
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
        told = False

        def again(error: errors.Error) -> bool:
            nonlocal told
            if isinstance(error, errors.ConnectionFailed) and not told:
                told = True
                on_failure()
            return isinstance(error, errors.ConnectionFailed) and not given_up()

        if given_up():
            return
        try:
            self._resume(reconnect(self._connect, again=again, limit=None))
        except errors.NotFoundError:
            self.ended = True  # the shell ended meanwhile; its exit status is not known
        except errors.ConnectionFailed:
            if not given_up():
                raise

    def _resume(self, socket: WebSocket) -> None:
        self._replay_due = not self.shared
        with self._lock:
            if self._size is not None:
                rows, columns = self._size
                # A change of size makes programs that own the screen draw it anew.
                self._send_size(socket, max(rows - 1, 1), columns)
                self._send_size(socket, rows, columns)
            if self._pending:
                with contextlib.suppress(errors.ConnectionFailed):  # dropped again: `receive` fails, too
                    socket.send(self._typed(self._pending))
                    self._pending = ""
            self._socket = socket

    def close(self) -> None:
        """Close the connection; the shell goes on."""
        if self._socket is not None:
            self._socket.close()


def overlap(shown: str, replay: str) -> int:
    """The length of the longest end of `shown` with which `replay` begins. Below `OVERLAP`, it may say 0."""
    shown = shown[-min(len(replay), KEPT) :] if replay else ""
    starts = (found.start() for found in re.finditer(f"(?={re.escape(replay[:OVERLAP])})", shown))
    return next((len(shown) - at for at in starts if replay.startswith(shown[at:])), 0)


def _json(content: Any) -> str:
    return msgspec.json.encode(content).decode()
