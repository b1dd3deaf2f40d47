"""What --help says of every command: it has examples, they are accepted, and every option is explained."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lecoder_cgpu.cli import app, help_page
from lecoder_cgpu.cli.output import Printer


def every(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, with the words that name them."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command, **command.context_settings)
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
    "words", [["jobz"], ["job", "retry"], ["job", "show", "a", "b"], ["ls", "--all"], ["run", "--timeout", "soon", "x"]]
)
def test_a_wrong_example_is_seen(words: list[str], parses: click.Group) -> None:
    """The parser refuses a command, an option, a value and a number of arguments that are not there."""
    with pytest.raises(click.UsageError):
        parse(parses, words)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_can_be_read(name: str) -> None:
    """Lines fit, and every option says what it does and what its value is."""
    command = COMMANDS[name]
    context = click.Context(command, info_name=name, max_content_width=100, **command.context_settings)
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
        "--attempt",
        "--auto-install",
        "--category",
        "--cwd",
        "--env",
        "--events",
        "--follow",
        "--force",
        "--from",
        "--html",
        "--install",
        "--kernel-name",
        "--key",
        "--max-output",
        "--mode",
        "--name",
        "--on-finish",
        "--output",
        "--outputs",
        "--print",
        "--pull",
        "--release",
        "--retries",
        "--secret",
        "--start",
        "--stdin",
        "--timeout",
        "--to",
        "--token-stdin",
        "--wait",
        "--yes",
        "--sync",
    }
    wordings: dict[str, set[str | None]] = {}
    for command in COMMANDS.values():
        for option in (item for item in command.params if isinstance(item, click.Option)):
            wordings.setdefault(max(option.opts, key=len), set()).add(option.help)
    assert {name for name, helps in wordings.items() if len(helps) > 1} == elsewhere


PAGES = Path(__file__).with_name("pages")


def page(name: str, columns: int) -> str:
    """The help of a command as a terminal of that width shows it."""
    context = click.Context(COMMANDS[name], info_name=name, terminal_width=columns, **COMMANDS[name].context_settings)
    return COMMANDS[name].get_help(context)


@pytest.mark.parametrize("name", ["lecoder-cgpu", "lecoder-cgpu run", "lecoder-cgpu job", "lecoder-cgpu sessions"])
def test_pages_at_80_columns(name: str) -> None:
    """The pages that are read most, as they are shown. A wanted change: write the new page into the file."""
    kept = PAGES / f"{name.replace(' ', '-')}.txt"
    assert page(name, 80) + "\n" == kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [40, 57, 80, 100])
def test_lines_end_between_words(columns: int) -> None:
    """No line is longer than the terminal, but for a single word that is; and no word is cut."""
    for name in COMMANDS:
        wide = set(re.findall(r"[\w/.-]+", page(name, 1000)))
        for line in page(name, columns).splitlines():
            assert len(line) <= columns or len(line.strip(" \\").split()) == 1 or '"' in line or "'" in line, name
            assert set(re.findall(r"[\w/.-]+", line)) <= wide, name


def test_every_command_has_its_group() -> None:
    """The page of the root shows each command once, and no old name of one."""
    shown = [name for names in help_page.GROUPS.values() for name in names]
    assert sorted([*shown, *help_page.OLD_NAMES]) == sorted(app.COMMANDS)


def test_every_option_of_run_has_its_group() -> None:
    """The ten options of every day come first, and none is forgotten."""
    text = page("lecoder-cgpu run", 80)
    assert "Other options" not in text
    first, *_ = help_page.OPTIONS["run"].values()
    assert len(first) == 10
    known = {name for option in COMMANDS["lecoder-cgpu run"].params for name in option.opts} | {"--help"}
    assert {name for names in help_page.OPTIONS["run"].values() for name in names} <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_the_next_command_is_one(name: str, parses: click.Group) -> None:
    """Each page ends with a command line that this version takes."""
    path = name.partition(" ")[2]
    last = page(name, 80).splitlines()[-1]
    assert last == f"Next: lecoder-cgpu {help_page.next_command(path)}"
    parse(parses, shlex.split(help_page.next_command(path)))
