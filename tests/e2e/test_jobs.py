"""Jobs: started, left alone, found again from anywhere, with their true status and all of their output."""

from __future__ import annotations

import json
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support.cli import Cli
from tests.support.servers import JupyterServer

SCHEMAS = Path(__file__).parents[2] / "schemas"


def start(cli: Cli, *words: str) -> str:
    """Start a job and return its id."""
    result = cli("run", "--detach", *words)
    assert result.code == 0, result
    return result.out.strip()


def valid(document: dict, schema: str) -> dict:  # type: ignore[type-arg]
    jsonschema.validate(document, json.loads((SCHEMAS / f"{schema}.json").read_text()))
    return document


def test_a_job_from_start_to_end(lab: Cli) -> None:
    """Start returns at once; wait ends with 124, and later with the job's own status; output is complete."""
    job = start(lab, "echo begun; until test -e go; do sleep 0.1; done; rm go; echo ended; echo err >&2; exit 3")
    waiting = lab("job", "wait", job, "--timeout", "0.5", "--json")
    assert waiting.code == valid(waiting.json, "job")["exitCode"] == 124
    assert waiting.json["status"] == "running"
    assert lab("job", "logs", job).out == "begun\n"
    assert lab("job", "result", job).code == 124
    assert lab("job", "rm", job).code == 2
    lab("run", "touch go")
    done = lab("job", "wait", job, "--json")
    assert (done.code, done.json["job"]["exitCode"], done.json["errorCode"]) == (3, 3, 1002)
    valid(done.json, "job")
    assert lab("job", "wait", job).code == 3
    result = lab("job", "result", job, "--json")
    assert (result.code, result.json["stdout"], result.json["stderr"]) == (3, "begun\nended\n", "err\n")
    valid(result.json, "run")
    shown = lab("job", "show", job, "--json")
    assert (shown.code, shown.json["job"]["stdoutBytes"], shown.json["job"]["state"]) == (0, 12, "exited")
    assert job in [item["id"] for item in lab("job", "list", "--json").json["jobs"]]
    assert lab("job", "rm", job).code == 0
    assert lab("job", "show", job).code == 66


def test_output_by_offset(lab: Cli) -> None:
    """One stream, from a byte on, and where to go on."""
    job = start(lab, "printf 0123456789; printf error >&2")
    lab("job", "wait", job)
    document = valid(lab("job", "logs", job, "--json", "--from", "3", "--bytes", "4").json, "job-logs")
    assert (document["text"], document["offset"], document["nextOffset"]) == ("3456", 3, 7)
    assert lab("job", "logs", job, "--json", "--stream", "stderr").json["text"] == "error"
    assert lab("job", "logs", job, "--stream", "stdout", "--from", "-2").out == "89"
    result = lab("job", "logs", job)
    assert (result.out, result.err) == ("0123456789", "error")


def test_the_last_lines(lab: Cli) -> None:
    """As many as are asked for, of both streams in their order, or of one; a last line without an end is one."""
    job = start(lab, "seq 30000; sleep 0.2; echo two >&2; sleep 0.2; printf three")
    lab("job", "wait", job)
    result = lab("job", "logs", job, "--tail", "3")
    assert (result.out, result.err) == ("30000\nthree", "two\n")
    assert lab("job", "logs", job, "--tail", "2", "--stream", "stdout").out == "30000\nthree"
    assert lab("job", "logs", job, "--tail", "40000").out.splitlines() == [*map(str, range(1, 30001)), "three"]
    assert lab("job", "logs", job, "--tail", "0").out == ""
    document = valid(lab("job", "logs", job, "--json", "-n", "1").json, "job-logs")
    assert (document["text"], document["offset"]) == ("three", document["nextOffset"] - 5)


