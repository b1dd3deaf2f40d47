"""`run` in terminal mode against a stock jupyter_server: what a shell script would do, with its true status."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli


@pytest.fixture(scope="module", autouse=True)
def _warm(lab: Cli) -> None:
    """Start the helper once."""
    assert lab("run", "true").code == 0


def run(cli: Cli, *arguments: str, stdin: bytes | None = None) -> dict[str, Any]:
    """The document of one process run."""
    result = cli("run", "--json", *arguments, stdin=stdin)
    document: dict[str, Any] = result.json
    assert document["exitCode"] == result.code, result
    assert (result.code == 0) == (document["status"] == "ok")
    return document


def test_streams_are_apart_and_the_status_is_true(lab: Cli) -> None:
    """stdout, stderr and the exit status are those of the program."""
    document = run(lab, "echo out; echo err >&2; exit 7")
    assert (document["stdout"], document["stderr"], document["exitCode"]) == ("out\n", "err\n", 7)
    assert document["errorCode"] == 1002
    assert document["error"]["category"] == "runtime"
    assert document["timing"]["duration_ms"] >= 0
    result = lab("run", "echo out; echo err >&2; exit 7")
    assert (result.code, result.out, result.err) == (7, "out\n", "err\n")


@pytest.mark.parametrize(
    ("command", "stdout"),
    [
        ('echo "wow!mom"', "wow!mom\n"),
        ("echo a\n\necho b\n", "a\nb\n"),
        ("cat <<'X'\nline $HOME\n\nexit\nlogout\nX", "line $HOME\n\nexit\nlogout\n"),
        ('echo "it\'s" \'a "quote"\'', 'it\'s a "quote"\n'),
        ("for i in 1 2; do echo $i; done | tac", "2\n1\n"),
        ("echo x | tee /dev/stderr", "x\n"),
        ("echo first; echo second > /dev/stdout", "first\nsecond\n"),
        ("[[ a == a ]] && echo bash", "bash\n"),
        ("cat", ""),
        ("python - <<'X'\nprint('py')\nX", "py\n"),
        ("test -t 0 || test -t 1 || echo none", "none\n"),
    ],
)
def test_shell_lines(lab: Cli, command: str, stdout: str) -> None:
    """Quotes, here-documents, blank lines, `!`, redirections: as in a shell script."""
    assert run(lab, command)["stdout"] == stdout


def test_several_words_are_a_program_with_arguments(lab: Cli) -> None:
    """No shell touches them."""
    document = run(lab, "--", "python", "-c", "import sys; print(sys.argv[1:])", "$HOME", "a b", "*", "--json")
    assert document["stdout"] == "['$HOME', 'a b', '*', '--json']\n"


@pytest.mark.parametrize(
    ("command", "code", "name"),
    [("kill -9 $$", 137, "SIGKILL"), ("kill -TERM $$", 143, "SIGTERM"), ("kill -SEGV $$", 139, "SIGSEGV")],
)
def test_signals(lab: Cli, command: str, code: int, name: str) -> None:
    """A signal is 128 + its number, and named."""
    document = run(lab, command)
    assert (document["exitCode"], document["signal"]) == (code, name)


def test_missing_and_unusable_programs(lab: Cli, tmp_path: Path) -> None:
    """127 and 126 with a message, as a shell has it, also without a shell."""
    document = run(lab, "surely-not-there")
    assert document["exitCode"] == 127
    assert "surely-not-there" in document["error"]["message"]
    document = run(lab, "surely-not-there", "x")
    assert (document["exitCode"], document["stderr"]) == (127, "surely-not-there: command not found\n")
    plain = tmp_path / "plain"
    plain.write_text("echo from sh $1\n")
    assert run(lab, str(plain), "x")["exitCode"] == 126
    plain.chmod(0o755)
    assert run(lab, str(plain), "x")["stdout"] == "from sh x\n"


def test_bytes_pass_untouched(lab: Cli) -> None:
    """Output that is no text arrives byte for byte; in JSON, the exact bytes stand beside the readable form."""
    code, out, _ = lab.raw("run", r"printf '\xff\xfe\0\r\n\033[31mred'")
    assert (code, out) == (0, b"\xff\xfe\0\r\n\x1b[31mred")
    document = run(lab, r"printf '\xff\0x'")
    assert base64.b64decode(document["stdoutBase64"]) == b"\xff\0x"
    assert "stdoutBase64" not in run(lab, "echo ü")


def test_a_hundred_megabytes(lab: Cli) -> None:
    """Everything arrives, whatever the server's rate limits."""
    code, out, _ = lab.raw("run", "head -c 100000000 /dev/zero | tr '\\0' x; echo end >&2")
    assert code == 0
    assert len(out) == 100_000_000
    assert hashlib.md5(out).hexdigest() == hashlib.md5(b"x" * 100_000_000).hexdigest()


