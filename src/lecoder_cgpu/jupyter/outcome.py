"""How an execution in a kernel ended, as far as its client knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from .. import errors
from ..models.base import Timing, timestamp
from ..models.runs import ProcessRef
from .execution import Execution
from .kernelspecs import PYTHON

DROPS = ["the connection dropped", "reconnected"]  # two steps
AGAIN = "and so on"


@dataclass
class Outcome:
    """How a kernel run ended.

    `interrupted`: the exit status for the signal with which the user ended the client; None when nobody did.
    `problem`: a failure of the tool's own (connection, lost kernel). The exception of the code is in
    `execution.raised`.
    `left`: the client stopped watching as it was told, and the code goes on.
    `stopped_by`: what ended the code before its time (`models.Stopped` has the names); `stops`: what was done then, and
    `remaining`: what lives on that the code had started.
    `dropped`: output is missing. `bytes_dropped`: how much the recorder left out.
    `unknown`: the code may still be running, or it ended and nobody could learn how.
    `withdrawn`: the code was taken back while it waited for the kernel.
    `never_begun`: the request was lost on its way, so the code was not executed.
    `steps`: what happened on the way, in words for people.
    `bases`: the class hierarchy of a Python exception. `language`: of the kernel, see `kernelspecs.language_of`.
    """

    execution: Execution
    started: datetime
    completed: datetime | None = None
    timed_out: bool = False
    interrupted: int | None = None
    dropped: bool = False
    bytes_dropped: int = 0
    left: bool = False
    unknown: bool = False
    never_begun: bool = False
    withdrawn: bool = False
    stopped_by: str | None = None
    stops: list[str] = field(default_factory=list)
    remaining: list[ProcessRef] = field(default_factory=list)
    problem: errors.Error | None = None
    steps: list[str] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)
    language: str | None = None

    @property
    def is_python(self) -> bool:
        """Whether the code was Python, as everything is of which nothing else is known."""
        return self.language in (None, PYTHON)

    @property
    def timing(self) -> Timing:
        """From when the request was sent until it was known to have ended; until now when it is not."""
        completed = self.completed or datetime.now(UTC)
        milliseconds = round((completed - self.started).total_seconds() * 1000)
        return Timing(timestamp(self.started), timestamp(completed), milliseconds)


def told(steps: list[str]) -> str:
    """What happened on the way, in a line; a connection that dropped again and again is told once."""
    shown: list[str] = []
    for step in steps:
        if shown[-2:] == ["reconnected", AGAIN] and step in DROPS:
            continue
        shown.append(AGAIN if shown[-4:] == 2 * DROPS and step == DROPS[0] else step)
    return "; ".join(shown)
