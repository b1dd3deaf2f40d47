"""`--push PATH:DEST`: results that the runtime itself copies to another folder of its own, such as a mounted Drive, or
to a repository of the Hugging Face Hub (`hf://[datasets/|spaces/]OWNER/NAME[@REVISION][/FOLDER]`)."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..models.base import ErrorInfo
from ..models.runs import Pushed

if TYPE_CHECKING:
    from ..helper.documents import PushState
    from ..models.jobs import JobDocument
    from ..models.runs import Run


NEEDED = "HF_TOKEN"  # the secret that a Hub needs, by name
LEAST = 60.0  # seconds between two commits: a Hub limits their number in an hour
FOLDER_HINT = "--push out:/content/drive/MyDrive/out"
HUB_HINT = "--push out:hf://OWNER/NAME/FOLDER; hf://datasets/OWNER/NAME for a dataset"

_HUB = "hf://"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"(?:(?:models|datasets|spaces)/)?({_PART})/({_PART})(?:@([A-Za-z0-9][A-Za-z0-9._-]*))?")
_KINDS = ("models", "datasets", "spaces", "buckets")


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
                f"--push {spec}: a path, and a folder on the runtime or an address of the Hub are needed",
                hint=FOLDER_HINT,
            )
        if target.startswith(_HUB):
            _check_address(spec, target[len(_HUB) :])
        elif "://" in spec or target.startswith("//"):
            raise errors.UsageError(
                f"--push {spec}: it is neither a folder on the runtime nor a repository of the Hugging Face Hub",
                hint=f"{HUB_HINT}; or fetch the results to this machine: --pull PATH --every 5m",
            )
        elif f"{target.rstrip('/')}/".startswith(f"{path.rstrip('/')}/") or target.rstrip("/") in (".", ""):
            raise errors.UsageError(f"--push {spec}: a folder cannot be copied into itself", hint=FOLDER_HINT)
        found.append((path, target))
    return found


def _check_address(spec: str, address: str) -> None:
    """Check what stands behind `hf://`."""
    found = _REPOSITORY.match(address)
    rest = None if found is None else address[found.end() :]
    names = [] if found is None else list(filter(None, found.groups()))
    folders = [] if not rest else rest.removesuffix("/").split("/")[1:]
    odd = any(".." in name or "--" in name for name in names) or any(name in ("", ".", "..") for name in folders)
    if rest is None or (rest and not rest.startswith("/")) or odd or names[0] in _KINDS or names[1].endswith(".git"):
        raise errors.UsageError(f"--push {spec}: it names no repository of the Hugging Face Hub", hint=HUB_HINT)


def check(pushes: Sequence[tuple[str, str]], secrets: Collection[str], every: float | None) -> None:
    """Refuse copies to a Hub that could not work.

    Args:
        secrets: the names of those that the command gets. every: seconds between two copies.

    Raises:
        errors.UsageError: the token is missing, or there is too little time between two commits.
    """
    for path, target in pushes:
        if not target.startswith(_HUB):
            continue
        if NEEDED not in secrets:
            raise errors.UsageError(
                f"--push {path}:{target}: the Hub needs a token, which comes as a secret",
                name="TokenNeeded",
                hint=f"set {NEEDED} here, and add --secret {NEEDED}",
            )
        if every is not None and every < LEAST:
            raise errors.UsageError(
                f"--push {path}:{target}: each copy to the Hub is a commit, and it allows only some of them in an hour",
                hint="--every 1m, or more",
            )


def note(document: Run | JobDocument, pushes: Sequence[PushState]) -> None:
    """Write into a document what became of the copies; a failed one is a failure of what went well otherwise."""
    if not pushes:
        return
    document.pushed = [_described(item, document.session.name) for item in pushes]
    failed = [item for item in document.pushed if isinstance(item.error, ErrorInfo)]
    if failed and document.status == "ok":
        document.status, document.error = "error", failed[0].error
        document.error_code, document.exit_code = errors.TransferError.code, errors.TransferError.exit_status


def _described(item: PushState, session: str) -> Pushed:
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
            hint=f"the results are on the runtime still: lecoder-cgpu download --session {session} {item.path}",
        )
        pushed.error = ErrorInfo.of(error)
    return pushed
