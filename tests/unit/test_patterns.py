"""Patterns of names: the shell's."""

from __future__ import annotations

import glob
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.files import patterns


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", ".bashrc", False),
        ("*.csv", "x/a.csv", False),
        ("*.csv", "/x/a.csv", False),
        ("*", ".ssh", False),
        (".*", ".ssh", True),
        ("./out/*.csv", "out/a.csv", True),
        ("out//*.csv", "out/a.csv", True),
        ("../*.csv", "../a.csv", True),
        ("/data/*/x", "/data/a/x", True),
        ("/data/*/x", "/data/a/b/x", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("**/*.py", "a/.git/c.py", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", True),
        ("a/**/b/**/c", "a/b/x/c", True),
        ("a/**/b/**/c", "a/x/c", False),
        ("[!a]x", "bx", True),
        ("[!a]x", "ax", False),
        ("~/out/*.csv", "/root/out/a.csv", True),
        ("~/out/*.csv", "/root/.bashrc", False),
        ("~/out/*.csv", "out/a.csv", False),
        ("~/*.csv", "/root/.ssh/a.csv", True),  # some home may be there
    ],
)
def test_answers_of_a_pattern(pattern: str, name: str, fits: bool) -> None:
    """What a runtime may answer to a pattern, and what it may not."""
    assert patterns.answers(pattern, name) is fits


def test_everything_that_glob_finds_is_an_answer(tmp_path: Path) -> None:
    """No right answer is refused."""
    for name in ("a.csv", "b", ".hidden", "d/e/f.csv", "d/.g", "d/x", "[z]/q"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    for pattern in ("*", "**", "d/*", "d/**", "**/*.csv", "./*", "*/../*", "[[]z]/*", ".*", "?", "*/", "d/**/x"):
        found = [
            os.path.relpath(path, tmp_path) for path in glob.iglob(os.path.join(tmp_path, pattern), recursive=True)
        ]
        assert found or pattern == "d/**/x"
        assert [name for name in found if not patterns.answers(pattern, name)] == []


@given(st.integers(1, 40), st.integers(1, 250))
def test_many_stars_take_little_time(stars: int, letters: int) -> None:
    """However many stars a pattern has, and whatever the name."""
    began = time.process_time()
    assert not patterns.answers("*a" * stars + "*b", "a" * letters)
    assert not patterns.answers("**/a/" * stars + "b", "a/" * letters + "a")
    assert time.process_time() - began < 1
