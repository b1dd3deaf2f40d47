"""`notebook run` against a stock jupyter_server: true statuses, outputs in the file, parameters, interruptions."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.config import Config
from lecoder_cgpu.notebooks import document as notebook
from lecoder_cgpu.notebooks import runs
from lecoder_cgpu.notebooks.options import NotebookOptions
from lecoder_cgpu.sessions.manager import SessionManager
from tests.support.cli import Cli
from tests.support.notebooks import code, fetch_others, read, text, write


def statuses(document: dict[str, Any]) -> list[str]:
    return [cell["status"] for cell in document["cells"]]


def test_a_notebook_stops_at_its_first_failure(lab: Cli, tmp_path: Path) -> None:
    """The status is that of the failure, later cells are not run, and the file has all there is; the source is as it
    was."""
    source = write(
        tmp_path / "train.ipynb",
        text("# t"),
        code("print('one')\n1+1"),
        code("!echo shell"),
        code("import surely_not_there"),
        code("print('never')", execution_count=5),
    )
    before = source.read_bytes()
    result = lab("run", str(source), "--json")
    document = result.json
    assert (result.code, document["exitCode"], document["errorCode"], document["failedCell"]) == (1, 1, 1005, 3)
    assert (document["failedCodeCell"], document["failedCellId"]) == (2, document["cells"][2]["id"])
    assert document["lastOutput"] == "shell"
    assert statuses(document) == ["ok", "ok", "error", "not_run"]
    assert [cell["index"] for cell in document["cells"]] == [1, 2, 3, 4]
    assert document["cells"][0]["stdout"] == "one\n"
    assert document["cells"][0]["displays"] == [["text/plain"]]
    assert document["error"]["suggestion"] == "pip install surely-not-there"
    assert document["output"] == str(tmp_path / "train.executed.ipynb")
    executed = read(tmp_path / "train.executed.ipynb")
    kinds = [[item.output_type for item in cell.get("outputs", [])] for cell in executed.cells]
    assert kinds == [[], ["stream", "execute_result"], ["stream"], ["error"], []]
    assert executed.cells[1].outputs[1].execution_count == executed.cells[1].execution_count > 0
    assert executed.cells[2].outputs[0].text == "shell\n"
    assert executed.cells[4].execution_count is None
    assert source.read_bytes() == before
    entry = lab("logs", "-n", "1", "--json").json[0]
    assert (entry["command"], entry["errorCode"]) == (f"notebook {source}", 1005)


def test_the_state_stays_for_the_next_run(lab: Cli, tmp_path: Path) -> None:
    """--from-cell and --only go on with the variables of the run before, and keep outputs that are there."""
    source = write(tmp_path / "n.ipynb", code("a = 20\nprint('a')"), code("b = 1/0"), code("print(a + b)"))
    failed = lab("run", str(source), "--in-place", "--keep-going", "--json")
    assert (failed.code, statuses(failed.json), failed.json["errorCode"]) == (1, ["ok", "error", "error"], 1002)
    content = read(source)
    content.cells[1].source = "b = 2"
    source.write_bytes(notebook.encode(content))
    mended = lab("run", str(source), "--in-place", "--from-cell", content.cells[1].id, "--json")
    assert (mended.code, statuses(mended.json)) == (0, ["skipped", "ok", "ok"])
    assert [cell.outputs[0].text for cell in read(source).cells if cell.outputs] == ["a\n", "22\n"]
    single = lab("run", str(source), "--only", "2", "-o", str(tmp_path / "o.ipynb"))
    assert (single.code, single.out) == (0, "22\n")
    assert "[1/1] cell 2" in single.err
    fresh = lab("run", str(source), "--only", "2", "--restart", "--json")
    assert fresh.json["error"]["name"] == "NameError"


def test_parameters(lab: Cli, tmp_path: Path) -> None:
    """-p, -r and -P set what the tagged cell has as defaults; what is typed wins; a misspelt one is told."""
    source = write(tmp_path / "p.ipynb", code("a = 0; b = 0; c = 0", "parameters"), code("print(repr((a, b, c)))"))
    (tmp_path / "p.yaml").write_text("a: 1\nb: [1, x]\n")
    (tmp_path / "p.json").write_text('{"c": 5}')
    options = ["-P", str(tmp_path / "p.yaml"), "-P", str(tmp_path / "p.json"), "-p", "a=2.5", "-r", "c=7"]
    result = lab("run", *options, str(source), "--json")
    assert result.json["cells"][2]["stdout"] == "(2.5, [1, 'x'], '7')\n"
    assert [cell.get("index") for cell in result.json["cells"]] == [0, None, 1]
    assert read(tmp_path / "p.executed.ipynb").cells[1].metadata.tags == ["injected-parameters"]
    misspelt = lab("run", str(source), "-p", "aa=1", "--json")
    assert "aa" in misspelt.json["notice"]
    for bad in (["-p", "a"], ["-p", "1a=2"], ["-P", str(source.parent)], ["-p", "if=1"]):
        assert lab("run", str(source), *bad, "--json").json["errorCode"] == 2006
    (tmp_path / "bad.yaml").write_text("a: [1")
    assert lab("run", str(source), "-P", str(tmp_path / "bad.yaml"), "--json").json["error"]["name"] == "BadParameters"


def test_tags_and_clean_ends(lab: Cli, tmp_path: Path) -> None:
    """A cell that may raise does not fail the run; sys.exit(0) ends it well, sys.exit(3) with 3."""
    source = write(
        tmp_path / "t.ipynb",
        code("1/0", "raises-exception"),
        code("2", "skip-execution"),
        code("import sys; sys.exit(0)"),
        code("3"),
    )
    document = lab("run", str(source), "--json").json
    assert (document["status"], statuses(document)) == ("ok", ["error", "skipped", "ok", "not_run"])
    assert document["cells"][0]["allowed"] is True
    assert read(tmp_path / "t.executed.ipynb").cells[0].outputs[0].ename == "ZeroDivisionError"
    source = write(tmp_path / "e.ipynb", code("import sys; sys.exit(3)"), code("3"))
    assert lab("run", str(source)).code == 3


def test_interrupting_saves_what_there_is(lab: Cli, tmp_path: Path) -> None:
    """Ctrl-C ends the cell and the run with 130; cells before it are in the file, and so is what this one printed."""
    source = write(
        tmp_path / "i.ipynb",
        code("print('first')"),
        code("import time\nprint('begun')\ntime.sleep(90)"),
        code("print('never')"),
    )
    process = lab.start("run", str(source), "--events", "--keep-going")
    assert process.stdout
    while b"begun" not in process.stdout.readline():
        assert process.poll() is None
    assert read(tmp_path / "i.executed.ipynb").cells[0].outputs[0].text == "first\n"  # saved while the next one runs
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    document = json.loads(out.splitlines()[-1])
    assert (process.returncode, document["exitCode"], document["interrupted"]) == (130, 130, True)
    assert statuses(document) == ["ok", "error", "not_run"]
    assert [item.output_type for item in read(tmp_path / "i.executed.ipynb").cells[1].outputs] == ["stream", "error"]


def test_limits_and_crashes_end_the_run(lab: Cli, tmp_path: Path) -> None:
    """A time limit is for the whole run (75); a kernel that dies ends it, --keep-going or not."""
    slow = write(tmp_path / "s.ipynb", code("import time; time.sleep(90)"), code("1"))
    limited = lab("run", str(slow), "--timeout", "1", "--keep-going", "--json")
    assert (limited.code, limited.json["errorCode"], limited.json["timedOut"]) == (75, 1003, True)
    assert statuses(limited.json) == ["error", "not_run"]
    dying = write(tmp_path / "d.ipynb", code("import os; os._exit(1)"), code("1"))
    died = lab("run", str(dying), "--keep-going", "--json")
    assert (died.code, died.json["error"]["name"], statuses(died.json)) == (1, "KernelDied", ["error", "not_run"])
    assert read(tmp_path / "d.executed.ipynb").cells[0].outputs[0].ename == "KernelDied"


def test_much_output_is_complete(lab: Cli, tmp_path: Path) -> None:
    """What a stock server's rate limits drop is in the file all the same; the document holds little of it."""
    source = write(tmp_path / "m.ipynb", code("print('x' * 3_000_000)"), code("1"))
    document = lab("run", str(source), "--json").json
    assert document["outputComplete"] is True
    assert document["cells"][0]["outputBytes"] == 3_000_001
    assert len(document["cells"][0]["stdout"]) < 5000
    assert read(tmp_path / "m.executed.ipynb").cells[0].outputs[0].text == "x" * 3_000_000 + "\n"


