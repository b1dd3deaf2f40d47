"""The local terminal while something remote owns it: raw keystrokes out, its size, and everything put back at the end.

Nothing here knows what is at the other end. POSIX terminals and the Windows console differ in two small classes.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

_MODE = re.compile(r"\x1b\[\?([0-9;]+)([hl])")
# Private modes that outlive a program that is cut off: mouse, focus, bracketed paste, and, last, the other screen.
_LASTING = ("1000", "1002", "1003", "1004", "1006", "2004", "1", "47", "1047", "1049")
RESIZE_POLL = 0.25  # seconds, where no signal tells of a new size


class Modes:
    """What the remote side has switched on in our terminal, as far as it must be switched off again."""

    def __init__(self) -> None:
        self._on: set[str] = set()
        self._cursor_hidden = False

    def see(self, text: str) -> None:
        """Note the modes that a piece of output sets and resets."""
        if "\x1b[?" not in text:
            return
        for numbers, switch in _MODE.findall(text):
            for number in numbers.split(";"):
                if number == "25":
                    self._cursor_hidden = switch == "l"
                elif number in _LASTING:
                    (self._on.add if switch == "h" else self._on.discard)(number)

    def undo(self) -> str:
        """What puts the terminal back into its usual modes."""
        text = "".join(f"\x1b[?{number}l" for number in _LASTING if number in self._on)
        return text + ("\x1b[?25h" if self._cursor_hidden else "") + ("\x1b[0m" if text else "")


class Keyboard(Protocol):
    """The raw input side of a terminal."""

    def enter(self) -> None: ...
    def read(self) -> bytes | None:
        """What was typed; b"" at the end of input, None when woken up (a new size, or the end)."""

    def wake(self) -> None: ...
    def leave(self) -> None: ...


class PosixKeyboard:
    """A terminal in raw mode; `leave` puts back what was there, at any moment and any number of times."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: Any = None
        self._wake_out, self._wake_in = -1, -1
        self._previous: Any = None

    def enter(self) -> None:
        import termios
        import tty

        self._saved = termios.tcgetattr(self._fd)
        self._wake_out, self._wake_in = os.pipe()
        self._previous = signal.signal(signal.SIGWINCH, lambda number, frame: self.wake())
        tty.setraw(self._fd, termios.TCSADRAIN)  # what was typed already is for the remote side

    def read(self) -> bytes | None:
        ready, _, _ = select.select([self._fd, self._wake_out], [], [])
        if self._wake_out in ready:
            os.read(self._wake_out, 1024)
            return None
        try:
            return os.read(self._fd, 65536)
        except OSError:  # the terminal has gone
            return b""

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_in, b"!")

    def leave(self) -> None:
        import termios

        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, saved)
        signal.signal(signal.SIGWINCH, self._previous)


class WindowsKeyboard:
    """The console with keys as virtual-terminal sequences and nothing processed (Windows 10 and newer)."""

    _RAW_IN = 0x0200  # ENABLE_VIRTUAL_TERMINAL_INPUT
    _OUT = 0x0001 | 0x0004  # ENABLE_PROCESSED_OUTPUT | ENABLE_VIRTUAL_TERMINAL_PROCESSING

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[tuple[Any, int]] = []
        self._woken = threading.Event()

    def enter(self) -> None:
        import ctypes

        kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
        for number, mode in ((-10, self._RAW_IN), (-11, self._OUT)):
            handle, before = kernel.GetStdHandle(number), ctypes.c_ulong()
            if kernel.GetConsoleMode(handle, ctypes.byref(before)):
                self._saved.append((handle, before.value))
                kernel.SetConsoleMode(handle, mode)

    def read(self) -> bytes | None:
        import msvcrt

        while not msvcrt.kbhit():  # type: ignore[attr-defined,unused-ignore]
            if self._woken.wait(0.01):
                self._woken.clear()
                return None
        typed = "".join(iter(lambda: msvcrt.getwch() if msvcrt.kbhit() else "", ""))  # type: ignore[attr-defined,unused-ignore]
        return typed.encode("utf-8", "surrogatepass")

    def wake(self) -> None:
        self._woken.set()

    def leave(self) -> None:
        import ctypes

        while self._saved:
            handle, mode = self._saved.pop()
            ctypes.windll.kernel32.SetConsoleMode(handle, mode)  # type: ignore[attr-defined,unused-ignore]


class Console:
    """The local terminal in raw mode, as a context manager: whatever ends it, the terminal is as it was before.

    Args:
        fd: the terminal to read keys from.
        write: puts bytes on its screen.
        on_keys: told what was typed, from a thread.
        on_size: told rows and columns, at once and whenever they change, from a thread.
        on_leave: told when the key to leave was typed, or the input has ended.
        leave_key: the control character that is ours, None for no such key.
    """

    def __init__(
        self,
        fd: int,
        write: Callable[[bytes], None],
        on_keys: Callable[[str], None],
        on_size: Callable[[int, int], None],
        on_leave: Callable[[], None],
        leave_key: str | None,
    ) -> None:
        self._fd = fd
        self._write = write
        self._on_keys = on_keys
        self._on_size = on_size
        self._on_leave = on_leave
        self._leave_key = leave_key
        self._modes = Modes()
        self._keyboard: Keyboard = WindowsKeyboard(fd) if sys.platform == "win32" else PosixKeyboard(fd)
        self._stop = threading.Event()
        self._size: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Console:
        try:
            self._keyboard.enter()
            self._tell_size()
            self._thread.start()
            if sys.platform == "win32":
                threading.Thread(target=self._poll_size, daemon=True).start()
        except BaseException:
            self._keyboard.leave()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._keyboard.wake()
        self._thread.join(1)
        try:
            if undo := self._modes.undo():
                self._write(undo.encode())
        finally:
            self._keyboard.leave()

    def show(self, text: str) -> None:
        """Put output of the remote side on the screen."""
        self._modes.see(text)
        self._write(text.encode("utf-8", "replace"))

    def note(self, text: str) -> None:
        """A line of ours on the screen."""
        self._write(f"\r\n[{text}]\r\n".encode())

    def _listen(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while not self._stop.is_set():
            typed = self._keyboard.read()
            if typed is None:
                self._tell_size()
                continue
            text = decoder.decode(typed)
            before, leaves, _ = text.partition(self._leave_key) if self._leave_key else (text, "", "")
            if before:
                self._on_keys(before)
            if leaves or not typed:
                self._on_leave()
                return

    def _tell_size(self) -> None:
        if self._stop.is_set():
            return
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(self._fd)
            if (rows, columns) != self._size and rows and columns:
                self._size = rows, columns
                self._on_size(rows, columns)

    def _poll_size(self) -> None:
        while not self._stop.wait(RESIZE_POLL):
            self._tell_size()


def leave_key(name: str) -> str | None:
    """The control character of a key's name: `ctrl-]`, `^X`, `none`.

    Raises:
        ValueError: the text is not a control key.
    """
    wanted = name.strip().lower()
    if wanted == "none":
        return None
    character = wanted.removeprefix("ctrl-").removeprefix("^")
    if len(character) == 1 and wanted != character and "@" <= character.upper() <= "_" and character != "@":
        return chr(ord(character.upper()) & 0x1F)
    raise ValueError(name)
