"""What comes from files of this machine: variables (dotenv), headers of scripts, and which words are scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.cli import dotenv, parse, run_checks, script_files
from lecoder_cgpu.runs import script_header

HERE = {"HOME_DIR": "/home/ada"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("# only a comment\n\n", {}),
        ("A=1\nB = two words \n", {"A": "1", "B": "two words"}),
        ("  A=1\n\texport B = 2\n", {"A": "1", "B": "2"}),
        ("export A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=x#y\nB=x #y\nC=#z\n", {"A": "x#y", "B": "x", "C": ""}),
        ("A='$HOME ${B} \\n'\n", {"A": "$HOME ${B} \\n"}),
        ('A="two\\nlines \\"quoted\\" \\$5" # why\n', {"A": 'two\nlines "quoted" $5'}),
        ('A="over\nlines"\nB=1', {"A": "over\nlines", "B": "1"}),
        ("A=1\nB=${A}2-${NO:-none}-${NO}\n", {"A": "1", "B": "12-none-"}),
        ('A="${HOME_DIR}/x"\nB="\\${HOME_DIR}"', {"A": "/home/ada/x", "B": "${HOME_DIR}"}),
        ("HOME_DIR\n", {"HOME_DIR": "/home/ada"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("A=\nB=''\n", {"A": "", "B": ""}),
    ],
)
def test_dotenv(text: str, found: dict[str, str]) -> None:
    assert dotenv.parse(text, ".env", HERE.get) == found


@pytest.mark.parametrize(
    "text",
    [
        "A B", "=1", "1A=2", "A='x", 'A="x', "A='s3cret' s3cret", "NOT_SET_HERE", "A=s3cret\0", "- A=1",
        "export 9B=s3cret", "hf_s3cret", "s3cret more", "KEY: s3cret", "A-s3cret=1", "export s3cret-x==",
    ],
)  # fmt: skip
def test_bad_dotenv(text: str) -> None:
    """The line is named, and no value is shown: it may be a secret."""
    with pytest.raises(errors.UsageError, match="line 3") as caught:
        dotenv.parse("\nB=s3cret\n" + text, ".env", HERE.get)
    assert "s3cret" not in str(caught.value)


def test_header_of_a_script() -> None:
    text = '#!/x\n# /// script\n# requires-python = ">=3.9"\n# dependencies = [\n#   "rich>=13",\n# ]\n# ///\nprint()\n'
    for variant in (text, text.replace("\n", "\r\n")):
        assert script_header.read(variant, "x.py") == script_header.Header(["rich>=13"], ">=3.9")
    assert script_header.read("print(1)\n# /// script\n", "x.py") == script_header.Header()
    for unended in ('# dependencies = ["rich"]\nprint(1)\n', '#dependencies = ["rich"]\n# ///\n'):
        with pytest.raises(errors.UsageError, match="has no end"):
            script_header.read(f"# /// script\n{unended}", "x.py")
    assert script_header.read("# /// script\n# ///\nprint(1)\n", "x.py") == script_header.Header()


def test_which_python_a_script_is_for() -> None:
    """Pre-releases count; what is no version says nothing."""
    header = script_header.Header(python=">=3.12")
    versions = ("3.11.9", "3.12.0", "3.13.0rc1", "3.12.1+local", "odd")
    assert [header.fits(item) for item in versions] == [False, True, True, True, True]
    assert script_header.Header().fits("3.8.10")
    assert (header.asks, script_header.Header().asks, script_header.Header(["rich"]).asks) == (True, False, True)


@pytest.mark.parametrize(
    "content",
    [
        "dependencies = 3",
        "dependencies = [1]",
        'dependencies = ["-r x"]',
        "dependencies = [",
        'requires-python = "x"',
        "requires-python = [3]",
    ],
)
def test_bad_header(content: str) -> None:
    with pytest.raises(errors.UsageError, match=r"x\.py"):
        script_header.read(f"# /// script\n# {content}\n# ///\n", "x.py")


def test_which_words_are_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All behind a script that calls us is the script's; behind another one, all but a last --json."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("print()")
    Path("ours").write_text("#!/usr/bin/env -S lecoder-cgpu run --gpu L4\nprint()")
    Path("other").write_text("#!/bin/sh\n")
    found = [
        word
        for word in ("train.py", "ours", "other", "no.py", ".", "a b.py", "x\0y", "")
        if script_files.is_script(word)
    ]
    assert found == ["train.py", "ours"]
    assert parse.split_run(["./ours", "--json"]).remote == ["./ours", "--json"]
    assert parse.split_run(["train.py", "--json"]) == parse.Split(["--json"], ["train.py"])
    assert parse.split_run(["-m", "kernel", "-f", "ours", "--epochs", "3"]) == parse.Split(
        ["-m", "kernel", "-f", "ours"], ["--epochs", "3"], separated=True
    )
    assert parse.split_run(["-f", "train.py", "--", "3"]).separated


@pytest.mark.parametrize("word", ["tpu", "TPU", "any", "v5e", "v5e-1", "V28", "tpu v2-8", "v5e-1,v6e-1", "T4"])
def test_a_kind_of_tpu_is_no_command(word: str) -> None:
    assert parse.split_run(["--tpu", word, "nvidia-smi"]) == parse.Split(["--tpu", word], ["nvidia-smi"])


def test_a_command_is_no_kind_of_tpu() -> None:
    assert parse.split_run(["--tpu", "vi", "x"]) == parse.Split(["--tpu"], ["vi", "x"])


def test_a_dash_is_no_command() -> None:
    """A shell would say that it does not find it; the hint names what reads from a pipe."""
    with pytest.raises(errors.UsageError, match="no command") as caught:
        run_checks.of_command({"kernel_name": None}, ["-"])
    assert "notebook run -" in (caught.value.hint or "")
