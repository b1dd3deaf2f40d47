"""The main commands, each as a check on one session: it works in full, or one sentence says what is not allowed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from lecoder_cgpu.testing.colab import FakeColab

from .cli import Cli
from .notebooks import code, read, write
from .pty import Pty

LONG = 400_000  # bytes of code that hardly packs: more than the smallest limit of a message takes

Check = Callable[[Cli, Path], None]


def kernel(command: Cli, folder: Path) -> None:
    """Code of any length, and all that it prints at once."""
    script = folder / "long.py"
    filler = os.urandom(LONG // 2).hex()
    script.write_text(f"filler = '{filler}'\nprint(filler[:9], len(filler))\nprint('y' * 300_000)\nkept = 6\n1 / 0\n")
    failed = command("run", "-m", "kernel", "-f", str(script))
    assert failed.out == f"{filler[:9]} {LONG}\n{'y' * 300_000}\n", (failed.code, failed.out[:200], failed.err[-2000:])
    assert str(script) in failed.err, failed.err[-2000:]
    assert "----> 5 1 / 0" in failed.err, failed.err[-2000:]
    assert command("run", "-m", "kernel", "kept * 7").out == "42\n"


def process(command: Cli, folder: Path) -> None:
    """A command with long input, much output and a status of its own."""
    status, out, err = command.raw("run", "--stdin", "cat; seq 1 100000; exit 7", stdin=b"x" * 300_000)
    lines = "".join(f"{number}\n" for number in range(1, 100_001)).encode()
    assert (status, out) == (7, b"x" * 300_000 + lines), (status, len(out), err[-2000:])


def job(command: Cli, folder: Path) -> None:
    """Started, ended and read later."""
    key = command("run", "--detach", "seq 1 50000; exit 3").out.strip()
    ended = command("job", "wait", key)
    assert ended.code == 3, ended
    assert command("job", "logs", key).out.splitlines()[-1] == "50000"


def upload(command: Cli, folder: Path) -> None:
    """A large file and a folder; what `download` compares with."""
    (folder / "many").mkdir(exist_ok=True)
    for name, size in (("large", 1_200_000), ("many/a", 300_000), ("many/b", 10)):
        (folder / name).write_bytes(os.urandom(size))
    up = command("upload", str(folder / "large"), str(folder / "many"), "there/")
    assert up.code == 0, up


def download(command: Cli, folder: Path) -> None:
    """What was uploaded comes back as it was."""
    upload(command, folder)
    down = command("download", "there/large", "there/many", f"{folder / 'back'}/")
    assert down.code == 0, down
    for name in ("large", "many/a", "many/b"):
        assert (folder / "back" / name).read_bytes() == (folder / name).read_bytes(), name


def large(command: Cli, folder: Path) -> None:
    """A file that is long enough for the server's own way to send files."""
    made = command("run", "head -c 9000000 /dev/urandom > big && sha256sum big")
    assert made.code == 0, made
    down = command("download", "big", str(folder / "big"))
    assert down.code == 0, down
    assert hashlib.sha256((folder / "big").read_bytes()).hexdigest() == made.out.split()[0]


def sync(command: Cli, folder: Path) -> None:
    """A folder, and what changes in it."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "a.py").write_bytes(os.urandom(250_000))
    first = command("sync", str(source), "mirror", "--json")
    assert first.code == 0, first
    (source / "b.py").write_text("print('synced')")
    assert command("sync", str(source), "mirror").code == 0
    assert command("run", "-m", "kernel", "exec(open('mirror/b.py').read())").out == "synced\n"


def notebook(command: Cli, folder: Path) -> None:
    """A long cell, and its output in the file."""
    filler = os.urandom(LONG // 2).hex()
    source = write(folder / "n.ipynb", code(f"n = '{filler}'"), code("len(n)"))
    done = command("run", str(source), "-o", str(folder / "o.ipynb"))
    assert done.code == 0, done
    assert read(folder / "o.ipynb").cells[1].outputs[0].data == {"text/plain": str(LONG)}


def status(command: Cli, folder: Path) -> None:
    """The runtime answers, and its machine is described."""
    (runtime,) = command("status", "--json").json["runtimes"]
    assert runtime["connected"] is True
    assert runtime["host"]["memory"]["totalBytes"] > 0, runtime


def connect(command: Cli, folder: Path) -> None:
    """A shell, or the sentence that there is none."""
    shell = Pty(command, "connect")
    try:
        shell.type(b"echo $((6 * 7)); exit\n")
        shell.end()
        assert b"42\r\n" in shell.seen or b"has no terminals" in shell.seen, shell.seen
    finally:
        shell.close()


CHECKS: dict[str, Check] = {
    check.__name__: check for check in (kernel, process, job, upload, download, large, sync, notebook, status, connect)
}

SWITCHES: dict[str, dict[str, object]] = {
    "as-it-is": {},
    "one-kernel": {"kernels": 1},
    "one-kernel-500": {"kernels": 1, "kernel_refusal": 500},
    "binary-swallowed": {"binary": "swallowed"},
    "binary-closed": {"binary": "closed"},
    "frames": {"frame_limit": 200_000},
    "tiny-frames": {"frame_limit": 70_000},
    "v1-echoed": {"v1": "echoed"},
    "v1-spoken": {"v1": "spoken"},
    "files-404": {"files": "404"},
    "files-500": {"files": "500"},
    "files-whole": {"files": "whole"},
    "no-contents": {"contents": False},
    "no-tty": {"tty": False},
    "bodies": {"body_limit": 100_000},
    "all": {
        "kernels": 1, "binary": "closed", "files": "500", "v1": "echoed", "contents": False, "tty": False,
        "body_limit": 100_000, "frame_limit": 200_000,
    },
}  # fmt: skip
# What CI tries: for each switch a command that it hinders, and all at once with every command but the slowest.
SPARSE = {
    "one-kernel": ("kernel",), "one-kernel-500": ("process",), "binary-swallowed": ("upload",),
    "binary-closed": ("sync",), "frames": ("job",), "tiny-frames": ("process",), "v1-echoed": ("notebook",),
    "files-404": ("large",), "files-500": ("large",), "files-whole": ("large",), "no-contents": ("download",),
    "no-tty": ("connect",), "bodies": ("upload",), "all": tuple(name for name in CHECKS if name != "large"),
}  # fmt: skip


def sockets(colab: FakeColab) -> int:
    """How many sockets to kernels were asked for."""
    return colab.count("GET /api/kernels/*/channels")
