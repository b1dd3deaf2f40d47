"""`sweep`: one command with many values, as jobs over several runtimes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import durations, free_tier, runtime_options
from ..app import App, Group
from ..output import Answer

if TYPE_CHECKING:
    from ..sweep_command import Sweep

WORDS = "lecoder_cgpu.sweep.words"  # what stands behind `--`; None without one
PASSED_OVER = {
    "--json": 1,
    "--no-input": 1,
    "-s": 2,
    "--session": 2,
    "--sessions": 2,
    "-c": 2,
    "--config": 2,
    "--backend": 2,
    "--profile": 2,
}


class SweepGroup(Group):
    """A group in which `start` may be left out: `sweep -p lr=0.1 -- python train.py`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(context, args if _names_a_command(args, self.commands) else ["start", *args])


def _names_a_command(args: list[str], names: Any) -> bool:
    """Whether a word of ours comes first, behind options that every command has, or what is probably meant as one; or
    nothing but a plea for help."""
    position = 0
    while position < len(args):
        word = args[position]
        if word in ("-h", "--help"):
            return True
        if not word.startswith("-"):
            return word in names or "--" not in args
        length = PASSED_OVER.get(word.partition("=")[0])
        if length is None:
            return False
        position += 1 if "=" in word else length
    return True


class StartCommand(runtime_options.RuntimeCommand):
    """`sweep start`: what stands behind `--` belongs to the command that is run."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        context.meta[WORDS] = list(args[end + 1 :]) if end < len(args) else None
        return super().parse_args(context, args[:end])


@click.group(cls=SweepGroup, name="sweep")
def command() -> None:
    """Run one command with many values, as jobs over several runtimes.

    Without another word, `sweep` is `sweep start`. A sweep goes on where it stopped, from its own machine or another.

    \b
    lecoder-cgpu sweep -p lr=0.1,0.01 -p seed=0..4 -j 2 --sync . -- python train.py --lr {lr} --seed {seed}
    lecoder-cgpu sweep status
    lecoder-cgpu sweep resume
    """


F = TypeVar("F", bound=Callable[..., Any])


def _sessions(function: F) -> F:
    return click.option(
        "-s", "--sessions", metavar="NAME[,NAME…]", help="Use these sessions, each for one item at a time."
    )(function)


def _work(function: F) -> F:
    """Add the options of what starts items."""
    added = [
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(1, 100),
            metavar="NUMBER",
            help="Start this many runtimes for the sweep at most, and release them at the end.",
        ),
        _sessions,
        click.option("--retry-failed", is_flag=True, help="Run items again that have failed."),
        click.option("--fail-fast", is_flag=True, help="At the first failure, end what runs, and start nothing more."),
        click.option(
            "--joblog", metavar="FILE", help="Write a line for each ended item, in the columns of GNU parallel."
        ),
        free_tier.understood_option,
    ]
    for option in reversed(added):
        function = option(function)
    return function


@command.command(cls=StartCommand)
@click.option("-p", "--values", "parameters", multiple=True, metavar="NAME=VALUES", help="Values: 0.1,0.01 or 0..4.")
@click.option("--from", "file", metavar="FILE", help="A file with a JSON object of values in each line.")
@click.option("--name", metavar="NAME", help="What to call the sweep. Default: made from what it is.")
@click.option("--sync", metavar="DIR", help="First send what is new in this local folder, and run in it there.")
@click.option(
    "--pull",
    multiple=True,
    metavar="PATH[:LOCAL]",
    help="Fetch this when an item has ended, to a place of its own: 'out:results/{key}'. May be repeated.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    metavar="NUMBER",
    help="Run a failed item again, at most this many times.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("-y", "--yes", is_flag=True, help="Go on without asking, however many items there are.")
@_work
@runtime_options.runtime_options(new=False, hub=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.pass_context
def start(context: click.Context, /, words: tuple[str, ...], **options: Any) -> Answer:
    """Run the command once for each combination of the values.

    {NAME} of a parameter and {key}, the hash of the item's values, are replaced in the command and in --pull, and
    nothing else; {{NAME}} becomes {NAME}. The command finds each value in LECODER_CGPU_PARAM_NAME as well. It works in
    a folder of its own, with a copy of what --sync sends. A command in one word is a line for the shell, in which
    values are quoted.

    Runtimes come from -j or -s; without them, the active session is taken, or one runtime is started. The command that
    is given again goes on: what has a result is not run again, and more values are added. Another command, other code
    or another kind of runtime is another sweep. Ctrl-C leaves what runs.

    Exit 0: all is fine. 1: items failed. Else as everywhere: 74 for lost runtimes, 69 when no runtime is available.

    \b
    lecoder-cgpu sweep -p lr=0.1,0.01 -p seed=0..4 --dry-run -- python train.py --lr {lr} --seed {seed}
    lecoder-cgpu sweep -p n=0..100..10 -j 4 --gpu T4 --sync . --pull 'out:results/{key}' -- python train.py {n}
    lecoder-cgpu sweep --from runs.jsonl -s gpu-1,gpu-2 --retries 1 --joblog log.tsv -- python train.py --lr {lr}
    """
    app = context.find_object(App)
    assert app is not None
    given = context.meta[WORDS]
    separated = given is not None and not words
    return _sweep(app, options).start(list(given or ()), separated=separated)


def _sweep(app: App, options: dict[str, Any]) -> Sweep:
    from ..sweep_command import Sweep

    return Sweep(app, options)


@command.command()
@click.argument("name", required=False)
@_sessions
@click.pass_obj
def status(app: App, name: str | None, sessions: str | None) -> Answer:
    """Show all items of a sweep, the newest one without NAME, and how each stands.

    With -s, a sweep is found that another machine has begun on these sessions.

    \b
    lecoder-cgpu sweep status
    lecoder-cgpu sweep status train --json | jq .counts
    lecoder-cgpu sweep status train -s gpu-1,gpu-2
    """
    return _sweep(app, {"sessions": sessions}).status(name)


@command.command()
@click.argument("name", required=False)
@_sessions
@click.option("--timeout", type=durations.SECONDS, metavar="TIME", help="Stop waiting after that; exit 124.")
@click.pass_obj
def wait(app: App, name: str | None, sessions: str | None, timeout: float | None) -> Answer:
    """Wait until nothing of a sweep runs, and fetch the results. Starts nothing; Ctrl-C ends the waiting only.

    The exit status is that of the sweep; 124 while items have no result.

    \b
    lecoder-cgpu sweep wait train --timeout 600
    """
    return _sweep(app, {"sessions": sessions, "timeout": timeout}).wait(name)


@command.command()
@click.argument("name", required=False)
@click.option(
    "--retries", type=click.IntRange(min=0), metavar="NUMBER", help="Run a failed item again, at most this many times."
)
@_work
@click.pass_obj
def resume(app: App, /, name: str | None, **options: Any) -> Answer:
    """Run what has no result, on the same sessions or on others.

    \b
    lecoder-cgpu sweep resume
    lecoder-cgpu sweep resume train --retry-failed
    lecoder-cgpu sweep resume train -s gpu-3
    """
    return _sweep(app, options).resume(name)


@command.command()
@click.argument("name", required=False)
@_sessions
@click.pass_obj
def kill(app: App, name: str | None, sessions: str | None) -> Answer:
    """End what runs of a sweep, and release the runtimes that were started for it. `resume` runs it again.

    \b
    lecoder-cgpu sweep kill train
    """
    return _sweep(app, {"sessions": sessions}).kill(name)
