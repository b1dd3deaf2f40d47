"""Parts of many documents: errors, times, sizes, the session that was used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from ..errors import Error

Word = TypeVar("Word", bound=str)

Optional = UnsetType  # `str | Optional` reads as "may be absent"

UNKNOWN_ACCOUNT = "unknown"  # what documents say of an account that nobody has told us


def known(word: str, words: Any, otherwise: Word) -> Word:
    """A word from outside as one of those that documents have (`words`, a Literal). Newer versions may have more."""
    found: Word = word if word in get_args(words) else otherwise  # type: ignore[assignment]
    return found


def now() -> str:
    """The current time as the predecessor writes it: UTC, milliseconds, `Z`."""
    return timestamp(datetime.now(UTC))


def timestamp_ns(nanoseconds: int) -> str:
    """A file's time; 1970 if it lies outside the calendar."""
    try:
        return timestamp(datetime.fromtimestamp(nanoseconds / 1e9, UTC))
    except (OverflowError, ValueError, OSError):
        return timestamp(datetime.fromtimestamp(0, UTC))


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class ErrorInfo(Struct, kw_only=True):
    """What went wrong, in every document that reports a failure.

    `billing` tells whether we hold a runtime that costs money, as far as this machine knows.
    """

    name: str
    message: str
    category: str
    description: str
    retryable: bool = False
    traceback: list[str] | Optional = UNSET
    suggestion: str | Optional = UNSET
    billing: Literal["running", "none", "unknown"] | Optional = UNSET

    @classmethod
    def of(cls, error: Error) -> ErrorInfo:
        """What documents say about an error of ours."""
        return cls(
            name=error.name,
            message=error.message,
            category=error.category,
            description=error.description,
            retryable=error.retryable,
            suggestion=error.hint or UNSET,
        )

    def stands_for(self, kind: type[Error]) -> bool:
        """Whether it was an error of this class that has kept its class' name."""
        return self.name == kind.__name__


class Failure(Struct, kw_only=True):
    """The document of a command that failed before it could answer. `account` is the one that it acted for, where
    runtimes belong to one; `profile` is there unless that is `default`."""

    status: Literal["error"] = "error"
    error_code: int = field(name="errorCode")
    exit_code: int = field(name="exitCode")
    error: ErrorInfo
    account: str | Optional = UNSET
    profile: str | Optional = UNSET
    notice: str | Optional = UNSET
    held: list[Held] | Optional = UNSET


class Done(Struct, kw_only=True):
    """The document of a command that has nothing to report but success."""

    status: Literal["ok"] = "ok"
    error_code: int = field(name="errorCode", default=0)
    message: str | Optional = UNSET


class Timing(Struct):
    """When a run was sent and when it ended, by the client's clock."""

    started: str
    completed: str
    duration_ms: int


class SessionRef(Struct, kw_only=True):
    """Which session a command used. `account` is for runtimes that belong to one: whose it is, or `unknown`."""

    id: str
    name: str
    backend: str
    account: str | Optional = UNSET


class Held(Struct, kw_only=True):
    """A session whose runtime costs, as far as this machine knows. `certain` is false while it is not known whether
    there is a runtime: it was asked for, or told to end, and that is not confirmed.

    `unitsPerHour` is what such a machine was last seen to cost, null if that was never seen. `idleSeconds` is after how
    much time without work it is released, null for never.

    `formerly` is there for a runtime that is ours and that no session here holds: it was lost, or given back, and is
    listed again. It names the session that had it; `session` is the runtime's endpoint then.
    """

    session: str
    label: str
    certain: bool
    units_per_hour: float | None = field(name="unitsPerHour", default=None)
    idle_seconds: float | None = field(name="idleSeconds", default=None)
    formerly: str | Optional = UNSET


def readable(size: int) -> str:
    """A byte count as the predecessor writes it: MiB as "512 MB" below 1024 of them, "14.5 GB" above."""
    mebibytes = size / 2**20
    return f"{mebibytes / 1024:.1f} GB" if round(mebibytes) >= 1024 else f"{round(mebibytes)} MB"


def encode(document: object) -> bytes:
    return msgspec.json.encode(document)


# The name of each schema made from this module, and what it describes.
DOCUMENTS: dict[str, Any] = {
    "done": Done,
    "failure": Failure,
}
