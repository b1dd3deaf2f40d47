"""Makes the pictures of the documents from real runs, in a real terminal: `python docs/pictures/make.py` (extra `dev`).

Commands are typed at a prompt in an empty home; a terminal of 88 columns shows what they print, and its screen becomes
an SVG with the same text and colours.
"""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from fcntl import ioctl
from io import StringIO
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

COLUMNS = 88
PICTURES = {
    "first-run.svg": (
        "example train",
        "run --sync train --pull out python train.py --epochs 4",
        "job list --all",
        "sessions close --all",
    ),
}


def screen_of(commands: tuple[str, ...], rows: int = 40) -> pyte.Screen:
    """The terminal after these commands of ours, each typed behind a prompt."""
    screen = pyte.Screen(COLUMNS, rows)
    stream = pyte.ByteStream(screen)
    controller, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, COLUMNS, 0, 0))
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "HOME": home, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8", "LECODER_CGPU_BACKEND": "local",
        }  # fmt: skip
        lines = [f"printf '\\033[1m$\\033[0m cgpu {command}\\n'; cgpu {command}" for command in commands]
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(lines)], cwd=home, env=environment,
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        while True:
            try:
                content = os.read(controller, 65536)
            except OSError:  # the last program has closed the terminal
                break
            stream.feed(content)
        shell.wait()
    os.close(controller)
    return screen


def style_of(cell: pyte.screens.Char) -> str:
    """How rich calls the look of a character."""
    colour = {"default": "", "brown": "yellow"}.get(cell.fg, cell.fg)
    return f"{'bold ' if cell.bold else ''}{colour}".strip()


def picture(screen: pyte.Screen) -> str:
    """The used lines of a screen as SVG."""
    used = max((row for row in range(screen.lines) if screen.display[row].strip()), default=0) + 1
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    for row in range(used):
        line = Text()
        for style, cells in groupby((screen.buffer[row][column] for column in range(COLUMNS)), style_of):
            line.append("".join(cell.data for cell in cells), style)
        line.rstrip()
        console.print(line, no_wrap=True, crop=True, highlight=False)
    return console.export_svg(title="cgpu", unique_id="cgpu")


if __name__ == "__main__":
    for name, commands in PICTURES.items():
        (Path(__file__).parent / name).write_text(picture(screen_of(commands)), "utf-8")
