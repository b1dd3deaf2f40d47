"""Faults on our own side: closed and full streams, signals at any moment, and text that would act on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_documents import validate
from tests.support.cli import Cli

pytestmark = pytest.mark.skipif(os.name != "posix", reason="descriptors and signals are POSIX's")
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full")
CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"


def shell(cli: Cli, line: str) -> tuple[int, str, str]:
    """A line of bash in which `cgpu` is the command line."""
    program = f'cgpu() {{ "{sys.executable}" -m lecoder_cgpu "$@"; }}; set -o pipefail; {line}'
    done = subprocess.run(
        ["bash", "-c", program], env=cli.environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("line", ["--version", "status", "--help", "logs --json"])
def test_an_answer_that_nobody_can_take(cli: Cli, line: str) -> None:
    """A closed stdout is told on stderr, with the status of a transfer that failed."""
    code, _, err = shell(cli, f"cgpu {line} >&-")
    assert code == 74, err
    assert "error: stdout: " in err
    assert "Traceback" not in err


def test_a_failure_that_nobody_can_take(cli: Cli) -> None:
    """It keeps its status, and stderr tells it, with what became of the document."""
    for line, code, told in (("job list --json", 66, "there is no active session"), ("run --json --x", 2, "--x")):
        found, _, err = shell(cli, f"cgpu {line} >&-")
        assert (found, "Traceback" in err) == (code, False), err
        assert told in err
        assert "error: stdout: " in err


@FULL
@pytest.mark.parametrize("line", ["--version", "--help", "run --help", "doctor"])
def test_an_answer_for_which_there_is_no_room(cli: Cli, line: str) -> None:
    code, _, err = shell(cli, f"cgpu {line} > /dev/full")
    assert code == 74
    assert "stdout: No space left on device" in err


def test_nobody_hears_stderr(lab: Cli) -> None:
    """What a command says on a closed stderr is dropped, and it has run."""
    assert shell(lab, "cgpu run 'echo hi; echo e >&2; exit 3' 2>&-")[:2] == (3, "hi\n")
    assert shell(lab, "cgpu run 'cat; echo end' --stdin <&-") == (0, "end\n", "")


@pytest.mark.parametrize("line", ["seq 1 1000000", "yes | head -n 3000000"])
def test_the_reader_leaves(lab: Cli, line: str) -> None:
    """`| head`: the status that the README promises, also when the command had ended by itself."""
    assert shell(lab, f"cgpu run '{line}' | head -n 1; echo ${{PIPESTATUS[0]}}")[1].splitlines()[1] == "141"
    assert shell(lab, "cgpu run --events 'seq 1 1000000' | head -n 1 | wc -l; echo ${PIPESTATUS[0]}")[1].split() == [
        "1", "141",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_first_moment(cli: Cli, number: signal.Signals) -> None:
    """The signal waits while the command line is imported, and is answered with the one document."""
    # The signal comes when the first thing is imported that `run` needs.
    code = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "lecoder_cgpu.cli.main":
            os.kill(os.getpid(), %d)
from lecoder_cgpu.__main__ import run
sys.meta_path.insert(0, Finder())
run()
"""
    done = subprocess.run(
        [sys.executable, "-c", code % number, "status", "--json"], env=cli.environment(), capture_output=True,
        timeout=120, check=False,
    )  # fmt: skip
    document = json.loads(done.stdout)
    validate(document, "failure")
    assert done.returncode == document["exitCode"] == 128 + number
    assert document["error"]["name"] == "Interrupted"


