"""The library: runs, streams, jobs and remote functions from Python, against a real server."""

from __future__ import annotations

import asyncio
import functools
import gc
import math
import operator
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import lecoder_cgpu
from lecoder_cgpu import AsyncClient, Client, Session, errors, remote
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.net.http import Http
from lecoder_cgpu.remote_functions import travel
from tests.support.cli import Cli
from tests.support.servers import JupyterServer


def square(value: float) -> float:
    """A function that `hypotenuse` calls."""
    return value * value


def hypotenuse(a: float, b: float) -> float:
    """Uses a module and a function of this file."""
    return math.sqrt(square(a) + square(b))


@pytest.fixture(scope="module")
def session(jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session on the stock server, in a configuration folder of its own."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECODER_CGPU_CONFIG_DIR", str(folder))
        held = Client("jupyter").add_server("api", jupyter.url, jupyter.token)
        yield held
        held.close()


def test_names_are_loaded_on_first_use() -> None:
    """Every public name can be had, and no other."""
    assert all(getattr(lecoder_cgpu, name) for name in lecoder_cgpu.__all__)
    assert sorted(lecoder_cgpu.__all__) == lecoder_cgpu.__all__ == dir(lecoder_cgpu)
    with pytest.raises(AttributeError):
        lecoder_cgpu.nonsense  # noqa: B018


def test_a_run_and_its_failure(session: Session) -> None:
    """State stays; failures are data, or with `check` the error of their code."""
    session.run("x = 20", check=True)
    assert session.run("print(x + 1)").stdout == "21\n"
    assert session.run("1/0").error_code == 1002
    with pytest.raises(errors.RuntimeFailure) as failure:
        session.run("1/0", check=True)
    assert failure.value.name == "ZeroDivisionError"
    assert failure.value.run is not None
    assert failure.value.run.exit_code == 1
    assert "1/0" in failure.value.__notes__[0]
    with pytest.raises(errors.TimeLimit):
        session.run("import time; time.sleep(60)", timeout=0.5, check=True)


def test_a_stream(session: Session) -> None:
    """Outputs come while the code runs, and the document afterwards."""
    with session.stream("for i in range(3): print(i)\ndisplay('x')") as outputs:
        events = list(outputs)
    assert "".join(event.text for event in events if isinstance(event, messages.Stream)) == "0\n1\n2\n"
    assert any(isinstance(event, messages.Display) for event in events)
    assert outputs.result.status == "ok"


def test_leaving_a_stream_interrupts(session: Session) -> None:
    """Who leaves early leaves nothing running."""
    with session.stream("import time\nprint('here', flush=True)\ntime.sleep(120)") as outputs:
        first = next(outputs)
        assert isinstance(first, messages.Stream)
        assert first.text.startswith("here")
    assert outputs.result.exit_code == 1
    assert session.run("print('free')").stdout == "free\n"


def test_commands_and_jobs(session: Session) -> None:
    """Bytes in and out, true statuses, jobs found again."""
    assert session.shell(["cat"], stdin=b"in").stdout == "in"
    assert session.shell("exit 7").exit_code == 7
    with pytest.raises(errors.RuntimeFailure):
        session.shell("exit 7", check=True)
    job = session.job("echo out; echo err >&2; exit 3", key="api")
    assert job.wait(60).exit_code == 3
    assert session.job("echo out; echo err >&2; exit 3", key="api").id == job.id
    assert session.find_job(job.id[:12]).logs("stderr") == b"err\n"
    assert job.result().stdout == "out\n"
    assert job.kill() is False
    assert job.id in [item.id for item in session.jobs()]


def test_a_remote_function(session: Session, tmp_path: Path) -> None:
    """It is executed there, with what it closes over, and its prints are passed on."""
    heard: list[tuple[str, str]] = []
    factor = 3

    @remote(session=session, on_output=lambda stream, text: heard.append((stream, text)))
    def scale(value: int, *, plus: int = 0) -> tuple[int, str]:
        import os

        print("working")
        return value * factor + plus, os.getcwd()

    value, place = scale(4, plus=1)
    assert value == 13
    assert place != scale.__wrapped__(4)[1]
    assert heard == [("stdout", "working\n")]
    assert "_lecoder" not in session.run("print(dir())").stdout


def test_a_remote_failure(session: Session) -> None:
    """The function's own exception is raised here, with the traceback from there."""

    class Odd(Exception):
        pass

    @remote(session=session)
    def fail(own: bool) -> None:
        raise Odd("mine") if own else KeyError("k")

    with pytest.raises(KeyError) as failure:
        fail(False)
    assert "in fail" in failure.value.__notes__[0]
    with pytest.raises(Odd, match="mine"):
        fail(True)
    with pytest.raises(errors.UsageError) as refused:
        remote(session=session)(operator.not_)(threading.Lock())
    assert refused.value.name == "NotPicklable"


