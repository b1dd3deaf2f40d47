"""The library as a caller uses it. Type-checked (mypy and pyright, strict), never executed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

from lecoder_cgpu import Client, Job, Pool, Session, Stream, errors, remote
from lecoder_cgpu.models.runs import Run

client = Client(backend="local", profile="work", notify=lambda text: None)
assert_type(client.profile, str)
session = client.session()
assert_type(session, Session)
assert_type(client.session("lab"), Session)
assert_type(client.session(gpu="T4", new=True), Session)

run = session.run("print(1)", timeout=60, check=True)
assert_type(run, Run)
assert_type(run.stdout, str)
assert_type(run.exit_code, int)

with session.stream("print(1)") as outputs:
    assert_type(outputs, Stream)
    for event in outputs:
        print(event)
    assert_type(outputs.result, Run)

assert_type(session.shell(["python", "train.py"], environment={"A": "1"}, stdin=b"x"), Run)

job = session.job("python train.py", key="nightly")
assert_type(job, Job)
assert_type(job.wait(100).state, str)
assert_type(job.logs("stderr", offset=-100), bytes)
assert_type(job.result(), Run)

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
assert_type(shout.map(["a", "b"], sessions=[session]), Iterator[str])

with Pool([session]) as pool:
    assert_type(pool.submit(scale.__wrapped__, 1.0, factor=2).result(), float)
    assert_type(pool.results, dict[int, Any])
