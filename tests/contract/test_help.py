"""What --help says of every command: it has examples, they are accepted, and every option is explained."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from lecoder_cgpu.cli import app
from lecoder_cgpu.cli.output import Printer


def every(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, with the words that name them."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from every(found, *path, name)


COMMANDS = dict(every(app.root, "lecoder-cgpu"))


def examples(command: click.Command) -> list[list[str]]:
    """The words behind `lecoder-cgpu` in each example, without what comes from the shell and without remarks."""
    blocks = re.findall(r"\x08\n((?:.+\n?)+)", command.help or "")
    lines = [line for block in blocks for line in block.splitlines()]
    typed = [re.split(r"\s{3,}", line.strip())[0].split("lecoder-cgpu ", 1) for line in lines]
    found = []
    for _, line in (item for item in typed if len(item) == 2):
        words = shlex.split(line, posix=True)
        end = next((place for place, word in enumerate(words) if word in ("|", "<", ">", ">>")), len(words))
        found.append(words[:end])
    return found


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> click.Group:
    """The command line, whose commands are parsed and not executed."""
    for kind in (click.Command, app.Command):
        monkeypatch.setattr(kind, "invoke", lambda command, context: None)
    monkeypatch.setattr(app.App, "log", None)
    return app.root


def parse(root: click.Group, words: list[str]) -> None:
    root.main(words, prog_name="lecoder-cgpu", standalone_mode=False, obj=app.App(Printer("human")))


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_accepted(name: str, parses: click.Group) -> None:
    """Each command has examples, and they are command lines of this version."""
    found = examples(COMMANDS[name])
    assert found, "there is no example"
    for words in found:
        parse(parses, words)


@pytest.mark.parametrize(
    "words", [["jobz"], ["job", "rm"], ["job", "show", "a", "b"], ["ls", "--all"], ["run", "--timeout", "soon", "x"]]
)
def test_a_wrong_example_is_seen(words: list[str], parses: click.Group) -> None:
    """The parser refuses a command, an option, a value and a number of arguments that are not there."""
    with pytest.raises(click.UsageError):
        parse(parses, words)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_can_be_read(name: str) -> None:
    """Lines fit, and every option says what it does and what its value is."""
    command = COMMANDS[name]
    context = click.Context(command, info_name=name, max_content_width=100)
    assert [line for line in command.get_help(context).splitlines() if len(line) > 100] == []
    for option in (item for item in command.params if isinstance(item, click.Option)):
        assert option.help
        assert option.help.endswith(".")
        value = option.make_metavar(context)
        assert not re.match(r"TEXT|INTEGER|FLOAT", value) or option.name == "search", f"{option.opts}: {value}"


def test_an_option_means_the_same_everywhere() -> None:
    """Options that several commands share have one wording, but for those that are about something else there."""
    elsewhere = {
        "--all",
        "--attach",
        "--auto-install",
        "--category",
        "--cwd",
        "--env",
        "--events",
        "--follow",
        "--force",
        "--from",
        "--html",
        "--kernel-name",
        "--key",
        "--max-output",
        "--mode",
        "--name",
        "--on-finish",
        "--output",
        "--outputs",
        "--pull",
        "--release",
        "--secret",
        "--start",
        "--stdin",
        "--timeout",
        "--to",
        "--token-stdin",
        "--wait",
    }
    wordings: dict[str, set[str | None]] = {}
    for command in COMMANDS.values():
        for option in (item for item in command.params if isinstance(item, click.Option)):
            wordings.setdefault(max(option.opts, key=len), set()).add(option.help)
    assert {name for name, helps in wordings.items() if len(helps) > 1} == elsewhere
