"""`run`: code in the session's kernel, or a command as a separate process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ... import errors
from .. import display_options, durations, own_runtime, parse, restarts, runtime_options, work_files
from ..app import App, Command

if TYPE_CHECKING:
    from ..output import Answer


SPLIT = "lecoder_cgpu.split"


class RunCommand(Command):
    """`run` divides the command line itself: what belongs to the remote command is never parsed as ours."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if parse.is_notebook(args):
            from .notebook_run import run

            return run.make_context("notebook run", args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        split = parse.split_run(args)
        context.meta[SPLIT] = split
        try:
            return super().parse_args(
                context, [*runtime_options.attach_tpu(parse.spelled_out(split.ours)), "--", *split.remote]
            )
        except click.NoSuchOption as error:
            if not {"-f", "--file"} & set(split.ours):
                raise
            raise errors.UsageError(
                f"{error.format_message()} One for the file stands behind --",
                hint=f"lecoder-cgpu run -m kernel -f FILE -- {error.option_name}",
            ) from error


@click.command(
    cls=RunCommand,
    options_metavar="[OPTIONS]",
    epilog="Options come before the command, or behind it if it is a single word or code; `--` ends them: "
    "run --json -- python train.py --json. What stands behind a script of this machine is the script's, "
    "but for --json as the last word, unless the script has a --json itself: run train.py --epochs 3 --json.",
)
@click.argument("words", nargs=-1, metavar="COMMAND...")
@click.option(
    "-m", "--mode", type=click.Choice(parse.MODES), help="kernel: code that keeps its state; terminal: a process."
)
@click.option("-k", "--kernel", is_flag=True, help="The same as --mode kernel.")
@click.option("-f", "--file", metavar="FILE", help="Read the code from a file (kernel mode); `-` is stdin.")
@click.option("--events", "events_mode", is_flag=True, expose_value=False, help="Print NDJSON events as they happen.")
@display_options.options
@click.option(
    "--timeout",
    type=durations.POSITIVE_SECONDS,
    metavar="TIME",
    help="End the work after that: 90s, 20m, 2h; a bare number is seconds.",
)
@click.option(
    "--idle-timeout",
    type=durations.POSITIVE_SECONDS,
    metavar="TIME",
    help="End work that has printed nothing for that long.",
)
@click.option(
    "--wait",
    type=durations.SECONDS,
    metavar="TIME",
    help="Stop watching after that; exit 124, the work goes on.",
)
@click.option(
    "--on-disconnect",
    type=click.Choice(["kill", "detach"]),
    default="kill",
    show_default=True,
    help="What Ctrl-C, SIGTERM or SIGHUP here does to the work.",
)
@click.option("--stdin", "forward_stdin", is_flag=True, help="Forward our stdin to the command, or to input().")
@click.option("--cwd", metavar="DIR", help="Working folder of the command.")
@click.option("--sync", metavar="DIR", help="First send what is new in this local folder, and run in it there.")
@click.option("--pull", multiple=True, metavar="PATH[:LOCAL]", help="Fetch this at the end (a job: at `job wait`).")
@click.option("--push", multiple=True, metavar="PATH:DEST", help="Have the runtime copy this to its folder, or hf://.")
@work_files.every_option
@restarts.options
@own_runtime.option
@click.option("--release", is_flag=True, help="With --pull: release the runtime once all results were fetched.")
@click.option(
    "-e",
    "--env",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Set a variable for the command; NAME alone takes its value from here.",
)
@click.option(
    "--secret",
    multiple=True,
    metavar="NAME",
    help="Pass a variable that appears nowhere. NAME: its value here; NAME=-: from stdin.",
)
@click.option("--env-file", multiple=True, metavar="FILE", help="Variables from a file of this machine (dotenv).")
@click.option(
    "--secrets-file", multiple=True, metavar="FILE", help="The same for --secret: values that appear nowhere."
)
@click.option("--detach", "--background", is_flag=True, help="Start the work and leave it running; prints its job id.")
@click.option("--key", metavar="KEY", help="With --detach: the same key and input are one job, also when repeated.")
@click.option("--name", metavar="NAME", help="What `job …` may call it: names need not be unique, the newest is meant.")
@click.option("--auto-install", is_flag=True, help="Install a package that is missing, and run again, once.")
@click.option(
    "--attach", metavar="RUN_ID", help="Show an earlier run or job (id or name) from its first byte to its end."
)
@click.option(
    "--from",
    "start",
    metavar="[STREAM=]OFFSET",
    multiple=True,
    help="With --attach: skip this many bytes of stdout, or of STREAM (stdout, stderr).",
)
@click.option(
    "--heartbeat",
    type=durations.TIME,
    default=display_options.HEARTBEAT,
    show_default=True,
    metavar="TIME",
    help="With --events: an event at this interval while the run goes on; 0 for none.",
)
@click.option(
    "--on-finish", metavar="COMMAND", help="Execute this here when the run has ended (see `job wait --help`)."
)
@runtime_options.runtime_options(new=True)
@runtime_options.kernel_option
@click.option("-v", "--verbose", is_flag=True, help="Tell on stderr which session is used.")
@click.pass_obj
def command(app: App, /, words: Sequence[str], **options: Any) -> Answer:
    """Run a command as a process on the runtime, or code in its kernel.

    One word is a shell command line (run by bash); several words are a program and its arguments. In kernel mode
    the words are lines of the kernel's language, which is Python unless the server or --kernel-name says otherwise,
    and variables live until the kernel is restarted.

    A Python file of this machine is sent and executed there: `run train.py ARGS`; with --sync its folder is sent, too.
    What its header asks for (`# /// script`) is installed first. Without words, the command or code comes from stdin.

    \b
    lecoder-cgpu run "nvidia-smi | head -3"
    lecoder-cgpu run train.py --epochs 3
    lecoder-cgpu run --sync . python train.py --epochs 3
    lecoder-cgpu run -m kernel "import torch; print(torch.cuda.is_available())" --json
    lecoder-cgpu run -m kernel -f train.py --timeout 600
    """
    from ..run_command import Invocation

    split: parse.Split = click.get_current_context().meta[SPLIT]
    options |= {"separated": split.separated, "behind": split.passed}
    invocation = Invocation(app, words, options)
    if options["attach"] is not None:
        return invocation.attach(options["attach"])
    return invocation.answer()
