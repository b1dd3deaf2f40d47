"""`auth`: logging in to Google and out, and carrying a login to other machines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET, Struct

from ... import errors
from ...models.base import UNKNOWN_ACCOUNT, timestamp
from ...models.login import ClientSetup, LoggedOut, LoginExport, LoginInfo, LoginStarted
from ...models.status import Account
from .. import durations
from ..app import App, Group
from ..looks import Prose
from ..output import Answer

WARNING = "anyone who has this can use Colab and the tool's Drive files as you; keep it secret"
LARGEST_CLIENT = 1 << 20  # bytes of the file of an OAuth client
STEPS = [
    "https://console.cloud.google.com/projectcreate: create a project (any name).",
    "https://console.cloud.google.com/auth/overview: configure the consent screen as External, with your address; "
    "leave it in testing and add yourself as a test user (a login lasts 7 days then).",
    "https://console.cloud.google.com/apis/library/drive.googleapis.com: enable the Drive API, for notebooks.",
    'https://console.cloud.google.com/auth/clients: create a client of type "Desktop app" and download its JSON.',
    "lecoder-cgpu auth setup DOWNLOADED_FILE, then lecoder-cgpu auth login.",
]


_keyring_option = click.option(
    "--keyring/--no-keyring",
    default=None,
    help="Keep the login in the system's keyring, or in a file, from now on.",
)


def _login_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option(
            "--browser/--no-browser",
            default=None,
            help="Open a browser here, or print the address and read the answer from stdin.",
        ),
        click.option("--start", is_flag=True, help="Only begin: print the address and the flow's id."),
        click.option("--finish", metavar="FLOW", help="Finish a login that --start began."),
        click.option("--code-stdin", is_flag=True, help="With --finish: the code or address comes on stdin."),
        click.option("--adc", is_flag=True, help="Use Google's application default credentials from now on."),
        click.option(
            "--wait",
            type=durations.SECONDS,
            default=300,
            show_default=True,
            metavar="TIME",
            help="How long to listen for the browser.",
        ),
        click.option("-f", "--force", is_flag=True, help="Log in again, although there is a login."),
        click.option("--select-account", is_flag=True, help="Choose among several Google accounts."),
        _keyring_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


class LoginOptions(Struct, kw_only=True):
    """The options of `auth login`; `wait` is in seconds."""

    browser: bool | None
    start: bool
    finish: str | None
    code_stdin: bool
    adc: bool
    wait: float
    force: bool
    select_account: bool
    keyring: bool | None


@click.group(cls=Group, name="auth", invoke_without_command=True)
@_login_options
@click.pass_context
def command(context: click.Context, /, **options: Any) -> Answer | None:
    """Log in to Google and out, and carry the login to other machines.

    Without a command it is `auth login`.

    \b
    lecoder-cgpu auth setup client_secret.json       once: your own OAuth client
    lecoder-cgpu auth login
    lecoder-cgpu auth login --start --json           without a browser here, in two steps
    lecoder-cgpu auth login --finish FLOW --code-stdin --json < code.txt
    lecoder-cgpu auth status --json
    """
    if context.invoked_subcommand is not None:
        return None
    return _login(context.ensure_object(App), LoginOptions(**options))


@command.command("login")
@_login_options
@click.pass_obj
def login_(app: App, /, **options: Any) -> Answer:
    """Log in to Google, with your own OAuth client (see `auth setup`).

    Credentials are taken from LECODER_CGPU_CREDENTIALS (JSON or a path), from --adc, from this login, or from
    GOOGLE_APPLICATION_CREDENTIALS, in this order.

    \b
    lecoder-cgpu auth login
    lecoder-cgpu auth login --start --json           without a browser here, in two steps
    lecoder-cgpu auth login --finish FLOW --code-stdin --json < code.txt
    """
    return _login(app, LoginOptions(**options))


def _login(app: App, options: LoginOptions) -> Answer:
    from ...auth import consent, lifecycle

    _check_one(start=options.start, finish=options.finish is not None, adc=options.adc)
    if options.code_stdin != (options.finish is not None):
        raise errors.UsageError(
            "--finish FLOW and --code-stdin belong together",
            hint="lecoder-cgpu auth login --finish FLOW --code-stdin --json < code.txt",
        )
    login = app.client.login
    if options.keyring is not None:
        lifecycle.choose_place(login, keyring=options.keyring)
    if options.adc:
        lifecycle.use_adc(login)
        return _logged_in(app, first=True)
    if options.start:
        pending, url = consent.Consent(login, select_account=options.select_account).start()
        document = LoginStarted(
            url=url,
            flow_id=pending.id,
            expires_at=_moment(pending.expires_at),
            next=f"lecoder-cgpu auth login --finish {pending.id} --code-stdin --json",
            profile=app.config.profile.login,
            account=UNKNOWN_ACCOUNT if (before := login.account()) is None else before.id,
        )
        typed = f"lecoder-cgpu auth login --finish {pending.id} --code-stdin"
        told = (
            "open this address in a browser, allow access, copy the address of the page that fails to load then, and "
            "give it to the next command on stdin (paste it, press Enter and Ctrl-D):"
        )
        return Answer(document, lambda: Prose(f"{url}\n\n{told}\n{typed}"))
    first = login.files.read_login() is None
    if options.finish is not None:
        if sys.stdin.isatty():
            app.printer.note("paste the address that the browser ended at, then press Enter and Ctrl-D")
        consent.Consent(login).finish(options.finish, sys.stdin.read())
        return _logged_in(app, first=first)
    if not first and not options.force and not options.select_account:
        return Answer(*_info(app, "logged in already; --force logs in again"))
    flow = consent.Consent(login, select_account=options.select_account)
    browser = options.browser
    if browser is None:
        browser = _may_open_a_browser(app)
    elif browser and app.printer.mode != "human":
        raise _no_browser("a command that answers in JSON opens no browser")
    if browser:
        with app.printer.waiting("waiting for the browser …"):
            flow.by_browser(lambda url: app.printer.note(f"Open this page to log in:\n\n{url}\n"), options.wait)
    else:
        flow.by_pasting(lambda url: _ask(app, url))
    return _logged_in(app, first=first)


def _check_one(**given: bool) -> None:
    if sum(given.values()) > 1:
        names = " and ".join(f"--{name}" for name, there in given.items() if there)
        raise errors.UsageError(
            f"{names} exclude each other", name="ConflictingOptions", hint=f"leave out {names.replace(' and ', ' or ')}"
        )


def _may_open_a_browser(app: App) -> bool:
    """True with a person at a terminal; a script must say what it wants.

    Raises:
        errors.AuthError: a login needs a person, and there is no terminal.
    """
    if app.printer.may_ask:
        return True
    raise _no_browser("logging in needs a person at a terminal, or two steps")


def _no_browser(message: str) -> errors.AuthError:
    return errors.AuthError(
        message,
        name="LoginNeedsPerson",
        hint="lecoder-cgpu auth login --start --json, let a person open the url, then --finish; "
        "or on this machine's desktop: lecoder-cgpu auth login --browser",
    )


def _ask(app: App, url: str) -> str | None:
    app.printer.note(
        f"Open this page in any browser:\n\n{url}\n\nAfter consent, the browser fails to open an address that begins "
        "with http://127.0.0.1. Paste that address (or the code in it) here:"
    )
    return app.printer.ask("", False)


def _logged_in(app: App, *, first: bool) -> Answer:
    if first:
        app.printer.note("Colab has rules for what its runtimes may be used for: lecoder-cgpu policy")
    return Answer(*_info(app, "logged in"))


def _info(app: App, message: str | None = None, *, checked: bool = False) -> tuple[Any, Callable[[], str]]:
    """What is known about the login, without asking Google, and the same for people."""
    from ...auth import credentials
    from ...auth import lifecycle as flows

    login = app.client.login
    document = LoginInfo(
        authenticated=False,
        profile=app.config.profile.name,
        source="none",
        config_file=str(login.config.path),
        session_file=str(login.files.session),
        message=message or UNSET,
        checked=checked,
    )
    if (own := credentials.client(login.config)) is not None:
        document.client_id = own.id
    try:
        source = login.source()
    except errors.AuthError as error:
        document.notice = error.message
        if isinstance(error, errors.NoClient):
            document.notice += f"; {error.hint}"
    else:
        document.authenticated = True
        document.source = source.kind
        document.account = login.account() or flows.UNKNOWN
        scopes = login.scopes()
        if scopes is not None:
            document.scopes = sorted(scopes)
            document.missing_scopes = [scope for scope in credentials.SCOPES if scope not in scopes]
        token = login.known_token()
        if token is not None:
            document.token_expires_at = _moment(token.obtained_at + token.lifetime)
    notice = app.printer.notice
    if notice:
        document.notice = notice
    return document, lambda: _text(document, credentials.login_steps(app.config))


def _text(document: LoginInfo, steps: str) -> str:
    if not document.authenticated:
        return f"not logged in ({document.notice})\nlog in with: {steps}"
    account = document.account
    known = isinstance(account, Account) and account.id != UNKNOWN_ACCOUNT
    who = f" as {account.label} <{account.id}>" if known else "; the account is not known"  # type: ignore[union-attr]
    where = {
        "session": "",
        "adc": ", by application default credentials",
        "environment": ", by LECODER_CGPU_CREDENTIALS",
        "none": "",
    }
    message = document.message if isinstance(document.message, str) else "logged in"
    lines = [f"{message}{who}{where[document.source]}"]
    if isinstance(document.missing_scopes, list):
        from ...auth.credentials import NEEDED_FOR

        lines += [f"not granted: {scope} (for {NEEDED_FOR[scope]})" for scope in document.missing_scopes]
    return "\n".join(lines)


@command.command()
@click.pass_obj
def status(app: App) -> Answer:
    """Show who is logged in and what was granted, without asking Google.

    \b
    lecoder-cgpu auth status --json
    """
    return Answer(*_info(app))


@command.command()
@click.pass_obj
def check(app: App) -> Answer:
    """Ask Google whether the login works. Never opens a browser.

    \b
    lecoder-cgpu auth check --json
    """
    from ...auth import lifecycle as flows

    token = flows.check(app.client.login)
    document, text = _info(app, "the login works", checked=True)
    document.account = token.account or document.account  # credentials of the environment are never stored
    return Answer(document, text)


@command.command(name="setup")
@click.argument("file", required=False)
@click.option("--force", is_flag=True, help="Replace another client; the login that was made with it ends.")
@click.pass_obj
def setup(app: App, file: str | None, force: bool) -> Answer:
    """Store your own OAuth client; without FILE, explain how to make one.

    FILE is what Google's console offers for download, `-` reads it from stdin.

    \b
    lecoder-cgpu auth setup
    lecoder-cgpu auth setup client_secret.json
    """
    from ...auth import credentials

    path = app.config.path
    own = credentials.client(app.config)
    if file is None:
        document = ClientSetup(config_file=str(path), steps=STEPS, client_id=own.id if own else UNSET)
        return Answer(document, lambda: Prose("\n".join(f"{number}. {step}" for number, step in enumerate(STEPS, 1))))
    try:
        with open(0 if file == "-" else Path(file).expanduser(), "rb", closefd=file != "-") as source:
            content = source.read(LARGEST_CLIENT)
    except OSError as error:
        raise errors.FileNotFound(
            f"{file}: {error.strerror}",
            hint="give the path of the downloaded file: lecoder-cgpu auth setup client_secret_….json",
        ) from error
    given = credentials.decode_client(content)
    if app.config.file.get("clientId") and own is not None and own != given and not force:
        raise errors.UsageError(
            f"{path} has another OAuth client already ({own.id})",
            name="ClientExists",
            hint=f"replace it: lecoder-cgpu auth setup {file} --force",
        )
    credentials.change_config(app.config, {"clientId": given.id, "clientSecret": given.secret})
    document = ClientSetup(config_file=str(path), client_id=given.id)
    return Answer(document, lambda: Prose(f"stored in {path}; now log in: lecoder-cgpu auth login"))


@command.command(name="logout")
@click.option("--keep-grant", is_flag=True, help="Only forget it here; copies on other machines go on working.")
@click.pass_obj
def logout(app: App, keep_grant: bool) -> Answer:
    """Have Google revoke the login and forget it. Runtimes are left alone.

    \b
    lecoder-cgpu auth logout
    lecoder-cgpu auth logout --keep-grant
    """
    from ... import config
    from ...auth import lifecycle as flows

    login = app.client.login
    account = None
    with contextlib.suppress(errors.ConfigError):  # what cannot be read can be forgotten all the same
        account = login.account()
    found, revoked = flows.log_out(login, keep_grant=keep_grant)
    document = LoggedOut(logged_out=found, revoked=revoked, profile=app.config.profile.name)
    if found:
        document.account = account or flows.UNKNOWN
    if config.environment("LECODER_CGPU_CREDENTIALS") or config.environment("GOOGLE_APPLICATION_CREDENTIALS"):
        document.notice = "credentials in the environment still work; unset the variable"
    elif found and not revoked and not keep_grant:
        document.notice = "Google could not be told; end it at https://myaccount.google.com/permissions"

    def text() -> str:
        notice = f"\n{document.notice}" if isinstance(document.notice, str) else ""
        return ("logged out" if found else "there was no login") + notice

    return Answer(document, text)


@command.command(name="export")
@click.option("--ci", is_flag=True, help="Include the OAuth client: all that LECODER_CGPU_CREDENTIALS needs.")
@click.pass_obj
def export(app: App, ci: bool) -> Answer:
    """Print the login, to be used on another machine. It is a secret.

    \b
    lecoder-cgpu auth export --json | ssh HOST lecoder-cgpu auth import -
    lecoder-cgpu auth export --ci                    for LECODER_CGPU_CREDENTIALS
    """
    import msgspec

    from ...auth import credentials

    login = app.client.login
    stored = login.files.read_login()
    if stored is None:
        raise errors.NotLoggedIn("there is no login to export", hint=credentials.login_hint(login.config))
    stored = msgspec.structs.replace(stored, refresh_token_in=msgspec.UNSET)  # the other machine has its own keyring
    document = LoginExport(
        session=stored,
        instructions="on the other machine, with the same config.json: lecoder-cgpu auth-import - < this document",
    )
    if ci:
        own = credentials.client(login.config)
        if own is None:
            raise credentials.no_client(login.config)
        document.client = own
        document.instructions = "store this document as a secret and set LECODER_CGPU_CREDENTIALS to it"
    app.printer.note(f"note: {WARNING}")
    return Answer(document, lambda: msgspec.json.encode(document if ci else stored).decode())


@command.command(name="import")
@click.argument("token", required=False)
@click.option("-f", "--force", is_flag=True, help="Replace an existing login.")
@_keyring_option
@click.pass_obj
def import_(app: App, token: str | None, force: bool, keyring: bool | None) -> Answer:
    """Store a login that `auth export` printed elsewhere, after proving that it works.

    TOKEN is the bare session or the whole document; `-`, or nothing, reads it from stdin.

    \b
    lecoder-cgpu auth import < login.json
    """
    from ...auth import lifecycle as flows

    content = sys.stdin.read() if token in (None, "-") else token
    if keyring is not None:
        flows.choose_place(app.client.login, keyring=keyring)
    flows.take(app.client.login, content or "", replace=force)
    return Answer(*_info(app, "imported", checked=True))


def _moment(seconds: float) -> str:
    return timestamp(datetime.fromtimestamp(seconds, UTC))