@pytest.mark.parametrize(
    ("options", "error_code"),
    [
        (["-o", "{source}"], 2006),
        (["-o", "{folder}"], 2006),
        (["-o", "{folder}/no/such.ipynb"], 2006),
        (["-o", "x.ipynb", "--in-place"], 2006),
        (["--only", "7"], 2006),
        (["--from-cell", "x"], 2006),
        (["--key", "k"], 2006),
        (["--detach", "-o", "x.ipynb"], 2006),
        (["--nonsense"], 2006),
    ],
)
def test_bad_options(lab: Cli, tmp_path: Path, options: list[str], error_code: int) -> None:
    """What makes no sense is refused before anything runs, and no file is made."""
    source = write(tmp_path / "b.ipynb", code("open('ran', 'w')"))
    line = [word.format(source=source, folder=tmp_path) for word in options]
    document = lab("run", str(source), *line, "--json").json
    assert (document["errorCode"], document["error"]["category"]) == (error_code, "usage")
    assert document["error"]["suggestion"]
    assert [path.name for path in tmp_path.iterdir()] == ["b.ipynb"]


def test_other_languages(lab: Cli, tmp_path: Path) -> None:
    """A notebook in a language that the server does not have is refused by name."""
    spec = {"kernelspec": {"name": "cobol", "display_name": "Cobol", "language": "cobol"}}
    source = write(tmp_path / "r.ipynb", code("DISPLAY 1"), metadata=spec)
    assert lab("run", str(source), "--json").json["error"]["name"] == "WrongLanguage"