def test_what_a_job_prints_as_curves(lab: Cli) -> None:
    """Its series as a document, a line for each in a pipe, and a picture in a file."""
    job = start(lab, "for i in 1 2 3; do echo epoch $i/3 loss=0.$i took $i s; done")
    lab("job", "wait", job)
    picture = lab.home / "loss.svg"
    document = valid(lab("job", "plot", job, "--svg", str(picture), "--json").json, "job-plot")
    assert (document["source"], document["complete"], document["svg"]) == ("runtime", True, str(picture))
    assert [(item["name"], item["x"], item["last"]) for item in document["series"]] == [("loss", [1, 2, 3], 0.3)]
    assert picture.read_text().startswith("<svg ")
    assert lab("job", "plot", job, "--metric", "took (.) s").out == "took (.) s\t3\t1 to 3, lowest 1, highest 3\n"
    nothing = lab("job", "plot", job, "--metric", "accuracy")
    assert (nothing.code, nothing.out, "--metric" in nothing.err) == (0, "", True)


def test_several_jobs(lab: Cli) -> None:
    """They are waited for and ended together, by ids or by keys; one document has all of them."""
    slow = [start(lab, "--key", f"slow {number}", f"exec sleep {600 + number}") for number in range(2)]
    quick = start(lab, "exit 3")
    waiting = lab("job", "wait", quick, "slow 0", "slow 1", "--timeout", "0.5", "--json")
    document = valid(waiting.json, "jobs")
    assert (waiting.code, document["exitCode"], document["status"]) == (124, 124, "running")
    assert [one["job"]["id"] for one in document["jobs"]] == [quick, *slow]
    assert [one["exitCode"] for one in document["jobs"]] == [3, 124, 124]
    missing = lab("job", "kill", slow[0], "nobody")
    assert (missing.code, lab("job", "show", slow[0], "--json").json["job"]["state"]) == (66, "running")
    ended = valid(lab("job", "kill", "--all", "--escalate", "--json").json, "jobs")
    assert [one["job"]["id"] for one in ended["jobs"]] == slow
    assert lab("job", "wait", *slow).code == 143
    assert lab("job", "wait", "--all").out == "There are no jobs that have not ended.\n"


def test_waiting_brings_the_output(lab: Cli) -> None:
    """Head and tail within the budget, the last line, and where the next look goes on; a name stands for the id."""
    job = start(
        lab,
        "--name",
        "train",
        "seq 1 3000; printf '10%%\\r90%%\\r'; echo oh >&2; until [ -s .go ]; do sleep 0.1; done; cat .go",
    )
    document = valid(lab("job", "wait", "train", "--timeout", "0.5", "--json").json, "job")
    while document["lastLine"] != "90%":
        document = valid(lab("job", "wait", "train", "--timeout", "0.5", "--json").json, "job")
    assert (document["status"], document["job"]["id"], document["job"]["name"]) == ("running", job, "train")
    assert document["stdout"].startswith("1\n2\n3\n")
    assert document["stdout"].endswith("2999\n3000\n90%")
    assert "bytes left out" in document["stdout"]
    assert len(document["stdout"]) < 8300
    assert (document["stderr"], document["truncated"]["stdoutBytes"]) == ("oh\n", document["nextOffset"])
    assert document["next"] == f"lecoder-cgpu job wait {job} --from {document['nextOffset']}"
    lab("run", "echo done > .go")
    more = lab("job", "wait", "train", "--from", str(document["nextOffset"]), "--from", "stderr=3", "--json").json
    assert (more["stdout"], more["stderr"], more["lastLine"], "next" in more) == ("done\n", "", "done", False)
    whole = lab("job", "wait", job, "--max-output", "0", "--json").json
    assert (len(whole["stdout"].splitlines()), "truncated" in whole) == (3001, False)
    again = start(lab, "--name", "train", "exit 4")
    assert lab("job", "wait", "train").code == 4, "the newest of that name is meant"
    assert lab("run", "--attach", "train", "--json").json["runId"] == again
    assert lab("logs", "show", "train", "--json").json["runId"] == again


def test_jobs_of_all_sessions(lab: Cli) -> None:
    """Each job names its session, and a list without `unasked` is whole."""
    job = start(lab, "--key", "mine", "true")
    assert lab("--backend", "local", "sessions", "add", "scratch", "--root", str(lab.home)).code == 0
    try:
        other = start(lab, "-s", "scratch", "true")
        document = valid(lab("job", "list", "--all-sessions", "--json").json, "job-list")
        found = {item["id"]: item["session"] for item in document["jobs"]}
        assert (found[other], found[job] != "scratch", "unasked" in document) == ("scratch", True, False)
        rows = [line.split("\t")[:3] for line in lab("job", "list", "--all-sessions").out.splitlines()]
        assert [job, "mine", found[job]] in rows
        assert [other, "", "scratch"] in rows
    finally:
        lab("sessions", "close", "scratch")


