"""The library as a caller uses it. Type-checked (mypy and pyright, strict), never executed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, assert_type

from lecoder_cgpu import AsyncClient, AsyncJob, AsyncSession, Client, Job, Pool, Session, Stream, errors, events, remote
from lecoder_cgpu.results import (
    Accelerators,
    FileList,
    FilesRemoved,
    HistoryEntry,
    Install,
    JobInfo,
    KernelChoice,
    KernelInfo,
    NotebookRun,
    Run,
    SessionClosed,
    SessionDocument,
    SessionRef,
    SessionsClosed,
    Status,
    Synced,
    Transfer,
    Usage,
)

client = Client(backend="local", profile="work", notify=lambda text: None)
assert_type(client.profile, str)
session = client.session()
assert_type(session, Session)
assert_type(client.session("lab"), Session)
assert_type(client.session(gpu="T4", new=True), Session)

assert_type(client.ensure("train", gpu="L4,T4", kernel_name="python3"), Session)
assert_type(client.add_server("lab", "https://lab.example.org/", "token", replace=True), Session)
assert_type(client.add_local("here", Path()), Session)
assert_type(client.adopt("gpu-t4-s-1", "mine"), Session)
assert_type(client.sessions(), list[SessionDocument])
assert_type(client.close("train", "lab"), SessionsClosed)
assert_type(client.close_all(), SessionsClosed)
assert_type(client.usage(), Usage)
assert_type(client.gpus(), Accelerators)
assert_type(client.status(), Status)
assert_type(client.history(10, status="error"), list[HistoryEntry])
assert_type(client.find_run("run-0123456789abcdef"), HistoryEntry | None)

assert_type(session.ref, SessionRef)
assert_type(session.kernel(), KernelInfo)
assert_type(session.kernels(), list[KernelChoice])
assert_type(session.install("rich"), Install)
assert_type(session.upload("data", Path("more"), to="there", progress=None), Transfer)
assert_type(session.download("there/*", to=Path()), Transfer)
assert_type(session.sync(".", "project"), Synced)
assert_type(session.list_files(), FileList)
assert_type(session.read_file("there/data"), bytes)
assert_type(session.remove_files("there", recursive=True), FilesRemoved)
assert_type(session.run_notebook("train.ipynb", parameters={"lr": 0.01}), NotebookRun)
assert_type(session.start_notebook(Path("train.ipynb"), key="nightly"), Job)
assert_type(session.fetch_notebook("run-0123456789abcdef", "out.ipynb"), NotebookRun)

run = session.run("print(1)", timeout=60, check=True)
assert_type(run, Run)
assert_type(run.stdout, str)
assert_type(run.mode, Literal["kernel", "terminal"])
assert_type(run.exit_code, int)

with session.stream("print(1)") as outputs:
    assert_type(outputs, Stream)
    for event in outputs:
        print(event)
    assert_type(outputs.result, Run)

assert_type(session.shell(["python", "train.py"], environment={"A": "1"}, stdin=b"x"), Run)

job = session.job("python train.py", key="nightly")
assert_type(job, Job)
ended = job.wait(100)
assert_type(ended.state, Literal["starting", "queued", "running", "restarting", "waiting", "exited", "lost", "unknown"])
assert_type(ended.kind, Literal["process", "kernel", "notebook", "install"])
assert_type(job.logs("stderr", offset=-100), bytes)
assert_type(job.result(), Run)
assert_type(job.kill(), bool)
assert_type(session.find_job("nightly"), Job)
assert_type(session.jobs(), list[JobInfo])
assert_type(session.close(), SessionClosed)

try:
    session.run("1/0", check=True)
except errors.RuntimeFailure as failure:
    assert_type(failure.code, int)
    assert_type(failure.hint, str | None)


@remote(gpu="T4")
def scale(value: float, *, factor: int = 2) -> float:
    return value * factor


@remote
def shout(text: str) -> str:
    return text.upper()


assert_type(scale(1.0, factor=3), float)
assert_type(scale.__wrapped__(1.0), float)
assert_type(shout.map(["a", "b"], sessions=[session], return_exceptions=True, timeout=60), Iterator[Any])
assert_type(shout.local("a"), str)
assert_type(shout.submit("a").result(), Any)

with Pool([session]) as pool:
    assert_type(pool.submit(scale.__wrapped__, 1.0, factor=2).result(), float)
    assert_type(pool.results, dict[int, Any])


async def asynchronously() -> None:
    async with AsyncClient("local") as client:
        session = await client.ensure("train", idle_release=1800, max_units="never")
        assert_type(session, AsyncSession)
        assert_type(await session.run("1", on_disconnect="detach"), Run)
        job = await session.job("true", restarts="unlimited", max_runtime=3600)
        assert_type(job, AsyncJob)
        assert_type(await job.wait(60), JobInfo)
        async with session.stream("1") as outputs:
            assert_type([event async for event in outputs], list[events.Event])
            assert_type(await outputs.result(), Run)