# --- detached -------------------------------------------------------------------------------------------------------


def test_a_detached_notebook_is_complete_when_fetched(lab: Cli, tmp_path: Path) -> None:
    """It runs without a client; wait, result and fetch tell how it ended, and every output is in the file."""
    source = write(
        tmp_path / "d.ipynb",
        code("n = 0", "parameters"),
        code("print('y' * 3_000_000)\nn"),
        code("class Mine(ImportError): pass\nraise Mine('m')"),
        code("print('never')"),
    )
    job = lab("run", str(source), "--detach", "-p", "n=5").out.strip()
    waited = lab("job", "wait", job, "--json")
    assert (waited.code, waited.json["job"]["kind"], waited.json["error"]["name"]) == (1, "notebook", "Mine")
    out = tmp_path / "out.ipynb"
    fetched = lab("notebook", "fetch", job, "-o", str(out), "--json")
    assert (fetched.code, fetched.json["errorCode"], fetched.json["failedCell"]) == (1, 1005, 2)
    assert statuses(fetched.json) == ["ok", "ok", "ok", "error", "not_run"]
    assert fetched.json["outputComplete"] is True
    executed = read(out)
    assert executed.cells[2].outputs[0].text == "y" * 3_000_000 + "\n"
    assert executed.cells[2].outputs[1].data == {"text/plain": "5"}
    assert executed.cells[3].outputs[0].ename == "Mine"
    assert lab("job", "result", job, "--json").json["cells"] == fetched.json["cells"]
    listed = next(item for item in lab("job", "list", "--json").json["jobs"] if item["id"] == job)
    assert listed["command"] == f"notebook {source}"


def test_a_detached_notebook_while_it_runs(lab: Cli, tmp_path: Path) -> None:
    """Fetching gives what there is (124); killing interrupts the kernel, which is free for others afterwards."""
    source = write(tmp_path / "w.ipynb", code("print('first')"), code("import time\nprint('begun')\ntime.sleep(90)"))
    job = lab("run", str(source), "--detach", "--key", "w").out.strip()
    assert lab("run", str(source), "--detach", "--key", "w").out.strip() == job
    out = tmp_path / "out.ipynb"
    while True:
        running = lab("notebook", "fetch", job, "-o", str(out), "--json")
        if running.code == 124 and running.json["cells"][1].get("stdout") == "begun\n":
            break
        assert running.code in (66, 124)
    assert statuses(running.json) == ["ok", "running"]
    assert [cell.outputs[0].text for cell in read(out).cells] == ["first\n", "begun\n"]
    assert lab("job", "kill", job).code == 0
    assert lab("job", "wait", job).code == 143
    killed = lab("notebook", "fetch", job, "-o", str(out), "--json")
    assert (killed.code, killed.json["interrupted"]) == (143, True)
    assert lab("run", "-m", "kernel", "print('free')").out == "free\n"