def test_stdin(lab: Cli) -> None:
    """Closed unless it is forwarded; forwarded, it arrives whole, end included."""
    assert run(lab, "cat", stdin=b"ignored")["stdout"] == ""
    data = os.urandom(3_000_000)
    code, out, _ = lab.raw("run", "--stdin", "cat", stdin=data)
    assert code == 0
    assert out == data
    code, out, _ = lab.raw("run", "--stdin", "head -c 4", stdin=data)
    assert (code, out) == (0, data[:4])


def test_cwd_env_and_secrets(lab: Cli, tmp_path: Path) -> None:
    """They reach the command; a secret reaches nothing else."""
    document = run(lab, "--cwd", str(tmp_path), "-e", "A=1", "--env", "B=x=y", "pwd; echo $A $B")
    assert document["stdout"] == f"{tmp_path}\n1 x=y\n"
    secret = "s3cret-" + os.urandom(6).hex()
    result = lab(
        "run", "--secret", "MY_TOKEN", "echo ${#MY_TOKEN}; echo $MY_TOKEN >&2", "--json", env={"MY_TOKEN": secret}
    )
    assert result.json["stdout"] == f"{len(secret)}\n"
    piped = lab("run", "--secret", "MY_TOKEN=-", "echo ${#MY_TOKEN}", stdin=secret.encode() + b"\n")
    assert piped.out == f"{len(secret)}\n"
    for path in lab.home.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    given = lab("run", "--secret", f"MY_TOKEN={secret}", "true", "--json")
    assert (given.code, given.json["error"]["name"]) == (2, "SecretInArguments")
    assert secret not in given.out + given.err


def test_python_and_pip_are_those_of_the_kernel(lab: Cli) -> None:
    """What `pip` installs in a process run, the kernel can import."""
    kernel = lab("run", "-m", "kernel", "import sys; print(sys.executable)").out
    assert run(lab, "python -c 'import sys; print(sys.executable)'")["stdout"] == kernel
    assert str(Path(kernel.strip()).parent.parent) in run(lab, "pip --version")["stdout"]


def test_no_notebook_settings_leak(lab: Cli) -> None:
    """The command's environment is not that of a notebook cell."""
    names = run(lab, "env | grep -v ^LECODER_CGPU_RUN=")["stdout"]
    for name in ("JPY_", "MPLBACKEND=module", "CLICOLOR", "LECODER_CGPU", "JUPYTER_TOKEN"):
        assert name not in names


