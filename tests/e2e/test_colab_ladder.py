"""What a Colab runtime may not allow: each time the work is done in another way, or one true sentence says why not."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.colab import logged_in
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, FakeColab]]:
    with FakeColab(tmp_path_factory.mktemp("colab")) as colab:
        yield logged_in(Cli(tmp_path_factory.mktemp("home")), colab), colab


@pytest.fixture
def fresh(shared: tuple[Cli, FakeColab]) -> Iterator[tuple[Cli, FakeColab]]:
    """A command line without a session, and switches to change."""
    command, colab = shared
    before = vars(colab.switches).copy()
    yield command, colab
    vars(colab.switches).update(before)
    command("sessions", "close", "--all")


def switched(colab: FakeColab, **switches: Any) -> None:
    vars(colab.switches).update(switches)
    colab.requests.clear()


def test_few_requests_to_google(fresh: tuple[Cli, FakeColab]) -> None:
    """No more than Google's own command line for the same story, but for the listing that proves the release."""
    command, colab = fresh

    def asked(*words: str) -> list[str]:
        colab.requests.clear()
        assert command(*words).code == 0
        return [f"{item.method} {item.path.rpartition('/')[0]}" for item in colab.requests if item.role == "tunnel"]

    assert asked("sessions", "ensure", "story", "--cpu") == ["GET /tun/m", "POST /tun/m"]
    assert asked("run", "-s", "story", "-m", "kernel", "1") == []
    assert asked("run", "-s", "story", "true") == []
    released = ["GET /tun/m/unassign", "POST /tun/m/unassign", "GET /tun/m"]
    assert asked("sessions", "close", "story") == released


def test_one_kernel(fresh: tuple[Cli, FakeColab]) -> None:
    """The helper lives in the session's own kernel then, and answers while that is busy; told once (protocol C39)."""
    command, colab = fresh
    switched(colab, kernels=1)
    first = command("run", "-m", "kernel", "x = 41; print(x + 1)")
    assert (first.code, first.out) == (0, "42\n"), first
    assert "the runtime allows one kernel (HTTP 403)" in first.err
    code = "print('begun', flush=True); import time; time.sleep(3); print(input() + '!')"
    busy = command.start("run", "--stdin", "-m", "kernel", code, stdin=subprocess.PIPE)
    assert busy.stdout is not None
    assert busy.stdout.readline() == b"begun\n"
    began = time.monotonic()
    beside = command("run", "echo beside")
    assert (beside.code, beside.out) == (0, "beside\n"), beside
    assert "one kernel" not in beside.err
    assert time.monotonic() - began < 50
    assert busy.communicate(b"asked\n", timeout=60)[0] == b"asked!\n"  # what was served beside has taken nothing away
    assert command("run", "-m", "kernel", "print(x)").out == "41\n"


def test_no_kernel(fresh: tuple[Cli, FakeColab], tmp_path: Path) -> None:
    """It is not the token that is blamed, and files go without (protocol J29)."""
    command, colab = fresh
    switched(colab, kernels=0, body_limit=100_000)
    refused = command("run", "-m", "kernel", "1", "--json")
    assert refused.json["error"]["name"] == "KernelRefused", refused
    assert "though it accepts the token" in command("run", "true").err
    (tmp_path / "file").write_bytes(os.urandom(400_000))
    up = command("upload", str(tmp_path / "file"), "there")
    assert up.code == 0, up
    assert "files go through the server" in up.err
    assert command("download", "there", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


def test_one_kernel_that_serves_commands(fresh: tuple[Cli, FakeColab]) -> None:
    """The same when the helper was there first; whatever it is refused with."""
    command, colab = fresh
    switched(colab, kernels=1, kernel_refusal=500)
    assert command("run", "echo first").out == "first\n"
    second = command("run", "-m", "kernel", "print(6 * 7)")
    assert (second.code, second.out) == (0, "42\n"), second
    assert "the runtime allows one kernel (HTTP 500)" in second.err
    assert command("run", "echo third").out == "third\n"


def test_code_that_is_too_long(fresh: tuple[Cli, FakeColab], tmp_path: Path) -> None:
    """It goes in pieces, told once for a runtime, and errors name its lines; only another language's is refused."""
    command, colab = fresh
    script = tmp_path / "long.py"
    script.write_text(f"x = {'a' * (11 << 20)!r}\nprint(len(x))\n1 / 0\n")
    known = command("run", "-m", "kernel", "-f", str(script))
    assert (known.out, known.code) == (f"{11 << 20}\n", 1), known
    assert "----> 3 1 / 0" in known.err
    switched(colab, frame_limit=70_000)
    script.write_text(f"# {os.urandom(100_000).hex()}\nprint(6 * 7)")
    first = command("run", "-m", "kernel", "-f", str(script))
    assert first.out == "42\n", first
    assert "large messages do not pass" in first.err
    again = command("run", "-m", "kernel", "-f", str(script))
    assert again.out == "42\n"
    assert "large messages" not in again.err
    assert colab.count("GET /api/kernels/*/channels") < 10


def test_a_line_that_breaks_at_what_is_long(fresh: tuple[Cli, FakeColab]) -> None:
    """Sockets that open and break off, without a code that tells why: smaller parts are tried, with pauses, and what
    was printed is complete. What a line brings twice is shown once."""
    command, colab = fresh
    assert command("run", "true").code == 0
    switched(colab, cut_after=60_000)
    began = time.monotonic()
    result = command("run", "seq 1 12000")
    colab.switches.cut_after = None
    assert (result.code, result.out.splitlines()[-1:], len(result.out)) == (0, ["12000"], 60_894), result.err
    assert colab.count("GET /api/kernels/*/channels") <= 10 + (time.monotonic() - began) / 6
    assert command("run", "-m", "kernel", "x = 1").code == 0
    switched(colab, repeats=True)
    twice = command("run", "-m", "kernel", "print('once'); 6 * 7")
    assert twice.out == "once\n42\n", twice
    switched(colab, repeats=False, cut_after=100)  # less than any answer has
    running = command.start("run", "echo never")
    began = time.monotonic()
    wait_until(lambda: running.poll() is not None or time.monotonic() - began > 6)
    tried = colab.count("GET /api/kernels/*/channels")
    running.kill()
    running.communicate()
    assert tried <= 10


def test_a_socket_that_always_closes(fresh: tuple[Cli, FakeColab], tmp_path: Path) -> None:
    """The command ends, and has not opened sockets without a pause."""
    command, colab = fresh
    assert command("run", "true").code == 0
    (tmp_path / "file").write_bytes(os.urandom(400_000))
    assert command("upload", str(tmp_path / "file"), "before").code == 0
    colab.requests.clear()
    running = command.start("upload", str(tmp_path / "file"), "after")
    wait_until(lambda: colab.count("GET /api/kernels/*/channels") == 1)
    colab.fail("GET /api/kernels/*/channels", times=None, status=502)
    colab.drop_sockets()
    began = time.monotonic()
    wait_until(lambda: running.poll() is not None or time.monotonic() - began > 6)
    tried = colab.count("GET /api/kernels/*/channels")
    running.kill()
    running.communicate()
    colab.mend()
    assert tried <= 10
