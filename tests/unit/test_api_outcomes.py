"""What the library makes of a run: an exception of the right class, and outputs one after the other."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from lecoder_cgpu import AsyncClient, AsyncJob, Client, Job, Pool, Session, errors, remote, results
from lecoder_cgpu.agents import answers
from lecoder_cgpu.api import aio
from lecoder_cgpu.api.arguments import checked
from lecoder_cgpu.api.outcomes import ended, failure
from lecoder_cgpu.api.running import Work
from lecoder_cgpu.api.stream import Stream
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.models.base import ErrorInfo
from lecoder_cgpu.models.runs import Run
from lecoder_cgpu.store.session_store import new_record

LIMIT = 30.0


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty configuration."""
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path))


def test_objects_say_what_they_are_and_travel_by_reference(settings: None) -> None:
    """In another process they have the same settings and session; nothing of a connection, a token or a lock travels.
    An executor cannot travel, and says so."""
    client = Client("local")
    session = Session(client._client, new_record("train", "local", "Local runtime", "local:x"))
    client._client.store.add(session._record)
    found = {
        "Client(backend='local', profile='default')": client,
        "Session(name='train', backend='local')": session,
        "Job(id='run-1', session='train')": Job(session, "run-1"),
        "AsyncClient(backend='local', profile='default')": AsyncClient("local"),
        "AsyncSession(name='train', backend='local')": vars(aio)["_async"](session),
        "AsyncJob(id='run-1', session='train')": vars(aio)["_async"](Job(session, "run-1")),
    }
    for shown, thing in found.items():
        copy = pickle.loads(pickle.dumps(thing))
        assert (repr(thing), repr(copy), type(copy)) == (shown, shown, type(thing))
    assert pickle.loads(pickle.dumps(found["AsyncJob(id='run-1', session='train')"])).blocking.session == session
    pool = Pool(sessions=[session])
    assert repr(pool) == "Pool(train, count=1)"
    with pytest.raises(TypeError, match="its sessions can"):
        pickle.dumps(pool)
    client._client.store.remove(session.id)
    with pytest.raises(errors.NotFoundError):
        pickle.loads(pickle.dumps(session))


def run(**fields: object) -> Run:
    return Run(**{"status": "ok", "error_code": 0, "exit_code": 0, "mode": "kernel", **fields})  # type: ignore[arg-type]


def failed(error: errors.Error, traceback: list[str] | None = None) -> Run:
    document = run()
    document.fail(error)
    assert isinstance(document.error, ErrorInfo)
    if traceback is not None:
        document.error.traceback = traceback
    return document


@pytest.mark.parametrize("kind", list(errors.tree()))
def test_every_failure_comes_back_as_its_class(kind: type[errors.Error]) -> None:
    """Code and exit status find the class again, or one that has the same code; nothing that was said is lost."""
    document = failed(kind("it failed", hint="do this"), ["line 1", "line 2"])
    with pytest.raises(errors.Error) as raised:
        ended(document, True)
    error = raised.value
    assert (error.code, error.exit_status) == (document.error_code, document.exit_code)
    assert isinstance(document.error, ErrorInfo)
    assert (error.message, error.hint, error.name) == ("it failed", "do this", document.error.name)
    assert error.run == results.of(document)
    assert error.__notes__ == ["line 1\nline 2"]


def test_what_is_no_failure() -> None:
    assert ended(run(), True).status == "ok"
    assert ended(run(status="running"), True).status == "running"


def test_a_failure_that_says_nothing() -> None:
    """A document without an error still raises."""
    document = run(status="unknown", exit_code=1)
    assert failure(document).name == "NoResult"
    with pytest.raises(errors.UnknownFailure, match="unknown"):
        ended(document, True)


def test_ctrl_c_ends_the_caller() -> None:
    """Whether or not failures are raised."""
    for check in (True, False):
        with pytest.raises(KeyboardInterrupt, match="run-1"):
            ended(run(status="error", interrupted=True, run_id="run-1"), check)
    document = failed(errors.RuntimeFailure("it failed"))
    assert ended(document, False) == results.of(document)
    with pytest.raises(errors.RuntimeFailure):
        ended(document, True)


def result(**fields: object) -> results.Run:
    return results.of(run(**fields))


def text(content: str) -> messages.Event:
    return messages.Stream("stdout", content)


Sent = Callable[[Callable[[messages.Event], None]], results.Run]


def test_outputs_come_while_the_run_goes_on() -> None:
    go_on = threading.Event()

    def work(see: Callable[[messages.Event], None]) -> results.Run:
        see(text("1"))
        assert go_on.wait(LIMIT)
        see(text("2"))
        return result(stdout="12")

    stream = Stream(work, Work())
    assert next(stream) == text("1")
    go_on.set()
    assert list(stream) == [text("2")]
    assert list(stream) == []  # asked again, it is still at its end
    assert stream.result.stdout == "12"


def test_leaving_early_interrupts() -> None:
    stopped = threading.Event()

    def work(see: Callable[[messages.Event], None]) -> results.Run:
        see(text("1"))
        assert stopped.wait(LIMIT)
        return result(stdout="1")

    class Told(Work):
        def stop(self) -> None:
            stopped.set()

    with Stream(work, Told()) as stream:
        assert next(stream) == text("1")
    assert stopped.is_set()
    assert stream.result.stdout == "1"


def test_a_run_that_has_ended_is_not_interrupted() -> None:
    class Told(Work):
        def stop(self) -> None:
            pytest.fail("interrupted")

    with Stream(lambda see: result(), Told()) as stream:
        assert list(stream) == []


