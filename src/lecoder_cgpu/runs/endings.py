"""Waiting for a run that was told to end. It may take its time, to save its work; whoever waits is told, and how to end
it all the same."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..helper.documents import RunState
from .process_runs import stopped_by

LOOK = 10.0  # seconds between looks whether a run was told to end


def wait(
    follow: Callable[[float | None], RunState | None],
    look: Callable[[], RunState],
    deadline: float | None,
    tell: Callable[[str], None],
) -> None:
    """Wait for the end of a run, and tell once if it was told to end and lives on.

    Args:
        follow: waits until a moment of `time.monotonic`; returns None if the run has not ended then.
        look: how the run stands. deadline: such a moment, at which to stop waiting.
        tell: told in a sentence.
    """
    while deadline is None or time.monotonic() < deadline:
        until = time.monotonic() + LOOK
        if follow(until if deadline is None else min(until, deadline)) is not None:
            return
        state = look()
        if (stopped := stopped_by(state)) is not None and not state.ended:
            left = ", ".join(f"{process.pid} {process.command}" for process in state.remaining[:3])
            tell(
                f"{state.run} got {', '.join(stopped.steps)}, and has not ended{f': {left} lives' if left else ''}; "
                f"it may be saving its work; to end it now: lecoder-cgpu job kill --escalate {state.run}"
            )
            follow(deadline)
            return
