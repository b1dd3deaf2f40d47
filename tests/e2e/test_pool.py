"""`Pool`: functions called on several runtimes at once, on real local runtimes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from pathlib import Path

import pytest

from lecoder_cgpu import Client, Pool, Session, errors
from lecoder_cgpu.remote_functions import travel
from lecoder_cgpu.testing.colab import FakeColab
from tests.support.wait import wait_until

# A local runtime is started to outlive this process, of which Python warns.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Local runtimes, in a configuration folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path_factory.mktemp("pool")))
        made = Client("local")
        yield made
        made.close_all()


@pytest.fixture(scope="module")
def session(client: Client) -> Session:
    return client.add_local("one")


def test_values_failures_and_exits(session: Session) -> None:
    """Every item has its own result; `sys.exit` and exceptions are those of the item alone."""

    def odd(value: int) -> float:
        if value == 3:
            sys.exit(4)
        return 12 / value

    with Pool([session]) as pool:
        found = list(pool.map(odd, [1, 0, 3, 4], return_exceptions=True))
        assert [found[0], found[3]] == [12, 3]
        assert isinstance(found[1], ZeroDivisionError)
        assert isinstance(found[2], errors.RuntimeFailure)
        assert (found[2].name, found[2].message) == ("SystemExit", "the function called sys.exit(4)")
        assert {future.result() for future in as_completed([pool.submit(odd, 2), pool.submit(odd, value=6)])} == {6, 2}
        with pytest.raises(ZeroDivisionError):
            list(pool.map(odd, [0, 1]))
    assert [pool.results[number] for number in (0, 3, 4, 5)] == [12, 3, 6, 2]
    assert not {1, 2, 6} & set(pool.results)
    with pytest.raises(RuntimeError):
        pool.submit(odd, 1)


def test_limits_and_leaving(session: Session) -> None:
    """An item that takes too long is ended; whoever leaves keeps what was done, and nothing goes on."""

    def work(seconds: float) -> float:
        import time

        time.sleep(seconds)
        return seconds

    with Pool([session], item_timeout=0.5) as pool:
        with pytest.raises(errors.TimeLimit):
            pool.submit(work, 600).result()
        assert pool.submit(work, 0).result() == 0
    with contextlib.suppress(KeyError), Pool([session]) as pool:
        futures = [pool.submit(work, seconds) for seconds in (0, 600, 0)]
        assert futures[0].result() == 0
        wait_until(futures[1].running)
        raise KeyError
    assert pool.results == {0: 0}
    assert isinstance(futures[1].exception(), errors.Error)
    assert futures[2].cancelled()


def test_a_lost_runtime(client: Client, session: Session, tmp_path: Path) -> None:
    """An item whose runtime is killed is done by another: every item has exactly one result."""
    victim = client.add_local("two")
    server = int(victim.run("import os; print(os.getppid())", check=True).stdout)

    def work(item: int, folder: str) -> int:
        import os
        import pathlib
        import signal
        import time

        killed = pathlib.Path(folder, "killed")
        if os.getppid() == server:
            killed.write_text(str(item))
            os.kill(server, signal.SIGKILL)
            time.sleep(600)
        while not killed.exists():
            time.sleep(0.05)
        return item

    with Pool([session, victim]) as pool:
        assert list(pool.map(work, range(6), [str(tmp_path)] * 6)) == list(range(6))
    assert pool.results == dict(enumerate(range(6)))
    assert (tmp_path / "killed").exists()


def test_a_runtime_that_ends_between_two_items(client: Client, session: Session) -> None:
    """Nothing was sent to it when that is noticed, so the next item is done by another, and none has failed."""
    victim = client.add_local("three")
    server = int(victim.run("import os; print(os.getppid())", check=True).stdout)

    def where(item: int) -> int:
        import os
        import time

        time.sleep(0.3)
        return os.getppid()

    with Pool([session, victim]) as pool:
        while server not in pool.map(where, range(2)):
            pass
        os.kill(server, signal.SIGKILL)
        assert server not in list(pool.map(where, range(4)))


def test_an_item_that_kills_runtimes_has_failed(client: Client) -> None:
    """It is done twice, on runtimes of the pool's own, and takes no more with it. They are given back."""

    def harm() -> None:
        import os
        import signal
        import time

        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)

    known = {item.name for item in client.sessions()}
    with Pool(client=client, count=3) as pool:
        assert isinstance(pool.submit(harm).exception(), errors.LostError)
    assert {item.name for item in client.sessions()} <= known
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pool-")]


def inverse(value: int) -> float:
    if value == 3:
        sys.exit(4)
    return 12 / value


def test_another_python(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that can travel as source does, `sys.exit` included; another one is refused before it is sent."""
    monkeypatch.setattr(travel, "HERE", [3, travel.HERE[1] + 1])
    factor = 2

    def scaled(value: int) -> int:
        return value * factor

    with Pool([session]) as pool:
        found = list(pool.map(inverse, [1, 0, 3], return_exceptions=True))
        assert (found[0], type(found[1])) == (12, ZeroDivisionError)
        assert isinstance(found[2], errors.RuntimeFailure)
        assert found[2].name == "SystemExit"
        refused = pool.submit(scaled, 1).exception()
        assert isinstance(refused, errors.UsageError)
        assert (refused.name, "variables of the function around it" in refused.message) == ("PythonMismatch", True)
        assert pool.submit(inverse, 2).result() == 6


def test_what_cannot_be_a_pool(client: Client, session: Session) -> None:
    """Contradictions are refused before anything starts."""
    contradictions: list[Callable[[], Pool]] = [
        lambda: Pool(),
        lambda: Pool([session], count=2),
        lambda: Pool(client=client, count=2, gpu="T4"),
        lambda: Pool([session], item_timeout=0),
    ]
    for refused in contradictions:
        with pytest.raises(errors.UsageError):
            refused()


def test_an_account_that_allows_fewer(colab: FakeColab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several free runtimes need a word; then as many are used as there are, which is told, and given back."""
    colab.configure(tmp_path)
    colab.world.python = sys.executable  # functions need the same version of Python there
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("LECODER_CGPU_KEEPER", "off")
    monkeypatch.setenv("LECODER_CGPU_ASSIGN_PAUSE", "0")
    told: list[str] = []
    client = Client("colab", notify=told.append)
    with pytest.raises(errors.UsageError) as refused:
        Pool(client=client, count=2, cpu=True)
    assert refused.value.name == "FreeTier"

    def square(value: int) -> int:
        return value * value

    with Pool(client=client, count=2, cpu=True, several_free=True) as pool:
        futures = [pool.submit(square, 3), pool.submit(square, 4)]
        wait_until(lambda: bool(told))
        assert [future.result() for future in futures] == [9, 16]
    assert len(told) == 1
    assert "the pool goes on with 1 of 2 runtimes: Colab allows" in told[0]
    assert client.sessions() == []
