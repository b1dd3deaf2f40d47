"""Every command, in success and in failure: one document on stdout, valid against its schema, with the true status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lecoder_cgpu import errors, reference
from tests.support.cli import Cli, Result
from tests.support.notebooks import code, write
from tests.support.servers import JupyterServer

SCHEMAS = Path(__file__).parents[2] / "schemas"


def validate(document: Any, schema: str) -> None:
    """Fail unless the document is what the schema promises."""
    jsonschema.validate(document, json.loads((SCHEMAS / f"{schema}.json").read_text()))


def failed(result: Result, schema: str = "failure") -> Any:
    """The error document of a failure, checked for everything that every failure has."""
    document = result.json
    validate(document, schema)
    assert document["status"] == "error"
    assert document["exitCode"] == result.code
    assert result.code != 0
    error = document["error"]
    assert error["category"] in {kind.category for kind in errors.tree()}
    assert document["errorCode"] in {kind.code for kind in errors.tree()}
    assert error["message"]
    assert error["description"]
    return document


def test_the_reference_is_that_of_this_version() -> None:
    """What is committed, schemas and pages, is what the program itself says."""
    assert reference.differing(SCHEMAS.parent) == []


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        ("run", ["run", "-m", "kernel", "print(1)\n1"]),
        ("run", ["run", "echo hi"]),
        ("status", ["status"]),
        ("sessions-list", ["sessions", "list"]),
        ("sessions-stats", ["sessions", "list", "--stats"]),
        ("sessions-clean", ["sessions", "clean", "--dry-run"]),
        ("sessions-clean", ["sessions", "clean"]),
        ("sessions-switch", ["sessions", "switch", "{name}"]),
        ("kernel", ["kernel", "status"]),
        ("kernel", ["kernel", "interrupt"]),
        ("kernel", ["kernel", "restart"]),
        ("kernel", ["sessions", "restart"]),
        ("run", ["connect"]),
        ("run", ["connect", "-m", "kernel", "--startup-code", "1"]),
        ("run-detached", ["run", "--detach", "true"]),
        ("run-detached", ["run", "-m", "kernel", "--detach", "1"]),
        ("job-list", ["job", "list"]),
        ("job-list", ["job", "list", "-n", "1"]),
        ("jobs", ["job", "wait", "--all"]),
        ("sweep", ["sweep", "-p", "x=1,2", "--dry-run", "--", "echo", "{{x}}"]),
        ("transfer", ["upload", __file__, "contract/"]),
        ("transfer", ["copy", __file__, "contract/"]),
        ("transfer", ["download", "contract/file", "{home}/"]),
        ("sync", ["sync", "{home}/empty", "contract"]),
        ("sync", ["sync", str(SCHEMAS), "contract", "--dry-run"]),
        ("ls", ["ls"]),
        ("ls", ["ls", "contract"]),
        ("cat", ["cat", "contract/file"]),
        ("rm", ["rm", "-f", "contract/nothing"]),
        ("run", ["run", "--sync", "{home}/empty", "--pull", ".:{home}/pulled", "true"]),
        ("notebook-run", ["notebook", "run", "{notebook}"]),
        ("notebook-run", ["run", "{notebook}", "-p", "x=1"]),
        ("run-detached", ["run", "{notebook}", "--detach"]),
        ("notebook-parameters", ["notebook", "parameters", "{notebook}"]),
        ("notebook-convert", ["notebook", "convert", "{notebook}", "--force"]),
        ("logs", ["logs"]),
        ("logs", ["logs", "-n", "1", "--status", "ok"]),
        ("logs-html", ["logs", "--html", "{home}/page.html"]),
        ("logs-stats", ["logs", "--stats"]),
        ("logs-stats", ["logs", "stats"]),
        ("debug-show", ["debug", "show"]),
        ("debug-show", ["debug", "tail"]),
        ("debug-list", ["debug", "list"]),
        ("debug-path", ["debug", "path"]),
        ("auth-status", ["auth", "status"]),
        ("auth-setup", ["auth", "setup"]),
        ("auth-logout", ["auth", "logout"]),
        ("auth-logout", ["logout"]),
        ("policy", ["policy"]),
        ("profile-list", ["profile", "list"]),
        ("config-show", ["config", "show"]),
        ("config", ["config", "get", "backend"]),
        ("keeper-status", ["keeper", "status"]),
        ("keeper-stop", ["keeper", "stop"]),
        ("keeper-schedule", ["keeper", "install", "--print"]),
        ("done", ["keeper", "run"]),
        ("reference", ["reference"]),
        ("done", ["completion", "bash"]),
        ("done", ["--help"]),
        ("done", ["run", "--help"]),
        ("done", ["--version"]),
        ("done", ["skill"]),
        ("mcp-config", ["mcp", "--config", "claude"]),
        ("mcp-config", ["mcp", "--config=Codex"]),
        ("mcp-card", ["mcp", "--card"]),
        ("skill-placed", ["skill", "--uninstall", "./no-such-folder"]),
        ("completion-changed", ["completion", "uninstall", "fish"]),
        ("example", ["example", "train", "{home}/example"]),
        ("start", []),
        ("top", ["top"]),
        ("open", ["open", "--notebook", "abc"]),
    ],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_success(lab: Cli, jupyter: JupyterServer, schema: str, line: list[str], place: str) -> None:
    """`--json` before or after the command gives one valid document and exit status 0."""
    (lab.home / "empty").mkdir(exist_ok=True)
    (jupyter.root / "contract").mkdir(exist_ok=True)
    (jupyter.root / "contract" / "file").write_text("x")
    notebook = write(lab.home / "hello.ipynb", code("print('hello')"))
    line = [word.format(name=lab.home.name, home=lab.home, notebook=notebook) for word in line]
    end = line.index("--") if "--" in line else len(line)  # what follows is the command's own
    line.insert(0 if place == "before" else end, "--json")
    result = lab(*line)
    assert result.code == 0, result
    validate(result.json, schema)


def test_events_are_valid(lab: Cli) -> None:
    """Each event validates, and the last line is the document."""
    lines = [json.loads(line) for line in lab("run", "-m", "kernel", "--events", "print(1)\n2").out.splitlines()]
    for line in lines[:-1]:
        validate(line, "run-event")
    validate(lines[-1], "run")


def test_events_of_a_notebook_are_valid(lab: Cli) -> None:
    """A notebook's cells begin and end between the events of their output."""
    notebook = write(lab.home / "events.ipynb", code("print(1)"), code("2"))
    result = lab("run", str(notebook), "--events")
    lines = [json.loads(line) for line in result.out.splitlines()]
    for line in lines[:-1]:
        validate(line, "notebook-event")
    validate(lines[-1], "notebook-run")
    assert [line["type"] for line in lines[:-1]] == ["cell_start", "stream", "cell", "cell_start", "display", "cell"]
    validate(lab("notebook", "fetch", "nothing", "--json").json, "failure")


