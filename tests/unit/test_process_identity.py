"""Which process an id means, by /proc and by psutil: both are run here, on real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from lecoder_cgpu.guest import processes
from lecoder_cgpu.system import process_identity
from lecoder_cgpu.system.process_identity import children, is_same, of

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
NOBODY = 2**22 + 1  # above the largest process id of Linux


@pytest.fixture(params=["own", "psutil"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of this system, and that of systems other than Linux."""
    if request.param == "psutil":
        monkeypatch.setattr(process_identity, "sys", type("Elsewhere", (), {"platform": "darwin"}))


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for its input to end."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield process
        process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("way")
def test_a_process_is_known_while_it_lives(child: subprocess.Popen[bytes]) -> None:
    """Its identity does not change, is no other's, and ends with it, although nobody has waited for it yet."""
    identity = of(child.pid)
    assert identity is not None
    time.sleep(0.05)
    assert of(child.pid) == identity
    assert is_same(child.pid, identity)
    assert not is_same(child.pid, identity[:-1] + ("1" if identity[-1] == "0" else "0"))
    child.kill()
    wait_until(lambda: of(child.pid) is None)
    assert not is_same(child.pid, identity)


@pytest.mark.usefixtures("way")
def test_ids_that_nobody_has() -> None:
    for pid in (NOBODY, -5, 2**40):
        assert of(pid) is None
        assert children(pid) == []


@pytest.mark.usefixtures("way")
def test_children(child: subprocess.Popen[bytes]) -> None:
    import os

    assert child.pid in children(os.getpid())
    assert children(child.pid) == []


def test_what_an_older_version_stored(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The forms of 0.6 on macOS and Windows still name their process, and no other."""
    monkeypatch.setattr(process_identity, "sys", type("Elsewhere", (), {"platform": "darwin"}))
    created = psutil.Process(child.pid).create_time()
    lstart = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(created))
    assert is_same(child.pid, lstart)
    assert not is_same(child.pid, time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(created - 60)))
    ticks = int((created + 11644473600) * 10**7)
    assert is_same(child.pid, str(ticks))
    assert not is_same(child.pid, str(ticks + 10**7))
    assert not is_same(child.pid, "gone")


@linux
def test_linux_needs_no_library() -> None:
    """/proc answers without importing psutil."""
    code = (
        "import os, sys; from lecoder_cgpu.system import process_identity as p;"
        "print(p.is_same(os.getpid(), p.of(os.getpid())), p.children(1) is not None, 'psutil' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "False"]


@linux
def test_a_process_that_cannot_be_looked_at_counts_as_alive(child: subprocess.Popen[bytes]) -> None:
    """Without a free descriptor /proc cannot be read. A supervisor must not be called dead for that."""
    start = processes.identity(child.pid)
    code = f"""
import os, resource
from lecoder_cgpu.guest.processes import lives
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
print(lives({child.pid}, {start!r}), lives({NOBODY}, {start!r}))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True False\n"
    assert not processes.lives(child.pid, "another")
    child.kill()
    wait_until(lambda: not processes.lives(child.pid, start))


@linux
def test_what_cannot_be_looked_at_is_not_dead(child: subprocess.Popen[bytes]) -> None:
    """With no file descriptor left, a living process stays the one that it was; one that is gone is gone."""
    code = (
        "import resource, sys\n"
        "from lecoder_cgpu.system.process_identity import is_same, of\n"
        f"known = of({child.pid})\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n"
        f"assert is_same({child.pid}, known)\n"
        f"assert of({NOBODY}) is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
