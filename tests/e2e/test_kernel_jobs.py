"""Detached code in the session's kernel: sent by the helper on the runtime, one after the other, with a true end,
whatever becomes of the client, the helper or the kernel."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.config import Config
from lecoder_cgpu.helper import bootstrap
from lecoder_cgpu.helper.client import Helper
from lecoder_cgpu.runs.jobs import Jobs
from lecoder_cgpu.runs.kernel_runs import is_kernel_run
from lecoder_cgpu.sessions.manager import SessionManager
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.proxy import Proxy
from tests.support.servers import JupyterServer


def start(cli: Cli, code: str, *options: str) -> str:
    """Start a job in the kernel and return its id."""
    result = cli("run", "-m", "kernel", "--detach", *options, code)
    assert result.code == 0, result
    return result.out.strip()


def wait(cli: Cli, job: str) -> dict[str, Any]:
    """The document of a job that has ended."""
    result = cli("job", "wait", job, "--timeout", "90", "--json")
    document: dict[str, Any] = result.json
    assert document["exitCode"] == result.code
    validate(document, "job")
    return document


def show(cli: Cli, job: str) -> dict[str, Any]:
    document = cli("job", "show", job, "--json").json
    validate(document, "job")
    job_document: dict[str, Any] = document["job"]
    return job_document


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


def helper_of(jupyter: JupyterServer, job: str) -> int:
    """The process of the helper that looks after a kernel job."""
    spec = json.loads((jupyter.root.parent / "resident" / "runs" / job / "spec.json").read_text())
    return int(spec["supervisorPid"])


def test_jobs_take_turns_in_the_kernel(lab: Cli, jupyter: JupyterServer) -> None:
    """Variables are the session's own; one that fails stops none behind it; output, value and error are all there."""
    go = jupyter.root / "go-on"
    lab("run", "-m", "kernel", f"import os, sys, time; a = 20; go = {str(go)!r}")
    first = start(
        lab, "print('begun', flush=True)\nwhile not os.path.exists(go): time.sleep(0.05)\na += 1; print('50%')"
    )
    second = start(lab, "print('out', a); print('err', file=sys.stderr); a * 2")
    third = start(lab, "a / 0")
    fourth = start(lab, "import sys; sys.exit(a - 18)")
    wait_for(lambda: lab("job", "logs", first).out == "begun\n")
    assert (show(lab, first)["state"], show(lab, second)["state"]) == ("running", "queued")
    assert lab("job", "wait", second, "--timeout", "0").code == 124
    go.touch()
    assert wait(lab, first)["job"]["progress"] == {"stream": "stdout", "line": "50%", "percent": 50.0}
    assert wait(lab, second)["job"]["exitCode"] == 0
    logs = lab("job", "logs", second, "--json", "--from", "4").json
    assert (logs["text"], logs["nextOffset"]) == ("21\n", 7)
    assert lab("job", "logs", second, "--stream", "stderr").err == "err\n"
    result = lab("job", "result", second, "--json").json
    validate(result, "run")
    assert (result["stdout"], result["display_data"][0]["data"]["text/plain"]) == ("out 21\n", "42")
    failed = wait(lab, third)
    assert (failed["exitCode"], failed["errorCode"], failed["error"]["name"]) == (1, 1002, "ZeroDivisionError")
    assert wait(lab, fourth)["exitCode"] == 3
    assert [job["command"] for job in lab("job", "list", "-n", "2", "--json").json["jobs"]] == [
        "import sys; sys.exit(a - 18)",
        "a / 0",
    ]


