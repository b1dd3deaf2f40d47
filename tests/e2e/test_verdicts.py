"""The kernel's reply decides how code ended, and an exception that is shown is an output in its place."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.cli import Cli

GROUP = "raise ExceptionGroup('g', [ValueError(1)])"
MAGIC = "%nosuchmagic"
HANDLED = "try:\n    1/0\nexcept ZeroDivisionError:\n    get_ipython().showtraceback()\nprint('handled')"
TWO = (
    "for i in (1, 2):\n    try: raise ValueError(i)\n    except ValueError: get_ipython().showtraceback()\n    print(i)"
)
CASES = [
    (GROUP, 1, "ExceptionGroup"),
    (MAGIC, 1, "UsageError"),
    (HANDLED, 0, None),
    (TWO, 0, None),
    ("1/0", 1, "ZeroDivisionError"),
]


@pytest.mark.parametrize(("code", "status", "name"), CASES)
def test_watched_attached_and_left_alone(lab: Cli, code: str, status: int, name: str | None) -> None:
    """Every way to learn how code ended tells the same."""
    watched = lab("run", "-m", "kernel", code, "--json")
    job = lab("run", "-m", "kernel", "--detach", code).out.strip()
    waited = lab("job", "wait", job, "--timeout", "60", "--json")
    attached = lab("run", "--attach", job, "--json")
    again = lab("run", "--attach", watched.json["runId"], "--json")
    assert [watched.code, waited.code, attached.code, again.code] == [status] * 4
    for document in (watched.json, waited.json, attached.json, again.json):
        assert document.get("error", {}).get("name") == name
        assert document["status"] == ("error" if status else "ok")
    assert watched.json["outputComplete"] is True


def test_a_run_that_was_left_and_failed_later(lab: Cli) -> None:
    """Nobody got its reply, and the verdict is there."""
    left = lab("run", "-m", "kernel", "--wait", "0.5", "--json", f"import time; time.sleep(2)\n{GROUP}")
    assert left.code == 124
    time.sleep(3)
    run = left.json["runId"]
    assert lab("run", "--attach", run).code == 1
    assert lab("job", "wait", run, "--timeout", "30").code == 1


@pytest.mark.parametrize("detached", [False, True])
def test_notebooks(lab: Cli, tmp_path: Path, detached: bool) -> None:
    """Handled exceptions stop no notebook, and stand among the outputs; what the reply calls an error stops it."""
    cells = run_notebook(lab, tmp_path, [TWO, GROUP, "print('never')"], detached, 1)
    assert [output.output_type for output in cells[0]] == ["error", "stream", "error", "stream"]
    assert [output.get("evalue") for output in cells[0]] == ["1", None, "2", None]
    assert cells[1][-1].ename == "ExceptionGroup"
    assert "ExceptionGroup: g" in cells[1][-1].traceback[0]  # viewers show nothing else
    assert cells[2] == []
    cells = run_notebook(lab, tmp_path, [HANDLED, "import sys\nsys.exit(0)"], detached, 0)
    assert cells[1][0].ename == "SystemExit"


def run_notebook(lab: Cli, folder: Path, sources: list[str], detached: bool, status: int) -> list[Any]:
    """The outputs of the executed notebook's cells."""
    source, result = folder / "in.ipynb", folder / "out.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in sources]), source)
    if detached:
        job = lab("run", str(source), "--detach").out.strip()
        assert lab("job", "wait", job, "--timeout", "60").code == status
        assert lab("notebook", "fetch", job, "-o", str(result)).code == status
    else:
        assert lab("run", str(source), "-o", str(result)).code == status
    return [cell.outputs for cell in nbformat.read(result, 4).cells]


def test_events_and_text_show_exceptions_in_their_place(lab: Cli) -> None:
    """And the one that ended the code is printed once."""
    lines = [json.loads(line) for line in lab("run", "-m", "kernel", "--events", TWO).out.splitlines()]
    assert [line["type"] for line in lines[:-1] if line["type"] != "heartbeat"] == [
        "error",
        "stream",
        "error",
        "stream",
    ]
    document = lab("run", "-m", "kernel", TWO, "--json").json
    assert [(error["name"], error["message"]) for error in document["shownErrors"]] == [
        ("ValueError", "1"),
        ("ValueError", "2"),
    ]
    assert "\x1b" not in str(document["shownErrors"])  # plain, as the error that ends the code
    shown = lab("run", "-m", "kernel", HANDLED)
    assert (shown.code, shown.out, shown.err.count("ZeroDivisionError: division by zero")) == (0, "handled\n", 1)
    failed = lab("run", "-m", "kernel", "1/0")
    assert (failed.code, failed.err.count("ZeroDivisionError: division by zero")) == (1, 1)


def test_a_shell_command_that_failed(lab: Cli) -> None:
    """The code went on, and the document tells; an earlier one says nothing of this run."""
    failed = lab("run", "-m", "kernel", "!exit 3", "--json").json
    assert (failed["status"], failed["shellExit"]) == ("ok", 3)
    assert "exit status 3" in lab("run", "-m", "kernel", "!exit 3").err
    assert "shellExit" not in lab("run", "-m", "kernel", "print(_exit_code)", "--json").json
    assert "shellExit" not in lab("run", "-m", "kernel", "!true", "--json").json


def test_code_of_a_file(lab: Cli, tmp_path: Path) -> None:
    """It finds the name of its file where `python FILE` has it, only as long as it runs; errors name it."""
    script = tmp_path / "train.py"
    script.write_text("import sys\nprint(sys.argv, __file__)\n1/0")
    before = lab("run", "-m", "kernel", "import sys; print(sys.argv)").out
    document = lab("run", "-m", "kernel", "-f", str(script), "--json").json
    assert document["stdout"] == f"{[str(script)]} {script}\n"
    assert document["error"]["name"] == "ZeroDivisionError"
    assert lab("run", "-m", "kernel", "import sys; print(sys.argv)").out == before
    assert lab("run", "-m", "kernel", "__file__", "--json").json["error"]["name"] == "NameError"
    script.write_text("x = (")
    message = lab("run", "-m", "kernel", "-f", str(script), "--json").json["error"]["message"]
    assert f"({script}, line 1)" in message
    assert "(Cell In[" in lab("run", "-m", "kernel", "x = (", "--json").json["error"]["message"]


@pytest.mark.parametrize(
    "code",
    [
        "print('a'); 7",
        "class A:\n    def _ipython_display_(self): print('shown')\nA()",
        "class A:\n    def _ipython_display_(self): print('shown', flush=True)\nA()",
        "class A:\n    def __repr__(self):\n        print('a', flush=True)\n        1/0\nA()",
        "import time\nclass A:\n    def __repr__(self): print('a', flush=True); time.sleep(1); return 'A'\nA()",
        "from IPython.display import display\nprint('a')\ndisplay({'a/b': object()}, raw=True)",
        "import os\nif not (child := os.fork()): print('a', flush=True); os._exit(0)\nos.waitpid(child, 0); 7",
    ],
)
def test_output_is_complete_without_a_false_gap(lab: Cli, code: str) -> None:
    """A number that the kernel used late, or for nothing, is no loss."""
    document = lab("run", "-m", "kernel", code, "--json").json
    assert document["outputComplete"] is True
    assert document["stdout"]
