"""`colab`: what only Colab has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ... import errors
from ...models.base import ErrorInfo
from ...models.status import Consent, Mounted
from ..app import App, Group
from ..output import Answer

if TYPE_CHECKING:
    from ...sessions.session import Session

CONTENT = "/content"  # the folder that Colab's kernels start in
CONSENT_LIMIT = 600.0  # seconds that a person at a terminal has to agree in the browser
CONSENT_PAUSE = 3.0  # seconds between two questions whether that was done
MOUNT_LIMIT = 120  # seconds that the runtime has to mount Drive


@click.group(cls=Group, name="colab")
def command() -> None:
    """What only Colab has: Drive as a folder of a runtime, and consent to use Drive or the account there.

    \b
    lecoder-cgpu colab mount
    lecoder-cgpu colab consent drive
    """


@command.command()
@click.argument("kind", type=click.Choice(["drive", "auth"]))
@click.pass_obj
def consent(app: App, kind: str) -> Answer:
    """Agree that code on the session's runtime gets Drive or the Google account, and hand it over.

    It does not wait. If your account has to agree, too: do so in a browser at the address that it prints, then call it
    again, or run the code again. Once for each session is enough; LECODER_CGPU_COLAB_CONSENT=drive,auth agrees for all.

    \b
    lecoder-cgpu colab consent drive --json
    """
    from ...sessions import consents

    session = app.client.existing(app.session)
    found = consents.give(session, kind)
    document = Consent(session=session.record.ref, kind=kind, granted=found.granted)  # type: ignore[arg-type]
    if not found.granted and found.url is not None:
        document.url = found.url
    text = "the runtime has it now" if found.granted else f"open this in a browser, then call again: {document.url}"
    return Answer(document, lambda: text)


@command.command()
@click.argument("path", default="drive")
@click.option("--readonly", is_flag=True, help="Nothing there can be changed.")
@click.option("--remount", is_flag=True, help="Mount it anew, also if it is mounted already.")
@click.pass_obj
def mount(app: App, path: str, readonly: bool, remount: bool) -> Answer:
    """Mount your Google Drive as a folder of the session's runtime: /content/drive, or PATH, which is below /content
    unless it begins with /.

    This agrees that code on that runtime gets your Drive, in this session. If your account has to agree, too, the
    address where it does is printed: a terminal waits until you have done so, elsewhere call it again then.

    \b
    lecoder-cgpu colab mount
    lecoder-cgpu colab mount /content/drive --readonly
    lecoder-cgpu run ls drive/MyDrive
    """
    session = app.client.existing(app.session)
    session.require_python("colab mount")
    where = path.rstrip("/") if path.startswith("/") else f"{CONTENT}/{path}".rstrip("/")
    if not where or not where.isprintable() or " " in where:
        raise errors.UsageError(
            f"Drive cannot be mounted at {path!r}", name="BadPath", hint="lecoder-cgpu colab mount /content/drive"
        )
    _agree(app, session)
    with app.printer.waiting("mounting Drive …"):
        _mount(session, where, readonly=readonly, remount=remount)
    document = Mounted(session=session.record.ref, path=where, files=f"{where}/MyDrive", readonly=readonly)
    session.used()
    return Answer(document, lambda: f"your files are at {document.files} on the runtime")


def _agree(app: App, session: Session) -> None:
    """Hand the runtime the credentials for Drive. A person at a terminal is waited for, who has to agree first."""
    from ...sessions import consents

    found = consents.give(session, "drive")
    if found.granted:
        return
    if app.printer.may_ask:
        app.printer.note(f"open this in a browser, with the account of the login, and agree: {found.url}")
        with app.printer.waiting("waiting until you have agreed …"):
            deadline = time.monotonic() + CONSENT_LIMIT
            while time.monotonic() < deadline:
                time.sleep(CONSENT_PAUSE)
                if consents.give(session, "drive").granted:
                    return
    raise errors.AuthError(
        "your account has not agreed that this runtime gets your Drive",
        name="ConsentNeeded",
        hint=f"open {found.url} in a browser and agree, then repeat the same command",
    )


def _mount(session: Session, where: str, *, readonly: bool, remount: bool) -> None:
    """Have the kernel mount it, as a cell of a notebook would; no name is left in it.

    Raises:
        errors.RuntimeFailure: it could not.
    """
    from ...jupyter.watch_limits import WatchLimits
    from ...runs import kernel_runs

    code = (
        "__import__('google.colab.drive', fromlist=['mount']).mount("
        f"{where!r}, force_remount={remount}, readonly={readonly}, timeout_ms={MOUNT_LIMIT * 1000})"
    )
    done = kernel_runs.kernel_run(session, code, lambda event: None, limits=WatchLimits(timeout=2 * MOUNT_LIMIT))
    if done.status != "ok":
        said = done.error.message if isinstance(done.error, ErrorInfo) else f"its run is {done.status}"
        raise errors.RuntimeFailure(
            f"Drive was not mounted at {where}: {said}",
            name="NotMounted",
            hint="lecoder-cgpu colab mount --remount, or an empty folder: lecoder-cgpu colab mount drive-2",
        )