def test_it_works_while_the_kernel_is_busy(lab: Cli) -> None:
    """A process run does not wait for the kernel."""
    busy = lab.start("run", "-m", "kernel", "--events", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    assert busy.stdout
    busy.stdout.readline()
    assert run(lab, "echo meanwhile")["stdout"] == "meanwhile\n"
    busy.send_signal(signal.SIGINT)
    busy.communicate(timeout=30)


def test_background_children_do_not_hold_it_up(lab: Cli) -> None:
    """The run is over when the command is, as in a shell script."""
    began = time.monotonic()
    assert run(lab, "sleep 60 & echo started")["stdout"] == "started\n"
    assert time.monotonic() - began < 30
    run(lab, "pkill -f 'sleep 60' || true")


def test_output_streams(lab: Cli) -> None:
    """Output is there while the command still runs."""
    process = lab.start("run", "echo one; sleep 60")
    assert process.stdout
    assert process.stdout.readline() == b"one\n"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_time_limits(lab: Cli) -> None:
    """The command and its children are ended, and the output so far is there."""
    document = run(lab, "--timeout", "1", "echo begun; sleep 60 | cat")
    assert (document["exitCode"], document["errorCode"], document["timedOut"]) == (75, 1003, True)
    assert document["stdout"] == "begun\n"
    result = lab("run", "--json", "--timeout", "1", "(trap '' INT TERM; sleep 61) & echo begun; sleep 60")
    left = result.json
    assert left["exitCode"] == result.code == 75
    assert "its time was up, and has not ended yet" in result.err
    # What ignores SIGTERM is killed half a minute later, and the command has ended then.
    assert left["stopped"] == {"by": "timeout", "steps": ["SIGTERM", "SIGKILL"]}
    assert run(lab, "pgrep -fx 'sleep 61' || echo none")["stdout"] == "none\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_to_the_client_end_the_command(lab: Cli, number: signal.Signals, status: int) -> None:
    """The remote command gets it (SIGTERM for a hang-up), the document is printed, the exit status says why."""
    process = lab.start("run", "--events", "echo $$; exec sleep 60")
    assert process.stdout
    pid = json.loads(process.stdout.readline())["text"].strip()
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    document = json.loads(out.splitlines()[-1])
    assert document["signal"] == ("SIGINT" if number == signal.SIGINT else "SIGTERM")  # the first step was enough
    assert document["stopped"] == {"by": "interrupt", "steps": [document["signal"]]}
    assert process.returncode == status
    assert (document["exitCode"], document["interrupted"]) == (status, True)
    assert not Path(f"/proc/{pid}").exists()


def test_a_closed_pipe_ends_the_command(lab: Cli) -> None:
    """`run … | head -1` ends with the status of SIGPIPE, and does not leave the command running."""
    process = lab.start("run", "echo $$; exec yes")
    assert process.stdout
    pid = process.stdout.readline().decode().strip()
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read().endswith(b"interrupted\n")
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert not Path(f"/proc/{pid}").exists()


def test_python_failures_in_a_process_are_classified(lab: Cli) -> None:
    """A traceback on stderr says more than an exit status."""
    document = run(lab, "python", "-c", "import cv2_not_there")
    assert (document["errorCode"], document["error"]["name"], document["exitCode"]) == (1005, "ModuleNotFoundError", 1)
    assert document["error"]["suggestion"].startswith("pip install")
    assert run(lab, "python -c 'raise MemoryError'")["errorCode"] == 1004
    assert run(lab, "python -c '1 +'")["errorCode"] == 1001


def test_carriage_returns_in_documents(lab: Cli) -> None:
    """A progress bar is one line in the document; --raw keeps all of it."""
    assert run(lab, r"printf '1%%\r2%%\n'")["stdout"] == "2%\n"
    assert run(lab, "--raw", r"printf '1%%\r2%%\n'")["stdout"] == "1%\r2%\n"


def test_the_helper_may_be_killed(lab: Cli) -> None:
    """The command survives its helper, the client finds it again, and nothing is lost or run twice."""
    process = lab.start("run", "--json", "for i in $(seq 1 40); do echo $i; sleep 0.1; done")
    time.sleep(1.5)
    # The parent of the shell is its supervisor, and the parent of that is the helper's kernel.
    killed = run(lab, "helper=$(ps -o ppid= -p $PPID); ps -o args= -p $helper; kill -9 $helper; sleep 1; echo alive")
    assert "ipykernel" in killed["stdout"]
    assert killed["stdout"].endswith("alive\n")
    out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert document["status"] == "ok", (document, err)
    assert document["stdout"].split() == [str(number) for number in range(1, 41)]


def test_a_command_from_stdin(lab: Cli) -> None:
    """Without words, what comes through a pipe is the shell command; `-` says that, for it could mean other things."""
    assert run(lab, stdin=b"echo a\necho b\n")["stdout"] == "a\nb\n"
    refused = lab("run", "-", "--json", stdin=b"echo a")
    assert (refused.code, "through a pipe without it" in refused.json["error"]["suggestion"]) == (2, True)


def test_thirty_at_once(lab: Cli) -> None:
    """Many clients share one helper and none gets another's output."""
    clients = [
        lab.start("run", f"for i in 1 2 3; do echo {number}-$i; sleep 0.05; done; exit {number}")
        for number in range(30)
    ]
    for number, client in enumerate(clients):
        out, err = client.communicate(timeout=120)
        assert out.decode().split() == [f"{number}-{i}" for i in (1, 2, 3)], err
        assert client.returncode == number
