"""The lease on the runtime: it ends work and releases the machine by itself, with nobody there."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lecoder_cgpu.helper.client import Helper
from lecoder_cgpu.helper.documents import RunState
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from tests.support.cli import Cli
from tests.support.servers import start_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the lease was made for Linux")


class Runtime:
    """A server with our helper."""

    def __init__(self, url: str, token: str, home: Path) -> None:
        self.server = Server(Endpoint(url=url, token=token))
        self.home = home
        self.kernel_id = self._open("lecoder-cgpu-resident")

    def _open(self, path: str) -> str:
        opened, _ = self.server.open_session(path)
        assert opened.kernel is not None
        return opened.kernel.id

    def connect(self) -> Helper:
        session_id = messages.new_id()
        return Helper(self.server.open_channels(self.kernel_id, session_id), session_id)

    def guard(self) -> int:
        """The process of the guard."""
        wait_for(lambda: (self.home / "guard.json").exists())
        return int(json.loads((self.home / "guard.json").read_text())["pid"])


class Releases(http.server.ThreadingHTTPServer):
    """Stands for Colab's service inside the machine: takes POSTs to /unassign, and fails the first of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.released = threading.Event()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Releases

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        failed = len(self.server.asked) == 1
        self.send_response(503 if failed else 200)
        self.end_headers()
        if not failed:
            self.server.released.set()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[Releases]:
    with Releases() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def colab(service: Releases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A machine with Colab's service in it."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TBE_RUNTIME_ADDR", f"127.0.0.1:{service.server_port}")
            runtime = stack.enter_context(machine(tmp_path_factory.mktemp("colab")))
        yield runtime


@pytest.fixture
def releases(service: Releases) -> Releases:
    """The service, as if nothing had been asked of it."""
    service.asked.clear()
    service.released.clear()
    return service


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Runtime]:
    with start_server(folder) as running:
        runtime = Runtime(running.url, running.token, folder / "resident")
        yield runtime
        with contextlib.suppress(OSError, AssertionError):
            os.kill(runtime.guard(), signal.SIGKILL)
        runtime.server.close()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def ended(helper: Helper, run: str) -> RunState:
    wait_for(lambda: helper.state(run).ended)
    return helper.show(run)


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_the_end_of_a_colab_machine(colab: Runtime, releases: Releases) -> None:
    """Work is ended, and the machine asked to release itself until it does: without a client, after the helper and the
    guard were killed, for the lease is on the disk."""
    helper = colab.connect()
    run = messages.new_run_id()
    helper.start(run, "sleep 300")
    lease = helper.lease(until=soon(3600), idle=1000)
    assert lease.release == "unassign"
    assert lease.seconds_left is not None
    assert 3590 < lease.seconds_left <= 3600
    assert lease.idle_seconds == 1000
    first = colab.guard()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: colab.guard() != first and alive(colab.guard()))
    renewed = helper.lease(until=soon(5))
    assert renewed.idle_seconds == 1000, "what is not named stays"
    os.kill(helper.hello().pid, signal.SIGKILL)
    helper.close()
    assert releases.released.wait(60)
    assert releases.asked == ["/unassign", "/unassign"]
    again = colab.connect()
    state = ended(again, run)
    assert state.result is not None
    assert state.result.signal == "SIGTERM"
    assert [(sent.signal, sent.by) for sent in state.signals] == [("SIGTERM", "lease")]
    after = again.lease()
    assert after.ended is not None
    assert after.ended.reason == "until"
    again.close()


def test_idleness_ends_it(colab: Runtime, releases: Releases) -> None:
    """Not while a process or a kernel works, however long; renewing is no work; afterwards it is over soon."""
    helper = colab.connect()
    kernel = colab._open("work.ipynb")
    run, job = messages.new_run_id(), messages.new_run_id()
    helper.execute(job, kernel, "import time; time.sleep(5)")
    helper.start(run, "until test -e go; do sleep 0.1; done")
    helper.lease(until=None, idle=3)
    wait_for(lambda: helper.state(job).ended)
    time.sleep(4)  # longer than it may be idle
    assert not releases.asked
    assert helper.lease().ended is None
    (colab.home.parent / "root" / "go").touch()
    assert ended(helper, run).result is not None
    until = time.monotonic() + 60
    while not releases.asked and time.monotonic() < until:  # asking how it stands keeps nothing awake
        helper.lease()
        time.sleep(0.3)
    assert releases.released.wait(30)
    lease = helper.lease()
    assert lease.ended is not None
    assert lease.ended.reason == "idle"
    helper.close()


def test_a_server_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our runs end, in processes and in kernels; the server and its kernels stay. A lease can be taken back."""
    monkeypatch.delenv("TBE_RUNTIME_ADDR", raising=False)
    with machine(tmp_path) as runtime:
        helper = runtime.connect()
        kernel = runtime._open("work.ipynb")
        run, stubborn, job = messages.new_run_id(), messages.new_run_id(), messages.new_run_id()
        helper.execute(job, kernel, "import time; time.sleep(300)")
        helper.start(run, "sleep 300")
        wait_for(lambda: {helper.state(name).state for name in (run, job)} == {"running"})
        helper.lease(until=soon(2))
        assert helper.lease(until=None).seconds_left is None
        time.sleep(3)
        assert helper.state(run).state == "running"
        lease = helper.lease(until=soon(1))
        assert lease.release == "runs"
        state = ended(helper, run)
        assert state.result is not None
        assert state.result.signal == "SIGTERM"
        in_kernel = ended(helper, job)
        assert in_kernel.result is not None
        assert in_kernel.result.error is not None
        assert in_kernel.result.error.ename == "KeyboardInterrupt"
        assert in_kernel.signals[0].by == "lease"
        assert runtime.server.kernel(kernel).execution_state == "idle"
        helper.start(stubborn, "echo after")  # what is used again works again
        assert ended(helper, stubborn).state == "exited"
        helper.close()


def test_our_own_local_server(cli: Cli) -> None:
    """It ends, and the session is known to be gone; the next run starts another."""
    assert cli("--backend", "local", "run", "true").code == 0
    folder = next((cli.state / "local").iterdir())
    known = json.loads((folder / "server.json").read_text())
    runtime = Runtime(known["url"], known["token"], folder / "resident")
    helper = runtime.connect()
    assert helper.lease(until=soon(1)).release == "server"
    wait_for(lambda: not alive(known["pid"]))
    assert cli("sessions", "list", "--json").json[0]["status"] == "stale"
    helper.close()
    runtime.server.close()
    cli("sessions", "close", "--all", "--force")
