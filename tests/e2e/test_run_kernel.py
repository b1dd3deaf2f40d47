"""`run -m kernel` against a stock jupyter_server: every ending has a true result, and none hangs."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.config import Config
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from lecoder_cgpu.sessions.manager import SessionManager
from tests.support.cli import Cli
from tests.support.imports import imported
from tests.support.servers import JupyterServer


def kernel(cli: Cli, code: str, *options: str, stdin: bytes | None = None) -> dict:  # type: ignore[type-arg]
    """The document of one kernel run."""
    result = cli("run", "-m", "kernel", "--json", *options, code, stdin=stdin)
    document = result.json
    assert document["exitCode"] == result.code
    assert (result.code == 0) == (document["status"] == "ok")
    return document  # type: ignore[no-any-return]


def test_state_stays_between_invocations(lab: Cli) -> None:
    """Variables of one process are there for the next; the last expression is a rich output."""
    assert kernel(lab, "x = 20")["stdout"] == ""
    document = kernel(lab, "print(x + 1)\nx * 2")
    assert document["stdout"] == "21\n", document
    assert document["display_data"] == [{"data": {"text/plain": "40"}, "metadata": {}}]
    assert document["status"] == "ok"
    assert document["errorCode"] == 0
    assert document["timing"]["duration_ms"] >= 0


def test_several_arguments_are_lines(lab: Cli) -> None:
    """Arguments are joined by newlines and nothing is quoted."""
    assert lab("run", "-m", "kernel", "y = 'a b'", 'print(y, "$HOME")', "--json").json["stdout"] == "a b $HOME\n"


def test_code_from_stdin_and_files(lab: Cli, tmp_path: Path) -> None:
    """`-` reads stdin; `-f` reads a file, and the traceback names it."""
    assert lab("run", "-m", "kernel", "-", "--json", stdin=b"print('in')").json["stdout"] == "in\n"
    script = tmp_path / "train.py"
    script.write_text("def step():\n    return 1 / 0\nstep()\n")
    document = lab("run", "-m", "kernel", "-f", str(script), "--json").json
    assert document["errorCode"] == 1002
    assert f'File "{script}", line 2' in "\n".join(document["error"]["traceback"])


@pytest.mark.parametrize(
    ("code", "error_code", "category", "name", "exit_code"),
    [
        ("1 +", 1001, "syntax", "SyntaxError", 1),
        ("undefined_name", 1002, "runtime", "NameError", 1),
        ("class Mine(ValueError): pass\nraise Mine('x')", 1002, "runtime", "Mine", 1),
        ("class Gone(ConnectionError): pass\nraise Gone('x')", 1006, "io", "Gone", 1),
        ("raise TimeoutError('slow')", 1003, "timeout", "TimeoutError", 1),
        ("raise MemoryError()", 1004, "memory", "MemoryError", 1),
        ("import surely_not_there", 1005, "import", "ModuleNotFoundError", 1),
        ("open('/surely/not/there')", 1006, "io", "FileNotFoundError", 1),
        ("import sys; sys.exit(7)", 1002, "runtime", "SystemExit", 7),
        ("import sys; sys.exit('no')", 1002, "runtime", "SystemExit", 1),
        ("raise KeyboardInterrupt", 1002, "runtime", "KeyboardInterrupt", 1),
        ("input('name? ')", 1002, "runtime", "StdinNotImplementedError", 1),
    ],
)
def test_failures(lab: Cli, code: str, error_code: int, category: str, name: str, exit_code: int) -> None:
    """Each kind of failure has its code, category, name and exit status, and a suggestion where one helps."""
    document = kernel(lab, code)
    error = document["error"]
    assert (document["errorCode"], error["category"], error["name"]) == (error_code, category, name)
    assert document["exitCode"] == exit_code
    assert error["message"] is not None
    assert error["description"]


def test_the_missing_package_is_named(lab: Cli) -> None:
    """The suggestion is the command that mends it, with the package's name and not the module's."""
    assert "pip install scikit-learn" in kernel(lab, "import sklearn.nothing_there_either")["error"]["suggestion"]


@pytest.mark.parametrize("code", ["import sys; sys.exit()", "import sys; sys.exit(0)", "raise SystemExit", ""])
def test_a_clean_exit_is_success(lab: Cli, code: str) -> None:
    """`sys.exit(0)` is no error, and no code at all is none either."""
    assert kernel(lab, code)["status"] == "ok"


def test_a_time_limit_interrupts(lab: Cli) -> None:
    """The code is interrupted, what it printed is there, and the kernel goes on with its variables."""
    kernel(lab, "kept = 1")
    document = kernel(lab, "import time\nprint('begun')\ntime.sleep(60)", "--timeout", "1")
    assert (document["errorCode"], document["exitCode"], document["timedOut"]) == (1003, 75, True)
    assert document["stdout"] == "begun\n"
    assert kernel(lab, "print(kept)")["stdout"] == "1\n"


def test_ctrl_c_interrupts_and_still_answers(lab: Cli) -> None:
    """Ctrl-C on the client interrupts the remote code, prints the document, and exits with 130."""
    process = lab.start("run", "-m", "kernel", "--events", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    assert process.stdout
    assert json.loads(process.stdout.readline())["text"].startswith("begun")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    document = json.loads(out.splitlines()[-1])
    assert process.returncode == 130, err
    assert document["interrupted"] is True
    assert document["error"]["name"] == "KeyboardInterrupt"
    assert kernel(lab, "print('free')")["stdout"] == "free\n"


def test_sigterm_interrupts_and_exits_with_143(lab: Cli) -> None:
    """A client that is told to end takes the remote work along and says so."""
    process = lab.start("run", "-m", "kernel", "--events", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    assert process.stdout
    process.stdout.readline()
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert json.loads(out.splitlines()[-1])["exitCode"] == 143


def test_kernel_death_is_seen_and_the_next_run_works(lab: Cli) -> None:
    """A crash ends the run within seconds, with what the kernel had not sent yet (protocol J45)."""
    document = kernel(
        lab, "import ctypes, sys\nprint('last words')\nprint('\u00e9', file=sys.stderr)\nctypes.string_at(0)"
    )
    assert document["error"]["name"] == "KernelDied"
    assert document["errorCode"] == 1002
    assert (document["stdout"], document["stderr"]) == ("last words\n", "\u00e9\n")
    assert document["outputComplete"] is False
    assert kernel(lab, "print('alive')")["stdout"] == "alive\n"


def test_all_that_a_killed_kernel_printed_is_there(lab: Cli) -> None:
    """More than the ring holds, of which a part was sent; another process' text is not taken for the kernel's."""
    code = (
        "import os, signal\n"
        "if not (child := os.fork()): print('x', end='', flush=True); os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "for number in range(60_000): print('line', number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = lab("run", "-m", "kernel", code)
    assert result.out.removeprefix("x") == "".join(f"line {number}\n" for number in range(60_000))
    job = lab("run", "-m", "kernel", "--detach", "import os\nprint('begun', end='')\nos._exit(0)").out.strip()
    assert lab("job", "wait", job).code == 1
    assert lab("job", "logs", job).out == "begun"


def test_a_kernel_that_its_server_ended_is_lost(lab: Cli, jupyter: JupyterServer) -> None:
    """The code is not to blame, and the next run gets another kernel."""
    process = lab.start("run", "-m", "kernel", "--events", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    assert process.stdout
    process.stdout.readline()
    identity = lab("kernel", "status", "--json").json["kernel"]["id"]
    assert Server(Endpoint(url=jupyter.url, token=jupyter.token)).delete_kernel(identity)
    out, _ = process.communicate(timeout=60)
    document = json.loads(out.splitlines()[-1])
    assert (document["error"]["name"], document["error"]["category"]) == ("KernelLost", "lost")
    assert process.returncode == 74
    assert kernel(lab, "print('alive')")["stdout"] == "alive\n"


def test_restart_from_outside_ends_a_run(lab: Cli) -> None:
    """A kernel that somebody restarts takes the run with it, and the run says so."""
    process = lab.start("run", "-m", "kernel", "--events", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    assert process.stdout
    process.stdout.readline()
    assert lab("kernel", "restart", "--json").json["action"] == "restarted"
    out, _ = process.communicate(timeout=30)
    # Jupyter interrupts a kernel before it ends it; what the code made of that may arrive or not.
    assert json.loads(out.splitlines()[-1])["error"]["name"] in ("KernelDied", "KeyboardInterrupt")
    assert process.returncode == 1


def test_kernel_commands(lab: Cli) -> None:
    """status, interrupt and restart do what they say."""
    kernel(lab, "z = 5")
    assert lab("kernel", "status", "--json").json["kernel"]["state"] in ("idle", "busy")
    busy = lab.start("run", "-m", "kernel", "--events", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    assert busy.stdout
    busy.stdout.readline()
    assert lab("kernel", "interrupt", "--json").json["action"] == "interrupted"
    out, _ = busy.communicate(timeout=30)
    assert busy.returncode == 1
    assert json.loads(out.splitlines()[-1])["error"]["name"] == "KeyboardInterrupt"
    assert kernel(lab, "print(z)")["stdout"] == "5\n"
    assert lab("kernel", "restart").code == 0
    assert kernel(lab, "z")["error"]["name"] == "NameError"


def test_a_single_message_of_30_megabytes(lab: Cli) -> None:
    """No size limit of the client cuts a large rich output."""
    document = kernel(lab, "from IPython.display import HTML\nHTML('x' * 30_000_000)", "--max-output", "0")
    assert len(document["display_data"][0]["data"]["text/html"]) == 30_000_000


def test_human_mode_streams(lab: Cli) -> None:
    """Lines come while the code runs, stdout and stderr apart, and nothing else is on stdout."""
    process = lab.start(
        "run",
        "-m",
        "kernel",
        "import sys, time\nprint('one', flush=True)\nprint('err', file=sys.stderr, flush=True)\ntime.sleep(30)",
    )
    assert process.stdout
    assert process.stderr
    began = time.monotonic()
    assert process.stdout.readline() == b"one\n"
    assert process.stderr.readline() == b"err\n"
    assert time.monotonic() - began < 25
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_redraws_in_a_pipe_show_the_last_state(lab: Cli) -> None:
    """Progress bars and updated displays do not flood a pipe."""
    code = (
        "from IPython.display import display, HTML\n"
        "for i in range(3): print(f'\\r{i}%', end='')\n"
        "print()\n"
        "handle = display('first', display_id=True)\n"
        "handle.update('second')\n"
    )
    result = lab("run", "-m", "kernel", code)
    assert result.out == "2%\n'second'\n"
    document = kernel(lab, code)
    assert document["stdout"] == "2%\n"
    assert [item["data"]["text/plain"] for item in document["display_data"]] == ["'second'"]
    raw = kernel(lab, code, "--raw")
    assert raw["stdout"] == "\r0%\r1%\r2%\n"


def test_clear_output(lab: Cli) -> None:
    """The document shows what a notebook would show at the end."""
    code = "from IPython.display import clear_output\nprint('old')\nclear_output(wait=True)\nprint('new')"
    assert kernel(lab, code)["stdout"] == "new\n"


def test_events_end_with_the_document(lab: Cli) -> None:
    """Every line is JSON, outputs come as events, and the last line is the document."""
    result = lab("run", "-m", "kernel", "--events", "print('a')\nfrom IPython.display import clear_output\n1 + 1")
    lines = [json.loads(line) for line in result.out.splitlines()]
    streams = [line for line in lines if line.get("type") == "stream"]  # one, or two if the kernel was held up
    assert ("".join(line["text"] for line in streams), streams[0]["offset"], streams[-1]["nextOffset"]) == ("a\n", 0, 2)
    assert any(line.get("type") == "display" and line["data"]["text/plain"] == "2" for line in lines)
    assert lines[-1]["status"] == "ok"
    assert lines[-1]["stdout"] == "a\n"


def test_outputs_become_files(lab: Cli, tmp_path: Path) -> None:
    """--outputs writes each rich output and a manifest, and the document lists them."""
    folder = tmp_path / "out"
    code = (
        "import base64\nfrom IPython.display import Image, HTML, display\n"
        "display(Image(base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=')))\n"
        "display(HTML('<b>x</b>'))"
    )
    document = kernel(lab, code, "--outputs", str(folder))
    names = [item["path"] for item in document["outputs"]]
    assert "001.png" in names
    assert "002.html" in names
    assert (folder / "001.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "manifest.json").read_text())["files"] == document["outputs"]


def test_input_from_stdin(lab: Cli) -> None:
    """--stdin answers `input()` line by line; at its end the code is interrupted instead of waiting for ever."""
    document = kernel(lab, "print(input('a? ') + input('b? '))", "--stdin", stdin=b"1\n2\n")
    assert document["stdout"].endswith("12\n")
    assert kernel(lab, "input()", "--stdin", stdin=b"")["status"] == "error"


def test_runs_of_two_clients_queue_and_do_not_mix(lab: Cli) -> None:
    """The kernel works on one after the other; a failure of the first does not abort the second."""
    results: list[dict] = []  # type: ignore[type-arg]

    def run(code: str) -> None:
        results.append(kernel(lab, code))

    threads = [
        threading.Thread(target=run, args=(code,))
        for code in ("import time\ntime.sleep(1)\nprint('A')\n1/0", "print('B')", "print('C')")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((item["status"], item["stdout"]) for item in results) == [
        ("error", "A\n"),
        ("ok", "B\n"),
        ("ok", "C\n"),
    ]


def test_a_request_that_is_dropped_by_anothers_failure(lab: Cli, jupyter: JupyterServer) -> None:
    """A notebook's failing cell aborts what is queued behind it: nothing was executed, and that is what is said."""
    kernel(lab, "ran = False")
    session = lab("status", "--json").json["runtimes"][0]["kernel"]["id"]
    channels = Server(Endpoint(url=jupyter.url, token=jupyter.token)).open_channels(session, "theirs")
    content = {"code": "import time; time.sleep(3); 1/0", "silent": False, "stop_on_error": True, "allow_stdin": False}
    channels.send(messages.request("execute_request", content, session="theirs").frame(channels.subprotocol))
    time.sleep(0.5)
    document = kernel(lab, "ran = True")
    channels.close()
    assert (document["status"], document["errorCode"], document["error"]["name"]) == ("abort", 1999, "Aborted")
    assert document["error"]["retryable"] is True
    assert kernel(lab, "print(ran)")["stdout"] == "False\n"