@pytest.mark.parametrize(("signals", "name"), [(1, "SessionNotFound"), (2, "Interrupted")])
def test_a_signal_at_the_last_moment(cli: Cli, signals: int, name: str) -> None:
    """What was decided is said; a second signal ends the cleaning up, and is answered with a document, too."""
    code = """
import os, signal, sys
from lecoder_cgpu.__main__ import run
left = %d
def profile(frame, event, argument):
    global left
    if event == "call" and left and frame.f_code.co_name == "failure_document":
        while left:
            left -= 1
            os.kill(os.getpid(), signal.SIGTERM)
sys.setprofile(profile)
run()
"""
    done = subprocess.run(
        [sys.executable, "-c", code % signals, "status", "-s", "nosuch", "--json"], env=cli.environment(),
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    document = json.loads(done.stdout)
    validate(document, "failure")
    assert (document["error"]["name"], document["exitCode"]) == (name, done.returncode)


def _odd_server(answer: dict[str, Any]) -> Any:
    """A server that answers every request with this failure."""
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_server_writes_no_escape_sequences(cli: Cli) -> None:
    server = _odd_server({"message": f"bad{CLIPBOARD}\u202e\x9b31m"})
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        for mode in ((), ("--json",)):
            result = cli("sessions", "add", "x", "--url", url, *mode)
            assert result.code != 0
            assert not set("\x1b\x07\x9b\u202e") & set(result.out if mode else result.err)
            assert "x1b]52" in result.err or "\\u001b]52" in result.out
    finally:
        server.shutdown()
        server.server_close()


def test_a_runtime_writes_no_escape_sequences(lab: Cli) -> None:
    """Names of files, commands of jobs and the history are text; what the program itself prints is not touched."""
    job = lab("run", "--detach", f"printf '{CLIPBOARD}'; : {CLIPBOARD}").out.strip()
    assert lab("job", "wait", job).code == 0
    assert (
        lab("run", "mkdir -p odd; touch \"$(printf 'odd/a\\033]52;c;eA==\\007')\"; printf '\\033[1m'").out == "\x1b[1m"
    )
    for line in (("job", "list"), ("job", "show", job), ("ls", "odd"), ("logs",), ("logs", "show", job), ("status",)):
        result = lab(*line)
        assert result.code == 0, result
        assert not set("\x1b\x07") & set(result.out + result.err), line
    assert "a\\x1b]52;c;eA==\\x07" in lab("ls", "odd").out
    assert CLIPBOARD in lab("job", "logs", job).out


# --- this machine ---

DEEP = b'{"a":' * 100_000


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("sessions.json", DEEP),
        ("sessions.json", b"\xff\xfe"),
        ("session.json", DEEP),
        ("session.json", b'{"id": "\xff"}'),
        ("keeper.json", DEEP),
        ("token.json", DEEP),
        ("history.jsonl", DEEP + b"\n"),
        ("rates.json", b'{"T4": 1e999}'),
    ],
)
def test_a_state_file_that_makes_no_sense(cli: Cli, file: str, content: bytes) -> None:
    """It is told and set aside, or passed over where it holds nothing that is not made anew; never a bug of ours."""
    cli.state.mkdir(parents=True)
    (cli.state / file).write_bytes(content)
    for line in (
        ("status", "--json"),
        ("logs", "--json"),
        ("auth", "status", "--json"),
        ("keeper", "status", "--json"),
    ):
        result = cli(*line)
        assert result.code in (0, 78), result
        if result.code:
            assert "kept as" in result.json["error"]["message"]
            assert list(cli.state.glob(f"{file}.damaged-*"))
    assert all(path.read_bytes() == content for path in cli.state.glob(f"{file}.damaged-*"))


def test_a_record_with_impossible_numbers(lab: Cli) -> None:
    """It hides no other record, and is written back as it was."""
    path = lab.state / "sessions.json"
    before = path.read_text()
    (record,) = json.loads(before)
    began = 123456789012345678901234567890
    bad = {**record, "id": "bad", "name": "bad", "isActive": False, "lease": {"began": began}}
    try:
        path.write_text(json.dumps([record, bad]))
        listed = lab("sessions", "list", "--json")
        assert [item["name"] for item in listed.json] == [record["name"]]
        assert lab("sessions", "rename", record["name"], "renamed").code == 0
        assert [item.get("lease", {}) for item in json.loads(path.read_text()) if item["id"] == "bad"] == [
            {"began": began}
        ]
        assert lab("doctor", "--json").json["findings"]
    finally:
        path.write_text(before)


def test_a_config_that_is_too_deep(cli: Cli) -> None:
    (cli.home / "config").mkdir()
    (cli.home / "config" / "config.json").write_bytes(DEEP)
    result = cli("status", "--json")
    assert (result.code, result.json["errorCode"]) == (78, 2009)
    assert "is not JSON" in result.json["error"]["message"]


