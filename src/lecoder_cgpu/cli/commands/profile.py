"""`profile`: several accounts kept apart, and options for runtimes under a name."""

from __future__ import annotations

from typing import Any

import click
from msgspec import UNSET

from ... import config, errors
from ...models.profiles import ProfileChanged, ProfileDocument, SavedRequest
from .. import runtime_options
from ..app import App, Group, complete_profile
from ..looks import Prose, Table
from ..output import Answer


@click.group(cls=Group, name="profile")
def command() -> None:
    """Keep several accounts apart, or options for runtimes under a name.

    A profile has a login, sessions, history and settings of its own, or shares those of another one and adds to them
    what its runtimes are asked for with. --profile NAME, or LECODER_CGPU_PROFILE, acts for it once; `profile use` from
    now on. Without any of them it is the profile `default`, and no profile is ever changed by itself.

    \b
    lecoder-cgpu profile create work
    lecoder-cgpu --profile work auth login
    lecoder-cgpu profile set train --gpu L4,T4 --max-units 5
    lecoder-cgpu run --profile train python train.py
    """


@command.command(name="list")
@click.pass_obj
def list_(app: App) -> Answer:
    """List the profiles: whose login each has, and what it asks runtimes for. Google is not asked.

    \b
    lecoder-cgpu profile list
    """
    from ...sessions import profile_changes

    document = profile_changes.everything(app.config)
    if isinstance(document.notice, str):
        app.printer.note(f"note: {document.notice}")

    def table() -> Table:
        rows = [
            ("*" if item.is_used else "", item.name, _login(item), _sessions(item), " ".join(_saved(item)))
            for item in document.profiles
        ]
        return Table(("", "PROFILE", "LOGIN", "SESSIONS", "ASKS FOR"), rows)

    return Answer(document, table)


@command.command()
@click.argument("name")
@click.option("--share-login", is_flag=True, help="Use login, sessions and history of the profile in use.")
@click.pass_obj
def create(app: App, name: str, share_login: bool) -> Answer:
    """Make a profile with a login of its own.

    \b
    lecoder-cgpu profile create work
    lecoder-cgpu profile create train --share-login
    """
    from ...sessions import profile_changes

    found = profile_changes.create(app.config, name, share=share_login)
    if isinstance(found.shares, str):
        following, text = f"lecoder-cgpu profile set {name} --gpu L4,T4", f"it shares the login of {found.shares}"
    else:
        following, text = f"lecoder-cgpu --profile {name} auth login", "it has a login of its own"
    document = ProfileChanged(action="created", profile=found, next=following)
    return Answer(document, lambda: Prose(f"made profile {name}: {text}; next: {following}"))


@command.command(name="set", cls=runtime_options.RuntimeCommand)
@click.argument("name", shell_complete=complete_profile)
@runtime_options.runtime_options(new=False, hub=False)
@click.option("--unset", multiple=True, metavar="OPTION", help="Ask for this no longer: gpu, max-units, …, or all.")
@click.pass_obj
def set_(app: App, /, name: str, unset: tuple[str, ...], **options: Any) -> Answer:
    """Save what a profile's runtimes are asked for with; what a command says itself wins over it.

    A profile that does not exist is made, and shares login, sessions and history of the one in use. What is saved
    counts where a runtime is chosen or started: `run`, `connect`, `notebook run`, uploads, a new session; never for a
    session that is named and there.

    \b
    lecoder-cgpu profile set train --gpu L4,T4 --max-units 5
    lecoder-cgpu profile set here --backend local
    lecoder-cgpu profile set train --unset max-units
    """
    from ...sessions import profile_changes

    taken = _unset(unset, profile_changes.REQUEST)
    backend = app.options.get("backend")
    wants = runtime_options.wants(options)
    if wants.cpu + (wants.tpu is not None) + bool(wants.gpu) > 1:
        raise errors.UsageError(
            "only one of --cpu, --tpu and --gpu can be had",
            name="ConflictingOptions",
            hint="leave out all but one of --cpu, --tpu and --gpu",
        )
    given = [key for key, value in options.items() if value not in (None, False, ())]
    if not (given or taken or backend):
        raise errors.UsageError(
            "there is nothing to save", hint=f"lecoder-cgpu profile set {name} --gpu L4,T4 --max-units 5"
        )
    app.options.pop("backend", None)  # it is for the profile, not for this command
    found, fresh = profile_changes.keep_request(app.config, name, wants, backend=backend, unset=taken)
    document = ProfileChanged(
        action="created" if fresh else "changed", profile=found, next=f"lecoder-cgpu run --profile {found.name} COMMAND"
    )

    def text() -> str:
        shares = f", which shares the login of {found.shares}" if isinstance(found.shares, str) else ""
        asks = " ".join(_saved(found)) or "it asks for nothing"
        return f"{'made' if fresh else 'changed'} profile {found.name}{shares}: {asks}"

    return Answer(document, text)