def test_following_a_job(lab: Cli) -> None:
    """-f prints what is there and goes on to the end."""
    job = start(lab, "echo one; sleep 1; echo two")
    assert lab("job", "logs", job, "-f").out == "one\ntwo\n"
    assert lab("run", "--attach", job).out == "one\ntwo\n"


def test_a_key_starts_once(lab: Cli) -> None:
    """The same key and command is the same job; the same key with another command is refused."""
    count = "n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count"
    clients = [lab.start("run", "--background", "--key", "once", count, "--json") for _ in range(8)]
    ids = {json.loads(client.communicate(timeout=60)[0])["jobId"] for client in clients}
    assert len(ids) == 1
    lab("job", "wait", ids.pop())
    assert lab("run", "cat count; rm count").out == "1\n"
    other = lab("run", "--detach", "--key", "once", "echo other", "--json")
    assert (other.code, other.json["error"]["name"]) == (2, "KeyConflict")
    for words in ([count], ["-k", "1"]):
        job = start(lab, "--key", f"named {words}", *words)
        for name in ("first name", "second name"):
            assert start(lab, "--key", f"named {words}", "--name", name, *words) == job
        start(lab, "--key", f"named {words}", *words)  # without a name, it keeps its own
        shown = lab("job", "show", "second name", "--json").json["job"]
        assert (shown["id"], shown["name"]) == (job, "second name")
        assert lab("job", "show", f"named {words}", "--json").json["job"]["id"] == job


def test_killing_and_time_limits(lab: Cli) -> None:
    """The signal reaches the whole group; a limit is kept without a client."""
    job = start(lab, "sleep 71 & sleep 71")
    assert lab("job", "kill", job, "--json").json["sent"] is True
    assert lab("job", "wait", job).code == 143
    assert lab("run", "pgrep -fx 'sleep 71' || echo none").out == "none\n"
    assert lab("job", "kill", job, "--json").json["sent"] is False
    limited = start(lab, "--timeout", "0.5", "sleep 60")
    done = lab("job", "wait", limited, "--json")
    assert (done.code, done.json["errorCode"], done.json["job"]["timedOut"]) == (75, 1003, True)


