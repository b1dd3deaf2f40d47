"""Scripts and variables of this machine, as users of other tools type them: `run train.py ARGS`, pipes, first lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli

SHOW = "import sys; print(sys.argv[1:], __name__)\nif '--fail' in sys.argv: sys.exit(7)\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text(SHOW)
    (folder / "beside.py").write_text("X = 5\n")
    (folder / "needs.py").write_text("import beside; print(beside.X)\n")
    return folder


def test_a_script_of_this_machine(lab: Cli, project: Path) -> None:
    """It is executed with its arguments and its own exit status, alone or with its folder, watched or as a job."""
    assert lab("run", "train.py", "--epochs", "3").out == "['--epochs', '3'] __main__\n"
    assert lab("run", "./train.py", "--fail").code == 7
    assert lab("run", "--sync", ".", "train.py", "-x").out == "['-x'] __main__\n"
    job = lab("run", "--detach", "--key", "script", "train.py", "a b").out.strip()
    assert lab("job", "wait", "script", "--json").json["stdout"] == "['a b'] __main__\n"
    assert lab("run", "--detach", "--key", "script", "train.py", "a b").out.strip() == job
    alone = lab("run", "needs.py", "--json").json
    assert "run --sync . needs.py" in alone["error"]["suggestion"]
    assert lab("run", "--sync", ".", "needs.py").out == "5\n"
    there = lab("run", "--json", "python", "needs.py").json
    assert "lecoder-cgpu run needs.py" in there["error"]["suggestion"]
    (project.parent / "elsewhere").mkdir()
    outside = lab("run", "--sync", str(project.parent / "elsewhere"), "train.py", "--json")
    assert (outside.code, outside.json["errorCode"]) == (2, 2006)


def test_options_behind_a_script_are_its_own(lab: Cli, project: Path) -> None:
    """That `run` has them as well is said in a line on stderr, and in the document."""
    given = lab("run", "train.py", "--name", "x", "--timeout", "1")
    assert given.out == "['--name', 'x', '--timeout', '1'] __main__\n"
    assert "--name and --timeout go to train.py" in given.err
    answer = lab("run", "--json", "-k", "train.py", "--gpu", "T4").json
    assert (answer["stdout"], "--gpu goes to" in answer["notice"]) == ("['--gpu', 'T4'] __main__\n", True)
    assert lab("run", "train.py", "--", "--json").out == "['--json'] __main__\n"
    taken = lab("run", "train.py", "--json").json
    assert (taken["stdout"], "notice" in taken) == ("[] __main__\n", False)
    (project / "speaks.py").write_text(f"# Usage: [--json]\n{SHOW}")
    speaks = lab("run", "speaks.py", "--epochs", "3", "--json")
    assert (speaks.out, "--json goes to speaks.py" in speaks.err) == ("['--epochs', '3', '--json'] __main__\n", True)
    assert lab("run", "train.py", "--epochs", "3", "--json").json["stdout"] == "['--epochs', '3'] __main__\n"
    inner = lab("run", "--sync", str(project), "beside.py")
    assert inner.code == 0


def test_no_runtime_is_started_for_a_script_that_is_nowhere(colab_cli: Cli, project: Path) -> None:
    for words in (
        ["run", "trian.py"],
        ["run", "--rm", "--gpu", "T4", "trian.py"],
        ["run", "python", "trian.py"],
        ["run", "--detach", "--sync", ".", "python trian.py"],
        ["run", "-k", "trian.py"],
        ["run", "-k", "-f", "trian.py"],
        ["run", "python", "train.py"],
        ["sweep", "-p", "a=1", "-y", "--", "python", "trian.py", "{a}"],
    ):
        answer = colab_cli(*words) if words[0] == "sweep" else colab_cli(words[0], "--json", *words[1:])
        assert answer.code == 66, answer
        assert "-f" in words or "train.py" in answer.out + answer.err, "what was probably meant"
    assert colab_cli("sessions", "list", "--json").json == []
    assert colab_cli("run", "--cpu", "--", "trian.py").code == 127
    assert "did you mean train.py" in colab_cli("run", "trian.py").err
    colab_cli("sessions", "close", "--all")


def test_a_script_in_another_coding(lab: Cli, project: Path) -> None:
    """Python itself reads it; the kernel takes text alone, and says so."""
    (project / "latin.py").write_bytes(b"# coding: latin-1\nprint(ascii('\xe9'))\n")
    assert lab("run", "latin.py").out == "'\\xe9'\n"
    assert lab("run", "-k", "latin.py").code == 2


def test_a_script_in_the_kernel(lab: Cli, project: Path) -> None:
    """`--` and the name of a script give it arguments; without them, two codes are refused as ever. So for jobs."""
    for words in (["-m", "kernel", "-f", "train.py", "--", "--epochs", "3"], ["-k", "train.py", "--", "--epochs", "3"]):
        assert lab("run", *words).out == "['--epochs', '3'] __main__\n"
    assert lab("run", "-k", "train.py", "a").out == "['a'] __main__\n"
    assert lab("run", "-m", "kernel", "-f", "train.py", "print(1)").code == 2
    assert lab("run", "-k", "--detach", "-f", "train.py", "--", "a").code == 0
    for words in (["-f", "-", "--", "--epochs", "3"], ["-", "--", "--epochs", "3"]):
        assert lab("run", "-m", "kernel", *words, stdin=SHOW.encode()).out == "['--epochs', '3'] __main__\n"


def test_a_first_line_that_calls_us(lab: Cli, project: Path) -> None:
    """`#!/usr/bin/env -S lecoder-cgpu run`: what follows is the script's, whatever it looks like."""
    script = project / "sweep"
    script.write_text(f"#!/usr/bin/env -S lecoder-cgpu run\n{SHOW}")
    script.chmod(0o755)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["./sweep", "--json", "--timeout", "3"], env=lab.environment({"PATH": path}), capture_output=True, timeout=120
    )
    assert ended.stdout == b"['--json', '--timeout', '3'] __main__\n", ended


