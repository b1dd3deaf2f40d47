"""The library: runs, streams, jobs and remote functions from Python, against a real server."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import lecoder_cgpu
from lecoder_cgpu import Client, Session, errors, remote
from lecoder_cgpu.jupyter import messages
from tests.support.cli import Cli
from tests.support.servers import JupyterServer


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
    assert "in fail" in str(failure.value.__cause__)
    with pytest.raises(Odd, match="mine"):
        fail(True)
    with pytest.raises(errors.UsageError) as refused:
        remote(session=session)(operator.not_)(threading.Lock())
    assert refused.value.name == "NotPicklable"


def test_a_large_value_comes_back(session: Session) -> None:
    """An answer far beyond the server's rate limits is complete."""

    @remote(session=session)
    def double(data: bytes) -> bytes:
        return data + data

    assert double(b"x" * 3_000_000) == b"x" * 6_000_000


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