def test_large_values_go_through_files(session: Session) -> None:
    """Far beyond what a server takes as a message, in and out; nothing stays there."""

    @remote(session=session)
    def double(data: bytes) -> bytes:
        return data + data

    assert double(b"x" * 15_000_000) == b"x" * 30_000_000
    assert session.shell('ls -A "${LECODER_CGPU_RESIDENT_HOME:-$HOME/.lecoder-cgpu-resident}"/calls').stdout == ""


class Odd(Exception):
    """Cannot be made from its arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first}/{second}")
        self.first = first


def test_what_remote_functions_may_be(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """Recursive, called by each other, generators, methods, coroutines; exceptions of any kind come back."""
    on = remote(session=session)

    @on
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    @on
    def told(n: int) -> Iterator[int]:
        print("factorials of", n)
        for i in range(n):
            yield factorial(i)

    class Scaled:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @remote(session=session)
        def by(self, value: int) -> int:
            return self.factor * value

    @on
    async def later(value: int) -> int:
        import asyncio

        await asyncio.sleep(0.01)
        return value

    @on
    def odd() -> None:
        raise Odd(1, 2)

    assert list(told(5)) == [1, 1, 2, 6, 24]
    assert capsys.readouterr().out == "factorials of 5\n"
    assert Scaled(3).by(4) == 12
    assert asyncio.run(later(4)) == 4
    assert factorial.local(3) == 6
    assert factorial.submit(4).result() == 24
    with pytest.raises(Odd, match="1/2") as failure:
        odd()
    assert failure.value.first == 1


class Wordless(Exception):
    """Says nothing, and cannot be pickled."""

    def __str__(self) -> str:
        raise ValueError("no words")

    def __reduce__(self) -> str:
        raise ValueError("no pickle")


def test_odd_remote_functions(session: Session) -> None:
    """Functions that only turn out to give a generator; exceptions without words; what a generator is sent; what is no
    function."""
    on = remote(session=session)

    @functools.wraps(operator.add)
    def numbers(end: int) -> Iterator[int]:
        return (1 // (5 - number) for number in range(end))

    assert list(on(numbers)(3)) == [0, 0, 0]
    with pytest.raises(ZeroDivisionError):
        on(numbers)(6)

    def wordless() -> None:
        raise Wordless

    with pytest.raises(Wordless):
        on(wordless)()

    def counted() -> Generator[int, str, None]:
        yield 1
        yield 2

    answers: Any = on(counted)()
    assert next(answers) == 1
    with pytest.raises(errors.UsageError, match="sent nothing"):
        answers.send("more")
    method: Any = numbers
    things: list[Any] = [property(method), classmethod(method), 3]
    for thing in things:
        with pytest.raises(errors.BadArgument):
            on(thing)


def test_limits_of_remote_functions(session: Session) -> None:
    """On time, of a call and of many; failures as values; and a task that is cancelled ends its call."""
    slow = remote(session=session, timeout=0.5)(time.sleep)
    with pytest.raises(TimeoutError):
        slow(60)
    with pytest.raises(TimeoutError):
        list(remote(session=session)(time.sleep).map([60, 60], timeout=0.5))
    found = list(remote(session=session)(operator.truediv).map([1, 1], [2, 0], return_exceptions=True))
    assert (found[0], type(found[1])) == (0.5, ZeroDivisionError)

    @remote(session=session)
    async def endless() -> None:
        await asyncio.sleep(120)

    async def cancel() -> None:
        task = asyncio.create_task(endless())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert session.run("print('free')", timeout=20).stdout == "free\n"


def connections() -> set[int]:
    """The clients that hold connections."""
    clients = (found for found in gc.get_objects() if isinstance(found, Http) and "_client" in vars(found))
    return {id(found) for found in clients if not found._client.is_closed}


def test_a_cancelled_installation(session: Session) -> None:
    """Ends on the runtime, whenever that happens; and no call leaves a connection open."""
    before = connections()

    async def cancel(url: str) -> None:
        async with AsyncClient("jupyter") as client:
            here = await client.session("api")
            for limit in (0.0, 0.1, 1.5):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(limit):
                        await here.install("surely-not-there", options=["--index-url", url])
            await asyncio.gather(client.status(), client.sessions(), here.info())
            jobs = await here.jobs()
            assert {job.state for job in jobs if job.kind == "install"} == {"exited"}

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(cancel(f"http://127.0.0.1:{silent.getsockname()[1]}/simple"))
    assert connections() <= before


def test_another_python(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that can travel as source does; another is refused before it is sent."""
    there = travel.Place([3, travel.HERE[1] + 1], True)
    monkeypatch.setitem(travel._places, session, there)
    assert remote(session=session)(hypotenuse)(3, 4) == 5.0
    factor = 3
    with pytest.raises(errors.UsageError, match="uses variables of the function around it") as refused:
        remote(session=session)(lambda value: value * factor)(1)
    assert refused.value.name == "PythonMismatch"


