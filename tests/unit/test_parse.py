"""Which words of `run` are ours and which belong to the remote command."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu import errors
from lecoder_cgpu.cli import local_script, missing_scripts, parse
from lecoder_cgpu.cli.commands import connect, run, sessions


@pytest.mark.parametrize(
    ("line", "ours", "remote"),
    [
        # What the reference page types.
        (["nvidia-smi", "--json"], ["--json"], ["nvidia-smi"]),
        (["-m", "kernel", "print(1)", "--json"], ["-m", "kernel", "--json"], ["print(1)"]),
        (["-m", "kernel", "--json", "print(1)"], ["-m", "kernel", "--json"], ["print(1)"]),
        (["pip install transformers"], [], ["pip install transformers"]),
        # What the promise in the documentation says.
        (["python3", "-c", "print(1)"], [], ["python3", "-c", "print(1)"]),
        (["python", "train.py", "--json"], [], ["python", "train.py", "--json"]),
        (["--json", "--", "python", "train.py", "--json"], ["--json"], ["python", "train.py", "--json"]),
        (["--json", "python", "train.py"], ["--json"], ["python", "train.py"]),
        (["--", "ls", "--json"], [], ["ls", "--json"]),
        (["ls", "--json", "--timeout", "5"], ["--json", "--timeout", "5"], ["ls"]),
        (["ls", "--json", "--long"], [], ["ls", "--json", "--long"]),
        # Flags that the predecessor stole from the remote command.
        (["python3", "--version"], [], ["python3", "--version"]),
        (["ls", "-s", "/"], [], ["ls", "-s", "/"]),
        (["ls", "-c", "/etc"], [], ["ls", "-c", "/etc"]),
        (["-v", "ls"], ["-v"], ["ls"]),
        (["ls", "-v"], [], ["ls", "-v"]),
        (["grep", "-e", "x", "-f", "list"], [], ["grep", "-e", "x", "-f", "list"]),
        (["python", "-m", "http.server"], [], ["python", "-m", "http.server"]),
        (["--timeout", "5", "x"], ["--timeout", "5"], ["x"]),
        (["--kernel", "1"], ["--kernel"], ["1"]),
        (["--", "--", "x"], [], ["--", "x"]),
        # A whole shell command takes no further arguments, so what follows it is ours.
        (["nvidia-smi -L", "-s", "lab"], ["-s", "lab"], ["nvidia-smi -L"]),
        (["print(1)", "-m", "kernel", "--json"], ["-m", "kernel", "--json"], ["print(1)"]),
        # Lines of code, then options.
        (["-mkernel", "x=1", "print(x)", "--json"], ["-mkernel", "--json"], ["x=1", "print(x)"]),
        (["-k", "-", "--json"], ["-k", "--json"], ["-"]),
        (["--mode=kernel", "x", "-s", "lab"], ["--mode=kernel", "-s", "lab"], ["x"]),
        (["-m", "kernel", "-f", "a.py", "--json"], ["-m", "kernel", "-f", "a.py", "--json"], []),
        ([], [], []),
        (["--json"], ["--json"], []),
    ],
)
def test_division(line: list[str], ours: list[str], remote: list[str]) -> None:
    """Every word goes where the rule sends it."""
    split = parse.split_run(line)
    assert (split.ours, split.remote) == (ours, remote)


@pytest.mark.parametrize(
    ("line", "ours", "remote", "passed"),
    [
        ("train.py --name x --gpu T4", "", "train.py --name x --gpu T4", "--name --gpu"),
        ("train.py --lr 1 --json", "--json", "train.py --lr 1", ""),
        ("speaks.py --lr 1 --json", "", "speaks.py --lr 1 --json", "--json"),
        ("speaks.py --json", "", "speaks.py --json", "--json"),
        ("train.py -- --lr 1 --json", "", "train.py -- --lr 1 --json", ""),
        ("train.py --json --lr 1", "", "train.py --json --lr 1", "--json"),
        ("--json train.py --json --key=4", "--json", "train.py --json --key=4", "--key"),
        ("train.py -- --json", "", "train.py -- --json", ""),
        ("train.py --epochs 3 -v -s x", "", "train.py --epochs 3 -v -s x", ""),
        ("-k train.py --timeout 3", "-k", "train.py --timeout 3", "--timeout"),
        ("--sync src inner.py --key 1", "--sync src", "inner.py --key 1", "--key"),
        ("--sync=src ./inner.py --key=1", "--sync=src", "./inner.py --key=1", "--key"),
        # Every command takes --json as the last word.
        ("train.py --json", "--json", "train.py", ""),
        ("-k train.py --json", "-k --json", "train.py", ""),
        # What names no script of this machine, and the code of a file.
        ("inner.py --json", "--json", "inner.py", ""),
        ("-k -f train.py --json", "-k -f train.py --json", "", ""),
        ("python train.py --json", "", "python train.py --json", "--json"),
        ("-- python train.py --json", "", "python train.py --json", ""),
    ],
)
def test_what_stands_behind_a_script_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, ours: str, remote: str, passed: str
) -> None:
    """Whatever it is called; what `run` has as well is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    for name in ("train.py", "src/inner.py"):
        (tmp_path / name).write_text("parser.add_argument('--json-lines')")
    (tmp_path / "speaks.py").write_text("parser.add_argument('--json')")
    split = parse.split_run(line.split())
    assert (split.ours, split.remote, split.passed) == (ours.split(), remote.split(), tuple(passed.split()))


