"""What the options of `notebook run` do: folder, variables, files, limits, allowed failures, stdin and stdout."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.cli import Cli
from tests.support.notebooks import code, read, write
from tests.support.wait import wait_until

STATE = "import os\nprint(os.path.basename(os.getcwd()), os.environ.get('COLOUR'), (os.environ.get('KEY') or '')[7:])"


def run(lab: Cli, source: Path, *options: str, **more: Any) -> Any:
    return lab("run", str(source), *options, **more)


def outputs(path: Path) -> list[str]:
    return ["".join(item.get("text", "") for item in cell.get("outputs", [])) for cell in read(path).cells]


@pytest.mark.parametrize("detached", [False, True])
def test_the_folder_and_variables_are_there_while_the_notebook_runs(lab: Cli, tmp_path: Path, detached: bool) -> None:
    """--sync sends the folder and runs in it, --env and --secret set variables; the kernel is as before afterwards, and
    the secret is in no file and no list."""
    project = tmp_path / f"project{detached:d}"
    (project / "sub").mkdir(parents=True)
    (project / "sub" / "data.txt").write_text("data")
    source = write(
        tmp_path / "n.ipynb", code("print(open('data.txt').read())\nopen('made.txt', 'w').write('made')"), code(STATE)
    )
    before = lab("run", "-m", "kernel", STATE).out
    out = tmp_path / "out.ipynb"
    line = ["--sync", str(project), "--cwd", "sub", "-e", "COLOUR=red", "--secret", "KEY"]
    line += ["--pull", f"made.txt:{tmp_path / 'got'}"]
    environment = {"KEY": "s3cr3t-value"}
    if detached:
        job = run(lab, source, *line, "--detach", env=environment).out.strip()
        waited = lab("job", "wait", job, "--json")
        assert (waited.code, waited.json["pulled"][0]["path"]) == (0, "made.txt"), waited
        listed = lab("job", "list", "--json").json["jobs"]
        assert "s3cr3t" not in str(listed)
        fetched = lab("notebook", "fetch", job, "-o", str(out), "--json")
        assert fetched.code == 0, fetched
    else:
        result = run(lab, source, *line, "-o", str(out), "--json", env=environment)
        assert result.code == 0, result
        assert result.json["synced"]["sent"] == 1
        assert result.json["pulled"][0]["local"] == str(tmp_path / "got")
    assert (tmp_path / "got").read_text() == "made"
    assert outputs(out) == ["data\n", "sub red value\n"]
    assert lab("run", "-m", "kernel", STATE).out == before
    told = [path for path in lab.state.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    assert told == []


def test_variables_of_files_and_a_name(lab: Cli, tmp_path: Path) -> None:
    """As `run` takes them: --env-file, --secrets-file, and a name for the job that can be used wherever an id is."""
    (tmp_path / "plain.env").write_text("# colours\nexport COLOUR='deep red'\n")
    (tmp_path / "hidden.env").write_text("KEY=s3cr3t-of-file\n")
    source = write(tmp_path / "n.ipynb", code(STATE))
    out, files = tmp_path / "out.ipynb", [f"--env-file={tmp_path / 'plain.env'}"]
    files.append(f"--secrets-file={tmp_path / 'hidden.env'}")
    watched = run(lab, source, *files, "-o", str(out), "--json")
    assert watched.code == 0, watched
    assert outputs(out)[0].endswith(" deep red of-file\n")
    assert run(lab, source, *files, "--detach", "--name", "colours").code == 0
    assert lab("job", "wait", "colours").code == 0
    assert lab("notebook", "fetch", "colours", "-o", str(out), "--json").json["status"] == "ok"
    assert outputs(out)[0].endswith(" deep red of-file\n")
    assert "s3cr3t" not in lab("job", "list", "--json").out + lab("logs", "--json").out
    for words, said in (
        (["--name", "x"], "has no name"),
        (["--detach", "--name", "run-x"], "cannot be the name"),
        (["--env-file", str(source)], "line 1"),
        (["--release"], "add --pull PATH"),
        (["--release", "--pull", "x", "--rm"], "without --rm"),
    ):
        refused = run(lab, source, *words)
        assert (refused.code, said in refused.err) == (2, True), refused


def test_the_runtime_goes_back_once_the_results_are_here(cli: Cli, tmp_path: Path) -> None:
    """--release gives back the session's, if all of them are; --rm its own, and keeps it for what is missing."""
    source = write(tmp_path / "n.ipynb", code("open('made.txt', 'w').write('made')"))
    line = ["--backend", "local", "run", str(source), "-o", str(tmp_path / "out.ipynb"), "--json"]
    kept = cli(*line, "--release", "--pull", "nothing.txt").json
    assert "not all results were fetched" in kept["release"]["reason"]
    given = cli(*line, "--release", "--pull", f"made.txt:{tmp_path / 'got'}").json
    assert (given["release"]["released"], (tmp_path / "got").read_text()) == ("server", "made")
    assert cli("sessions", "list", "--json").json == []
    own = cli(*line, "--rm", "--pull", f"made.txt:{tmp_path / 'again'}").json
    assert (own["release"]["released"], (tmp_path / "again").read_text()) == ("server", "made")
    assert "not all results" in cli(*line, "--rm", "--pull", "nothing.txt").json["release"]["reason"]
    cli("sessions", "close", "--all")


