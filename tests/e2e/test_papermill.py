"""papermill itself, with our engine: the real program, its parameters, its metadata and its exit status."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.notebooks import code, read, text, write

ROOT = Path(__file__).parents[2]
SPEC = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture(scope="module")
def entry_point(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the entry point as an installation of this tree declares it, whatever is installed here."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["papermill.engine"]
    folder = tmp_path_factory.mktemp("entry-point")
    (folder / "lecoder_cgpu_engine-0.dist-info").mkdir()
    lines = ["[papermill.engine]", *(f"{name} = {value}" for name, value in declared.items())]
    (folder / "lecoder_cgpu_engine-0.dist-info" / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_either_may_be_imported_first() -> None:
    """papermill asks for the engine while it is imported, and the engine needs papermill."""
    import_ours = "from lecoder_cgpu.notebooks.papermill_engine import RuntimeEngine"
    for first in (import_ours, "import papermill", "import lecoder_cgpu.notebooks.papermill_engine"):
        program = (
            f"{first}\n{import_ours}\nfrom papermill.engines import Engine\nassert issubclass(RuntimeEngine, Engine)"
        )
        subprocess.run([sys.executable, "-c", program], check=True)


def papermill(lab: Cli, entry_point: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "papermill", "--engine", "lecoder-cgpu", "--no-progress-bar", *arguments],
        env=lab.environment({"PYTHONPATH": str(entry_point)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def texts(content: Any) -> list[str]:
    return ["".join(item.get("text", "") for item in cell.get("outputs", [])) for cell in content.cells]


def test_papermill_runs_on_the_active_session(lab: Cli, entry_point: Path, tmp_path: Path) -> None:
    """Parameters are papermill's, the kernel is that of the session, and papermill's metadata is whole."""
    lab("run", "-m", "kernel", "here = 'the session'")
    source = write(
        tmp_path / "in.ipynb", text("# t"), code("a = 1", "parameters"), code("print(a, here)"), metadata=SPEC
    )
    out = tmp_path / "out.ipynb"
    done = papermill(lab, entry_point, str(source), str(out), "-p", "a", "5", "--log-output")
    assert done.returncode == 0, done
    executed = read(out)
    assert texts(executed) == ["", "", "", "5 the session\n"]
    assert "5 the session" in done.stderr
    noted = executed.metadata.papermill
    assert (noted.exception, noted.parameters, noted.output_path) == (None, {"a": 5}, str(out))
    assert [cell.metadata.papermill.status for cell in executed.cells] == ["completed"] * 4
    assert executed.cells[3].metadata.papermill.duration > 0


def test_a_failed_cell_fails_papermill(lab: Cli, entry_point: Path, tmp_path: Path) -> None:
    """Later cells do not run, and papermill ends with 1 and its own message."""
    source = write(tmp_path / "in.ipynb", code("print('one')"), code("1/0"), code("print('never')"), metadata=SPEC)
    done = papermill(lab, entry_point, str(source), str(tmp_path / "out.ipynb"))
    assert done.returncode == 1, done
    assert "ZeroDivisionError" in done.stderr
    assert "InternalError" not in done.stderr
    found = [text for text in texts(read(tmp_path / "out.ipynb")) if text]
    assert found == ["one\n"]


def test_the_time_limit_of_a_cell(lab: Cli, entry_point: Path, tmp_path: Path) -> None:
    """--execution-timeout is kept, and what the cell had shown is saved."""
    source = write(tmp_path / "in.ipynb", code("import time\nprint('begun')\ntime.sleep(60)"), metadata=SPEC)
    done = papermill(lab, entry_point, str(source), str(tmp_path / "out.ipynb"), "--execution-timeout", "2")
    assert done.returncode == 1, done
    assert "time limit" in done.stderr
    assert "begun\n" in texts(read(tmp_path / "out.ipynb"))


def test_a_session_that_is_not_there(lab: Cli, entry_point: Path, tmp_path: Path) -> None:
    """By papermill's library, with the name of a session: the error says that there is none."""
    source = write(tmp_path / "in.ipynb", code("1"))
    program = (
        "import papermill, sys\n"
        "options = dict(engine_name='lecoder-cgpu', progress_bar=False, session='nobody')\n"
        "papermill.execute_notebook(sys.argv[1], None, **options)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(source)],
        env=lab.environment({"PYTHONPATH": str(entry_point)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "nobody" in done.stderr.splitlines()[-1]


def test_our_parameters_are_those_that_papermill_finds(cli: Cli, tmp_path: Path) -> None:
    """`notebook parameters` says what papermill's own inspection does, and more where that knows nothing."""
    from papermill.inspection import inspect_notebook

    lines = "n: int = 3  # how many\nrate = 0.1  # type: float step\nname = 'x'\nnothing = None  # a reason\n"
    lines += "many: list[int] = [1, 2]"
    source = write(tmp_path / "in.ipynb", code(lines, "parameters"), metadata=SPEC)
    document = cli("notebook", "parameters", str(source), "--json").json
    found = {item["name"]: item for item in document["parameters"]}
    for theirs in inspect_notebook(str(source)).values():
        ours = found[theirs["name"]]
        assert (ours["default"], ours.get("help", "")) == (theirs["default"], theirs["help"])
        if theirs["inferred_type_name"] != "None":
            assert ours["type"] == theirs["inferred_type_name"]
    assert list(found) == ["n", "rate", "name", "nothing", "many"]
    assert [item.get("type") for item in found.values()] == ["int", "float", "str", None, "list[int]"]
