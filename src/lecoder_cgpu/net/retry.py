"""One way to try again: every retry has a pause, a limit and an end.

The pauses come from stamina, which is imported after the first failure only: most actions succeed at once, and need
not pay for its import.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from .. import errors

T = TypeVar("T")
Again = Callable[[errors.Error], bool | float]

ATTEMPTS = 4  # of an idempotent request that meets a transient failure
RETRY_AFTER_MOST = 30.0  # seconds; a server that asks for a longer pause is not asked again by itself
PAUSE = 0.2  # seconds before the second attempt
# For a lost connection that is made again, which may take the network a minute; in seconds:
RECONNECT_PAUSE = 0.2
RECONNECT_LONGEST = 12.0  # so that a minute sees ten attempts at most

TELL_EVERY = 20.0  # seconds of trying again after which that is told, again and again

# Whether this is one of the attempts of `reconnect`, which makes enough of them.
_reconnecting: ContextVar[bool] = ContextVar("reconnecting", default=False)

tell: Callable[[str], None] | None = None  # set by the command line: told, in a line, what is being tried again


def transient(error: Exception) -> bool | float:
    """Whether another try may help, or after how many seconds.

    It hardly does where nothing listens, where the name is unknown, or where nothing answered for so long already.
    """
    if not isinstance(error, errors.ConnectionFailed) or not error.retryable:
        return False
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= RETRY_AFTER_MOST else False
    hopeless = (errors.ConnectionRefused, errors.ConnectionTimeout, errors.ReadTimeout, errors.NameResolution)
    return not isinstance(error, hopeless)


def persist(
    action: Callable[[], T],
    *,
    again: Again = transient,
    attempts: int | None = ATTEMPTS,
    limit: float | None = None,
    pause: float = PAUSE,
    longest: float | None = None,
) -> T:
    """Do something that may be repeated safely, until it succeeds or is not worth another try.

    Args:
        again: told each failure; says whether to try again, or after how many seconds. It may also tell a person what
            is waited for.
        attempts: how many there are at most, the first one included; None leaves the end to `limit` and `again`.
        limit: seconds after the first failure within which another try begins; None for no such limit.
        pause: seconds before the second attempt. Each pause is twice as long as the one before, and a little longer at
            random, so that many clients do not come back at the same moment.
        longest: seconds that a pause takes at most, 15 times `pause` when None.

    Raises:
        errors.Error: the last failure. Everything that is not an `errors.Error` is raised at once.
    """
    try:
        return action()
    except errors.Error as error:
        if _reconnecting.get() and again is transient:
            raise
        first = error
        verdict = again(first)
        if verdict is False:
            raise
    import stamina

    _quiet_stamina()
    began = told = time.monotonic()

    def worth(error: Exception) -> bool | float:
        nonlocal told
        if error is first:
            return verdict
        found = isinstance(error, errors.Error) and again(error)
        now = time.monotonic()
        if tell is not None and found is not False and now - told >= TELL_EVERY:
            told = now
            tell(f"trying again for {now - began:.0f} s now: {error}")
        return found

    for attempt in stamina.retry_context(
        on=worth,
        attempts=attempts,
        timeout=limit,
        wait_initial=pause,
        wait_max=15 * pause if longest is None else longest,
        wait_jitter=pause,
    ):
        with attempt:
            if attempt.num == 1:
                raise first  # the failed try counts as the first one
            return action()
    raise AssertionError("retry_context returns or raises")


def _quiet_stamina() -> None:
    """It logs each try for programs that set up logging; without a handler that would land on stderr."""
    import logging

    logger = logging.getLogger("stamina")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def reconnect(action: Callable[[], T], *, again: Again, limit: float | None) -> T:
    """Make a lost connection again: `persist` with short pauses at first, and no limit to the attempts.

    Args:
        again: as for `persist`; with `limit` None, it must say False at some time.
        limit: seconds, as for `persist`.
    """

    def once() -> T:
        inside = _reconnecting.set(True)
        try:
            return action()
        finally:
            _reconnecting.reset(inside)

    return persist(once, again=again, attempts=None, limit=limit, pause=RECONNECT_PAUSE, longest=RECONNECT_LONGEST)


def jittered(pause: float) -> float:
    """Nearly that many seconds, so that not all who wait come back at once."""
    import random

    return pause * random.uniform(0.8, 1.2)  # noqa: S311
