"""The helper's answers: found in a kernel's reply, typed, and its refusals as our errors.

Any code in the helper's kernel can send any message, so nothing is taken for what it should be.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .. import errors
from ..jupyter import messages
from .documents import Lease, Process, Report, RunState, Update

MIME = "application/vnd.lecoder-cgpu+json"

T = TypeVar("T")


class UpdateAnswer(msgspec.Struct):
    """What is new about a run."""

    update: Update


class Buffered(msgspec.Struct):
    """How many bytes of input wait for the process."""

    buffered: int


class Sent(msgspec.Struct):
    """Whether a signal was sent."""

    sent: bool


class Children(msgspec.Struct):
    """Processes that code in a kernel has left: those that have left the kernel's session, and those in it."""

    apart: list[Process]
    inside: list[Process]


class Runs(msgspec.Struct):
    """Runs of the runtime."""

    runs: list[RunState]


class Reported(msgspec.Struct):
    """What the runtime has and does."""

    report: Report


class Leased(msgspec.Struct):
    """The lease on the runtime."""

    lease: Lease


class Recorded(msgspec.Struct):
    """For how many seconds a kernel has been recorded."""

    seconds: float


class Files(msgspec.Struct):
    """An answer about files: its parts, or their sizes where it is to be fetched in pieces."""

    buffers: list[bytes] = []
    sizes: list[int] | None = None


class FilesPiece(msgspec.Struct):
    """A piece of such an answer."""

    data: bytes


class Nothing(msgspec.Struct):
    """Nothing but that it was done."""


class Updates(msgspec.Struct):
    """A push: what is new about some runs."""

    runs: list[Update] = []


# What the helper refuses, by the name that it gives: our class, and what to do next.
REFUSALS: dict[str, tuple[type[errors.Error], str | None]] = {
    "RunNotFound": (errors.NotFoundError, "lecoder-cgpu job list"),
    "NotFound": (errors.NotFoundError, "lecoder-cgpu ls"),
    "DiskFull": (errors.TransferError, "make room there, then repeat the same command: lecoder-cgpu rm PATH"),
    "StartFailed": (
        errors.ConnectionFailed,
        "see what the runtime lacks, memory, room or processes: lecoder-cgpu status",
    ),
    "BadRequest": (errors.UsageError, "correct that, and repeat the same command"),
    "NoStdin": (errors.NoStdin, None),
    "StdinGap": (errors.UsageError, None),
    "StillRunning": (errors.UsageError, "end it first: lecoder-cgpu job kill JOB"),
    "NoConnection": (errors.NoConnection, None),
    "KeyConflict": (errors.UsageError, "give another --key, or the same command as before"),
}


def answer_of(message: messages.Message) -> dict[str, Any]:
    """The helper's answer in a reply.

    Raises:
        KeyError: there is no helper of our version in that kernel.
        errors.ConnectionFailed: the kernel could not execute the call, or answered something else.
    """
    content = message.content
    found = _object(_object(content.get("user_expressions")).get("r"))
    if found.get("status") == "error" and found.get("ename") == "KeyError":
        raise KeyError(found.get("evalue"))
    data = _object(found.get("data"))
    if MIME in data:
        if not isinstance(data[MIME], dict):
            raise _unexpected("no object")
        answer: dict[str, Any] = data[MIME]
        return answer
    if not found and content.get("status") == "ok":  # kernels of other languages evaluate no expressions of ours
        raise errors.HelperFailed(
            "the kernel that the server gave the helper does not run Python, which processes, jobs and status need",
            hint="install ipykernel on the server; meanwhile code of its own language runs: "
            "lecoder-cgpu run -m kernel CODE",
        )
    told = found if found.get("status") == "error" else content
    raise errors.HelperFailed(
        f"the helper could not be started on the runtime: {told.get('ename') or told.get('status')}: "
        f"{told.get('evalue', '')}".rstrip(": "),
        hint="it needs a Python kernel and room on the disk: lecoder-cgpu kernel status; lecoder-cgpu status",
    )


def typed(answer: dict[str, Any], kind: type[T]) -> T:
    """An answer as that document.

    Raises:
        errors.UnexpectedAnswer: it is something else.
    """
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise _unexpected(str(error)) from error


def updates_of(content: dict[str, Any]) -> list[Update]:
    """The updates of a push, none when it is no push of the helper. A follower asks for what it misses."""
    try:
        return msgspec.convert(content, Updates).runs
    except msgspec.ValidationError:
        return []


def failure(answer: dict[str, Any]) -> errors.Error:
    """The error that an answer tells, as one of ours; a name that we do not know is a failure of the helper."""
    error = _object(answer.get("error"))
    name, message = str(error.get("name", "")), str(error.get("message", ""))
    if name in REFUSALS:
        kind, hint = REFUSALS[name]
        return kind(message, name=name, hint=hint)
    return errors.InternalError(
        f"the helper on the runtime failed: {message}",
        name=name or "HelperFailed",
        hint="lecoder-cgpu debug tail has the details to report",
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _unexpected(problem: str) -> errors.ConnectionFailed:
    return errors.UnexpectedAnswer(
        f"the helper on the runtime answered something unexpected: {problem}",
        retryable=False,
        hint="repeat the same command; lecoder-cgpu debug tail shows the requests",
    )
