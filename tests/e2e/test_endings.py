"""A run that somebody ended has ended when nothing of it lives; one that ends by itself leaves what it wants to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.servers import JupyterServer

LAUNCH = "sleep 7{0}1 & sleep 7{0}2 & setsid sleep 7{0}3 & echo begun; wait"
STUBBORN = "bash -c \"trap '' INT TERM; echo begun; while :; do sleep 0.7{0}; done\" & wait"
ENDS = {"interrupt": (signal.SIGINT, 130), "terminate": (signal.SIGTERM, 143)}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


def alive(tag: int) -> list[str]:
    """The processes of these tests whose times have this number in them."""
    listed = subprocess.run(["ps", "axo", "stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 1) for line in listed.splitlines()]
    ours = [args for stat, args in rows if not stat.startswith("Z") and args.startswith(("sleep 7", "sleep 0.7"))]
    return [args for args in ours if str(tag) in args]


def start(cli: Cli, command: str) -> str:
    result = cli("run", "--detach", command)
    assert result.code == 0, result
    job = result.out.strip()
    wait_for(lambda: "begun" in cli("job", "logs", job).out)
    return job


@pytest.mark.parametrize("command", [LAUNCH, STUBBORN])
@pytest.mark.parametrize("how", ENDS)
def test_ending_the_command_line_ends_the_run(lab: Cli, command: str, how: str) -> None:
    """Ctrl-C and SIGTERM: the whole group and its daemons are gone when the command line answers."""
    tag = 100 + 10 * list(ENDS).index(how) + (command is STUBBORN)
    client = lab.start("run", "--events", command.format(tag), bufsize=0)
    assert client.stdout
    client.stdout.readline()
    number, status = ENDS[how]
    client.send_signal(number)
    out, err = client.communicate(timeout=60)
    if how == "interrupt" or command is STUBBORN:
        assert b"and has not ended yet" in err
    document = json.loads(out.splitlines()[-1])
    validate(document, "run")
    assert client.returncode == document["exitCode"] == status
    assert alive(tag) == []
    assert document["stopped"]["by"] == "interrupt"
    steps = ["SIGTERM", "SIGKILL"] if command is STUBBORN else ["SIGTERM"]
    if how == "interrupt":  # what runs in the background ignores that
        steps.insert(0, "SIGINT")
    assert document["stopped"]["steps"] == steps
    assert "remaining" not in document


def test_job_kill_ends_everything(lab: Cli) -> None:
    """--escalate waits for that; a single signal leaves the job running while anything of it lives."""
    job = start(lab, LAUNCH.format(201))
    killed = lab("job", "kill", "--escalate", "--grace", "1s", job, "--json")
    validate(killed.json, "job")
    assert (killed.code, killed.json["job"]["state"], alive(201)) == (0, "exited", [])
    assert killed.json["job"]["stopped"]["steps"] == ["SIGTERM"]
    job = start(lab, STUBBORN.format(202))
    assert lab("job", "kill", job).code == 0
    wait_for(lambda: "remaining" in lab("job", "show", job, "--json").json["job"])
    shown = lab("job", "show", job, "--json").json
    validate(shown, "job")
    assert shown["job"]["state"] == "running"
    assert "trap" in shown["job"]["remaining"][0]["command"]
    assert "alive     " in lab("job", "show", job).out
    assert lab("job", "wait", job, "--timeout", "0").code == 124
    killed = lab("job", "kill", "--signal", "KILL", job)
    assert killed.code == 0
    done = lab("job", "wait", job, "--json").json
    assert (done["job"]["state"], done["job"]["stopped"]["steps"]) == ("exited", ["SIGTERM", "SIGKILL"])
    assert alive(202) == []
    late = lab("job", "kill", "--signal", "KILL", job)
    assert (late.code, late.out) == (0, f"{job} has ended already\n")


@pytest.mark.parametrize("option", ["--timeout", "--idle-timeout"])
def test_limits_end_everything(lab: Cli, option: str) -> None:
    """The command line says that the command was ended when it is."""
    tag = 301 + len(option)
    result = lab("run", option, "1.5", "--json", LAUNCH.format(tag))
    assert (result.code, alive(tag)) == (75, [])
    assert "was ended" in result.json["error"]["message"]
    assert result.json["stopped"] == {"by": option[2:], "steps": ["SIGTERM"]}


KEPT = "import subprocess; kept = subprocess.Popen(['setsid', 'sleep', '7811'])"
LEAVES = """
import subprocess, time
subprocess.Popen(['setsid', 'sleep', '7812'])
subprocess.Popen('(setsid sleep 7813 &)', shell=True)
subprocess.Popen(['bash', '-c', "trap '' INT; sleep 7814"])
print('begun', flush=True)
time.sleep(100)
"""


def test_ending_code_in_a_kernel_ends_its_daemons(lab: Cli) -> None:
    """What left the kernel's session ends with the code that started it; the rest is named, and what earlier code has
    started lives on."""
    assert lab("run", "-m", "kernel", KEPT).code == 0
    client = lab.start("run", "-m", "kernel", "--events", LEAVES, bufsize=0)
    assert client.stdout
    client.stdout.readline()
    wait_for(lambda: len(alive(781)) == 4)
    client.send_signal(signal.SIGINT)
    out, _ = client.communicate(timeout=60)
    document = json.loads(out.splitlines()[-1])
    validate(document, "run")
    assert (client.returncode, alive(781)) == (130, ["sleep 7811", "sleep 7814"])
    assert [item["command"] for item in document["remaining"]] == ["sleep 7814"]
    assert lab("run", f"pkill -x -f 'sleep 781[14]'; kill {document['remaining'][0]['pid']}; true").code == 0


def test_what_is_left_on_purpose(lab: Cli) -> None:
    """`nohup server &` lives on, is named by `run`, `job show` and `status`, and can be ended later."""
    tag = 401
    result = lab("run", "--json", f"nohup sleep 7{tag} >/dev/null 2>&1 & echo up")
    validate(result.json, "run")
    assert (result.code, result.json["status"], result.json["stdout"]) == (0, "ok", "up\n")
    ((pid, command),) = [(item["pid"], item["command"]) for item in result.json["remaining"]]
    assert command == f"sleep 7{tag}"
    os.kill(pid, 0)
    run = result.json["runId"]
    shown = lab("job", "show", run, "--json").json["job"]
    assert (shown["state"], shown["exitCode"], shown["remaining"]) == ("exited", 0, result.json["remaining"])
    status = lab("status", "--json").json
    validate(status, "status")
    assert {"pid": pid, "command": command, "run": run} in status["runtimes"][0]["remaining"]
    assert f"{pid} {command} (by {run})" in lab("status").out
    killed = lab("job", "kill", "--escalate", run, "--json").json
    assert (killed["sent"], "remaining" in killed["job"], "stopped" in killed["job"]) == (True, False, False)
    assert (killed["signals"], killed["signalled"]) == (["SIGTERM"], result.json["remaining"])
    assert alive(tag) == []
    again = lab("run", "--json", f"nohup sleep 7{tag} >/dev/null 2>&1 &").json
    told = lab("job", "kill", again["runId"]).out
    what = f"SIGTERM sent to what {again['runId']} had left; the job itself had ended before (exit 0):\n"
    assert told.startswith(f"{what}  {again['remaining'][0]['pid']} sleep 7{tag}\n")


def test_closing_a_local_session_ends_its_runs(cli: Cli) -> None:
    """The local server goes, and so does what its runs have started; a program saves its work first."""
    local = ("--backend", "local")
    job = cli(*local, "run", "--detach", LAUNCH.format(501)).out.strip()
    assert cli(*local, "run", f"setsid sleep 7{502} >/dev/null 2>&1 & :").code == 0
    saved = cli.home / "saved"
    save = f"trap 'sleep 1; touch {saved}; exit' TERM; echo begun; while :; do sleep 0.1; done"
    saving = cli(*local, "run", "--detach", save).out.strip()
    for run in (job, saving):
        wait_for(lambda run=run: "begun" in cli(*local, "job", "logs", run).out)  # type: ignore[misc]
    assert len(alive(501)) == 3
    assert len(alive(502)) == 1
    assert cli(*local, "sessions", "close", "--all").code == 0
    assert alive(501) + alive(502) == []
    assert saved.exists()


def test_a_kernel_that_is_killed_takes_its_programs_along(lab: Cli, jupyter: JupyterServer) -> None:
    """What code starts in the background outlives its cell on purpose, and goes with the kernel."""
    marker = Path(jupyter.root) / "kernel-begun"
    code = f"import subprocess\nchild = subprocess.Popen(['sleep', '7601'])\n!sleep 7602; touch {marker}"
    job = lab("run", "--detach", "-m", "kernel", code).out.strip()
    wait_for(lambda: len(alive(601)) == len(alive(602)) == 1)
    assert lab("job", "kill", "--signal", "KILL", job).code == 0
    assert lab("job", "wait", job, "--timeout", "60").code not in (0, 124)
    wait_for(lambda: alive(601) + alive(602) == [])
    assert not marker.exists()


def test_a_close_ends_commands_on_a_server_that_goes_on(lab: Cli) -> None:
    """It names them, they get SIGTERM, and how they ended is in the history."""
    job = start(lab, "trap 'exit 3' TERM; echo begun; sleep 7951 & wait")
    closed = lab("sessions", "close", "--json").json["closed"]
    assert (closed[0]["released"], closed[0]["ended"], alive(7951)) == ("kernels", [job], [])
    (entry,) = [item for item in lab("logs", "--json").json if item.get("runId") == job]
    assert (entry["status"], entry["exitCode"], entry["stopped"]["by"]) == ("error", 3, "close")


def test_a_job_is_found_on_whichever_session_it_is(tmp_path: Path) -> None:
    """Its id is enough, as it is named behind `run --detach`: another session may be the active one by then."""
    cli = Cli(tmp_path, {"LECODER_CGPU_BACKEND": "local"})
    job = cli("run", "--detach", "echo made; exit 3").out.strip()
    cli("sessions", "add", "other", "--root", str(tmp_path))
    assert cli("job", "wait", job).code == 3
    assert f"{job}: exited" in cli("job", "show", job).out
    assert cli("job", "logs", job).out == "made\n"
    assert "has ended already" in cli("job", "kill", job).out
    assert cli("job", "show", "--session", "other", job).code == 66
    cli("sessions", "close", "--all")