def test_a_program_of_this_machine_that_was_not_sent(lab: Cli, project: Path) -> None:
    """It is said that it is here, with the command that sends it, and that one works."""
    (project / "s.sh").write_text('echo "got $1"')
    for words in (["s.sh", "a"], ["./s.sh", "a"], ["bash", "s.sh", "a"]):
        failed = lab("run", "--json", *words)
        assert failed.code == 127
        advice = failed.json["error"]["suggestion"]
        assert ("s.sh is on this machine" in advice, "did you mean" in advice) == (True, False)
    sent = advice.rpartition("lecoder-cgpu ")[2].split()
    assert lab(*sent).out == "got a\n"
    for words in (["print(6*7)"], ["import", "os"]):
        assert "run -m kernel" in lab("run", "--json", *words).json["error"]["suggestion"]


def test_stdin_that_is_not_sent_is_told(lab: Cli, tmp_path: Path) -> None:
    """Once, and only where something is there: neither an idle pipe is waited for, nor anything read."""
    told = lab("run", "cat", stdin=b"data")
    assert (told.code, told.out, told.err.count("stdin is not sent; add --stdin")) == (0, "", 1)
    assert lab("run", "--stdin", "cat", stdin=b"data").err == ""
    (tmp_path / "empty").touch()
    read, write = os.pipe()
    with open(tmp_path / "empty", "rb") as empty, os.fdopen(read, "rb") as idle, os.fdopen(write, "wb"):
        for stdin in (empty, idle):
            process = lab.start("run", "true", stdin=stdin)
            assert process.communicate(timeout=120) == (b"", b"")


