"""The twelve kinds of task, by the library and by the asynchronous one: the same answers, in the same words."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu import AsyncClient, Client, errors
from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.work import FILES, LINES, prepare


@pytest.fixture
def here(colab: FakeColab, colab_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeColab]:
    """This process is logged in to the fake, and works in a folder with something to send."""
    for name, value in colab_cli.environment().items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "work"
    prepare(folder)
    monkeypatch.chdir(folder)
    yield colab
    Client().close_all()


async def got(found: Any) -> Any:
    """The value, of a call of either library."""
    return await found if inspect.isawaitable(found) else found


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_twelve_tasks(here: FakeColab, kind: type[Client] | type[AsyncClient]) -> None:
    """Each right, the first time."""
    asyncio.run(twelve(here, kind()))


async def twelve(colab: FakeColab, client: Any) -> None:
    # 1. Which GPU, and how much memory?
    session = await got(client.ensure("work", gpu="T4", idle_release=1800, max_units=5))
    assert session.fresh is True
    assert (await got(client.ensure("work", gpu="T4"))).fresh is False
    (runtime,) = (await got(client.status())).runtimes
    assert (runtime.accelerator, runtime.gpus[0].memory.total_bytes > 2**33) == ("Tesla T4", True)
    assert (await got(client.sessions()))[0].lease.max_units == 5
    # 2. A missing package.
    missing = await got(session.run("import surely_not_there"))
    assert (missing.error_code, missing.error.suggestion) == (1005, "pip install surely-not-there")
    # 3. A script that fails.
    with pytest.raises(errors.CodeFailure) as failed:
        await got(session.shell("python -c 'raise ValueError(7)'", check=True))
    assert (failed.value.error_code, failed.value.exit_code) == (1002, 1)
    # 4. A job beside other work.
    job = await got(session.job("sleep 1; echo trained", key="train"))
    assert (await got(session.run("print(6 * 7)"))).stdout == "42\n"
    assert (await got(job.wait(60))).exit_code == 0
    assert (await got((await got(session.find_job("train"))).logs())) == b"trained\n"
    # 5. A large file there, transformed, and back.
    sent = await got(session.upload("big.bin"))
    await got(session.shell("tr '\\000-\\371' '\\001-\\372' < big.bin > out.bin", check=True))
    back = await got(session.download("out.bin"))
    table = bytes([*range(1, 251), *range(250, 256)])
    assert hashlib.sha256(Path("out.bin").read_bytes()).hexdigest() == back.sha256 != sent.sha256
    assert Path("out.bin").read_bytes() == Path("big.bin").read_bytes().translate(table)
    # 6. Many files.
    assert (await got(session.sync("many", "many"))).sent == FILES
    assert len((await got(session.list_files("many"))).entries) == FILES
    # 7. Exactly this many lines.
    printed = await got(session.run(f"for i in range({LINES}): print(i)"))
    assert printed.stdout == "".join(f"{number}\n" for number in range(LINES))
    # 8. The runtime is taken away: that is said at once, and only `ensure` gets another.
    colab.kill()
    for _ in range(2):
        with pytest.raises(errors.RuntimeLost):
            await got(session.run("print(1)", check=True))
    session = await got(client.ensure("work", gpu="T4"))
    assert (session.fresh, (await got(session.run("print(1)"))).stdout) == (True, "1\n")
    # 9. A notebook with a parameter that fails.
    notebook = await got(session.run_notebook("train.ipynb", parameters={"rate": 0}))
    assert (notebook.status, notebook.failed_cell_id, notebook.error.name) == ("error", "b", "ZeroDivisionError")
    assert "ZeroDivisionError" in Path("train.executed.ipynb").read_text()
    # 10. Today's failures.
    since = datetime.now(UTC) - timedelta(days=1)
    entries = await got(client.history(status="error", since=since))
    assert {"ModuleNotFoundError", "ValueError", "ZeroDivisionError"} <= {entry.error.ename for entry in entries}
    # 11. Three at once.
    commands = [f"echo {number}" for number in range(3)]
    if isinstance(client, AsyncClient):
        found = await asyncio.gather(*map(session.shell, commands))
    else:
        found = await asyncio.gather(*(asyncio.to_thread(session.shell, command) for command in commands))
    assert [one.stdout for one in found] == ["0\n", "1\n", "2\n"]
    # 12. Stop paying, and prove it.
    closed = await got(client.close_all())
    assert ([one.name for one in closed.closed], closed.held, closed.whole_account) == (["work"], [], True)
    assert colab.vms == {}
    # And bad input is refused before anything is sent.
    bad: list[dict[str, Any]] = [{"max_units": -1}, {"gpu": "T4", "cpu": True}]
    for options in bad:
        with pytest.raises(errors.UsageError):
            await got(client.session(**options))
