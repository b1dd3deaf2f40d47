"""Images in a terminal: what it can show (kitty's protocol, iTerm2's, sixel), and a file for those that it cannot.

The terminal is asked, with a time limit; its environment answers where asking is not possible. Sixel needs pixels, so
it is used where Pillow is installed (the extra `repl` brings it).
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import os
import re
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import config
from ..jupyter import outputs
from ..models.runs import DisplayData
from ..system import images

if TYPE_CHECKING:
    from .output import Printer

Protocol = Literal["kitty", "iterm", "sixel"]

QUERY = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"  # kitty's question, and one that every terminal answers
QUERY_LIMIT = 0.5  # seconds
CHUNK = 4096  # bytes of base64 in one escape sequence of kitty's protocol
_ATTRIBUTES = re.compile(rb"\x1b\[\?([0-9;]*)c")
SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")
MAX_WIDTH = 1000  # pixels of a sixel image


class Pictures:
    """Shows the images among rich outputs.

    Args:
        protocol: finds out what the terminal understands, None for nothing; called when the first image comes.
        write: puts bytes on its screen.
        folder: makes and returns the folder for images that are saved; None if they are not to be saved.
    """

    def __init__(
        self,
        protocol: Callable[[], Protocol | None],
        write: Callable[[bytes], None],
        folder: Callable[[], Path] | None,
    ) -> None:
        self._protocol = cache(protocol)
        self._write = write
        self._folder = folder
        self._saved = 0

    def show(self, data: dict[str, Any]) -> str | None:
        """Show the image in a MIME bundle: None when it is on the screen, else a line that tells where it is.

        Raises:
            KeyError: it holds no image, or one that can be neither shown nor saved.
            errors.ConfigError: it cannot be saved.
        """
        mime = next(mime for mime in (*SHOWN, "image/svg+xml", None) if mime is None or mime in data)
        if mime is None:
            raise KeyError("image")
        if mime in SHOWN and (sequence := self._sequence(mime, outputs.content(mime, data[mime]))):
            self._write(sequence + b"\r\n")
            return None
        if self._folder is None:
            raise KeyError(mime)
        self._saved += 1
        folder = self._folder() / f"{self._saved:03d}"
        written = outputs.write_files(folder, [DisplayData(data={mime: data[mime]})])
        path = folder / written[0].path
        opens = _viewer()
        return f"[{mime}; to see it: {opens} {path}]" if opens else f"[{mime}, saved as {path}]"

    def _sequence(self, mime: str, content: bytes) -> bytes | None:
        match self._protocol():
            case "kitty":
                png = content if mime == "image/png" else _as_png(content)
                return _kitty(png) if png is not None else None
            case "iterm":
                header = b"\x1b]1337;File=inline=1;size=%d:" % len(content)
                return header + base64.b64encode(content) + b"\x07"
            case "sixel":
                return _sixel(content)
        return None


def _kitty(png: bytes) -> bytes:
    encoded = base64.b64encode(png)
    pieces = [encoded[start : start + CHUNK] for start in range(0, len(encoded), CHUNK)] or [b""]
    sequences = []
    for number, piece in enumerate(pieces):
        keys = b"a=T,f=100," if number == 0 else b""
        sequences.append(b"\x1b_G" + keys + b"m=%d;" % (number < len(pieces) - 1) + piece + b"\x1b\\")
    return b"".join(sequences)


def _as_png(content: bytes) -> bytes | None:
    image = _decoded(content)
    if image is None:
        return None
    import io

    png = io.BytesIO()
    image.save(png, "PNG")
    return png.getvalue()


def _decoded(content: bytes) -> Any:
    """The image as a Pillow object; None without Pillow, or when it is not an image."""
    if importlib.util.find_spec("PIL") is None:
        return None
    with contextlib.suppress(OSError, ValueError, SyntaxError):
        image = images.opened(content)
        image.load()
        return image
    return None


def _sixel(content: bytes) -> bytes | None:
    """The image in at most 256 colours, six rows at a time."""
    image = _decoded(content)
    if image is None:
        return None
    from PIL import Image

    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, max(image.height * MAX_WIDTH // image.width, 1)))
    image = image.convert("RGBA")
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image.getchannel("A"))
    indexed = flat.quantize(256)
    palette = indexed.getpalette() or []
    pixels, width = indexed.tobytes(), indexed.width
    out = [b'\x1bPq"1;1;%d;%d' % (width, indexed.height)]
    for number in sorted(set(pixels)):
        red, green, blue = (round(part * 100 / 255) for part in palette[3 * number : 3 * number + 3])
        out.append(b"#%d;2;%d;%d;%d" % (number, red, green, blue))
    for top in range(0, indexed.height, 6):
        rows = [pixels[y * width : (y + 1) * width] for y in range(top, min(top + 6, indexed.height))]
        lines = [b"#%d" % colour + _band(rows, colour) for colour in sorted(set(b"".join(rows)))]
        out.append(b"$".join(lines) + b"-")
    return b"".join(out) + b"\x1b\\"


def _band(rows: list[bytes], colour: int) -> bytes:
    """Which of the pixels in up to six rows have a colour: one character a column, runs shortened."""
    total = 0
    for bit, row in enumerate(rows):
        table = bytearray(256)
        table[colour] = 1 << bit
        total |= int.from_bytes(row.translate(bytes(table)), "big")
    columns = total.to_bytes(len(rows[0]), "big").translate(bytes((63 + value) & 0xFF for value in range(256)))
    return re.sub(rb"(.)\1{3,254}", lambda run: b"!%d" % len(run[0]) + run[1], columns, flags=re.DOTALL)


def _viewer() -> str | None:
    """The command that shows a file in a window here; None if there is none, or no window can be opened."""
    if sys.platform == "darwin":
        return "open"
    if sys.platform == "win32":
        return "start"
    display = config.environment("DISPLAY") or config.environment("WAYLAND_DISPLAY")
    return "xdg-open" if display and shutil.which("xdg-open") else None


def at_terminal(printer: Printer, *, saves: bool = True) -> Pictures:
    """Images among the output of a run that is shown at a terminal.

    Args:
        saves: whether those that the terminal cannot show are put into a temporary folder.
    """

    @cache
    def folder() -> Path:
        return Path(tempfile.mkdtemp(prefix="lecoder-cgpu-"))

    def asked() -> Protocol | None:
        is_terminal = sys.stdin is not None and sys.stdin.isatty()
        return protocol(sys.stdin.fileno() if is_terminal else None, printer.write)

    return Pictures(asked, printer.write, folder if saves else None)


# --- what the terminal can ------------------------------------------------------------------------------------------


def protocol(fd: int | None, write: Callable[[bytes], None]) -> Protocol | None:
    """What the terminal at `fd` can show images with, None when nothing is known. Without `fd`, it is not asked."""
    program = config.environment("TERM_PROGRAM") or ""
    inside = config.environment("TMUX") or (config.environment("TERM") or "").startswith(("screen", "tmux"))
    if not inside:  # a multiplexer passes its terminal's variables on, but not what these promise
        if config.environment("KITTY_WINDOW_ID") or config.environment("TERM") == "xterm-kitty" or program == "ghostty":
            return "kitty"
        if program in ("iTerm.app", "WezTerm") or config.environment("LC_TERMINAL") == "iTerm2":
            return "iterm"
    knows_nothing = config.environment("TERM") in ("linux", "dumb") or program == "Apple_Terminal"
    return None if fd is None or knows_nothing else understood(_ask(fd, write))


def understood(answer: bytes) -> Protocol | None:
    """What a terminal's answer to `QUERY` says about images."""
    if b"\x1b_Gi=31;OK" in answer:
        return "kitty"
    attributes = _ATTRIBUTES.search(answer)
    if attributes and b"4" in attributes[1].split(b";") and importlib.util.find_spec("PIL") is not None:
        return "sixel"
    return None


def _ask(fd: int, write: Callable[[bytes], None]) -> bytes:
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return b""
    try:
        saved = termios.tcgetattr(fd)
    except termios.error:
        return b""
    if select.select([fd], [], [], 0)[0]:  # something was typed already, and must not be taken for the answer
        return b""
    answer = b""
    deadline = time.monotonic() + QUERY_LIMIT
    try:
        tty.setcbreak(fd, termios.TCSADRAIN)
        write(QUERY)
        while not _ATTRIBUTES.search(answer) and (left := deadline - time.monotonic()) > 0:
            if not select.select([fd], [], [], left)[0]:
                break
            answer += os.read(fd, 1024)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
    return answer
