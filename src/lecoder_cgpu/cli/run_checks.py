"""Which options of `run` contradict each other: checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import errors


def together(options: dict[str, Any], *, kernel: bool) -> None:
    """Refuse options that make no sense together.

    Args:
        kernel: whether code is executed in a kernel.

    Raises:
        errors.UsageError
    """
    if (options["wait"] is not None or options["on_disconnect"] == "detach") and options["forward_stdin"]:
        raise errors.UsageError(
            "work that goes on after this command cannot read its stdin",
            hint="leave out --stdin, or --wait and --on-disconnect",
            name="ConflictingOptions",
        )
    if options["release"] and (options["detach"] or options["attach"] or not options["pull"]):
        raise errors.UsageError(
            "--release gives the runtime back once results were fetched, which this command does not do",
            name="ConflictingOptions",
            hint="add --pull PATH; for a job: lecoder-cgpu job wait JOB --pull PATH --release",
        )
    if options["key"] is not None and not options["detach"]:
        raise errors.UsageError("--key is for jobs", hint="add --detach")
    if options["key"] is not None:
        from ..runs.job_names import check_key

        check_key(options["key"])
    if options["name"] is not None:
        if kernel and not options["detach"]:
            raise errors.UsageError("code that is watched has no name", hint="add --detach, or leave out --name")
        from ..runs.job_names import check

        check(options["name"])
    if options["push"]:
        from ..runs.pushed import declared

        if kernel or options["attach"]:
            raise errors.UsageError(
                "--push is for a command that this starts: the runtime copies while it runs",
                name="ConflictingOptions",
                hint='lecoder-cgpu run --push out:/content/drive/MyDrive/out "python train.py"',
            )
        declared(options["push"])
    if options["start"] and options["attach"] is None:
        raise errors.UsageError("--from needs a run that exists", hint="add --attach RUN_ID")


def of_code(options: dict[str, Any]) -> None:
    """Refuse what code in a kernel cannot have."""
    for option in ("cwd", "env", "env_file", "sync"):
        if options[option]:
            given = option.replace("_", "-")
            raise errors.UsageError(
                f"--{given} is for commands; a kernel keeps its own environment",
                hint=f"set it in Python (os.environ, os.chdir), or leave out -m kernel to use --{given}",
            )
    leaves = options["wait"] is not None or options["on_disconnect"] == "detach"
    limited = options["timeout"] is not None or options["idle_timeout"] is not None
    if leaves and limited and not options["detach"]:
        raise errors.UsageError(
            "the time limit of code in a kernel is kept by this command, which may leave before",
            name="ConflictingOptions",
            hint="leave out --timeout and --idle-timeout; or add --detach: a job keeps its limits by itself",
        )


def pushing(options: dict[str, Any], secrets: Mapping[str, str]) -> None:
    """Refuse `--push` to a Hub without what that needs."""
    if options["push"]:
        from ..runs import pushed

        pushed.check(pushed.declared(options["push"]), secrets, options["every"])


def of_command(options: dict[str, Any], words: Sequence[str]) -> None:
    """Refuse what only code in a kernel can have, and what a shell would not find."""
    if list(words) == ["-"]:
        raise errors.UsageError(
            "- is no command",
            hint="a command comes through a pipe without it; a notebook: lecoder-cgpu notebook run -; "
            "code: lecoder-cgpu run -m kernel -f -",
        )
    if options["kernel_name"] is not None:
        raise errors.UsageError(
            "--kernel-name chooses what runs code, and this is a command",
            name="ConflictingOptions",
            hint="add -m kernel, or leave out --kernel-name",
        )
    if options["file"] is not None:
        raise errors.UsageError(
            "--file is for Python in the kernel", hint=f"lecoder-cgpu run -m kernel -f {options['file']}"
        )
    if options["outputs"] is not None:
        raise errors.UsageError("--outputs is for kernel mode", hint="add -m kernel")


def leaving(options: dict[str, Any]) -> None:
    """Refuse what needs this command at the end of a job, when it has left."""
    if options["auto_install"]:
        raise errors.UsageError(
            "--detach leaves before anything could be repaired",
            name="ConflictingOptions",
            hint="install it first: lecoder-cgpu install PACKAGE",
        )
    if options["forward_stdin"]:
        raise errors.UsageError(
            "a job cannot read our stdin, because this command leaves", hint="leave out --stdin or --detach"
        )
    if options["on_finish"]:
        raise errors.UsageError(
            "--detach leaves before the job ends, so --on-finish would never be executed",
            name="ConflictingOptions",
            hint="lecoder-cgpu job wait JOB --on-finish COMMAND",
        )


def code_leaving(options: dict[str, Any]) -> None:
    """The same for code that a kernel executes as a job."""
    if options["secret"]:
        raise errors.UsageError(
            "a job cannot answer code that asks for a secret, because this command has left by then",
            hint="leave out --detach, or -m kernel",
        )
    if options["outputs"]:
        raise errors.UsageError(
            "this command leaves before a job has outputs to write",
            hint="leave out --outputs; when it has ended: lecoder-cgpu job result JOB --outputs DIR",
        )
    leaving(options)