def test_a_closed_pipe_is_no_crash(lab: Cli) -> None:
    """`run … | head -1` ends quietly with the status of SIGPIPE, and the remote work ends too."""
    process = lab.start("run", "-m", "kernel", "import time\nwhile True: print('x' * 1000); time.sleep(0.01)")
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert not re.search("Traceback|Exception", err), err
    assert kernel(lab, "print('free')")["stdout"] == "free\n"


def test_a_restart_replaces_a_helper_that_is_stuck(lab: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint of an error for a helper that does not answer is true: after `sessions restart`, one does."""
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(lab.home / "config"))
    monkeypatch.setattr("lecoder_cgpu.helper.calls.CALL_LIMIT", 1.0)
    assert lab("run", "-m", "kernel", "1").code == 0
    with SessionManager(Config()).session() as session:
        helper = session.connect_helper()
        stuck = helper.hello().pid
        os.kill(stuck, signal.SIGSTOP)
        with pytest.raises(errors.ConnectionFailed, match="does not answer"):
            helper.hello()
        helper.close()
        session.restart_kernel()
        assert session.connect_helper().hello().pid != stuck
    assert lab("run", "echo again").out == "again\n"


def test_what_a_task_prints_after_its_run(lab: Cli) -> None:
    """It stands with the run that left the task behind, and a later run says so."""
    code = "import asyncio\nasync def f():\n    await go.wait()\n    print('late')\ngo = asyncio.Event()\n"
    run = kernel(lab, code + "t = asyncio.create_task(f())\nprint('first')")["runId"]
    later = kernel(lab, "go.set(); await t\nprint('second')")
    assert (later["stdout"], later["lateOutputOf"]) == ("second\n", [run])
    assert lab("job", "logs", run).out == "first\nlate\n"
    run = kernel(lab, code + "t = asyncio.create_task(f())")["runId"]
    assert f"{run}, which ended before, has printed more" in lab("run", "-m", "kernel", "go.set(); await t").err


def test_what_a_warm_run_imports(lab: Cli) -> None:
    """The path that agents take hundreds of times: neither an HTTP client, nor TLS for a plain address, nor
    the libraries for locks and for WebSockets."""
    kernel(lab, "1")
    found = imported(["run", "-m", "kernel", "1", "--json"], lab.environment())
    heavy = {"asyncio", "difflib", "email", "filelock", "httpx2", "lecoder_cgpu.helper", "nbformat", "packaging"}
    heavy |= {"rich", "ssl", "stamina", "subprocess", "tempfile", "tomllib", "websockets"}
    assert found & heavy == set()
    assert len(found) <= 300
