"""The options of `sessions add` that say which server is meant and how it is opened."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import errors
from ..backends import registry
from ..system import redaction
from .durations import duration
from .runtime_options import chosen_options, start_options

if TYPE_CHECKING:
    from ..backends.protocol import ServerRequest

F = TypeVar("F", bound=Callable[..., Any])

BACKENDS = {
    "url": registry.SERVERS,
    "gateway": registry.GATEWAYS,
    "hub": registry.HUBS,
}  # by the options that name an address
PLACES = tuple(BACKENDS)
# What makes sense for one of them alone.
ONLY = {
    "gateway": ("env", "kernel_id"),
    "hub": ("server", "server_profile", "server_option", "start", "wait", "no_keep_awake"),
}


def server_options(function: F) -> F:
    """Add them to a command."""
    added = [
        click.option("--url", metavar="URL", help="Address of a Jupyter server, with its base path."),
        click.option("--gateway", metavar="URL", help="Address of a Kernel Gateway or an Enterprise Gateway."),
        click.option("--hub", metavar="URL", help="Address of a JupyterHub; a server there is started if need be."),
        click.option("--token-stdin", is_flag=True, help="Read the server's token from stdin."),
        click.option(
            "--password-stdin", is_flag=True, help="Read the server's password from stdin, and log in with it."
        ),
        click.option("--ca", metavar="FILE", help="Trust the certificate authorities in this file, too."),
        click.option(
            "-e",
            "--env",
            multiple=True,
            metavar="NAME[=VALUE]",
            help="With --gateway: a variable that kernels are started with, such as KERNEL_USERNAME.",
        ),
        click.option("--kernel-id", metavar="ID", help="With --gateway: take over a kernel that runs there."),
        click.option("--server", metavar="NAME", help="With --hub: the named server to use. Default: your own."),
        click.option("--start", is_flag=True, help="With --hub: start your own server if it does not run."),
        click.option("--wait", metavar="TIME", help="With --hub: wait this long for the start. Default: 10m."),
        click.option("--no-keep-awake", is_flag=True, help="With --hub: do not report silent work to the Hub."),
    ]
    for option in reversed(added):
        function = option(function)
    return start_options(function)


def given(options: dict[str, Any]) -> list[str]:
    """The options among these that were given, as the user wrote them."""
    names = (*PLACES, "token_stdin", "password_stdin", "ca", *(name for names in ONLY.values() for name in names))
    return [f"--{name.replace('_', '-')}" for name in names if options[name]]


def request(name: str, options: dict[str, Any]) -> tuple[str, ServerRequest]:
    """The place that is meant, one of `PLACES`, and what is asked of it. The token or the password is read from stdin.

    Args:
        name: the session's.

    Raises:
        errors.UsageError: the options contradict each other, or something is missing.
    """
    from ..backends.protocol import ServerRequest
    from .inputs import variable

    places = [place for place in PLACES if options[place]]
    if len(places) != 1:
        raise errors.UsageError(
            "an address is missing" if not places else f"--{places[0]} and --{places[1]} exclude each other",
            hint=f"lecoder-cgpu sessions add {name} --url URL --token-stdin; for a gateway: --gateway URL",
        )
    place = places[0]
    for other, names in ONLY.items():
        wrong = next((option for option in names if options[option] and place != other), None)
        if wrong is not None:
            raise errors.UsageError(
                f"--{wrong.replace('_', '-')} is for --{other}, and not for --{place}",
                hint="leave it out, or give the address with --gateway URL or --hub URL",
            )
    ca = options["ca"]
    if ca is not None and not Path(ca).expanduser().is_file():
        raise errors.UsageError(f"--ca {ca}: no such file", name="FileNotFound", hint=f"ls -l {Path(ca).parent}")
    address: str = options[place]
    token, password = _secrets(name, place, address, options)
    return place, ServerRequest(
        url=address,
        token=token,
        password=password,
        ca=None if ca is None else str(Path(ca).expanduser().resolve()),
        kernel_env=dict(map(variable, options["env"])),
        server_name=options["server"],
        server_options=chosen_options(options),
        start=options["start"],
        keep_awake=not options["no_keep_awake"],
        patience=duration(options["wait"], "--wait"),
    )


def _secrets(name: str, place: str, address: str, options: dict[str, Any]) -> tuple[str | None, str | None]:
    """The token and the password; at most one of them."""
    if options["token_stdin"] and options["password_stdin"]:
        raise errors.UsageError(
            "--token-stdin and --password-stdin exclude each other", hint="leave out --token-stdin or --password-stdin"
        )
    if not (options["token_stdin"] or options["password_stdin"]):
        return None, None
    what = "token" if options["token_stdin"] else "password"
    secret = sys.stdin.readline().rstrip("\r\n")
    secret = secret.strip() if what == "token" else secret
    if not secret:
        raise errors.UsageError(
            f"there is no {what} on stdin",
            hint=f"pipe it in: lecoder-cgpu sessions add {name} --{place} {address} --{what}-stdin < {what}.txt",
        )
    redaction.protect(secret, called_secret=True)
    return (secret, None) if what == "token" else (None, secret)