def test_a_detached_notebook_keeps_its_limit(lab: Cli, tmp_path: Path) -> None:
    """--timeout ends it without a client, and the kernel survives."""
    source = write(tmp_path / "l.ipynb", code("kept = 1"), code("import time; time.sleep(90)"))
    job = lab("run", str(source), "--detach", "--timeout", "2", "--json").json["jobId"]
    done = lab("notebook", "fetch", job, "--wait", "60", "-o", str(tmp_path / "o.ipynb"), "--json")
    assert (done.code, done.json["errorCode"], done.json["timedOut"]) == (75, 1003, True)
    assert lab("run", "-m", "kernel", "print(kept)").out == "1\n"


def test_a_detached_notebook_whose_kernel_dies(lab: Cli, tmp_path: Path) -> None:
    """The job ends, and says that the kernel died. What it had printed and not sent yet is there."""
    source = write(
        tmp_path / "k.ipynb",
        code("import os, sys\nprint('la', flush=True); print('st'); print('err', file=sys.stderr); os._exit(1)"),
        code("1"),
    )
    job = lab("run", str(source), "--detach").out.strip()
    done = lab("notebook", "fetch", job, "--wait", "60", "-o", str(tmp_path / "o.ipynb"), "--json")
    assert (done.code, done.json["error"]["name"], statuses(done.json)) == (1, "KernelDied", ["error", "not_run"])
    assert (done.json["cells"][0]["stdout"], done.json["cells"][0]["stderr"]) == ("la\nst\n", "err\n")
    assert lab("job", "logs", job).out == "la\nst\n"


# --- notebooks of others ---------------------------------------------------------------------------------------------

# Those whose stored outputs do not depend on time, versions, the working folder or further packages.
REPRODUCIBLE = (
    "Clear Output",
    "Empty Cell",
    "Factorials",
    "HelloWorld",
    "Skip Execution with Cell Tag",
    "Unicode",
    "UnicodePy3",
    "update-display-id",
    "test4jupyter_metadata",
)
FAILING = {
    "Error": "ZeroDivisionError",
    "Disable Stdin": "StdinNotImplementedError",
    "Autokill": "KernelDied",
    "Skip Exceptions": "Exception",
    "test2": "SyntaxError",
}
REFUSED = ("invalid",)


def test_notebooks_of_others(lab: Cli, tmp_path: Path) -> None:
    """nbclient's and nbformat's own test notebooks run, end as they should, give the outputs that are stored in them,
    and are valid afterwards; broken ones are refused."""
    others = fetch_others(tmp_path)
    session = SessionManager(Config(config_file=None, options={"storageDir": str(lab.state)})).session()
    for name in (*REPRODUCIBLE, *FAILING):
        content = notebook.parse(others[name].read_bytes(), name)
        stored = [list(map(comparable, cell.get("outputs", []))) for cell in content.cells]
        progress = runs.NotebookProgress(content, notebook.plan(content), Nobody())
        document = runs.run_notebook(session, progress, name, lambda: None, NotebookOptions(timeout=60))
        (tmp_path / "out.ipynb").write_bytes(notebook.encode(content))
        executed = read(tmp_path / "out.ipynb")
        if name in FAILING:
            assert document.error.name == FAILING[name], name
        else:
            assert document.status == "ok", (name, document)
            assert [list(map(comparable, cell.get("outputs", []))) for cell in executed.cells] == stored, name
    session.server.close()
    for name in REFUSED:
        assert lab("run", str(others[name]), "--json").json["error"]["name"] == "NotANotebook"


class Nobody:
    """Watches nothing."""

    def started(self, step: notebook.Step, position: int, total: int) -> None: ...
    def event(self, event: Any) -> None: ...
    def ended(self, result: Any) -> None: ...


def comparable(output: Any) -> Any:
    """An output without its number, and without addresses in memory."""
    import re

    kept = {key: value for key, value in output.items() if key != "execution_count"}
    return json.loads(re.sub(r"0x[0-9a-f]{6,}|-?\d+\.\d+ ?[mµun]?s", "#", json.dumps(kept)))
