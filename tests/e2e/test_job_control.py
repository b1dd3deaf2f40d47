"""What is told of work while it goes on, and what ends it: use, progress, limits, escalation, hooks, heartbeats."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lecoder_cgpu.helper.client import Helper
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.servers import JupyterServer, start_server

SILENT = {
    "kernel": ("-m", "kernel", "import time; print('a', flush=True); time.sleep(300)"),
    "process": ("echo a; sleep 300",),
}


def start(cli: Cli, *words: str) -> str:
    result = cli("run", "--detach", *words)
    assert result.code == 0, result
    return result.out.strip()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


def test_use_and_progress(lab: Cli) -> None:
    """A running job tells its last line, the percentage in it, a heartbeat, and what it uses."""
    job = start(lab, "printf 'start\\n 10%%|#    |\\r 45.5%%|##   |\\r'; while :; do :; done")
    wait_for(lambda: "heartbeat" in lab("job", "show", job, "--json").json["job"])
    document = lab("job", "show", job, "--json").json
    validate(document, "job")
    shown = document["job"]
    assert shown["progress"] == {"stream": "stdout", "line": "45.5%|##   |", "percent": 45.5}
    assert shown["usage"]["processes"] >= 1
    assert shown["usage"]["rssBytes"] > 0
    wait_for(lambda: lab("job", "show", job, "--json").json["job"]["usage"].get("cpuPercent", 0) > 1)
    listed = lab("job", "list", "-n", "1").out
    assert "45.5%" in listed
    assert "% CPU" in listed
    lab("job", "kill", job, "--signal", "kill")
    done = lab("job", "wait", job, "--json")
    assert (done.code, done.json["error"]["name"]) == (137, "Stopped"), "not called a lack of memory"


@pytest.mark.parametrize("mode", SILENT)
def test_silence_ends_work(lab: Cli, mode: str) -> None:
    """After --idle-timeout without output; work that prints is left alone."""
    result = lab("run", "--idle-timeout", "2", *SILENT[mode], "--json")
    validate(result.json, "run")
    assert (result.code, result.json["errorCode"], result.json["stdout"]) == (75, 1003, "a\n")
    step = "SIGTERM" if mode == "process" else "interrupt"
    assert result.json["stopped"]["by"] == "idle-timeout"
    assert result.json["stopped"]["steps"][0] == step
    assert "--idle-timeout" in result.json["error"]["suggestion"]
    talks: tuple[str, ...] = ("for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done",)
    if mode == "kernel":
        talks = ("-m", "kernel", "import time\nfor i in range(6): print(i, flush=True); time.sleep(0.5)")
    assert lab("run", "--idle-timeout", "2.5", *talks).code == 0


def test_escalation_says_what_it_did(lab: Cli) -> None:
    """Ctrl-C and `job kill --escalate`: every step is in the document."""
    stubborn = "trap '' INT; echo begun; while :; do sleep 0.1; done"
    client = lab.start("run", "--events", stubborn, bufsize=0)
    assert client.stdout
    client.stdout.readline()
    client.send_signal(signal.SIGINT)
    out, _ = client.communicate(timeout=60)
    document = json.loads(out.splitlines()[-1])
    validate(document, "run")
    assert client.returncode == document["exitCode"] == 130
    assert document["stopped"] == {"by": "interrupt", "steps": ["SIGINT", "SIGTERM"]}
    assert document["signal"] == "SIGTERM"
    job = start(lab, stubborn.replace("INT", "INT TERM"))
    wait_for(lambda: lab("job", "logs", job).out == "begun\n")
    killed = lab("job", "kill", job, "--escalate", "--grace", "0.5s", "--json").json
    validate(killed, "job")
    assert killed["job"]["stopped"] == {"by": "kill", "steps": ["SIGTERM", "SIGKILL"]}
    assert killed["job"]["exitCode"] == 137


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_waiting_can_be_interrupted(lab: Cli, number: signal.Signals) -> None:
    """The document, 128 + the signal; the job goes on."""
    job = start(lab, "sleep 300")
    client = lab.start("job", "wait", job, "--json")
    time.sleep(2)
    client.send_signal(number)
    out, _ = client.communicate(timeout=60)
    document = json.loads(out)
    validate(document, "job")
    assert (client.returncode, document["exitCode"], document["status"]) == (128 + number, 128 + number, "running")
    assert document["interrupted"] is True
    assert lab("job", "kill", job).code == 0


HOOK = (
    'echo "$LECODER_CGPU_RUN_ID $LECODER_CGPU_STATUS $LECODER_CGPU_EXIT_CODE $LECODER_CGPU_ERROR_CODE" >> hook; exit 9'
)


def test_hooks(lab: Cli, tmp_path: Path) -> None:
    """--on-finish runs here once the work has ended, knows how, and changes no exit status; not while it still runs."""
    result = lab.start("run", "--json", "--on-finish", HOOK, "exit 4", cwd=tmp_path).communicate(timeout=60)
    document = json.loads(result[0])
    validate(document, "run")
    assert document["exitCode"] == 4
    assert document["hook"] == {"command": HOOK, "exitCode": 9}
    assert (tmp_path / "hook").read_text() == f"{document['runId']} error 4 1002\n"
    (tmp_path / "hook").unlink()
    job = start(lab, "sleep 2; exit 5")
    for timeout, code in (("0", 124), ("60", 5)):
        waiting = lab.start("job", "wait", job, "--timeout", timeout, "--on-finish", HOOK, cwd=tmp_path)
        assert waiting.communicate(timeout=90)[0].decode().startswith(job)
        assert waiting.returncode == code
        assert (tmp_path / "hook").exists() is (code == 5)
    assert (tmp_path / "hook").read_text() == f"{job} error 5 1002\n"
    missing = lab("run", "-m", "kernel", "--json", "--on-finish", "surely-not-there", "print(1)")
    assert (missing.code, missing.json["hook"]["exitCode"]) == (0, 127)


RUNS = {
    "kernel": ("-m", "kernel", "import time\nfor i in range(4): print('é', i, flush=True); time.sleep(0.8)"),
    "process": ("for i in 0 1 2 3; do echo é $i; sleep 0.8; done",),
}
TEXT = "".join(f"é {i}\n" for i in range(4))


@pytest.mark.parametrize("mode", RUNS)
def test_events_can_be_resumed(lab: Cli, mode: str) -> None:
    """Each piece says where it begins and ends; heartbeats come in between; --from goes on where a reader stopped."""
    lines = [json.loads(line) for line in lab("run", "--events", "--heartbeat", "0.5s", *RUNS[mode]).out.splitlines()]
    for line in lines[:-1]:
        validate(line, "run-event")
    pieces = [line for line in lines if line.get("type") == "stream"]
    assert "".join(piece["text"] for piece in pieces) == TEXT
    position = 0
    for piece in pieces:
        assert piece["offset"] == position
        position = piece["nextOffset"] = piece["offset"] + len(piece["text"].encode())
    beats = [line for line in lines if line.get("type") == "heartbeat"]
    assert len(beats) >= 2
    assert 0 < beats[-1]["stdoutOffset"] <= len(TEXT.encode())
    run = lines[-1]["runId"]
    for offset in (str(pieces[1]["nextOffset"]), f"stdout={pieces[1]['nextOffset']}"):
        rest = lab("run", "--attach", run, "--from", offset, "--events").out.splitlines()
        first = json.loads(rest[0])
        assert first["offset"] == pieces[1]["nextOffset"]
        text = "".join(json.loads(line).get("text", "") for line in rest[:-1])
        assert text == json.loads(rest[-1])["stdout"] == TEXT.encode()[pieces[1]["nextOffset"] :].decode()
    assert lab("run", "--attach", run, "--from", "100000", "--json").json["stdout"] == ""


def test_no_binary_unless_asked(lab: Cli, tmp_path: Path) -> None:
    """Images are named with their size, written with --outputs, then or later, and inline only with --inline."""
    code = (
        "from IPython.display import display, Image\n"
        "display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + b'1' * 1000, format='png'))"
    )
    result = lab("run", "-m", "kernel", "--json", code)
    validate(result.json, "run")
    (display,) = result.json["display_data"]
    assert display["omitted"] == {"image/png": 1008}
    assert "text/plain" in display["data"]
    assert "base64" not in result.out
    event = json.loads(lab("run", "-m", "kernel", "--events", code).out.splitlines()[0])
    assert (event["omitted"], "image/png" in event["data"]) == ({"image/png": 1008}, False)
    inline = lab("run", "-m", "kernel", "--json", "--inline", code).json["display_data"][0]
    assert "image/png" in inline["data"]
    files = lab("run", "--attach", result.json["runId"], "--outputs", str(tmp_path / "x"), "--json").json["outputs"]
    assert [item["size"] for item in files if item["mime"] == "image/png"] == [1008]
    assert (tmp_path / "x" / files[0]["path"]).stat().st_size == files[0]["size"]


def test_thirty_jobs_at_once(lab: Cli, jupyter: JupyterServer) -> None:
    """They all run at the same time, and each has its own status and output."""
    lab("run", "true")
    server = Server(Endpoint(url=jupyter.url, token=jupyter.token))
    opened, _ = server.open_session("lecoder-cgpu-resident")
    assert opened.kernel is not None
    session_id = messages.new_id()
    helper = Helper(server.open_channels(opened.kernel.id, session_id), session_id)
    runs = [messages.new_run_id() for _ in range(30)]
    for number, run in enumerate(runs):
        helper.start(run, f"echo {number}; until test -e go30; do sleep 0.3; done; exit {number}", follow=False)
    wait_for(lambda: {helper.state(run).state for run in runs} == {"running"})
    (jupyter.root / "go30").touch()
    for number, run in enumerate(runs):
        wait_for(lambda run=run: helper.state(run).ended)  # type: ignore[misc]
        state = helper.state(run)
        assert state.result is not None
        assert state.result.exit == number
        assert helper.read(run, "stdout", 0).data == f"{number}\n".encode()
    helper.close()
    server.close()


def test_release_needs_results(tmp_path: Path) -> None:
    """The runtime is given back only when declared results are here and nothing else is at work; else it says why."""
    with start_server(tmp_path / "own") as jupyter:
        cli = Cli(tmp_path)
        add = ("sessions", "add", "lent", "--url", jupyter.url, "--token-stdin")
        cli(*add, stdin=jupyter.token.encode())
        missing = cli("run", "--pull", f"surely-not-there:{tmp_path / 'x'}", "--release", "true", "--json")
        validate(missing.json, "run")
        assert missing.json["release"]["released"] is None
        assert "surely-not-there" in missing.json["release"]["reason"]
        assert cli("run", "--release", "true", "--json").json["errorCode"] == 2006
        job = start(cli, "--pull", f"made.txt:{tmp_path / 'made'}", "echo result > made.txt")
        other = start(cli, "sleep 300")
        kept = cli("job", "wait", job, "--release", "--json")
        validate(kept.json, "job")
        assert other in kept.json["release"]["reason"]
        cli("job", "kill", other)
        cli("job", "wait", other)
        undeclared = cli("job", "wait", other, "--release", "--json").json["release"]
        assert undeclared == {"released": None, "reason": "no results were declared with --pull"}
        hooked = cli("job", "wait", job, "--release", "--on-finish", "true", "--json").json
        assert (hooked["release"], hooked["hook"]["exitCode"]) == ({"released": "kernels"}, 0)
        assert (tmp_path / "made").read_text() == "result\n"
        assert cli("sessions", "list", "--json").json == []
