"""The helper on real Jupyter servers with their default rate limits: today's, and the versions that Colab pins."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.helper import bootstrap
from lecoder_cgpu.helper.client import Helper
from lecoder_cgpu.helper.documents import RunState
from lecoder_cgpu.helper.follow import Follower
from lecoder_cgpu.helper.launch import DEFAULT, Launch
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from tests.support.servers import start_server

COLAB = os.environ.get("LECODER_CGPU_TEST_COLAB_PYTHON")


class Place:
    """A server with the helper's kernel."""

    def __init__(self, server: Server, home: Path) -> None:
        self.server = server
        self.home = home
        self._numbers = iter(range(10_000))
        opened, _ = server.open_session("lecoder-cgpu-resident")
        assert opened.kernel is not None
        self.kernel_id = opened.kernel.id

    def connect(self) -> Helper:
        session_id = messages.new_id()
        return Helper(self.server.open_channels(self.kernel_id, session_id), session_id)

    def new_id(self) -> str:
        return f"run-{next(self._numbers):06d}"

    def file(self, run: str, name: str) -> Path:
        return self.home / "runs" / run / name


class Collected:
    """Output as a follower hands it on."""

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()

    def __call__(self, stream: str, data: bytes) -> None:
        (self.stdout if stream == "stdout" else self.stderr).extend(data)