def test_a_folder_that_is_not_there(lab: Cli, tmp_path: Path) -> None:
    """It is a usage error, nothing runs, and the variables are gone again."""
    source = write(tmp_path / "n.ipynb", code("print('never')"))
    result = run(lab, source, "--cwd", "no/such", "-e", "COLOUR=red", "--json")
    assert (result.code, result.json["error"]["name"]) == (2, "NoSuchFolder")
    assert lab("run", "-m", "kernel", "import os; print(os.environ.get('COLOUR'))").out == "None\n"


@pytest.mark.parametrize("detached", [False, True])
def test_a_limit_for_each_cell(lab: Cli, tmp_path: Path, detached: bool) -> None:
    """The cell is interrupted, its output is kept, the run ends with 75, and the hint names the option."""
    source = write(tmp_path / "n.ipynb", code("1"), code("import time\nprint('begun')\ntime.sleep(60)"), code("2"))
    out = tmp_path / "out.ipynb"
    line = ["--cell-timeout", "2", "--keep-going"]
    if detached:
        job = run(lab, source, *line, "--detach").out.strip()
        assert lab("job", "wait", job).code == 75
        result = lab("notebook", "fetch", job, "-o", str(out), "--json")
    else:
        result = run(lab, source, *line, "-o", str(out), "--json")
    assert (result.code, result.json["error"]["name"], result.json["timedOut"]) == (75, "TimeLimit", True), result
    assert "--cell-timeout" in result.json["error"]["suggestion"]
    assert [cell["status"] for cell in result.json["cells"]] == ["ok", "error", "not_run"]
    assert outputs(out) == ["", "begun\n", ""]


def test_silence_has_a_limit(lab: Cli, tmp_path: Path) -> None:
    """--idle-timeout ends a cell that shows nothing for so long."""
    source = write(tmp_path / "n.ipynb", code("import time\ntime.sleep(60)"))
    result = run(lab, source, "--idle-timeout", "1.5", "--json")
    assert (result.code, result.json["error"]["name"]) == (75, "TimeLimit")
    assert "--idle-timeout" in result.json["error"]["suggestion"]


