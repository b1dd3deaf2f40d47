"""`kill -9` of every process that takes part in a run, at random moments: nothing is lost that is known, and what
cannot be known is called unknown."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.models.base import ErrorInfo
from lecoder_cgpu.runs.kernel_runs import attached_kernel_run
from lecoder_cgpu.runs.process_runs import attached_run
from tests.support.cli import Cli
from tests.support.rig import HANG, Rig, rig, within
from tests.support.servers import JupyterServer

LINES = 30
ALL = "".join(f"{number}\n" for number in range(LINES))
SHELL = f"for i in $(seq 0 {LINES - 1}); do echo $i; sleep 0.05; done"
CODE = f"import time\nfor i in range({LINES}):\n    print(i, flush=True)\n    time.sleep(0.05)"

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are found in /proc")


@pytest.fixture(scope="module")
def held(jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A warm session on a stock server."""
    folder = tmp_path_factory.mktemp("kills")
    with rig(jupyter, folder, folder.name) as made:
        yield made


def helper(held: Rig) -> int:
    """The process of the helper's kernel."""
    with held.session() as session:
        helper = session.connect_helper()
        try:
            return helper.hello().pid
        finally:
            helper.close()


def supervisors(parent: int) -> dict[int, str]:
    """The supervisors that a helper has started, each with the state of its run: `spare` for those without one."""
    found = {}
    for child in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in map(int, child.read_text().split()):
            if b"start.py\0supervisor\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                busy = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                found[pid] = "busy" if busy else "spare"
    return found


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def at_line(number: int, kill: Callable[[], None]) -> tuple[list[str], Callable[[str], None]]:
    """Collects output, and calls `kill` once when that line has come."""
    pieces: list[str] = []
    done = threading.Event()

    def take(text: str) -> None:
        pieces.append(text)
        if f"{number}\n" in "".join(pieces) and not done.is_set():
            done.set()
            kill()

    return pieces, take


@pytest.mark.parametrize(("mode", "seed"), [("kernel", 1), ("process", 2)])
def test_a_killed_client(held: Rig, jupyter: JupyterServer, tmp_path: Path, mode: str, seed: int) -> None:
    """The run goes on, and another machine that knows the session gets all of it."""
    machine = Cli(tmp_path)
    token = jupyter.token.encode()
    machine("sessions", "add", held.name, "--url", jupyter.url, "--token-stdin", stdin=token)
    client = machine.start("run", "--events", *(("-m", "kernel", CODE) if mode == "kernel" else (SHELL,)), bufsize=0)
    assert client.stdout is not None
    for _ in range(random.Random(seed).randint(1, 10)):
        client.stdout.readline()
    client.kill()
    client.communicate()
    with held.session() as session:
        helper = session.connect_helper()
        newest = helper.runs(1)[0].run
        helper.close()
        attach = attached_kernel_run if mode == "kernel" else attached_run
        whole = within(HANG, lambda: attach(session, newest, lambda *output: None))
    assert (whole.status, whole.stdout, whole.output_complete) == ("ok", ALL, True), whole


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_helper_and_a_process(held: Rig, seed: int) -> None:
    """The process is none the worse, and its client gets every byte and the exit status."""
    victim = helper(held)
    pieces, take = at_line(random.Random(seed).randint(1, 20), lambda: os.kill(victim, signal.SIGKILL))
    document = within(HANG, lambda: held.process_run(f"{SHELL}; exit 5", lambda stream, data: take(data.decode())))
    assert (document.exit_code, document.output_complete) == (5, True), document
    assert "".join(pieces) == ALL


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_helper_and_a_kernel(held: Rig, seed: int) -> None:
    """The kernel and its client go on without it; the recording has a hole, and whoever reads it is told."""
    victim = helper(held)
    pieces, take = at_line(random.Random(seed).randint(1, 20), lambda: os.kill(victim, signal.SIGKILL))

    def show(event: messages.Event) -> None:
        if isinstance(event, messages.Stream):
            take(event.text)

    document = within(HANG, lambda: held.kernel_run(CODE, show))
    assert (document.status, document.output_complete) == ("ok", True), document
    assert "".join(pieces) == ALL
    assert isinstance(document.run_id, str)
    with held.session() as session:
        again = within(HANG, lambda: attached_kernel_run(session, str(document.run_id), lambda event: None))
    assert (again.output_complete, again.stdout == ALL) in [(True, True), (False, False)], again


def test_a_killed_supervisor(held: Rig) -> None:
    """How its command ends cannot be known: the document says so, and neither success nor failure."""
    parent = helper(held)

    def kill() -> None:
        eventually(lambda: "busy" in supervisors(parent).values())
        for pid, state in supervisors(parent).items():
            if state == "busy":
                os.kill(pid, signal.SIGKILL)

    pieces, take = at_line(3, kill)
    document = within(HANG, lambda: held.process_run(SHELL, lambda stream, data: take(data.decode())))
    assert isinstance(document.error, ErrorInfo)
    assert (document.status, document.error.name, document.output_complete) == ("unknown", "SupervisorLost", False)
    assert document.exit_code == 74
    assert ALL.startswith("".join(pieces))
    assert re.search(r"it is (still alive|not running any more)", document.error.message)
    with held.session() as session:
        again = attached_run(session, str(document.run_id), lambda stream, data: None)
    assert again.status == "unknown"


def test_a_killed_spare_supervisor(held: Rig, tmp_path: Path) -> None:
    """Nobody notices: another one takes the next command, which is executed once."""
    parent = helper(held)
    counter = tmp_path / "counter"
    for _ in range(3):
        eventually(lambda: "spare" in supervisors(parent).values())
        for pid, state in supervisors(parent).items():
            if state == "spare":
                os.kill(pid, signal.SIGKILL)
        document = within(
            HANG, lambda: held.process_run(f"printf x >> {str(counter)!r}; exit 3", lambda stream, data: None)
        )
        assert document.exit_code == 3, document
    assert counter.read_text() == "xxx"