def test_what_is_kept_is_valid(lab: Cli) -> None:
    """The files of the state folder, the history's entry of a run, and the list of a run's outputs."""
    folder = lab.home / "drawn"
    picture = "from IPython.display import HTML\nHTML('<b>x</b>')"
    run = lab("run", "-m", "kernel", "--outputs", str(folder), picture, "--json").json
    validate(json.loads((folder / "manifest.json").read_text()), "outputs-manifest")
    validate(lab("logs", "show", run["runId"], "--json").json, "logs-show")
    validate(json.loads((lab.state / "sessions.json").read_text()), "sessions-file")
    for line in (lab.state / "history.jsonl").read_text().splitlines():
        validate(json.loads(line), "history-line")
    logs = sorted((lab.state / "logs").iterdir())
    assert logs
    for line in (line for path in logs for line in path.read_text().splitlines()):
        validate(json.loads(line), "debug-log-line")


def test_adding_and_closing(cli: Cli, jupyter: JupyterServer) -> None:
    """The documents of commands that change the store, and of clearing the history."""
    added = cli("sessions", "add", "one", "--url", jupyter.url, "--token-stdin", "--json", stdin=jupyter.token.encode())
    validate(added.json, "sessions-add")
    assert jupyter.token not in added.out + added.err
    assert jupyter.token not in cli("sessions", "list", "--json").out
    closed = cli("sessions", "close", "one", "--json")
    validate(closed.json, "sessions-close")
    assert closed.json["deleted"] is True
    validate(cli("logs", "clear", "--json").json, "logs-clear")
    validate(cli("logs", "--clear", "--json").json, "logs-clear")


