"""What users of other tools type leads to the command that does it here."""

from __future__ import annotations

import json
import shlex

import click
import pytest

from lecoder_cgpu.cli.app import COMMANDS, root
from lecoder_cgpu.cli.other_words import OTHER_WORDS, called_below, called_here, near, option_here, with_arguments
from tests.support.cli import Cli

WORDS = sorted(OTHER_WORDS)


def found(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words name, and those that are left."""
    command: click.Command = root
    words = list(words)
    while isinstance(command, click.Group) and words:
        inner = command.get_command(click.Context(command), words[0])
        if inner is None:
            break
        command = inner
        del words[0]
    return command, words


@pytest.mark.parametrize("word", WORDS)
def test_a_word_leads_to_a_command_that_exists(word: str) -> None:
    """And is none itself. What follows the command are its own options, or what the user fills in."""
    assert word not in COMMANDS
    command, rest = found(OTHER_WORDS[word].split())
    options = {"--help"} | {name for option in command.params for name in option.opts}
    assert command is not root or rest in (["--version"], ["--help"])
    assert all(name in options for name in rest if name.startswith("-")), rest


@pytest.mark.parametrize(
    ("typed", "here"),
    [
        ("exec", "run"), ("new", "sessions create"), ("stop", "sessions close"), ("whoami", "auth status"),
        ("version", "--version"), ("repl", "connect -m kernel"), ("console", "connect"), ("url", "open --print"),
        ("pay", "usage"), ("drivemount", "colab mount"), ("sh", "connect"), ("ps", "job list"),
        ("kill", "job kill JOB"), ("cp", "upload"), ("push", "upload"), ("pull", "download"),
        ("attach", "run --attach RUN_ID"), ("shell", "connect"), ("jobs", "job list"), ("gpu", "gpus"),
        ("Stop", "sessions close"), ("xyzzy", None),
    ],
)  # fmt: skip
def test_the_words_of_other_tools(typed: str, here: str | None) -> None:
    assert called_here(typed) == here


@pytest.mark.parametrize(
    ("typed", "here"),
    [
        ("sessions stop", "close"), ("sessions ls", "list"), ("sessions rm", "close"), ("sessions start", "create"),
        ("sessions use", "switch"), ("sessions attach", "adopt"), ("sessions info", "list"), ("job cancel", "kill"),
        ("job stop", "kill"), ("job status", "show"), ("job ls", "list"), ("job tail", "logs"),
        ("auth whoami", "status"), ("auth revoke", "logout"), ("notebook exec", "run"), ("kernel stop", "interrupt"),
        ("keeper start", "run"),
        ("profile add", "create"), ("profile remove", "delete"), ("profile switch", "use"), ("profile show", "list"),
        ("profile current", "list"), ("profile mv", "rename"), ("profile edit", "set"), ("config list", "show"),
        ("config rm", "unset"), ("config edit", "set"), ("profile xyzzy", None),
    ],
)  # fmt: skip
def test_words_of_other_tools_behind_the_name_of_a_group(typed: str, here: str | None) -> None:
    group, (word,) = found(typed.split())
    assert isinstance(group, click.Group)
    assert called_below(word, group.commands) == here


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("statsu", "status"),
        ("runn", "run"),
        ("sesions", "sessions"),
        ("jbo", "job"),
        ("kernels", "kernel"),
        ("pause", None),
        ("save", None),
        ("cron", None),
        ("share", None),
        ("clone", None),
        ("hello", None),
    ],
)
def test_a_slip_is_told_from_another_word(typed: str, meant: str | None) -> None:
    assert near(typed, COMMANDS) == meant


@pytest.mark.parametrize(
    ("typed", "option", "here"),
    [
        ("run", "--gpus", "--gpu T4"),
        ("run", "-d", "--detach"),
        ("run", "-i", "lecoder-cgpu connect"),
        ("run", "--volume", "--sync DIR"),
        ("run", "--token", None),
        ("sessions add", "--token", "--token-stdin < FILE"),
        ("job kill", "-9", "--signal 9"),
        ("job kill", "-KILL", "--signal KILL"),
        ("job wait", "-9", None),
        ("status", "--gpus", None),
        ("run", "--xyzzy", None),
    ],
)
def test_options_of_other_tools(typed: str, option: str, here: str | None) -> None:
    """Only where the command has what they are called here."""
    command, rest = found(typed.split())
    assert (option_here(option, command), rest) == (here, [])


def test_an_option_of_the_command_beside_it(cli: Cli) -> None:
    """A folder makes a local runtime with `sessions add`; what several commands of the group have is not guessed."""
    told = cli("sessions", "create", "a", "--root", ".")
    assert told.code == 2
    assert "hint: lecoder-cgpu sessions add has --root: lecoder-cgpu sessions add --help" in told.err
    assert "hint: lecoder-cgpu sessions list --help" in cli("sessions", "list", "--gpu", "T4").err


def test_the_command_is_told(cli: Cli) -> None:
    """In words for people, and as the suggestion of the document; exit status 2, and nothing else is done."""
    told = cli("stop", "my")
    assert (told.code, told.out) == (2, "")
    assert "it is called 'sessions close' here" in told.err
    assert "it is called 'job kill' here" in cli("job", "cancel", "x").err
    script = cli.home / "train it.py"
    script.touch()
    assert f"lecoder-cgpu run '{script}'" in cli(str(script)).err
    assert json.loads(cli("--json", "stop").out)["error"]["suggestion"] == "lecoder-cgpu sessions close"


def test_help_is_a_word(cli: Cli) -> None:
    """`help COMMAND` prints what `COMMAND --help` prints, and `help` what `--help` prints."""
    for words in (["run"], ["sessions", "close"], []):
        assert cli("help", *words).out == cli(*words, "--help").out != ""
    assert cli("help", "--json").json["message"] == cli("--help").out.rstrip("\n")
    assert cli("help", "nothing").code == 2


def test_what_is_missing_stands_in_the_command_to_type(cli: Cli) -> None:
    """In its place, behind what was typed; a group's name alone names what looks."""
    for typed, hint in (
        ("sessions adopt gpu-1", "lecoder-cgpu --json sessions adopt gpu-1 --name NAME"),
        ("config set", "lecoder-cgpu --json config set KEY VALUE"),
        ("job plot --metric loss", "lecoder-cgpu --json job plot --metric loss JOB"),
        ("app logs run-1", "lecoder-cgpu job logs run-1"),
        ("get pods", "lecoder-cgpu sessions list"),
        ("pip install tqdm", "lecoder-cgpu install tqdm"),
        ("kernels push -p .", "lecoder-cgpu run --detach --sync . python train.py"),
        ("logs run-1", "lecoder-cgpu logs show run-1"),
        ("notebook x.ipynb", "lecoder-cgpu notebook run x.ipynb"),
        ("notebook run a.ipynb b.ipynb", "lecoder-cgpu notebook run IN.ipynb -o OUT.ipynb -p NAME=VALUE"),
        ("--gpu T4 train.py", "lecoder-cgpu run --json --gpu T4 train.py"),
        ("print(1)", "lecoder-cgpu run -m kernel 'print(1)'"),
        ("sessions --all", "lecoder-cgpu sessions list, or what else there is: lecoder-cgpu sessions --help"),
        ("upload -r data", "leave it out: folders are copied whole"),
        ("sessions", "lecoder-cgpu sessions list, or what else there is: lecoder-cgpu sessions --help"),
    ):
        answer = cli("--json", *typed.split())
        assert (answer.code, answer.json["error"]["suggestion"]) == (2, hint), answer


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("stop --all", "sessions close --all"), ("stop train", "sessions close train"),
        ("kill run-1", "job kill run-1"), ("kill", "job kill JOB"), ("tail -n 5 run-1", "job logs -n 5 run-1"),
        ("exec -f x.py", "run -m kernel -f x.py"), ("exec -it pod bash", "run"),
        ("exec python x.py --epochs 3", "run python x.py --epochs 3"), ("update --install", "upgrade --install"),
        ("new t --gpu T4", "sessions create t --gpu T4"), ("new -s t", "sessions create"), ("log -n 3", "logs -n 3"),
        ("log -o x.ipynb", "logs"), ("version --short", "--version"), ("nvidia-smi -L", 'run "nvidia-smi"'),
        ("cp a 'b c'", "upload a 'b c'"), ("cp lab:/content/x .", "download lab:/content/x ."),
        ("whoami now", "auth status"), ("secret list", "run --secret NAME"), ("train --lr 1", "run train.py"),
        ("attach run-1", "run --attach run-1"), ("kaggle competitions list", "run kaggle competitions list"),
    ],
)  # fmt: skip
def test_the_arguments_of_a_word_of_other_tools(typed: str, whole: str) -> None:
    """They stand in the command to type where it takes them, and it is complete with them."""
    word, *given = shlex.split(typed)
    here = called_here(word)
    assert here is not None
    assert with_arguments(click.Context(root), here, given) == whole
