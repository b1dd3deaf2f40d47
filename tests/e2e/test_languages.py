"""Kernels of other languages: chosen by name, kept with the session, run, left alone, interrupted, in notebooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from lecoder_cgpu import Client, errors
from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.kernels import BASH, LATE, R, install
from tests.support.servers import JupyterServer, start_server
from tests.support.wait import wait_until

pytest.importorskip("bash_kernel", reason="bash_kernel is not installed here")

PYTHON = "python3"


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A stock server with kernels of three languages."""
    home = tmp_path_factory.mktemp("polyglot")
    install(home)
    with start_server(home) as server:
        yield server


@pytest.fixture(scope="module")
def shared(polyglot: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A session on it, whose kernel each test chooses by name."""
    return with_session(polyglot, tmp_path_factory.mktemp("shared"))


def with_session(server: JupyterServer, home: Path, *options: str) -> Cli:
    cli = Cli(home)
    token = server.token.encode()
    added = cli("sessions", "add", home.name, "--url", server.url, "--token-stdin", *options, stdin=token)
    assert added.code == 0, added
    return cli


def write(path: Path, kernel: str | None, *sources: str, language: str | None = None) -> Path:
    """A notebook whose first cell is tagged `parameters`."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    content = nbformat.v4.new_notebook(cells=cells)
    if kernel is not None:
        content.metadata["kernelspec"] = {"name": kernel, "display_name": kernel}
        if language is not None:
            content.metadata["kernelspec"]["language"] = language
    nbformat.write(content, path)
    return path


def texts(path: Path) -> list[str]:
    """What each code cell of a notebook has printed."""
    content: Any = nbformat.read(path, as_version=4)
    return ["".join(item.get("text", "") for item in cell.outputs) for cell in content.cells]


def test_a_kernel_is_chosen_and_kept(polyglot: JupyterServer, tmp_path: Path) -> None:
    """The kernels are listed; a choice holds for later runs, and going back finds the variables."""
    cli = with_session(polyglot, tmp_path)
    listed = cli("kernel", "list", "--json").json
    validate(listed, "kernel-list")
    kernels = {item["name"]: item for item in listed["kernels"]}
    assert (kernels[BASH]["language"], kernels[R]["language"]) == ("bash", "r")
    assert kernels[PYTHON]["isDefault"]
    assert kernels[PYTHON]["isChosen"]
    assert cli("run", "-m", "kernel", "x = 5; print(x)").out == "5\n"
    chosen = cli("run", "-m", "kernel", "--kernel-name", BASH, "y=7; echo $((6*y))")
    assert (chosen.out, chosen.code) == ("42\n", 0)
    assert f"uses kernel {BASH} from now on" in chosen.err
    assert cli("run", "-m", "kernel", "echo $y").out == "7\n"
    status = cli("kernel", "status", "--json").json["kernel"]
    assert (status["name"], status["language"]) == (BASH, "bash")
    assert cli("run", "-m", "kernel", "--kernel-name", PYTHON, "print(x)").out == "5\n"
    states = {item["name"]: item.get("state") for item in cli("kernel", "list", "--json").json["kernels"]}
    assert (states[BASH] is not None, states[PYTHON] is not None, states[R]) == (True, True, None)
    closed = cli("sessions", "close", "--json").json["closed"][0]
    assert len(closed["kernels"]) == 3  # both, and the helper's


def test_an_unknown_kernel(shared: Cli) -> None:
    """The error names those that there are; nothing is changed by it."""
    result = shared("run", "-m", "kernel", "--kernel-name", "ruby", "1", "--json")
    assert (result.code, result.json["error"]["name"]) == (2, "NoSuchKernel")
    assert f"{BASH} (bash)" in result.json["error"]["message"]
    assert shared("run", "--kernel-name", BASH, "ls").code == 2  # a command is run by no kernel


@pytest.mark.parametrize(
    ("kernel", "code", "name", "message"),
    [
        (BASH, "false", "CommandFailed", "the last command ended with exit status 1"),
        (R, 'stop("boom")', "ERROR", "Error in f(): boom"),
        (R, "stop(\"there is no package called 'abc'\")", "ERROR", "Error in f(): there is no package called 'abc'"),
    ],
)
def test_failures(shared: Cli, kernel: str, code: str, name: str, message: str) -> None:
    """Name, message and category; the advice is of the language."""
    document = shared("run", "-m", "kernel", "--kernel-name", kernel, code, "--json").json
    error = document["error"]
    assert (document["exitCode"], error["name"], error["message"]) == (1, name, message)
    missing = "package" in message
    assert error["category"] == ("import" if missing else "runtime")
    assert ("install.packages" in error["suggestion"]) is missing


def test_a_time_limit(shared: Cli) -> None:
    """Interrupted code is not called dropped, and the kernel keeps its state."""
    shared("run", "-m", "kernel", "--kernel-name", BASH, "kept=1")
    ended = shared("run", "-m", "kernel", "--timeout", "2", "echo begun; sleep 60", "--json")
    assert (ended.code, ended.json["error"]["name"]) == (75, "TimeLimit"), ended
    assert "interrupted" in ended.json["error"]["message"]
    assert shared("run", "-m", "kernel", "echo $kept").out == "1\n"


def test_an_interrupted_kernel_of_r(shared: Cli) -> None:
    """It says `abort`, and nothing of an exception; the next run works, and the list of jobs has the watched one's
    end, which only its own command was told."""
    job = shared("run", "-m", "kernel", "--kernel-name", R, "--detach", "Sys.sleep(600)").out.strip()
    wait_until(lambda: shown(shared, job))
    assert shared("job", "kill", job).code == 0
    attached = shared("run", "--attach", job, "--json").json
    assert (attached["status"], attached["error"]["name"]) == ("error", "KeyboardInterrupt")
    assert "was interrupted" in attached["error"]["suggestion"]
    assert shared("run", "-m", "kernel", "next_one").out == "R: next_one\n"
    assert shared("run", "-m", "kernel", 'stop("told")').code == 1
    ends = {item["command"]: item.get("exitCode") for item in shared("job", "list", "--json").json["jobs"]}
    assert (ends["next_one"], ends['stop("told")']) == (0, 1)


def shown(cli: Cli, job: str) -> bool:
    """Whether a job has printed something."""
    return bool(cli("job", "show", job, "--json").json["job"]["stdoutBytes"])


def test_a_job_and_a_command(shared: Cli) -> None:
    """Code can be left alone, and commands and files work beside a kernel of another language."""
    job = shared("run", "-m", "kernel", "--kernel-name", BASH, "--detach", "echo one; exec_none").out.strip()
    assert shared("job", "wait", job, "--json").json["job"]["exitCode"] == 1
    attached = shared("run", "--attach", job, "--json").json
    assert (attached["stdout"].splitlines()[0], attached["error"]["name"]) == ("one", "CommandFailed")
    assert shared("run", "echo process").out == "process\n"
    (shared.home / "sent.txt").write_text("sent")
    assert shared("upload", str(shared.home / "sent.txt"), "sent.txt").code == 0
    assert shared("run", "-m", "kernel", "cat sent.txt").out.strip() == "sent"


def test_output_after_the_end(shared: Cli, tmp_path: Path) -> None:
    """A kernel may say that it is done before it sends what the code has printed (protocol J48)."""
    code, lines = "one two three", "one\ntwo\nthree\n"
    document = shared("run", "-m", "kernel", "--kernel-name", LATE, "--json", code).json
    assert (document["stdout"], document["outputComplete"]) == (lines, True)
    job = shared("run", "-m", "kernel", "--detach", code).out.strip()
    assert shared("job", "wait", job).code == 0
    assert shared("job", "logs", job).out == lines
    source = write(tmp_path / "late.ipynb", LATE, code, "four")
    assert shared("run", str(source)).code == 0
    job = shared("run", str(source), "--detach").out.strip()
    assert shared("job", "wait", job).code == 0
    assert shared("notebook", "fetch", job, "-o", str(tmp_path / "fetched.ipynb")).code == 0
    for made in ("late.executed.ipynb", "fetched.ipynb"):
        assert texts(tmp_path / made) == [lines, "four\n"]
    shared("run", "-m", "kernel", "--kernel-name", PYTHON, "1")


def test_notebooks_choose_their_kernel(shared: Cli, tmp_path: Path) -> None:
    """By the kernelspec's name, with parameters in the language's own syntax; the session keeps its own kernel."""
    shared("run", "-m", "kernel", "--kernel-name", PYTHON, "1")
    value = """it's "q" $x \\ é"""
    source = write(tmp_path / "b.ipynb", BASH, "a=1", 'echo "$a"')
    ended = shared("run", str(source), "-p", f"a={value}")
    assert (ended.code, texts(tmp_path / "b.executed.ipynb")) == (0, ["", "", f"{value}\n"]), ended
    source = write(tmp_path / "r.ipynb", R, "a <- 1", "a")
    ended = shared("run", str(source), "-p", f"a={value}", "-p", 'b=[1.5, null, {"k": true}]')
    shown = texts(tmp_path / "r.executed.ipynb")[1]
    assert shown == 'R: # Parameters\na = "it\'s \\"q\\" $x \\\\ é"\nb = list(1.5, NULL, list("k" = TRUE))\n', ended
    assert shared("kernel", "status", "--json").json["kernel"]["name"] == PYTHON


def test_a_detached_notebook(shared: Cli, tmp_path: Path) -> None:
    """A job in a kernel of another language; its failure is explained in that language."""
    source = write(tmp_path / "d.ipynb", BASH, "a=1", "echo $a", "false")
    job = shared("run", str(source), "-p", "a=3", "--detach").out.strip()
    assert shared("job", "wait", job).code == 1
    document = shared("notebook", "fetch", job, "-o", str(tmp_path / "f.ipynb"), "--json").json
    assert (document["failedCell"], document["error"]["name"]) == (2, "CommandFailed")
    assert texts(tmp_path / "f.ipynb")[2] == "3\n"


def test_notebooks_whose_kernel_is_not_there(shared: Cli, tmp_path: Path) -> None:
    """The language decides then, with a notice; --kernel-name decides in any case."""
    source = write(tmp_path / "n.ipynb", "bash-5", "echo hello", language="Bash")
    taken = shared("run", str(source), "--json")
    assert (taken.code, "'bash-5', which the server does not have" in taken.json["notice"]) == (0, True), taken
    source = write(tmp_path / "s.ipynb", "almond", "println(1)", language="scala")
    refused = shared("run", str(source), "--json")
    assert (refused.code, refused.json["error"]["name"]) == (2, "WrongLanguage")
    assert shared("run", str(source), "--kernel-name", R, "--json").code == 0
    source = write(tmp_path / "w.ipynb", R, "1")
    place = shared("run", str(source), "--cwd", "/tmp", "--json")
    assert (place.code, place.json["error"]["name"]) == (2, "NeedsPython")


def test_a_server_without_python(tmp_path: Path) -> None:
    """Its own language is run, and what needs Python says so in one sentence."""
    install(tmp_path / "server")
    options = (f"--KernelSpecManager.allowed_kernelspecs={R}", "--KernelSpecManager.ensure_native_kernel=False")
    with start_server(tmp_path / "server", *options) as server:
        cli = with_session(server, tmp_path / "client")
        assert cli("run", "-m", "kernel", "cat(6*7)").out == "R: cat(6*7)\n"
        process = cli("run", "echo hi", "--json")
        assert (process.code != 0, process.json["error"]["name"]) == (True, "NoPythonKernel"), process
        assert f"it has {R} (r)" in process.json["error"]["message"]
        runtime = cli("status", "--json").json["runtimes"][0]
        assert "no Python kernel" in runtime["problem"]
        (tmp_path / "f.txt").write_text("f")
        assert cli("upload", str(tmp_path / "f.txt"), "f.txt").code == 0
        assert (server.root / "f.txt").read_text() == "f"


def test_the_default_of_the_server(tmp_path: Path) -> None:
    """It is what runs code for which nobody chose; our own programs use Python all the same."""
    install(tmp_path / "server")
    with start_server(tmp_path / "server", f"--MultiKernelManager.default_kernel_name={BASH}") as server:
        cli = with_session(server, tmp_path / "client")
        assert cli("run", "-m", "kernel", "echo $((6*7))").out == "42\n"
        assert cli("run", "echo process").out == "process\n"


def test_a_record_of_an_earlier_version(polyglot: JupyterServer, tmp_path: Path) -> None:
    """It names no kernel: its kernel is found again, and a notebook of that kernel shares its variables."""
    cli = with_session(polyglot, tmp_path)
    cli("run", "-m", "kernel", "x = 5")
    path = cli.state / "sessions.json"
    records = json.loads(path.read_text())
    for name in ("kernelName", "kernels"):
        del records[0][name]
    for kernel in (records[0]["kernel"], records[0]["resident"]):
        del kernel["name"], kernel["language"]
    path.write_text(json.dumps(records))
    assert cli("run", "-m", "kernel", "print(x)").out == "5\n"
    source = write(tmp_path / "n.ipynb", PYTHON, "print(x + 1)", language="python")
    assert cli("run", str(source), "-o", str(tmp_path / "o.ipynb")).code == 0
    assert texts(tmp_path / "o.ipynb") == ["6\n"]


def test_sessions_and_the_library(polyglot: JupyterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session is added with its kernel, which the library finds, and changes for its own runs."""
    cli = with_session(polyglot, tmp_path, "--kernel-name", BASH)
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path / "config"))
    session = Client().session()
    assert session.run("echo $((6*7))", check=True).stdout == "42\n"
    assert session.run("1", kernel_name=R).stdout == "R: 1\n"
    assert {item.name for item in session.kernels()} >= {BASH, R, PYTHON}
    assert Client().session(kernel_name=BASH).run("echo back").stdout == "back\n"
    with pytest.raises(errors.UsageError, match="has no kernel 'ruby'"):
        session.run("1", kernel_name="ruby")
    refused = cli("sessions", "add", "x", "--url", polyglot.url, "--token-stdin", "--kernel-name", "ruby", "--json",
                  stdin=polyglot.token.encode())  # fmt: skip
    assert (refused.code, refused.json["error"]["name"]) == (2, "NoSuchKernel")
