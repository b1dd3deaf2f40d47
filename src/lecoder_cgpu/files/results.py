"""Fetches the results of a run when it has ended (`--pull`)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from .. import errors
from ..models.base import ErrorInfo
from ..models.runs import Pulled
from ..sessions.session import Session
from ..system import logs
from . import plan
from .commands import Storage


def pull(session: Session, specs: Sequence[str], folder: str | None) -> list[Pulled]:
    """Fetch results. One that fails does not keep the others back; each tells its own error.

    Args:
        specs: each `PATH[:LOCAL]`; without LOCAL, under its own name in the current folder.
        folder: on the runtime, where relative paths start.
    """
    try:
        with Storage(session) as storage:
            return [_pull_one(storage, spec, folder) for spec in specs]
    except errors.Error as error:  # the runtime cannot be reached
        told = ErrorInfo.of(error)
        return [Pulled(path=plan.split_pull(spec)[0], local=".", error=told) for spec in specs]


def _pull_one(storage: Storage, spec: str, folder: str | None) -> Pulled:
    remote, local = plan.split_pull(spec)
    pulled = Pulled(path=remote, local=local or ".")
    try:
        document = storage.download([plan.under(folder, remote)], local)
    except errors.Error as error:
        pulled.error = ErrorInfo.of(error)
        logs.current().error("FILES", f"pull of {remote}: {error.message}")
    else:
        pulled.files, pulled.bytes = document.files, document.bytes
        pulled.skipped = document.skipped or UNSET
        if len(document.items) == 1:
            pulled.local = document.items[0].target
    return pulled


def pull_problem(pulled: Sequence[Pulled], folder: str | None, session: str) -> errors.Error | None:
    """The error for results that were not fetched; None when all were. `folder` is that of `pull`."""
    failed = [item for item in pulled if item.error is not UNSET]
    if not failed:
        return None
    names = ", ".join(item.path for item in failed)
    first = failed[0].error
    assert isinstance(first, ErrorInfo)
    path = plan.under(folder, failed[0].path)
    missing = first.stands_for(errors.FileNotFound)  # to fetch it again would fail as well
    return errors.TransferError(
        f"results were not fetched: {names} ({first.message})",
        name="PullFailed",
        hint=f"see what is there: lecoder-cgpu ls --session {session} {path.rpartition('/')[0] or '.'}"
        if missing
        else f"lecoder-cgpu download --session {session} {path}",
    )
