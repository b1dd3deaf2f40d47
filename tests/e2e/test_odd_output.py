"""Output that is not UTF-8, or of a wrong type, costs nothing but itself, wherever it is run and read."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.support.cli import Cli

ODD = 'print("caf\\udce9")'


def test_text_that_is_not_utf8(lab: Cli) -> None:
    """It comes with a replacement character, and so does what stands in exceptions and results. The runs after it lose
    nothing, and the kernel is not called dead."""
    lab("run", "-m", "kernel", "z = 1")
    document = lab("run", "-m", "kernel", ODD, "--json").json
    assert (document["stdout"], document["outputComplete"]) == ("caf\ufffd\n", True)
    after = lab("run", "-m", "kernel", "print('a'); 7", "--json").json
    assert (after["stdout"], after["display_data"][0]["data"]["text/plain"]) == ("a\n", "7")
    raised = lab("run", "-m", "kernel", 'raise ValueError("caf\\udce9")', "--json").json
    assert (raised["error"]["name"], raised["error"]["message"]) == ("ValueError", "caf\ufffd")
    shown = lab("run", "-m", "kernel", 'class A:\n  def __repr__(self): return "sur\\udc80r"\nA()', "--json").json
    assert shown["display_data"][0]["data"]["text/plain"] == "sur\ufffdr"
    assert lab("run", "-m", "kernel", "print(z)").out == "1\n"


def test_jobs_of_such_output_end(lab: Cli) -> None:
    """The recorder on the runtime goes on."""
    job = lab("run", "-m", "kernel", "--detach", ODD + "; 7").out.strip()
    assert lab("job", "wait", job, "--timeout", "60").code == 0
    assert lab("run", "--attach", job).out == "caf\ufffd\n7\n"


@pytest.mark.parametrize("detached", [False, True])
def test_notebooks_of_such_output(lab: Cli, tmp_path: Path, detached: bool) -> None:
    """Every cell keeps its outputs."""
    cells = [ODD, "print('RESULT'); 42", "print('more'); 'last'"]
    source, result = tmp_path / "odd.ipynb", tmp_path / "done.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), source)
    if detached:
        job = lab("run", str(source), "--detach").out.strip()
        assert lab("job", "wait", job, "--timeout", "60").code == 0
        fetched = lab("notebook", "fetch", job, "-o", str(result))
        assert fetched.code == 0, fetched
    else:
        assert lab("run", str(source), "-o", str(result)).code == 0
    outputs = [cell.outputs for cell in nbformat.read(result, 4).cells]
    assert [[output.output_type for output in cell] for cell in outputs] == [
        ["stream"],
        ["stream", "execute_result"],
        ["stream", "execute_result"],
    ]
    assert outputs[0][0].text == "caf\ufffd\n"


RAW = """
session, parent = get_ipython().kernel.session, get_ipython().kernel.get_parent()
session.send(get_ipython().kernel.iopub_socket, {kind!r}, {content!r}, parent=parent)
print('after')
"""


@pytest.mark.parametrize(
    ("kind", "content", "passed_over"),
    [
        ("display_data", {"data": {"text/plain": 5}, "metadata": {}}, None),
        ("display_data", {"data": "x", "transient": "y"}, 1),
        ("error", {"traceback": True}, None),
        ("stream", {"text": 5}, None),
    ],
)
def test_messages_of_a_wrong_type(lab: Cli, kind: str, content: dict[str, object], passed_over: int | None) -> None:
    """What can be shown is shown; what cannot is passed over, and the document says so."""
    code = RAW.format(kind=kind, content=content)
    document = lab("run", "-m", "kernel", code, "--json").json
    assert document.get("passedOver") == passed_over
    assert document["outputComplete"] is (passed_over is None)
    assert document["stdout"].endswith("after\n")
    human = lab("run", "-m", "kernel", code)
    assert human.out.endswith("after\n")
    assert human.code in (0, 1)