def test_map(session: Session) -> None:
    """Values in the items' order; the first failure is raised in its place."""

    @remote(session=session)
    def half(value: int) -> float:
        return 10 / value

    assert list(half.map([1, 2, 5], sessions=[session, session])) == [10, 5, 2]
    results = half.map([1, 0, 5])
    assert next(results) == 10
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    """It prints what it should, on a local runtime of its own."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    code = (
        readme.partition("```python\n")[2]
        .partition("```")[0]
        .replace('session.shell("pip install tqdm"', 'session.shell("true"')
    )
    cli = Cli(tmp_path, {"LECODER_CGPU_BACKEND": "local"})
    program = tmp_path / "example.py"
    program.write_text(code)
    try:
        done = subprocess.run(
            [sys.executable, str(program)], env=cli.environment(), capture_output=True, text=True, check=False
        )
    finally:
        cli("sessions", "close", "--all")
    assert (done.returncode, done.stdout) == (0, "42\n\n144 [1, 4, 9]\n"), done


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_the_caller(session: Session, tmp_path: Path) -> None:
    """The remote code is interrupted, and the program gets its KeyboardInterrupt."""
    remote_code = "import time; print('up', flush=True); time.sleep(120)"
    code = f"""
from lecoder_cgpu import Client
Client('jupyter').session('api').run({remote_code!r}, on_event=lambda event: print('up', flush=True))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in err
    code = f"""
from lecoder_cgpu import Client
for event in Client('jupyter').session('api').stream({remote_code!r}):
    print('up', flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert session.run("print('free')", timeout=20).stdout == "free\n"
    job = session.job("sleep 60")
    code = f"from lecoder_cgpu import Client; Client('jupyter').session('api').find_job({job.id!r}).wait()"
    waiting = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(4)
    waiting.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in waiting.communicate(timeout=60)[1]
    assert job.show().state == "running"
    job.kill()
    assert session.run("print('free')").stdout == "free\n"


def test_files(session: Session, tmp_path: Path) -> None:
    """Upload, sync and download give the documents of the commands."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("a")
    up = session.upload(tmp_path / "in", to="api-files")
    assert (up.files, up.bytes) == (1, 1)
    assert session.sync(tmp_path / "in", "api-files").sent == 0
    down = session.download("api-files", to=tmp_path / "out")
    assert down.sha256 == up.sha256
    assert (tmp_path / "out" / "a").read_text() == "a"
    with pytest.raises(errors.NotFoundError):
        session.download("api-files/nothing")


def test_a_session_is_kept_and_travels(session: Session, tmp_path: Path) -> None:
    """Leaving `with` keeps the runtime; a copy in another process is the same session."""
    with session as entered:
        entered.run("kept = 1", check=True)
    assert session.run("print(kept)").stdout == "1\n"
    copy = pickle.loads(pickle.dumps(session))
    assert copy == session
    assert copy.run("print(kept)").stdout == "1\n"
    assert session.info().name == "api"
    job = pickle.loads(pickle.dumps(session.job("echo there")))
    assert job.result().stdout == "there\n"


def test_work_as_run_has_it(session: Session, tmp_path: Path) -> None:
    """Folders sent, results fetched, code left alone, runs in the history."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "in.txt").write_text("abc")
    pull = [f"out.txt:{tmp_path}/out.txt"]
    found = session.shell("tr a-c A-C < in.txt > out.txt", sync=str(tmp_path / "work"), pull=pull, check=True)
    assert (tmp_path / "out.txt").read_text() == "ABC"
    assert found.synced is not None
    assert found.pulled is not None
    job = session.job("cat in.txt; echo > made", sync=tmp_path / "work", name="named", pull=[f"made:{tmp_path}/made"])
    assert session.find_job("named") == job
    assert job.wait(60).exit_code == 0
    assert (tmp_path / "made").read_text() == "\n"
    code = session.start_code("import sys; print(sys.argv[1:])", arguments=["a"])
    assert code.result().stdout == "['a']\n"
    with pytest.raises(FileNotFoundError):
        session.read_file("nothing-there")
    session.run("1/0")
    newest = Client("jupyter").history(1, status="error")[0]
    assert (newest.command, newest.error is not None) == ("1/0", True)
    assert session.run("import sys; print(input('?'), sys.argv)", on_input=lambda prompt, hidden: "yes").exit_code == 0