def _unset(words: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """The names of options that are taken away. `all` is all of them."""
    found: list[str] = []
    for word in words:
        name = word.lower().lstrip("-").replace("_", "-")
        name = "server-options" if name in ("server-option", "server-profile") else name
        if name == "all":
            found += [*known, "backend"]
        elif name in known or name == "backend":
            found.append(name)
        else:
            raise errors.UsageError(
                f"--unset {word!r} is no saved option",
                hint=f"--unset {', --unset '.join(known)}, --unset backend or --unset all",
            )
    return found


@command.command()
@click.argument("name", shell_complete=complete_profile)
@click.pass_obj
def use(app: App, name: str) -> Answer:
    """Act for this profile from now on, in every terminal.

    \b
    lecoder-cgpu profile use work
    lecoder-cgpu profile use default
    """
    from ...sessions import profile_changes

    found = profile_changes.use(app.config, name)
    document = ProfileChanged(action="used", profile=found, next="lecoder-cgpu status")
    if (variable := config.environment("LECODER_CGPU_PROFILE")) and variable.casefold() != found.name.casefold():
        app.printer.notify(f"LECODER_CGPU_PROFILE is {variable!r} here, and comes first")
    document.notice = app.printer.notice or UNSET
    return Answer(document, lambda: f"profile {found.name} is used from now on: {_login(found)}")


@command.command()
@click.argument("name", shell_complete=complete_profile)
@click.argument("to")
@click.pass_obj
def rename(app: App, name: str, to: str) -> Answer:
    """Give a profile another name. One with a login of its own must have no sessions.

    \b
    lecoder-cgpu profile rename work office
    """
    from ...sessions import profile_changes

    found = profile_changes.rename(app.config, name, to)
    return Answer(ProfileChanged(action="renamed", profile=found), lambda: f"profile {name} is called {to} now")


@command.command()
@click.argument("name", shell_complete=complete_profile)
@click.option("-y", "--yes", is_flag=True, help="Delete its login, too, without telling Google.")
@click.pass_obj
def delete(app: App, name: str, yes: bool) -> Answer:
    """Delete a profile, with its history and settings. It must have no sessions, and no login.

    One that shares another's login is an entry only: sessions, login and history stay where they are.

    \b
    lecoder-cgpu profile delete train
    """
    from ...sessions import profile_changes

    found = profile_changes.delete(app.config, name, login=yes)
    return Answer(ProfileChanged(action="deleted", profile=found), lambda: f"deleted profile {found.name}")


def _login(item: ProfileDocument) -> str:
    """Whose login a profile has, for people."""
    who = item.account.id if item.account is not UNSET else "not logged in"
    if item.authenticated and item.account is not UNSET and item.account.id == "unknown":
        who = "logged in; the account is not known"
    shares = f" (that of {item.shares})" if isinstance(item.shares, str) else ""
    return f"{who}{shares}" if item.problem is UNSET else f"problem: {item.problem}"


def _sessions(item: ProfileDocument) -> str:
    return str(item.sessions) if isinstance(item.sessions, int) else "?"


def _saved(item: ProfileDocument) -> list[str]:
    """What a profile asks for and sets, as options."""
    from ...sessions import saved_requests

    found = saved_requests.words(item.request) if isinstance(item.request, SavedRequest) else []
    settings = item.settings if isinstance(item.settings, dict) else {}
    return found + [f"{key}={value}" for key, value in settings.items()]
