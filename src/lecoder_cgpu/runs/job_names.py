"""What a job may be called: its id, a unique beginning of it, the name or the key that it was given."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from .. import errors
from ..helper.documents import RunState
from ..models.base import timestamp
from ..sessions import machines
from ..sessions.session import Session

if TYPE_CHECKING:
    from ..sessions.manager import SessionManager

LONGEST = 100  # characters of a name
LONGEST_KEY = 1000  # characters of a key, which also names its job


def is_id(text: str) -> bool:
    """Whether a text is a whole id of a run."""
    return re.fullmatch(r"run-[0-9a-f]{16}", text) is not None


def key_id(key: str) -> str:
    """The id of the job that a key stands for."""
    return "run-" + sha256(f"key:{key}".encode()).hexdigest()[:16]


def check(name: str) -> None:
    """Refuse what no command line could name, or what could be taken for an id.

    Raises:
        errors.UsageError
    """
    odd = not name.strip() or name != name.strip() or len(name) > LONGEST or not name.isprintable()
    if odd or name.startswith(("run-", "-")):
        raise errors.UsageError(
            f"{name[:LONGEST]!r} cannot be the name of a job",
            hint=f"at most {LONGEST} printable characters that begin neither with - nor with run-: --name train-1",
        )


def check_key(key: str) -> None:
    """Refuse a key that says nothing: an unset variable would start the same work twice.

    Raises:
        errors.UsageError
    """
    if not key.strip():
        raise errors.UsageError("--key is empty", hint="give the work a name of yours, such as --key train-1")
    if len(key) > LONGEST_KEY:
        raise errors.UsageError(
            f"the key has {len(key)} characters; at most {LONGEST_KEY} are taken",
            hint="give a digest of it: --key 9f86d0",
        )


def choose(session: Session, states: Sequence[RunState], text: str) -> RunState:
    """The run that is meant.

    Args:
        states: what the runtime knows, the newest first.
        text: a name (the newest job of that name is meant), a key, an id, or a beginning of one, also without `run-`.

    Raises:
        errors.UsageError: several ids begin so. errors.NotFoundError, errors.LostError: see `missing`.
    """
    if not text.strip():
        raise errors.UsageError(
            "the name of the job is empty", hint="give its id, name or key; lecoder-cgpu job list shows them"
        )
    for state in states:
        if state.name == text:
            return state
    prefix = text if text.startswith("run-") else f"run-{text}"
    found = [state for state in states if state.run.startswith((prefix, key_id(text)))]
    if len(found) > 1:
        raise errors.UsageError(
            f"{text!r} is ambiguous: " + ", ".join(state.run for state in found[:5]),
            name="AmbiguousJob",
            hint=f"give more of the id, such as {found[0].run}",
        )
    if not found:
        error = errors.NotFoundError(
            f"there is no job {text!r} on this runtime",
            name="JobNotFound",
            hint="lecoder-cgpu job list; of every session: lecoder-cgpu job list --all-sessions",
        )
        raise missing(session, text, error)
    return found[0]


def missing(session: Session, run: str, error: errors.NotFoundError) -> errors.Error:
    """The error for a run that a session's runtime does not know: `error`, or a better one if the local history knows
    where the run was.

    Args:
        run: its id, the beginning of one, or the name of a job.
    """
    from ..history.entries import History

    history = History(session.store.folder)
    entry = history.find(run if run.startswith("run-") else f"run-{run}") or history.find(run)
    if entry is None or not isinstance(entry.session, str):
        return error
    record = session.record
    if entry.session == record.name:
        machines.look_again(session, session.created)  # another machine's command may have met its new kernel first
        if entry.timestamp >= timestamp(datetime.fromtimestamp(record.began, UTC)):
            return error
        where = "runtime" if record.machine_since is None else "machine of the kernel"
        what = f"{entry.run_id} was on an earlier {where} of session {record.name!r}"
    elif any(entry.session == other.name for other in session.store.records()):
        return errors.NotFoundError(
            f"{entry.run_id} is not on session {record.name!r}: it ran on {entry.session!r}",
            name=error.name,
            hint=f"lecoder-cgpu job show {entry.run_id} --session {entry.session}",
        )
    else:
        what = f"{entry.run_id} was on session {entry.session!r}, which is closed"
    return errors.LostError(
        f"{what}; what it left there is gone", name="RunLost", hint=f"lecoder-cgpu logs show {entry.run_id}"
    )


def digest(described: Sequence[Any]) -> str:
    """A hash of what a job was started with: the same key with other input is a conflict."""
    try:
        return sha256(msgspec.json.encode(described)).hexdigest()
    except UnicodeEncodeError:  # an argument or a variable has bytes that are not UTF-8
        return sha256(json.dumps(described).encode()).hexdigest()


def where(manager: SessionManager, run: str) -> str | None:
    """The id of the session that a run is on, as the local history has it; None if it does not, or that is closed."""
    from ..history.entries import History

    entry = History(manager.state_dir).find(run) if is_id(run) else None
    if entry is None:
        return None
    records = manager.store.records()
    if isinstance(entry.session_id, str):
        return next((record.id for record in records if record.id == entry.session_id), None)
    return next((record.id for record in records if record.name == entry.session), None)
