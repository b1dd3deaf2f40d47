"""`ssh`: the system's OpenSSH to a runtime that offers it; with --proxy, the other half, which OpenSSH calls."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

from ... import config, errors
from ...models.base import Done
from ...models.connections import Connected
from ...ports import ssh
from ...sessions.activity import in_use, promise
from ...sessions.session import Session
from .. import free_tier, own_runtime, runtime_options
from ..app import App, shown
from ..output import Answer

FAILED_ITSELF = 255  # OpenSSH's status when there was no connection, or it broke


@click.command(
    cls=runtime_options.RuntimeCommand,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="What follows NAME goes to ssh: its options and the remote command.",
)
@click.argument("name", required=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[SSH ARGUMENTS]...")
@click.option("--proxy", is_flag=True, help="Carry the SSH stream over stdin and stdout, for OpenSSH's ProxyCommand.")
@click.option("--public-key", metavar="FILE", help="With --proxy: the key to let in.")
@free_tier.understood_option
@own_runtime.option
@runtime_options.runtime_options(new=False)
@click.pass_obj
def command(
    app: App,
    /,
    name: str | None,
    words: Sequence[str],
    proxy: bool,
    public_key: str | None,
    understood: bool,
    **options: Any,
) -> Answer:
    """Open an SSH connection to a Colab runtime, with a key made for it.

    With --rm there is no NAME: a runtime is started as the options say, and released at the end.

    \b
    lecoder-cgpu ssh --rm --gpu T4
    lecoder-cgpu ssh train
    lecoder-cgpu ssh train -L 8888:127.0.0.1:8888 nvidia-smi
    lecoder-cgpu ssh-config train >> ~/.ssh/config       for editors, scp and rsync
    """
    if public_key is not None and not proxy:
        raise errors.UsageError(
            "--public-key is for --proxy", hint="leave out --public-key: a key is made for each connection"
        )
    if name is not None and app.session is not None:
        raise errors.UsageError("the session is given twice", name="ConflictingOptions", hint="leave out --session")
    if proxy and app.printer.mode != "human":
        raise errors.UsageError("with --proxy stdout is for SSH's bytes", hint="leave out --json")
    if options["rm"]:
        return _on_own(app, [] if name is None else [name, *words], proxy=proxy, understood=understood, options=options)
    if wants := runtime_options.wants(options).options:
        raise errors.UsageError(
            f"{wants[0]} is for a runtime that --rm starts", name="ConflictingOptions", hint="add --rm"
        )
    session = app.client.existing(name or app.session)
    if proxy:
        return _proxy(app, session, public_key)
    free_tier.check(app, session, "SSH", understood, f"lecoder-cgpu ssh --session {session.record.name}")
    return _connect(app, session, words)


def _on_own(app: App, words: Sequence[str], *, proxy: bool, understood: bool, options: dict[str, Any]) -> Answer:
    """Connect to a runtime that is started for it, and given back at the end."""
    if proxy:
        raise errors.UsageError(
            "--proxy is for a session that exists", name="ConflictingOptions", hint="leave out --rm"
        )
    with own_runtime.scope(app, runtime_options.wants(options), wanted=True) as own:
        assert own is not None
        session = own.session()
        again = shown(app.arguments)
        again.remove("ssh")
        again.insert(0, free_tier.OPTION)  # before what may be for ssh
        free_tier.check(app, session, "SSH", understood, f"lecoder-cgpu ssh {shlex.join(again)}")
        session.endpoint  # noqa: B018 - starts it, with a name for its machine
        return _connect(app, session, words)


def _proxy(app: App, session: Session, public_key: str | None) -> Answer:
    if public_key is None:
        raise errors.UsageError("--proxy needs --public-key", hint="lecoder-cgpu ssh-config NAME writes such a line")
    try:
        key = Path(public_key).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UsageError(f"{public_key} cannot be read: {error}", hint="lecoder-cgpu ssh-config NAME") from error
    socket = ssh.connect(session, key)

    try:
        with in_use(session):
            ssh.bridge(socket, sys.stdin.fileno(), app.printer.write)
    except KeyboardInterrupt:  # SIGHUP is how OpenSSH ends its proxies
        pass
    finally:
        socket.close()
    return Answer(Done(), printed=True)


def _connect(app: App, session: Session, words: Sequence[str]) -> Answer:
    program = shutil.which("ssh")
    if program is None:
        raise ssh.missing("ssh")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lecoder-cgpu-") as folder:
        key = ssh.make_key(Path(folder) / "key")
        options = [word for option, value in options_for(app, session, key) for word in ("-o", f"{option}={value}")]
        extra, command_words = _split(words)
        line = [program, *options, *extra, f"root@{host_name(session)}", *command_words]
        if not command_words and (text := promise(session)) is not None:
            app.printer.aside(text)
        # With --json, stdout is for the document.
        status = subprocess.call(line, stdout=None if app.printer.mode == "human" else app.printer.error_fd)
        if status == FAILED_ITSELF:
            _tell_why(session, key)
    document = Connected(
        session=session.record.ref, mode="ssh", seconds=round(time.monotonic() - started, 3), remote_exit_code=status
    )
    if status:
        said = f"ssh ended with status {status}"
        document.fail(errors.RuntimeFailure(said, name="SshFailed", exit_status=status & 0xFF))
    document.notice = app.printer.notice or UNSET
    return Answer(document, exit_status=document.exit_code, printed=True)


def _tell_why(session: Session, key: Path) -> None:
    """Check that a connection can be made: OpenSSH gives one status to all that it failed with, and the remote
    command may have ended with it, too.

    Raises:
        errors.Error: the connection fails; see `ssh.connect`.
    """
    try:
        ssh.connect(session, key.with_suffix(".pub").read_text("utf-8"), patience=0.0).close()
    except errors.CapacityError:  # what was there a moment ago may still be counted
        return


# OpenSSH's options that take a value; the others are flags.
_WITH_VALUE = "BbcDEeFIiJLlmOopQRSWw"


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options of ssh, which stand before the host there, and the remote command."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        word = words[position]
        if word == "--":
            return list(words[:position]), list(words[position + 1 :])
        position += 2 if len(word) == 2 and word[1] in _WITH_VALUE else 1
    return list(words[:position]), list(words[position:])


def host_name(session: Session) -> str:
    """How the machine is called in OpenSSH's configuration; nothing of that name exists anywhere else."""
    return f"lecoder-{session.record.name}"


