"""What a Colab runtime may not allow: each time the work is done in another way, or one true sentence says why not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.colab import logged_in
from tests.support.wait import wait_until

ALL = {
    "kernels": 1, "binary": "closed", "frame_limit": 200_000, "files": "500", "v1": "echoed", "contents": False,
    "tty": False, "body_limit": 100_000,
}  # fmt: skip


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


def test_one_kernel(fresh: tuple[Cli, FakeColab]) -> None:
    """The helper lives in the session's own kernel then, and answers while that is busy; told once (protocol C39)."""
    command, colab = fresh
    switched(colab, kernels=1)
    first = command("run", "-m", "kernel", "x = 41; print(x + 1)")
    assert (first.code, first.out) == (0, "42\n"), first
    assert "the runtime allows one kernel (HTTP 403)" in first.err
    busy = command.start("run", "-m", "kernel", "print('begun', flush=True); import time; time.sleep(30)")
    assert busy.stdout is not None
    assert busy.stdout.readline() == b"begun\n"
    began = time.monotonic()
    beside = command("run", "echo beside")
    assert (beside.code, beside.out) == (0, "beside\n"), beside
    assert "one kernel" not in beside.err
    assert time.monotonic() - began < 50
    busy.terminate()
    busy.communicate(timeout=60)
    assert command("run", "-m", "kernel", "print(x)").out == "41\n"


def test_one_kernel_that_serves_commands(fresh: tuple[Cli, FakeColab]) -> None:
    """The same when the helper was there first; whatever it is refused with."""
    command, colab = fresh
    switched(colab, kernels=1, kernel_refusal=500)
    assert command("run", "echo first").out == "first\n"
    second = command("run", "-m", "kernel", "print(6 * 7)")
    assert (second.code, second.out) == (0, "42\n"), second
    assert "the runtime allows one kernel (HTTP 500)" in second.err
    assert command("run", "echo third").out == "third\n"


@pytest.mark.parametrize("switches", [{"binary": "swallowed", "files": "404"}, ALL], ids=["swallowed", "all"])
def test_everything_at_once(fresh: tuple[Cli, FakeColab], tmp_path: Path, switches: dict[str, Any]) -> None:
    """Code, commands and files work all the same, with few sockets, and binary frames are tried once."""
    command, colab = fresh
    switched(colab, **switches)
    (tmp_path / "many").mkdir()
    for name, size in (("large", 2_000_000), ("many/a", 300_000), ("many/b", 10)):
        (tmp_path / name).write_bytes(os.urandom(size))
    assert command("run", "-m", "kernel", "print(6 * 7)").out == "42\n"
    assert command("run", "echo hi").out == "hi\n"
    up = command("upload", str(tmp_path / "large"), str(tmp_path / "many"), "there/")
    assert up.code == 0, up
    down = command("download", "there/large", "there/many", f"{tmp_path / 'back'}/")
    assert down.code == 0, down
    for name in ("large", "many/a", "many/b"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert colab.count("GET /api/kernels/*/channels") < 20
    assert command("status", "--json").json["runtimes"][0]["connected"] is True


def test_code_that_is_too_long(fresh: tuple[Cli, FakeColab], tmp_path: Path) -> None:
    """It says so, and how to run it; and where not even the helper fits, code runs (protocol J22)."""
    command, colab = fresh
    switched(colab, frame_limit=70_000)
    (tmp_path / "long.py").write_text(f"x = {'a' * 100_000!r}")
    refused = command("run", "-m", "kernel", "-f", str(tmp_path / "long.py"))
    assert "the code is too long for one message" in refused.err, refused
    assert "lecoder-cgpu upload" in refused.err
    assert command("run", "-m", "kernel", "print(6 * 7)").out == "42\n"
    helpless = command("run", "true", "--json").json
    assert helpless["error"]["name"] == "MessageTooLarge"
    (tmp_path / "longer.py").write_text(f"x = {'a' * (11 << 20)!r}")
    assert "servers take 10 MiB" in command("run", "-m", "kernel", "-f", str(tmp_path / "longer.py")).err


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
