"""The supervisor alone: real processes, and what it leaves in the run's folder."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.guest import output_order
from lecoder_cgpu.guest.processes import identity, send_signal
from lecoder_cgpu.guest.programs import Programs
from lecoder_cgpu.guest.runs import Run
from lecoder_cgpu.helper import bootstrap

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups and exact signals are POSIX")


class Supervised:
    """One supervisor process and the folder that it writes into."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def start(self, *argv: str, **spec: Any) -> None:
        self.folder.mkdir()
        self.write(
            json.dumps(
                {"folder": str(self.folder), "argv": argv, "cwd": str(self.folder), "env": dict(os.environ), **spec}
            ).encode()
            + b"\n"
        )
        note = {"supervisorPid": self.process.pid, "supervisorStart": identity(self.process.pid)}
        (self.folder / "spec.json").write_text(json.dumps(note))

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def result(self) -> dict[str, Any]:
        """The result, once it is there."""
        wait_for(lambda: (self.folder / "result.json").exists())
        found: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return found

    @property
    def pid(self) -> int:
        """The process that it runs."""
        wait_for(lambda: (self.folder / "state.json").exists())
        return int(json.loads((self.folder / "state.json").read_text())["pid"])

    def output(self, stream: str = "stdout") -> bytes:
        return (self.folder / stream).read_bytes()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is true; the limit only ends a test that has failed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the helper starts a supervisor with."""
    return Programs(str(tmp_path_factory.mktemp("home")), bootstrap.sources()).command("supervisor")


@pytest.fixture
def supervised(tmp_path: Path, command: list[str]) -> Iterator[Supervised]:
    """A supervisor that waits for its spec."""
    found = Supervised(tmp_path / "run", command)
    yield found
    if (found.folder / "state.json").exists():
        send_signal(found.pid, signal.SIGKILL)
    found.close_stdin()
    found.process.kill()
    found.process.wait()
    assert found.process.stdout is not None
    found.process.stdout.close()


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_exit_status_is_exact(supervised: Supervised, status: int) -> None:
    """The result holds the status with which the process ended, and no signal."""
    supervised.start("bash", "-c", f"exit {status}")
    result = supervised.result()
    assert (result["exit"], result["signal"], result["timedOut"], result["killedBy"]) == (status, None, False, [])


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGINT"])
def test_death_by_signal_is_named(supervised: Supervised, name: str) -> None:
    """A process that a signal ended has that signal's name and no status."""
    supervised.start("bash", "-c", f"kill -{name[3:]} $$; sleep 60")
    result = supervised.result()
    assert (result["exit"], result["signal"], result["outOfMemory"]) == (None, name, False)


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group whose processes get 32 MiB of memory together."""
    root = Path("/sys/fs/cgroup/memory")
    limit = "memory.limit_in_bytes"
    if not root.is_dir():
        root, limit = Path("/sys/fs/cgroup"), "memory.max"
    group = root / f"lecoder-cgpu-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(32 << 20))
    except OSError:
        group.rmdir() if group.exists() else None
        pytest.skip("control groups cannot be made here")
    yield group
    wait_for(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_death_without_memory_is_told(supervised: Supervised, small_group: Path) -> None:
    """The system counts whom it kills for memory, so that such an end is told from any other SIGKILL."""
    program = "content = bytearray(256 << 20)"
    join = f"echo $$ > {small_group}/cgroup.procs; exec {sys.executable} -c '{program}'"
    supervised.start("bash", "-c", join)
    result = supervised.result()
    assert (result["signal"], result["outOfMemory"]) == ("SIGKILL", True)


def test_streams_are_apart_and_binary(supervised: Supervised) -> None:
    """Every byte value arrives in the file of its own stream."""
    code = "import os; os.write(1, bytes(range(256)) * 10); os.write(2, bytes(range(255, -1, -1)))"
    supervised.start(sys.executable, "-c", code)
    result = supervised.result()
    assert supervised.output() == bytes(range(256)) * 10
    assert supervised.output("stderr") == bytes(range(255, -1, -1))
    assert (result["stdoutBytes"], result["stderrBytes"]) == (2560, 256)


def test_usage_is_measured(supervised: Supervised) -> None:
    """Peak memory and times are those of the process."""
    supervised.start(sys.executable, "-c", "x = b'x' * 200_000_000")
    result = supervised.result()
    assert 200_000_000 < result["maxRssBytes"] < 400_000_000
    assert result["userSeconds"] + result["systemSeconds"] > 0
    assert result["started"] <= result["ended"]
    assert result["seconds"] > 0


def test_opening_dev_stdout_does_not_truncate(supervised: Supervised) -> None:
    """`tee /dev/stderr` and `> /dev/stdout` open pipes, so nothing that came before is lost."""
    supervised.start("bash", "-c", "echo one; echo two > /dev/stdout; echo three | tee /dev/stderr; echo four")
    supervised.result()
    assert supervised.output() == b"one\ntwo\nthree\nfour\n"
    assert supervised.output("stderr") == b"three\n"


def test_background_child_does_not_delay_the_result(supervised: Supervised) -> None:
    """The result comes when the main process ends; what a child in the background writes later is kept, too."""
    gate = supervised.folder / "gate"
    supervised.start("bash", "-c", f"(until [ -e {gate} ]; do sleep 0.02; done; echo late) & echo early")
    result = supervised.result()
    assert result["exit"] == 0
    assert supervised.output() == b"early\n"
    gate.touch()
    wait_for(lambda: supervised.output() == b"early\nlate\n")
    supervised.process.wait(30)


def test_all_output_before_the_end_is_in_the_file(supervised: Supervised) -> None:
    """When the result is there, so is everything that the process had written, though a child keeps the pipe open."""
    code = "import os, subprocess; subprocess.Popen(['sleep', '60']); os.write(1, b'x' * 900_000)"
    supervised.start(sys.executable, "-c", code)
    result = supervised.result()
    assert result["stdoutBytes"] == 900_000
    assert len(supervised.output()) == 900_000


def test_a_hundred_megabytes(supervised: Supervised) -> None:
    """Much output is complete, and the supervisor's memory does not grow with it."""
    code = "import os, subprocess\nfor i in range(1600): os.write(1, bytes([i % 256]) * 65536)\n"
    keep = "subprocess.Popen(['sleep', '60'])"  # a child that holds the pipe keeps the supervisor there
    supervised.start(sys.executable, "-c", code + keep)
    result = supervised.result()
    assert result["stdoutBytes"] == 1600 * 65536
    data = supervised.output()
    assert all(data[i * 65536 : (i + 1) * 65536].count(i % 256) == 65536 for i in range(1600))
    memory = Path(f"/proc/{supervised.process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    assert int(memory) < 60_000, "kB"


def test_bound_of_a_stream(supervised: Supervised) -> None:
    """What exceeds the bound is counted, and the process does not block on it."""
    supervised.start("head", "-c", "5000000", "/dev/zero", limit=1_000_000)
    result = supervised.result()
    assert result["exit"] == 0
    assert (result["stdoutBytes"], result["bytesDropped"]) == (1_000_000, 4_000_000)
    assert len(supervised.output()) == 1_000_000


def test_time_limit(supervised: Supervised) -> None:
    """At its time limit a process gets SIGTERM, and the result says so."""
    supervised.start("sleep", "60", timeout=0.2)
    result = supervised.result()
    assert (result["signal"], result["timedOut"], result["killedBy"]) == ("SIGTERM", True, ["SIGTERM"])


def test_time_limit_escalates(supervised: Supervised) -> None:
    """A process that ignores SIGTERM is killed, with every step recorded."""
    supervised.start("bash", "-c", "trap '' TERM; while :; do sleep 0.1; done", timeout=0.3, grace=0.2)
    result = supervised.result()
    assert (result["signal"], result["killedBy"]) == ("SIGKILL", ["SIGTERM", "SIGKILL"])


@pytest.mark.parametrize("limit", ["timeout", "idleTimeout"])
def test_a_checkpoint_handler_is_reached(supervised: Supervised, limit: str) -> None:
    """A program that saves its work on SIGTERM is not interrupted before, and has its time."""
    code = (
        "import signal, sys, time\n"
        "def save(*_): time.sleep(0.5); print('saved'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "try: time.sleep(60)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    supervised.start(sys.executable, "-c", code, **{limit: 1.5})
    result = supervised.result()
    assert supervised.output() == b"saved\n"
    assert (result["exit"], result["timedOut"], result["killedBy"]) == (0, True, ["SIGTERM"])


def test_time_limit_reaches_the_whole_group(supervised: Supervised) -> None:
    """A background child does not survive the time limit."""
    supervised.start("bash", "-c", "sleep 60 & echo $!; wait", timeout=0.3, grace=0.3)
    assert supervised.result()["timedOut"] is True
    child = int(supervised.output())
    wait_for(lambda: identity(child) is None)


def test_interrupts_are_not_ignored(tmp_path: Path, command: list[str]) -> None:
    """A kernel ignores SIGINT; a process that it starts, through a supervisor, can be interrupted all the same."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        supervised = Supervised(tmp_path / "run", command)
    finally:
        signal.signal(signal.SIGINT, previous)
    code = "try:\n print('ready', flush=True)\n import time; time.sleep(60)\nexcept KeyboardInterrupt: print('caught')"
    supervised.start(sys.executable, "-c", code)
    wait_for(lambda: (supervised.folder / "stdout").exists() and supervised.output() == b"ready\n")
    send_signal(supervised.pid, signal.SIGINT)
    assert supervised.result()["exit"] == 0
    assert supervised.output() == b"ready\ncaught\n"
    supervised.close_stdin()
    supervised.process.wait(30)
    assert supervised.process.stdout is not None
    supervised.process.stdout.close()


def test_stdin_is_empty_by_default(supervised: Supervised) -> None:
    """Without `stdin` a process reads nothing and ends, rather than to wait."""
    supervised.start("cat")
    assert supervised.result()["exit"] == 0


def test_stdin_is_passed_on(supervised: Supervised) -> None:
    """Frames of stdin reach the process as one stream, and the end of input ends it."""
    supervised.start("cat", stdin=True)
    data = bytes(range(256)) * 1000
    for start in range(0, len(data), 60_000):
        part = data[start : start + 60_000]
        supervised.write(b"d" + len(part).to_bytes(4, "big") + part)
    supervised.write(b"e" + bytes(4))
    result = supervised.result()
    assert (result["exit"], result["stdinLost"]) == (0, False)
    assert supervised.output() == data


def test_stdin_that_breaks_off_is_told(supervised: Supervised) -> None:
    """When the sender of stdin dies, the process sees an end of input, and the result does not hide it."""
    supervised.start("bash", "-c", "cat; sleep 0.2", stdin=True)
    supervised.write(b"d" + (4).to_bytes(4, "big") + b"half")
    supervised.close_stdin()
    assert supervised.result()["stdinLost"] is True
    assert supervised.output() == b"half"


def test_command_that_does_not_exist(supervised: Supervised) -> None:
    """A command that is not there ends with 127 and the words of a shell."""
    supervised.start("no-such-command-here", "x")
    result = supervised.result()
    assert (result["exit"], result["launched"]) == (127, False)
    assert supervised.output("stderr") == b"no-such-command-here: command not found\n"


def test_file_that_cannot_be_executed(supervised: Supervised, tmp_path: Path) -> None:
    """A file without permission to execute ends with 126."""
    (tmp_path / "plain").write_text("echo no")
    supervised.start(str(tmp_path / "plain"))
    assert supervised.result()["exit"] == 126
    assert b"Permission denied" in supervised.output("stderr")


def test_script_without_interpreter_line(supervised: Supervised, tmp_path: Path) -> None:
    """A script without an interpreter line is given to sh, as shells do."""
    script = tmp_path / "script"
    script.write_text("echo from sh: $1\n")
    script.chmod(0o755)
    supervised.start(str(script), "word")
    assert supervised.result()["exit"] == 0
    assert supervised.output() == b"from sh: word\n"


def test_survives_its_parent(tmp_path: Path, command: list[str]) -> None:
    """A supervisor whose parent is killed goes on, and writes the output and the result."""
    folder = tmp_path / "run"
    folder.mkdir()
    gate = tmp_path / "gate"
    spec = {
        "folder": str(folder),
        "cwd": str(folder),
        "env": dict(os.environ),
        "argv": ["bash", "-c", f"echo before; until [ -e {gate} ]; do sleep 0.02; done; echo after; exit 5"],
    }
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "p = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE,"
            " stdout=subprocess.PIPE, start_new_session=True)\n"
            "p.stdin.write(sys.argv[1].encode() + b'\\n'); p.stdin.close(); time.sleep(60)",
            json.dumps(spec),
            *command,
        ]
    )
    wait_for(lambda: (folder / "stdout").exists() and (folder / "stdout").read_bytes() == b"before\n")
    parent.kill()
    parent.wait()
    gate.touch()
    wait_for(lambda: (folder / "result.json").exists())
    assert json.loads((folder / "result.json").read_text())["exit"] == 5
    assert (folder / "stdout").read_bytes() == b"before\nafter\n"


def test_killed_supervisor_leaves_an_unknown_run(supervised: Supervised) -> None:
    """When the supervisor is killed, the run is unknown, and whether its process lives is told, not guessed."""
    supervised.start("sleep", "60")
    pid = supervised.pid
    supervised.process.kill()
    supervised.process.wait()
    state = Run("run-01", str(supervised.folder)).state()
    assert (state["state"], state["alive"]) == ("unknown", True)
    assert "killed" in state["reason"]
    send_signal(pid, signal.SIGKILL)
    wait_for(lambda: Run("run-01", str(supervised.folder)).state()["alive"] is False)
    assert "result" not in Run("run-01", str(supervised.folder)).state()


def test_without_a_spec_nothing_is_started(supervised: Supervised, tmp_path: Path) -> None:
    """A spare supervisor whose helper dies, even in the middle of writing the spec, ends and starts nothing."""
    supervised.write(b'{"folder": "' + os.fsencode(tmp_path) + b'", "argv": ["touch", "started"]')
    supervised.close_stdin()
    assert supervised.process.wait(30) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", bootstrap.PARTS)
def test_sources_for_the_runtime_are_old_python(part: str) -> None:
    """What is sent to a runtime parses with Python 3.8 and needs nothing but the standard library, its siblings and
    what every kernel brings. The Hub's library is asked for where it is used, and its lack is told."""
    tree = ast.parse(bootstrap.sources()[part], feature_version=(3, 8))
    known = {*sys.stdlib_module_names, "IPython", "ipykernel", "zmq", *(["huggingface_hub"] * (part == "hub_upload"))}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [str(node.module)]
        assert all(name.partition(".")[0] in known for name in names), names


def order(supervised: Supervised) -> list[tuple[str, int]]:
    return list(output_order.pieces(supervised.output(output_order.FILE)))


def test_the_order_of_the_streams_is_written_down(supervised: Supervised) -> None:
    """Each piece of each stream, in the order in which the process wrote; the sizes are those of the files."""
    code = """
import os, time
for i in range(100):
    before = os.path.getsize("order")
    os.write(1 + i % 2, b"x" * (i + 1))
    while os.path.getsize("order") == before:
        time.sleep(0.001)
"""
    supervised.start(sys.executable, "-c", code)
    assert supervised.result()["exit"] == 0
    assert order(supervised) == [(("stdout", "stderr")[i % 2], i + 1) for i in range(100)]
    assert (len(supervised.output("stdout")), len(supervised.output("stderr"))) == (2500, 2550)


def test_a_started_line_comes_behind_the_lines_of_the_other_stream(supervised: Supervised) -> None:
    """A bar's end, a result, and the next bar's beginning, all before anybody reads: each stands on its own line."""
    code = """
import glob, os, signal, time
reader = os.getppid()
os.kill(reader, signal.SIGSTOP)
def stopped(task):
    with open(task) as found:
        return found.read().rpartition(")")[2].split()[0] in "Tt"
while not all(map(stopped, glob.glob(f"/proc/{reader}/task/*/stat"))):  # each of its threads stops for itself
    time.sleep(0.001)
os.write(2, b"bar 100%\\n")
os.write(1, b"result\\n")
os.write(2, b"\\rbar 0%")
os.kill(os.getppid(), signal.SIGCONT)
"""
    supervised.start(sys.executable, "-c", code)
    assert supervised.result()["exit"] == 0
    assert order(supervised) == [("stderr", 9), ("stdout", 7), ("stderr", 7)]


def test_both_streams_are_drained_at_the_end(supervised: Supervised) -> None:
    """Much output of both right before the end is whole, in the files and in their order."""
    code = "import os\nfor i in range(40): os.write(1, b'o' * 20000); os.write(2, b'e' * 20000)"
    supervised.start(sys.executable, "-c", code)
    result = supervised.result()
    assert (result["stdoutBytes"], result["stderrBytes"]) == (800_000, 800_000)
    noted = order(supervised)
    assert sum(size for _, size in noted) == 1_600_000