def test_two_versions_of_the_helper(lab: Cli, jupyter: JupyterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of another version brings its own helper into the same process. What the first one looks after is not
    taken from it: queued code is executed once, and what a run shows is recorded once."""
    go, told = jupyter.root / "go-on-two", jupyter.root / "told"
    lab("run", "-m", "kernel", f"import os, time; go, told = {str(go)!r}, {str(told)!r}")
    first = start(lab, "print('begun', flush=True)\nwhile not os.path.exists(go): time.sleep(0.05)")
    second = start(lab, "print(open(told, 'a').write('x'))")
    wait_for(lambda: lab("job", "logs", first).out == "begun\n")

    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(lab.home / "config"))
    sources = {**bootstrap.sources(), "service": bootstrap.sources()["service"] + "\n# another version\n"}
    monkeypatch.setattr(bootstrap, "sources", lambda: sources)
    monkeypatch.setattr(bootstrap, "module_name", lambda: "lecoder_resident_another")
    with SessionManager(Config()).session() as session:
        helper = session.connect_helper()
        assert helper.hello().hash == "another"
        assert helper.record(session.kernel_id()) > 0
        helper.close()
    go.touch()
    wait(lab, second)
    third = lab("run", "-m", "kernel", "print('once')", "--json").json["runId"]
    assert told.read_text() == "x"
    assert [lab("run", "--attach", run).out for run in (first, second, third)] == ["begun\n", "1\n", "once\n"]


def test_a_key_executes_once(lab: Cli, jupyter: JupyterServer) -> None:
    """However many clients ask at the same time; other code under it is refused."""
    counter = jupyter.root / "executed"
    code = f"open({str(counter)!r}, 'a').write('x')"
    line = ("run", "-m", "kernel", "--detach", "--key", "kernel-once", "--json")
    clients = [lab.start(*line, code) for _ in range(5)]
    answers = [json.loads(client.communicate(timeout=60)[0]) for client in clients]
    (job,) = {answer["jobId"] for answer in answers}
    wait(lab, job)
    assert lab(*line, code).json["jobId"] == job
    assert counter.read_text() == "x"
    assert lab(*line, "other").json["error"]["name"] == "KeyConflict"


def test_ending_a_job_in_the_kernel(lab: Cli) -> None:
    """One that waits is taken back; one that runs is interrupted, and if it does not care, ended with its kernel."""
    stubborn = (
        "import time\nprint('begun', flush=True)\nwhile True:\n  try: time.sleep(60)\n"
        "  except KeyboardInterrupt: print('no', flush=True)"
    )
    running, waiting, behind = start(lab, stubborn), start(lab, "print('never')"), start(lab, "1")
    wait_for(lambda: lab("job", "logs", running).out == "begun\n")
    assert lab("job", "kill", waiting, "--json").json["sent"] is True
    withdrawn = wait(lab, waiting)
    assert (withdrawn["error"]["name"], withdrawn["job"]["stopped"]["by"]) == ("Withdrawn", "kill")
    assert lab("job", "logs", waiting).out == ""
    assert lab("job", "kill", running, "--json").json["sent"] is True  # an interrupt: the job goes on
    wait_for(lambda: "no" in lab("job", "logs", running).out)
    killed = lab("job", "kill", running, "--escalate", "--grace", "0.5s", "--json").json["job"]
    assert killed["state"] == "exited"
    assert killed["stopped"] == {"by": "kill", "steps": ["SIGINT", "SIGINT", "SIGKILL"]}
    assert wait(lab, running)["error"]["name"] == "Stopped"
    lost = wait(lab, behind)
    assert lost["error"]["name"] == "KernelDied"
    assert lab("run", "-m", "kernel", "print('alive')").out == "alive\n"
    gentle = start(lab, "import time; time.sleep(300)")
    wait_for(lambda: show(lab, gentle)["state"] == "running")
    assert lab("job", "kill", gentle, "--escalate", "--json").json["job"]["stopped"]["steps"] == ["SIGINT"]
    assert wait(lab, gentle)["error"]["name"] == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("options", "code", "by"),
    [
        (("--timeout", "1"), "import time\nwhile True: print(1, flush=True); time.sleep(0.1)", "timeout"),
        (("--idle-timeout", "1"), "import time\nprint(1, flush=True); time.sleep(300)", "idle-timeout"),
    ],
)
def test_limits_are_kept_on_the_runtime(lab: Cli, options: tuple[str, ...], code: str, by: str) -> None:
    """Without a client; the code is interrupted, and the document says why."""
    done = wait(lab, start(lab, code, *options))
    assert (done["exitCode"], done["errorCode"], done["job"]["timedOut"]) == (75, 1003, True)
    assert done["job"]["stopped"] == {"by": by, "steps": ["interrupt"]}


def test_the_kernel_dies(lab: Cli, jupyter: JupyterServer) -> None:
    """What it was executing has ended, and so has what waited for it: never `running` for ever."""
    go = jupyter.root / "kernel-may-die"
    until = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)\n"
    job, behind = start(lab, until + "print('last', flush=True); time.sleep(1); os._exit(3)"), start(lab, "1")
    go.touch()
    done = wait(lab, job)
    assert (done["exitCode"], done["error"]["name"]) == (1, "KernelDied")
    assert lab("job", "result", job).out == "last\n"
    assert wait(lab, behind)["error"]["name"] == "KernelDied"


def test_the_helper_dies(lab: Cli, jupyter: JupyterServer) -> None:
    """The kernel's work goes on: what waits is executed, once; and of what ran, the end is known or said to be unknown,
    and the output never called complete."""
    go = jupyter.root / "helper-died"
    counter = jupyter.root / "executed-after"
    lab("run", "-m", "kernel", "import os, time")
    job = start(
        lab, f"print('before', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)\nprint('after')"
    )
    waiting = start(lab, f"open({str(counter)!r}, 'a').write('x')")
    wait_for(lambda: lab("job", "logs", job).out == "before\n")
    os.kill(helper_of(jupyter, job), signal.SIGKILL)
    assert show(lab, job)["state"] == "running"  # says another helper
    go.touch()
    done = wait(lab, job)
    assert (done["exitCode"], done["job"]["outputComplete"]) == (0, False)
    assert lab("job", "logs", job).out == "before\nafter\n"
    result = lab("job", "result", job, "--json").json
    assert (result["stdout"], result["outputComplete"]) == ("before\nafter\n", False)
    wait(lab, waiting)
    assert counter.read_text() == "x"
    go.unlink()
    unseen = start(lab, f"print('before', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)")
    wait_for(lambda: lab("job", "logs", unseen).out == "before\n")
    os.kill(helper_of(jupyter, unseen), signal.SIGKILL)
    go.touch()
    time.sleep(1)  # it ends, while nobody is there
    lost = wait(lab, unseen)
    assert (lost["status"], lost["errorCode"], lost["job"]["state"]) == ("unknown", 2004, "unknown")


def test_watchers_survive_cuts(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """`job wait`, `job logs -f` and `run --attach` go on over another connection, and nothing is shown twice."""
    proxy = Proxy(jupyter.url)
    other = Cli(tmp_path)
    other("sessions", "add", "same", "--url", proxy.url, "--token-stdin", stdin=jupyter.token.encode())
    job = start(lab, "import time\nfor i in range(30): print(i, flush=True); time.sleep(0.15)")
    lines = (("job", "wait", job), ("job", "logs", job, "-f"), ("run", "--attach", job))
    watching = [other.start(*line) for line in lines]
    for _ in range(3):
        time.sleep(1.2)
        proxy.cut()
    outputs = [client.communicate(timeout=90) for client in watching]
    assert [client.returncode for client in watching] == [0, 0, 0], outputs
    expected = "".join(f"{i}\n" for i in range(30))
    assert [out.decode() for out, _ in outputs] == [f"{job} exited 0\n", expected, expected]
    other("sessions", "close", "--all", "--force")
    proxy.close()


def test_a_cut_before_anything_was_shown(
    lab: Cli, jupyter: JupyterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question about a job is asked again over another connection, too."""
    proxy = Proxy(jupyter.url)
    other = Cli(tmp_path)
    other("sessions", "add", "cut", "--url", proxy.url, "--token-stdin", stdin=jupyter.token.encode())
    job = start(lab, "print('done')")
    wait(lab, job)
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(other.home / "config"))
    with SessionManager(Config()).session() as session:
        connect = session.connect_helper

        def connect_and_cut() -> Helper:
            monkeypatch.undo()
            helper = connect()
            proxy.cut()
            return helper

        monkeypatch.setattr(session, "connect_helper", connect_and_cut)
        assert is_kernel_run(session, job)
        with Jobs(session) as jobs:
            proxy.cut()
            assert jobs.wait(job, 30).exit_code == 0
    other("sessions", "close", "--all", "--force")
    proxy.close()


def test_two_watch_from_different_machines(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """Both see every byte while it goes on, and so does who comes later, with nothing but the server's address."""
    other = Cli(tmp_path)
    other("sessions", "add", "same", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    job = start(lab, "import time\nfor i in range(40): print(i, 'x' * 20_000, flush=True); time.sleep(0.05)")
    watching = [cli.start("run", "--attach", job) for cli in (lab, other)]
    expected = "".join(f"{i} {'x' * 20_000}\n" for i in range(40)).encode()
    for client in watching:
        assert client.communicate(timeout=90)[0] == expected
        assert client.returncode == 0
    assert other("logs", "show", job, "--output").out.encode() == expected
    assert lab("logs", "show", job, "--json").json["status"] == "ok"  # the history here was completed by who watched
    other("sessions", "close", "--all", "--force")
