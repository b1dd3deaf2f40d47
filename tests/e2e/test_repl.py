"""`connect -m kernel` in a real terminal: a Python prompt whose state, help and proposals are the kernel's."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.cli.pictures import Pictures, Protocol, understood
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.pty import Pty
from tests.support.tmux import in_tmux, needs_tmux

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@needs_tmux
def test_a_session(lab: Cli) -> None:
    """Results, functions of several lines, help, proposals, interrupts, input, earlier cells, and the way out."""
    lab("run", "-m", "kernel", "class Thing:\n    surely_unique = 1\nthing = Thing()")
    with in_tmux(lab, "connect", "-m", "kernel", "--startup-code", "print('sta' + 'rted')") as terminal:
        terminal.wait("started")
        terminal.wait("In [3]")  # as the kernel counts
        terminal.line("6 * 7")
        terminal.wait("\n42")
        terminal.line("def double(x):")
        terminal.line("return x * 2")
        terminal.key("Enter")
        terminal.line("double('ab')")
        terminal.wait("'abab'")
        terminal.line("double?")
        terminal.wait("Signature:")
        terminal.type("thing.surely_u")
        terminal.key("Tab")
        terminal.wait("thing.surely_unique")
        terminal.key("Enter")
        terminal.wait("\n1\n")
        terminal.line("import time; print('beg' + 'un'); time.sleep(1000)")
        terminal.wait("begun")
        terminal.key("C-c")
        terminal.wait("KeyboardInterrupt")
        terminal.line("print('still ' + input('name? '))")
        terminal.wait("name? ", 2)
        terminal.line("ada")
        terminal.wait("still ada")
        terminal.wait("In [9]")
        terminal.key("Up", "Enter")
        terminal.wait("name? ", 4)  # twice in what was typed, twice as a question
        terminal.line("bob")
        terminal.wait("still bob")
        terminal.line("1/0")
        terminal.wait("ZeroDivisionError")
        terminal.wait("In [11]")
        terminal.key("C-d")
        terminal.wait("[status 0]")
        assert "its variables stay in the kernel" in terminal.screen()
    entries = lab("logs", "-n", "3", "--json").json
    assert entries[0]["command"] == "1/0"


@needs_tmux
def test_typing_on_while_the_kernel_proposes(lab: Cli) -> None:
    """Enter does not wait for proposals that are still to come, nor take the connection from under them."""
    with in_tmux(lab, "connect", "-m", "kernel") as terminal:
        terminal.wait("In [")
        lab("run", "-m", "kernel", "--detach", "import time; time.sleep(6)")
        terminal.type("str.cente")
        terminal.key("Tab")
        terminal.key("C-u")
        terminal.line("print('typed' + ' on')")
        terminal.wait("typed on\n")
        terminal.key("C-d")
        assert "Exception" not in terminal.wait("[status 0]")


@needs_tmux
def test_without_prompt_toolkit(lab: Cli) -> None:
    """In a dumb terminal lines are plain, and the kernel still says when a cell is complete."""
    with in_tmux(lab, "connect", "-m", "kernel", env={"TERM": "dumb"}) as terminal:
        terminal.wait("In [")
        terminal.line("for i in range(2):")
        terminal.line("    print('line', i)")
        terminal.line("")
        terminal.wait("\nline 1")
        terminal.line("exit")
        terminal.wait("[status 0]")


@pytest.mark.parametrize("busy", [False, True])
def test_the_terminal_is_restored(lab: Cli, pty_of: Callable[..., Pty], busy: bool) -> None:
    """SIGTERM at the prompt or while code runs ends the visit, and the terminal is as before."""
    run = pty_of(lab, "connect", "-m", "kernel")
    run.wait(lambda: b"In [" in run.seen)
    if busy:
        run.type(b"import time; print('beg' + 'un'); time.sleep(1000)\r")
        run.wait(lambda: b"begun" in run.seen)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 143
    assert run.modes() == run.before


def test_json(lab: Cli, pty_of: Callable[..., Pty], tmp_path: Path) -> None:
    """With --json the prompt is on stderr, images are saved, and stdout is one document."""
    import subprocess

    run = pty_of(lab, "connect", "-m", "kernel", "--json", "--outputs", str(tmp_path / "out"), stdout=subprocess.PIPE)
    assert run.process.stdout is not None
    run.wait(lambda: b"In [" in run.seen)
    run.type(f"import base64, IPython.display as d; d.Image(base64.b64decode('{PNG}'))\r".encode())
    run.wait(lambda: b"saved as" in run.seen)
    run.type(b"1/0\r")
    run.wait(lambda: b"ZeroDivisionError" in run.seen and run.seen.count(b"\x1b[?2004h") >= 3)  # at the third prompt
    run.type(b"\x04")
    assert run.end() == 0
    document = json.loads(run.process.stdout.read())
    validate(document, "connect")
    assert (document["mode"], document["cells"], document["failedCells"]) == ("kernel", 2, 1)
    assert (tmp_path / "out/001/001.png").read_bytes() == base64.b64decode(PNG)


# --- images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c", "kitty"),
        (b"\x1b[?62;4;22c", "sixel"),
        (b"\x1b[?62;14;22c", None),
        (b"\x1b[?6c", None),
        (b"", None),
    ],
)
def test_what_a_terminal_answers(answer: bytes, expected: str | None) -> None:
    """kitty's protocol and sixel are told by the terminal itself."""
    assert understood(answer) == expected