@pytest.mark.parametrize(
    ("line", "code", "status"),
    [
        (["nonsense"], 2006, 2),
        (["run"], 2006, 2),
        (["run", "--nonsense", "ls"], 2006, 2),
        (["run", "-m", "nonsense", "ls"], 2006, 2),
        (["run", "--timeout", "soon", "ls"], 2006, 2),
        (["run", "--cpu", "--tpu", "ls"], 2006, 2),
        (["run", "-m", "kernel", "-f", "/surely/not/there.py"], 2005, 66),
        (["run", "-m", "kernel", "-f", "/"], 2006, 2),
        (["run", "-m", "kernel", "-f", "/bin/true"], 2006, 2),
        (["run", "-m", "kernel", "-f", "x.py", "more"], 2006, 2),
        (["run", "-f", "x.py"], 2006, 2),
        (["run", "-m", "kernel"], 2006, 2),
        (["run", " "], 2006, 2),
        (["run", "-m", "kernel", "--cwd", "/", "1"], 2006, 2),
        (["run", "--env", "1x=2", "ls"], 2006, 2),
        (["run", "--env", "SURELY_NOT_SET", "ls"], 2006, 2),
        (["run", "--secret", "SURELY_NOT_SET", "ls"], 2006, 2),
        (["--backend", "cloud", "status"], 2006, 2),
        (["-s", "nothing", "run", "ls"], 2005, 66),
        (["-s", "nothing", "kernel", "status"], 2005, 66),
        (["run", "--detach", "--stdin", "ls"], 2006, 2),
        (["run", "--key", "k", "ls"], 2006, 2),
        (["run", "-m", "kernel", "--detach", "--outputs", "x", "1"], 2006, 2),
        (["run", "-m", "kernel", "--detach", "--cwd", "/", "1"], 2006, 2),
        (["run", "-m", "kernel", "--key", "k", "1"], 2006, 2),
        (["run", "--detach", "--on-finish", "true", "ls"], 2006, 2),
        (["run", "--idle-timeout", "0", "ls"], 2006, 2),
        (["run", "--heartbeat", "-1", "ls"], 2006, 2),
        (["run", "--from", "5", "ls"], 2006, 2),
        (["run", "--attach", "run-0123456789abcdef", "--from", "stdin=5"], 2006, 2),
        (["run", "--attach", "run-0123456789abcdef", "--from", "x"], 2006, 2),
        (["logs", "show", "run-0123456789abcdef"], 2005, 66),
        (["logs", "show", "run-0123456789abcdef", "--output"], 2005, 66),
        (["run", "--attach", "run-0123456789abcdef", "ls"], 2006, 2),
        (["run", "--attach", "run-0123456789abcdef"], 2005, 66),
        (["upload"], 2006, 2),
        (["upload", "/surely/not/there"], 2005, 66),
        (["upload", "-"], 2006, 2),
        (["download", "x"], 2005, 66),
        (["ls", "x"], 2005, 66),
        (["cat"], 2006, 2),
        (["rm"], 2006, 2),
        (["edit", "x"], 2005, 66),
        (["sync", "/surely/not/there"], 2005, 66),
        (["sync", ".", "--watch", "--dry-run"], 2006, 2),
        (["run", "--pull", ":x", "ls"], 2006, 2),
        (["run", "-m", "kernel", "--sync", ".", "1"], 2006, 2),
        (["connect", "--attach", "1"], 2006, 2),
        (["connect", "--detach-key", "x"], 2006, 2),
        (["connect", "--startup-code", "1"], 2006, 2),
        (["connect", "-m", "kernel", "--startup-command", "ls"], 2006, 2),
        (["forward"], 2006, 2),
        (["serve"], 2005, 66),
        (["serve", "--port", "70000"], 2006, 2),
        (["forward", "train"], 2006, 2),
        (["forward", "train", "80x"], 2006, 2),
        (["forward", "0"], 2006, 2),
        (["forward", "8000:70000"], 2006, 2),
        (["forward", "8000"], 2005, 66),
        (["forward", "8000", "--via", "proxy"], 2005, 66),
        (["forward", "8000", "--via", "air"], 2006, 2),
        (["open"], 2005, 66),
        (["open", "x", "--notebook", "y"], 2006, 2),
        (["top", "--delay", "0"], 2006, 2),
        (["job"], 2006, 2),
        (["job", "list"], 2005, 66),
        (["job", "show"], 2006, 2),
        (["job", "wait", "x"], 2005, 66),
        (["job", "retry", "x"], 2005, 66),
        (["job", "logs", "x", "--attempt", "2"], 2006, 2),
        (["job", "plot", "x"], 2005, 66),
        (["job", "plot", "x", "--metric", "("], 2006, 2),
        (["sweep"], 2006, 2),
        (["sweep", "start", "-p", "x=1"], 2006, 2),
        (["sweep", "-p", "x=1,,2", "--", "echo"], 2006, 2),
        (["sweep", "-p", "x=1", "-s", "nothing", "--", "echo"], 2005, 66),
        (["sweep", "--from", "/surely/not/there.jsonl", "--", "echo"], 2005, 66),
        (["sweep", "status"], 2005, 66),
        (["sweep", "wait", "x"], 2005, 66),
        (["sweep", "resume", "x"], 2005, 66),
        (["sweep", "kill", "x"], 2005, 66),
        (["job", "wait"], 2006, 2),
        (["job", "kill", "x", "--all"], 2006, 2),
        (["run", "--detach", "--key", " ", "true"], 2006, 2),
        (["job", "wait", "x", "y", "--release"], 2006, 2),
        (["job", "logs", "x", "--tail", "1", "--from", "2"], 2006, 2),
        (["notebook"], 2006, 2),
        (["notebook", "run"], 2006, 2),
        (["notebook", "run", "/surely/not/there.ipynb"], 2005, 66),
        (["run", "/surely/not/there.ipynb"], 2005, 66),
        (["notebook", "run", "/"], 2006, 2),
        (["notebook", "run", "/bin/true"], 2006, 2),
        (["notebook", "fetch", "x"], 2005, 66),
        (["notebook", "list"], 2001, 77),
        (["notebook", "delete", "x"], 2006, 2),
        (["install"], 2006, 2),
        (["notebook", "convert", "/bin/true"], 2006, 2),
        (["notebook", "convert", "/surely/not/there.py"], 2005, 66),
        (["sessions"], 2006, 2),
        (["sessions", "nonsense"], 2006, 2),
        (["sessions", "switch", "nothing"], 2005, 66),
        (["sessions", "close", "nothing"], 2005, 66),
        (["sessions", "close"], 2005, 66),
        (["sessions", "close", "--all", "x"], 2006, 2),
        (["sessions", "add", "x"], 2006, 2),
        (["sessions", "add", "x", "--url", "nonsense"], 2006, 2),
        (["sessions", "add", "x", "--url", "ftp://host/"], 2006, 2),
        (["sessions", "add", "x", "--url", "http://127.0.0.1:1/"], 1006, 74),
        (["sessions", "add", "x", "--url", "http://surely-not-a-host.invalid/"], 1006, 74),
        (["sessions", "add", "bad name", "--url", "http://127.0.0.1:1/"], 2006, 2),
        (["--backend", "local", "sessions", "add", "x", "--root", "/surely/not/there"], 2006, 2),
        (["auth", "login"], 2001, 77),
        (["auth"], 2001, 77),
        (["auth", "nonsense"], 2006, 2),
        (["auth", "login", "--start"], 2001, 77),
        (["auth", "login", "--start", "--adc"], 2006, 2),
        (["auth", "login", "--finish", "x"], 2006, 2),
        (["auth", "login", "--code-stdin"], 2006, 2),
        (["auth", "check"], 2001, 77),
        (["keeper"], 2006, 2),
        (["run", "--idle-release", "soon", "ls"], 2006, 2),
        (["run", "--max-units", "0", "ls"], 2006, 2),
        (["--backend", "local", "run", "--max-runtime", "1h", "ls"], 2006, 2),
        (["auth", "export"], 2001, 77),
        (["auth-export"], 2001, 77),
        (["auth-import", "nonsense"], 2006, 2),
        (["auth", "import", "{}"], 2006, 2),
        (["auth", "setup", "/surely/not/there"], 2005, 66),
        (["logs", "--status", "nonsense"], 2006, 2),
        (["logs", "--category", "nonsense"], 2006, 2),
        (["logs", "--since", "2"], 2006, 2),
        (["logs", "-n", "0"], 2006, 2),
        (["logs", "extra"], 2006, 2),
        (["logs", "--html", "/surely/not/there.html"], 2006, 2),
        (["logs", "--html", "x.html", "--stats"], 2006, 2),
        (["debug", "show", "-l", "nonsense"], 2006, 2),
        (["status", "extra"], 2006, 2),
        (["upgrade"], 2006, 2),
        (["completion", "tcsh"], 2006, 2),
        (["-c", "/surely/not/there.json", "status"], 2009, 78),
        (["--backend", "jupyter", "run", "ls"], 2006, 2),
        (["--backend", "local", "run", "--tpu", "ls"], 2006, 2),
        (["--backend", "local", "run", "--gpu", "T4", "ls"], 2006, 2),
    ],
)
def test_bad_input(cli: Cli, line: list[str], code: int, status: int) -> None:
    """What was wrong has its code, its exit status and a hint, and nothing is left half done."""
    result = cli(line[0], "--json", *line[1:]) if line[0] in ("run", "status") else cli("--json", *line)
    document = failed(result)
    assert (document["errorCode"], result.code) == (code, status), document
    assert document["error"]["suggestion"]
    assert cli("sessions", "list", "--json").json == []
    human = cli(*line)
    assert human.code == status
    assert human.out == ""
    assert "error: " in human.err
    assert "hint: " in human.err
    assert "Traceback" not in human.err