def test_code_through_a_pipe(lab: Cli) -> None:
    assert lab("run", "-m", "kernel", stdin=b"print(6*7)\n").out == "42\n"
    assert lab("run", stdin=b"for i in 1 2\ndo echo $i\ndone\n").out == "1\n2\n"
    python = lab("run", stdin=b"print(6*7)\n")
    assert "Python is run with -m kernel: lecoder-cgpu run -m kernel -f -" in python.err
    nothing = lab("run", "-m", "kernel", stdin=b"")
    assert (nothing.code, "there is no code" in nothing.err) == (2, True)
    assert lab("run").code == 2, "/dev/null is not waited for"


def test_variables_of_files(lab: Cli, project: Path) -> None:
    """--env-file and --secrets-file: options win over files, and secrets are written down nowhere."""
    (project / ".env").write_text("A=1\nexport B='two words'\nC=${A}${NOWHERE:-x}\n")
    (project / "secrets").write_text("TOKEN=hf_s3cr3t_value\n")
    words = ["--env-file", ".env", "--env", "A=9", "--secrets-file", "secrets"]
    result = lab("run", *words, 'echo "$A/$B/$C/${#TOKEN}"')
    assert result.out == "9/two words/1x/15\n", result
    leak = lab("run", "--secrets-file", "secrets", "echo $TOKEN >&2; exit 3", "--json")
    assert "hf_s3cr3t_value" not in lab("logs", "-n", "3", "--json").out
    assert leak.code == 3
    sent = lab("run", "--sync", ".", "--secrets-file", "./secrets", "ls; echo ${#TOKEN}", "--json").json
    assert "secrets" not in sent["stdout"].split()
    assert (sent["stdout"].split()[-1], sent["notice"]) == ("15", "not sent, because it holds secrets: secrets")
    missing = lab("run", "--env-file", "nowhere.env", "true", "--json")
    assert (missing.code, missing.json["errorCode"]) == (66, 2005)
    bad = lab("run", "--secrets-file", "train.py", "true")
    assert (bad.code, "line 1" in bad.err) == (2, True)


def test_what_a_header_asks_for(lab: Cli, project: Path) -> None:
    """A header that makes no sense is refused before anything; what it asks for is there before the script runs."""
    (project / "bad.py").write_text("# /// script\n# dependencies = 3\n# ///\n")
    for words in (["bad.py"], ["-m", "kernel", "-f", "bad.py"]):
        assert lab("run", *words, "--json").json["errorCode"] == 2006
    (project / "good.py").write_text('# /// script\n# dependencies = ["msgspec"]\n# ///\nimport msgspec; print("in")\n')
    assert lab("run", "good.py").out == "in\n"
    assert lab("run", "-k", "good.py").out == "in\n"
    (project / "never.py").write_text('# /// script\n# dependencies = ["msgspec>99999"]\n# ///\nprint("never")\n')
    never = (project / "never.py").read_bytes()
    for failed in (
        lab("run", "never.py", "--json"),
        lab("run", "-k", "--json", stdin=never),
        lab("run", "-k", "-f", "-", "--json", stdin=never),
        lab("run", "-k", never.decode(), "--json"),
    ):
        assert (failed.code, failed.json["errorCode"], failed.json.get("stdout", "")) == (1, 1005, "")


def test_a_script_for_another_python_is_told(lab: Cli, project: Path) -> None:
    """It is run all the same: nobody but its author knows what the difference means."""
    (project / "new.py").write_text('# /// script\n# requires-python = ">=3.99"\n# ///\nprint("ran")\n')
    for words in (["new.py"], ["-k", "new.py"]):
        run = lab("run", *words, "--json")
        assert (run.code, run.json["stdout"]) == (0, "ran\n")
        assert "new.py asks for Python >=3.99, and the runtime has 3." in run.json["notice"]
    (project / "any.py").write_text('# /// script\n# requires-python = ">=3.8"\n# ///\nprint("ran")\n')
    assert "notice" not in lab("run", "any.py", "--json").json
