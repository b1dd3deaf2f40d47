"""The local backend: started on first use, found again, one server however many ask, and no process left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.system import process_identity
from tests.support.cli import Cli


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Cli]:
    """The command line with the local backend chosen; what it started is ended afterwards, and that is checked."""
    command = Cli(tmp_path, {"LECODER_CGPU_BACKEND": "local"})
    yield command
    closed = command("sessions", "close", "--all")
    assert closed.code == 0, closed
    assert processes_of(tmp_path) == [], closed


def processes_of(folder: Path) -> list[int]:
    """Every living process with that folder in its environment or arguments: servers, kernels, supervisors."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        pid = int(path.name)
        if str(folder / "config").encode() in text and pid != os.getpid() and process_identity.of(pid):
            found.append(pid)
    return found


def server_record(command: Cli) -> tuple[Path, dict]:  # type: ignore[type-arg]
    (path,) = command.state.glob("local/*/server.json")
    return path, json.loads(path.read_text())


def test_the_first_command_of_the_readme(local: Cli) -> None:
    """Start, run, find again, run with the same variables, list, close."""
    first = local("run", "-m", "kernel", "x = 6; print(x*7)", "--json", env={"LECODER_CGPU_BACKEND": ""})
    assert first.json["errorCode"] == 2001  # Colab is the default, and nothing else is started by guess
    first = local("--backend", "local", "run", "-m", "kernel", "x = 6; print(x*7)", "--json")
    assert first.json["stdout"] == "42\n"
    _, record = server_record(local)
    assert local("run", "-m", "kernel", "print(x)").out == "6\n"
    token = local("run", "-m", "kernel", "import os; print(os.environ.get('JUPYTER_TOKEN'))")
    assert token.out == "None\n"  # that of its server is nobody's output
    assert server_record(local)[1]["pid"] == record["pid"]
    (listed,) = local("sessions", "list", "--json").json
    assert (listed["name"], listed["backend"], listed["status"]) == ("local", "local", "active")
    # The session is the active one now, so that no option is needed any more.
    assert local("run", "echo hi", env={"LECODER_CGPU_BACKEND": ""}).out == "hi\n"
    assert local("sessions", "close", "--json").json["closed"][0]["released"] == "server"
    assert process_identity.of(record["pid"]) is None


def test_output_is_complete(local: Cli) -> None:
    """On our own server nothing is dropped: 3 MB at once, 100 MB, 200,000 lines, 5,000 flushed prints."""
    for code, size in (
        ("print('x' * 3_000_000)", 3_000_001),
        ("for i in range(100): print('x' * 999_999)", 100_000_000),
        ("for i in range(200_000): print(i)", 1_288_890),
        ("for i in range(5_000): print(i, flush=True)", 23_890),
    ):
        document = local("run", "-m", "kernel", code, "--json", "--max-output", "0").json
        assert (len(document["stdout"]), document["outputComplete"]) == (size, True)


def test_many_at_once_share_one_server(local: Cli) -> None:
    """Twenty first commands at the same time start one server and store one session."""
    commands = [local.start("run", "-m", "kernel", f"print({number})") for number in range(20)]
    for number, command in enumerate(commands):
        out, err = command.communicate(timeout=150)
        assert (command.returncode, out.decode()) == (0, f"{number}\n"), err
    assert len(local("sessions", "list", "--json").json) == 1
    assert len(list(local.state.glob("local/*/server.json"))) == 1


def test_a_stale_record_is_no_server(local: Cli) -> None:
    """After a reboot, or when the process id belongs to something else, a new server is started and that is said."""
    local("run", "-m", "kernel", "x = 1")
    path, record = server_record(local)
    os.kill(record["pid"], signal.SIGKILL)
    wait_until_gone(record["pid"])
    path.write_text(json.dumps({**record, "pid": os.getpid()}))  # a process that lives, but is not the server
    assert local("sessions", "list", "--json").json[0]["status"] == "stale"
    assert local("status", "--json").json["runtimes"][0]["connected"] is False
    again = local("run", "-m", "kernel", "print(2)", "--json")
    assert again.json["stdout"] == "2\n"
    assert "a new one was started" in again.json["notice"]
    assert "a new one was started" in again.err


