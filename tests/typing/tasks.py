"""The twelve kinds of task, by both libraries. Type-checked (mypy and pyright, strict), never executed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Literal, assert_type

from lecoder_cgpu import AsyncClient, Client, errors
from lecoder_cgpu.results import CellResult, ErrorInfo, FileEntry, Gpu, HistoryError, Memory, Run, SessionClosed

Outcome = Literal["ok", "error", "abort", "unknown", "running"]


def by_the_library(client: Client, since: datetime) -> None:
    session = client.ensure("work", gpu="T4", idle_release=1800, max_units=5)
    assert_type(session.fresh, bool | None)
    for runtime in client.status().runtimes:
        for gpu in runtime.gpus or []:
            assert_type((gpu, gpu.memory), tuple[Gpu, Memory | None])
    missing = session.run("import nosuch", auto_install=True)
    assert_type((missing.status, missing.error, missing.error_code), tuple[Outcome, ErrorInfo | None, int])
    try:
        session.shell("false", check=True)
    except errors.CodeFailure as failure:
        assert_type((failure.exit_code, failure.error_code, failure.suggestion), tuple[int, int, str | None])
        assert_type(failure.run.stderr if isinstance(failure.run, Run) else "", str)
    job = session.job("sleep 1", key="train", pull=["model.pt"], every=300, restarts=3)
    assert_type((job.wait(60).exit_code, job.logs(offset=-10)), tuple[int | None, bytes])
    sent, back = session.upload("big.bin"), session.download("again.bin")
    assert_type((sent.sha256, back.bytes), tuple[str | None, int])
    assert_type((session.sync("many", "many").sent, session.list_files("many").entries), tuple[int, list[FileEntry]])
    assert_type(session.run("print(1)").stdout.splitlines(), list[str])
    try:
        session.run("1", check=True)
    except errors.LostError:
        session = client.ensure("work", gpu="T4")
    notebook = session.run_notebook("train.ipynb", parameters={"rate": 0}, on_cell=lambda cell: print(cell.status))
    assert_type((notebook.failed_cell_id, notebook.cells), tuple[str | None, list[CellResult]])
    for entry in client.history(status="error", since=since):
        assert_type((entry.mode, entry.error), tuple[Literal["kernel", "terminal", "unknown"], HistoryError | None])
    with ThreadPoolExecutor() as threads:
        assert_type(list(threads.map(session.shell, ["a", "b"])), list[Run])
    closed = client.close_all()
    assert_type((closed.closed, closed.held), tuple[list[SessionClosed], list[str] | None])


async def by_the_asynchronous_one(client: AsyncClient, since: datetime) -> None:
    session = await client.ensure("work", gpu="T4", idle_release=1800, max_units=5)
    for runtime in (await client.status()).runtimes:
        assert_type(runtime.gpus, list[Gpu] | None)
    missing = await session.run("import nosuch", auto_install=True)
    assert_type((missing.status, missing.error), tuple[Outcome, ErrorInfo | None])
    try:
        await session.shell("false", check=True)
    except errors.CodeFailure as failure:
        assert_type(failure.exit_code, int)
    job = await session.job("sleep 1", key="train")
    assert_type(((await job.wait(60)).exit_code, await job.logs()), tuple[int | None, bytes])
    sent, back = await session.upload("big.bin"), await session.download("again.bin")
    assert_type((sent.sha256, back.sha256), tuple[str | None, str | None])
    assert_type((await session.sync("many", "many")).sent, int)
    assert_type((await session.list_files("many")).entries, list[FileEntry])
    assert_type((await session.run("print(1)")).stdout, str)
    try:
        await session.run("1", check=True)
    except errors.LostError:
        session = await client.ensure("work", gpu="T4")
    assert_type((await session.run_notebook("train.ipynb", parameters={"rate": 0})).failed_cell_id, str | None)
    for entry in await client.history(status="error", since=since):
        assert_type(entry.command, str)
    assert_type(await asyncio.gather(*(session.shell(f"echo {number}") for number in range(3))), list[Run])
    assert_type((await client.close_all()).whole_account, bool | None)
