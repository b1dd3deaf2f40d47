"""The options that say what kind of runtime is wanted; the same for every command that may start one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import errors
from ..backends import registry
from . import parse
from .app import App, Command
from .durations import duration

if TYPE_CHECKING:
    from msgspec import UnsetType

    from ..backends.protocol import RuntimeRequest

F = TypeVar("F", bound=Callable[..., Any])

ANY = ("any", "tpu")  # values of --tpu that name no kind; the first stands for none


class RuntimeCommand(Command):
    """A command with these options."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(context, attach_tpu(args))


def attach_tpu(arguments: Sequence[str]) -> list[str]:
    """The arguments with the name of a TPU attached to `--tpu`, so that no other word is taken for one."""
    attached: list[str] = []
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word == "--":
            return [*attached, *arguments[position:]]
        length = 1
        if word == "--tpu":
            length = parse.tpu_length(arguments[position:])
            word = f"--tpu={arguments[position + 1] if length == 2 else ANY[0]}"
        attached.append(word)
        position += length
    return attached


gpu_option = click.option(
    "--gpu", metavar="NAME[,NAME…]", help="Ask for a GPU: T4, L4, A100 …; of several, the first that is free."
)
kernel_option = click.option(
    "--kernel-name",
    metavar="NAME",
    help="The kernel to run code in: python3, ir, … (see `kernel list`). The session keeps it.",
)


def runtime_options(*, new: bool, hub: bool = True) -> Callable[[F], F]:
    """Add the options to a command; `new` with `--new-runtime`, `hub` with `--hub`."""
    added = [
        gpu_option,
        click.option("--tpu", metavar="[NAME]", help="Ask for a TPU, or for that kind of TPU: v5e-1, v6e-1."),
        click.option("--cpu", is_flag=True, help="Ask for a runtime without accelerator."),
        click.option("--high-ram", is_flag=True, help="Ask for a machine with much memory."),
        click.option(
            "--wait-for-capacity",
            metavar="TIME",
            help="Wait this long for a free machine (90s, 30m, 2h). Default: do not wait.",
        ),
        click.option(
            "--idle-release",
            metavar="TIME",
            help="Release the runtime after about this time without work, or never. Default: 60m.",
        ),
        click.option(
            "--max-runtime",
            metavar="TIME",
            help="Release the runtime after this time (2h), even while work runs; or never. Default: never.",
        ),
        click.option(
            "--max-units",
            metavar="UNITS",
            help="Release the runtime when it has cost this many compute units, or never. Default: never.",
        ),
    ]
    if hub:
        about = "Address of a JupyterHub; a server there is started if need be."
        added.append(
            click.option("--hub", metavar="URL", expose_value=False, callback=_remember_hub, help=about),
        )
    if new:
        added.insert(0, click.option("--new-runtime", is_flag=True, help="Use a new runtime, whatever is there."))

    def decorate(function: F) -> F:
        function = start_options(function)
        for option in reversed(added):
            function = option(function)
        return function

    return decorate


def _remember_hub(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    app = context.find_object(App)
    if value is None or app is None:
        return
    if app.options.get("backend") not in (None, registry.HUBS):
        raise errors.UsageError(
            f"--hub and --backend {app.options['backend']} exclude each other",
            name="ConflictingOptions",
            hint="leave out --backend",
        )
    app.options |= {"backend": registry.HUBS, "hubUrl": value}


def start_options(function: F) -> F:
    """Add the options that say with what a JupyterHub starts a server."""
    added = [
        click.option("--server-profile", metavar="NAME", help="On a JupyterHub: the profile to start a server with."),
        click.option(
            "--server-option",
            multiple=True,
            metavar="NAME=VALUE",
            help="On a JupyterHub: an option to start a server with. May be repeated.",
        ),
    ]
    for option in reversed(added):
        function = option(function)
    return function


def chosen_options(options: dict[str, Any]) -> dict[str, Any]:
    """What a server is to be started with. A value that is JSON is taken as such.

    Raises:
        errors.UsageError: an option is malformed.
    """
    import json

    found: dict[str, Any] = {"profile": options["server_profile"]} if options["server_profile"] else {}
    for item in options["server_option"]:
        name, separator, value = item.partition("=")
        if not (name and separator):
            raise errors.UsageError(f"--server-option {item!r} has no value", hint="--server-option NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def wants(options: dict[str, Any]) -> RuntimeRequest:
    """What these options ask for.

    Raises:
        errors.UsageError: a list has no names, or a duration cannot be read.
    """
    from ..backends.protocol import RuntimeRequest
    from ..store.leases import Limits

    tpu = options["tpu"]
    return RuntimeRequest(
        cpu=options["cpu"],
        gpu=_list(options["gpu"], "--gpu"),
        tpu=None if tpu is None else () if tpu.strip().lower() in ANY else _list(tpu, "--tpu"),
        high_ram=options["high_ram"],
        new=options.get("new_runtime", False),
        patience=None
        if options["wait_for_capacity"] is None
        else duration(options["wait_for_capacity"], "--wait-for-capacity"),
        limits=Limits(
            idle=_limit(options["idle_release"], "--idle-release"),
            max_runtime=_limit(options["max_runtime"], "--max-runtime"),
            max_units=_limit(options["max_units"], "--max-units"),
        ),
        kernel_name=options.get("kernel_name") or None,
        server_options=chosen_options(options),
    )


def gpus(text: str | None) -> RuntimeRequest:
    """What `--gpu` alone asks for; without it, a runtime without accelerator.

    Raises:
        errors.UsageError: the list has no names.
    """
    from ..backends.protocol import RuntimeRequest

    return RuntimeRequest(cpu=text is None, gpu=_list(text, "--gpu"))


def _limit(text: str | None, option: str) -> float | UnsetType | None:
    if text is None:
        from msgspec import UNSET

        return UNSET
    if text == "never":
        return None
    if option == "--max-units":
        try:
            value = float(text)
        except ValueError:
            value = 0.0
    else:
        value = duration(text, option)
    if not 0 < value < float("inf"):
        raise errors.UsageError(f"{option} {text!r} is not a limit", hint=f"{option} 2, or {option} never")
    return value


def _list(text: str | None, option: str) -> tuple[str, ...]:
    if text is None:
        return ()
    found = tuple(part.strip() for part in text.split(","))
    if not all(found):
        raise errors.UsageError(f"{option} {text!r} names nothing", hint=f"{option} T4, or {option} L4,T4")
    return found