def test_what_goes_wrong_is_raised_by_the_iteration_and_by_the_result() -> None:
    def work(see: Callable[[messages.Event], None]) -> results.Run:
        see(text("1"))
        raise errors.ConnectionFailed("cut")

    stream = Stream(work, Work())
    assert next(stream) == text("1")
    with pytest.raises(errors.ConnectionFailed):
        next(stream)
    with pytest.raises(errors.ConnectionFailed):
        stream.result  # noqa: B018


@pytest.mark.parametrize(
    ("said", "methods", "tools"),
    [
        (
            "a new one: lecoder-cgpu sessions ensure w --backend colab; or forget it: lecoder-cgpu sessions clean",
            "a new one: Client.ensure('w'); or forget it: Client.close(NAME)",
            "a new one: the tool ensure with session=w; or forget it: the tool close with its session",
        ),
        ("lecoder-cgpu sessions close --all", "Client.close_all()", "the tool close with all=true"),
        (
            "it goes on: lecoder-cgpu job wait run-1",
            "it goes on: Session.find_job('run-1').wait()",
            "it goes on: the tool job_wait with job=run-1",
        ),
        ("leave out --gpu T4", "leave out the argument gpu T4", "leave out the argument gpu T4"),
        ("lecoder-cgpu auth login", "lecoder-cgpu auth login", "a person can do that: lecoder-cgpu auth login"),
        ("pip install numpy", "Session.install('numpy')", "the tool install with packages=numpy"),
        ('pip install "lecoder-cgpu[mcp]"', 'pip install "lecoder-cgpu[mcp]"', 'pip install "lecoder-cgpu[mcp]"'),
        (
            'log in; or without: lecoder-cgpu --backend local run -m kernel "print(6*7)"; or else',
            "log in; or without: Client('local').session().run; or else",
            "log in; or without: a person can start this server with lecoder-cgpu --backend local mcp; or else",
        ),
        ("use it: -s w", "use it: Client.session('w')", "use it: the argument session=w"),
        (
            "lecoder-cgpu sessions close w --force",
            "lecoder-cgpu sessions close w --force",
            "a person can do that: lecoder-cgpu sessions close w --force",
        ),
        ("see what is there: ls /tmp", "see what is there: ls /tmp", "see what is there, in /tmp here"),
    ],
)
def test_suggestions_speak_the_words_of_each_way(said: str, methods: str, tools: str) -> None:
    """Methods in the library, tools for agents; the hint is the command."""
    error = errors.UsageError("m", hint=said)
    assert (error.hint, error.suggestion, answers.suggestion(said)) == (said, methods, tools)


@checked
class Asked:
    """A class with a method of every kind of argument."""

    def ask(
        self,
        *texts: str,
        code: str = "",
        limit: float | None = None,
        offset: int = 0,
        path: str | Path | None = None,
        names: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        how: Literal["kill", "detach"] = "kill",
        tell: Callable[[str], None] | None = None,
        timeout: float | None = None,
    ) -> int:
        """One that does nothing."""
        return len(texts)


@pytest.mark.parametrize(
    "bad",
    [
        {"limit": "1"},
        {"limit": True},
        {"limit": -1},
        {"limit": float("nan")},
        {"limit": 10**30},
        {"offset": 1.5},
        {"offset": None},
        {"path": 7},
        {"path": "\0"},
        {"path": "\ud800"},
        {"code": b"1"},
        {"names": "text"},
        {"names": [None]},
        {"variables": {"A": 1}},
        {"variables": "A=1"},
        {"how": "stop"},
        {"path": ""},
        {"names": ["caf\udce9"]},
        {"tell": 7},
        {"timeout": 0},
        {"timeout": -0.0},
    ],
)
def test_what_is_no_argument_is_refused(bad: dict[str, Any]) -> None:
    """By its name, as an error of ours, before anything is done."""
    with pytest.raises(errors.BadArgument, match=rf"^Asked.ask: {next(iter(bad))} is ") as refused:
        Asked().ask("a", **bad)
    assert isinstance(refused.value, ValueError)
    assert refused.value.suggestion == "help(Asked.ask) tells what it takes"


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), "5", True, [1]])
def test_limits_of_remote_functions(bad: Any) -> None:
    """A negative one would have the kernel restarted for code that takes too long from its beginning."""
    for ask in (
        lambda: remote(timeout=bad),
        lambda: remote(print).map([1], timeout=bad),
        lambda: remote(on_output=bad),
        lambda: remote(print).map([1], sessions=[bad]),
    ):
        with pytest.raises(errors.BadArgument):
            ask()


def test_how_long_to_look_may_be_nothing() -> None:
    """A job can be looked at once, by either library; but not for less."""
    job: Any = Job(Session.__new__(Session), "run-1")
    awaited: Any = AsyncJob.__new__(AsyncJob)
    awaited.blocking = job
    for wrong in (-1, float("nan"), "5"):
        with pytest.raises(errors.BadArgument, match=r"^Job.wait: timeout is"):
            job.wait(wrong)
        with pytest.raises(errors.BadArgument, match=r"^AsyncJob.wait: timeout is"):
            awaited.wait(wrong)
    awaited.wait(0).close()


def test_arguments_that_are_right_are_taken() -> None:
    """Also none at all, paths of any kind, bytes that were no UTF-8, and numbers of either kind."""
    asked = Asked()
    assert asked.ask() == 0
    assert asked.ask("a", "b", code="\0", limit=1, offset=-7, path=Path("a"), names=("b",), variables={"A": "b"}) == 2
    assert asked.ask(path="caf\udce9", limit=0.5, how="detach", tell=print) == 0
    with pytest.raises(errors.UsageError, match="texts is None, and has to be a text"):
        asked.ask(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword"):
        asked.ask(colour=1)  # type: ignore[call-arg]