def test_what_a_killed_writer_left_is_removed(lab: Cli) -> None:
    """By the next write of that file, whoever makes it; what may be somebody's stays."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    left, ours, fresh = (
        lab.state / f".sessions.json.{name}" for name in (f"{dead.pid}-abcdefgh", f"{os.getpid()}-abcdefgh", "abcd_fgh")
    )
    for path in (left, ours, fresh):
        path.write_text("a copy with tokens")
        os.utime(path, (1e9, 1e9) if path is not fresh else None)
    (record,) = json.loads((lab.state / "sessions.json").read_text())
    assert lab("sessions", "rename", record["name"], "other").code == 0
    assert lab("sessions", "rename", "other", record["name"]).code == 0
    assert not left.exists()
    assert not ours.exists(), "it is older than anybody writes"
    assert fresh.exists()
    fresh.unlink()


def test_bytes_that_are_no_text(lab: Cli) -> None:
    """A process takes any bytes, as arguments and in variables; where text alone is taken, they are refused."""
    show = "python3 -c 'import os, sys; print(os.fsencode(sys.argv[1]), os.environb.get(b\"A\"))'"
    code, out, err = shell(lab, f"A=$'\\xff' cgpu run -e A -- {show} $'\\xe9'; cgpu run $'printf \\xff' | od -An -tx1")
    assert (code, out) == (0, "b'\\xe9' b'\\xff'\n ff\n"), err
    ran = "A=$'\\xff' cgpu run --json --detach --secret A --key b echo $'\\xe9'"
    first, again = json.loads(shell(lab, ran)[1]), json.loads(shell(lab, ran)[1])
    assert first["jobId"] == again["jobId"]
    listed = json.loads(shell(lab, "cgpu job list --json")[1])["jobs"][0]
    assert listed["command"] == ["echo", "\\xe9"]
    for line in (
        "run -m kernel $'1 # \\xff'",
        "notebook run -e A=$'\\xff' n.ipynb",
    ):
        code, out, _ = shell(lab, f"cd '{lab.home}'; echo '{{\"cells\": []}}' > n.ipynb; cgpu {line} --json")
        assert (code, json.loads(out)["errorCode"]) == (2, 2006), (line, out)


def test_a_machine_that_gives_little(cli: Cli, tmp_path: Path) -> None:
    """Too few descriptors, a folder that is gone: told as that."""
    code, out, err = shell(cli, "ulimit -n 8; cgpu --backend local run --json true")
    assert (code, "ulimit -n 1024" in out) == (78, True), (out, err)
    gone = tmp_path / "gone"
    gone.mkdir()
    code, out, err = shell(cli, f"cd '{gone}'; rmdir '{gone}'; cgpu upload x y --json")
    assert code in (2, 66, 78), (out, err)


def test_an_open_umask(lab: Cli, tmp_path: Path) -> None:
    """Nothing that we write can be written by everybody."""
    page = tmp_path / "report.html"
    assert shell(lab, f"umask 0; cgpu run true; cgpu logs --html '{page}'")[0] == 0
    for path in (page, *lab.state.rglob("*")):
        assert not path.lstat().st_mode & 0o002, path


def test_a_file_of_settings_that_is_not_there(cli: Cli) -> None:
    """Whatever the command is about, the file is named."""
    for line in (("--config", "nope"), ("usage", "--config", "nope")):
        result = cli(*line, "--json")
        assert (result.code, "nope" in result.json["error"]["message"]) == (78, True), result


def test_names_begin_no_line_of_their_own(lab: Cli, tmp_path: Path) -> None:
    """A name with ends of lines in it cannot pass for an error or a hint of ours; what --pull leaves out is told."""
    made = "mkdir -p ends; mkfifo $'ends/a\\nhint: evil'; printf x > $'ends/b\\rerror: evil'; ln -s / ends/out"
    code, out, err = shell(
        lab,
        f"cd '{tmp_path}'; cgpu run --pull ends:got \"{made}\"; cgpu download ends got2; cgpu cat $'x\\nhint: evil'",
    )
    assert (code, "skipped: out: a link that leads out of the folder" in err) == (66, True), err
    assert not [line for line in (out + err).splitlines() if line.startswith(("hint: evil", "error: evil"))]
