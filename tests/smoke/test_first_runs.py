"""One real run of each kind, as the default subset needs it: a kernel, a process and a notebook on a real server."""

from __future__ import annotations

from pathlib import Path

from tests.support.cli import Cli
from tests.support.notebooks import code, read, write


def test_python_in_a_kernel(lab: Cli) -> None:
    """Variables stay for the next run, and an exception is a failure with its own exit status and error code."""
    assert lab("run", "-m", "kernel", "x = 20").code == 0
    document = lab("run", "-m", "kernel", "print(x + 1)", "--json").json
    assert (document["status"], document["exitCode"], document["stdout"]) == ("ok", 0, "21\n")
    failed = lab("run", "-m", "kernel", "print('before'); 1/0", "--json")
    assert (failed.code, failed.json["errorCode"], failed.json["stdout"]) == (1, 1002, "before\n")


def test_a_command_in_a_process(lab: Cli) -> None:
    """The two streams are apart, and the exit status is the program's."""
    result = lab("run", "echo out; echo err >&2; exit 7")
    assert (result.code, result.out, result.err) == (7, "out\n", "err\n")


def test_a_notebook(lab: Cli, tmp_path: Path) -> None:
    """It stops at the first cell that fails; the outputs up to there are in the file."""
    source = write(tmp_path / "n.ipynb", code("print(6 * 7)"), code("import surely_not_there"), code("print('never')"))
    result = lab("run", str(source), "--json")
    assert (result.code, result.json["failedCell"]) == (1, 1)
    executed = read(tmp_path / "n.executed.ipynb")
    assert executed.cells[0].outputs[0].text == "42\n"
    assert executed.cells[2].outputs == []
