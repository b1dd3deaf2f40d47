"""How long a run may take, and how long it may be silent. Pure: moments are arguments.

Runs on the runtime (Python 3.8 and newer, standard library only), in the helper and in a run's supervisor.
"""

from __future__ import annotations

SAVING = 30.0  # seconds that work has to save itself, once it was told to end, whoever or whatever ends it


class RunLimits:
    """The limits of one run. Moments are seconds of one monotonic clock.

    Args:
        timeout: seconds that the run may take; None for no limit.
        idle: seconds that it may be silent; None for no limit.
        started: the moment from which `timeout` counts.
    """

    def __init__(self, timeout: float | None, idle: float | None, started: float) -> None:
        self._end = started + timeout if timeout else None
        self._idle = idle

    def next(self, active: float) -> float | None:
        """The moment at which to look again, if nothing is heard after `active`; None for never."""
        moments = [self._end, active + self._idle if self._idle else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def reached(self, now: float, active: float) -> str | None:
        """Which limit is reached: `timeout`, `idle-timeout` or None."""
        if self._end is not None and now >= self._end:
            return "timeout"
        if self._idle and now >= active + self._idle:
            return "idle-timeout"
        return None
