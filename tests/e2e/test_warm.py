"""Prepared processes: a command that one does is the command, in everything that can be seen of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import lecoder_cgpu
from lecoder_cgpu.warm import control, messages
from tests.support.cli import TIMEOUT, Cli, Result
from tests.support.strangers import answer_to_stranger
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="they are there on Linux only")


COMMAND = str(Path(sys.executable).with_name("lecoder-cgpu"))


class Warm:
    """A command line with prepared processes of its own, in a folder of their own."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli, self.folder = cli, folder
        self.env = {"LECODER_CGPU_WARM": "always", "XDG_RUNTIME_DIR": str(folder)}

    def start(self, *words: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """The installed command in an interpreter of its own, beside no terminal."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        environment = self.cli.environment({**self.env, **(env or {})})
        return subprocess.Popen([COMMAND, *words], env=environment, **{**streams, **options})

    def __call__(self, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, **options: Any) -> Result:
        process = self.start(*words, env=env, **options)
        out, err = process.communicate(stdin, timeout=TIMEOUT)
        return Result(process.returncode, out.decode("utf-8", "surrogateescape"), err.decode())

    def served(self) -> list[int]:
        """How many commands each process has done."""
        return [int(said.partition("served: ")[2].partition(",")[0] or 0) for said in control.ask("counts")]

    def process(self) -> int:
        return int(control.ask("counts")[0].split()[0])


@pytest.fixture
def warm(lab: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warm]:
    """One process is there, and has done nothing yet."""
    folder = tmp_path / ("a folder whose name is longer than the address of a socket may be " * 2)
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    found = Warm(lab, folder)
    assert found("ls").code == 0
    wait_until(lambda: found.served() == [0], 60)
    yield found
    meeting = folder / f"lecoder-cgpu-{os.geteuid()}"
    wait_until(lambda: not (control.ask("stop") + control.ask("stop", kept=True) or os.listdir(meeting)), 60)


def test_what_is_handed_over_and_what_comes_back(warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments, stdin, variables, folder; output, errors, status, and the record."""
    result = warm("run", "-m", "kernel", "import sys; print('ä', file=sys.stderr); print('b'); 1/0", "--json")
    document = result.json
    assert (result.code, document["stdout"], document["error"]["name"]) == (1, "b\n", "ZeroDivisionError")
    result = warm("run", "--stdin", "cat; echo wrong >&2; exit 3", stdin=b"\xff\0 given\n")
    assert (result.code, result.out, result.err) == (3, "\udcff\0 given\n", "wrong\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "own.py").write_text("import sys; print(sys.argv[1:])")
    monkeypatch.chdir(tmp_path / "here")
    assert warm("run", "own.py", "--lr", "0.1").out == "['--lr', '0.1']\n"
    assert warm("run", "--env", "PASSED", "printenv PASSED", env={"PASSED": "along"}).out == "along\n"
    assert warm("job", "nonsense").code == 2
    assert warm.served() == [5]
    assert warm.cli("logs", "-n", "1", "--json").json[0]["command"] == "printenv PASSED"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_passed_on(warm: Warm, number: signal.Signals, status: int) -> None:
    """It ends the run there, and the command answers it as always."""
    client = warm.start("run", "--events", "echo begun; sleep 98", bufsize=0)
    assert client.stdout
    client.stdout.readline()
    client.send_signal(number)
    out, _ = client.communicate(timeout=60)
    document = json.loads(out.splitlines()[-1])
    assert client.returncode == document["exitCode"] == status
    assert warm.served() == [1]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_first_moment(warm: Warm, tmp_path: Path, number: signal.Signals, status: int) -> None:
    """Before the command is begun, or while it becomes itself: it is answered as one that comes later."""
    folder = messages.folder()
    (name,) = [item for item in os.listdir(folder) if not item.endswith(".lock")]
    environment = warm.cli.environment(warm.env)
    for said in (b"s%d\ngo\n", b"go\ns%d\n"):
        with socket.socket(socket.AF_UNIX) as client, open(tmp_path / "out", "w+b") as out:
            client.settimeout(60)
            client.connect(messages.address(folder, name))
            client.sendall(messages.hello("run-0123456789abcdef", ["lecoder-cgpu", "run", "sleep 95"], environment))
            assert client.recv(100) == b"take\n"
            with open(os.devnull, "rb") as null:
                files = [null.fileno(), out.fileno(), out.fileno(), os.open(tmp_path, os.O_PATH)]
                socket.send_fds(client, [said % number], files)
                os.close(files[3])
            with client.makefile("rb") as lines:
                assert list(lines) == [b"started\n", b"exit %d\n" % status]
            out.seek(0)
            assert b"Traceback" not in out.read()
    os.close(folder)


def test_another_user_is_not_served(warm: Warm, tmp_path: Path) -> None:
    """Even where the folder would let one in."""
    if os.geteuid() != 0:
        pytest.skip("only root can play another user")
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / f"lecoder-cgpu-{os.geteuid()}"
    (name,) = [item.name for item in folder.iterdir() if item.suffix != ".lock"]
    assert answer_to_stranger(folder, name, b"counts") == b""
    assert warm.served() == [0]


def test_who_is_killed_takes_the_other_along(warm: Warm) -> None:
    """Either of the command and the process that does it."""
    client = warm.start("run", "--events", "echo begun; sleep 97", bufsize=0)
    assert client.stdout
    client.stdout.readline()
    (child,) = children(warm.process())
    client.kill()
    client.communicate()
    wait_until(lambda: children(warm.process()) == [], 10)
    client = warm.start("run", "--events", "echo begun; sleep 96", bufsize=0)
    assert client.stdout
    client.stdout.readline()
    (child,) = children(warm.process())
    os.kill(child, signal.SIGKILL)
    client.communicate(timeout=60)
    assert client.returncode == -signal.SIGKILL
    warm("job", "kill", "--all")


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("step", ["before hello", "before go"])
def test_who_is_stopped_makes_nothing_run_twice(warm: Warm, tmp_path: Path, step: str) -> None:
    """The process at hello: the command does it itself. The command before go: it is told that nothing was begun."""
    count = tmp_path / "count"
    line = f"echo once >> {count}"
    if step == "before hello":
        process = warm.process()
        os.kill(process, signal.SIGSTOP)
        try:
            assert warm("run", line).code == 0
        finally:
            os.kill(process, signal.SIGCONT)
        wait_until(lambda: warm.served() == [0])
    else:
        folder = messages.folder()
        (name,) = [item for item in os.listdir(folder) if not item.endswith(".lock")]
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(messages.address(folder, name))
            hello = messages.hello("run-1", ["lecoder-cgpu", "run", line], {**os.environ, **warm.env})
            late.sendall(hello)
            assert late.recv(100) == b"take\n"
            assert late.recv(100) == b"declined no go in time\n"
            assert late.recv(100) == b""
        os.close(folder)
        assert warm.served() == [0]
        assert warm("run", line).code == 0
    assert count.read_text() == "once\n"


def test_what_is_not_alike_is_not_served(warm: Warm) -> None:
    """It is done as without a prepared process; tests/unit/test_warm.py has all that must be alike."""
    warm("status", preexec_fn=lambda: os.umask(0o027))
    assert sum(warm.served()) == 0


def test_an_installation_that_changes_is_not_served(lab: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends, and the next command is done by what is there now."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    copy = tmp_path / "copy"
    shutil.copytree(Path(lecoder_cgpu.__file__).parent, copy / "lecoder_cgpu", ignore=shutil.ignore_patterns("*.pyc"))
    warm = Warm(lab, tmp_path)
    own = {"PYTHONPATH": str(copy)}
    warm("ls", env=own)
    wait_until(lambda: warm.served() == [0], 60)
    warm("ls", env=own)
    assert warm.served() == [1]
    (process,) = [int(said.split()[0]) for said in control.ask("counts")]
    with open(copy / "lecoder_cgpu" / "cli" / "app.py", "a") as file:
        file.write("\nVERSION = 2\n")
    assert warm("ls", env=own).code == 0
    wait_until(lambda: not Path(f"/proc/{process}").exists() or "Z" in Path(f"/proc/{process}/stat").read_text(), 20)
    warm("ls", env=own)
    wait_until(lambda: warm.served() == [0], 60)  # another one
    assert "has done nothing yet" in warm.cli("doctor", env=warm.env).out
    warm.cli("keeper", "stop", env=warm.env)
    wait_until(lambda: control.ask("counts") == [], 20)


def test_nobody_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends by itself, and takes its socket along."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    code = """
import os, sys
from lecoder_cgpu.warm import likeness, server
server.IDLE, process = 0.5, likeness.of_process()
reader, writer = os.pipe()
os.write(writer, len(process).to_bytes(4, sys.byteorder) + process + b"name")
os.close(writer)
os.dup2(reader, 0)
server.serve(lambda run: 0)
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ})
    assert time.monotonic() - began > 0.5
    assert os.listdir(tmp_path / f"lecoder-cgpu-{os.geteuid()}") == []
