"""`--rm`: a runtime for one command, which is given back whatever happens.

The session's record names this process before the runtime is asked for. Should the process be killed, the keeper gives
the runtime back, and should this machine die, the lease on the runtime does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .. import errors
from ..models.base import ErrorInfo
from ..models.base import now as utc_now
from ..models.runs import Pulled, Release
from ..store import leases
from ..store.leases import Limits
from ..store.session_store import Record

if TYPE_CHECKING:
    from ..backends.protocol import RuntimeRequest
    from ..sessions.session import Session
    from .app import App

F = TypeVar("F", bound=Callable[..., Any])

KEPT = 600.0  # seconds that a runtime is kept for results that could not be fetched


class OwnRuntime:
    """The runtime of one command."""

    def __init__(self, app: App, wants: RuntimeRequest) -> None:
        if app.session is not None:
            raise errors.UsageError(
                "--rm uses a runtime of its own, so --session cannot choose one",
                name="ConflictingOptions",
                hint="leave out --session or --rm",
            )
        self._app = app
        self._wants = wants
        self._session: Session | None = None
        self._release: Release | None = None

    def session(self) -> Session:
        """The session, made at the first call. Its runtime is started when it is used."""
        if self._session is None:
            self._session = self._app.client.own(self._wants)
        return self._session

    def end(self) -> Release:
        """Give the runtime back; the second time, nothing is done. What could not be done is told."""
        if self._release is None:
            self._release = Release()
            self._close(self._release)
        return self._release

    def _close(self, release: Release) -> None:
        from ..runs import closing

        client = self._app.client
        record = None if self._session is None else client.store.get(self._session.record.id)
        if record is None:  # none was given, or an interrupted start has given it back
            release.released = "nothing"
            return
        try:
            release.released = closing.close(client, record).released
        except errors.Error as error:
            release.reason = error.message
            self._app.printer.notify(
                f"the runtime of session {record.name!r} is still running and using units: {error.message}; "
                f"the keeper goes on trying to give it back; to do it now: lecoder-cgpu sessions close {record.name}"
            )

    def keep(self, missing: Sequence[str], folder: str | None) -> Release:
        """Keep the runtime for ten minutes, because these results, as seen from `folder`, could not be fetched."""
        import shlex

        from ..files.plan import under

        assert self._session is not None
        name = self._session.record.name

        def change(record: Record) -> None:
            record.owner, record.last_used_at = None, utc_now()
            if record.lease is not None:
                record.lease = leases.changed(record.lease, Limits(idle=KEPT))

        self._app.client.store.change(self._session.record.id, change)
        what = f"not all results were fetched: {', '.join(missing)}"
        self._release = Release(reason=what)
        paths = shlex.join(under(folder, path) for path in missing)
        self._app.printer.notify(
            f"{what}; the runtime is kept for 10 minutes: lecoder-cgpu download {paths} --session {name}; "
            f"then: lecoder-cgpu sessions close {name}"
        )
        return self._release


def option(function: F) -> F:
    """Add `--rm` to a command."""
    import click

    help_ = "Use a runtime of its own and release it at the end, also after a failure or Ctrl-C."
    return click.option("--rm", is_flag=True, help=help_)(function)


def check(options: Mapping[str, Any]) -> None:
    """Refuse what does not go with `--rm` of `run`.

    Raises:
        errors.UsageError: something does not.
    """
    if not options["rm"]:
        return
    for option in ("detach", "attach", "wait", "release", "key", "new_runtime"):
        if options[option]:
            given = option.replace("_", "-")
            raise errors.UsageError(
                f"--rm gives the runtime back when this command ends, so it does not go with --{given}",
                name="ConflictingOptions",
                hint=f"leave out --rm or --{given}",
            )
    if options["on_disconnect"] == "detach":
        raise errors.UsageError(
            "--rm gives the runtime back when this command is interrupted, so the work cannot go on",
            name="ConflictingOptions",
            hint="leave out --rm or --on-disconnect detach",
        )


@contextlib.contextmanager
def scope(app: App, wants: RuntimeRequest, *, wanted: bool) -> Iterator[OwnRuntime | None]:
    """A runtime for what is done inside, if one is wanted; it is given back at the end, whatever happens."""
    if not wanted:
        yield None
        return
    own = OwnRuntime(app, wants)
    try:
        yield own
    finally:
        own.end()


def unfetched(pulled: object, *, failed: bool) -> list[str]:
    """The results that are worth keeping a runtime for. What a failed program did not write is not there to fetch."""
    found = [item for item in pulled if isinstance(item, Pulled)] if isinstance(pulled, list) else []
    return [
        item.path
        for item in found
        if isinstance(item.error, ErrorInfo) and not (failed and item.error.category == errors.NotFoundError.category)
    ]