def options_for(app: App, session: Session, key: Path) -> list[tuple[str, str]]:
    """OpenSSH's options for a session: each machine has a fresh host key, so there is nothing to remember."""
    proxy = [sys.executable, "-m", "lecoder_cgpu"]
    if app.config_file:
        proxy += ["--config", str(Path(app.config_file).expanduser().resolve())]
    proxy += [
        "--profile",
        app.config.profile.name,
        "ssh",
        "--proxy",
        "--public-key",
        str(key.with_suffix(".pub")),
        session.record.name,
    ]
    moved = config.environment("LECODER_CGPU_CONFIG_DIR")
    if moved and sys.platform != "win32":  # an editor does not have our environment
        proxy = ["env", f"LECODER_CGPU_CONFIG_DIR={Path(moved).expanduser().resolve()}", *proxy]
    return [
        ("IdentityFile", f'"{key}"'),
        ("IdentitiesOnly", "yes"),
        ("StrictHostKeyChecking", "no"),
        ("UserKnownHostsFile", "/dev/null" if sys.platform != "win32" else "NUL"),
        ("LogLevel", "ERROR"),
        ("ServerAliveInterval", "20"),
        ("ProxyCommand", _quoted(proxy)),
    ]


def _quoted(words: Sequence[str]) -> str:
    """A command line for OpenSSH: quoted for the shell that runs it, and % doubled."""
    import shlex

    line = shlex.join(words) if sys.platform != "win32" else subprocess.list2cmdline(words)
    return line.replace("%", "%%")