@pytest.mark.parametrize(
    ("words", "kernel", "script"),
    [
        (["trian.py"], False, "trian.py"),
        (["./go.sh", "-x"], False, "./go.sh"),
        (["python", "-u", "a/b.py", "x.py"], False, "a/b.py"),
        (["python3 train.py --lr 0.1"], False, "train.py"),
        (["bash", "go.sh"], False, "go.sh"),
        (["trian.py"], True, "trian.py"),
        (["python", "-m", "pytest", "x.py"], False, None),
        (["python", "-c", "x.py"], False, None),
        (["python", "/opt/x.py"], False, None),
        (["../x.py"], False, None),
        (["cd src && python x.py"], False, None),
        (["python train_{a}.py"], False, None),
        (["echo 'x.py"], False, None),
        (["cat", "x.py"], False, None),
        (["import x", "x.py"], True, None),
        (["print('x.py')"], True, None),
        (["nvidia-smi"], False, None),
        ([""], False, None),
        ([], False, None),
    ],
)
def test_which_script_a_command_executes(words: list[str], kernel: bool, script: str | None) -> None:
    """Only what certainly is one, in the working folder: a new runtime is refused for it if nothing sends it."""
    assert missing_scripts.named(words, kernel=kernel) == script


@pytest.mark.parametrize(
    ("words", "tpu", "refused"),
    [
        (["v9x-4"], "any", True),
        (["fooz"], "any", True),
        (["nvidia-smi"], "any", False),
        (["sh"], "any", False),
        (["./fooz"], "any", False),
        (["fooz", "x"], "any", False),
        (["fooz"], "v5e-1", False),
        (["fooz"], None, False),
    ],
)
def test_no_tpu_is_started_for_a_misspelt_kind(words: list[str], tpu: str | None, refused: bool) -> None:
    with pytest.raises(errors.UsageError, match="no kind of TPU") if refused else contextlib.nullcontext():
        missing_scripts.check_kind(words, tpu)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("print(6*7)", True),
        ("import os", True),
        ("x = f(1)", True),
        ("ls -l", False),
        ("foo-bar", False),
        ("nosuch", False),
        ("echo (", False),
        ("x=1", False),
    ],
)
def test_what_is_rather_python_than_a_command(text: str, code: bool) -> None:
    assert local_script.is_code(text) == code


@given(st.lists(st.sampled_from(["--json", "-s", "--", "ls", "a b", "-m", "kernel", "--timeout", "5", "-x", "-", ""])))
def test_no_word_is_lost(line: list[str]) -> None:
    """Each word is on exactly one side, in order; only the first `--` disappears."""
    split = parse.split_run(line)
    words = split.ours + split.remote
    kept = sorted(line)
    if len(words) != len(line):
        kept.remove("--")
    assert sorted(words) == kept


def test_the_table_of_options_is_the_declaration() -> None:
    """The parser's table knows exactly the options that `run` declares, and which take values."""
    declared = {}
    for parameter in run.command.params:
        if parameter.param_type_name == "option":
            for name in parameter.opts:
                declared[name] = not parameter.is_flag  # type: ignore[attr-defined]
    declared |= {"-h": False, "--help": False}
    assert declared == dict(parse.RUN_OPTIONS)


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        (["status", "--json"], "json"),
        (["--json", "status"], "json"),
        (["--backend", "local", "--json", "status"], "json"),
        (["status"], "human"),
        (["run", "ls", "--json"], "json"),
        (["run", "ls", "-l", "--json"], "human"),
        (["run", "--events", "ls"], "events"),
        (["--json", "run", "python", "x.py", "--json"], "json"),
        (["run", "--", "x", "--json"], "human"),
        (["nonsense", "--json"], "json"),
        (["ssh", "train", "jq", "--json"], "human"),
        (["ssh", "--json", "train", "ls"], "json"),
        (["ssh", "--public-key", "k.pub", "--rm", "--gpu", "T4", "--json"], "json"),
        (["--json"], "json"),
        ([], "human"),
    ],
)
def test_the_way_to_answer_is_known_before_parsing(line: list[str], mode: str) -> None:
    """JSON is promised even for a command line that cannot be parsed."""
    assert parse.output_mode(line) == mode


@pytest.mark.parametrize(
    ("line", "is_notebook"),
    [
        ("train.ipynb", True),
        ("--json train.ipynb -p lr=0.1", True),
        ("-p a=1 --only 3 --gpu T4 TRAIN.IPYNB", True),
        ("--keep-going --restart -o x.ipynb n.ipynb", True),
        ("drive:1AbCdEfGhIj", True),
        ("https://colab.research.google.com/drive/1AbCdEfGhIj --in-place", True),
        ("jupyter nbconvert train.ipynb", False),
        ("-- train.ipynb", False),
        ("-o x.ipynb ls", False),
        ("-m kernel print(1)", False),
        ("", False),
    ],
)
def test_notebooks_are_known_by_their_name(line: str, is_notebook: bool) -> None:
    """`run` of a notebook is a command line of `notebook run`, with all that follows; --json there counts."""
    assert parse.is_notebook(line.split()) is is_notebook
    if is_notebook:
        assert parse.output_mode(["run", *line.split(), "-p", "b=2", "--json"]) == "json"


def test_a_piped_connect_passes_on_what_runtime_is_wanted() -> None:
    """It becomes a `run`, and a limit on what the runtime may cost is among the options that must not get lost."""
    wanted = {item.name for item in sessions.ensure.params if isinstance(item, click.Option) and item.expose_value}
    assert set(connect._RUNTIME_OPTIONS) == wanted | {"new_runtime", "rm"}
