"""`--push PATH:DEST`: results that the runtime itself copies to another folder of its own, such as a mounted Drive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..models.base import ErrorInfo
from ..models.runs import Pushed

if TYPE_CHECKING:
    from ..helper.documents import PushState
    from ..models.jobs import JobDocument
    from ..models.runs import Run


def declared(specs: Sequence[str]) -> list[tuple[str, str]]:
    """What `--push PATH:DEST` stands for.

    Raises:
        errors.UsageError: it names no two places.
    """
    found = []
    for spec in specs:
        path, _, target = spec.partition(":")
        if not path or not target:
            raise errors.UsageError(
                f"--push {spec}: a path and a folder on the runtime are needed",
                hint="--push out:/content/drive/MyDrive/out",
            )
        if "://" in spec or target.startswith("//"):
            raise errors.UsageError(
                f"--push {spec}: only a folder on the runtime can be written to, not an address",
                hint="mount it there first, or fetch the results to this machine: --pull PATH --every 5m",
            )
        if f"{target.rstrip('/')}/".startswith(f"{path.rstrip('/')}/") or target.rstrip("/") in (".", ""):
            raise errors.UsageError(
                f"--push {spec}: a folder cannot be copied into itself", hint="--push out:/content/drive/MyDrive/out"
            )
        found.append((path, target))
    return found


def note(document: Run | JobDocument, pushes: Sequence[PushState]) -> None:
    """Write into a document what became of the copies; a failed one is a failure of what went well otherwise."""
    if not pushes:
        return
    document.pushed = [_described(item) for item in pushes]
    failed = [item for item in document.pushed if isinstance(item.error, ErrorInfo)]
    if failed and document.status == "ok":
        document.status, document.error = "error", failed[0].error
        document.error_code, document.exit_code = errors.TransferError.code, errors.TransferError.exit_status


def _described(item: PushState) -> Pushed:
    pushed = Pushed(path=item.path, target=item.target, files=item.files, bytes=item.bytes)
    if item.complete_at is not None:
        pushed.complete_at = item.complete_at
    problem = item.problem
    if item.restless:
        pushed.restless = item.restless
        problem = problem or f"{item.restless[0]} changed whenever it was copied"
    if problem is not None:
        error = errors.TransferError(
            f"{item.path} was not written to {item.target}: {problem}",
            name="PushFailed",
            hint=f"the results are on the runtime still: lecoder-cgpu download {item.path}",
        )
        pushed.error = ErrorInfo.of(error)
    return pushed