def shown(protocol: Protocol, data: dict[str, Any], tmp_path: Path) -> bytes:
    written = io.BytesIO()
    assert Pictures(lambda: protocol, written.write, lambda: tmp_path).show(data) is None  # type: ignore[arg-type]
    return written.getvalue()


def test_kitty(tmp_path: Path) -> None:
    """The PNG goes in pieces of base64, the last of which says so; other formats are converted."""
    content = b"\x89PNG" + bytes(10_000)
    pieces = re.findall(
        rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\",
        shown("kitty", {"image/png": base64.b64encode(content).decode()}, tmp_path),
    )
    assert b"".join(base64.b64decode(piece) for _, piece in pieces) == content
    assert [keys[-3:] for keys, _ in pieces] == [b"m=1"] * (len(pieces) - 1) + [b"m=0"]
    assert pieces[0][0].startswith(b"a=T,f=100,")


def test_iterm(tmp_path: Path) -> None:
    """The file goes whole, with its size."""
    content = base64.b64decode(PNG)
    sequence = shown("iterm", {"image/png": PNG}, tmp_path)
    assert sequence == b"\x1b]1337;File=inline=1;size=%d:%s\x07\r\n" % (len(content), PNG.encode())


def test_sixel(tmp_path: Path) -> None:
    """A picture decoded from its sixels has the colours of its pixels."""
    from PIL import Image

    picture = Image.new("RGB", (20, 13), (255, 0, 0))
    picture.paste((0, 0, 255), (5, 7, 15, 13))
    png = io.BytesIO()
    picture.save(png, "PNG")
    sequence = shown("sixel", {"image/png": base64.b64encode(png.getvalue()).decode()}, tmp_path)
    assert decoded(sequence) == list(picture.get_flattened_data())


def decoded(sequence: bytes) -> list[tuple[int, ...]]:
    """What a terminal makes of a sixel sequence."""
    body = sequence.decode().removeprefix("\x1bPq").partition("\x1b\\")[0]
    width, height = map(int, re.match(r'"1;1;(\d+);(\d+)', body).groups())  # type: ignore[union-attr]
    palette: dict[int, tuple[int, ...]] = {}
    pixels: dict[tuple[int, int], tuple[int, ...]] = {}
    x = y = colour = 0
    for token in re.finditer(r'"[\d;]*|#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|([?-~])', body):
        if token[1]:
            palette[int(token[1])] = tuple(round(int(part) * 255 / 100) for part in token.groups()[1:4])
        elif token[5]:
            colour = int(token[5])
        elif token[8]:
            x, y = 0, y + (6 if token[8] == "-" else 0)
        elif token[7] or token[9]:
            bits, count = ord(token[7] or token[9]) - 63, int(token[6] or 1)
            for column in range(x, x + count):
                for row in range(6):
                    if bits >> row & 1:
                        pixels[column, y + row] = palette[colour]
            x += count
    return [pixels[column, row] for row in range(height) for column in range(width)]


def test_images_of_a_run(lab: Cli, pty_of: Callable[..., Pty]) -> None:
    """A terminal that can show them does; for another one they are saved, and it is told where; a pipe gets text."""
    code = f"import base64, IPython.display as d; d.display(d.Image(base64.b64decode('{PNG}'))); print('end')"
    run = pty_of(Cli(lab.home, {"LC_TERMINAL": "iTerm2"}), "run", "-m", "kernel", code)
    assert run.end() == 0
    assert b"\x1b]1337;File=inline=1" in run.seen
    assert b"logs show" not in run.seen
    run = pty_of(
        Cli(lab.home, {"TERM_PROGRAM": "Apple_Terminal", "DISPLAY": "", "TMUX": ""}), "run", "-m", "kernel", code
    )
    assert run.end() == 0
    (path,) = re.findall(rb"image/png, saved as ([^\]]+)", run.seen)
    assert Path(path.decode().replace("\r\n", "")).read_bytes() == base64.b64decode(PNG)
    assert "IPython.core.display.Image" in lab("run", "-m", "kernel", code).out


def test_what_cannot_be_shown_is_saved(tmp_path: Path) -> None:
    """Without a protocol, and for formats that no terminal knows, there is a file, and a line that names it."""
    pictures = Pictures(lambda: None, lambda content: None, lambda: tmp_path)
    assert pictures.show({"image/png": PNG, "text/plain": "x"}) == f"[image/png, saved as {tmp_path}/001/001.png]"
    assert pictures.show({"image/svg+xml": "<svg/>"}) == f"[image/svg+xml, saved as {tmp_path}/002/001.svg]"
    with pytest.raises(KeyError):
        pictures.show({"text/plain": "x"})