def test_another_machine_finds_the_job(lab: Cli, jupyter: JupyterServer, tmp_path: Path) -> None:
    """State and output live on the runtime: a client with nothing but the server's address sees them."""
    job = start(lab, "echo from elsewhere; sleep 1; exit 4")
    other = Cli(tmp_path)
    other("sessions", "add", "same", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    assert other("job", "wait", job).code == 4
    assert other("run", "--attach", job).out == "from elsewhere\n"
    other("sessions", "close", "--all", "--force")


def test_a_job_of_another_session(cli: Cli) -> None:
    """Whoever asks the wrong session learns which is the right one, or that it is closed."""
    for name in ("one", "two"):
        cli("--backend", "local", "sessions", "add", name)
    run = cli("run", "--detach", "--session", "one", "--json", "true").json["job"]["id"]
    wrong = cli("job", "show", run, "--session", "two", "--json")
    assert (wrong.code, wrong.json["error"]["name"]) == (66, "RunNotFound"), wrong
    assert wrong.json["error"]["suggestion"] == f"lecoder-cgpu job show {run} --session one"
    assert cli("job", "show", run, "--session", "one").code == 0
    cli("sessions", "close", "one")
    closed = cli("job", "show", run[:-3], "--session", "two", "--json")
    assert (closed.code, closed.json["error"]["name"]) == (74, "RunLost"), closed
    assert "session 'one', which is closed" in closed.json["error"]["message"]
    assert cli("job", "show", "run-0000000000000000", "--session", "two").code == 66
    cli("sessions", "close", "--all")


def test_a_run_whose_client_is_killed_goes_on(lab: Cli) -> None:
    """`kill -9` of the client: the command ends in its own time, and its output is fetched later."""
    loop = "for i in 1 2 3 4 5 6; do echo $i; done; until test -e go; do sleep 0.1; done; rm go; exit 5"
    client = lab.start("run", "--events", loop)
    assert client.stdout
    client.stdout.readline()
    client.send_signal(signal.SIGKILL)
    client.communicate()
    (run,) = [item for item in lab("job", "list", "--json").json["jobs"] if item["state"] == "running"]
    lab("run", "touch go")
    fetched = lab("run", "--attach", run["id"], "--json")
    assert (fetched.code, fetched.json["stdout"]) == (5, "1\n2\n3\n4\n5\n6\n")


def test_a_kernel_run_whose_client_is_killed_is_fetched_later(lab: Cli) -> None:
    """The recording has every byte and the exception, for clients that come later."""
    code = (
        "import os, time\nfor i in range(6): print(i, flush=True)\n"
        "while not os.path.exists('go-kernel'): time.sleep(0.1)\nprint('x' * 3_000_000)\n1/0"
    )
    client = lab.start("run", "-m", "kernel", "--events", code)
    assert client.stdout
    client.stdout.readline()
    client.send_signal(signal.SIGKILL)
    client.communicate()
    (run,) = [item for item in lab("job", "list", "--json").json["jobs"] if item["state"] == "running"]
    assert run["kind"] == "kernel"
    lab("run", "touch go-kernel")
    fetched = lab("run", "--attach", run["id"], "--json", "--max-output", "0")
    assert fetched.code == 1
    assert fetched.json["stdout"] == "0\n1\n2\n3\n4\n5\n" + "x" * 3_000_000 + "\n"
    assert fetched.json["error"]["name"] == "ZeroDivisionError"
    valid(fetched.json, "run")


def test_the_helper_may_die(lab: Cli) -> None:
    """A job survives the helper that started it."""
    job = start(lab, "sleep 3; echo survived; exit 6")
    lab("run", "kill -9 $(ps -o ppid= -p $PPID); sleep 1")
    time.sleep(1)
    assert lab("job", "wait", job).code == 6
    assert lab("job", "result", job).out == "survived\n"


def test_lists_hide_what_was_given_as_a_secret(lab: Cli) -> None:
    """A job's last line, its failure and the processes that it left show no value of --secret, in any spelling; logs
    have what it printed. When the helper that knew the values is gone, the lines are hidden as a whole."""
    secret = "p\u00e4ss/w0rd&\nsecond-line"
    code = "import os, json, urllib.parse as u; k = os.environ['KEY']; "
    code += "raise SystemExit(u.quote(k, '') + json.dumps(k) + ascii(k)[1:-1] + k + '?')"
    left = "bash -c \"exec -a '$KEY' sleep 300\" > /dev/null 2>&1 &"
    line = ["run", "--detach", "--secret", "KEY", f"{left} python3 -c {shlex.quote(code)}"]
    job = lab(*line, env={"KEY": secret}).out.strip()

    def told() -> list[Any]:
        waited = lab("job", "wait", job, "--json").json
        assert "w0rd" in waited.pop("stderr")
        listed = next(item for item in lab("job", "list", "--json").json["jobs"] if item["id"] == job)
        return [waited, listed, lab("job", "list").out, lab("job", "show", job).out, lab("logs", "--json").out]

    for last in ('***"***"******?', "***"):
        waited, listed, *others = told()
        assert (waited["lastLine"], waited["exitCode"]) == (last, 1)
        assert listed["remaining"][0]["command"].startswith("***")
        shown = json.dumps([waited, listed, others], ensure_ascii=False)
        assert not [part for part in ("w0rd", "second-line") if part in shown], shown
        lab("run", "kill -9 $(ps -o ppid= -p $PPID); sleep 1")
    assert "second-line?" in lab("job", "logs", job).err
    lab("job", "kill", job, "--escalate")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_can_be_left(lab: Cli, number: signal.Signals) -> None:
    """Ctrl-C on --attach ends the watching; the job goes on."""
    job = start(lab, "echo begun; until test -e go; do sleep 0.1; done; rm go; exit 7")
    watching = lab.start("run", "--attach", job, "--events")
    assert watching.stdout
    watching.stdout.readline()
    watching.send_signal(number)
    out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 128 + number
    assert json.loads(out.splitlines()[-1])["status"] == "running"
    lab("run", "touch go")
    assert lab("job", "wait", job).code == 7
