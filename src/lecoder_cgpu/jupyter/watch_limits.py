"""How long one execution in a kernel may take, and how long it is watched."""

from __future__ import annotations

from msgspec import Struct


class WatchLimits(Struct, frozen=True, kw_only=True):
    """The time limits of one watched execution. The client keeps them: they end with it.

    `timeout`: seconds of execution after which the code is interrupted and, if it does not react, the kernel restarted.
    `idle_timeout`: the same for seconds without output.
    `wait`: seconds after which the client stops watching; the code goes on.
    `detach`: when the user interrupts the client, it stops watching and the code goes on.

    None means no limit. Time for `timeout` and `idle_timeout` counts from the moment when the code starts, time for
    `wait` from the moment when it is sent.
    """

    timeout: float | None = None
    idle_timeout: float | None = None
    wait: float | None = None
    detach: bool = False


UNLIMITED = WatchLimits()