@pytest.mark.parametrize("detached", [False, True])
def test_which_failures_are_allowed(lab: Cli, tmp_path: Path, detached: bool) -> None:
    """--allow-error lets one exception pass; the tag `stop-on-error` ends the run even with --keep-going."""
    source = write(
        tmp_path / "n.ipynb",
        code("raise ValueError('fine')"),
        code("raise KeyError('counts')"),
        code("raise ValueError('stop')", "stop-on-error"),
        code("print('never')"),
    )
    line = ["--allow-error", "ValueError", "--keep-going"]
    if detached:
        job = run(lab, source, *line, "--detach").out.strip()
        assert lab("job", "wait", job).code == 1
        result = lab("notebook", "fetch", job, "-o", str(tmp_path / "o.ipynb"), "--json")
    else:
        result = run(lab, source, *line, "--json")
    cells = [(cell["status"], cell.get("allowed")) for cell in result.json["cells"]]
    assert cells == [("error", True), ("error", None), ("error", None), ("not_run", None)]
    assert (result.code, result.json["failedCell"]) == (1, 1)


def test_a_long_cell_is_saved_while_it_runs(lab: Cli, tmp_path: Path) -> None:
    """What it has shown is in the file long before it ends, and events go on while it is silent."""
    source = write(tmp_path / "n.ipynb", code("import time\nprint('begun')\ntime.sleep(20)"))
    out = tmp_path / "o.ipynb"
    told = tmp_path / "events"
    line = ["run", str(source), "-o", str(out), "--save-every", "0.3s", "--events", "--heartbeat", "0.5s"]

    def beats() -> list[Any]:
        events = [json.loads(line) for line in told.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        return [event for event in events if event.get("type") == "heartbeat"]

    def seen() -> bool:
        assert process.poll() is None
        return out.exists() and outputs(out) == ["begun\n"] and bool(beats())

    with told.open("wb") as stream:
        process = lab.start(*line, stdout=stream)
        try:
            wait_until(seen)
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert beats()[-1]["stdoutOffset"] in (0, 6)


def test_a_package_that_is_missing_is_installed_and_the_cell_runs_again(lab: Cli, tmp_path: Path) -> None:
    """What cannot be installed fails as it did, and the document says why."""
    source = write(tmp_path / "n.ipynb", code("n = 1"), code("import surely_not_there_at_all"), code("2"))
    result = run(lab, source, "--auto-install", "--json")
    assert (result.code, result.json["errorCode"], result.json["failedCell"]) == (1, 1005, 1)
    assert "surely-not-there-at-all could not be installed" in result.json["notice"]


def test_input_comes_from_stdin(lab: Cli, tmp_path: Path) -> None:
    """--stdin answers `input()` line by line, over several cells; without it, input() fails at once."""
    source = write(tmp_path / "n.ipynb", code("a = input()"), code("print(a + input())"))
    result = run(lab, source, "--stdin", "--json", stdin=b"one\ntwo\n")
    assert result.json["cells"][1]["stdout"] == "onetwo\n", result
    assert run(lab, source, "--json").json["error"]["name"] == "StdinNotImplementedError"


def test_a_command_at_the_end(lab: Cli, tmp_path: Path) -> None:
    """--on-finish gets the status of the notebook."""
    source = write(tmp_path / "n.ipynb", code("1/0"))
    hook = f"echo $LECODER_CGPU_STATUS $LECODER_CGPU_EXIT_CODE > {tmp_path / 'told'}"
    result = run(lab, source, "--on-finish", hook, "--json")
    assert result.json["hook"] == {"command": hook, "exitCode": 0}
    assert (tmp_path / "told").read_text() == "error 1\n"


def test_stdin_and_stdout_hold_notebooks(lab: Cli, tmp_path: Path) -> None:
    """`-` is stdin and stdout; what the cells print goes to stderr then, and --json is refused."""
    source = write(tmp_path / "n.ipynb", code("a = 1", "parameters"), code("print('shown', a)"))
    for line in (["notebook", "run", "-", "-p", "a=7"], ["run", str(source), "-o", "-", "-p", "a=7"]):
        result = lab(*line, stdin=source.read_bytes())
        assert result.code == 0, result
        executed = nbformat.reads(result.out, as_version=4)
        assert executed.cells[2].outputs[0].text == "shown 7\n"
        assert "shown 7" in result.err
        refused = lab(*line, "-o", "-", "--json", stdin=source.read_bytes())
        assert (refused.code, refused.json["error"]["name"]) == (2, "ConflictingOptions")
    assert [path.name for path in tmp_path.iterdir()] == ["n.ipynb"]


def test_parameters_as_papermill_takes_them(lab: Cli, tmp_path: Path) -> None:
    """-y, -b and --inject-paths; dates stay as written; the output is named by parameters; typed ones win."""
    source = write(
        tmp_path / "n.ipynb", code("alpha = 0", "parameters"), code("print(alpha, d, e, t, PAPERMILL_INPUT_PATH)")
    )
    encoded = base64.b64encode(b"d: 2024-01-02\nalpha: 1").decode()
    line = [
        "-b",
        encoded,
        "-y",
        "t: 2024-01-02T03:04:05Z\nalpha: 2",
        "-y",
        '{"e": [1]}',
        "-p",
        "alpha=0.5",
        "--inject-paths",
    ]
    result = run(lab, source, *line, "-o", str(tmp_path / "out_{alpha}.ipynb"), "--json")
    assert result.code == 0, result
    assert result.json["output"] == str(tmp_path / "out_0.5.ipynb")
    assert result.json["cells"][2]["stdout"] == f"0.5 2024-01-02 [1] 2024-01-02T03:04:05Z {source}\n"
    noted = read(tmp_path / "out_0.5.ipynb").metadata.papermill
    assert (noted.parameters["alpha"], noted.output_path) == (0.5, str(tmp_path / "out_0.5.ipynb"))
    for bad in (["-b", "§"], ["-b", "YQ=="], ["-y", "a: ["], ["-y", "- 1"], ["-o", str(tmp_path / "{beta}.ipynb")]):
        refused = run(lab, source, *bad, "--json")
        assert (refused.code, refused.json["error"]["category"]) == (2, "usage"), bad


def test_preparing_only_needs_no_runtime(cli: Cli, tmp_path: Path) -> None:
    """--prepare-only writes the notebook with its parameters, --report-mode hides the code, and nothing is started."""
    source = write(tmp_path / "n.ipynb", code("alpha = 0", "parameters"), code("open('ran', 'w')"))
    result = cli("run", str(source), "--prepare-only", "--report-mode", "-p", "alpha=3", "--json")
    assert (result.code, result.json["output"]) == (0, str(tmp_path / "n.executed.ipynb"))
    prepared = read(tmp_path / "n.executed.ipynb")
    assert prepared.cells[1].source == "# Parameters\nalpha = 3"
    assert [cell.metadata.jupyter.source_hidden for cell in prepared.cells] == [True] * 3
    assert cli("sessions", "list", "--json").json == []


def test_the_file_holds_times_as_papermill_writes_them(lab: Cli, tmp_path: Path) -> None:
    """Readers of papermill's metadata find when each cell ran and which failed; --in-place leaves them out."""
    source = write(tmp_path / "n.ipynb", code("1"), code("1/0"), code("2"))
    run(lab, source, "-p", "a=1")
    executed = read(tmp_path / "n.executed.ipynb")
    noted = executed.metadata.papermill
    assert (noted.exception, noted.parameters, noted.input_path) == (True, {"a": 1}, str(source))
    assert noted.start_time < noted.end_time
    assert noted.duration > 0
    cells = [cell.metadata.papermill for cell in executed.cells]
    assert [cell.status for cell in cells] == ["completed", "completed", "failed", "pending"]
    assert [cell.exception for cell in cells] == [False, False, True, None]
    assert all(cell.duration >= 0 and cell.start_time <= cell.end_time for cell in cells[:3])
    run(lab, source, "--in-place")
    assert "papermill" not in source.read_text()


def test_the_hint_names_the_right_help(lab: Cli, tmp_path: Path) -> None:
    """A wrong option behind a notebook is explained by the help of `notebook run`."""
    source = write(tmp_path / "n.ipynb", code("1"))
    result = run(lab, source, "--nonsense", "--json")
    assert "lecoder-cgpu notebook run --help" in result.json["error"]["suggestion"]
