"""`/colab/tty`: one shell of the VM as frames of JSON, for one connection at a time."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import signal
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .machine import HERE

if TYPE_CHECKING:
    from .vms import VM

SCREEN = 1 << 16  # characters that a later connection is shown
CTRL_D = "\x04"
DETACHED = "\r\n[detached (from session 0)]\r\n"


class Screen:
    """The terminal of a VM. Its shell starts with the first connection, and again after it has ended.

    As with `tmux new-session -A -D`, a new connection takes the terminal from the one before it.
    """

    def __init__(self, vm: VM) -> None:
        self._vm = vm
        self._process: subprocess.Popen[bytes] | None = None
        self._master = -1
        self._shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.connected: set[Tty] = set()

    def attach(self, client: Tty) -> None:
        """Detach the connection before it, send the present screen, and all output from now on."""
        for other in list(self.connected):
            other.show(DETACHED)
            other.close()
            self.detach(other)
        if self._process is None:
            self._start()
        elif self._shown:
            client.show("\x1b[H\x1b[2J" + self._shown)
        self.connected.add(client)

    def detach(self, client: Tty) -> None:
        self.connected.discard(client)

    def type(self, text: str) -> None:
        """Ctrl-D is swallowed: it would end the shell."""
        data = text.replace(CTRL_D, "").encode()
        if self._process is not None and data:
            os.write(self._master, data)

    def resize(self, columns: int, rows: int) -> None:
        import fcntl
        import termios

        if self._process is not None:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """End the shell, and with it the connections."""
        process, self._process = self._process, None
        if process is None:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._shown = ""
        for client in list(self.connected):
            client.close()

    def _start(self) -> None:
        import pty

        machine = self._vm.machine
        self._master, slave = pty.openpty()
        environment = machine.environment(self._vm.inside.address) | {"TERM": "screen", "PS1": "# "}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "terminal.py")],
            cwd=machine.root / "content",
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux has no end of file here
            data = b""
        if not data:
            self.close()
            return
        text = self._decoder.decode(data)
        self._shown = (self._shown + text)[-SCREEN:]
        for client in list(self.connected):
            client.show(text)


class Tty(WebSocketHandler):
    """One connection to the screen."""

    def initialize(self, vm: VM) -> None:
        self._screen = vm.screen

    def prepare(self) -> None:
        if sys.platform == "win32":
            self.send_error(404)  # there are no such terminals there

    def check_origin(self, origin: str) -> bool:
        return True

    def open(self, *arguments: str, **named: str) -> None:
        self._screen.attach(self)

    def on_message(self, message: str | bytes) -> None:
        try:
            frame = json.loads(message)
        except ValueError:
            return
        if not isinstance(frame, dict):
            return
        if isinstance(frame.get("data"), str):
            self._screen.type(frame["data"])
        if isinstance(frame.get("cols"), int) and isinstance(frame.get("rows"), int):
            self._screen.resize(frame["cols"], frame["rows"])

    def on_close(self) -> None:
        self._screen.detach(self)

    def show(self, text: str) -> None:
        try:
            future: Any = self.write_message(json.dumps({"data": text}))
            future.add_done_callback(lambda done: done.exception())
        except WebSocketClosedError:
            self._screen.detach(self)