def test_sessions_that_contradict_options(lab: Cli) -> None:
    """A named session and options that choose a runtime exclude each other."""
    name = lab.home.name
    for options in (["--cpu"], ["--tpu"], ["--new-runtime"]):
        assert failed(lab("run", "--json", "-s", name, *options, "ls"))["errorCode"] == 2006
    assert failed(lab("run", "--json", "-s", name, "--backend", "local", "ls"))["errorCode"] == 2006


def test_ambiguous_session(cli: Cli, jupyter: JupyterServer) -> None:
    """The candidates are listed, and none is chosen."""
    for name in ("train-a", "train-b"):
        cli("sessions", "add", name, "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
    document = failed(cli("run", "-s", "train", "--json", "ls"))
    assert document["errorCode"] == 2006
    assert "train-a" in document["error"]["message"]
    cli("sessions", "close", "--all")


def test_help_is_for_every_level(cli: Cli) -> None:
    """Each command and group explains itself on stdout and exits with 0."""
    for line in ([], ["run"], ["sessions"], ["sessions", "add"], ["kernel"], ["logs"], ["debug", "show"], ["status"]):
        for flag in ("--help", "-h"):
            result = cli(*line, flag)
            assert result.code == 0
            assert result.out.startswith("Usage: lecoder-cgpu")
            assert result.err == ""


def test_version_and_aliases(cli: Cli) -> None:
    """The version is one line, whatever the spelling."""
    from lecoder_cgpu import __version__

    for flag in ("--version", "-V", "-v"):
        assert cli(flag).out == __version__ + "\n"