def test_a_server_that_is_killed_in_the_middle(local: Cli) -> None:
    """The run says that its runtime is lost, with what had come; the next run has a new one."""
    process = local.start("run", "-m", "kernel", "--events", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    assert process.stdout
    process.stdout.readline()
    _, record = server_record(local)
    kernels = process_identity.children(record["pid"])
    os.kill(record["pid"], signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    document = json.loads(out.splitlines()[-1])
    assert (document["errorCode"], process.returncode, document["status"]) == (2004, 74, "unknown")
    assert document["stdout"] == "begun\n"
    for kernel in kernels:
        with contextlib.suppress(ProcessLookupError):
            os.kill(kernel, signal.SIGKILL)
    assert local("run", "-m", "kernel", "print(1)").code == 0


def test_clean_forgets_what_is_gone(local: Cli) -> None:
    """A dry run tells, the real one removes."""
    local("run", "true")
    _, record = server_record(local)
    local_ids = [item["id"] for item in local("sessions", "list", "--json").json]
    assert local("sessions", "clean", "--json").json["removed"] == []
    for pid in (record["pid"], *process_identity.children(record["pid"])):
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
    assert local("sessions", "clean", "--dry-run", "--json").json["removed"] == local_ids
    assert local("sessions", "clean", "--json").json["removed"] == local_ids
    assert local("sessions", "list", "--json").json == []


def test_a_second_runtime_and_a_folder_of_choice(local: Cli, tmp_path: Path) -> None:
    """--new-runtime is really new; --root is where code runs; sessions are chosen by name and switched."""
    local("run", "-m", "kernel", "x = 'first'")
    assert local("run", "--new-runtime", "-m", "kernel", "print('x' in dir())").out == "False\n"
    root = tmp_path / "my work"
    root.mkdir()
    assert local("sessions", "add", "mine", "--root", str(root)).code == 0
    assert local("run", "pwd").out == f"{root}\n"
    assert local("run", "-m", "kernel", "import os; print(os.getcwd())").out == f"{root}\n"
    assert local("run", "-s", "local", "-m", "kernel", "print(x)").out == "first\n"
    assert local("sessions", "switch", "local-2", "--json").json["switched"] is True
    assert [item["name"] for item in local("sessions", "list", "--json").json if item["isActive"]] == ["local-2"]
    assert len(local("status", "--json").json["runtimes"]) == 3
    assert local("sessions", "add", "mine", "--root", str(root)).code == 2


def test_install_then_run(local: Cli, tmp_path: Path) -> None:
    """What `pip` installs in a process run, the kernel imports at once."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "made"\nbackend-path = ["."]\n'
        '[project]\nname = "made"\nversion = "1"\n'
    )
    (package / "made.py").write_text(BACKEND)
    target = tmp_path / "site"
    target.mkdir()
    missing = local(
        "run", "-m", "kernel", f"import sys; sys.path.append({str(target)!r}); import lecoder_made", "--json"
    )
    assert missing.json["errorCode"] == 1005
    installed = local("run", f"pip install --no-index --no-build-isolation --target '{target}' '{package}'", "--json")
    assert installed.code == 0, installed.json
    assert local("run", "-m", "kernel", "import lecoder_made; print(lecoder_made.ANSWER)").out == "42\n"


# The smallest build backend there is: a wheel with one module, made without fetching anything.
BACKEND = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "made-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("lecoder_made.py", "ANSWER = 42\\\\n")
        wheel.writestr("made-1.dist-info/METADATA", "Metadata-Version: 2.1\\\\nName: made\\\\nVersion: 1\\\\n")
        about = "Wheel-Version: 1.0\\\\nGenerator: made\\\\nRoot-Is-Purelib: true\\\\nTag: py3-none-any\\\\n"
        wheel.writestr("made-1.dist-info/WHEEL", about)
        wheel.writestr("made-1.dist-info/RECORD", "")
    return name
""".replace("\\\\n", "\\n")


def test_a_start_that_fails_leaves_nothing(local: Cli) -> None:
    """The error shows the end of the server's log; no process and no record stay."""
    broken = local.home / "broken"
    (broken / "jupyter_server").mkdir(parents=True)
    (broken / "jupyter_server" / "__init__.py").write_text("")
    (broken / "jupyter_server" / "serverapp.py").write_text("raise SystemExit('cannot start today')")
    result = local("run", "-m", "kernel", "1", "--json", env={"PYTHONPATH": str(broken)})
    assert (result.json["errorCode"], result.code) == (2003, 69), result
    assert "cannot start today" in result.json["error"]["message"]
    assert not list(local.state.glob("local/*/server.json"))
    assert processes_of(local.home) == []
    assert local("sessions", "list", "--json").json == []


def test_a_client_that_is_killed_while_it_starts_the_server(local: Cli) -> None:
    """Whoever comes next takes over or starts anew; there is never a second server."""
    for delay in (0.25, 0.5, 0.9):
        client = local.start("run", "-m", "kernel", "print(1)")
        time.sleep(delay)
        client.kill()
        client.communicate()
    assert local("run", "-m", "kernel", "print(1)").out == "1\n"
    _, record = server_record(local)
    servers = [pid for pid in processes_of(local.home) if b"local_server" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert servers == [record["pid"]]


def test_ctrl_c_while_it_starts(local: Cli) -> None:
    """The half-started server is ended, the document printed, the exit status 130."""
    client = local.start("run", "-m", "kernel", "print(1)", "--json")
    deadline = time.monotonic() + 20
    while not list(local.state.glob("local/*/server.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    client.send_signal(signal.SIGINT)
    out, err = client.communicate(timeout=60)
    assert client.returncode == 130, (out, err)
    assert json.loads(out)["exitCode"] == 130
    assert processes_of(local.home) == []


SCRIPT = """
import subprocess, json

def run_gpu(code, retries=3):
    for i in range(retries):
        result = subprocess.run(
            ["lecoder-cgpu", "run", "-m", "kernel", "--json", code],
            capture_output=True, text=True
        )
        data = json.loads(result.stdout)
        if data["errorCode"] == 0:
            return data
        if data["error"]["category"] not in ["timeout", "io", "unknown"]:
            break  # Non-retryable
    return data
"""


def test_the_retry_script_of_the_reference_page(local: Cli) -> None:
    """Pasted unchanged, with the backend chosen in the environment, it gets a document whatever happens."""
    cases = {
        "print(1)": 0,
        "1 +": 1001,
        "import surely_not_there": 1005,
        "x = [0] * 10**15": 1004,
        "raise TimeoutError": 1003,
        "raise ConnectionError": 1006,
        "1/0": 1002,
        # The retries of the script find a new server after each kill.
        "import os, time; os.kill(int(os.environ['JPY_PARENT_PID']), 9); time.sleep(30)": 2004,
        "print(2)": 0,
    }
    program = SCRIPT + f"\nprint(json.dumps([run_gpu(code)['errorCode'] for code in {list(cases)!r}]))"
    environment = local.environment({"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"})
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == list(cases.values())


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while process_identity.of(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process_identity.of(pid) is None
