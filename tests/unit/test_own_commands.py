"""Commands that our sentences name can be typed as they stand."""

from __future__ import annotations

import sys

import pytest

from lecoder_cgpu.cli import help_text, own_commands
from lecoder_cgpu.cli.looks import Prose, wrapped


@pytest.mark.parametrize("name", ["/usr/bin/cgpu", "cgpu", r"C:\Scripts\cgpu.exe"])
def test_who_typed_the_short_name_reads_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Commands have it, help too; paths, versions and packages keep theirs."""
    monkeypatch.setattr(sys, "argv", [name])
    said = own_commands.as_typed("now: lecoder-cgpu sessions close a; `lecoder-cgpu --help`, lecoder-cgpu [OPTIONS]")
    assert said == "now: cgpu sessions close a; `cgpu --help`, cgpu [OPTIONS]"
    for kept in ("lecoder-cgpu 0.6.0: here", "~/.config/lecoder-cgpu/x", 'pip install "lecoder-cgpu[remote]"'):
        assert own_commands.as_typed(kept) == kept
    assert help_text.render([["usage", "lecoder-cgpu run COMMAND..."]], 80) == "Usage: cgpu run COMMAND..."
    assert own_commands.addressed(said, "work").startswith("now: cgpu --profile work sessions close a")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("see: lecoder-cgpu ls out", "see: lecoder-cgpu --profile work ls --session 'my lab' out"),
        (
            "lecoder-cgpu rm -r x; or lecoder-cgpu kernel restart",
            "lecoder-cgpu --profile work rm --session 'my lab' -r x; "
            "or lecoder-cgpu --profile work kernel restart --session 'my lab'",
        ),
        ("lecoder-cgpu download --session a x", "lecoder-cgpu --profile work download --session a x"),
        ("lecoder-cgpu run --gpu T4 x", "lecoder-cgpu --profile work run --gpu T4 x"),
        ("lecoder-cgpu job wait run-1", "lecoder-cgpu --profile work job wait run-1"),
        ("lecoder-cgpu sessions close b", "lecoder-cgpu --profile work sessions close b"),
    ],
)
def test_commands_act_on_the_session_that_was_named(said: str, meant: str) -> None:
    """Where they act on one at all, and name no other; what was typed as its name is one word, whatever is in it."""
    assert own_commands.addressed(said, "work", "my lab") == meant


def test_the_long_name_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who typed that, or came in by another way, reads the long one."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/lecoder-cgpu"])
    assert own_commands.as_typed("lecoder-cgpu run ls") == "lecoder-cgpu run ls"


def test_sentences_end_between_words() -> None:
    """At any width, and a command of either name stays whole."""
    text = Prose("* A runtime costs units while it is held, idle or not: cgpu sessions close colab\n* Second.")
    lines = wrapped(text, 40).splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert any("cgpu sessions close colab" in line for line in lines)
