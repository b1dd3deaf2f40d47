"""What counts as work for the release of an idle runtime, though neither a kernel nor a run is busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.guest.lease_guard import TOUCH
from lecoder_cgpu.sessions import keeper_process
from lecoder_cgpu.system.periodic import every
from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.forwarding import forwarded
from tests.support.pty import Pty
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the lease was made for Linux")


@pytest.fixture
def kept(colab: FakeColab, colab_cli: Cli) -> Iterator[Cli]:
    """A command line whose keeper makes a round every half second, with a plan that allows tunnels."""
    colab.switches.keep_alive = "empty"
    colab.account.upgrade("PRO")
    colab_cli.variables |= {"LECODER_CGPU_KEEPER": "on", "LECODER_CGPU_KEEPER_INTERVAL": "0.5"}
    yield colab_cli
    colab_cli("keeper", "stop")


def activity(colab: FakeColab) -> Path:
    """The file by whose time the runtime knows when it was last in use."""
    return next(colab.vm.machine.folder.rglob("activity"))


def drop(pipe: int) -> None:
    """Write a line into a pipe."""
    os.write(pipe, b"line\n")


def unread(pipe: int) -> int:
    """How many bytes wait in a pipe."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"    "), sys.byteorder)


def test_a_slow_upload_is_no_idleness(colab: FakeColab, kept: Cli) -> None:
    """Input that comes slowly keeps the runtime for longer than it may be idle."""
    assert kept("run", "--cpu", "--idle-release", "never", "true").code == 0
    upload = kept.start("upload", "-", "slow.txt", stdin=subprocess.PIPE)
    assert upload.stdin is not None
    pipe = upload.stdin.fileno()
    drop(pipe)
    with every(0.2, lambda: drop(pipe)):
        wait_until(lambda: not unread(pipe) or upload.poll() is not None)
        assert kept("run", "--idle-release", "8s", "true").code == 0
        time.sleep(11)
        assert colab.vms
    out, err = upload.communicate()
    assert upload.returncode == 0, (out, err)
    wait_until(lambda: not colab.vms)
    assert kept("sessions", "list", "--json").json[0]["lease"]["ended"] == "idle"


def test_what_is_open(colab: FakeColab, colab_cli: Cli, pty_of: Callable[..., Pty]) -> None:
    """The runtime is told of a tunnel, a shell and a prompt that are silent, which say so, and of an agent's call."""
    colab.account.upgrade("PRO")
    assert colab_cli("run", "--cpu", "--idle-release", "8s", "true").code == 0

    def told() -> None:
        quiet = time.time()
        wait_until(lambda: activity(colab).stat().st_mtime > quiet + 2)

    with forwarded(colab_cli, "--via", "tunnel", "9:0"):  # a port of its own here: others try whether 9 is closed
        told()
    for words in (("connect",), ("connect", "-m", "kernel")):
        shown = pty_of(colab_cli, *words)
        shown.wait(lambda: b"counts as in use" in shown.seen)  # noqa: B023
        told()
        shown.process.kill()
        shown.end()
    assert colab_cli("run", "--idle-release", "never", "true").code == 0
    time.sleep(TOUCH)  # the runtime notes a use no more often
    quiet = time.time()
    server = colab_cli.start("mcp", stdin=subprocess.PIPE)
    assert server.stdin is not None
    who = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    asked = {"name": "kernel", "arguments": {"action": "status"}}  # which asks nothing of the helper
    calls: tuple[tuple[int | None, str, object], ...] = (
        (1, "initialize", who),
        (None, "notifications/initialized", {}),
        (2, "tools/call", asked),
    )
    for identity, method, parameters in calls:
        message = {"jsonrpc": "2.0", "method": method, "params": parameters} | ({"id": identity} if identity else {})
        server.stdin.write(json.dumps(message).encode() + b"\n")
        server.stdin.flush()
    try:
        wait_until(lambda: activity(colab).stat().st_mtime > quiet)
    finally:
        server.kill()
        server.communicate()


def test_a_program_in_the_background(colab: FakeColab, kept: Cli) -> None:
    """What a run left keeps the runtime while it computes, with an open socket, and no longer when it only waits."""
    program = "while [ ! -e stop ]; do :; done; exec sleep 300"
    line = f"nohup sh -c '{program}' >/dev/null 2>&1 &"
    assert kept("run", "--cpu", "--idle-release", "4s", line).code == 0
    wait_until(lambda: seen(kept) == ("running", True))
    time.sleep(6)
    assert colab.vms
    kept("run", "touch stop")
    wait_until(lambda: not colab.vms)


def seen(cli: Cli) -> tuple[str, bool] | None:
    """What the keeper says of the only session: its work, and whether a socket is held."""
    found = keeper_process.read(cli.state)
    return None if found is None or not found.sessions else (found.sessions[0].work, found.sessions[0].socket)