@pytest.fixture(scope="module", params=["current", "colab"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A stock server of either kind."""
    if request.param == "colab" and not COLAB:
        pytest.skip("LECODER_CGPU_TEST_COLAB_PYTHON is not set")
    folder = tmp_path_factory.mktemp(request.param)
    with start_server(folder, python=COLAB if request.param == "colab" and COLAB else sys.executable) as running:
        server = Server(Endpoint(url=running.url, token=running.token))
        yield Place(server, folder / "resident")
        server.close()


@pytest.fixture
def helper(place: Place) -> Iterator[Helper]:
    """A connection of its own to the shared helper."""
    connection = place.connect()
    yield connection
    connection.close()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def run(place: Place, helper: Helper, command: str | list[str], launch: Launch = DEFAULT) -> tuple[RunState, Collected]:
    """Start a command and follow it to its end."""
    run_id = place.new_id()
    collected = Collected()
    helper.start(run_id, command, launch)
    state = Follower(run_id, collected).follow(helper)
    assert state is not None
    return state, collected


def status(state: RunState) -> int | str | None:
    assert state.result is not None
    return state.result.signal or state.result.exit


def test_a_command_runs(place: Place, helper: Helper) -> None:
    """Output, streams and exit status of a shell command are exact."""
    state, output = run(place, helper, "echo out; echo err >&2; exit 7")
    assert (state.state, status(state)) == ("exited", 7)
    assert (bytes(output.stdout), bytes(output.stderr)) == (b"out\n", b"err\n")


def test_words_are_not_parsed_again(place: Place, helper: Helper) -> None:
    """A command given as words reaches the process as it is, whatever characters it has."""
    words = ["a b", "$HOME", "'", '"', "\\", "ü🦊", ""]
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    state, output = run(place, helper, ["python", "-c", code, *words])
    assert status(state) == 0
    assert json.loads(output.stdout) == words


def test_python_and_pip_are_the_kernels(place: Place, helper: Helper) -> None:
    """`python` and `pip` in a process are those of the kernel's own environment."""
    hello = helper.hello()
    _, output = run(place, helper, 'python -c "import sys; print(sys.executable)"; pip --version')
    assert output.stdout.decode().startswith(hello.executable + "\n")
    assert str(Path(hello.executable).parent.parent) in output.stdout.decode().splitlines()[1]


def test_environment_is_the_runtimes(place: Place, helper: Helper) -> None:
    """What the kernel sets for notebooks does not reach processes; what the caller sets does."""
    launch = Launch(environment={"LECODER_T": "1", "TERM": "vt100"}, secrets={"LECODER_S": "hidden"})
    state, output = run(place, helper, "env", launch)
    found = dict(line.partition("=")[::2] for line in output.stdout.decode().splitlines())
    assert (found["LECODER_T"], found["LECODER_S"], found["TERM"]) == ("1", "hidden", "vt100")
    assert found["PYTHONUNBUFFERED"] == "1"
    assert not [name for name in found if name.startswith(("JPY_", "PYDEVD_"))]
    assert "inline" not in found.get("MPLBACKEND", "")
    assert not {"CLICOLOR_FORCE", "FORCE_COLOR"} & set(found)
    assert state.result is not None


def test_secrets_stay_off_the_disk(place: Place, helper: Helper) -> None:
    """No file of the helper holds the value of a secret; its name is noted."""
    secret = "s3cr3t-" + messages.new_id()
    run_id = place.new_id()
    helper.start(run_id, 'test -n "$TOKEN_X"', Launch(secrets={"TOKEN_X": secret}))
    state = Follower(run_id, Collected()).follow(helper)
    assert state is not None
    assert status(state) == 0
    files = [path for path in place.home.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert json.loads(place.file(run_id, "spec.json").read_text())["secrets"] == ["TOKEN_X"]
    assert place.file(run_id, "spec.json").stat().st_mode & 0o077 == 0


def test_start_is_idempotent(place: Place, helper: Helper) -> None:
    """Asking again for the same run, over whatever connection, never starts a second process."""
    run_id = place.new_id()
    counter = place.home / f"counter-{run_id}"
    helper.start(run_id, f"echo x >> {counter}; sleep 0.3; exit 3")
    other = place.connect()
    other.start(run_id, f"echo x >> {counter}; sleep 0.3; exit 3")
    for connection in (helper, other):
        state = Follower(run_id, Collected()).follow(connection)
        assert state is not None
        assert status(state) == 3
    helper.start(run_id, f"echo x >> {counter}")
    other.close()
    assert counter.read_text() == "x\n"


def test_missing_folder_starts_nothing(place: Place, helper: Helper) -> None:
    """A working folder that is not there is an error of its own, and no run is left behind."""
    run_id = place.new_id()
    with pytest.raises(errors.NotFoundError, match="no/such/folder"):
        helper.start(run_id, "echo x", Launch(cwd="no/such/folder"))
    with pytest.raises(errors.NotFoundError, match="no run"):
        helper.state(run_id)


def test_much_output_is_complete(place: Place, helper: Helper) -> None:
    """100 MB in one go arrive byte for byte, in spite of the server's rate limits."""
    code = (
        "import hashlib, os, sys\n"
        "h = hashlib.sha256()\n"
        "for i in range(1600):\n"
        "    d = (b'%08d' % i) * 8192\n"
        "    h.update(d); os.write(1, d)\n"
        "print(h.hexdigest(), file=sys.stderr)\n"
    )
    state, output = run(place, helper, ["python", "-c", code])
    assert status(state) == 0
    assert len(output.stdout) == 1600 * 65536
    assert hashlib.sha256(output.stdout).hexdigest() == output.stderr.decode().strip()


def test_many_small_writes_are_complete(place: Place, helper: Helper) -> None:
    """50,000 lines, flushed one by one, arrive complete and in order."""
    state, output = run(place, helper, ["python", "-c", "for i in range(50000): print(i, flush=True)"])
    assert status(state) == 0
    assert output.stdout.decode().split() == [str(number) for number in range(50_000)]


def test_output_comes_while_it_runs(place: Place, helper: Helper) -> None:
    """Output is handed on before the process ends."""
    run_id = place.new_id()
    gate = place.home / f"gate-{run_id}"
    seen: list[str] = []

    def take(stream: str, data: bytes) -> None:
        seen.append(data.decode())
        gate.touch()

    helper.start(run_id, f"echo first; until [ -e {gate} ]; do sleep 0.01; done; echo second")
    state = Follower(run_id, take).follow(helper)
    assert state is not None
    assert "".join(seen) == "first\nsecond\n"
    assert seen[0] == "first\n"


def test_thirty_runs_at_once(place: Place, helper: Helper) -> None:
    """Thirty processes on one helper, each followed over the same socket, get their own output and status."""
    ids = [place.new_id() for _ in range(30)]
    outputs = {run_id: Collected() for run_id in ids}
    for number, run_id in enumerate(ids):
        helper.start(run_id, f"for i in $(seq 200); do echo {number} $i; done; exit {number}")
    for number, run_id in enumerate(ids):
        state = Follower(run_id, outputs[run_id]).follow(helper)
        assert state is not None
        assert status(state) == number
        assert outputs[run_id].stdout.decode() == "".join(f"{number} {i}\n" for i in range(1, 201))


def test_two_followers(place: Place, helper: Helper) -> None:
    """Two clients that follow one run, one from the start and one from the middle, both get what they asked for."""
    run_id = place.new_id()
    first, second = Collected(), Collected()
    other = place.connect()
    helper.start(run_id, "for i in $(seq 3000); do echo line $i; done; sleep 0.3; echo end")
    wait_for(lambda: place.file(run_id, "stdout").exists() and place.file(run_id, "stdout").stat().st_size > 1000)
    late = threading.Thread(target=lambda: Follower(run_id, second, stdout_offset=1000).follow(other))
    late.start()
    Follower(run_id, first).follow(helper)
    late.join(60)
    other.close()
    whole = "".join(f"line {i}\n" for i in range(1, 3001)).encode() + b"end\n"
    assert bytes(first.stdout) == whole
    assert bytes(second.stdout) == whole[1000:]


def test_signals(place: Place, helper: Helper) -> None:
    """A signal reaches the process group, also right after the start, and is not sent when the run has ended."""
    run_id = place.new_id()
    helper.start(run_id, "sleep 60; echo not reached")
    assert helper.signal(run_id, "TERM") is True
    state = Follower(run_id, Collected()).follow(helper)
    assert state is not None
    assert status(state) == "SIGTERM"
    assert helper.signal(run_id, "KILL") is False
    with pytest.raises(errors.UsageError, match="NOPE"):
        helper.signal(run_id, "NOPE")


def test_interruption_of_the_follower(place: Place, helper: Helper) -> None:
    """After a Ctrl-C the connection still signals, and following goes on where it stopped."""
    run_id = place.new_id()
    output = Collected()

    def take(stream: str, data: bytes) -> None:
        if data == b"ready\n" and not output.stderr:
            output.stderr.extend(b"interrupted")
            raise KeyboardInterrupt
        output(stream, data)

    helper.start(run_id, "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done")
    follower = Follower(run_id, take)
    with pytest.raises(KeyboardInterrupt):
        follower.follow(helper)
    assert follower.stdout_offset == 0
    assert helper.signal(run_id, "INT") is True
    state = follower.follow(helper)
    assert state is not None
    assert status(state) == 9
    assert bytes(output.stdout) == b"ready\ncaught\n"


def test_following_for_a_while(place: Place, helper: Helper) -> None:
    """A follower that has a moment to stop at stops there, and goes on later."""
    run_id = place.new_id()
    output = Collected()
    gate = place.home / f"gate-{run_id}"
    helper.start(run_id, f"until [ -e {gate} ]; do sleep 0.01; done; echo done")
    follower = Follower(run_id, output)
    assert follower.follow(helper, until=time.monotonic() + 0.1) is None
    gate.touch()
    state = follower.follow(helper)
    assert state is not None
    assert bytes(output.stdout) == b"done\n"


def test_stdin(place: Place, helper: Helper) -> None:
    """A file is sent to the process whole, much faster than the process reads it."""
    data = os.urandom(5_000_000)
    run_id = place.new_id()
    output = Collected()
    helper.start(run_id, "sleep 0.3; sha256sum", stdin=True)
    state = Follower(run_id, output, stdin=io.BytesIO(data)).follow(helper)
    assert state is not None
    assert status(state) == 0
    assert output.stdout.decode().split()[0] == hashlib.sha256(data).hexdigest()


def test_stdin_sent_twice_is_read_once(place: Place, helper: Helper) -> None:
    """Input that is sent again with the same offset, as after a lost answer, reaches the process once."""
    run_id = place.new_id()
    output = Collected()
    helper.start(run_id, "cat", stdin=True)
    for _ in range(2):
        helper.send_stdin(run_id, b"once ", offset=0)
    helper.send_stdin(run_id, b"ce and done", offset=2, eof=True)
    with pytest.raises(errors.UsageError, match="missing"):
        helper.send_stdin(run_id, b"too far", offset=1000)
    Follower(run_id, output).follow(helper)
    assert bytes(output.stdout) == b"once and done"


def test_a_dropped_connection(place: Place) -> None:
    """A follower whose socket is lost goes on over another one, without a gap and without a repetition."""
    run_id = place.new_id()
    output = Collected()
    first = place.connect()
    first.start(run_id, "for i in $(seq 20); do echo line $i; sleep 0.05; done")

    def take(stream: str, data: bytes) -> None:
        output(stream, data)
        if len(output.stdout) > 30 and follower.stdout_offset < 200:
            first.close()

    follower = Follower(run_id, take)
    with pytest.raises(errors.ConnectionFailed):
        follower.follow(first)
    second = place.connect()
    state = follower.follow(second)
    second.close()
    assert state is not None
    assert output.stdout.decode() == "".join(f"line {i}\n" for i in range(1, 21))


def test_killed_helper(place: Place) -> None:
    """The helper's kernel is killed while a run goes on: a new one finds the run, its output and its result."""
    connection = place.connect()
    run_id = place.new_id()
    output = Collected()
    gate = place.home / f"gate-{run_id}"
    script = f"echo before; until [ -e {gate} ]; do sleep 0.02; done; seq 5000; exit 4"
    connection.start(run_id, script)
    killed = connection.hello().pid

    def take(stream: str, data: bytes) -> None:
        output(stream, data)
        if not gate.exists():
            os.kill(killed, signal.SIGKILL)
            gate.touch()

    state = Follower(run_id, take).follow(connection)
    assert state is not None
    assert status(state) == 4
    assert output.stdout.decode().split() == ["before", *(str(number) for number in range(1, 5001))]
    assert connection.hello().pid != killed
    assert run_id in [item.run for item in connection.runs()]
    connection.close()


def test_killed_supervisor(place: Place, helper: Helper) -> None:
    """When a run's supervisor is killed, its follower is told that the outcome is unknown, and gets what there was."""
    run_id = place.new_id()
    output = Collected()

    def take(stream: str, data: bytes) -> None:
        output(stream, data)
        os.kill(json.loads(place.file(run_id, "spec.json").read_text())["supervisorPid"], signal.SIGKILL)

    helper.start(run_id, "echo something; sleep 60")
    state = Follower(run_id, take).follow(helper)
    assert state is not None
    assert (state.state, state.result, state.alive) == ("unknown", None, True)
    assert bytes(output.stdout) == b"something\n"
    assert helper.signal(run_id, "KILL") is True


def test_time_limit(place: Place, helper: Helper) -> None:
    """A time limit is kept on the runtime, whoever listens."""
    state, _ = run(place, helper, "sleep 60", Launch(timeout=0.3))
    assert state.result is not None
    assert (state.result.timed_out, state.result.killed_by) == (True, ["SIGTERM"])


def test_report(helper: Helper) -> None:
    """The machine's memory, disk and processors are those of this one."""
    report = helper.report()
    assert report.sampling is False
    assert report.memory is not None
    assert report.disk is not None
    assert 0 < report.memory.available_bytes <= report.memory.total_bytes
    assert 0 < report.disk.free_bytes <= report.disk.total_bytes
    assert 0 < report.cpus <= len(os.sched_getaffinity(0))
    assert report.system.startswith("Linux")


def test_old_runs_can_be_removed(place: Place, helper: Helper) -> None:
    """A finished run is removed with its output; a running one is not."""
    run_id = place.new_id()
    helper.start(run_id, "sleep 60")
    with pytest.raises(errors.UsageError, match="not ended"):
        helper.forget(run_id)
    helper.signal(run_id, "KILL")
    Follower(run_id, Collected()).follow(helper)
    helper.forget(run_id)
    assert not place.file(run_id, "spec.json").parent.exists()
    with pytest.raises(errors.NotFoundError):
        helper.read(run_id, "stdout", 0)


def test_the_kernels_namespace_stays_clean(place: Place, helper: Helper) -> None:
    """The helper lives in modules of its own; two connections find the same one."""
    first = helper.hello()
    other = place.connect()
    assert other.hello() == first
    other.close()
    assert first.hash == bootstrap.module_name().rpartition("_")[2]
