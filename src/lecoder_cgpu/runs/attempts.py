"""Whether work that has ended is run again. Pure: what became of each attempt in, what comes next out.

One attempt is one run of the same command with the same files. What became of it is one of these::

    finished   it ended well
    failed     the program ended by itself, with another status than 0
    lost       the runtime is certainly gone, earlier than a limit could have ended it, and the program had not ended
    oom        the same, but its memory was used up when it was seen last: another one would go the same way
    unknown    nobody can tell: it may still be at work. It is never run again by itself
    killed     somebody has ended it, or its session
    limit      a limit that the user set has ended it: on its time, its silence, or of its lease
    refused    it could not be started

`--restarts` is for the lost ones, `--retries` for the failed ones. Neither goes on for ever: a program that fails
within `EARLY` seconds of its own running time would do so again, and so would three attempts in a row that brought
no new generation of results home.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Cause = Literal["finished", "failed", "lost", "unknown", "killed", "limit", "refused", "oom"]

EARLY = 60.0  # seconds of running time within which a failure is the program's way
BARREN = 3  # attempts in a row without a new generation
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds before another attempt; doubled until results come home again
FULL = 0.95  # of the memory in use, above which a runtime that goes is taken to have died of that
CAPACITY_PAUSES = (30.0, 600.0)  # seconds between two requests for another runtime while none is free: first, longest
START_PAUSE = 3.0  # seconds before another try when the start itself met a loss or a connection that failed; doubled
CAPACITY_LIMIT = 6 * 3600.0  # seconds for which another runtime is waited for

# Failures that trying again cannot mend, by the names that `classify` gives them.
HOPELESS = frozenset(
    ("SyntaxError", "IndentationError", "ImportError", "ModuleNotFoundError", "CommandNotFound", "UsageError")
)


class Policy(Struct, frozen=True, kw_only=True):
    """What the user allows.

    Attributes:
        restarts: after losses; None for any number. retries: after failures.
        retry_on: the exit statuses that are worth another attempt; all of them when empty.
    """

    restarts: int | None = 0
    retries: int = 0
    retry_on: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return self.restarts != 0 or self.retries > 0


class Past(Struct, frozen=True, kw_only=True):
    """What became of an attempt.

    Attributes:
        ran: seconds that the program itself has run. fresh: whether a new generation came home meanwhile.
        exit_code, error: of a failure: its status, and the name of its error.
    """

    cause: Cause
    ran: float = 0.0
    fresh: bool = False
    exit_code: int = 0
    error: str = ""


class Decision(Struct, frozen=True):
    """Whether there is another attempt, after how many seconds, and why (not)."""

    again: bool
    why: str = ""
    pause: float = 0.0


def decide(policy: Policy, past: Sequence[Past]) -> Decision:
    """What comes after these attempts, of which there is one at least."""
    last = past[-1]
    if last.cause == "lost":
        return _after_loss(policy, past)
    if last.cause == "failed" and policy.retries:
        return _after_failure(policy, past)
    if last.cause == "oom" and policy.restarts != 0:
        return Decision(False, "its memory was used up, and would be again")
    return Decision(False)


def _after_loss(policy: Policy, past: Sequence[Past]) -> Decision:
    losses = sum(item.cause == "lost" for item in past)
    if policy.restarts == 0:
        return Decision(False)
    if policy.restarts is not None and losses > policy.restarts:
        return Decision(False, f"its runtime was lost {losses} times, and --restarts allows {policy.restarts}")
    return _unless_barren(past)


def _after_failure(policy: Policy, past: Sequence[Past]) -> Decision:
    last, failures = past[-1], sum(item.cause == "failed" for item in past)
    if policy.retry_on and last.exit_code not in policy.retry_on:
        return Decision(False, f"exit status {last.exit_code} is not among those of --retry-on")
    if last.error in HOPELESS:
        return Decision(False, f"{last.error} would come again")
    if failures > policy.retries:
        return Decision(False, f"it has failed {failures} times, and --retries allows {policy.retries}")
    if last.ran < EARLY:
        return Decision(False, f"it failed after {last.ran:.0f} s of its own running time, and would do so again")
    return _unless_barren(past)


def _unless_barren(past: Sequence[Past]) -> Decision:
    barren = 0
    for item in reversed(past):
        if item.fresh:
            break
        barren += 1
    if barren >= BARREN:
        return Decision(False, f"{barren} attempts in a row brought no new generation of results home (--pull --every)")
    return Decision(True, pause=min(FIRST_PAUSE * 2 ** max(barren - 1, 0), LONGEST_PAUSE))
